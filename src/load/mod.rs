//! `basalt load`: files into a collection.
//!
//! In: files of documents. Out: requests to a server, one after another, so that of several documents with one `_id` the last
//! one stays. Each request has a key, and what was taken is noted: a load that is interrupted goes on where it was when it is
//! started again, and takes nothing twice.

mod input;
mod progress;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use basalt_common::clock::{Clock, SystemClock};
use basalt_common::process::seed;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::client::{Client, DEFAULT_URL, collection_path};
use input::{Documents, Place};
use progress::Progress;

/// What `basalt load` is told.
#[derive(Args)]
pub(crate) struct LoadArguments {
    /// Files of NDJSON or of one JSON array, plain or compressed with gzip or zstd; - is the standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The collection, with its workspace or in `public`; it is made if it is not there.
    #[arg(long, value_name = "w.c")]
    into: String,
    /// The server.
    #[arg(long, default_value = DEFAULT_URL)]
    url: String,
    /// Loads whole files, also those that an earlier load was interrupted in.
    #[arg(long)]
    anew: bool,
    /// The most bytes of one request, unless a single document is longer.
    #[arg(long, default_value_t = 4 << 20, value_name = "BYTES")]
    batch_bytes: usize,
}

/// The most documents of one request.
const BATCH_DOCUMENTS_MAX: usize = 10_000;

/// How many refused documents are shown of a file.
const ERRORS_SHOWN_MAX: u64 = 10;

/// How long a server that is away, or has too much to do, is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request's documents.
#[derive(Default)]
struct Batch {
    body: Vec<u8>,
    /// The line where each document begins.
    lines: Vec<u64>,
    /// Where the input goes on behind it.
    end: Place,
}

/// What was read of the input.
struct Read {
    input: Documents,
    batch: Batch,
    /// Why it cannot be read on behind the batch.
    broken: Option<anyhow::Error>,
}

/// Loads all files.
pub(crate) async fn load(arguments: LoadArguments) -> Result<()> {
    let client = Client::new(&arguments.url)?;
    let mut failed = 0;
    for file in &arguments.files {
        let name = file.display();
        let (load, input) = Loading::begin(&arguments, &client, file).with_context(|| name.to_string())?;
        failed += load.run(input).await.with_context(|| format!("{name} is not loaded whole"))?;
    }
    match failed {
        0 => Ok(()),
        failed => bail!("{failed} documents were refused; the others are in {}", arguments.into),
    }
}

/// The load of one file.
struct Loading<'l> {
    client: &'l Client,
    path: String,
    name: String,
    progress: Progress,
    bar: ProgressBar,
    read: Arc<AtomicU64>,
    clock: SystemClock,
}

impl<'l> Loading<'l> {
    fn begin(arguments: &LoadArguments, client: &'l Client, file: &Path) -> Result<(Self, Documents)> {
        let begun = Progress::begin(format!("{:016x}", seed()?), arguments.batch_bytes);
        let read = Arc::new(AtomicU64::new(0));
        let mut input = Documents::open(file, Arc::clone(&read))?;
        let (progress, bytes) = match file == Path::new("-") {
            true => (begun, 0),
            false => {
                let progress = Progress::of(file, &arguments.url, &arguments.into, begun, arguments.anew)?;
                (progress, std::fs::metadata(file)?.len())
            }
        };
        let name = file.display().to_string();
        let place = Place { offset: progress.offset, line: progress.line };
        if place != Place::default() {
            input.skip_to(place)?;
            let documents = progress.documents;
            writeln!(std::io::stderr(), "{name}: goes on at line {}, behind {documents} documents", place.line)?;
        }
        let style = "{msg}  {bar:30}  {bytes} of {total_bytes}, {bytes_per_sec}, {eta} to go";
        let bar = ProgressBar::new(bytes).with_style(ProgressStyle::with_template(style)?);
        let path = format!("{}/documents", collection_path(&arguments.into));
        Ok((Self { client, path, name, progress, bar, read, clock: SystemClock::default() }, input))
    }

    /// Loads to the end; returns how many documents were refused.
    async fn run(mut self, input: Documents) -> Result<u64> {
        // Before the first request: were it kept behind it, a load killed in between would send it under another name.
        self.progress.keep()?;
        let batch_bytes = self.progress.batch_bytes;
        let mut read = read_batch(input, batch_bytes).await?;
        let mut bytes = 0;
        while !read.batch.lines.is_empty() {
            let Read { input, mut batch, broken } = read;
            let body = std::mem::take(&mut batch.body);
            bytes += body.len();
            let key = format!("load-{}-{}", self.progress.run, self.progress.offset);
            let sent = self.client.insist(&self.path, body, &key, PATIENCE);
            // The next batch is read while the server works on this one.
            let following = async {
                match broken {
                    None => read_batch(input, batch_bytes).await,
                    broken => Ok(Read { input, batch: Batch::default(), broken }),
                }
            };
            let (reply, following) = tokio::join!(sent, following);
            self.take(&batch, &reply?)?;
            read = following?;
        }
        self.bar.finish_and_clear();
        if let Some(error) = read.broken {
            return Err(error);
        }
        self.progress.forget()?;
        let (documents, failed, seconds) = (self.progress.documents, self.progress.failed, self.clock.monotonic());
        let (name, megabytes) = (&self.name, bytes as f64 / 1e6);
        let rate = megabytes / seconds.as_secs_f64();
        writeln!(
            std::io::stderr(),
            "{name}: {documents} documents, {failed} refused; {megabytes:.1} MB in {seconds:.1?} ({rate:.1} MB/s)"
        )?;
        Ok(failed)
    }

    /// Notes what became of a batch, and shows it.
    fn take(&mut self, batch: &Batch, reply: &Value) -> Result<()> {
        for error in reply["errors"].as_array().into_iter().flatten() {
            self.progress.failed += 1;
            if self.progress.failed <= ERRORS_SHOWN_MAX {
                let index = error["index"].as_u64().and_then(|index| batch.lines.get(index as usize));
                let (line, message) = (index.unwrap_or(&0), error["message"].as_str().unwrap_or_default());
                // The server counts lines within the request.
                let message = match message.starts_with("line ") {
                    true => message.split_once(", ").map_or(message, |(_, rest)| rest),
                    false => message,
                };
                self.bar.suspend(|| writeln!(std::io::stderr(), "{}:{line}: {message}", self.name))?;
            }
        }
        self.progress.documents += reply["accepted"].as_u64().unwrap_or_default();
        (self.progress.offset, self.progress.line) = (batch.end.offset, batch.end.line);
        self.progress.keep()?;
        self.bar.set_position(self.read.load(Ordering::Relaxed).min(self.bar.length().unwrap_or_default()));
        self.bar.set_message(format!("{}  {} documents", self.name, self.progress.documents));
        Ok(())
    }
}

/// Reads the next batch, off the async threads.
async fn read_batch(mut input: Documents, bytes_max: usize) -> Result<Read> {
    let read = move || {
        let mut batch = Batch::default();
        while batch.body.len() < bytes_max && batch.lines.len() < BATCH_DOCUMENTS_MAX {
            match input.next() {
                Ok(Some(document)) => {
                    batch.body.extend_from_slice(&document.text);
                    batch.body.push(b'\n');
                    batch.lines.push(document.line);
                    batch.end = input.place();
                }
                Ok(None) => break,
                Err(error) => return Read { input, batch, broken: Some(error) },
            }
        }
        Read { input, batch, broken: None }
    };
    Ok(tokio::task::spawn_blocking(read).await?)
}
