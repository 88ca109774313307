//! Numbers as JavaScript writes them, 13 for 13.0: one field has ints and floats, and is one column of numbers, in memory and in files, by every way.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use basalt_harness::server::{Live, Server};
use reqwest::Method;
use serde_json::{Value as Json, json};

const DOCUMENTS: usize = 4_000;

const HINTS: [&str; 4] =
    ["", "HINT(access_path=index_filter)", "HINT(access_path=column_scan)", "HINT(access_path=row_scan)"];

/// A document's number: quarters, and both zeros.
fn number(document: usize) -> f64 {
    match document {
        7 => -0.0,
        _ => document as f64 / 4.0 - 500.0,
    }
}

/// A document; its number is an int where it is whole.
fn document(index: usize) -> Json {
    let number = number(index);
    match number.fract() == 0.0 && number.to_bits() != (-0.0_f64).to_bits() {
        true => json!({ "_id": index.to_string(), "x": number as i64 }),
        false => json!({ "_id": index.to_string(), "x": number }),
    }
}

async fn check(live: &Live, when: &str) -> Result<()> {
    type Passes = fn(f64) -> bool;
    let conditions: [(&str, Passes); 9] = [
        ("x = 0", |x| x == 0.0),
        ("x = -0.0", |x| x == 0.0),
        ("x = 12.25 OR x = 12", |x| x == 12.25 || x == 12.0),
        ("x < 0", |x| x < 0.0),
        ("x >= 0 AND x <= 2.5", |x| (0.0..=2.5).contains(&x)),
        ("x > 10 AND x < 10.6", |x| x > 10.0 && x < 10.6),
        ("x IN (0, 3, 3.5, 12.25, 400, 12345)", |x| [0.0, 3.0, 3.5, 12.25, 400.0].contains(&x)),
        ("x NOT IN (0, 3, 3.5, 12.25, 400, 12345)", |x| ![0.0, 3.0, 3.5, 12.25, 400.0].contains(&x)),
        ("x <> 0 AND x BETWEEN -1 AND 1", |x| x != 0.0 && (-1.0..=1.0).contains(&x)),
    ];
    for (condition, passes) in conditions {
        let expected: BTreeSet<usize> = (0..DOCUMENTS).filter(|index| passes(number(*index))).collect();
        for hint in HINTS {
            let sql = format!("SELECT _id FROM docs {hint} WHERE {condition}");
            let (status, reply) = live.query(json!({ "sql": sql, "rows": "arrays" })).await?;
            let rows = reply["rows"].as_array().filter(|_| status == 200).with_context(|| format!("{sql}: {reply}"))?;
            let ids = rows.iter().map(|row| Ok(row[0].as_str().context("an _id is a text")?.parse()?));
            let found: BTreeSet<usize> = ids.collect::<Result<_>>()?;
            ensure!(found == expected, "{sql}, {when}: {found:?}, not {expected:?}");
        }
    }
    for (order, expected) in [("x", ["0", "1", "2"]), ("x DESC, _id", ["3999", "3998", "3997"])] {
        let sql = format!("SELECT _id FROM docs WHERE x < 0 OR x > 1 ORDER BY {order} LIMIT 3");
        let reply = live.query(json!({ "sql": sql, "rows": "arrays" })).await?.1;
        ensure!(reply["rows"] == json!(expected.map(|id| [id])), "{sql}, {when}: {reply}");
    }
    let sql = "SELECT count(*) FILTER (WHERE x IN (0, 3, 3.5, 12.25, 400, 12345)) AS n FROM docs";
    let reply = live.query(json!({ "sql": sql, "rows": "arrays" })).await?.1;
    ensure!(reply["rows"] == json!([[6]]), "{sql}, {when}: {reply}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ints_and_floats_are_numbers() -> Result<()> {
    let mut live = Live::start(&["--shards", "1"])?;
    live.write(Method::POST, Json::Array((0..DOCUMENTS).map(document).collect()).to_string()).await?;
    check(&live, "in memory").await?;
    live.server.stop()?;
    live.server = Server::start(live.data.path(), &["--shards", "1"])?;
    check(&live, "in files").await?;
    for condition in ["x = 12", "x = 12.25", "x > 10 AND x < 10.6"] {
        let sql = format!("EXPLAIN ANALYZE SELECT _id FROM docs WHERE {condition}");
        let shown = live.query(json!({ "sql": sql })).await?.1.to_string();
        ensure!(shown.contains("by index_filter"), "{condition} is not looked for in the indexes: {shown}");
    }
    let sql = "EXPLAIN ANALYZE SELECT _id FROM docs ORDER BY x DESC LIMIT 3";
    let shown = live.query(json!({ "sql": sql })).await?.1.to_string();
    ensure!(shown.contains("by index_order"), "the last are not found by the indexes: {shown}");
    let patches = (0..DOCUMENTS).filter(|index| index % 3 == 0).map(document);
    let patches = patches.map(|document| json!({ "_id": document["_id"], "merge": { "x": document["x"] } }));
    live.write(Method::PATCH, Json::Array(patches.collect()).to_string()).await?;
    check(&live, "with a third patched").await
}
