//! Tests of the local log as a whole, and what they share: small settings, records, ways to start and read.

mod commit;
mod crash;
mod damage;
mod disk;
mod format;
mod limits;
mod model;
mod tail;
mod torn;

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;

use super::{LocalLog, LocalLogConfig};
use crate::id::{CollectionId, ShardId};
use crate::log::{LogError, LogReader, ShardLog};
use crate::position::LogPosition;
use disk::{Fault, Operation, TestDisk};

const INCARNATION: u128 = 0x0123_4567_89ab_cdef;
const A: ShardId = ShardId { collection: CollectionId(1), shard: 0 };
const B: ShardId = ShardId { collection: CollectionId(1), shard: 1 };
const C: ShardId = ShardId { collection: CollectionId(2), shard: 0 };

/// Settings with which a few records fill several files, and a few more several commits.
fn small() -> LocalLogConfig {
    LocalLogConfig {
        file_bytes_max: 1500,
        file_dead_bytes_max: 700,
        record_bytes_max: 4000,
        commit_bytes_max: 900,
        commit_records_max: 7,
        queue_records_max: 64,
        queue_bytes_max: 100_000,
        log_bytes_max: 1 << 30,
        read_bytes_max: 600,
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn open(directory: &Path) -> Result<LocalLog, LogError> {
    LocalLog::open(directory, small(), INCARNATION)
}

fn open_on(disk: &Arc<TestDisk>, directory: &Path, config: LocalLogConfig) -> Result<LocalLog, LogError> {
    LocalLog::open_on(Box::new(Arc::clone(disk)), directory, config, INCARNATION)
}

/// Makes `size` bytes that differ from those of another `seed`.
fn record(seed: u64, size: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(size).collect()
}

/// Appends all records at once: each is in the queue, in order, before the writer's first answer is awaited.
async fn append_together(log: &LocalLog, records: Vec<(ShardId, Bytes)>) -> Vec<Result<LogPosition, LogError>> {
    join_all(records.into_iter().map(|(shard, record)| log.append(shard, record))).await
}

/// An append under way.
type Appending<'log> = Pin<Box<dyn Future<Output = Result<LogPosition, LogError>> + Send + 'log>>;

/// Several of them, answered in order.
type AllAppending<'log> = Pin<Box<dyn Future<Output = Vec<Result<LogPosition, LogError>>> + Send + 'log>>;

/// Starts `first`, waits until the writer stalls with it in hand, then starts `rest`: that which comes together then
/// depends on no timing. The disk stays stalled.
async fn stall_and_start<'log>(
    disk: &TestDisk,
    mut first: Appending<'log>,
    rest: impl IntoIterator<Item = Appending<'log>>,
) -> AllAppending<'log> {
    disk.stall();
    assert!(futures::poll!(&mut first).is_pending());
    disk.wait_stalled();
    let mut all: AllAppending<'log> = Box::pin(join_all(std::iter::once(first).chain(rest)));
    // Without a budget: tokio would otherwise stop after some of them.
    assert!(futures::poll!(Box::pin(tokio::task::unconstrained(&mut all))).is_pending());
    all
}

/// Reads everything that is there from `from` on, checking that positions are dense.
async fn read_all(log: &LocalLog, shard: ShardId, from: u64) -> Result<Vec<Bytes>, LogError> {
    drain(&mut log.read(shard, LogPosition(from)).await?, from).await
}

async fn drain(reader: &mut LogReader, from: u64) -> Result<Vec<Bytes>, LogError> {
    let mut records = Vec::new();
    while let Some((position, record)) = reader.try_next().await? {
        assert_eq!(position.0, from + records.len() as u64, "positions are dense");
        records.push(record);
    }
    Ok(records)
}

/// The log files in a directory, in order.
fn log_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = all_files(directory);
    files.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    files
}

/// All files in a directory that hold something, in order: not the lock, nor the reserve.
fn all_files(directory: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        paths.filter(|path| !["LOCK", "RESERVE"].contains(&path.file_name().unwrap().to_str().unwrap())).collect();
    files.sort();
    files
}

/// Copies a log's directory as it is now: what a kill of its process would leave.
fn copy(directory: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for path in all_files(directory) {
        std::fs::copy(&path, to.path().join(path.file_name().unwrap())).unwrap();
    }
    to
}

/// Asserts that an error names `path`.
fn assert_names(error: &LogError, path: &Path) {
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(error.to_string().contains(name), "{error} names {name}");
}
