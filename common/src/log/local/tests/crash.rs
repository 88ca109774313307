//! A disk that dies, fails once, fills up or loses power at every single operation, also while recovering: whatever was
//! acknowledged is there afterwards.

use std::collections::BTreeMap;

use super::*;

/// What is known of a shard from the answers that the log gave.
#[derive(Clone, Debug, Default, PartialEq)]
struct Known {
    start: u64,
    /// The acknowledged records, from position 0.
    records: Vec<Bytes>,
    /// A record whose append failed without a clear answer.
    unknown: Option<Bytes>,
    /// A start whose truncation failed without a clear answer.
    unknown_start: Option<u64>,
}

type Shards = BTreeMap<ShardId, Known>;

/// Opens a log and works on it until something fails for good; notes every answer.
async fn work(disk: &Arc<TestDisk>, directory: &Path, shards: &mut Shards) -> Result<(), LogError> {
    let log = open_on(disk, directory, small())?;
    for number in 0..24 {
        let shard = [A, B][number as usize % 2];
        let known = shards.entry(shard).or_default();
        let appended = record(number, 150);
        match log.append(shard, appended.clone()).await {
            Ok(position) => {
                assert_eq!(position.0, known.records.len() as u64, "positions are dense, refused records left out");
                known.records.push(appended);
            }
            Err(LogError::Full { .. }) => {}
            Err(error) => {
                known.unknown = Some(appended);
                return Err(error);
            }
        }
        if number % 9 == 8 {
            let below = known.records.len() as u64;
            match log.truncate(shard, LogPosition(below)).await {
                Ok(()) => known.start = below,
                Err(LogError::Full { .. }) => {}
                Err(error) => {
                    known.unknown_start = Some(below);
                    return Err(error);
                }
            }
        }
    }
    log.close().await
}

/// Checks a log against what is known, on a disk that works; appends to it. Returns what is known then.
async fn check(disk: &Arc<TestDisk>, directory: &Path, shards: &Shards) -> Shards {
    let log = open_on(disk, directory, small()).unwrap();
    let mut shards = shards.clone();
    for (shard, known) in &mut shards {
        let (start, end) = (log.start(*shard).await.unwrap().0, log.end(*shard).await.unwrap().0);
        assert!(start == known.start || Some(start) == known.unknown_start, "start {start} of {known:?}");
        let unknown = known.unknown.take().filter(|_| end > known.records.len() as u64);
        known.records.extend(unknown);
        assert_eq!(end, known.records.len() as u64);
        assert_eq!(read_all(&log, *shard, start).await.unwrap(), known.records[start as usize..]);
        assert_eq!(log.append(*shard, record(99, 9)).await.unwrap(), LogPosition(end));
        known.records.push(record(99, 9));
        (known.start, known.unknown_start) = (start, None);
    }
    let unfinished = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "new");
    assert!(!all_files(directory).iter().any(unfinished), "nothing unfinished stays");
    shards
}

/// A check on a disk of which nothing is to be known.
fn check_on_sound_disk(directory: &Path, shards: &Shards) {
    block_on(check(&TestDisk::new(), directory, shards));
}

/// Runs the work with `fault` to come, for as many operations skipped before it as the work has, and hands each outcome
/// to `then`, with the disk mended.
fn at_every_operation(fault: Fault, then: impl Fn(&Arc<TestDisk>, &Path, &Shards)) {
    for skip in 0.. {
        let (disk, directory, mut shards) = (TestDisk::new(), tempfile::tempdir().unwrap(), Shards::new());
        disk.fail(Fault { skip, ..fault });
        let worked = block_on(work(&disk, directory.path(), &mut shards));
        let failed = disk.mend(fault);
        then(&disk, directory.path(), &shards);
        if !failed {
            worked.unwrap();
            assert!(skip > 50, "the work has operations");
            return;
        }
    }
}

const DEATH: Fault = Fault { operation: None, skip: 0, count: usize::MAX, kind: io::ErrorKind::Other };
const FAILURE: Fault = Fault { count: 1, ..DEATH };

#[test]
fn a_process_may_die_at_any_operation() {
    at_every_operation(DEATH, |_, directory, shards| check_on_sound_disk(directory, shards));
}

#[test]
fn power_may_fail_at_any_operation() {
    at_every_operation(DEATH, |disk, _, shards| check_on_sound_disk(disk.power_cut().path(), shards));
}

#[test]
fn power_may_fail_after_a_restart_after_any_failure() {
    at_every_operation(FAILURE, |disk, directory, shards| {
        let shards = block_on(check(disk, directory, shards));
        check_on_sound_disk(disk.power_cut().path(), &shards);
    });
}

#[test]
fn what_a_recovered_log_shows_is_durable() {
    at_every_operation(FAILURE, |disk, directory, shards| {
        let log = open_on(disk, directory, small()).unwrap();
        let after_power_cut = open(disk.power_cut().path()).unwrap();
        for shard in shards.keys() {
            let ranges = [&log, &after_power_cut].map(|log| log.shared.index().range(*shard));
            assert_eq!(ranges[0], ranges[1]);
            let read = [&log, &after_power_cut].map(|log| block_on(read_all(log, *shard, ranges[0].start)).unwrap());
            assert_eq!(read[0], read[1]);
        }
    });
}

#[test]
fn a_disk_may_be_full_at_any_operation() {
    for count in [1, 2, 3] {
        let full = Fault { count, kind: io::ErrorKind::StorageFull, ..DEATH };
        at_every_operation(full, |disk, directory, shards| {
            check_on_sound_disk(disk.power_cut().path(), shards);
            check_on_sound_disk(directory, shards);
        });
    }
}

#[test]
fn a_recovery_may_die_at_any_operation() {
    at_every_operation(DEATH, |_, directory, shards| {
        for skip in 0.. {
            let (disk, directory) = (TestDisk::new(), copy(directory));
            disk.die_after(skip);
            let opened = open_on(&disk, directory.path(), small()).is_ok();
            check_on_sound_disk(directory.path(), shards);
            if opened {
                break;
            }
        }
    });
}

#[test]
fn a_recovery_writes_again_what_was_not_proven() {
    let (disk, directory) = (TestDisk::new(), tempfile::tempdir().unwrap());
    let log = open_on(&disk, directory.path(), small()).unwrap();
    block_on(async {
        log.append(A, record(0, 20)).await.unwrap();
        disk.fail(Fault { operation: Some(Operation::Sync), ..FAILURE });
        assert!(matches!(log.append(A, record(1, 20)).await, Err(LogError::Poisoned { .. })));
    });
    drop(log);
    let unproven = std::fs::read(&log_files(directory.path())[0]).unwrap().split_off(48 + 60);
    let disk = TestDisk::new();
    let log = open_on(&disk, directory.path(), small()).unwrap();
    assert!(disk.writes().contains(&(48 + 60, unproven)));
    assert_eq!(block_on(read_all(&log, A, 0)).unwrap(), [0, 1].map(|seed| record(seed, 20)));
}

#[test]
fn an_idle_shard_holds_back_its_own_file_only() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path()).unwrap();
    block_on(async {
        log.append(B, record(0, 10)).await.unwrap();
        for number in 0..40 {
            log.append(A, record(number, 200)).await.unwrap();
        }
        log.truncate(A, LogPosition(40)).await.unwrap();
        assert_eq!(log.stats().files, 2, "the first, for B, and the active one");
        log.append(A, record(40, 200)).await.unwrap();
        let crashed = copy(directory.path());
        drop(log);
        for directory in [crashed.path(), directory.path()] {
            let log = open(directory).unwrap();
            assert_eq!(read_all(&log, B, 0).await.unwrap(), [record(0, 10)]);
            assert_eq!(read_all(&log, A, 40).await.unwrap(), [record(40, 200)]);
            assert_eq!(log.start(A).await.unwrap(), LogPosition(40));
        }
    });
}
