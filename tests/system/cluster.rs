//! The roles as processes of their own: one aggregator, one tailer, two leaves, and a real Kafka as the shard log.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use basalt_common::value::Value;
use basalt_harness::broker::Broker;
use basalt_harness::operations::Model;
use basalt_harness::roles::Roles;
use basalt_harness::server::parse;
use reqwest::Method;
use serde_json::json;

const COUNT: usize = 20_000;

/// Generated documents, through processes and Kafka: the same as in a map, and grouped as in a map; after a leaf and the
/// tailer were killed in the middle, too.
#[tokio::test(flavor = "multi_thread")]
async fn documents_pass_through_all_roles() -> Result<()> {
    let broker = Broker::start()?;
    let mut roles = Roles::start(&broker, Duration::from_secs(2))?;
    let arguments = ["generate", "--count", "20000", "--seed", "11", "--start-micros", "1700000000000000"];
    let program = basalt_harness::leaf::program("basalt")?;
    let printed = tokio::process::Command::new(&program).args(arguments).arg("--print").output().await?;
    let mut model = Model::default();
    for line in String::from_utf8(printed.stdout)?.lines() {
        let Value::Object(line) = parse(line)? else { continue };
        let (id, operation) = basalt_harness::generated::read(&line)?;
        model.apply(&id, &operation);
    }
    let send = ["--rate", "0", "--url", &roles.server.url];
    let sent = tokio::process::Command::new(&program).args(arguments).args(send).output().await?;
    ensure!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    compare(&roles, &model).await?;
    for round in 0..3 {
        roles.kill_and_restart(round % 2)?;
        let body = json!([{ "_id": format!("after-{round}"), "event": "after" }]).to_string();
        let path = "/v1/workspaces/public/collections/events/documents?wait=applied";
        let key = format!("key-{round}");
        let (reply, sent) = roles.server.insist(Method::POST, path, &[("idempotency-key", &key)], &body).await?;
        println!("round {round}: sent {sent} times");
        ensure!(reply["outcomes"]["added"] == 1, "round {round}: {reply}");
        let after = [("event".to_string(), Value::String("after".into()))].into();
        model.documents.insert(format!("after-{round}"), after);
        compare(&roles, &model).await?;
    }
    println!("{COUNT} operations, {} documents, three kills", model.documents.len());
    Ok(())
}

/// Documents by event, and their views, in SQL and in the model; and a join with itself.
async fn compare(roles: &Roles, model: &Model) -> Result<()> {
    let mut expected: BTreeMap<String, (u64, i64)> = BTreeMap::new();
    for document in model.documents.values() {
        let Some(Value::String(event)) = document.get("event") else { continue };
        let views = match document.get("counters") {
            Some(Value::Object(counters)) => match counters.get("views") {
                Some(Value::Int(views)) => *views,
                _ => 0,
            },
            _ => 0,
        };
        let entry = expected.entry(event.clone()).or_default();
        *entry = (entry.0 + 1, entry.1 + views);
    }
    let grouped = "SELECT event, count(*) AS n, coalesce(sum(counters.views), 0) AS views FROM events GROUP BY event";
    let mut found = BTreeMap::new();
    for row in roles.server.rows(grouped).await? {
        let event = row["event"].as_str().context("no event")?.to_string();
        found.insert(event, (row["n"].as_u64().unwrap_or_default(), row["views"].as_i64().unwrap_or_default()));
    }
    ensure!(found == expected, "{found:?}\nexpected {expected:?}");
    let join = "SELECT count(*) AS n FROM events a JOIN events b ON a._id = b._id";
    let rows = roles.server.rows(join).await?;
    ensure!(rows == [json!({ "n": model.documents.len() })], "{rows:?}");
    Ok(())
}
