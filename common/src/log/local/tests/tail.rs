//! Readers that wait for what is to come.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake};

use super::*;

/// Counts how often it is woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_reader_gets_what_is_appended_later() {
    let directory = tempfile::tempdir().unwrap();
    let log = Arc::new(open(directory.path()).unwrap());
    block_on(async {
        let readers: Vec<_> = [(A, 0), (A, 0), (B, 0)]
            .into_iter()
            .map(|(shard, from)| {
                let log = Arc::clone(&log);
                tokio::spawn(async move {
                    let mut reader = log.read(shard, LogPosition(from)).await.unwrap();
                    let mut records = Vec::new();
                    while let Some((position, record)) = reader.next().await.unwrap() {
                        assert_eq!(position.0, records.len() as u64);
                        records.push(record);
                    }
                    assert_eq!(reader.next().await.unwrap(), None, "the end stays the end");
                    records
                })
            })
            .collect();
        for number in 0..50 {
            log.append(A, record(number, number as usize * 7)).await.unwrap();
            log.append(B, record(number + 100, 10)).await.unwrap();
            tokio::task::yield_now().await;
        }
        log.close().await.unwrap();
        let due_a: Vec<Bytes> = (0..50).map(|number| record(number, number as usize * 7)).collect();
        let due_b: Vec<Bytes> = (0..50).map(|number| record(number + 100, 10)).collect();
        for (reader, due) in readers.into_iter().zip([&due_a, &due_a, &due_b]) {
            assert_eq!(&reader.await.unwrap(), due);
        }
    });
}

#[test]
fn only_records_of_its_own_shard_wake_a_reader() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path()).unwrap();
    block_on(async {
        log.append(A, record(0, 10)).await.unwrap();
        let mut reader = log.read(A, LogPosition(1)).await.unwrap();
        assert_eq!(reader.try_next().await.unwrap(), None);
        let wakes = Arc::new(Wakes::default());
        let waker = Arc::clone(&wakes).into();
        let mut next = Box::pin(reader.next());
        assert!(next.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        for number in 0..20 {
            log.append(B, record(number, 10)).await.unwrap();
        }
        log.truncate(B, LogPosition(20)).await.unwrap();
        assert_eq!(wakes.0.load(Ordering::SeqCst), 0, "nothing wakes it, no timer either");
        log.append(A, record(1, 10)).await.unwrap();
        assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
        assert_eq!(next.await.unwrap(), Some((LogPosition(1), record(1, 10))));
    });
}

#[test]
fn a_reader_sees_durable_records_only() {
    let (disk, directory) = (TestDisk::new(), tempfile::tempdir().unwrap());
    let log = open_on(&disk, directory.path(), small()).unwrap();
    block_on(async {
        let mut reader = log.read(A, LogPosition(0)).await.unwrap();
        disk.fail(Fault { operation: Some(Operation::Sync), skip: 0, count: 1, kind: io::ErrorKind::Other });
        assert!(matches!(log.append(A, record(0, 10)).await, Err(LogError::Poisoned { .. })));
        assert_eq!(reader.try_next().await.unwrap(), None);
        assert_eq!(log.end(A).await.unwrap(), LogPosition(0));
        assert!(matches!(reader.next().await, Err(LogError::Poisoned { .. })));
    });
}

#[test]
fn a_dropped_wait_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path()).unwrap();
    block_on(async {
        let mut reader = log.read(A, LogPosition(0)).await.unwrap();
        for number in 0..20 {
            // Once while nothing is there, once while a chunk is being fetched.
            assert!(matches!(futures::poll!(Box::pin(reader.next())), Poll::Pending));
            log.append(A, record(number, 10)).await.unwrap();
            // This one may have it already; if not, it is dropped.
            let next = match futures::poll!(Box::pin(reader.next())) {
                Poll::Ready(next) => next,
                Poll::Pending => reader.next().await,
            };
            assert_eq!(next.unwrap(), Some((LogPosition(number), record(number, 10))));
        }
    });
}

#[test]
fn a_reader_behind_a_truncation_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path()).unwrap();
    block_on(async {
        for number in 0..40 {
            log.append(A, record(number, 200)).await.unwrap();
        }
        let mut behind = log.read(A, LogPosition(0)).await.unwrap();
        let mut ahead = log.read(A, LogPosition(30)).await.unwrap();
        log.truncate(A, LogPosition(30)).await.unwrap();
        let error = behind.next().await.unwrap_err();
        assert!(matches!(error, LogError::Truncated { shard: A, asked: LogPosition(0), start: LogPosition(30) }));
        assert_eq!(drain(&mut ahead, 30).await.unwrap().len(), 10);
    });
}

#[test]
fn a_closed_log_still_gives_what_it_has() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path()).unwrap();
    block_on(async {
        log.append(A, record(0, 10)).await.unwrap();
        let mut reader = log.read(A, LogPosition(0)).await.unwrap();
        log.close().await.unwrap();
        drop(log);
        assert_eq!(reader.next().await.unwrap(), Some((LogPosition(0), record(0, 10))));
        assert_eq!(reader.next().await.unwrap(), None);
    });
}
