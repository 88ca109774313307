//! Files that do not hold what was written to them, under a real server: each is named, none is read as data, and what does not need it
//! goes on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use basalt_harness::leaf::program;
use basalt_harness::server::{DOCUMENTS, Live, Server};
use reqwest::Method;
use serde_json::{Value as Json, json};

const QUERIES: [&str; 3] = [
    "SELECT count(*) AS c, sum(n) AS n, max(text) AS t FROM docs",
    "SELECT _id, n, text, more FROM docs ORDER BY _id LIMIT 20",
    "SELECT count(*) AS c FROM docs WHERE n > 150 AND search(text, 'steam')",
];

const OTHERS: &str = "/v1/workspaces/public/collections/others/documents?wait=applied";

const ARGUMENTS: [&str; 4] = ["--shards", "1", "--log", "off"];

fn start(data: &Path) -> Result<Server> {
    let mut command = Command::new(program("basalt")?);
    command.args(["start", "--http", "127.0.0.1:0", "--data"]).arg(data).args(ARGUMENTS);
    Server::of(command)
}

/// A folder that a server was stopped in, and what it answers.
async fn written() -> Result<(Live, Vec<Json>)> {
    let mut live = Live::start(&["--shards", "1"])?;
    let document =
        |n: u64| json!({ "_id": format!("d{n:0>4}"), "n": n, "text": format!("a steam engine of {n} parts") });
    live.write(Method::POST, json!((0..300).map(document).collect::<Vec<_>>()).to_string()).await?;
    let patch = |n: u64| json!({ "_id": format!("d{n:0>4}"), "merge": { "n": n + 1, "more": { "of": n } } });
    live.write(Method::PATCH, json!((0..300).step_by(3).map(patch).collect::<Vec<_>>()).to_string()).await?;
    live.write(Method::DELETE, json!({ "ids": ["d0007", "d0299"] }).to_string()).await?;
    let (status, reply) = live.server.json(Method::POST, OTHERS, json!({ "_id": "a", "n": 1 }).to_string()).await?;
    ensure!(status == 200, "{reply}");
    let mut answers = Vec::new();
    for sql in QUERIES {
        answers.push(json!(live.server.rows(sql).await?));
    }
    live.server.stop()?;
    Ok((live, answers))
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

/// The bytes of a file with one of them changed, and cut; none is no file at all.
fn damages(bytes: &[u8]) -> Vec<(String, Option<Vec<u8>>)> {
    let flipped = |at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 0x10;
        (format!("byte {at} is another"), Some(bytes))
    };
    let cut = |length: usize| (format!("cut at {length}"), Some(bytes[..length].to_vec()));
    let places = [9, bytes.len() / 3, bytes.len() / 2, bytes.len() * 3 / 4, bytes.len() - 9];
    let mut all: Vec<_> = places.into_iter().map(flipped).collect();
    all.extend([cut(bytes.len() - 1), cut(bytes.len() / 2), cut(0), ("gone".into(), None)]);
    all
}

/// Puts other bytes in a file's place: whoever has the file open keeps what it had.
fn replace(file: &Path, bytes: Option<&[u8]>) -> Result<()> {
    if file.exists() {
        fs::remove_file(file)?;
    }
    match bytes {
        Some(bytes) => Ok(fs::write(file, bytes)?),
        None => Ok(()),
    }
}

/// Whether a server on a folder with a damaged object says so. Whatever it answers to, it answers as before.
async fn says_so(live: &Live, answers: &[Json], what: &str) -> Result<bool> {
    let mut refused = false;
    for (sql, expected) in QUERIES.iter().zip(answers) {
        let (status, reply) = live.server.json(Method::POST, "/v1/query", json!({ "sql": sql }).to_string()).await?;
        if status == 200 {
            ensure!(reply["rows"] == *expected, "{what}: {sql} answers {}, not {expected}", reply["rows"]);
            continue;
        }
        let (kind, message) = (&reply["error"]["kind"], reply["error"]["message"].as_str().unwrap_or_default());
        ensure!(["internal", "unavailable"].iter().any(|known| kind == known), "{what}: {sql}: {reply}");
        // Where the only manifest is gone, what is known is the log's.
        let named = ["c1/s0/", "segment ", "there is no manifest"].iter().any(|name| message.contains(name));
        ensure!(named, "{what}: nothing is named: {reply}");
        refused = true;
    }
    let body = json!({ "ids": ["d0003", "d0004", "d0007"], "fields": ["n"] }).to_string();
    let (status, reply) = live.server.json(Method::POST, &format!("{DOCUMENTS}/_get"), body).await?;
    let expected = json!({ "documents": [{ "_id": "d0003", "n": 4 }, { "_id": "d0004", "n": 4 }, null] });
    ensure!(status != 200 || reply == expected, "{what}: by key {reply}");
    let (status, reply) = live.server.json(Method::POST, OTHERS, json!({ "_id": what, "n": 1 }).to_string()).await?;
    ensure!(status == 200 && reply["outcomes"]["added"] == 1, "{what}: another collection: {reply}");
    Ok(refused)
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_objects_are_named_and_never_read() -> Result<()> {
    let (mut live, answers) = written().await?;
    let objects = files(&live.data.path().join("store/c1/s0"))?;
    let named = |kind: &str| objects.iter().any(|file| file.to_string_lossy().contains(kind));
    ensure!(["segment", "checkpoint", "manifest"].iter().all(|kind| named(kind)), "{objects:?}");
    let (mut refused, mut read) = (0, 0);
    for object in &objects {
        let bytes = fs::read(object)?;
        let name = object.file_name().context("it has a name")?.to_string_lossy().into_owned();
        for (damage, damaged) in damages(&bytes) {
            replace(object, damaged.as_deref())?;
            live.server = start(live.data.path())?;
            match says_so(&live, &answers, &format!("{name}: {damage}")).await? {
                true => refused += 1,
                false => read += 1,
            }
            live.server.kill()?;
            replace(object, Some(&bytes))?;
        }
    }
    println!("{refused} damages were refused, {read} did not matter");
    ensure!(refused > 2 * read, "{refused} damages were refused, {read} were not noticed");
    live.server = start(live.data.path())?;
    ensure!(!says_so(&live, &answers, "whole again").await?, "what is whole again is refused");
    Ok(())
}

/// A server does not start on a log that lost what was acknowledged, and says where.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_log_is_named_and_never_read() -> Result<()> {
    let (mut live, answers) = written().await?;
    for file in files(&live.data.path().join("log"))? {
        let name = file.file_name().context("it has a name")?.to_string_lossy().into_owned();
        if !name.ends_with(".log") && name != "CHECKPOINT" {
            continue;
        }
        let bytes = fs::read(&file)?;
        for (damage, damaged) in damages(&bytes) {
            replace(&file, damaged.as_deref())?;
            ensure!(start(live.data.path()).is_err(), "{name}: {damage}: it starts");
            let mut command = Command::new(program("basalt")?);
            command.args(["start", "--http", "127.0.0.1:0", "--data"]).arg(live.data.path()).args(ARGUMENTS);
            let said = command.stdout(Stdio::null()).output()?;
            let said = String::from_utf8_lossy(&said.stderr).into_owned();
            ensure!(said.contains(&name) || said.contains("CHECKPOINT"), "{name}: {damage}: {said}");
            replace(&file, Some(&bytes))?;
        }
    }
    live.server = start(live.data.path())?;
    ensure!(!says_so(&live, &answers, "whole again").await?, "what is whole again is refused");
    Ok(())
}
