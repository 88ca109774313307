//! Group commit, the queue's bounds, and callers that give up.

use super::*;

/// Starts one append that the writer stalls with, then `count` more over ten shards, and lets them go.
async fn append_behind_one(disk: &TestDisk, log: &LocalLog, count: usize, size: usize) {
    let shard = |number: usize| ShardId { collection: CollectionId(9), shard: (number % 10) as u16 };
    let rest = (0..count).map(|number| log.append(shard(number), record(number as u64, size)));
    let all = stall_and_start(disk, log.append(A, record(0, size)), rest).await;
    disk.release();
    let positions: Vec<u64> = all.await.into_iter().map(|position| position.unwrap().0).collect();
    let expected = (0..count).map(|number| (number / 10) as u64);
    assert_eq!(positions, std::iter::once(0).chain(expected).collect::<Vec<_>>());
    for number in 0..10 {
        let due: Vec<Bytes> = (number..count).step_by(10).map(|number| record(number as u64, size)).collect();
        assert_eq!(read_all(log, shard(number), 0).await.unwrap(), due);
    }
}

#[test]
fn what_waits_is_committed_with_one_sync() {
    let (disk, directory) = (TestDisk::new(), tempfile::tempdir().unwrap());
    let log = open_on(&disk, directory.path(), LocalLogConfig::default()).unwrap();
    let before = disk.syncs();
    block_on(append_behind_one(&disk, &log, 500, 100));
    assert_eq!(disk.syncs() - before, 2, "one for the append that stalled, one for all that came meanwhile");
    let stats = log.stats();
    assert_eq!((stats.records, stats.commits, stats.files), (501, 2, 1));
    assert_eq!(stats.bytes, 48 + 501 * 140);
}

#[test]
fn a_commit_is_bounded_in_records_and_bytes() {
    let by_records = LocalLogConfig { commit_records_max: 50, ..LocalLogConfig::default() };
    let by_bytes = LocalLogConfig { commit_bytes_max: 50 * 140 + 139, ..LocalLogConfig::default() };
    for config in [by_records, by_bytes] {
        let (disk, directory) = (TestDisk::new(), tempfile::tempdir().unwrap());
        let log = open_on(&disk, directory.path(), config).unwrap();
        block_on(append_behind_one(&disk, &log, 500, 100));
        assert_eq!(log.stats().commits, 1 + 10);
    }
}

#[test]
fn a_full_queue_makes_callers_wait() {
    let by_records = LocalLogConfig { queue_records_max: 3, ..LocalLogConfig::default() };
    let by_bytes = LocalLogConfig { queue_bytes_max: 4 * 140 + 139, ..LocalLogConfig::default() };
    for config in [by_records, by_bytes] {
        let (disk, directory) = (TestDisk::new(), tempfile::tempdir().unwrap());
        let log = open_on(&disk, directory.path(), config).unwrap();
        block_on(async {
            let rest = (1..20).map(|number| log.append(A, record(number, 100)));
            let all = stall_and_start(&disk, log.append(A, record(0, 100)), rest).await;
            drop(all);
            disk.release();
            // One was with the writer and three in the queue; whoever had not come that far is gone without a trace.
            assert_eq!(log.append(A, record(99, 100)).await.unwrap(), LogPosition(4));
            let rest = (5..50).map(|number| log.append(A, record(number, 100)));
            let positions = join_all(rest).await.into_iter().map(|position| position.unwrap().0);
            assert_eq!(positions.collect::<Vec<_>>(), (5..50).collect::<Vec<_>>());
            assert_eq!(read_all(&log, A, 0).await.unwrap().len(), 50);
        });
    }
}

#[test]
fn a_small_append_does_not_overtake_a_large_one() {
    let (disk, directory) = (TestDisk::new(), tempfile::tempdir().unwrap());
    let config = LocalLogConfig { queue_bytes_max: 1000, ..small() };
    let log = open_on(&disk, directory.path(), config).unwrap();
    block_on(async {
        disk.stall();
        let mut first = log.append(A, record(0, 900));
        assert!(futures::poll!(&mut first).is_pending());
        disk.wait_stalled();
        let mut large = log.append(A, record(1, 900));
        assert!(futures::poll!(&mut large).is_pending());
        let mut small = log.append(A, record(2, 9));
        assert!(futures::poll!(&mut small).is_pending());
        disk.release();
        assert_eq!(first.await.unwrap(), LogPosition(0));
        let (small, large) = futures::future::join(small, large).await;
        assert_eq!((large.unwrap(), small.unwrap()), (LogPosition(1), LogPosition(2)));
    });
}

#[test]
fn a_record_larger_than_queue_commit_and_file_passes_alone() {
    let directory = tempfile::tempdir().unwrap();
    let config = LocalLogConfig { queue_bytes_max: 1000, ..small() };
    let log = LocalLog::open(directory.path(), config, INCARNATION).unwrap();
    block_on(async {
        let records: Vec<Bytes> = [10, 4000, 10, 0, 3999].map(|size| record(size as u64, size)).into();
        let appended = append_together(&log, records.iter().map(|record| (A, record.clone())).collect()).await;
        assert!(appended.iter().all(Result::is_ok), "{appended:?}");
        assert_eq!(read_all(&log, A, 0).await.unwrap(), records);
    });
}

#[test]
fn an_abandoned_append_harms_nobody() {
    let (disk, directory) = (TestDisk::new(), tempfile::tempdir().unwrap());
    let log = open_on(&disk, directory.path(), small()).unwrap();
    block_on(async {
        drop(stall_and_start(&disk, log.append(A, record(0, 10)), [log.append(A, record(1, 10))]).await);
        disk.release();
        assert_eq!(log.append(A, record(2, 10)).await.unwrap(), LogPosition(2));
        assert_eq!(read_all(&log, A, 0).await.unwrap(), [0, 1, 2].map(|seed| record(seed, 10)));
    });
}

#[test]
fn close_finishes_what_was_taken() {
    let (disk, directory) = (TestDisk::new(), tempfile::tempdir().unwrap());
    let log = open_on(&disk, directory.path(), small()).unwrap();
    block_on(async {
        let rest = (1..30).map(|number| log.append(A, record(number, 100)));
        let all = stall_and_start(&disk, log.append(A, record(0, 100)), rest).await;
        let mut close = Box::pin(log.close());
        assert!(futures::poll!(&mut close).is_pending());
        disk.release();
        assert!(all.await.iter().all(Result::is_ok));
        close.await.unwrap();
        log.close().await.unwrap();
        assert!(matches!(log.append(A, record(0, 1)).await, Err(LogError::Closed)));
        assert!(matches!(log.truncate(A, LogPosition(1)).await, Err(LogError::Closed)));
        let again = open(directory.path()).unwrap();
        assert_eq!(read_all(&again, A, 0).await.unwrap().len(), 30);
    });
}
