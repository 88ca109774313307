//! One process, live: documents in over HTTP, SQL out, as clients see it.
//!
//! Random operations against a map of documents; the contract's shapes; requests sent twice; kill -9.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use basalt_common::value::{Object, Value};
use basalt_harness::operations::{Effect, Model, Operation, Operations};
use basalt_harness::server::{DOCUMENTS, Live, Server, document_text, json_text, parse, patch_text};
use reqwest::Method;
use serde_json::{Value as Json, json};

/// A document as SQL shows it: nulls and absent fields of objects are the same.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let kept = object.iter().filter(|(_, value)| **value != Value::Null);
            Value::Object(kept.map(|(key, value)| (key.clone(), without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

/// Equal as JSON, but for ints that stand in a column of floats.
fn equal_in_sql(shown: &Value, expected: &Value) -> bool {
    match (shown, expected) {
        (Value::Float(shown), Value::Int(expected)) => *shown == *expected as f64,
        (Value::Array(shown), Value::Array(expected)) => {
            shown.len() == expected.len() && shown.iter().zip(expected).all(|(a, b)| equal_in_sql(a, b))
        }
        (Value::Object(shown), Value::Object(expected)) => {
            let same =
                |(key, value): (&String, &Value)| expected.get(key).is_some_and(|other| equal_in_sql(value, other));
            shown.len() == expected.len() && shown.iter().all(same)
        }
        _ => shown.equal_as_json(expected),
    }
}

fn field<'v>(value: &'v Value, key: &str) -> Result<&'v Value> {
    match value {
        Value::Object(object) => object.get(key).with_context(|| format!("no {key}")),
        other => anyhow::bail!("{other:?} is no object"),
    }
}

/// Documents of a reply by `_id`, which is taken out of them.
fn by_id(rows: &Value) -> Result<BTreeMap<String, Value>> {
    let Value::Array(rows) = rows else { anyhow::bail!("no rows") };
    let mut documents = BTreeMap::new();
    for row in rows {
        let Value::Object(mut row) = row.clone() else { continue };
        let Some(Value::String(id)) = row.remove("_id") else { anyhow::bail!("a row without _id") };
        ensure!(documents.insert(id, Value::Object(row)).is_none(), "a document is there twice");
    }
    Ok(documents)
}

/// All documents through SQL and through their keys, against the model.
async fn compare(live: &Live, model: &Model, ids: u64) -> Result<()> {
    let body = json!({ "sql": "SELECT * FROM docs" }).to_string();
    let response = live.server.send(Method::POST, "/v1/query", &[], body).await?;
    ensure!(response.status() == 200, "{}", response.text().await?);
    let shown = by_id(field(&parse(&response.text().await?)?, "rows")?)?;
    ensure!(shown.len() == model.documents.len(), "{} rows, {} documents", shown.len(), model.documents.len());
    let asked: Vec<String> = (0..ids).map(|id| format!("doc-{id}")).collect();
    let path = format!("{DOCUMENTS}/_get");
    let response = live.server.send(Method::POST, &path, &[], json!({ "ids": asked }).to_string()).await?;
    let read = by_id(field(&parse(&response.text().await?)?, "documents")?)?;
    ensure!(read.len() == model.documents.len(), "{} read, {} documents", read.len(), model.documents.len());
    for (id, document) in &model.documents {
        let document = Value::Object(document.clone());
        ensure!(read[id] == document, "{id} by key: {:?}\nexpected {document:?}", read[id]);
        let (shown, expected) = (without_nulls(&shown[id]), without_nulls(&document));
        ensure!(
            equal_in_sql(&shown, &expected),
            "{id} in SQL: {}\nexpected {}",
            json_text(&shown),
            json_text(&expected)
        );
    }
    Ok(())
}

/// Draws operations on documents none of which is named twice, by kind, and applies them to the model.
fn draw(
    operations: &mut Operations,
    model: &mut Model,
) -> (BTreeMap<&'static str, Vec<String>>, BTreeMap<Effect, u64>) {
    let (mut bodies, mut effects) = (BTreeMap::<_, Vec<String>>::new(), BTreeMap::new());
    let mut named = std::collections::BTreeSet::new();
    for _ in 0..operations.batch_size() {
        let (id, operation) = operations.draw();
        let (kind, text) = match &operation {
            Operation::Upsert(document) => ("POST", document_text(&id, document)),
            Operation::Delete => ("DELETE", format!("{id:?}")),
            Operation::Patch { .. } => match patch_text(&id, &operation) {
                Some(text) => ("PATCH", text),
                None => continue,
            },
        };
        if named.insert(id.clone()) {
            bodies.entry(kind).or_default().push(text);
            *effects.entry(model.apply(&id, &operation)).or_default() += 1;
        }
    }
    (bodies, effects)
}

/// Oracle (a) through the whole path: HTTP, tailer, log, leaf, SQL; killed and started again in the middle.
#[tokio::test(flavor = "multi_thread")]
async fn random_operations_end_as_in_a_map() -> Result<()> {
    const IDS: u64 = 400;
    let mut live = Live::start(&[])?;
    let (mut operations, mut model) = (Operations::without_indices(20_261_121, IDS), Model::default());
    let (mut done, mut compared) = (0, 0);
    let mut totals: BTreeMap<Effect, u64> = BTreeMap::new();
    for round in 0..300 {
        let (bodies, effects) = draw(&mut operations, &mut model);
        let mut found: BTreeMap<Effect, u64> = BTreeMap::new();
        for (kind, texts) in bodies {
            let body = match kind {
                "DELETE" => format!("{{\"ids\": [{}]}}", texts.join(",")),
                _ => format!("[{}]", texts.join(",")),
            };
            let reply = live.write(kind.parse()?, body).await?;
            ensure!(reply["accepted"] == texts.len(), "{reply}");
            let outcomes = [
                ("added", Effect::Added),
                ("replaced", Effect::Replaced),
                ("patched", Effect::Patched),
                ("deleted", Effect::Deleted),
                ("missing", Effect::Missing),
                ("failed", Effect::Failed),
            ];
            for (name, effect) in outcomes {
                *found.entry(effect).or_default() += reply["outcomes"][name].as_u64().context("no outcome")?;
            }
        }
        found.retain(|_, count| *count > 0);
        ensure!(found == effects, "round {round}: {found:?}, expected {effects:?}");
        done += effects.values().sum::<u64>();
        effects.into_iter().for_each(|(effect, count)| *totals.entry(effect).or_default() += count);
        if done - compared > 2_000 {
            compare(&live, &model, IDS).await?;
            compared = done;
        }
        if round == 150 {
            live.server.kill()?;
            live.server = Server::start(live.data.path(), &[])?;
            compare(&live, &model, IDS).await?;
        }
    }
    compare(&live, &model, IDS).await?;
    println!("{done} operations over HTTP: {totals:?}");
    ensure!(totals.len() == 6, "an outcome never came: {totals:?}");
    Ok(())
}

/// A query given a write's fence sees the write, whatever else runs; so does a read by key.
#[tokio::test(flavor = "multi_thread")]
async fn a_fence_reads_its_write() -> Result<()> {
    let live = Live::start(&[])?;
    for n in 0..100 {
        // The field is new each time: the query's schema must have passed the fence, too.
        let body = format!(r#"{{"_id": "x", "n": {n}, "f{n}": {n}}}"#);
        let (_, reply) = live.server.json(Method::POST, DOCUMENTS, body).await?;
        let fence = reply["fence"].as_str().context("no fence")?;
        let (status, answer) =
            live.query(json!({ "sql": format!("SELECT n, f{n} AS f FROM docs"), "fence": fence })).await?;
        ensure!(status == 200 && answer["rows"] == json!([{ "n": n, "f": n }]), "{n}: {answer}");
        let asked = json!({ "ids": ["x"], "fields": ["n"], "fence": fence }).to_string();
        let (_, read) = live.server.json(Method::POST, &format!("{DOCUMENTS}/_get"), asked).await?;
        ensure!(read["documents"] == json!([{ "_id": "x", "n": n }]), "{n}: {read}");
        let wait = json!({ "fence": fence }).to_string();
        ensure!(live.server.json(Method::POST, "/v1/fences/wait", wait).await? == (200, json!({ "passed": true })));
    }
    Ok(())
}

async fn keyed(live: &Live, method: Method, key: &str, body: &str) -> Result<(u16, Json)> {
    let headers = [("idempotency-key", key), ("content-type", "application/json")];
    let response = live.server.send(method, &format!("{DOCUMENTS}?wait=applied"), &headers, body).await?;
    let status = response.status().as_u16();
    Ok((status, serde_json::from_str(&response.text().await?)?))
}

/// A request with a key does its work once, however often it comes, and after a crash too.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_a_key_counts_once() -> Result<()> {
    let mut live = Live::start(&[])?;
    let documents: Vec<Json> = (0..50).map(|id| json!({ "_id": id.to_string(), "n": 0 })).collect();
    live.write(Method::POST, json!(documents).to_string()).await?;
    let increments: Vec<Json> = (0..50)
        .map(|id| json!({ "_id": id.to_string(), "patch": [{ "op": "increment", "path": "/n", "value": 1 }] }))
        .collect();
    let body = json!(increments).to_string();
    for attempt in 0..6 {
        if attempt == 3 {
            live.server.kill()?;
            live.server = Server::start(live.data.path(), &[])?;
        }
        let (status, reply) = keyed(&live, Method::PATCH, "once", &body).await?;
        ensure!(status == 200 && reply["outcomes"]["patched"] == 50, "attempt {attempt}: {reply}");
    }
    let made = r#"[{"a": 1}, {"a": 2}]"#;
    for _ in 0..3 {
        let (status, _) = keyed(&live, Method::POST, "made", made).await?;
        ensure!(status == 200);
    }
    let rows = live.server.rows("SELECT count(n) AS n, sum(n) AS total, count(a) AS made FROM docs").await?;
    ensure!(rows == [json!({ "n": 50, "total": 50, "made": 2 })], "{rows:?}");
    let (status, conflict) = keyed(&live, Method::PATCH, "once", &body.replace("increment", "replace")).await?;
    ensure!(status == 409 && conflict["error"]["kind"] == "conflict", "{status} {conflict}");
    Ok(())
}

/// EXPLAIN ANALYZE tells how rows were found in each segment; hints force a way, and the rows are the same.
#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_rows_gives_the_same() -> Result<()> {
    let mut live = Live::start(&["--shards", "1"])?;
    let documents = (0..5_000).map(|n| json!({ "_id": format!("d{n}"), "n": n * 7_919 % 5_000, "kind": n % 3 }));
    live.write(Method::POST, Json::Array(documents.collect()).to_string()).await?;
    live.server.stop()?;
    live.server = Server::start(live.data.path(), &["--shards", "1"])?;
    live.write(Method::PATCH, r#"[{ "_id": "d1", "merge": { "n": 4000 } }]"#.into()).await?;
    let analyzed = async |sql: String| -> Result<String> {
        let (status, reply) = live.query(json!({ "sql": format!("EXPLAIN ANALYZE {sql}"), "rows": "arrays" })).await?;
        let last = reply["rows"].as_array().and_then(|rows| rows.last());
        let last = last.with_context(|| format!("{status} {reply}"))?;
        ensure!(last[0] == "Segments", "{last}");
        Ok(last[1].as_str().context("a text")?.to_string())
    };
    let ways = [
        (
            "",
            "WHERE n = 4000",
            2,
            "by index_filter: 2 of 5000 rows examined, 2 passed, 1 laid over in 1 runs over 1 fields",
        ),
        ("HINT(access_path=column_scan)", "WHERE n = 4000", 2, "by column_scan: 2 of 5000"),
        ("HINT(access_path=row_scan)", "WHERE n = 4000", 2, "by row_scan: 5000 of 5000 rows examined, 2 passed"),
        ("HINT(access_path=index_filter)", "WHERE kind = 1", 1_667, "by index_filter: 1667 of 5000"),
        ("", "WHERE kind = 1", 1_667, "by column_scan: 1667 of 5000"),
        ("", "WHERE _id = 'd7'", 1, "by keys: 1 of 5000"),
        ("", "", 5_000, "by all: 5000 of 5000"),
    ];
    for (hint, filter, expected, told) in ways {
        let sql = format!("SELECT n, kind FROM docs {hint} {filter}");
        let (_, reply) = live.query(json!({ "sql": sql, "rows": "arrays" })).await?;
        ensure!(reply["rows"].as_array().map(Vec::len) == Some(expected), "{sql}: {reply}");
        let shown = analyzed(sql.clone()).await?;
        ensure!(shown.contains("public.docs shard 0 at ") && shown.contains(told), "{sql}: {shown}, not {told}");
    }
    let shown = analyzed("SELECT n FROM docs ORDER BY n DESC NULLS LAST LIMIT 3".into()).await?;
    ensure!(shown.contains("by index_order: 17 of 5000 rows examined"), "{shown}");
    let (_, reply) =
        live.query(json!({ "sql": "SELECT n FROM docs ORDER BY n DESC LIMIT 3", "rows": "arrays" })).await?;
    ensure!(reply["rows"] == json!([[4999], [4998], [4997]]), "{reply}");
    let groups = "SELECT kind, count(*) AS c, max(n) AS m FROM docs GROUP BY kind ORDER BY kind";
    let (_, reply) = live.query(json!({ "sql": groups, "rows": "arrays" })).await?;
    ensure!(reply["rows"] == json!([[0, 1667, 4996], [1, 1667, 4998], [2, 1666, 4999]]), "{reply}");
    let shown = analyzed(groups.into()).await?;
    ensure!(shown.contains("by all: 5000 of 5000"), "{shown}");
    let (_, plan) = live.query(json!({ "sql": format!("EXPLAIN {groups}") })).await?;
    ensure!(plan.to_string().contains("ShardAggregateExec"), "the leaf does not aggregate: {plan}");
    Ok(())
}

/// The forms and settings of a query.
#[tokio::test(flavor = "multi_thread")]
async fn queries_have_their_forms() -> Result<()> {
    let live = Live::start(&[])?;
    let documents = json!([
        { "_id": "a", "n": 1, "big": 9007199254740993_i64, "user": { "id": 7, "Name": "Bob" }, "tags": ["x", "y"], "mixed": 5 },
        { "_id": "b", "n": 2, "user": { "id": 8, "Name": "Eve" }, "tags": [], "mixed": "five" },
        { "_id": "c", "n": 3, "mixed": 5.5, "items": [{ "price": { "net": 1 } }, { "price": { "net": 2.5 } }] },
        { "_id": "d", "n": 4, "mixed": { "deep": true } }
    ]);
    live.write(Method::POST, documents.to_string()).await?;
    let check = async |body: Json, expected: Json| -> Result<()> {
        let (status, reply) = live.query(body.clone()).await?;
        ensure!(status == 200 && reply["rows"] == expected, "{body}\n{reply}\nexpected {expected}");
        Ok(())
    };
    let mixed = json!({ "sql": "SELECT n FROM docs WHERE n > :least ORDER BY n LIMIT $1", "parameters": [1] });
    let (status, reply) = live.query(mixed).await?;
    ensure!(status == 400, "named placeholders have no values in a list: {reply}");
    check(
        json!({ "sql": "SELECT n FROM docs WHERE n > :least ORDER BY n", "parameters": { "least": 2 } }),
        json!([{ "n": 3 }, { "n": 4 }]),
    )
    .await?;
    check(json!({ "sql": "SELECT n FROM docs WHERE _id = $1 OR n IN ($2, $3)", "parameters": ["a", 9, 10], "rows": "arrays" }), json!([[1]])).await?;
    check(
        json!({ "sql": "SELECT docs.user.Name, tags[1] AS tag FROM docs WHERE docs.user.id = 7" }),
        json!([{ "Name": "Bob", "tag": "x" }]),
    )
    .await?;
    check(
        json!({ "sql": "SELECT items[2].price.net AS net, items[1].price FROM docs WHERE n = 3" }),
        json!([{ "net": 2.5, "price": { "net": 1.0 } }]),
    )
    .await?;
    check(
        json!({ "sql": "SELECT big FROM docs WHERE n = 1", "big_integers": "string" }),
        json!([{ "big": "9007199254740993" }]),
    )
    .await?;
    check(json!({ "sql": "SELECT n FROM docs WHERE mixed > 5.2" }), json!([{ "n": 3 }])).await?;
    check(json!({ "sql": "SELECT n FROM docs WHERE mixed = 'five'" }), json!([{ "n": 2 }])).await?;
    check(json!({ "sql": "SELECT count(*) AS c FROM docs WHERE mixed <> 5" }), json!([{ "c": 3 }])).await?;
    check(json!({ "sql": "SELECT mixed.deep FROM docs WHERE n = 4" }), json!([{ "deep": true }])).await?;
    check(
        json!({ "sql": "SELECT mixed + 1 AS m FROM docs ORDER BY n" }),
        json!([{ "m": 6.0 }, { "m": null }, { "m": 6.5 }, { "m": null }]),
    )
    .await?;
    check(
        json!({ "sql": "SELECT mixed, count(*) AS c FROM docs GROUP BY mixed HAVING count(*) = 1 AND mixed = 5" }),
        json!([{ "mixed": 5, "c": 1 }]),
    )
    .await?;
    check(json!({ "sql": "SELECT a.n FROM docs a JOIN docs b ON a._id = b._id WHERE b.n = 2" }), json!([{ "n": 2 }]))
        .await?;
    check(json!({ "sql": "SELECT count(*) AS c FROM public.docs, (VALUES (1), (2)) two(x)" }), json!([{ "c": 8 }]))
        .await?;
    let (_, reply) = live.query(json!({ "sql": "SELECT nn, docs.user.nam FROM docs WHERE n = 1" })).await?;
    ensure!(reply["rows"] == json!([{ "nn": null, "nam": null }]), "{reply}");
    let warnings = reply["warnings"].to_string();
    ensure!(
        warnings.contains("field nn") && warnings.contains("user.nam") && warnings.contains("did you mean Name?"),
        "{warnings}"
    );
    ensure!(reply["stats"]["rows_scanned"] == 4 && reply["stats"]["shards"] == 4, "{reply}");
    let (_, columns) =
        live.query(json!({ "sql": "SELECT _id, n, docs.user, tags, mixed, 1.5 AS f FROM docs LIMIT 0" })).await?;
    let types: Vec<&str> =
        columns["columns"].as_array().context("no columns")?.iter().filter_map(|c| c["type"].as_str()).collect();
    ensure!(types == ["string", "int", "object", "array", "dynamic", "float"], "{types:?}");
    Ok(())
}

/// The same rows as lines, as CSV and as an Arrow stream.
#[tokio::test(flavor = "multi_thread")]
async fn rows_come_in_four_forms() -> Result<()> {
    let live = Live::start(&[])?;
    let documents: Vec<Json> =
        (0..30_000).map(|n| json!({ "_id": n.to_string(), "n": n, "text": "some text, quoted" })).collect();
    live.write(Method::POST, json!(documents).to_string()).await?;
    let sql = json!({ "sql": "SELECT n, text FROM docs ORDER BY n" }).to_string();
    let ask = async |accept: &str| -> Result<(String, Vec<u8>)> {
        let response = live.server.send(Method::POST, "/v1/query", &[("accept", accept)], sql.clone()).await?;
        let content_type = response.headers()["content-type"].to_str()?.to_string();
        Ok((content_type, response.bytes().await?.to_vec()))
    };
    let (content_type, lines) = ask("application/x-ndjson").await?;
    let lines = String::from_utf8(lines)?;
    ensure!(content_type == "application/x-ndjson" && lines.lines().count() == 30_000);
    ensure!(lines.lines().nth(77) == Some(r#"{"n":77,"text":"some text, quoted"}"#));
    let csv = String::from_utf8(ask("text/csv").await?.1)?;
    ensure!(
        csv.lines().count() == 30_001 && csv.lines().nth(78) == Some("77,\"some text, quoted\""),
        "{}",
        &csv[..200]
    );
    let (_, arrow) = ask("application/vnd.apache.arrow.stream").await?;
    let reader = datafusion::arrow::ipc::reader::StreamReader::try_new(arrow.as_slice(), None)?;
    let rows: usize = reader.map(|batch| batch.map(|batch| batch.num_rows())).sum::<Result<_, _>>()?;
    ensure!(rows == 30_000, "{rows}");
    let (_, json) = ask("application/json").await?;
    let reply: Json = serde_json::from_slice(&json)?;
    ensure!(reply["rows"].as_array().is_some_and(|rows| rows.len() == 30_000));
    Ok(())
}

/// Workspaces and collections are made, described and dropped; a name that comes back is empty.
#[tokio::test(flavor = "multi_thread")]
async fn collections_come_and_go() -> Result<()> {
    let live = Live::start(&[])?;
    let server = &live.server;
    let post = async |path: &str, body: Json| server.json(Method::POST, path, body.to_string()).await;
    ensure!(post("/v1/workspaces", json!({ "name": "w" })).await?.0 == 201);
    ensure!(post("/v1/workspaces", json!({ "name": "w" })).await?.0 == 409);
    let (status, made) =
        post("/v1/workspaces/w/collections", json!({ "name": "c", "shards": 2, "owner": "me" })).await?;
    ensure!(status == 201 && made["shards"] == 2 && made["owner"] == "me", "{made}");
    ensure!(post("/v1/workspaces/w/collections", json!({ "name": "c" })).await?.0 == 409);
    ensure!(post("/v1/workspaces/w/collections", json!({ "name": "d", "retention": "1 day" })).await?.0 == 400);
    let body = json!([{ "_id": "a", "x": { "y": 1 } }, { "_id": "b", "x": { "y": "t" } }]);
    ensure!(post("/v1/workspaces/w/collections/c/documents?wait=applied", body).await?.0 == 200);
    let path = "/v1/workspaces/w/collections/c";
    let (_, described) = server.json(Method::GET, path, "").await?;
    ensure!(described["documents"] == 2, "{described}");
    let types =
        json!([{ "path": "x.y", "types": [{ "type": "int", "documents": 1 }, { "type": "string", "documents": 1 }] }]);
    ensure!(described["fields"] == types, "{described}");
    let (_, changed) = server.json(Method::PATCH, path, r#"{"description": "letters"}"#).await?;
    ensure!(changed["description"] == "letters" && changed["owner"] == "me", "{changed}");
    ensure!(server.rows("SELECT count(*) AS c FROM w.c").await? == [json!({ "c": 2 })]);
    ensure!(server.json(Method::DELETE, path, "").await?.0 == 200);
    ensure!(server.json(Method::GET, path, "").await?.0 == 404);
    ensure!(post("/v1/workspaces/w/collections", json!({ "name": "c" })).await?.0 == 201);
    ensure!(server.rows("SELECT count(*) AS c FROM w.c").await? == [json!({ "c": 0 })]);
    for path in ["/v1/health/live", "/v1/health/ready"] {
        ensure!(server.json(Method::GET, path, "").await?.0 == 200);
    }
    let metrics = server.send(Method::GET, "/metrics", &[], "").await?.text().await?;
    ensure!(metrics.contains("basalt_aggregator_operations_total{result=\"accepted\"} 2"), "{metrics}");
    Ok(())
}

fn model_of(text: &str) -> Result<Object> {
    match parse(text)? {
        Value::Object(object) => Ok(object),
        other => anyhow::bail!("{other:?} is no document"),
    }
}

/// `basalt generate` into the server, and its own print-out into a map: both end with the same documents.
#[tokio::test(flavor = "multi_thread")]
async fn generated_documents_arrive() -> Result<()> {
    const COUNT: usize = 5_000;
    let live = Live::start(&[])?;
    let arguments = ["generate", "--count", "5000", "--seed", "7", "--start-micros", "1700000000000000"];
    let program = basalt_harness::leaf::program("basalt")?;
    let sent = tokio::process::Command::new(&program)
        .args(arguments)
        .args(["--rate", "0", "--url", &live.server.url])
        .output()
        .await?;
    ensure!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    let printed = tokio::process::Command::new(&program).args(arguments).arg("--print").output().await?;
    let mut model = Model::default();
    let mut operations = 0;
    for line in String::from_utf8(printed.stdout)?.lines() {
        let (id, operation) = basalt_harness::generated::read(&model_of(line)?)?;
        let effect = model.apply(&id, &operation);
        ensure!(!matches!(effect, Effect::Failed | Effect::Missing), "{line}");
        operations += 1;
    }
    ensure!(operations == COUNT, "{operations} printed");
    live.server.applied("events").await?;
    let rows = live.server.rows("SELECT count(*) AS c FROM events").await?;
    ensure!(rows == [json!({ "c": model.documents.len() })], "{rows:?}, {} expected", model.documents.len());
    for (index, (id, document)) in model.documents.iter().enumerate().filter(|(index, _)| index % 7 == 0) {
        let asked = json!({ "ids": [id] }).to_string();
        let path = "/v1/workspaces/public/collections/events/documents/_get";
        let text = live.server.send(Method::POST, path, &[], asked).await?.text().await?;
        let read = by_id(field(&parse(&text)?, "documents")?)?;
        ensure!(read.get(id) == Some(&Value::Object(document.clone())), "{index} {id}: {text}");
    }
    let kinds = live.server.rows("SELECT count(DISTINCT typeof(value)) AS kinds FROM events").await?;
    ensure!(kinds[0]["kinds"].as_u64() >= Some(5), "{kinds:?}");
    Ok(())
}
