//! What is allowed and extreme: a field that changes its type all the time, documents of too many fields and too many levels, patches
//! that would grow without end, queries whose text is made to take long. The server answers, stays quick, and loses nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use basalt_common::clock::{Clock, SystemClock};
use basalt_common::value::Value;
use basalt_harness::server::{DOCUMENTS, Live, cpu_seconds, parse};
use reqwest::Method;
use serde_json::{Value as Json, json};

/// Nothing here that is refused, and nothing that is asked of a server with few documents, may take longer.
const QUICK: Duration = Duration::from_secs(60);

/// How often a field changes its type: a million times under `make soak`, which says so in `BASALT_FLIPS`.
fn flips() -> usize {
    std::env::var("BASALT_FLIPS").ok().and_then(|flips| flips.parse().ok()).unwrap_or(60_000)
}

/// The value of a field as it is written the n-th time, as JSON and by its type's name.
fn flipped(n: usize) -> (String, &'static str) {
    match n % 9 {
        0 => (format!("{}", i64::MAX - n as i64), "int"),
        1 => (format!("\"text {n}\""), "string"),
        2 => (format!("{}", n.is_multiple_of(2)), "bool"),
        3 => (format!("{n}.5"), "float"),
        4 => ("null".into(), "null"),
        5 => (format!("[{n},\"x\",[{n}.25],{{\"deep\":{n}}}]"), "array"),
        6 => (format!("{{\"of\":{n}}}"), "object"),
        7 => (format!("{{\"of\":\"{n}\",\"more\":[]}}"), "object"),
        _ => (format!("1844674407370955{:0>8}", n), "decimal"),
    }
}

/// Documents by key against what was written to them.
async fn check_values(live: &Live, written: &BTreeMap<String, usize>) -> Result<()> {
    let ids: Vec<&String> = written.keys().collect();
    for ids in ids.chunks(5_000) {
        let body = json!({ "ids": ids }).to_string();
        let response = live.server.send(Method::POST, &format!("{DOCUMENTS}/_get"), &[], body).await?;
        let Value::Object(reply) = parse(&response.text().await?)? else { anyhow::bail!("no object") };
        let Some(Value::Array(documents)) = reply.get("documents") else { anyhow::bail!("no documents") };
        for (id, document) in ids.iter().zip(documents) {
            let expected = parse(&format!("{{\"_id\":\"{id}\",\"f\":{}}}", flipped(written[*id]).0))?;
            ensure!(*document == expected, "{id}: {document:?}, not {expected:?}");
        }
    }
    Ok(())
}

/// `typeof` in SQL counts the types that were written.
async fn check_types(live: &Live, written: &BTreeMap<String, usize>) -> Result<()> {
    let mut expected: BTreeMap<&str, u64> = BTreeMap::new();
    written.values().for_each(|n| *expected.entry(flipped(*n).1).or_default() += 1);
    let rows = live.server.rows("SELECT typeof(f) AS t, count(*) AS c FROM docs GROUP BY 1 ORDER BY 1").await?;
    let found: BTreeMap<&str, u64> =
        rows.iter().map(|row| (row["t"].as_str().unwrap_or("null"), row["c"].as_u64().unwrap_or_default())).collect();
    ensure!(found == expected, "{found:?}, not {expected:?}");
    Ok(())
}

/// A field whose values are of another type each time, in new documents and in patches of old ones: each value is itself, and the
/// last take no longer to write than the first.
#[tokio::test(flavor = "multi_thread")]
async fn a_field_may_change_its_type_all_the_time() -> Result<()> {
    const AT_ONCE: usize = 1_000;
    /// As many documents are patched again and again.
    const PATCHED: usize = 3_000;
    let mut live = Live::start(&["--shards", "2"])?;
    let pid = live.server.pid().context("it runs")?;
    let mut written: BTreeMap<String, usize> = BTreeMap::new();
    let mut costs = Vec::new();
    let flips = flips();
    for start in (0..flips).step_by(AT_ONCE) {
        let before = cpu_seconds(pid)?;
        let numbers = start..start + AT_ONCE;
        let documents = numbers.clone().map(|n| format!("{{\"_id\":\"n{n}\",\"f\":{}}}", flipped(n).0));
        let reply = live.write(Method::POST, format!("[{}]", documents.collect::<Vec<_>>().join(","))).await?;
        ensure!(reply["outcomes"]["added"] == AT_ONCE, "{reply}");
        written.extend(numbers.map(|n| (format!("n{n}"), n)));
        // By sevens, which no document's number is a multiple of nine behind: each gets another type each time.
        let patched = (0..AT_ONCE).map(|place| (format!("n{}", (start + place) % PATCHED), start + 7 * place + 1));
        let patched: Vec<(String, usize)> = patched.filter(|(id, _)| written.contains_key(id)).collect();
        let operation = |(id, n): &(String, usize)| {
            format!("{{\"_id\":\"{id}\",\"patch\":[{{\"op\":\"add\",\"path\":\"/f\",\"value\":{}}}]}}", flipped(*n).0)
        };
        let body = patched.iter().map(operation).collect::<Vec<_>>().join(",");
        let reply = live.write(Method::PATCH, format!("[{body}]")).await?;
        ensure!(reply["outcomes"]["patched"] == patched.len(), "{reply}");
        written.extend(patched);
        costs.push(cpu_seconds(pid)? - before);
    }
    let (quarter, cost) = (costs.len() / 4, |costs: &[f64]| costs.iter().sum::<f64>());
    let (first, last) = (cost(&costs[..quarter]), cost(&costs[costs.len() - quarter..]));
    println!("{flips} flips: {first:.2} s of CPU for the first quarter, {last:.2} for the last");
    // What costs by the square costs seven times as much in the last quarter.
    ensure!(last < 4.0 * first + 0.5, "{first} s for the first quarter, {last} for the last");
    check_types(&live, &written).await?;
    check_values(&live, &written).await?;
    live.server.stop()?;
    live.server = basalt_harness::server::Server::start(live.data.path(), &[])?;
    check_types(&live, &written).await?;
    check_values(&live, &written).await
}

/// The time that something takes, which is not long.
async fn quickly<T>(what: &str, done: impl Future<Output = Result<T>>) -> Result<T> {
    let clock = SystemClock::default();
    let started = clock.monotonic();
    let done = done.await.with_context(|| what.to_string())?;
    let took = clock.monotonic() - started;
    ensure!(took < QUICK, "{what} took {took:?}");
    Ok(done)
}

/// A document of so many fields with numbers from a first one on.
fn wide(id: &str, first: usize, fields: usize) -> String {
    let fields: Vec<String> = (first..first + fields).map(|n| format!("\"f{n}\":{n}")).collect();
    format!("{{\"_id\":\"{id}\",{}}}", fields.join(","))
}

/// A document that would take its collection over its fields is refused alone, whatever else is in its request, and costs nobody else
/// anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_document_of_too_many_fields_is_refused_alone() -> Result<()> {
    let live = Live::start(&[])?;
    let limit = "fields_max is 10000";
    let body = format!(
        "[{{\"_id\":\"a\",\"n\":1}},{},{{\"_id\":\"b\",\"n\":2}},{},{{\"_id\":\"c\",\"m\":{{\"x\":3}}}}]",
        wide("wide", 0, 100_000),
        wide("wide again", 0, 100_000)
    );
    let reply = quickly("a wide document", live.write(Method::POST, body)).await?;
    let errors = reply["errors"].as_array().context("no errors")?;
    ensure!(reply["accepted"] == 3 && reply["failed"] == 2 && reply["outcomes"]["added"] == 3, "{reply}");
    for (error, (index, id)) in errors.iter().zip([(1, "wide"), (3, "wide again")]) {
        let message = error["message"].as_str().unwrap_or_default();
        ensure!(error["index"] == index && error["_id"] == id && message.contains(limit), "{error}");
    }
    let (_, described) = live.server.json(Method::GET, "/v1/workspaces/public/collections/docs", "").await?;
    ensure!(described["fields"].as_array().context("no fields")?.len() <= 4, "{described}");
    // In one object that is new, one patch, one merge.
    let below = format!("{{\"_id\":\"d\",\"o\":{}}}", wide("x", 0, 20_000));
    let merge = format!("[{{\"_id\":\"a\",\"merge\":{}}}]", wide("x", 0, 20_000).replace("\"_id\":\"x\",", ""));
    let adds: Vec<String> = (0..20_000).map(|n| format!("{{\"op\":\"add\",\"path\":\"/g{n}\",\"value\":1}}")).collect();
    let patch = format!("[{{\"_id\":\"a\",\"patch\":[{}]}}]", adds.join(","));
    for (method, body) in [(Method::POST, below), (Method::PATCH, merge), (Method::PATCH, patch)] {
        let reply = quickly("fields of other kinds", live.write(method, body)).await?;
        let message = reply["errors"][0]["message"].as_str().unwrap_or_default();
        ensure!(reply["accepted"] == 0 && message.contains(limit), "{reply}");
    }
    // As many as there may be: what needs no more is taken, what needs one more is not.
    let reply = quickly("all fields", live.write(Method::POST, wide("full", 0, 9_997))).await?;
    ensure!(reply["outcomes"]["added"] == 1, "{reply}");
    let body = format!("[{{\"_id\":\"e\",\"one more\":1}},{{\"_id\":\"f\",\"f17\":\"x\"}},{}]", wide("g", 100, 5_000));
    let reply = quickly("one field more", live.write(Method::POST, body)).await?;
    ensure!(reply["outcomes"]["added"] == 2 && reply["errors"][0]["index"] == 0, "{reply}");
    for (sql, expected) in [
        ("SELECT count(*) AS c FROM docs", json!({ "c": 6 })),
        ("SELECT sum(n) AS c FROM docs", json!({ "c": 3 })),
        ("SELECT _id AS c FROM docs WHERE f9996 = 9996", json!({ "c": "full" })),
        ("SELECT typeof(f17) AS c FROM docs WHERE _id = 'f'", json!({ "c": "string" })),
    ] {
        let rows = quickly(sql, live.server.rows(sql)).await?;
        ensure!(rows == [expected.clone()], "{sql}: {rows:?}, not {expected}");
    }
    let all = quickly("all columns", live.server.rows("SELECT * FROM docs WHERE _id = 'full'")).await?;
    ensure!(all.len() == 1 && all[0]["f0"].is_object() | all[0]["f0"].is_number(), "all columns of one row");
    Ok(())
}

/// So many arrays, or objects, in each other.
fn nested(open: &str, inside: &str, close: &str, levels: usize) -> String {
    format!("{}{inside}{}", open.repeat(levels), close.repeat(levels))
}

/// The deepest documents that may be are read as they were written; what is deeper is refused, by whatever way it comes.
#[tokio::test(flavor = "multi_thread")]
async fn documents_are_as_deep_as_they_may_be() -> Result<()> {
    let mut live = Live::start(&[])?;
    let objects = |id: &str, levels| format!("{{\"_id\":\"{id}\",\"o\":{}}}", nested("{\"a\":", "1", "}", levels - 1));
    let arrays = |id: &str, levels| format!("{{\"_id\":\"{id}\",\"x\":{}}}", nested("[", "1", "]", levels - 1));
    let both = |id: &str, levels: usize| {
        format!("{{\"_id\":\"{id}\",\"b\":{}}}", nested("[{\"c\":", "1", "}]", (levels - 1) / 2))
    };
    let send = async |body: String| -> Result<Json> {
        let path = format!("{DOCUMENTS}?wait=applied");
        let response = live.server.send(Method::POST, &path, &[("content-type", "application/x-ndjson")], body).await?;
        Ok(serde_json::from_str(&response.text().await?)?)
    };
    let deepest = [objects("o", 128), arrays("x", 128), both("b", 127)];
    let reply = send(deepest.join("\n")).await?;
    ensure!(reply["outcomes"]["added"] == 3, "{reply}");
    for levels in [129, 200, 1_000, 1_000_000] {
        let body =
            [objects("p", levels), "{\"_id\":\"good\"}".into(), arrays("y", levels), both("c", levels)].join("\n");
        let reply = quickly("deep documents", send(body)).await?;
        let errors = reply["errors"].as_array().context("no errors")?;
        ensure!(reply["accepted"] == 1 && errors.len() == 3, "{levels}: {reply}");
        let named = |error: &Json| error["message"].as_str().is_some_and(|message| message.contains("depth_max"));
        ensure!(errors.iter().all(named), "{levels}: {reply}");
    }
    // Patches that would lead deeper.
    let pointer = |levels: usize| "/a".repeat(levels);
    let add =
        |levels: usize, value: &str| format!("{{\"op\":\"add\",\"path\":\"{}\",\"value\":{value}}}", pointer(levels));
    let deep_value = nested("[", "1", "]", 120);
    for operation in [
        add(300, "1"),
        add(5_000, "1"),
        add(200, &deep_value),
        format!("{{\"op\":\"copy\",\"from\":\"/x\",\"path\":\"{}\"}}", pointer(200)),
        format!("{{\"op\":\"move\",\"from\":\"/x\",\"path\":\"{}\"}}", pointer(200)),
    ] {
        let body = format!("[{{\"_id\":\"x\",\"patch\":[{operation}]}}]");
        let reply = quickly("a deep patch", live.write(Method::PATCH, body)).await?;
        ensure!(reply["failed"] == 1, "{reply}");
    }
    let reply = live.write(Method::PATCH, format!("[{{\"_id\":\"good\",\"patch\":[{}]}}]", add(100, "7"))).await?;
    ensure!(reply["outcomes"]["patched"] == 1, "{reply}");
    for restarted in [false, true] {
        if restarted {
            live.server.stop()?;
            live.server = basalt_harness::server::Server::start(live.data.path(), &[])?;
        }
        let body = json!({ "ids": ["o", "x", "b"] }).to_string();
        let response = live.server.send(Method::POST, &format!("{DOCUMENTS}/_get"), &[], body).await?;
        let text = response.text().await?;
        ensure!(text == format!("{{\"documents\":[{}]}}", deepest.join(",")), "{text}");
        let rows = quickly("all", live.server.rows("SELECT * FROM docs ORDER BY _id")).await?;
        ensure!(rows.len() == 4, "{} rows", rows.len());
        let path = format!("SELECT count(*) AS c FROM docs WHERE o{} = 1", ".a".repeat(20));
        quickly("a deep path", live.query(json!({ "sql": path }))).await?;
    }
    Ok(())
}

/// Copies of what holds them double a document each time: it is refused where it would become too large, and nothing else suffers.
#[tokio::test(flavor = "multi_thread")]
async fn a_patch_that_doubles_a_document_is_bounded() -> Result<()> {
    let live = Live::start(&[])?;
    live.write(Method::POST, r#"[{"_id": "a", "o": {"x": 1}, "l": [1, 2], "n": 0}, {"_id": "b", "n": 1}]"#.into())
        .await?;
    let copies = |count: usize, from: &str, path: &dyn Fn(usize) -> String| {
        let copy = |n| json!({ "op": "copy", "from": from, "path": path(n) });
        json!([{ "_id": "a", "patch": (0..count).map(copy).collect::<Vec<_>>() }]).to_string()
    };
    let fields = copies(60, "/o", &|n| format!("/o/c{n}"));
    let reply = quickly("fields that double", live.write(Method::PATCH, fields)).await?;
    let message = reply["errors"][0]["message"].as_str().unwrap_or_default();
    ensure!(reply["failed"] == 1 && message.contains("fields_max is 10000"), "{reply}");
    let elements = copies(60, "/l", &|_| "/l/-".into());
    let reply = quickly("an array that doubles", live.write(Method::PATCH, elements)).await?;
    ensure!(reply["failed"] == 1, "{reply}");
    // One at a time.
    let mut taken = 0;
    for _ in 0..40 {
        let reply = quickly("one copy", live.write(Method::PATCH, copies(1, "/l", &|_| "/l/-".into()))).await?;
        match reply["failed"] == 0 {
            true => taken += 1,
            false => break,
        }
    }
    ensure!((10..30).contains(&taken), "{taken} copies were taken");
    let rows = quickly("a count", live.server.rows("SELECT sum(n) AS n, count(*) AS c FROM docs")).await?;
    ensure!(rows == [json!({ "n": 1, "c": 2 })], "{rows:?}");
    Ok(())
}
