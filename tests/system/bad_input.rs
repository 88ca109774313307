//! What clients send by mistake: refused with the place and what to do, and nothing else is lost.

use anyhow::{Context, Result, ensure};
use basalt_harness::server::{DOCUMENTS, Live};
use reqwest::Method;
use serde_json::{Value as Json, json};

/// Bad SQL says where and what to do, reaches nothing it should not, and ends in time and within its memory.
#[tokio::test(flavor = "multi_thread")]
async fn bad_queries_are_explained() -> Result<()> {
    let live = Live::start(&["--query-memory-bytes-max", "20000000"])?;
    let documents: Vec<Json> =
        (0..20_000).map(|n| json!({ "_id": n.to_string(), "n": n, "text": format!("{n:0>200}") })).collect();
    live.write(Method::POST, json!(documents).to_string()).await?;
    let cases = [
        (json!({ "sql": "SELECT n FRM docs" }), 400, "invalid_request", Some((1, 14))),
        (json!({ "sql": "SELECT n\nFROM dcs" }), 404, "not_found", Some((2, 6))),
        (json!({ "sql": "SELECT count(*),\n  lenth(text) FROM docs" }), 400, "invalid_request", Some((2, 3))),
        (json!({ "sql": "" }), 400, "invalid_request", None),
        (json!({ "sql": "SELECT 1; SELECT 2" }), 400, "invalid_request", None),
        (json!({ "sql": "SELECT n / 0 FROM docs" }), 400, "invalid_request", None),
        (json!({ "sql": "SELECT :x" }), 400, "invalid_request", None),
        (json!({ "sql": "SELECT 1", "parameters": { "x": 1 } }), 400, "invalid_request", None),
        (json!({ "sql": "SELECT 1", "workspace": "publik" }), 404, "not_found", None),
        (json!({ "sql": "SELECT 1", "fence": "nonsense" }), 400, "invalid_request", None),
        (json!({ "sql": "SELECT 1", "tmeout_ms": 5 }), 400, "invalid_request", None),
        (json!({ "sql": "INSERT INTO docs VALUES (1)" }), 400, "invalid_request", None),
        (json!({ "sql": "DROP TABLE docs" }), 400, "invalid_request", None),
        (json!({ "sql": "SET datafusion.execution.batch_size = 1" }), 400, "invalid_request", None),
        (
            json!({ "sql": "CREATE EXTERNAL TABLE p STORED AS CSV LOCATION '/etc/passwd'" }),
            400,
            "invalid_request",
            None,
        ),
        (json!({ "sql": "COPY docs TO '/tmp/out.csv'" }), 400, "invalid_request", None),
        (json!({ "sql": "EXPLAIN ANALYZE COPY docs TO '/tmp/out.csv'" }), 400, "invalid_request", None),
        (json!({ "sql": "SELECT * FROM '/etc/passwd'" }), 400, "invalid_request", None),
        (json!({ "sql": "SELECT * FROM \"/etc/passwd\"" }), 404, "not_found", None),
        (
            json!({ "sql": "SELECT count(*) FROM docs a, docs b, docs c WHERE a.n + b.n + c.n = -1", "timeout_ms": 300 }),
            408,
            "timeout",
            None,
        ),
        (
            json!({ "sql": "SELECT text, array_agg(n) FROM docs GROUP BY text, n ORDER BY text" }),
            507,
            "resources",
            None,
        ),
        (json!({ "sql": "SELECT max(mixed) FROM odd" }), 400, "invalid_request", None),
    ];
    let kinds = [json!([1, 2]), json!(true), json!("x"), json!([[3]]), json!(7)];
    let odd: Vec<Json> = (0..100).map(|n| json!({ "_id": n.to_string(), "mixed": kinds[n % kinds.len()] })).collect();
    let path = "/v1/workspaces/public/collections/odd/documents?wait=applied";
    ensure!(live.server.json(Method::POST, path, json!(odd).to_string()).await?.0 == 200, "it is written");
    for (body, expected, kind, place) in cases {
        let (status, reply) = live.query(body.clone()).await?;
        let error = &reply["error"];
        ensure!(status == expected && error["kind"] == kind, "{body}: {status} {reply}");
        ensure!(!error["message"].as_str().unwrap_or_default().is_empty(), "{body}: no message");
        if let Some((line, column)) = place {
            ensure!(error["line"] == line && error["column"] == column, "{body}: {reply}");
        }
    }
    let exploding = [
        "repeat('x', 2000000000)",
        "repeat(text, 1000000) FROM docs",
        "replace(repeat('a', 1000000), 'a', repeat('x', 1000000))",
        "lpad('x', 2000000000)",
        "rpad(text, n * 1000000, 'y') FROM docs",
        "array_repeat(1, 10000000000)",
        "array_resize([1], 1000000000, 2)",
        "range(1, 10000000000)",
        "generate_series(1, 10000000000, 3)",
        "range(10000000000)",
    ];
    for call in exploding {
        let (status, reply) = live.query(json!({ "sql": format!("SELECT {call}") })).await?;
        let message = reply["error"]["message"].as_str().unwrap_or_default();
        ensure!(status == 400 && message.contains("bytes at once"), "{call}: {status} {reply}");
    }
    let sql = "SELECT repeat('ab', 3) AS a, lpad('7', 3, '0') AS b, replace('aXa', 'a', 'bb') AS c, range(1, 4) AS d, \
               array_repeat('x', 2) AS e, generate_series(1, 5, 2) AS f, rpad('7', 3) AS g, repeat(NULL, 3) AS h";
    let expected = json!({
        "a": "ababab", "b": "007", "c": "bbXbb", "d": [1, 2, 3], "e": ["x", "x"], "f": [1, 3, 5], "g": "7  ", "h": null
    });
    ensure!(live.server.rows(sql).await? == [expected.clone()], "{:?}, not {expected}", live.server.rows(sql).await?);
    let sql = "SELECT count(*) AS c FROM docs WHERE replace(text, '0', '') = '7' OR lpad(n::text, 5, '0') = '00008'";
    ensure!(live.server.rows(sql).await? == [json!({ "c": 5 })], "7, 70, 700, 7000 and 8");
    let deep = format!("SELECT {}1{}", "(".repeat(50_000), ")".repeat(50_000));
    let (status, _) = live.query(json!({ "sql": deep })).await?;
    ensure!(status == 400 || status == 413, "{status}");
    let chain = format!("SELECT 1{}", " + 1".repeat(20_000));
    let (status, _) = live.query(json!({ "sql": chain })).await?;
    ensure!(status == 200 || status == 400, "{status}");
    ensure!(
        live.server.rows("SELECT count(*) AS c FROM docs").await? == [json!({ "c": 20_000 })],
        "the server goes on"
    );
    Ok(())
}

/// Bad documents are refused one by one, or the body as a whole; nothing else is lost.
#[tokio::test(flavor = "multi_thread")]
async fn bad_documents_are_explained() -> Result<()> {
    let live = Live::start(&["--body-bytes-max", "1000000"])?;
    let send = async |content_type: &str, body: &[u8]| -> Result<(u16, Json)> {
        let response = live.server.send(Method::POST, DOCUMENTS, &[("content-type", content_type)], body).await?;
        let status = response.status().as_u16();
        Ok((status, serde_json::from_str(&response.text().await?)?))
    };
    let lines = b"{\"_id\":\"a\"}\n{\"b\": tru}\n{\"x\":1,\"x\":2}\n{\"s\":\"\xff\"}\n{\"_id\":[]}\n[1]\n{\"_id\":\"z\",\"n\":18446744073709551616}\n";
    let (status, reply) = send("application/x-ndjson", lines).await?;
    ensure!(status == 200 && reply["accepted"] == 2 && reply["failed"] == 5, "{reply}");
    let offsets: Vec<Json> =
        reply["errors"].as_array().context("no errors")?.iter().map(|error| error["byte_offset"].clone()).collect();
    ensure!(offsets[..3] == [json!(21), json!(30), json!(43)], "{offsets:?}");
    let deep = format!("{{\"a\": {}{}}}", "[".repeat(500), "]".repeat(500));
    let refused: [(&[u8], u16); 6] = [
        (br#"[{"_id": "b"}, {"b": tru}]"#, 400),
        (b"\"text\"", 400),
        (b"", 400),
        (b"[{\"a\": \"\xc3\"}]", 400),
        (deep.as_bytes(), 400),
        (&[b' '; 1_000_001], 413),
    ];
    for (body, expected) in refused {
        let (status, reply) = send("application/json", body).await?;
        ensure!(status == expected && reply["error"]["message"].is_string(), "{status} {reply}");
    }
    ensure!(send("image/png", b"{}").await?.0 == 400);
    for (method, path, expected) in [
        (Method::POST, "/v1/workspaces/nowhere/collections/x/documents", 404),
        (Method::POST, "/v1/workspaces/public/collections/no%20name/documents", 400),
        (Method::DELETE, "/v1/workspaces/public/collections/dogs/documents", 404),
        (Method::POST, "/v1/nothing", 404),
        (Method::PUT, "/v1/query", 405),
    ] {
        let (status, reply) = live.server.json(method, path, r#"{"ids": []}"#).await?;
        ensure!(status == expected && reply["error"]["message"].is_string(), "{path}: {status} {reply}");
    }
    let asked = json!({ "ids": ["a", "z", "b"] }).to_string();
    let response = live.server.send(Method::POST, &format!("{DOCUMENTS}/_get"), &[], asked).await?;
    let text = response.text().await?;
    ensure!(text == r#"{"documents":[{"_id":"a"},{"_id":"z","n":18446744073709551616},null]}"#, "{text}");
    Ok(())
}
