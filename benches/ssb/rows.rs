//! The rows of the Star Schema Benchmark (O'Neil, O'Neil, Chen: "Star Schema Benchmark", 2009), flat: each line of an order with its
//! customer, supplier, part and date beside it.
//!
//! In: how many. Out: the same rows each time. Keys, vocabularies, how many of each there are and how values are distributed are those
//! of its generator, ssb-dbgen; the random numbers are ours. Dates are integers, 19960102, as there.

use std::fmt::Write as _;

use basalt_common::random::SeededRandom;
use basalt_harness::comparison::Column;

/// Rows of scale factor 1.
pub(crate) const ROWS: usize = 6_000_000;

/// The table as the peers declare it: ClickHouse as its documentation does for this benchmark.
pub(crate) const COLUMNS: [Column; 41] = [
    ("lo_orderkey", "UINTEGER", "UInt32"),
    ("lo_linenumber", "UTINYINT", "UInt8"),
    ("lo_custkey", "UINTEGER", "UInt32"),
    ("lo_partkey", "UINTEGER", "UInt32"),
    ("lo_suppkey", "UINTEGER", "UInt32"),
    ("lo_orderdate", "UINTEGER", "UInt32"),
    ("lo_orderpriority", "VARCHAR", "LowCardinality(String)"),
    ("lo_shippriority", "UTINYINT", "UInt8"),
    ("lo_quantity", "UTINYINT", "UInt8"),
    ("lo_extendedprice", "UINTEGER", "UInt32"),
    ("lo_ordtotalprice", "UINTEGER", "UInt32"),
    ("lo_discount", "UTINYINT", "UInt8"),
    ("lo_revenue", "UINTEGER", "UInt32"),
    ("lo_supplycost", "UINTEGER", "UInt32"),
    ("lo_tax", "UTINYINT", "UInt8"),
    ("lo_commitdate", "UINTEGER", "UInt32"),
    ("lo_shipmode", "VARCHAR", "LowCardinality(String)"),
    ("d_year", "USMALLINT", "UInt16"),
    ("d_yearmonthnum", "UINTEGER", "UInt32"),
    ("d_weeknuminyear", "UTINYINT", "UInt8"),
    ("c_name", "VARCHAR", "String"),
    ("c_address", "VARCHAR", "String"),
    ("c_city", "VARCHAR", "LowCardinality(String)"),
    ("c_nation", "VARCHAR", "LowCardinality(String)"),
    ("c_region", "VARCHAR", "LowCardinality(String)"),
    ("c_phone", "VARCHAR", "String"),
    ("c_mktsegment", "VARCHAR", "LowCardinality(String)"),
    ("s_name", "VARCHAR", "String"),
    ("s_address", "VARCHAR", "String"),
    ("s_city", "VARCHAR", "LowCardinality(String)"),
    ("s_nation", "VARCHAR", "LowCardinality(String)"),
    ("s_region", "VARCHAR", "LowCardinality(String)"),
    ("s_phone", "VARCHAR", "String"),
    ("p_name", "VARCHAR", "String"),
    ("p_mfgr", "VARCHAR", "LowCardinality(String)"),
    ("p_category", "VARCHAR", "LowCardinality(String)"),
    ("p_brand", "VARCHAR", "LowCardinality(String)"),
    ("p_color", "VARCHAR", "LowCardinality(String)"),
    ("p_type", "VARCHAR", "LowCardinality(String)"),
    ("p_size", "UTINYINT", "UInt8"),
    ("p_container", "VARCHAR", "LowCardinality(String)"),
];

const REGIONS: [&str; 5] = ["AFRICA", "AMERICA", "ASIA", "EUROPE", "MIDDLE EAST"];

/// Nations, with their region.
const NATIONS: [(&str, usize); 25] = [
    ("ALGERIA", 0),
    ("ARGENTINA", 1),
    ("BRAZIL", 1),
    ("CANADA", 1),
    ("EGYPT", 4),
    ("ETHIOPIA", 0),
    ("FRANCE", 3),
    ("GERMANY", 3),
    ("INDIA", 2),
    ("INDONESIA", 2),
    ("IRAN", 4),
    ("IRAQ", 4),
    ("JAPAN", 2),
    ("JORDAN", 4),
    ("KENYA", 0),
    ("MOROCCO", 0),
    ("MOZAMBIQUE", 0),
    ("PERU", 1),
    ("CHINA", 2),
    ("ROMANIA", 3),
    ("SAUDI ARABIA", 4),
    ("VIETNAM", 2),
    ("RUSSIA", 3),
    ("UNITED KINGDOM", 3),
    ("UNITED STATES", 1),
];

const SEGMENTS: [&str; 5] = ["AUTOMOBILE", "BUILDING", "FURNITURE", "HOUSEHOLD", "MACHINERY"];
const PRIORITIES: [&str; 5] = ["1-URGENT", "2-HIGH", "3-MEDIUM", "4-NOT SPECI", "5-LOW"];
const MODES: [&str; 7] = ["AIR", "FOB", "MAIL", "RAIL", "REG AIR", "SHIP", "TRUCK"];
const COLORS: &str = "almond antique aquamarine azure beige bisque black blanched blue blush brown burlywood burnished chartreuse \
                      chiffon chocolate coral cornflower cornsilk cream cyan dark deep dim dodger drab firebrick floral forest \
                      frosted gainsboro ghost goldenrod green grey honeydew hot indian ivory khaki lace lavender lawn lemon light \
                      lime linen magenta maroon medium metallic midnight mint misty moccasin navajo navy olive orange orchid pale \
                      papaya peach peru pink plum powder puff purple red rose rosy royal saddle salmon sandy seashell sienna sky \
                      slate smoke snow spring steel tan thistle tomato turquoise violet wheat white yellow";
const TYPES: [&[&str]; 3] = [
    &["STANDARD", "SMALL", "MEDIUM", "LARGE", "ECONOMY", "PROMO"],
    &["ANODIZED", "BURNISHED", "PLATED", "POLISHED", "BRUSHED"],
    &["TIN", "NICKEL", "BRASS", "STEEL", "COPPER"],
];
const CONTAINERS: [&[&str]; 2] =
    [&["SM", "LG", "MED", "JUMBO", "WRAP"], &["CASE", "BOX", "BAG", "JAR", "PKG", "PACK", "CAN", "DRUM"]];

/// From this day on orders come, and this many days long: to 1998-08-02.
const FIRST_YEAR: u64 = 1992;
const ORDER_DAYS: u64 = 2_406;

/// Of every so many order keys the first quarter is used.
const SPARSE: u64 = 32;

/// Customers whose key this divides never order.
const MORTALITY: u64 = 3;

/// What rows have beside them, as fields of JSON: by key, from 1.
#[derive(Debug)]
pub(crate) struct Dimensions {
    customers: Vec<String>,
    suppliers: Vec<String>,
    parts: Vec<Part>,
    days: Vec<Day>,
}

#[derive(Debug)]
struct Part {
    cents: u64,
    brand: String,
    fields: String,
}

#[derive(Debug)]
struct Day {
    key: u64,
    fields: String,
}

/// A number from `first` to `last`.
fn between(random: &mut SeededRandom, first: u64, last: u64) -> u64 {
    first + random.below(last - first + 1)
}

/// One word of each list.
fn words(random: &mut SeededRandom, lists: &[&[&str]]) -> String {
    lists.iter().map(|list| *random.pick(list)).collect::<Vec<_>>().join(" ")
}

/// The fields of a customer or a supplier but its name, each behind a prefix.
fn place(random: &mut SeededRandom, prefix: char) -> String {
    let number = random.below(NATIONS.len() as u64);
    let (nation, region) = NATIONS[number as usize];
    let letters = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ,. ";
    let address: String = (0..between(random, 10, 25)).map(|_| char::from(*random.pick(letters))).collect();
    let (city, region) = (format!("{nation:9.9}{}", random.below(10)), REGIONS[region]);
    let phone = [100, 100, 1_000].map(|first| between(random, first, if first == 100 { 999 } else { 9_999 }));
    format!(
        "\"{prefix}_address\":\"{address}\",\"{prefix}_city\":\"{city}\",\"{prefix}_nation\":\"{nation}\",\
         \"{prefix}_region\":\"{region}\",\"{prefix}_phone\":\"{}-{}-{}-{}\"",
        number + 10,
        phone[0],
        phone[1],
        phone[2]
    )
}

impl Part {
    fn new(random: &mut SeededRandom, colors: &[&str], key: u64) -> Self {
        let (color, other) = (random.pick(colors), random.pick(colors));
        let maker = between(random, 1, 5);
        let category = maker * 10 + between(random, 1, 5);
        let brand = format!("MFGR#{category}{}", between(random, 1, 40));
        let fields = format!(
            "\"p_name\":\"{color} {other}\",\"p_mfgr\":\"MFGR#{maker}\",\"p_category\":\"MFGR#{category}\",\"p_brand\":\"{brand}\",\
             \"p_color\":\"{color}\",\"p_type\":\"{}\",\"p_size\":{},\"p_container\":\"{}\"",
            words(random, &TYPES),
            between(random, 1, 50),
            words(random, &CONTAINERS)
        );
        Self { cents: 90_000 + key / 10 % 20_001 + key % 1_000 * 100, brand, fields }
    }
}

/// The days of seven years.
fn days() -> Vec<Day> {
    let mut days = Vec::new();
    for year in FIRST_YEAR..FIRST_YEAR + 7 {
        let february = if year % 4 == 0 { 29 } else { 28 };
        let mut of_year = 0;
        for (month, length) in (1..).zip([31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]) {
            for day in 1..=length {
                of_year += 1;
                let (month_number, week) = (year * 100 + month, of_year / 7 + 1);
                let fields = format!("\"d_year\":{year},\"d_yearmonthnum\":{month_number},\"d_weeknuminyear\":{week}");
                days.push(Day { key: month_number * 100 + day, fields });
            }
        }
    }
    days
}

impl Dimensions {
    /// Those of so many rows.
    pub(crate) fn new(rows: usize) -> Self {
        let (mut random, scale) = (SeededRandom::new(2009), rows as f64 / ROWS as f64);
        let count = |at_one: f64| 1..=(at_one * scale).ceil() as u64;
        let customers = count(30_000.0).map(|key| {
            let place = place(&mut random, 'c');
            format!("\"c_name\":\"Customer#{key:09}\",{place},\"c_mktsegment\":\"{}\"", random.pick(&SEGMENTS))
        });
        let customers = customers.collect();
        let suppliers =
            count(2_000.0).map(|key| format!("\"s_name\":\"Supplier#{key:09}\",{}", place(&mut random, 's')));
        let suppliers = suppliers.collect();
        let colors: Vec<&str> = COLORS.split_whitespace().collect();
        let parts = if scale < 1.0 { count(200_000.0) } else { 1..=200_000 * (1 + scale.log2() as u64) };
        let parts = parts.map(|key| Part::new(&mut random, &colors, key)).collect();
        Self { customers, suppliers, parts, days: days() }
    }

    /// So many rows.
    pub(crate) fn rows(&self, rows: usize) -> impl Iterator<Item = Row<'_>> {
        let mut random = SeededRandom::new(1992);
        (0..).flat_map(move |order| self.order(&mut random, order)).take(rows)
    }

    fn order(&self, random: &mut SeededRandom, order: u64) -> Vec<Row<'_>> {
        let key = order / (SPARSE / 4) * SPARSE + order % (SPARSE / 4) + 1;
        let mut customer = between(random, 1, self.customers.len() as u64);
        while self.customers.len() as u64 >= MORTALITY && customer.is_multiple_of(MORTALITY) {
            customer = between(random, 1, self.customers.len() as u64);
        }
        let (date, priority) = (random.below(ORDER_DAYS), *random.pick(&PRIORITIES));
        let mut total = 0;
        let lines = between(random, 1, 7);
        let mut rows: Vec<Row<'_>> = (1..=lines)
            .map(|line| {
                let part = between(random, 1, self.parts.len() as u64);
                let (quantity, discount, tax) = (between(random, 1, 50), random.below(11), random.below(9));
                let (cents, mode) = (self.parts[part as usize - 1].cents, *random.pick(&MODES));
                let price = cents * quantity;
                total += price * (100 - discount) / 100 * (100 + tax) / 100;
                Row {
                    dimensions: self,
                    order: key,
                    line,
                    customer,
                    part,
                    supplier: between(random, 1, self.suppliers.len() as u64),
                    date: date as usize,
                    commit: (date + between(random, 30, 90)) as usize,
                    priority,
                    quantity,
                    price,
                    total: 0,
                    discount,
                    revenue: price * (100 - discount) / 100,
                    cost: 6 * cents / 10,
                    tax,
                    mode,
                }
            })
            .collect();
        rows.iter_mut().for_each(|row| row.total = total);
        rows
    }
}

/// A line of an order.
#[derive(Debug)]
pub(crate) struct Row<'d> {
    dimensions: &'d Dimensions,
    order: u64,
    line: u64,
    customer: u64,
    part: u64,
    supplier: u64,
    date: usize,
    commit: usize,
    priority: &'static str,
    quantity: u64,
    price: u64,
    total: u64,
    discount: u64,
    revenue: u64,
    cost: u64,
    tax: u64,
    mode: &'static str,
}

/// [`Row::number`] in SQL.
pub(crate) const NUMBER: &str = "lo_orderkey * 8 + lo_linenumber";

impl Row<'_> {
    /// Its own number.
    pub(crate) fn number(&self) -> u64 {
        self.order * 8 + self.line
    }

    /// It as a document, a line of JSON.
    pub(crate) fn document(&self) -> String {
        let of = self.dimensions;
        let (part, day) = (&of.parts[self.part as usize - 1], &of.days[self.date]);
        let mut line = String::with_capacity(1_100);
        let _ = write!(
            line,
            "{{\"_id\":\"{order}-{line}\",\"lo_orderkey\":{order},\"lo_linenumber\":{line},\"lo_custkey\":{},\"lo_partkey\":{},\
             \"lo_suppkey\":{},\"lo_orderdate\":{},\"lo_orderpriority\":\"{}\",\"lo_shippriority\":0,\"lo_quantity\":{},\
             \"lo_extendedprice\":{},\"lo_ordtotalprice\":{},\"lo_discount\":{},\"lo_revenue\":{},\"lo_supplycost\":{},\
             \"lo_tax\":{},\"lo_commitdate\":{},\"lo_shipmode\":\"{}\",",
            self.customer,
            self.part,
            self.supplier,
            day.key,
            self.priority,
            self.quantity,
            self.price,
            self.total,
            self.discount,
            self.revenue,
            self.cost,
            self.tax,
            of.days[self.commit].key,
            self.mode,
            order = self.order,
            line = self.line,
        );
        let (customer, supplier) =
            (&of.customers[self.customer as usize - 1], &of.suppliers[self.supplier as usize - 1]);
        let _ = write!(line, "{},{customer},{supplier},{}}}", day.fields, part.fields);
        line
    }

    /// A patch of three of its fields that changes nothing.
    pub(crate) fn patch(&self) -> String {
        format!(
            "{{\"_id\":\"{}-{}\",\"merge\":{{\"lo_discount\":{},\"lo_revenue\":{},\"p_brand\":\"{}\"}}}}",
            self.order,
            self.line,
            self.discount,
            self.revenue,
            self.dimensions.parts[self.part as usize - 1].brand
        )
    }
}
