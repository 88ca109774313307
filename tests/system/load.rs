//! `basalt load`: files of every form arrive; one that was interrupted arrives once.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use basalt_harness::leaf::program;
use basalt_harness::server::Live;
use serde_json::json;

fn load(live: &Live, files: &[&Path], into: &str) -> Result<Command> {
    let mut command = Command::new(program("basalt")?);
    command.arg("load").args(files).args(["--into", into, "--url", &live.server.url]);
    command.env("XDG_STATE_HOME", live.data.path().join("state")).stdout(Stdio::null());
    Ok(command)
}

/// What a load says; it must have ended so.
fn said(mut command: Command, success: bool) -> Result<String> {
    let output = command.output()?;
    let text = String::from_utf8(output.stderr)?;
    ensure!(output.status.success() == success, "{text}");
    Ok(text)
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_every_form_arrive_and_bad_documents_are_named() -> Result<()> {
    let live = Live::start(&[])?;
    let lines = "{\"_id\": \"a\", \"n\": 1}\n\n{\"_id\": {}}\n{\"n\": tru}\n{\"_id\": \"b\", \"n\": 2}\n";
    let array = "[{\"_id\": \"a\", \"n\": 1},\n\n{\"_id\": {}},\n{\"n\": tru},\n{\"_id\": \"b\", \"n\": 2}]";
    for (name, text, places) in [("lines", lines, [3, 4]), ("array", array, [3, 4])] {
        let plain = live.data.path().join(format!("{name}.json"));
        fs::write(&plain, text)?;
        let gzip = live.data.path().join(format!("{name}.gz"));
        let packed = Command::new("gzip").arg("-c").arg(&plain).output()?;
        fs::write(&gzip, packed.stdout)?;
        let zstd = live.data.path().join(format!("{name}.zst"));
        fs::write(&zstd, zstd::stream::encode_all(text.as_bytes(), 1)?)?;
        for (form, file) in [("plain", &plain), ("gzip", &gzip), ("zstd", &zstd)] {
            let text = said(load(&live, &[file], &format!("{name}_{form}"))?, false)?;
            ensure!(text.contains("2 documents, 2 refused"), "{text}");
            for line in places {
                ensure!(text.contains(&format!("{}:{line}: ", file.display())), "line {line} is not named: {text}");
            }
            let rows = live.server.rows(&format!("SELECT _id, n FROM {name}_{form} ORDER BY _id")).await?;
            ensure!(rows == [json!({ "_id": "a", "n": 1 }), json!({ "_id": "b", "n": 2 })], "{rows:?}");
        }
    }
    let broken = live.data.path().join("broken.json");
    fs::write(&broken, "[{\"_id\": \"a\"},\n{\"_id\": \"b\"")?;
    let text = said(load(&live, &[&broken], "broken")?, false)?;
    ensure!(text.contains("line 2: the file ends within this document"), "{text}");
    ensure!(live.server.rows("SELECT _id FROM broken").await? == [json!({ "_id": "a" })], "what came before is there");
    let text = said(load(&live, &[Path::new("/nowhere")], "broken")?, false)?;
    ensure!(text.contains("/nowhere"), "{text}");
    Ok(())
}

/// Kills a load as soon as it has noted some progress; whether it was still at work.
fn interrupt(mut load: Child, state: &Path, before: &mut Vec<u8>) -> Result<bool> {
    loop {
        let noted = fs::read_dir(state).into_iter().flatten().flatten().find_map(|file| {
            let is_progress = file.file_name().to_string_lossy().ends_with(".json");
            fs::read(file.path()).ok().filter(|_| is_progress)
        });
        if let Some(noted) = noted.filter(|noted| noted != before) {
            *before = noted;
            break;
        }
        if load.try_wait()?.is_some() {
            return Ok(false);
        }
        std::thread::yield_now();
    }
    load.kill()?;
    Ok(!load.wait()?.success())
}

/// Documents without an `_id` show every repetition.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_load_takes_every_document_once() -> Result<()> {
    const DOCUMENTS: u64 = 60_000;
    let live = Live::start(&[])?;
    let file = live.data.path().join("documents.json");
    let mut text = std::io::BufWriter::new(fs::File::create(&file)?);
    for n in 0..DOCUMENTS {
        writeln!(text, "{{\"n\": {n}, \"text\": \"{n:0>200}\"}}")?;
    }
    text.into_inner()?.sync_all()?;
    let state = live.data.path().join("state/basalt");
    let mut before = Vec::new();
    let mut interrupted = 0;
    for _ in 0..3 {
        let mut command = load(&live, &[&file], "documents")?;
        let child = command.args(["--batch-bytes", "200000"]).stderr(Stdio::null()).spawn()?;
        interrupted += u32::from(interrupt(child, &state, &mut before)?);
    }
    ensure!(interrupted > 0, "no load was interrupted: the test proves nothing");
    let text = said(load(&live, &[&file], "documents")?, true)?;
    ensure!(text.contains("goes on at line") && text.contains(&format!("{DOCUMENTS} documents, 0 refused")), "{text}");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    let expected = json!({ "n": DOCUMENTS, "distinct_n": DOCUMENTS });
    loop {
        let rows = live.server.rows("SELECT count(*) AS n, count(DISTINCT n) AS distinct_n FROM documents").await?;
        if rows == [expected.clone()] {
            break;
        }
        ensure!(tokio::time::Instant::now() < deadline, "{rows:?} after {interrupted} interruptions");
    }
    // The load is done, so the same file is a new one.
    let text = said(load(&live, &[&file], "again")?, true)?;
    ensure!(!text.contains("goes on"), "{text}");
    let left = fs::read_dir(&state).context("the folder was made")?.count();
    ensure!(left == 0, "{left} files are left of finished loads");
    Ok(())
}
