//! `basalt generate`: an endless stream of operations, at a rate.
//!
//! In: a seed. Out: requests to a server, each of operations of one kind, or records of a Kafka topic. The operations of one
//! document keep the order of the stream: a window of operations names each document once, and the next is sent when it is
//! done.

use std::collections::HashSet;
use std::io::Write;
use std::time::Duration;

use anyhow::{Result, ensure};
use basalt_common::clock::{Clock, SystemClock};
use clap::Args;
use reqwest::Method;

use crate::client::{Client, DEFAULT_URL, collection_path};
use crate::generate::{Operation, Stream};
use crate::produce::TopicSender;

/// What `basalt generate` is told.
#[derive(Args)]
pub(crate) struct GenerateArguments {
    /// The collection, with its workspace or in `public`.
    #[arg(long, default_value = "public.events", value_name = "w.c")]
    into: String,
    /// The server.
    #[arg(long, default_value = DEFAULT_URL)]
    url: String,
    /// Kafka brokers, `host:port` with commas between: the stream goes into a topic then, not to the server.
    #[arg(long, requires = "topic", conflicts_with_all = ["url", "into", "print"])]
    brokers: Option<String>,
    /// The topic, which must be there.
    #[arg(long, requires = "brokers")]
    topic: Option<String>,
    /// Operations a second; 0 for as many as the server takes.
    #[arg(long, default_value_t = 1000)]
    rate: u64,
    /// How many operations; without it, until the program is stopped.
    #[arg(long)]
    count: Option<u64>,
    /// Decides the stream: the same seed gives the same documents.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The event time of the first document, in microseconds since 1970; now, if not given.
    #[arg(long, value_name = "MICROS")]
    start_micros: Option<i64>,
    /// Prints the operations instead of sending them, each a line of JSON: {"upsert": document}, {"patch": item} or
    /// {"delete": id}.
    #[arg(long)]
    print: bool,
    /// The most operations of one request.
    #[arg(long, default_value_t = 500)]
    batch: usize,
}

/// How often the rate is shown.
const SHOWN_EVERY: Duration = Duration::from_secs(5);

/// How long a batch may wait to fill: at low rates it is sent as it is.
const BATCH_DELAY: Duration = Duration::from_millis(100);

/// Operations that one request can carry: all of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Upsert,
    Patch,
    Delete,
}

/// Sends the stream.
pub(crate) async fn generate(arguments: GenerateArguments) -> Result<()> {
    ensure!(arguments.batch > 0, "--batch must be above 0");
    let clock = SystemClock::default();
    let client = Client::new(&arguments.url)?;
    let path = format!("{}/documents", collection_path(&arguments.into));
    let start = arguments.start_micros.unwrap_or_else(|| clock.now_micros());
    let mut operations =
        Stream::new(arguments.seed, start).take(arguments.count.map_or(usize::MAX, |count| count as usize));
    if arguments.print {
        return print(operations);
    }
    let topic = match (&arguments.brokers, &arguments.topic) {
        (Some(brokers), Some(topic)) => Some(TopicSender::new(brokers, topic)?),
        _ => None,
    };
    let mut sender = Sender { client, path, topic, sent: 0, bytes: 0, failed: 0 };
    let (mut next, mut shown, mut shown_at) = (operations.next(), 0, Duration::ZERO);
    while next.is_some() {
        let due = due(&arguments, clock.monotonic(), sender.sent).await;
        let mut window: Vec<Operation> = Vec::new();
        let mut named = HashSet::new();
        while window.len() < due
            && let Some(operation) = next.take_if(|operation| !named.contains(id(operation)))
        {
            named.insert(id(&operation).to_string());
            window.push(operation);
            next = operations.next();
        }
        sender.send(&window).await?;
        if let Some(topic) = sender.topic.as_ref().filter(|_| next.is_none()) {
            sender.failed = topic.finish()?;
        }
        let now = clock.monotonic();
        if now - shown_at >= SHOWN_EVERY || next.is_none() {
            let rate = (sender.sent - shown) as f64 / (now - shown_at).as_secs_f64();
            let (sent, megabytes, failed) = (sender.sent, sender.bytes as f64 / 1e6, sender.failed);
            writeln!(std::io::stderr(), "{sent} operations, {megabytes:.1} MB, {failed} failed; {rate:.0} a second")?;
            (shown, shown_at) = (sender.sent, now);
        }
    }
    Ok(())
}

fn print(operations: impl Iterator<Item = Operation>) -> Result<()> {
    let mut output = std::io::BufWriter::new(std::io::stdout().lock());
    for operation in operations {
        match operation {
            Operation::Upsert { document, .. } => writeln!(output, "{{\"upsert\":{document}}}")?,
            Operation::Patch { patch, .. } => writeln!(output, "{{\"patch\":{patch}}}")?,
            Operation::Delete { id } => writeln!(output, "{{\"delete\":{}}}", serde_json::to_string(&id)?)?,
        }
    }
    Ok(output.flush()?)
}

/// How many operations are due; waits until some are.
async fn due(arguments: &GenerateArguments, now: Duration, sent: u64) -> usize {
    if arguments.rate == 0 {
        return arguments.batch;
    }
    let behind = (now.as_secs_f64() * arguments.rate as f64) as u64;
    if behind <= sent {
        tokio::time::sleep(BATCH_DELAY).await;
    }
    (behind.saturating_sub(sent) as usize).min(arguments.batch)
}

fn id(operation: &Operation) -> &str {
    match operation {
        Operation::Upsert { id, .. } | Operation::Patch { id, .. } | Operation::Delete { id } => id,
    }
}

fn kind(operation: &Operation) -> Kind {
    match operation {
        Operation::Upsert { .. } => Kind::Upsert,
        Operation::Patch { .. } => Kind::Patch,
        Operation::Delete { .. } => Kind::Delete,
    }
}

struct Sender {
    client: Client,
    path: String,
    /// Where the stream goes instead of to the server.
    topic: Option<TopicSender>,
    sent: u64,
    bytes: u64,
    failed: u64,
}

impl Sender {
    async fn send(&mut self, window: &[Operation]) -> Result<()> {
        if let Some(topic) = &self.topic {
            self.bytes += topic.send(window).await?;
            self.sent += window.len() as u64;
            return Ok(());
        }
        for wanted in [Kind::Upsert, Kind::Patch, Kind::Delete] {
            let run: Vec<&Operation> = window.iter().filter(|operation| kind(operation) == wanted).collect();
            if run.is_empty() {
                continue;
            }
            let (method, content_type, body) = request(wanted, &run);
            self.bytes += body.len() as u64;
            let reply = self.client.json(method, &self.path, content_type, body.into_bytes()).await?;
            self.sent += run.len() as u64;
            self.failed += reply["failed"].as_u64().unwrap_or_default();
        }
        Ok(())
    }
}

/// Operations of one kind as one request.
fn request(kind: Kind, run: &[&Operation]) -> (Method, &'static str, String) {
    let text = |operation: &&Operation| match operation {
        Operation::Upsert { document: text, .. } | Operation::Patch { patch: text, .. } => text.clone(),
        Operation::Delete { id } => serde_json::to_string(id).expect("a text is JSON"),
    };
    let texts: Vec<String> = run.iter().map(text).collect();
    match kind {
        Kind::Upsert => (Method::POST, "application/x-ndjson", texts.join("\n")),
        Kind::Patch => (Method::PATCH, "application/x-ndjson", texts.join("\n")),
        Kind::Delete => (Method::DELETE, "application/json", format!("{{\"ids\":[{}]}}", texts.join(","))),
    }
}
