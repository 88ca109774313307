//! Tests of the Kafka log against a real broker.
//!
//! Tests that run at the same time share one broker, which starts with the first and stops with the last of them; one
//! that stops its broker has its own. Each test has a prefix of its own, so that none sees another's topics.

mod bounds;
mod creation;
mod identity;
mod model;
mod order;
mod outage;
mod tail;

use std::net::TcpListener;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use super::{CollectionId, KafkaLog, KafkaLogConfig, LogError, LogPosition, LogReader, ShardId, ShardLog};
use crate::log::LogRecord;

/// What starts and stops brokers.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/services/kafka.sh");

/// Longest that a test waits for what should happen at once.
const DEADLINE: Duration = Duration::from_secs(60);

const COLLECTION: CollectionId = CollectionId(7);

/// A broker in a process of its own, which ends with this.
struct Broker {
    directory: TempDir,
    port: u16,
}

impl Broker {
    /// Starts a broker of the test's own.
    fn start() -> Broker {
        // Another process may take a port between the look and the start.
        for _ in 0..5 {
            let broker = Broker { directory: tempfile::tempdir().unwrap(), port: free_ports() };
            if broker.run(&["up"], &[&broker.port.to_string()]) {
                return broker;
            }
        }
        panic!("no broker starts; see the messages above");
    }

    /// Returns the broker that tests share.
    fn shared() -> Arc<Broker> {
        static SHARED: Mutex<Weak<Broker>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        match shared.upgrade() {
            Some(broker) => broker,
            None => {
                let broker = Arc::new(Broker::start());
                *shared = Arc::downgrade(&broker);
                broker
            }
        }
    }

    /// Starts the broker again, with its data.
    fn up(&self) {
        assert!(self.run(&["up"], &[&self.port.to_string()]));
    }

    /// Stops the broker in good order.
    fn down(&self) {
        assert!(self.run(&["down"], &[]));
    }

    /// Sends a signal to the broker.
    fn signal(&self, signal: &str) {
        let process = std::fs::read_to_string(self.directory.path().join("kafka.pid")).unwrap();
        assert!(Command::new("kill").args([signal, process.trim()]).status().unwrap().success());
    }

    fn config(&self) -> KafkaLogConfig {
        static PREFIXES: AtomicU64 = AtomicU64::new(0);
        let prefix = format!("test{}", PREFIXES.fetch_add(1, Ordering::Relaxed));
        let (brokers, fetch_wait) = (format!("127.0.0.1:{}", self.port), Duration::from_millis(10));
        KafkaLogConfig { brokers, prefix, fetch_wait, ..KafkaLogConfig::default() }
    }

    fn run(&self, before: &[&str], after: &[&str]) -> bool {
        let mut command = Command::new(SCRIPT);
        command.args(before).arg(self.directory.path()).args(after).status().unwrap().success()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if self.directory.path().join("kafka.pid").exists() {
            // It may be frozen.
            self.signal("-CONT");
            self.run(&["down"], &[]);
        }
    }
}

/// Returns a port that is free, as is the one behind it, which the controller takes.
fn free_ports() -> u16 {
    let free = || {
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let behind = TcpListener::bind(("127.0.0.1", port.checked_add(1)?));
        behind.ok().map(|_| port)
    };
    (0..100).find_map(|_| free()).expect("two ports in a row are free")
}

/// Fails a test that hangs.
async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what).await.expect("it happens before the deadline")
}

fn shard(number: u16) -> ShardId {
    ShardId { collection: COLLECTION, shard: number }
}

/// Opens a log of the test's own, with one collection.
async fn log_with(config: KafkaLogConfig, shards: u16) -> Arc<KafkaLog> {
    let log = within(KafkaLog::open(config)).await.unwrap();
    within(log.create_collection(COLLECTION, shards)).await.unwrap();
    Arc::new(log)
}

fn record(text: impl Into<String>) -> Bytes {
    Bytes::from(text.into())
}

async fn append(log: &KafkaLog, number: u16, text: impl Into<String>) -> u64 {
    within(log.append(shard(number), record(text))).await.unwrap().0
}

/// Polls futures once, in their order and within one turn of the task, and then waits for each.
async fn in_order<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut polled = Vec::new();
    for future in futures {
        let mut future = Box::pin(future);
        let first = std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await;
        polled.push((future, first));
    }
    let mut outputs = Vec::new();
    for (future, first) in polled {
        outputs.push(match first {
            Poll::Ready(output) => output,
            Poll::Pending => within(future).await,
        });
    }
    outputs
}

async fn read(log: &KafkaLog, number: u16, from: u64) -> LogReader {
    within(log.read(shard(number), LogPosition(from))).await.unwrap()
}

/// Reads what is there, checking that positions follow one another from `from`.
async fn drain(reader: &mut LogReader, from: u64) -> Vec<String> {
    let mut texts = Vec::new();
    let read = async {
        loop {
            match reader.try_next().await {
                Ok(Some((position, record))) => {
                    assert_eq!(position.0, from + texts.len() as u64, "positions are dense");
                    texts.push(String::from_utf8(record.to_vec()).unwrap());
                }
                Ok(None) => return,
                // A client that lost its broker takes its time until it asks again.
                Err(LogError::Unavailable { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    within(read).await;
    texts
}

/// The next record, however often the log is not available.
async fn next(reader: &mut LogReader) -> Option<LogRecord> {
    loop {
        match reader.next().await {
            Err(LogError::Unavailable { .. }) => {}
            found => return found.unwrap(),
        }
    }
}

/// Reads everything of a shard.
async fn content(log: &KafkaLog, number: u16) -> Vec<String> {
    drain(&mut read(log, number, 0).await, 0).await
}
