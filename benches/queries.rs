//! Queries on one table, TPC-H's lineitem, beside DuckDB in the same run: warm, the median of several.
//!
//! The rows go in as JSON over HTTP; the server is then stopped and started, so that all of them are read from file segments.
//! DuckDB reads the same JSON into a table of its own. Dates are texts here, as JSON has no dates, and dates there. Times are those
//! that a client sees. Then growing shares of the rows are patched in three fields that the queries read, with the values that they
//! have, so that the answers stay; each time the queries are asked again, beside their own times before: at once, and when the server was started anew and is at rest. `BASALT_BENCH_ROWS` says how
//! many rows. Run: `make bench`.
#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use basalt_common::clock::{Clock, SystemClock};
use basalt_harness::duckdb;
use basalt_harness::server::{Live, Server};
use reqwest::Method;
use serde_json::{Value as Json, json};
use tpchgen::generators::LineItemGenerator;

const DOCUMENTS: &str = "/v1/workspaces/public/collections/lineitem/documents";

/// Rows unless told otherwise: a fifth of scale factor 1.
const ROWS: usize = 1_200_000;

/// Documents of one request.
const BODY_DOCUMENTS: usize = 5_000;

/// How often a query is asked; once before that, unmeasured.
const RUNS: usize = 15;

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

/// The rows as lines of JSON.
fn lines(rows: usize) -> Vec<String> {
    let generator = LineItemGenerator::new(rows as f64 / 6_000_000.0 + 0.01, 1, 1);
    let cents = |value: i64| format!("{}.{:02}", value / 100, value % 100);
    let mut bodies = vec![String::new()];
    for (index, row) in generator.iter().take(rows).enumerate() {
        if index % BODY_DOCUMENTS == 0 && index > 0 {
            bodies.push(String::new());
        }
        let body = bodies.last_mut().expect("there is one");
        let _ = write!(
            body,
            "{{\"_id\":\"{}-{}\",\"l_orderkey\":{},\"l_partkey\":{},\"l_suppkey\":{},\"l_linenumber\":{},\"l_quantity\":{},",
            row.l_orderkey,
            row.l_linenumber,
            row.l_orderkey,
            row.l_partkey,
            row.l_suppkey,
            row.l_linenumber,
            row.l_quantity
        );
        let (price, discount, tax) = (row.l_extendedprice.0, row.l_discount.0, row.l_tax.0);
        let _ = write!(
            body,
            "\"l_extendedprice\":{},\"l_discount\":{},\"l_tax\":{},",
            cents(price),
            cents(discount),
            cents(tax)
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
        for (index, (name, text)) in texts.iter().enumerate() {
            let _ = write!(body, "{}\"{name}\":{}", if index > 0 { "," } else { "" }, json!(text));
        }
        body.push_str("}\n");
    }
    bodies
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

#[tokio::main]
async fn main() -> Result<()> {
    let rows = std::env::var("BASALT_BENCH_ROWS").ok().map(|rows| rows.parse()).transpose()?.unwrap_or(ROWS);
    let (clock, bodies) = (SystemClock::default(), lines(rows));
    let bytes: usize = bodies.iter().map(String::len).sum();
    let mut live = Live::start(&[])?;
    let started = clock.monotonic();
    for body in &bodies {
        let headers = [("content-type", "application/x-ndjson")];
        let reply = live.server.send(Method::POST, DOCUMENTS, &headers, body.clone()).await?;
        ensure!(reply.status().is_success(), "{}", reply.text().await?);
    }
    let took = (clock.monotonic() - started).as_secs_f64();
    live.server.stop()?;
    let flushed = (clock.monotonic() - started).as_secs_f64();
    live.server = Server::start(live.data.path(), &[])?;
    let wait = json!({ "sql": "SELECT count(*) AS n FROM lineitem", "timeout_ms": 60_000 });
    let (status, reply) = live.query(wait).await?;
    ensure!(status == 200 && reply["rows"][0]["n"] == rows, "{reply}");
    let opened = (clock.monotonic() - started).as_secs_f64() - flushed;
    println!(
        "{rows} rows, {} MiB of JSON: taken in {took:.1} s, stopped at {flushed:.1} s, open {opened:.1} s later",
        bytes >> 20
    );
    let file = live.data.path().join("lineitem.json");
    let mut written = std::fs::File::create(&file)?;
    bodies.iter().try_for_each(|body| written.write_all(body.as_bytes()))?;
    let setup = [
        "SET threads = 2".to_string(),
        format!("CREATE TABLE lineitem AS SELECT * FROM read_json('{}')", file.display()),
    ];
    let theirs = duckdb::times(&setup, &QUERIES.map(|(_, sql)| sql), RUNS)?;
    println!("{:<20} {:>10} {:>10} {:>8}", "", "ours ms", "DuckDB ms", "ratio");
    let mut product = 1.0_f64;
    let mut unpatched = Vec::new();
    for ((name, sql), theirs) in QUERIES.iter().zip(&theirs) {
        let ours = ask(&live, &clock, (name, sql), &theirs.rows).await?;
        let ratio = ours / theirs.millis;
        product *= ratio;
        unpatched.push(ours);
        println!("{name:<20} {ours:>10.2} {:>10.2} {ratio:>8.2}", theirs.millis);
    }
    println!("{:<20} {:>30.2}", "geometric mean", product.powf(1.0 / QUERIES.len() as f64));
    for share in PATCHED {
        let started = clock.monotonic();
        let count = patch(&live, rows, share).await?;
        let took = (clock.monotonic() - started).as_secs_f64();
        println!("{count} rows patched in three fields in {took:.1} s; milliseconds, and times those before:");
        let at_once = again(&live, &clock, &theirs).await?;
        live.server.stop()?;
        live.server = Server::start(live.data.path(), &[])?;
        // A shard is at rest after a second; folding what was laid over its fields takes less than that again.
        tokio::time::sleep(Duration::from_secs(4)).await;
        let settled = again(&live, &clock, &theirs).await?;
        let mut products = (1.0_f64, 1.0_f64);
        for (((name, _), before), (at_once, settled)) in
            QUERIES.iter().zip(&unpatched).zip(at_once.iter().zip(&settled))
        {
            let ratios = (at_once / before, settled / before);
            products = (products.0 * ratios.0, products.1 * ratios.1);
            println!(
                "  {name:<20} at once {at_once:>8.2} {:>6.2}   at rest {settled:>8.2} {:>6.2}",
                ratios.0, ratios.1
            );
        }
        let mean = |product: f64| product.powf(1.0 / QUERIES.len() as f64);
        println!("  {:<20} at once {:>15.2}   at rest {:>15.2}", "geometric mean", mean(products.0), mean(products.1));
    }
    Ok(())
}

/// The median time of a query whose rows must be these.
async fn ask(live: &Live, clock: &SystemClock, (name, sql): (&str, &str), rows: &Json) -> Result<f64> {
    let mut times = Vec::new();
    for run in 0..=RUNS {
        let started = clock.monotonic();
        let (status, reply) = live.query(json!({ "sql": sql, "rows": "arrays" })).await?;
        let took: Duration = clock.monotonic() - started;
        ensure!(status == 200, "{name}: {reply}");
        ensure!(run > 0 || duckdb::equal(&reply["rows"], rows), "{name}: {reply}\nexpected {rows}");
        if run > 0 {
            times.push(took.as_secs_f64() * 1e3);
        }
    }
    Ok(median(times))
}

async fn again(live: &Live, clock: &SystemClock, expected: &[duckdb::Timed]) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    for (query, expected) in QUERIES.iter().zip(expected) {
        times.push(ask(live, clock, *query, &expected.rows).await?);
    }
    Ok(times)
}

/// Patches of every thousand rows the first so many, in an order without pattern, with the values that they have.
async fn patch(live: &Live, rows: usize, of_thousand: u64) -> Result<usize> {
    let mut count = 0;
    let mut items: Vec<Json> = Vec::new();
    let mut fence = String::new();
    let generator = LineItemGenerator::new(rows as f64 / 6_000_000.0 + 0.01, 1, 1);
    for (index, row) in generator.iter().take(rows).enumerate() {
        let drawn = (index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        if drawn % 1_000 < of_thousand {
            let discount = row.l_discount.0 as f64 / 100.0;
            let fields = json!({ "l_quantity": row.l_quantity, "l_discount": discount, "l_shipmode": row.l_shipmode });
            items.push(json!({ "_id": format!("{}-{}", row.l_orderkey, row.l_linenumber), "merge": fields }));
        }
        if items.len() == BODY_DOCUMENTS || (index + 1 == rows && !items.is_empty()) {
            count += items.len();
            let body = json!(std::mem::take(&mut items)).to_string();
            let (status, reply) = live.server.json(Method::PATCH, DOCUMENTS, body).await?;
            ensure!(status == 200 && reply["failed"] == 0, "{reply}");
            fence = reply["fence"].as_str().context("a fence")?.to_string();
        }
    }
    let body = json!({ "fence": fence, "timeout_ms": 60_000 }).to_string();
    let (status, reply) = live.server.json(Method::POST, "/v1/fences/wait", body).await?;
    ensure!(status == 200, "{reply}");
    Ok(count)
}
