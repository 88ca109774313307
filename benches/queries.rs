//! Queries on one table, TPC-H's lineitem, beside DuckDB and ClickHouse in the same run: warm, the median of several.
//!
//! The rows go in as JSON over HTTP; the server is then stopped and started, so that all of them are read from file segments. The
//! peers read the same JSON into tables with declared types, ClickHouse's sorted by TPC-H's key. Dates are texts here, as JSON has no
//! dates, and dates there. Times are those that a client sees. Then growing shares of the rows are patched in three fields that the
//! queries read, with the values that they have, so that the answers stay; each time the queries are asked again, beside their own
//! times before: at once, while a few patches go on coming, and when the server was at rest and started anew. `BASALT_BENCH_ROWS` says
//! how many rows, or `BASALT_BENCH_SCALE` which scale factor of TPC-H, whole. Run: `make bench`.
#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]

use anyhow::{Result, ensure};
use basalt_harness::comparison::{self, Column, Comparison, millis};
use basalt_harness::peers::Peer;
use serde_json::json;
use tpchgen::generators::{LineItem, LineItemGenerator};

const TABLE: &str = "lineitem";

/// The key of TPC-H's table, by which ClickHouse's rows are sorted.
const KEY: &str = "l_orderkey, l_linenumber";

/// Rows unless told otherwise: a fifth of scale factor 1.
const ROWS: usize = 1_200_000;

/// Of a thousand rows, how many are patched.
const PATCHED: [u64; 4] = [1, 10, 100, 500];

const QUERIES: [(&str, &str); 11] = [
    ("count(*)", "SELECT count(*) AS n FROM lineitem"),
    (
        "Q1",
        "SELECT l_returnflag, l_linestatus, sum(l_quantity) AS q, sum(l_extendedprice) AS p, \
         sum(l_extendedprice * (1 - l_discount)) AS d, sum(l_extendedprice * (1 - l_discount) * (1 + l_tax)) AS c, \
         avg(l_quantity) AS aq, avg(l_extendedprice) AS ap, avg(l_discount) AS ad, count(*) AS n FROM lineitem \
         WHERE l_shipdate <= '1998-09-02' GROUP BY l_returnflag, l_linestatus ORDER BY l_returnflag, l_linestatus",
    ),
    (
        "Q6",
        "SELECT sum(l_extendedprice * l_discount) AS r FROM lineitem WHERE l_shipdate >= '1994-01-01' \
         AND l_shipdate < '1995-01-01' AND l_discount BETWEEN 0.05 AND 0.07 AND l_quantity < 24",
    ),
    (
        "group by ship mode",
        "SELECT l_shipmode, count(*) AS n, sum(l_quantity) AS q FROM lineitem GROUP BY l_shipmode ORDER BY l_shipmode",
    ),
    ("LIKE", "SELECT count(*) AS n FROM lineitem WHERE l_comment LIKE '%special%requests%'"),
    (
        "top 10",
        "SELECT l_orderkey, l_linenumber, l_extendedprice FROM lineitem \
         ORDER BY l_extendedprice DESC, l_orderkey, l_linenumber LIMIT 10",
    ),
    (
        "one order",
        "SELECT l_orderkey, l_linenumber, l_comment FROM lineitem WHERE l_orderkey = 7 ORDER BY l_linenumber",
    ),
    ("100 orders", "SELECT sum(l_quantity) AS q FROM lineitem WHERE l_orderkey BETWEEN 10000 AND 10100"),
    ("two fields", "SELECT count(*) AS n FROM lineitem WHERE l_partkey = 1552 AND l_shipmode = 'AIR'"),
    ("one _id", "SELECT l_orderkey, l_linenumber, l_comment FROM lineitem WHERE _id = '7-2'"),
    ("count a text", "SELECT count(*) AS n FROM lineitem WHERE l_shipmode = 'AIR'"),
];

/// The table as the peers declare it.
const COLUMNS: [Column; 17] = [
    ("_id", "VARCHAR", "String"),
    ("l_orderkey", "UINTEGER", "UInt32"),
    ("l_partkey", "UINTEGER", "UInt32"),
    ("l_suppkey", "UINTEGER", "UInt32"),
    ("l_linenumber", "UTINYINT", "UInt8"),
    ("l_quantity", "UTINYINT", "UInt8"),
    ("l_extendedprice", "DOUBLE", "Float64"),
    ("l_discount", "DOUBLE", "Float64"),
    ("l_tax", "DOUBLE", "Float64"),
    ("l_returnflag", "VARCHAR", "LowCardinality(String)"),
    ("l_linestatus", "VARCHAR", "LowCardinality(String)"),
    ("l_shipdate", "DATE", "Date"),
    ("l_commitdate", "DATE", "Date"),
    ("l_receiptdate", "DATE", "Date"),
    ("l_shipinstruct", "VARCHAR", "LowCardinality(String)"),
    ("l_shipmode", "VARCHAR", "LowCardinality(String)"),
    ("l_comment", "VARCHAR", "String"),
];

/// So many rows, of a scale factor that has them.
struct Rows {
    scale: f64,
    count: usize,
}

impl Rows {
    /// Those that the environment asks for.
    fn asked() -> Result<Self> {
        if let Ok(scale) = std::env::var("BASALT_BENCH_SCALE") {
            let scale = scale.parse()?;
            return Ok(Self { scale, count: LineItemGenerator::new(scale, 1, 1).iter().count() });
        }
        let count = std::env::var("BASALT_BENCH_ROWS").ok().map(|rows| rows.parse()).transpose()?.unwrap_or(ROWS);
        Ok(Self { scale: count as f64 / 6_000_000.0 + 0.01, count })
    }

    /// Something of each row.
    fn each<T>(&self, mut make: impl FnMut(usize, LineItem<'_>) -> T) -> impl Iterator<Item = T> {
        LineItemGenerator::new(self.scale, 1, 1)
            .iter()
            .take(self.count)
            .enumerate()
            .map(move |(index, row)| make(index, row))
    }

    /// Patches of every thousand rows so many, with the values that they have.
    fn patches(&self, of_thousand: u64) -> impl Iterator<Item = String> {
        let patch = move |index, row: LineItem<'_>| {
            comparison::is_drawn(index as u64, of_thousand).then(|| {
                let (discount, mode) = (row.l_discount.0 as f64 / 100.0, row.l_shipmode);
                let fields = json!({ "l_quantity": row.l_quantity, "l_discount": discount, "l_shipmode": mode });
                json!({ "_id": format!("{}-{}", row.l_orderkey, row.l_linenumber), "merge": fields }).to_string()
            })
        };
        self.each(patch).flatten()
    }
}

/// A row as a document, a line of JSON.
fn document(row: &LineItem<'_>) -> String {
    let cents = |value: i64| format!("{}.{:02}", value / 100, value % 100);
    let numbers = format!(
        "{{\"_id\":\"{order}-{line}\",\"l_orderkey\":{order},\"l_partkey\":{},\"l_suppkey\":{},\"l_linenumber\":{line},\
         \"l_quantity\":{},\"l_extendedprice\":{},\"l_discount\":{},\"l_tax\":{}",
        row.l_partkey,
        row.l_suppkey,
        row.l_quantity,
        cents(row.l_extendedprice.0),
        cents(row.l_discount.0),
        cents(row.l_tax.0),
        order = row.l_orderkey,
        line = row.l_linenumber,
    );
    let texts = [
        ("l_returnflag", row.l_returnflag.to_string()),
        ("l_linestatus", row.l_linestatus.to_string()),
        ("l_shipdate", row.l_shipdate.to_string()),
        ("l_commitdate", row.l_commitdate.to_string()),
        ("l_receiptdate", row.l_receiptdate.to_string()),
        ("l_shipinstruct", row.l_shipinstruct.to_string()),
        ("l_shipmode", row.l_shipmode.to_string()),
        ("l_comment", row.l_comment.to_string()),
    ];
    let texts = texts.iter().map(|(name, text)| format!(",\"{name}\":{}", json!(text)));
    numbers + &texts.collect::<String>() + "}"
}

#[tokio::main]
async fn main() -> Result<()> {
    let rows = Rows::asked()?;
    let mut comparison = Comparison::start(TABLE, &QUERIES)?;
    let file = comparison.folder().join("lineitem.json");
    let loaded = comparison.load(rows.each(|_, row| document(&row)), &file).await?;
    ensure!(loaded.items == rows.count, "{} rows were made", loaded.items);
    println!("documents: {loaded}; {}", comparison.reopen().await?);
    let duckdb = comparison.answers(Peer::DuckDb, comparison::duckdb_table(TABLE, &COLUMNS, &file))?;
    let clickhouse = comparison.answers(Peer::ClickHouse, comparison::clickhouse_table(TABLE, &COLUMNS, KEY, &file))?;
    std::fs::remove_file(&file)?;
    comparison.agree(&duckdb, &clickhouse)?;
    let unpatched = comparison.times(&duckdb).await?;
    let peers = [("DuckDB", &*millis(&duckdb)), ("ClickHouse", &*millis(&clickhouse))];
    println!("{}", comparison.beside(&unpatched, &peers));
    for share in PATCHED {
        println!("{}", comparison.patched(|| rows.patches(share), &unpatched, &duckdb).await?);
    }
    Ok(())
}
