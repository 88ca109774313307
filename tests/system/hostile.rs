//! Queries whose text is made to take long or much: each is answered or refused in time, and the server goes on.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use basalt_common::clock::{Clock, SystemClock};
use basalt_harness::server::Live;
use reqwest::Method;
use serde_json::{Value as Json, json};

/// The longest that a query of a small collection may take. Most take milliseconds; some of the largest that are allowed are planned for a second or
/// more, on a machine that does other things.
const LONGEST: Duration = Duration::from_secs(15);

const DOCUMENTS: u64 = 5_000;

/// Words of texts: some are the beginnings of others.
const WORDS: [&str; 8] = ["a", "aa", "aaa", "ab", "steam", "engine", "analytical", "engineer"];

/// A server with texts in memory and in files.
async fn server() -> Result<Live> {
    let mut live = Live::start(&["--shards", "2"])?;
    let text = |n: u64| {
        (0..12).map(|place| WORDS[((n >> (place % 5)) + place) as usize % 8]).collect::<Vec<_>>().join(" ")
            + &format!(" a{n}")
    };
    let documents: Vec<Json> = (0..DOCUMENTS)
        .map(|n| json!({ "_id": n.to_string(), "n": n, "text": text(n), "long": "a".repeat(n as usize % 3_000) }))
        .collect();
    let (files, memory) = documents.split_at(documents.len() / 2);
    live.write(Method::POST, json!(files).to_string()).await?;
    live.server.stop()?;
    live.server = basalt_harness::server::Server::start(live.data.path(), &["--shards", "2"])?;
    live.write(Method::POST, json!(memory).to_string()).await?;
    Ok(live)
}

/// The reply to a query that ends soon and as one that is too much for nobody: rows, or an error of a client's kind.
async fn ask(live: &Live, what: &str, body: Json) -> Result<(u16, Json)> {
    let clock = SystemClock::default();
    let started = clock.monotonic();
    let (status, reply) = live.query(body).await.with_context(|| what.to_string())?;
    let took = clock.monotonic() - started;
    let message = reply["error"]["message"].as_str().unwrap_or_default();
    println!("{what}: {status} in {took:?} {}", message.chars().take(150).collect::<String>());
    ensure!(took < LONGEST, "{what}: {status} after {took:?}");
    ensure!([200, 400, 408, 413, 507].contains(&status), "{what}: {status} {reply}");
    ensure!(status == 200 || !message.is_empty(), "{what}: an error says nothing");
    Ok((status, reply))
}

/// It answers as ever.
async fn goes_on(live: &Live) -> Result<()> {
    let rows = live.server.rows("SELECT count(*) AS c, max(n) AS m FROM docs").await?;
    ensure!(rows == [json!({ "c": DOCUMENTS, "m": DOCUMENTS - 1 })], "{rows:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_made_to_take_long_end() -> Result<()> {
    let live = server().await?;
    let kilobytes = |part: &str, bytes: usize| part.repeat(bytes / part.len());
    let prefixes: Vec<String> = (0..900).map(|n| format!("{}*", "a".repeat(1 + n % 3) + &n.to_string())).collect();
    let queries = [
        ("megabytes of quotes", kilobytes("\"", 4 << 20)),
        ("kilobytes of quotes", kilobytes("\"", 60 << 10)),
        ("quotes and signs", kilobytes("\"a* -\"*OR\" ", 60 << 10)),
        ("prefixes of one letter", kilobytes("a* ", 60 << 10)),
        ("a prefix, or again", kilobytes("a* OR ", 60 << 10)),
        ("prefixes, each another", prefixes.join(" OR ")),
        ("a word, or again", kilobytes("a OR ", 60 << 10)),
        ("a phrase, again and again", kilobytes("\"a aa\" ", 60 << 10)),
        ("a phrase, or again", kilobytes("\"a aa\" OR ", 60 << 10)),
        ("not, again and again", format!("engine {}", kilobytes("-\"aa a\" ", 60 << 10))),
        ("only not", kilobytes("-zzz ", 60 << 10)),
        ("OR alone", kilobytes("OR ", 60 << 10)),
        ("signs", kilobytes("- -- \"-\" * \"\"* ", 60 << 10)),
        ("words, each another", (0..15_000).map(|n| n.to_string()).collect::<Vec<_>>().join(" ")),
        ("one long phrase", format!("\"{}\"", (0..12_000).map(|n| WORDS[n % 8]).collect::<Vec<_>>().join(" "))),
        ("a word without end", "a".repeat(60 << 10)),
        ("letters of many bytes", kilobytes("\u{1f600}\u{0}é*", 60 << 10)),
        ("nothing", String::new()),
    ];
    for (what, query) in queries {
        for function in ["search", "match_phrase", "prefix"] {
            let what = format!("{function}: {what}");
            let sql = format!("SELECT count(*) AS c FROM docs WHERE {function}(text, :q)");
            let (status, reply) = ask(&live, &what, json!({ "sql": sql, "parameters": { "q": query } })).await?;
            ensure!(status == 200 || reply["error"]["kind"] == "invalid_request", "{what}: {reply}");
        }
        let sql = "SELECT _id FROM docs WHERE search(text, :q) ORDER BY score() DESC LIMIT 3";
        ask(&live, &format!("scores: {what}"), json!({ "sql": sql, "parameters": { "q": query } })).await?;
    }
    goes_on(&live).await
}

#[tokio::test(flavor = "multi_thread")]
async fn patterns_made_to_take_long_end() -> Result<()> {
    let live = server().await?;
    let backtracking =
        ["(a+)+$", "(a|a)*b", "(a*)*b", "(.*)(.*)(.*)(.*)(.*)(.*)b", "(a|aa)+$", "^(a?){200}a{200}$", "(?i)(a+)+z"];
    let large = [
        "a{1000}{1000}",
        "(a{500}){500}",
        "\\w{1000}",
        "(\\w{50}){50}",
        "((((a{10}){10}){10}){10}){10}",
        "[^a]{5000}",
        "(\\p{L}{100}){100}",
    ];
    let broken = ["(", "[", "*", "a{", "\\", "(?P<a", "(?<=a)b", "a{5,1}", "\\1"];
    let deep = [
        "(".repeat(10_000) + "a" + &")".repeat(10_000),
        "a|".repeat(200_000),
        "[a-z]".repeat(20_000),
        "(?i)".repeat(10_000),
    ];
    let patterns: Vec<String> =
        [&backtracking[..], &large, &broken].concat().into_iter().map(String::from).chain(deep).collect();
    for pattern in &patterns {
        let shown: String = pattern.chars().take(30).collect();
        for predicate in [
            "regexp_like(long, :p)",
            "long ~ :p",
            "long !~* :p",
            "regexp_replace(long, :p, 'x') = 'x'",
            "regexp_count(long, :p) > 1",
            "long SIMILAR TO :p",
        ] {
            let sql = format!("SELECT count(*) AS c FROM docs WHERE {predicate}");
            ask(
                &live,
                &format!("{predicate} {shown}"),
                json!({ "sql": sql, "parameters": { "p": pattern }, "timeout_ms": 5_000 }),
            )
            .await?;
        }
    }
    for pattern in [
        "%a".repeat(500) + "b",
        "%a%".repeat(20_000),
        "_".repeat(60_000),
        "%_".repeat(1_000) + "b",
        "%".repeat(500_000),
        "\\".repeat(9_999),
        "a".repeat(900_000),
    ] {
        let shown: String = pattern.chars().take(30).collect();
        for predicate in ["long LIKE :p", "text LIKE :p", "text NOT ILIKE :p", "long ILIKE :p"] {
            let sql = format!("SELECT count(*) AS c FROM docs WHERE {predicate}");
            ask(
                &live,
                &format!("{predicate} {shown}"),
                json!({ "sql": sql, "parameters": { "p": pattern }, "timeout_ms": 5_000 }),
            )
            .await?;
        }
    }
    goes_on(&live).await
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_made_to_take_long_ends() -> Result<()> {
    let live = server().await?;
    let joins =
        |count: usize| (0..count).map(|n| format!(" JOIN docs d{n} ON d{n}._id = docs._id")).collect::<String>();
    let numbers = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let columns = |count: usize| (0..count).map(|n| format!("n + {n} AS c{n}")).collect::<Vec<_>>().join(", ");
    let unknown = (0..2_000).map(|n| format!("nobody{n}")).collect::<Vec<_>>().join(", ");
    let queries = [
        ("a long list", format!("SELECT count(*) FROM docs WHERE n IN ({})", numbers(40_000))),
        (
            "a long list of ids",
            format!("SELECT count(*) FROM docs WHERE _id IN ('{}')", numbers(20_000).replace(", ", "', '")),
        ),
        ("a chain of OR", format!("SELECT count(*) FROM docs WHERE n = 1{}", " OR n = 2".repeat(240))),
        ("a chain of AND", format!("SELECT count(*) FROM docs WHERE n <> 1{}", " AND text <> 'x'".repeat(240))),
        ("a chain of NOT", format!("SELECT count(*) FROM docs WHERE {} n = 1", "NOT ".repeat(450))),
        ("a chain of +", format!("SELECT max(n{}) FROM docs", " + n".repeat(490))),
        ("a chain of casts", format!("SELECT max(n{}) FROM docs", "::text::int".repeat(240))),
        ("too many columns", format!("SELECT {} FROM docs LIMIT 1", columns(5_000))),
        ("an unknown field, again and again", format!("SELECT {unknown} FROM docs LIMIT 1")),
        ("joins", format!("SELECT count(*) FROM docs{}", joins(30))),
        ("too many joins", format!("SELECT count(*) FROM docs{}", joins(200))),
        ("a large text", format!("SELECT count(*) FROM docs WHERE text = '{}'", "x".repeat(1_000_000))),
        ("a huge text", format!("SELECT '{}'", "x".repeat(5_000_000))),
        ("unions", format!("SELECT count(*) FROM (SELECT n FROM docs{})", " UNION ALL SELECT n FROM docs".repeat(100))),
        ("subqueries", format!("SELECT {}1{}", "(SELECT ".repeat(12), ")".repeat(12))),
        ("cases", format!("SELECT max(CASE{} END) FROM docs", " WHEN n = 1 THEN 2".repeat(2_000))),
        ("windows", format!("SELECT {} FROM docs LIMIT 1", vec!["sum(n) OVER (ORDER BY n)"; 100].join(", "))),
        (
            "sets of groups",
            "SELECT count(*) FROM docs GROUP BY CUBE (n, _id, text, long, n + 1, n + 2, n + 3, n + 4, n + 5, n + 6)"
                .into(),
        ),
        ("a product", "SELECT count(*) FROM docs a, docs b, docs c, docs d".into()),
        (
            "endless recursion",
            "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r".into(),
        ),
        ("a deep path", format!("SELECT a{} FROM docs", ".a".repeat(5_000))),
        ("comments", format!("SELECT {} 1", "/*".repeat(100_000))),
        ("quotes", "'".repeat(99_999)),
        ("names", format!("SELECT \"{}\" FROM docs", "x".repeat(500_000))),
        ("numbers", format!("SELECT {}", "9".repeat(500_000))),
        ("a large exponent", "SELECT 1e999999999, -1e-999999999, 9e9999999999999999999".into()),
    ];
    for (what, sql) in queries {
        ask(&live, what, json!({ "sql": sql, "timeout_ms": 3_000 })).await?;
    }
    goes_on(&live).await
}
