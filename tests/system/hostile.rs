//! Queries that are made to take long: each is answered with rows or with what is wrong about it, at the latest when its time is over,
//! others are answered meanwhile, and none goes on behind its time.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use basalt_harness::broker::Broker;
use basalt_harness::roles::Roles;
use basalt_harness::server::{DOCUMENTS, Live, Server};
use reqwest::Method;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

const COUNT: u64 = 2_000;

/// What a query may take that may end somehow.
const SHORT: Duration = Duration::from_secs(2);

/// What others may take: the machine has other tests to run.
const LONG: Duration = Duration::from_secs(50);

/// Nothing is flushed meanwhile.
const FLUSH_INTERVAL: Duration = Duration::from_secs(600);

/// Every answer comes by then.
const ANSWERED: Duration = Duration::from_secs(60);

/// How a query may end.
#[derive(Debug, Clone, Copy)]
enum Ends {
    /// With rows, all the time that it takes being short.
    Rows,
    /// It is refused for what it is.
    Refused,
    /// With rows or because its time, or its memory, is over.
    Somehow,
}

fn hostile() -> Vec<(&'static str, Ends, String)> {
    let many = |part: &str, count: usize, between: &str| vec![part; count].join(between);
    let of_docs = |expression: String| format!("SELECT count(*) AS n FROM docs WHERE {expression}");
    let numbered = |count: usize, of: &dyn Fn(usize) -> String, between: &str| {
        (0..count).map(of).collect::<Vec<_>>().join(between)
    };
    let words = numbered(13_000, &|word| format!("w{:03}", word % 999), " ");
    let few = numbered(999, &|word| format!("w{word}"), " ");
    let alternatives = numbered(100_000, &|word| format!("a{word}"), "|");
    let columns = numbered(16, &|column| format!("n + {column}"), ", ");
    let [pairs, others] =
        ["p", "q"].map(|name| format!("(SELECT a.n + b.n AS n FROM docs a CROSS JOIN docs b) {name}"));
    vec![
        (
            "rows by rows by rows",
            Ends::Somehow,
            "SELECT count(*) AS n FROM docs a CROSS JOIN docs b CROSS JOIN docs c CROSS JOIN docs d \
             WHERE a.n + b.n > c.n + d.n"
                .into(),
        ),
        (
            "numbers without end",
            Ends::Somehow,
            "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT count(*) AS n FROM r".into(),
        ),
        (
            "pairs that never match",
            Ends::Somehow,
            format!("SELECT count(*) AS n FROM {pairs} JOIN {others} ON p.n + q.n < 0"),
        ),
        (
            "keys that always match, and what else never does",
            Ends::Somehow,
            format!("SELECT count(*) AS n FROM {pairs} JOIN {others} ON p.n % 1 = q.n % 1 AND p.n + q.n < 0"),
        ),
        (
            "keys that half of all rows have",
            Ends::Rows,
            format!("SELECT count(*) AS n FROM {pairs} WHERE p.n % 2 IN (SELECT q.n % 2 FROM {others})"),
        ),
        (
            "keys that are expressions, half of all alike",
            Ends::Rows,
            format!(
                "SELECT count(*) AS n FROM {pairs} WHERE NOT EXISTS (SELECT 1 FROM {others} WHERE q.n % 2 = p.n % 2)"
            ),
        ),
        (
            "elements by elements",
            Ends::Somehow,
            "SELECT count(*) AS n FROM (SELECT unnest(generate_series(1, 100000)) AS x, a.n FROM docs a, docs b) t \
             WHERE x + n < 0"
                .into(),
        ),
        (
            "a beginning that is asked for again and again",
            Ends::Rows,
            of_docs(format!("search(body, '{}')", many("a*", 20_000, " "))),
        ),
        ("a word or it again", Ends::Rows, of_docs(format!("search(body, '{}')", many("word", 8_000, " OR ")))),
        ("a thousand words", Ends::Rows, of_docs(format!("search(body, '{words}')"))),
        ("a phrase without end", Ends::Refused, of_docs(format!("search(body, '\"{}\"')", many("a", 30_000, " ")))),
        (
            "phrases of two words",
            Ends::Rows,
            of_docs(format!("search(body, '{}')", many("\"a b\" \"b a\" -\"a a\"", 3_000, " "))),
        ),
        (
            "scores of a thousand words",
            Ends::Rows,
            format!(
                "SELECT _id, score() AS s FROM docs WHERE search(body, '{}') ORDER BY s DESC LIMIT 3",
                few.replace(' ', " OR ")
            ),
        ),
        ("many signs in LIKE", Ends::Rows, of_docs(format!("body LIKE '{}'", many("%a_", 5_000, "")))),
        (
            "a regular expression of many words",
            Ends::Refused,
            format!("SELECT sum(regexp_count(body, '{alternatives}')) AS n FROM docs"),
        ),
        (
            "a regular expression of repetitions",
            Ends::Refused,
            of_docs("regexp_like(body, '((\\w{1,40}){1,40}){1,40}')".into()),
        ),
        ("a regular expression of the text", Ends::Somehow, of_docs("body ~ '(a|aa)+(a|aa|aaa)+b$'".into())),
        (
            "long texts letter by letter",
            Ends::Refused,
            "SELECT levenshtein(repeat('a', 200000), repeat('b', 200000)) AS n".into(),
        ),
        ("a text of texts", Ends::Refused, "SELECT length(repeat(repeat('a', 100000), 100000)) AS n".into()),
        (
            "every set of sixteen columns",
            Ends::Refused,
            format!("SELECT count(*) AS n FROM docs GROUP BY CUBE({columns})"),
        ),
        ("a set of many", Ends::Rows, of_docs(format!("n IN ({})", numbered(40_000, &|n| n.to_string(), ",")))),
        ("brackets in brackets", Ends::Refused, format!("SELECT {}1{}", "(".repeat(5_000), ")".repeat(5_000))),
        ("many operators", Ends::Refused, of_docs(numbered(2_000, &|n| format!("n = {n}"), " OR "))),
        ("subqueries in subqueries", Ends::Refused, format!("SELECT {}1{}", "(SELECT ".repeat(40), ")".repeat(40))),
        (
            "many joins",
            Ends::Refused,
            format!("SELECT count(*) FROM {}", numbered(300, &|n| format!("docs d{n}"), " CROSS JOIN ")),
        ),
    ]
}

async fn ask(server: &Server, sql: &str, timeout: Duration) -> Result<(u16, Json)> {
    let body = json!({ "sql": sql, "timeout_ms": timeout.as_millis() as u64 }).to_string();
    let asked = server.json(Method::POST, "/v1/query", body);
    tokio::time::timeout(ANSWERED, asked).await.context("no answer in time")?
}

/// Waits until every query has ended, those too that were answered before they did.
async fn nothing_runs(server: &Server) -> Result<()> {
    let until = Instant::now() + ANSWERED;
    loop {
        let metrics = server.send(Method::GET, "/metrics", &[], "").await?.text().await?;
        let running = metrics.lines().find(|line| line.starts_with("basalt_aggregator_queries_running "));
        match running.context("a gauge of queries")?.rsplit(' ').next() {
            Some("0") => return Ok(()),
            running => ensure!(Instant::now() < until, "{running:?} queries run behind their time"),
        }
    }
}

/// Asks all queries, one after another, and others beside each.
async fn withstands(server: &Server, queries: &[(&'static str, Ends, String)]) -> Result<()> {
    let document = |n: u64| {
        let words: Vec<String> = (0..40).map(|word| format!("a{}", (n * 31 + word * 7) % 500)).collect();
        json!({ "_id": format!("d{n}"), "n": n, "body": format!("{} {} a a b", words.join(" "), "a".repeat(200)) })
    };
    let documents: Vec<Json> = (0..COUNT).map(document).collect();
    let documents = Json::Array(documents).to_string();
    server.insist(Method::POST, &format!("{DOCUMENTS}?wait=applied"), &[], &documents).await?;
    for (what, ends, sql) in queries {
        let timeout = if matches!(ends, Ends::Somehow) { SHORT } else { LONG };
        let asked = async { ask(server, sql, timeout).await.context(*what) };
        let others = async {
            // Another client, while the first waits.
            let (status, reply) = ask(server, "SELECT count(*) AS n FROM docs", LONG).await.context(*what)?;
            ensure!(status == 200 && reply["rows"] == json!([{ "n": COUNT }]), "{what}: others have {status} {reply}");
            let path = format!("{DOCUMENTS}/_get");
            let read = server.json(Method::POST, &path, json!({ "ids": ["d7"], "fields": ["n"] }).to_string());
            let (status, reply) = tokio::time::timeout(ANSWERED, read).await.context(*what)??;
            ensure!(status == 200 && reply["documents"][0]["n"] == 7, "{what}: others have {status} {reply}");
            Ok::<_, anyhow::Error>(())
        };
        let ((status, reply), ()) = tokio::try_join!(asked, others)?;
        let as_expected = match ends {
            Ends::Rows => status == 200,
            Ends::Refused => status == 400,
            Ends::Somehow => matches!(status, 200 | 400 | 408),
        };
        let shown: String = reply.to_string().chars().take(300).collect();
        println!("{what}: {status} {shown}");
        ensure!(as_expected, "{what}: {status} {shown}, not {ends:?}");
        let message = reply["error"]["message"].as_str().unwrap_or_default();
        ensure!(status == 200 || !message.is_empty(), "{what}: {status} without a message: {shown}");
        ensure!(message.len() < 2_000, "{what}: a message of {} bytes", message.len());
    }
    nothing_runs(server).await
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_made_to_take_long_are_answered_and_disturb_nobody() -> Result<()> {
    withstands(&Live::start(&[])?.server, &hostile()).await
}

/// What runs in the leaves ends there too.
#[tokio::test(flavor = "multi_thread")]
async fn queries_made_to_take_long_end_in_every_process() -> Result<()> {
    let broker = Broker::start()?;
    let roles = Roles::start(&broker, FLUSH_INTERVAL)?;
    let mut queries = hostile();
    queries.retain(|(_, ends, _)| matches!(ends, Ends::Somehow));
    ensure!(queries.len() >= 5, "only {} queries take long", queries.len());
    withstands(&roles.server, &queries).await?;
    roles.leaves_rest().await
}
