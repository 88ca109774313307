//! Selective predicates on ten million rows in the leaf, by terms and by scans of columns, beside DuckDB and ClickHouse with and without
//! an index or a key, and PostgreSQL with indexes.
//!
//! The rows lie in ten file segments, read in place from memory as from a mapping. Measured is what a scan does: finding the rows and
//! reading two columns of them; of the others, whose rows are counted, the whole query. DuckDB and PostgreSQL have an index on each
//! column. ClickHouse has one key: its rows lie as they come, and sorted by `n`, which serves the predicates on `n` and no others.
//! `BASALT_BENCH_ROWS` says how many rows. Medians. Run: `make bench`.
#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use basalt_common::columns::TypedColumns;
use basalt_common::id::FieldId;
use basalt_common::indexing::Indexing;
use basalt_common::scan::{AccessPath, ScanColumn, ScanFilter};
use basalt_common::schema::Schema;
use basalt_common::value::Type;
use basalt_harness::peers::{Answer, Peer};
use basalt_harness::postgres::Postgres;
use basalt_harness::selecting::{micros, scan};
use basalt_leaf::file::container::{Container, Kind};
use basalt_leaf::file::segment;
use basalt_leaf::indexes::Indexes;
use basalt_leaf::segment::{Segment, SegmentId, SegmentVersion};
use basalt_leaf::select::Selector;
use datafusion::arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use datafusion::common::DFSchema;
use datafusion::prelude::SessionContext;

const ROWS: u64 = 10_000_000;
const SEGMENTS: u64 = 10;

/// What is read of the rows that are found.
const COLUMNS: [FieldId; 2] = [FieldId(1), FieldId(4)];

const RUNS: usize = 31;

/// Prime to any power of ten: rows come without order, each number once.
const STRIDE: u64 = 7_368_787;

const FIELDS: [(&str, DataType, Type); 6] = [
    ("n", DataType::Int64, Type::Int),
    ("hundred", DataType::Int64, Type::Int),
    ("common", DataType::Int64, Type::Int),
    ("name", DataType::Utf8, Type::String),
    ("lon", DataType::Float64, Type::Float),
    ("lat", DataType::Float64, Type::Float),
];

/// Places in a city of some thirty kilometres.
const PLACES: &str = "CAST(13.2 + n * 7919 % 100003 / 200006.0 AS DOUBLE PRECISION) AS lon, \
                      CAST(52.4 + n * 104729 % 99991 / 333333.0 AS DOUBLE PRECISION) AS lat";

/// The rows as the others make them.
const DUCKDB_ROWS: &str = "SELECT n, n % ({rows} // 100) AS hundred, n % 1000 AS common, printf('user-%08d', n) AS name, {places} \
                           FROM (SELECT i * {stride} % {rows} AS n FROM range({rows}) r(i))";
const CLICKHOUSE_ROWS: &str = "SELECT n, n % intDiv({rows}, 100) AS hundred, n % 1000 AS common, \
                               concat('user-', leftPad(toString(n), 8, '0')) AS name, {places} \
                               FROM (SELECT toInt64(number * {stride} % {rows}) AS n FROM numbers({rows}))";
const POSTGRES_ROWS: &str = "SELECT n, n % ({rows} / 100) AS hundred, n % 1000 AS common, \
                             ('user-' || lpad(n::text, 8, '0')) COLLATE \"C\" AS name, {places} \
                             FROM (SELECT i * {stride} % {rows} AS n FROM generate_series(0, {rows}::bigint - 1) i) r";

const PREDICATES: [(&str, &str); 10] = [
    ("equal, 1 row", "n = 4711"),
    ("equal, 100 rows", "hundred = 4711"),
    ("equal, a thousandth", "common = 471"),
    ("set of 5", "n IN (1, 200, 30000, 400001, 77)"),
    ("range, 100 rows", "n BETWEEN 40000 AND 40099"),
    ("range, 10,000 rows", "n BETWEEN 40000 AND 49999"),
    ("range, a hundredth", "n BETWEEN 40000 AND 139999"),
    ("prefix, 100 rows", "name LIKE 'user-000047%'"),
    ("two fields", "common = 711 AND n BETWEEN 40000 AND 139999"),
    ("places in a box", "lon BETWEEN 13.40005 AND 13.40155 AND lat BETWEEN 52.5 AND 52.5009"),
];

fn segment_of(id: u64, numbers: &[u64], rows: u64, indexes: &Indexes) -> Result<SegmentVersion> {
    let ints = |make: &dyn Fn(u64) -> u64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(numbers.iter().map(|n| make(*n) as i64)))
    };
    let names = StringArray::from_iter_values(numbers.iter().map(|n| format!("user-{n:08}")));
    let ids = StringArray::from_iter_values(numbers.iter().map(u64::to_string));
    let degrees = |least: f64, prime: u64, most: u64, share: f64| -> ArrayRef {
        let place = |n: &u64| least + (n * prime % most) as f64 / share;
        Arc::new(Float64Array::from_iter_values(numbers.iter().map(place)))
    };
    let arrays = [
        ints(&|n| n),
        ints(&|n| n % (rows / 100)),
        ints(&|n| n % 1_000),
        Arc::new(names),
        degrees(13.2, 7_919, 100_003, 200_006.0),
        degrees(52.4, 104_729, 99_991, 333_333.0),
    ];
    let columns = arrays.into_iter().zip(&FIELDS).enumerate().map(|(index, (array, (_, _, of)))| {
        (FieldId(index as u32 + 1), TypedColumns::new(numbers.len(), vec![(*of, array)]))
    });
    let sealed =
        segment::encode(&Segment::new(SegmentId(id), ids, None, columns.collect::<BTreeMap<_, _>>()), indexes)?;
    let object = Container::open("segment", Kind::Segment, &sealed.bytes)?;
    Ok(SegmentVersion::new(segment::decode(&object, &sealed.bytes, None)?))
}

/// What the others answer.
struct Others {
    /// How many rows pass each predicate.
    rows: Vec<usize>,
    /// Of each table its time for each.
    millis: Vec<Vec<f64>>,
}

impl Others {
    fn ask(rows: u64) -> Result<Self> {
        let made = |text: &str| {
            text.replace("{places}", PLACES)
                .replace("{rows}", &rows.to_string())
                .replace("{stride}", &STRIDE.to_string())
        };
        let indexes = |table: &str| {
            FIELDS.each_ref().map(|(name, _, _)| format!("CREATE INDEX {name}_index ON {table} ({name})"))
        };
        let asked = |table: &str| {
            PREDICATES.map(|(_, predicate)| format!("SELECT count(n + length(name)) FROM {table} WHERE {predicate}"))
        };
        let ask = |peer: Peer, setup: Vec<String>, tables: [&str; 2]| -> Result<[Vec<Answer>; 2]> {
            let queries = tables.map(asked).concat();
            let queries: Vec<&str> = queries.iter().map(String::as_str).collect();
            let mut first = peer.answers(&setup, &queries, RUNS)?;
            let second = first.split_off(PREDICATES.len());
            Ok([first, second])
        };
        let mut setup = vec!["SET threads = 2".to_string()];
        setup.extend(["plain", "indexed"].map(|table| made(&format!("CREATE TABLE {table} AS {DUCKDB_ROWS}"))));
        setup.extend(indexes("indexed"));
        let mut tables = Vec::from(ask(Peer::DuckDb, setup, ["plain", "indexed"])?);
        let mut setup = vec!["SET max_threads = 2".to_string(), "SET use_query_condition_cache = 0".to_string()];
        for (table, key) in [("plain", "tuple()"), ("keyed", "n")] {
            setup.push(made(&format!("CREATE TABLE {table} ENGINE = MergeTree ORDER BY {key} AS {CLICKHOUSE_ROWS}")));
            setup.push(format!("OPTIMIZE TABLE {table} FINAL"));
        }
        tables.extend(ask(Peer::ClickHouse, setup, ["plain", "keyed"])?);
        let count = |answer: &Answer| Ok(answer.rows[0][0].as_u64().context("a count")? as usize);
        let counts = |answers: &Vec<Answer>| answers.iter().map(count).collect::<Result<Vec<_>>>();
        let rows = counts(&tables[0])?;
        for table in &tables {
            ensure!(counts(table)? == rows, "peers do not agree");
        }
        let mut millis: Vec<Vec<f64>> =
            tables.iter().map(|answers| answers.iter().map(Answer::millis).collect()).collect();
        let postgres = Postgres::start()?;
        let indexes = indexes("indexed").join(";\n");
        postgres
            .run(&format!("CREATE TABLE indexed AS {};\n{indexes};\nVACUUM ANALYZE indexed;", made(POSTGRES_ROWS)))?;
        let answers = asked("indexed").each_ref().map(|query| postgres.time(query, RUNS));
        let answers = answers.into_iter().collect::<Result<Vec<_>>>()?;
        let found: Vec<String> = rows.iter().map(ToString::to_string).collect();
        ensure!(answers.iter().map(|(rows, _)| rows).eq(&found), "PostgreSQL finds {answers:?}");
        millis.push(answers.iter().map(|(_, millis)| *millis).collect());
        Ok(Self { rows, millis })
    }
}

fn main() -> Result<()> {
    let rows = std::env::var("BASALT_BENCH_ROWS").ok().map(|rows| rows.parse()).transpose()?.unwrap_or(ROWS);
    let mut schema = Schema::default();
    for (name, _, of) in &FIELDS {
        let field = schema.register(&[name.to_string()]);
        schema.register_type(field, *of);
    }
    let indexes = Indexes::new(Arc::new(schema.clone()), Indexing::default());
    let mut versions = Vec::new();
    for id in 0..SEGMENTS {
        let of_segment = id * rows / SEGMENTS..(id + 1) * rows / SEGMENTS;
        let numbers: Vec<u64> = of_segment.map(|index| index * STRIDE % rows).collect();
        versions.push(segment_of(id, &numbers, rows, &indexes)?);
    }
    let others = Others::ask(rows)?;
    let fields: Vec<Field> = FIELDS.iter().map(|(name, of, _)| Field::new(*name, of.clone(), true)).collect();
    let arrow = Arc::new(ArrowSchema::new(fields));
    let columns: Arc<[ScanColumn]> = (1..=FIELDS.len() as u32).map(|field| ScanColumn::field(FieldId(field))).collect();
    let context = SessionContext::new();
    println!("{rows} rows in {SEGMENTS} segments; microseconds");
    println!(
        "{:<22} {:>6} {:>8} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}",
        "", "rows", "chosen", "by terms", "by columns", "DuckDB", "its index", "ClickHouse", "its key", "PostgreSQL"
    );
    for (index, (name, predicate)) in PREDICATES.iter().enumerate() {
        let frame = DFSchema::try_from(Arc::clone(&arrow))?;
        let expression = context.parse_sql_expr(predicate, &frame)?;
        let predicate = context.create_physical_expr(expression, &frame)?;
        let filter = ScanFilter { schema: Arc::clone(&arrow), columns: Arc::clone(&columns), predicate };
        let selector = Selector::new(&filter, &schema)?;
        let expected = others.rows[index];
        let mut times = Vec::new();
        for path in [None, Some(AccessPath::IndexFilter), Some(AccessPath::ColumnScan)] {
            let found = scan(&versions, &selector, &schema, path, COLUMNS)?;
            ensure!(found == expected, "{name}: {found} rows, not {expected}");
            times.push(micros(|| scan(&versions, &selector, &schema, path, COLUMNS))?);
        }
        print!("{name:<22} {expected:>6} {:>8.0} {:>10.0} {:>10.0}", times[0], times[1], times[2]);
        others.millis.iter().for_each(|millis| print!(" {:>10.0}", millis[index] * 1e3));
        println!();
    }
    Ok(())
}
