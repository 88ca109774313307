//! Damage to what was acknowledged: always an error that names the file, never a silent loss.

use super::*;
use crate::log::local::checkpoint::Checkpoint;
use crate::log::local::disk::RealDisk;

/// Makes a log of several files with records of three shards, some of them truncated, closed in order.
fn closed() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let config = LocalLogConfig { file_bytes_max: 400, ..small() };
    let log = LocalLog::open(directory.path(), config, INCARNATION).unwrap();
    block_on(async {
        for number in 0..12 {
            if number == 8 {
                log.truncate(A, LogPosition(1)).await.unwrap();
            }
            let shard = [A, B, C][number as usize % 3];
            log.append(shard, record(number, 30 * (number as usize % 4))).await.unwrap();
        }
        log.close().await.unwrap();
    });
    assert!(log_files(directory.path()).len() >= 3);
    directory
}

/// Checks that `directory` does not open, for a reason that names `path`.
fn check_refused(directory: &Path, path: &Path, what: &str) -> LogError {
    match open(directory) {
        Ok(_) => panic!("{what} of {} goes unnoticed", path.display()),
        Err(error) => {
            assert_names(&error, path);
            error
        }
    }
}

#[test]
fn every_flipped_byte_of_a_closed_log_is_an_error() {
    let directory = closed();
    for path in all_files(directory.path()) {
        let whole = std::fs::read(&path).unwrap();
        for place in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[place] ^= 1 << (place % 8);
            std::fs::write(&path, &bytes).unwrap();
            check_refused(directory.path(), &path, &format!("flipping byte {place}"));
        }
        std::fs::write(&path, &whole).unwrap();
    }
    open(directory.path()).expect("whole again, and no failed attempt changed anything");
}

#[test]
fn every_shortened_file_of_a_closed_log_is_an_error() {
    let directory = closed();
    for path in all_files(directory.path()) {
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            check_refused(directory.path(), &path, &format!("cutting to {length} bytes"));
        }
        std::fs::write(&path, &whole).unwrap();
    }
    open(directory.path()).unwrap();
}

#[test]
fn a_missing_file_is_an_error() {
    let directory = closed();
    for path in all_files(directory.path()) {
        let whole = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let error = check_refused(directory.path(), &path, "removing");
        assert!(matches!(error, LogError::MissingFile { .. }), "{error}");
        std::fs::write(&path, &whole).unwrap();
    }
    open(directory.path()).unwrap();
}

#[test]
fn a_missing_last_file_is_an_error_from_its_first_record_on() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path()).unwrap();
    block_on(async {
        while log.stats().files < 3 {
            log.append(A, record(0, 500)).await.unwrap();
            let crashed = copy(directory.path());
            let last = log_files(crashed.path()).pop().unwrap();
            std::fs::remove_file(&last).unwrap();
            let error = check_refused(crashed.path(), &last, "removing");
            assert!(matches!(error, LogError::MissingFile { .. }), "{error}");
        }
    });
}

#[test]
fn a_file_in_the_place_of_another_is_an_error() {
    let directory = closed();
    let files = log_files(directory.path());
    for path in &files {
        let whole = std::fs::read(path).unwrap();
        for other in files.iter().filter(|other| *other != path) {
            std::fs::copy(other, path).unwrap();
            check_refused(directory.path(), path, "replacing");
        }
        std::fs::write(path, &whole).unwrap();
    }
    open(directory.path()).unwrap();
}

#[test]
fn bytes_behind_an_earlier_file_are_an_error() {
    let directory = closed();
    let files = log_files(directory.path());
    for path in &files[..files.len() - 1] {
        let whole = std::fs::read(path).unwrap();
        for behind in [&[0][..], &[0; 100], &whole[48..]] {
            std::fs::write(path, [&whole, behind].concat()).unwrap();
            check_refused(directory.path(), path, "appending");
        }
        std::fs::write(path, &whole).unwrap();
    }
    open(directory.path()).unwrap();
}

#[test]
fn a_file_from_another_state_of_the_log_is_an_error() {
    let directory = closed();
    let last = log_files(directory.path()).pop().unwrap();
    let number: u64 = last.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let stray = directory.path().join(format!("{:020}.log", number + 2));
    std::fs::copy(&last, &stray).unwrap();
    let error = check_refused(directory.path(), &stray, "adding");
    assert!(matches!(error, LogError::StrayFile { .. }), "{error}");
}

#[test]
fn a_file_of_another_log_is_an_error() {
    let (directory, other) = (closed(), tempfile::tempdir().unwrap());
    drop(LocalLog::open(other.path(), small(), INCARNATION + 1).unwrap());
    let files = (log_files(directory.path()), log_files(other.path()));
    std::fs::copy(&files.1[0], &files.0[0]).unwrap();
    let error = check_refused(directory.path(), &files.0[0], "replacing");
    assert!(matches!(error, LogError::ForeignIncarnation { offset: 12, .. }), "{error}");
}

#[test]
fn another_format_version_is_an_error() {
    let directory = closed();
    for path in all_files(directory.path()) {
        let whole = std::fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        bytes[8] = 2;
        std::fs::write(&path, bytes).unwrap();
        let error = check_refused(directory.path(), &path, "the version");
        assert!(matches!(error, LogError::UnknownVersion { offset: 8, found: 2, known: 1, .. }), "{error}");
        std::fs::write(&path, &whole).unwrap();
    }
}

#[test]
fn an_older_checkpoint_is_an_error_once_files_were_dropped() {
    let directory = closed();
    let (checkpoint, old) = (directory.path().join("CHECKPOINT"), copy(directory.path()));
    let log = open(directory.path()).unwrap();
    let end = block_on(async {
        for shard in [A, B, C] {
            log.truncate(shard, log.end(shard).await.unwrap()).await.unwrap();
        }
        log.end(A).await.unwrap()
    });
    assert_eq!(log.stats().files, 1);
    drop(log);
    let fresh = std::fs::read(&checkpoint).unwrap();
    std::fs::copy(old.path().join("CHECKPOINT"), &checkpoint).unwrap();
    assert!(matches!(open(directory.path()), Err(LogError::MissingFile { .. })));
    std::fs::write(&checkpoint, fresh).unwrap();
    let log = open(directory.path()).unwrap();
    block_on(async {
        assert_eq!((log.start(A).await.unwrap(), log.end(A).await.unwrap()), (end, end));
        assert_eq!(log.append(A, record(0, 1)).await.unwrap(), end);
    });
}

#[test]
fn a_checkpoint_older_by_one_file_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path()).unwrap();
    let before = copy(directory.path());
    block_on(async {
        while log.stats().files < 2 {
            log.append(A, record(0, 500)).await.unwrap();
        }
        log.close().await.unwrap();
    });
    let end = block_on(log.end(A)).unwrap();
    std::fs::copy(before.path().join("CHECKPOINT"), directory.path().join("CHECKPOINT")).unwrap();
    let log = open(directory.path()).unwrap();
    assert_eq!(block_on(read_all(&log, A, 0)).unwrap().len() as u64, end.0);
}

#[test]
fn a_shard_that_ends_too_early_is_an_error() {
    let directory = closed();
    let mut checkpoint = Checkpoint::load(directory.path()).unwrap().unwrap();
    checkpoint.shards.get_mut(&B).unwrap().end += 1;
    checkpoint.store(&RealDisk, directory.path()).unwrap();
    let error = open(directory.path()).unwrap_err();
    assert!(matches!(error, LogError::MissingRecords { shard: B, .. }), "{error}");
}

#[test]
fn a_gap_in_a_shard_is_an_error() {
    let directory = closed();
    let mut checkpoint = Checkpoint::load(directory.path()).unwrap().unwrap();
    checkpoint.shards.remove(&A);
    checkpoint.files.pop_first();
    checkpoint.store(&RealDisk, directory.path()).unwrap();
    let error = check_refused(directory.path(), &log_files(directory.path())[1], "a gap");
    assert!(matches!(error, LogError::PositionGap { due: LogPosition(0), .. }), "{error}");
}

#[test]
fn damage_under_an_open_log_is_an_error_to_its_readers() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path()).unwrap();
    block_on(async {
        for number in 0..5 {
            log.append(A, record(number, 100)).await.unwrap();
        }
        let path = &log_files(directory.path())[0];
        let whole = std::fs::read(path).unwrap();
        for place in 48..whole.len() {
            let mut bytes = whole.clone();
            bytes[place] ^= 1 << (place % 8);
            std::fs::write(path, bytes).unwrap();
            let frame = (place - 48) / 140;
            let error = read_all(&log, A, frame as u64).await.unwrap_err();
            assert!(matches!(error, LogError::Corrupt { offset, .. } if offset == 48 + 140 * frame as u64), "{error}");
            assert_names(&error, path);
        }
        std::fs::write(path, &whole[..300]).unwrap();
        assert!(matches!(read_all(&log, A, 3).await, Err(LogError::Corrupt { .. })));
    });
}
