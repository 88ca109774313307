//! Real streams from a real broker, into one process and into separate ones; the answers equal another engine's.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use basalt_common::value::Value;
use basalt_harness::broker::Broker;
use basalt_harness::generated;
use basalt_harness::operations::Model;
use basalt_harness::peers::{self, Peer};
use basalt_harness::roles::Roles;
use basalt_harness::server::{Live, Server, document_text, parse};
use reqwest::Method;
use serde_json::{Value as Json, json};

/// Operations of which at least 100,000 documents stay.
const OPERATIONS: &str = "130000";

/// Longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(240);

const GENERATED: [&str; 4] = [
    "SELECT event, count(*) AS n, sum(counters.views) AS views, avg(purchase.total) AS mean, min(received_at) AS first, \
     max(page.load_ms) AS slowest FROM events GROUP BY event ORDER BY event",
    "SELECT customer.location.country AS country, device.kind AS kind, count(*) AS n, \
     count(DISTINCT customer.id) AS customers, sum(purchase.total) AS total FROM events \
     WHERE purchase.status <> 'cart' AND counters.likes >= 10 \
     GROUP BY customer.location.country, device.kind ORDER BY country, kind",
    "SELECT attributes.channel AS channel, count(attributes.rating) AS rated, avg(attributes.rating) AS rating, \
     count(page.referrer) AS referred FROM events GROUP BY attributes.channel ORDER BY channel",
    "SELECT e.event AS event, count(*) AS n, sum(c.spent) AS spent FROM events e JOIN \
     (SELECT customer.id AS id, sum(purchase.total) AS spent FROM events GROUP BY customer.id HAVING count(*) > 5) c \
     ON e.customer.id = c.id GROUP BY e.event ORDER BY event",
];

const GITHUB: [&str; 3] = [
    "SELECT type, count(*) AS n, sum(payload.size) AS size, max(payload.distinct_size) AS most, \
     count(payload.issue.number) AS issues FROM github GROUP BY type ORDER BY type",
    "SELECT actor.login AS login, count(*) AS n FROM github GROUP BY actor.login ORDER BY n DESC, login LIMIT 20",
    "SELECT p.type AS before, q.type AS after, count(*) AS n FROM github p JOIN github q \
     ON p.repo.id = q.repo.id AND p.id < q.id GROUP BY p.type, q.type ORDER BY before, after",
];

/// The real events, if this tree stands beside them.
fn github_events() -> Result<Option<Vec<String>>> {
    let shared = basalt_harness::workspace().join("../shared");
    if !shared.is_dir() {
        println!("GitHub events: skipped, they are not on this machine");
        return Ok(None);
    }
    let text = std::fs::read_to_string(shared.join("data/github_events.json")).context("the real events")?;
    let lines: Vec<String> = text.lines().map(ToString::to_string).collect();
    println!("GitHub events: ran, {} of them", lines.len());
    Ok(Some(lines))
}

/// What must be there in the end.
struct Expected {
    model: Model,
    github: Option<Vec<String>>,
    queries: Vec<&'static str>,
    rows: Vec<Json>,
}

impl Expected {
    /// Fills the topics, and has the final documents queried by DuckDB.
    async fn produce(broker: &Broker) -> Result<Self> {
        broker.create_topic("events", 4).await?;
        broker.create_topic("github", 2).await?;
        let stream = ["generate", "--count", OPERATIONS, "--seed", "11", "--start-micros", "1700000000000000"];
        let basalt = basalt_harness::leaf::program("basalt")?;
        let target = ["--rate", "0", "--brokers", &broker.address(), "--topic", "events"];
        let mut sending = tokio::process::Command::new(&basalt).args(stream).args(target).spawn()?;
        let printed = tokio::process::Command::new(&basalt).args(stream).arg("--print").output().await?;
        ensure!(sending.wait().await?.success(), "the stream was not sent");
        let mut model = Model::default();
        for line in String::from_utf8(printed.stdout)?.lines() {
            let Value::Object(line) = parse(line)? else { bail!("{line} is no operation") };
            let (id, operation) = generated::read(&line)?;
            model.apply(&id, &operation);
        }
        ensure!(model.documents.len() >= 100_000, "only {} documents", model.documents.len());
        let github = github_events()?;
        let records = broker.records()?;
        for line in github.iter().flatten() {
            let Value::Object(event) = parse(line)? else { bail!("{line} is no event") };
            let Some(Value::String(id)) = event.get("id") else { bail!("{line} has no id") };
            records.put("github", id, line, None)?;
        }
        records.flush()?;
        let folder = tempfile::tempdir()?;
        let file = |name: &str| folder.path().join(name);
        let mut lines = BufWriter::new(File::create(file("events"))?);
        for (id, document) in &model.documents {
            writeln!(lines, "{}", document_text(id, document))?;
        }
        lines.into_inner()?.sync_all()?;
        let table = |name: &str| {
            let path = file(name).display().to_string();
            format!(
                "CREATE TABLE {name} AS SELECT * FROM read_json('{path}', format = 'newline_delimited', \
                 sample_size = -1, maximum_object_size = 20000000, map_inference_threshold = -1)"
            )
        };
        let (mut setup, mut queries) = (vec![table("events")], GENERATED.to_vec());
        if let Some(github) = &github {
            std::fs::write(file("github"), github.join("\n"))?;
            setup.push(table("github"));
            queries.extend(GITHUB);
        }
        let answers = Peer::DuckDb.answers(&setup, &queries, 0)?;
        let rows = answers.into_iter().map(|answer| answer.rows).collect();
        Ok(Self { model, github, queries, rows })
    }

    /// Has a server read the topics, and compares.
    async fn compare(&self, server: &Server, broker: &Broker) -> Result<()> {
        let collections = "/v1/workspaces/public/collections";
        let github = json!({ "name": "github", "key": "id" }).to_string();
        server.insist(Method::POST, collections, &[], &github).await?;
        for topic in ["events", "github"] {
            let source = json!({ "name": "stream", "type": "kafka", "brokers": broker.address(), "topic": topic });
            let path = format!("{collections}/{topic}/sources");
            server.insist(Method::POST, &path, &[], &source.to_string()).await?;
        }
        let github = self.github.as_ref().map_or(0, Vec::len);
        wait_for_documents(server, "events", self.model.documents.len()).await?;
        wait_for_documents(server, "github", github).await?;
        let mut rows = 0;
        for (query, theirs) in self.queries.iter().zip(&self.rows) {
            let body = json!({ "sql": query, "rows": "arrays" }).to_string();
            let (reply, _) = server.insist(Method::POST, "/v1/query", &[], &body).await?;
            let ours = &reply["rows"];
            ensure!(peers::equal(ours, theirs), "{query}\nours: {ours}\nDuckDB's: {theirs}");
            rows += ours.as_array().map_or(0, Vec::len);
        }
        self.compare_documents(server).await?;
        println!("{} queries, {rows} rows, {} documents equal", self.queries.len(), self.model.documents.len());
        Ok(())
    }

    /// Every document, by key: each value of its own type.
    async fn compare_documents(&self, server: &Server) -> Result<()> {
        let documents: Vec<_> = self.model.documents.iter().collect();
        let mut types = std::collections::BTreeMap::new();
        for chunk in documents.chunks(10_000) {
            let ids: Vec<&String> = chunk.iter().map(|(id, _)| *id).collect();
            let path = "/v1/workspaces/public/collections/events/documents/_get";
            let reply = server.send(Method::POST, path, &[], json!({ "ids": ids }).to_string()).await?;
            let Value::Object(reply) = parse(&reply.text().await?)? else { bail!("the reply is no object") };
            let Some(Value::Array(found)) = reply.get("documents") else { bail!("{reply:?}") };
            for ((id, expected), found) in chunk.iter().zip(found) {
                let Value::Object(mut found) = found.clone() else { bail!("{id} is not there") };
                found.remove("_id");
                ensure!(found == **expected, "{id}: {found:?}\nexpected {expected:?}");
                let of = expected.get("value").map_or("absent", |value| value.value_type().name());
                *types.entry(of).or_insert(0) += 1;
            }
        }
        println!("types of the field `value`: {types:?}");
        ensure!(types.len() >= 5, "the field `value` is hardly mixed");
        Ok(())
    }
}

/// Waits until a collection has so many documents.
async fn wait_for_documents(server: &Server, collection: &str, count: usize) -> Result<()> {
    let started = tokio::time::Instant::now();
    let path = format!("/v1/workspaces/public/collections/{collection}/sources/stream");
    loop {
        let rows = server.rows(&format!("SELECT count(*) AS n FROM {collection}")).await?;
        let (source, _) = server.insist(Method::GET, &path, &[], "").await?;
        if rows == [json!({ "n": count })] && source["lag_records"] == 0 {
            ensure!(source["failed"] == 0, "{source}");
            println!("{collection}: {count} documents after {:?}", started.elapsed());
            return Ok(());
        }
        ensure!(started.elapsed() < DEADLINE, "{collection}: {rows:?} instead of {count}; {source}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The real input: through one process with the local log, and through separate ones with the Kafka log.
#[tokio::test(flavor = "multi_thread")]
async fn final_documents_and_answers_equal_another_engines() -> Result<()> {
    let broker = Broker::start()?;
    let expected = Expected::produce(&broker).await?;
    let live = Live::start(&[])?;
    expected.compare(&live.server, &broker).await.context("one process")?;
    drop(live);
    let roles = Roles::start(&broker, Duration::from_secs(5))?;
    expected.compare(&roles.server, &broker).await.context("separate processes")
}
