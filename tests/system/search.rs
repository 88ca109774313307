//! Searching over HTTP: texts that match and places that are near, in memory and in files, by every way, while documents change;
//! scores; what is refused.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use basalt_common::geography::Shape;
use basalt_common::random::SeededRandom;
use basalt_common::text::{Analyzer, Kind, Matcher, TextQuery};
use basalt_harness::server::{Live, Server};
use reqwest::Method;
use serde_json::{Value as Json, json};

const WORDS: [&str; 14] =
    ["the", "quick", "brown", "fox", "jumps", "over", "lazy", "dogs", "and", "runs", "running", "away", "from", "rain"];

const QUERIES: [(Kind, &str); 10] = [
    (Kind::Search, "fox"),
    (Kind::Search, "Quick fox -rain"),
    (Kind::Search, "run"),
    (Kind::Search, "rain OR \"lazy dogs\""),
    (Kind::Search, "\"brown fox jumps\""),
    (Kind::Search, "ru* da*"),
    (Kind::Search, "away from rain quick"),
    (Kind::Phrase, "over the lazy"),
    (Kind::Prefix, "the qu"),
    (Kind::Prefix, "ja"),
];

fn text(random: &mut SeededRandom) -> String {
    let words = (0..4 + random.below(12)).map(|_| *random.pick(&WORDS));
    words.collect::<Vec<_>>().join(" ")
}

fn matching(texts: &BTreeMap<String, String>, kind: Kind, query: &str, analyzer: Analyzer) -> Result<BTreeSet<String>> {
    let mut matcher = Matcher::new(TextQuery::new(kind, query, analyzer)?);
    let mut ids = BTreeSet::new();
    for (id, text) in texts {
        matcher.clear();
        matcher.add(text);
        if matcher.matches() {
            ids.insert(id.clone());
        }
    }
    Ok(ids)
}

async fn found(live: &Live, sql: &str) -> Result<BTreeSet<String>> {
    let (status, reply) = live.query(json!({ "sql": sql, "rows": "arrays" })).await?;
    let rows = reply["rows"].as_array().filter(|_| status == 200).with_context(|| format!("{sql}: {reply}"))?;
    Ok(rows.iter().filter_map(|row| row[0].as_str()).map(String::from).collect())
}

async fn check(live: &Live, texts: &BTreeMap<String, String>, when: &str) -> Result<usize> {
    let mut all = 0;
    for (field, analyzer) in [("body", "english".parse()?), ("note.text", Analyzer::default())] {
        for (kind, query) in QUERIES {
            let expected = matching(texts, kind, query, analyzer)?;
            all += expected.len();
            for hint in HINTS {
                let sql = format!("SELECT _id FROM docs {hint} WHERE {}({field}, '{query}')", kind.name());
                let shown = found(live, &sql).await?;
                ensure!(shown == expected, "{sql}, {when}: {shown:?}, not {expected:?}");
            }
        }
    }
    Ok(all)
}

fn document(id: &str, text: &str) -> Json {
    json!({ "_id": id, "body": text, "note": { "text": text } })
}

/// In memory, in files, patched, deleted, and folded: the rows that match are those whose text matches.
#[tokio::test(flavor = "multi_thread")]
async fn searches_find_what_the_texts_say() -> Result<()> {
    let mut live = Live::start(&["--shards", "2"])?;
    let settings = json!({ "name": "docs", "text": { "body": { "analyzer": "english" } }, "unindexed": ["n"] });
    let (status, reply) =
        live.server.json(Method::POST, "/v1/workspaces/public/collections", settings.to_string()).await?;
    ensure!(status == 201 && reply["text"]["body"]["analyzer"] == "english", "{reply}");
    let patch = json!({ "unindexed": ["m"] }).to_string();
    let (status, reply) = live.server.json(Method::PATCH, "/v1/workspaces/public/collections/docs", patch).await?;
    let kept = reply["text"]["body"]["analyzer"] == "english";
    ensure!(status == 200 && kept && reply["unindexed"] == json!(["m"]), "what is not named changed: {reply}");
    let mut random = SeededRandom::new(5);
    let mut texts: BTreeMap<String, String> = (0..3_000).map(|n| (format!("d{n}"), text(&mut random))).collect();
    let documents = texts.iter().map(|(id, text)| document(id, text));
    live.write(Method::POST, Json::Array(documents.collect()).to_string()).await?;
    ensure!(check(&live, &texts, "in memory").await? > 1_000, "hardly anything matches");
    live.server.stop()?;
    live.server = Server::start(live.data.path(), &["--shards", "2"])?;
    check(&live, &texts, "in files").await?;
    let rare = "EXPLAIN ANALYZE SELECT _id FROM docs WHERE search(body, '\"the quick brown fox jumps\"')";
    let shown = live.query(json!({ "sql": rare })).await?.1.to_string();
    ensure!(shown.contains("by index_filter"), "the index of words is not asked: {shown}");
    for (count, when) in [(20, "with a few patched"), (1_500, "with half of them patched")] {
        let mut patches = Vec::new();
        for _ in 0..count {
            let (id, new) = (format!("d{}", random.below(3_000)), text(&mut random));
            patches.push(json!({ "_id": id, "merge": { "body": new, "note": { "text": new } } }));
            texts.insert(id, new);
        }
        live.write(Method::PATCH, Json::Array(patches).to_string()).await?;
        check(&live, &texts, when).await?;
    }
    let gone: Vec<String> = (0..300).map(|n| format!("d{n}")).collect();
    gone.iter().for_each(|id| drop(texts.remove(id)));
    live.write(Method::DELETE, json!({ "ids": gone }).to_string()).await?;
    check(&live, &texts, "with some deleted").await?;
    live.server.stop()?;
    live.server = Server::start(live.data.path(), &["--shards", "2"])?;
    check(&live, &texts, "after a restart").await?;
    Ok(())
}

/// Scores compare over shards, and order rows; other SQL goes with searches.
#[tokio::test(flavor = "multi_thread")]
async fn scores_order_what_is_found() -> Result<()> {
    let mut live = Live::start(&["--shards", "4"])?;
    let documents = json!([
        { "_id": "a", "title": "Rust in action", "body": "a book about rust, and about nothing but rust", "n": 1 },
        { "_id": "b", "title": "Databases", "body": "rust is mentioned once in this long text about many other things", "n": 2 },
        { "_id": "c", "title": "Cooking", "body": "no such word in here", "n": 3 },
        { "_id": "d", "title": "Rust never sleeps", "body": null, "n": 4, "tags": ["old rust", "music"] },
        { "_id": "e", "title": 7, "body": "action words", "n": 5 }
    ]);
    live.write(Method::POST, documents.to_string()).await?;
    for restart in [false, true] {
        if restart {
            live.server.stop()?;
            live.server = Server::start(live.data.path(), &["--shards", "4"])?;
        }
        let check = async |sql: &str, expected: Json| -> Result<()> {
            let (status, reply) = live.query(json!({ "sql": sql, "rows": "arrays" })).await?;
            ensure!(status == 200 && reply["rows"] == expected, "{sql}\n{reply}\nexpected {expected}");
            Ok(())
        };
        check("SELECT _id FROM docs WHERE search(body, 'rust') ORDER BY score() DESC", json!([["a"], ["b"]])).await?;
        let best = "SELECT _id FROM docs WHERE search(body, :q) ORDER BY score() DESC LIMIT 1";
        let (_, reply) = live.query(json!({ "sql": best, "rows": "arrays", "parameters": { "q": "rust" } })).await?;
        ensure!(reply["rows"] == json!([["a"]]), "{reply}");
        check(
            "SELECT _id FROM docs WHERE search(title, 'rust') OR search(body, 'rust') ORDER BY score() DESC, n",
            json!([["a"], ["d"], ["b"]]),
        )
        .await?;
        check("SELECT count(*) FROM docs WHERE search(body, 'word*') AND n > 3", json!([[1]])).await?;
        check("SELECT _id FROM docs WHERE search(tags, 'rust')", json!([["d"]])).await?;
        check("SELECT _id FROM docs WHERE match_phrase(body, 'but rust')", json!([["a"]])).await?;
        check("SELECT d.n FROM docs AS d WHERE prefix(d.title, 'data')", json!([[2]])).await?;
        check("SELECT x.s > 0.1 FROM (SELECT score() AS s FROM docs WHERE search(body, 'once')) AS x", json!([[true]]))
            .await?;
        check("SELECT _id FROM docs WHERE search(nobody, 'rust')", json!([])).await?;
        check("SELECT _id FROM docs WHERE NOT search(body, 'rust') ORDER BY _id", json!([["c"], ["e"]])).await?;
        let sql =
            "SELECT a._id FROM docs a JOIN docs b ON a.n = b.n WHERE search(b.body, 'rust') ORDER BY score() DESC";
        check(sql, json!([["a"], ["b"]])).await?;
        let sql = "EXPLAIN SELECT title FROM docs WHERE search(body, 'rust') ORDER BY score() DESC LIMIT 1";
        let plan = live.query(json!({ "sql": sql })).await?.1.to_string();
        ensure!(plan.contains("=score("), "leaves do not make the scores: {plan}");
        let (_, reply) =
            live.query(json!({ "sql": "SELECT _id, score() FROM docs WHERE search(body, 'rust') AND n = 1" })).await?;
        let score = reply["rows"][0]["score"].as_f64().with_context(|| reply.to_string())?;
        ensure!(
            score > 0.5 && score < 5.0 && reply["columns"][1] == json!({ "name": "score", "type": "float" }),
            "{reply}"
        );
    }
    for (sql, told) in [
        ("SELECT score() FROM docs", "score() has no search"),
        ("SELECT _id FROM docs WHERE search(n, 'x')", "looks into texts"),
        ("SELECT _id FROM docs WHERE search(body, title)", "constant text"),
        ("SELECT _id FROM docs WHERE search(body, 'x', 'klingon')", "there is no analyzer"),
        ("SELECT _id FROM docs WHERE serch(body, 'x')", "search"),
    ] {
        let (status, reply) = live.query(json!({ "sql": sql })).await?;
        ensure!(status == 400 && reply.to_string().contains(told), "{sql}: {status} {reply}");
    }
    let long = format!("SELECT _id FROM docs WHERE search(body, '{}')", "a b* \"c d\" -e OR ".repeat(600));
    let (status, reply) = live.query(json!({ "sql": long })).await?;
    ensure!(status == 200 && reply["rows"].as_array().is_some(), "{status} {reply}");
    Ok(())
}

const HINTS: [&str; 4] =
    ["", "HINT(access_path=index_filter)", "HINT(access_path=column_scan)", "HINT(access_path=row_scan)"];

/// Places near another, and inside shapes, by objects and by pairs of fields; over the antimeridian and a pole too.
#[tokio::test(flavor = "multi_thread")]
async fn places_are_found_where_they_are() -> Result<()> {
    let mut live = Live::start(&["--shards", "2"])?;
    let mut random = SeededRandom::new(9);
    let mut degrees = |most: f64| (random.below(2_000_001) as f64 / 1e6 - 1.0) * most;
    let mut places: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for n in 0..4_000 {
        places.insert(
            format!("d{n}"),
            if n % 4 == 0 { (degrees(180.0), degrees(90.0)) } else { (13.4 + degrees(0.5), 52.5 + degrees(0.5)) },
        );
    }
    let document = |(id, (lon, lat)): (&String, &(f64, f64))| json!({ "_id": id, "at": { "lon": lon, "lat": lat }, "x": lon, "y": lat });
    live.write(Method::POST, Json::Array(places.iter().map(document).collect()).to_string()).await?;
    for when in ["in memory", "in files", "patched"] {
        if when == "in files" {
            live.server.stop()?;
            live.server = Server::start(live.data.path(), &["--shards", "2"])?;
        }
        if when == "patched" {
            let moved = (0..200).map(|n| (format!("d{}", n * 7), (13.4, 52.0 + f64::from(n) / 200.0)));
            let moved: BTreeMap<String, (f64, f64)> = moved.collect();
            let patch = |(id, (lon, lat)): (&String, &(f64, f64))| json!({ "_id": id, "merge": { "at": { "lon": lon, "lat": lat }, "x": lon, "y": lat } });
            live.write(Method::PATCH, Json::Array(moved.iter().map(patch).collect()).to_string()).await?;
            places.extend(moved);
        }
        for (lon, lat, metres) in
            [(13.4, 52.5, 3_000.0), (13.0, 52.0, 40_000.0), (179.9, -10.0, 2e6), (0.0, 88.0, 1.5e6), (-70.5, 5.0, 0.0)]
        {
            let center = Shape::point(lon, lat).context("it is on the earth")?;
            let near = |(_, (x, y)): &(&String, &(f64, f64))| {
                Shape::point(*x, *y).and_then(|place| place.distance(&center)).is_some_and(|far| far <= metres)
            };
            let expected: BTreeSet<String> = places.iter().filter(near).map(|(id, _)| id.clone()).collect();
            for (hint, place) in HINTS.iter().flat_map(|hint| [(hint, "at"), (hint, "st_point(x, y)")]) {
                let sql = format!(
                    "SELECT _id FROM docs {hint} WHERE st_within_distance({place}, st_point({lon}, {lat}), {metres})"
                );
                let shown = found(&live, &sql).await?;
                ensure!(shown == expected, "{sql}, {when}: {} rows, not {}", shown.len(), expected.len());
            }
        }
        if when == "in files" {
            let sql = "EXPLAIN ANALYZE SELECT _id FROM docs WHERE st_within_distance(at, 'POINT(-70 5)', 20000)";
            let (_, reply) = live.query(json!({ "sql": sql })).await?;
            ensure!(reply.to_string().contains("by index_filter"), "places are not found by their ranges: {reply}");
        }
        let sql = "SELECT count(*) FROM docs WHERE st_contains('POLYGON((13 52, 14 52, 14 53, 13 53, 13 52))', at) \
                   AND NOT st_within_box(at, 13, 52, 14, 53)";
        let (_, reply) = live.query(json!({ "sql": sql, "rows": "arrays" })).await?;
        ensure!(reply["rows"] == json!([[0]]), "{reply}");
    }
    let (_, reply) = live.query(json!({ "sql": "SELECT st_point(1, 2) AS p, st_astext(at) AS t, st_distance(at, at) AS d FROM docs WHERE _id = 'd0'" })).await?;
    ensure!(reply["rows"][0]["p"] == json!({ "lon": 1.0, "lat": 2.0 }) && reply["rows"][0]["d"] == 0.0, "{reply}");
    for (sql, told) in
        [("SELECT st_distance(at, 'POINT(x)') FROM docs", "is no place"), ("SELECT st_x(x) FROM docs", "is of places")]
    {
        let (status, reply) = live.query(json!({ "sql": sql })).await?;
        ensure!(status == 400 && reply.to_string().contains(told), "{sql}: {status} {reply}");
    }
    Ok(())
}
