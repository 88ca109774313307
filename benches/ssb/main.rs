//! The Star Schema Benchmark, flat, beside DuckDB and ClickHouse in the same run: warm, the median of several; and with patches.
//!
//! The rows go in as JSON over HTTP; the server is then stopped and started, so that all of them are read from file segments. The
//! peers read the same JSON into tables with declared types, ClickHouse's sorted by date. Times are those that a client sees. Then
//! growing shares of the rows are patched in three fields that the queries read, with the values that they have, so that the answers
//! stay; each time the queries are asked again, beside their own times before: at once, while a few patches go on coming, and when the
//! server was at rest and started anew. ClickHouse gets a tenth of the rows patched, which it does not merge.
//! `BASALT_BENCH_ROWS` says how many rows. Run: `make bench`.
#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]

mod rows;

use anyhow::{Context, Result, ensure};
use basalt_harness::comparison::{self, Comparison, millis};
use basalt_harness::peers::{Outcome, Peer};

use crate::rows::{COLUMNS, Dimensions, NUMBER, ROWS};

const TABLE: &str = "lineorder_flat";

/// ClickHouse's rows lie in the order of their dates, as its documentation has them.
const KEY: &str = "d_year, d_yearmonthnum, lo_orderdate, lo_orderkey";

/// Of a thousand rows, how many are patched.
const PATCHED: [u64; 4] = [1, 10, 100, 500];

/// The same of ClickHouse's.
const PATCHED_THERE: u64 = 100;

const QUERIES: [(&str, &str); 13] = [
    (
        "Q1.1",
        "SELECT sum(lo_extendedprice * lo_discount) AS revenue FROM lineorder_flat \
         WHERE d_year = 1993 AND lo_discount BETWEEN 1 AND 3 AND lo_quantity < 25",
    ),
    (
        "Q1.2",
        "SELECT sum(lo_extendedprice * lo_discount) AS revenue FROM lineorder_flat \
         WHERE d_yearmonthnum = 199401 AND lo_discount BETWEEN 4 AND 6 AND lo_quantity BETWEEN 26 AND 35",
    ),
    (
        "Q1.3",
        "SELECT sum(lo_extendedprice * lo_discount) AS revenue FROM lineorder_flat \
         WHERE d_weeknuminyear = 6 AND d_year = 1994 AND lo_discount BETWEEN 5 AND 7 AND lo_quantity BETWEEN 26 AND 35",
    ),
    (
        "Q2.1",
        "SELECT sum(lo_revenue) AS revenue, d_year, p_brand FROM lineorder_flat \
         WHERE p_category = 'MFGR#12' AND s_region = 'AMERICA' GROUP BY d_year, p_brand ORDER BY d_year, p_brand",
    ),
    (
        "Q2.2",
        "SELECT sum(lo_revenue) AS revenue, d_year, p_brand FROM lineorder_flat WHERE p_brand >= 'MFGR#2221' \
         AND p_brand <= 'MFGR#2228' AND s_region = 'ASIA' GROUP BY d_year, p_brand ORDER BY d_year, p_brand",
    ),
    (
        "Q2.3",
        "SELECT sum(lo_revenue) AS revenue, d_year, p_brand FROM lineorder_flat \
         WHERE p_brand = 'MFGR#2239' AND s_region = 'EUROPE' GROUP BY d_year, p_brand ORDER BY d_year, p_brand",
    ),
    (
        "Q3.1",
        "SELECT c_nation, s_nation, d_year, sum(lo_revenue) AS revenue FROM lineorder_flat WHERE c_region = 'ASIA' \
         AND s_region = 'ASIA' AND d_year >= 1992 AND d_year <= 1997 GROUP BY c_nation, s_nation, d_year \
         ORDER BY d_year ASC, revenue DESC",
    ),
    (
        "Q3.2",
        "SELECT c_city, s_city, d_year, sum(lo_revenue) AS revenue FROM lineorder_flat WHERE c_nation = 'UNITED STATES' \
         AND s_nation = 'UNITED STATES' AND d_year >= 1992 AND d_year <= 1997 GROUP BY c_city, s_city, d_year \
         ORDER BY d_year ASC, revenue DESC",
    ),
    (
        "Q3.3",
        "SELECT c_city, s_city, d_year, sum(lo_revenue) AS revenue FROM lineorder_flat \
         WHERE (c_city = 'UNITED KI1' OR c_city = 'UNITED KI5') AND (s_city = 'UNITED KI1' OR s_city = 'UNITED KI5') \
         AND d_year >= 1992 AND d_year <= 1997 GROUP BY c_city, s_city, d_year ORDER BY d_year ASC, revenue DESC",
    ),
    (
        "Q3.4",
        "SELECT c_city, s_city, d_year, sum(lo_revenue) AS revenue FROM lineorder_flat \
         WHERE (c_city = 'UNITED KI1' OR c_city = 'UNITED KI5') AND (s_city = 'UNITED KI1' OR s_city = 'UNITED KI5') \
         AND d_yearmonthnum = 199712 GROUP BY c_city, s_city, d_year ORDER BY d_year ASC, revenue DESC",
    ),
    (
        "Q4.1",
        "SELECT d_year, c_nation, sum(lo_revenue - lo_supplycost) AS profit FROM lineorder_flat WHERE c_region = 'AMERICA' \
         AND s_region = 'AMERICA' AND (p_mfgr = 'MFGR#1' OR p_mfgr = 'MFGR#2') GROUP BY d_year, c_nation \
         ORDER BY d_year ASC, c_nation ASC",
    ),
    (
        "Q4.2",
        "SELECT d_year, s_nation, p_category, sum(lo_revenue - lo_supplycost) AS profit FROM lineorder_flat \
         WHERE c_region = 'AMERICA' AND s_region = 'AMERICA' AND (d_year = 1997 OR d_year = 1998) \
         AND (p_mfgr = 'MFGR#1' OR p_mfgr = 'MFGR#2') GROUP BY d_year, s_nation, p_category \
         ORDER BY d_year ASC, s_nation ASC, p_category ASC",
    ),
    (
        "Q4.3",
        "SELECT d_year, s_city, p_brand, sum(lo_revenue - lo_supplycost) AS profit FROM lineorder_flat \
         WHERE s_nation = 'UNITED STATES' AND (d_year = 1997 OR d_year = 1998) AND p_category = 'MFGR#14' \
         GROUP BY d_year, s_city, p_brand ORDER BY d_year ASC, s_city ASC, p_brand ASC",
    ),
];

#[tokio::main]
async fn main() -> Result<()> {
    let rows = std::env::var("BASALT_BENCH_ROWS").ok().map(|rows| rows.parse()).transpose()?.unwrap_or(ROWS);
    let dimensions = Dimensions::new(rows);
    let mut comparison = Comparison::start(TABLE, &QUERIES)?;
    let file = comparison.folder().join("lineorder_flat.json");
    let loaded = comparison.load(dimensions.rows(rows).map(|row| row.document()), &file).await?;
    ensure!(loaded.items == rows, "{} rows were made", loaded.items);
    println!("documents: {loaded}; {}", comparison.reopen().await?);
    let duckdb = comparison.answers(Peer::DuckDb, comparison::duckdb_table(TABLE, &COLUMNS, &file))?;
    let table = comparison::clickhouse_table(TABLE, &COLUMNS, KEY, &file);
    let clickhouse = Peer::ClickHouse.rounds(&[comparison.round(table), comparison.round(patch_there())])?;
    std::fs::remove_file(&file)?;
    let [before, patched]: [Outcome; 2] = clickhouse.try_into().ok().context("two rounds")?;
    comparison.agree(&duckdb, &before.answers)?;
    comparison.agree(&duckdb, &patched.answers)?;
    let unpatched = comparison.times(&duckdb).await?;
    let there = millis(&before.answers);
    println!("{}", comparison.beside(&unpatched, &[("DuckDB", &millis(&duckdb)), ("ClickHouse", &there)]));
    println!(
        "ClickHouse: {PATCHED_THERE} of 1000 rows patched in three columns in {:.2} s with {:.2} s of CPU, not merged",
        patched.seconds, patched.cpu_seconds
    );
    println!("{}", comparison.after(&there, &[("patched", &millis(&patched.answers))]));
    for share in PATCHED {
        let drawn =
            || dimensions.rows(rows).filter(|row| comparison::is_drawn(row.number(), share)).map(|row| row.patch());
        println!("{}", comparison.patched(drawn, &unpatched, &duckdb).await?);
    }
    Ok(())
}

/// What patches ClickHouse's rows: the same rows as ours.
fn patch_there() -> Vec<String> {
    let drawn = comparison::is_drawn_sql(NUMBER, PATCHED_THERE);
    let set = "lo_discount = lo_discount, lo_revenue = lo_revenue, p_brand = p_brand";
    vec![
        format!("SYSTEM STOP MERGES {TABLE}"),
        "SET enable_lightweight_update = 1".into(),
        format!("UPDATE {TABLE} SET {set} WHERE {drawn}"),
    ]
}
