//! What the log refuses: records too large, too much in all, positions that it does not have, a second opener, and
//! everything after a disk failed.

use super::*;

fn fault(operation: Operation, kind: io::ErrorKind) -> Fault {
    Fault { operation: Some(operation), skip: 0, count: 1, kind }
}

#[test]
fn a_record_too_large_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path()).unwrap();
    block_on(async {
        let error = log.append(A, record(0, 4001)).await.unwrap_err();
        assert!(matches!(error, LogError::RecordTooLarge { shard: A, bytes: 4001, bytes_max: 4000 }));
        assert_eq!(
            error.to_string(),
            "record of 4001 bytes for shard c1/s0 exceeds record_bytes_max of 4000; split the batch"
        );
        assert_eq!(log.append(A, record(0, 4000)).await.unwrap(), LogPosition(0));
    });
}

#[test]
fn positions_outside_the_log_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path()).unwrap();
    block_on(async {
        for number in 0..5 {
            log.append(A, record(number, 10)).await.unwrap();
        }
        log.truncate(A, LogPosition(3)).await.unwrap();
        log.truncate(A, LogPosition(1)).await.unwrap();
        assert_eq!((log.start(A).await.unwrap(), log.end(A).await.unwrap()), (LogPosition(3), LogPosition(5)));
        let below = log.read(A, LogPosition(2)).await.err().unwrap();
        assert!(matches!(below, LogError::Truncated { shard: A, asked: LogPosition(2), start: LogPosition(3) }));
        let above = log.read(A, LogPosition(6)).await.err().unwrap();
        assert!(matches!(above, LogError::PastEnd { shard: A, asked: LogPosition(6), end: LogPosition(5) }));
        let above = log.truncate(A, LogPosition(6)).await.unwrap_err();
        assert!(matches!(above, LogError::PastEnd { shard: A, asked: LogPosition(6), end: LogPosition(5) }));
        assert!(log.read(B, LogPosition(0)).await.is_ok(), "a shard without records is empty, not unknown");
    });
}

#[test]
fn a_full_log_refuses_until_it_is_truncated() {
    let directory = tempfile::tempdir().unwrap();
    let config = LocalLogConfig { log_bytes_max: 6000, ..small() };
    let log = LocalLog::open(directory.path(), config, INCARNATION).unwrap();
    block_on(async {
        for round in 0..5 {
            let mut appended = Vec::new();
            let error = loop {
                match log.append(A, record(round, 200)).await {
                    Ok(position) => appended.push(position),
                    Err(error) => break error,
                }
            };
            let LogError::Full { cause: crate::log::FullCause::Setting { log_bytes_max: 6000 }, .. } = error else {
                panic!("{error}");
            };
            assert!(log.stats().bytes <= 6000);
            assert!(appended.len() >= 18, "most of the room is used: {}", appended.len());
            let end = log.end(A).await.unwrap();
            assert_eq!(Some(end.0 - 1), appended.last().map(|position| position.0));
            log.truncate(A, end).await.unwrap();
            assert!(log.stats().bytes <= 700, "dead files are removed, even the active one");
            log.append(B, record(0, 4000)).await.expect("an empty log takes the largest record");
            log.truncate(B, log.end(B).await.unwrap()).await.unwrap();
        }
    });
}

#[test]
fn a_full_disk_refuses_and_the_log_goes_on() {
    let (disk, directory) = (TestDisk::new(), tempfile::tempdir().unwrap());
    let log = open_on(&disk, directory.path(), small()).unwrap();
    block_on(async {
        log.append(A, record(0, 100)).await.unwrap();
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            disk.fail(fault(Operation::Write, kind));
            let error = log.append(A, record(1, 100)).await.unwrap_err();
            assert!(matches!(error, LogError::Full { cause: crate::log::FullCause::Disk, .. }), "{error}");
        }
        assert_eq!(log.append(A, record(2, 100)).await.unwrap(), LogPosition(1));
        let crashed = copy(directory.path());
        let again = open(crashed.path()).unwrap();
        assert_eq!(read_all(&again, A, 0).await.unwrap(), [0, 2].map(|seed| record(seed, 100)));
    });
}

/// Where not even a checkpoint fits any more, the log can be cut all the same: or the disk would stay full.
#[test]
fn a_full_disk_is_freed_by_a_truncation() {
    let (disk, directory) = (TestDisk::new(), tempfile::tempdir().unwrap());
    let log = open_on(&disk, directory.path(), small()).unwrap();
    block_on(async {
        for turn in 0..3 {
            log.append(A, record(turn, 100)).await.unwrap();
            let end = log.end(A).await.unwrap();
            disk.fail(fault(Operation::Write, io::ErrorKind::StorageFull));
            log.truncate(A, end).await.expect("space is kept for it");
            assert_eq!(log.start(A).await.unwrap(), end);
        }
        log.append(A, record(3, 100)).await.unwrap();
        disk.fail(Fault { count: 2, ..fault(Operation::Write, io::ErrorKind::StorageFull) });
        let error = log.truncate(A, log.end(A).await.unwrap()).await.unwrap_err();
        assert!(matches!(error, LogError::Full { cause: crate::log::FullCause::Disk, .. }), "{error}");
        log.truncate(A, log.end(A).await.unwrap()).await.expect("there is space again");
    });
}

/// What is on a full disk can be read, and written to once there is space.
#[test]
fn a_log_opens_on_a_full_disk() {
    let (disk, directory) = (TestDisk::new(), tempfile::tempdir().unwrap());
    block_on(async {
        for turn in 0..3 {
            let log = open_on(&disk, directory.path(), small()).unwrap();
            log.append(A, record(turn, 100)).await.unwrap();
        }
        let (full, copied) = (TestDisk::new(), copy(directory.path()));
        full.fail(fault(Operation::Write, io::ErrorKind::StorageFull));
        let log = open_on(&full, copied.path(), small()).expect("it can be read");
        let expected: Vec<_> = (0..3).map(|turn| record(turn, 100)).collect();
        assert_eq!(read_all(&log, A, 0).await.unwrap(), expected);
        full.fail(fault(Operation::Write, io::ErrorKind::StorageFull));
        let error = log.append(A, record(9, 100)).await.unwrap_err();
        assert!(matches!(error, LogError::Full { cause: crate::log::FullCause::Disk, .. }), "{error}");
        assert_eq!(log.append(A, record(3, 100)).await.unwrap(), LogPosition(3));
        let again = copy(copied.path());
        let log = open(again.path()).unwrap();
        assert_eq!(read_all(&log, A, 0).await.unwrap().len(), 4);
    });
}

#[test]
fn a_full_disk_that_cannot_be_undone_poisons() {
    for undoing in [Operation::SetLength, Operation::Sync] {
        let (disk, directory) = (TestDisk::new(), tempfile::tempdir().unwrap());
        let log = open_on(&disk, directory.path(), small()).unwrap();
        disk.fail(fault(Operation::Write, io::ErrorKind::StorageFull));
        disk.fail(fault(undoing, io::ErrorKind::Other));
        block_on(async {
            assert!(matches!(log.append(A, record(1, 100)).await, Err(LogError::Poisoned { .. })));
            assert!(matches!(log.append(A, record(1, 100)).await, Err(LogError::Poisoned { .. })));
        });
    }
}

#[test]
fn a_failed_write_or_sync_poisons_for_good() {
    for operation in [Operation::Write, Operation::Sync] {
        let (disk, directory) = (TestDisk::new(), tempfile::tempdir().unwrap());
        let log = open_on(&disk, directory.path(), small()).unwrap();
        block_on(async {
            log.append(A, record(0, 100)).await.unwrap();
            disk.fail(fault(operation, io::ErrorKind::Other));
            let rest = [log.append(B, record(1, 100)), log.append(A, record(1, 100))];
            let all = stall_and_start(&disk, log.append(A, record(1, 100)), rest).await;
            disk.release();
            for result in all.await {
                let error = result.unwrap_err();
                assert!(matches!(error, LogError::Poisoned { .. }), "{error}");
                assert_names(&error, &log_files(directory.path())[0]);
            }
            let syncs = disk.syncs();
            assert!(matches!(log.append(C, record(1, 100)).await, Err(LogError::Poisoned { .. })));
            assert!(matches!(log.truncate(A, LogPosition(1)).await, Err(LogError::Poisoned { .. })));
            assert!(matches!(log.close().await, Err(LogError::Poisoned { .. })));
            assert_eq!(disk.syncs(), syncs, "a failed sync is not tried again");
            assert_eq!(read_all(&log, A, 0).await.unwrap(), [record(0, 100)], "what was durable can be read");
            let again = open(directory.path()).expect("close freed the directory");
            assert_eq!(read_all(&again, A, 0).await.unwrap()[0], record(0, 100));
        });
    }
}

#[test]
fn a_directory_is_open_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("some/where");
    let log = open(&path).unwrap();
    let error = open(&path).err().unwrap();
    assert!(matches!(error, LogError::Locked { .. }));
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    drop(log);
    let log = open(&path).unwrap();
    block_on(log.close()).unwrap();
    let again = open(&path).unwrap();
    drop((log, again));
}

#[test]
fn a_log_keeps_its_incarnation() {
    let directory = tempfile::tempdir().unwrap();
    for new_incarnation in [1, 2] {
        let log = LocalLog::open(directory.path(), small(), new_incarnation).unwrap();
        assert_eq!(log.incarnation(), crate::log::LogIncarnation(1));
    }
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let refused = [
        LocalLogConfig { commit_records_max: 0, ..small() },
        LocalLogConfig { read_bytes_max: 0, ..small() },
        LocalLogConfig { file_bytes_max: 1 << 32, ..small() },
        LocalLogConfig { log_bytes_max: 4700, ..small() },
        LocalLogConfig { file_dead_bytes_max: u64::MAX, ..small() },
    ];
    for config in refused {
        let error = LocalLog::open(directory.path(), config, INCARNATION).err().unwrap();
        assert!(matches!(error, LogError::Setting { .. }), "{error}");
    }
    LocalLogConfig::default().check().unwrap();
}
