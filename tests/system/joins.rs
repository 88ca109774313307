//! Joins whose one side says, while the query runs, which rows of the other are wanted: answers equal another engine's, in memory, in
//! files and patched, and the rows are found by terms and by keys.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;

use anyhow::{Context, Result, ensure};
use basalt_common::random::SeededRandom;
use basalt_harness::peers::{self, Peer};
use basalt_harness::server::{Live, Server};
use reqwest::Method;
use serde_json::{Value as Json, json};

const FACTS: u64 = 20_000;
const PICKS: u64 = 40;

/// Joins of every kind, by one field, two, the `_id`, an expression; with the small side first and last.
const QUERIES: [&str; 21] = [
    "SELECT count(*) AS n, sum(f.v) AS v FROM facts f JOIN picks p ON f.k = p.k WHERE p.w < 3",
    "SELECT p._id AS id, count(f._id) AS n, sum(f.v) AS v FROM picks p JOIN facts f ON f.s = p.s GROUP BY p._id ORDER BY id",
    "SELECT count(*) AS n, count(p._id) AS m FROM facts f LEFT JOIN picks p ON f.k = p.k AND p.w = 2",
    "SELECT count(*) AS n, count(f._id) AS m FROM facts f RIGHT JOIN picks p ON f.k = p.k",
    "SELECT count(*) AS n, count(f._id) AS m, count(p._id) AS o FROM facts f FULL JOIN picks p ON f.k = p.k",
    "SELECT count(*) AS n, sum(f.v) AS v FROM facts f WHERE EXISTS (SELECT 1 FROM picks p WHERE p.k = f.k AND p.w > 4)",
    "SELECT count(*) AS n, sum(f.v) AS v FROM facts f WHERE NOT EXISTS (SELECT 1 FROM picks p WHERE p.k = f.k)",
    "SELECT count(*) AS n FROM facts WHERE k NOT IN (SELECT k FROM picks WHERE k IS NOT NULL)",
    "SELECT count(*) AS n, sum(v) AS v FROM facts WHERE s IN (SELECT s FROM facts WHERE v < 300000)",
    "SELECT count(*) AS n FROM facts WHERE s NOT IN (SELECT s FROM facts WHERE v < 300000)",
    "SELECT count(*) AS n FROM facts WHERE k NOT IN (SELECT k FROM facts WHERE v < 300000)",
    "SELECT count(*) AS n FROM facts f WHERE EXISTS (SELECT 1 FROM facts g WHERE g.k = f.k AND g.s = f.s AND g.v < 500000) OR f.v < 9000",
    "SELECT count(*) AS n FROM facts f WHERE NOT EXISTS (SELECT 1 FROM facts g WHERE g.k = f.k AND g.k = f.v AND g.s = f.s)",
    "SELECT count(*) AS n FROM picks WHERE k IN (SELECT k FROM facts)",
    "SELECT count(*) AS n FROM (SELECT k, v FROM facts WHERE v < 20000) f \
     WHERE EXISTS (SELECT 1 FROM (SELECT k AS key1, v AS key0 FROM facts) g WHERE g.key1 = f.k AND g.key0 = f.v)",
    "SELECT f._id AS id, f.v AS v FROM facts f JOIN picks p ON f._id = p.fact ORDER BY id",
    "SELECT count(*) AS n FROM facts f JOIN picks p ON f.k = p.k AND f.s = p.s",
    "SELECT count(*) AS n, max(f.v) AS v FROM facts f JOIN picks p ON f.k + 1 = p.k",
    "SELECT count(*) AS n FROM facts f JOIN picks p ON f.k = p.k JOIN picks q ON f.s = q.s WHERE q.w = 1",
    "SELECT max(v) AS most, min(v) AS least, min(s) AS first, count(*) AS n FROM facts WHERE k < 1000",
    "SELECT count(*) AS n FROM (SELECT k AS key FROM facts WHERE k < 4000) f JOIN picks p ON f.key = p.k",
];

type Documents = BTreeMap<String, Json>;

fn fact(random: &mut SeededRandom, id: &str) -> Json {
    let mut fact = json!({ "_id": id, "k": random.below(5_000), "s": format!("s{}", random.below(3_000)) });
    match random.below(10) {
        0 => fact["k"] = Json::Null,
        1 => drop(fact.as_object_mut().and_then(|fact| fact.remove("k"))),
        _ => {}
    }
    fact["v"] = json!(random.below(1_000_000));
    fact
}

fn pick(random: &mut SeededRandom, number: u64) -> Json {
    let (k, fact) = (random.below(5_000), format!("f{}", random.below(FACTS)));
    json!({ "_id": format!("p{number}"), "k": k, "s": format!("s{}", random.below(3_000)), "w": number % 7, "fact": fact })
}

async fn write(live: &Live, collection: &str, method: Method, documents: Vec<Json>) -> Result<()> {
    let path = format!("/v1/workspaces/public/collections/{collection}/documents?wait=applied");
    let (status, reply) = live.server.json(method, &path, Json::Array(documents).to_string()).await?;
    ensure!(status == 200 && reply["failed"] == 0, "{reply}");
    Ok(())
}

/// A table of documents, as DuckDB makes it.
fn table(live: &Live, name: &str, documents: &Documents) -> Result<String> {
    let path = live.data.path().join(format!("{name}.json"));
    let mut file = File::create(&path)?;
    documents.values().try_for_each(|document| writeln!(file, "{document}"))?;
    Ok(format!("CREATE OR REPLACE TABLE {name} AS SELECT * FROM read_json('{}')", path.display()))
}

async fn check(live: &Live, facts: &Documents, picks: &Documents, when: &str) -> Result<()> {
    let setup = [table(live, "facts", facts)?, table(live, "picks", picks)?];
    for (sql, expected) in QUERIES.iter().zip(Peer::DuckDb.answers(&setup, &QUERIES, 0)?) {
        let (status, reply) = live.query(json!({ "sql": sql, "rows": "arrays" })).await?;
        ensure!(status == 200, "{sql}, {when}: {reply}");
        ensure!(peers::equal(&reply["rows"], &expected.rows), "{sql}, {when}: {reply}, not {}", expected.rows);
    }
    Ok(())
}

/// How many rows of the facts a query looked at, and whether all were found in this way.
async fn looked_at(live: &Live, sql: &str, way: &str) -> Result<u64> {
    let (status, reply) = live.query(json!({ "sql": format!("EXPLAIN ANALYZE {sql}"), "rows": "arrays" })).await?;
    ensure!(status == 200, "{reply}");
    let text = reply["rows"].as_array().context("rows")?.iter().filter_map(|row| row[1].as_str());
    let lines: Vec<&str> =
        text.flat_map(str::lines).filter(|line| line.contains("public.facts") && line.contains(" by ")).collect();
    let mut examined = 0;
    for line in &lines {
        let (_, told) = line.split_once(&format!("by {way}: ")).with_context(|| format!("{sql}: {line}"))?;
        examined += told.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    ensure!(!lines.is_empty(), "no segment of the facts in {reply}");
    Ok(examined)
}

#[tokio::test(flavor = "multi_thread")]
async fn joins_find_what_they_look_for() -> Result<()> {
    let mut live = Live::start(&["--shards", "2"])?;
    let mut random = SeededRandom::new(3);
    let facts = (0..FACTS).map(|number| format!("f{number}")).map(|id| (id.clone(), fact(&mut random, &id)));
    let mut facts: Documents = facts.collect();
    let picks: Documents = (0..PICKS).map(|number| (format!("p{number}"), pick(&mut random, number))).collect();
    write(&live, "facts", Method::POST, facts.values().cloned().collect()).await?;
    write(&live, "picks", Method::POST, picks.values().cloned().collect()).await?;
    check(&live, &facts, &picks, "in memory").await?;
    live.server.stop()?;
    live.server = Server::start(live.data.path(), &["--shards", "2"])?;
    check(&live, &facts, &picks, "in files").await?;
    let few = "SELECT count(*) AS n FROM facts f JOIN picks p ON f.s = p.s WHERE p.w = 3 AND p.k > 0";
    let by_terms = looked_at(&live, few, "index_filter").await?;
    let by_keys = looked_at(&live, QUERIES[15], "keys").await?;
    let there = looked_at(&live, QUERIES[5], "index_filter").await?;
    let also_there = looked_at(&live, QUERIES[13], "column_scan").await?;
    let found = [by_terms, by_keys, there, also_there];
    ensure!(
        by_terms < 1_000 && by_keys <= PICKS && there < 1_000 && also_there < 1_000,
        "{found:?} of {FACTS} rows were looked at"
    );
    let mut patches = Vec::new();
    for _ in 0..3_000 {
        let id = format!("f{}", random.below(FACTS));
        let (new, fact) = (fact(&mut random, &id), facts.get_mut(&id).context("it is there")?);
        let fields = json!({ "k": random.below(5_000), "s": new["s"], "v": new["v"] });
        fields.as_object().into_iter().flatten().for_each(|(name, value)| fact[name] = value.clone());
        patches.push(json!({ "_id": id, "merge": fields }));
    }
    write(&live, "facts", Method::PATCH, patches).await?;
    check(&live, &facts, &picks, "patched").await
}
