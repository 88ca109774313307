//! Torn tails: what a crash may leave of the last commit, at every byte.

use super::*;

/// Length of a file's header, and of a frame's, spelled out: the format is frozen.
const FILE_HEADER: usize = 48;
const FRAME_HEADER: usize = 40;

/// A crashed log of one file, with the commits given as sizes of their records, all of shard A; and where frames end.
struct Crashed {
    directory: tempfile::TempDir,
    bytes: Vec<u8>,
    records: Vec<Bytes>,
    frame_ends: Vec<usize>,
}

impl Crashed {
    fn with_commits(commits: &[&[usize]]) -> Crashed {
        let (disk, directory) = (TestDisk::new(), tempfile::tempdir().unwrap());
        let config = LocalLogConfig { file_bytes_max: 100_000, ..small() };
        let log = open_on(&disk, directory.path(), config).unwrap();
        let mut records: Vec<Bytes> = Vec::new();
        let stalling = record(0, 10);
        block_on(async {
            for sizes in commits {
                let begin = records.len() + 1;
                let group: Vec<Bytes> =
                    sizes.iter().enumerate().map(|(place, size)| record((begin + place) as u64, *size)).collect();
                let rest = group.iter().map(|record| log.append(A, record.clone()));
                let all = stall_and_start(&disk, log.append(A, stalling.clone()), rest).await;
                disk.release();
                assert!(all.await.iter().all(Result::is_ok));
                records.push(stalling.clone());
                records.extend(group);
            }
        });
        assert_eq!(log.stats().commits, 2 * commits.len() as u64);
        let crashed = copy(directory.path());
        let bytes = std::fs::read(&log_files(crashed.path())[0]).unwrap();
        let mut end = FILE_HEADER;
        let frame_ends = records.iter().map(|record| {
            end += FRAME_HEADER + record.len();
            end
        });
        let frame_ends: Vec<usize> = frame_ends.collect();
        assert_eq!(frame_ends.last(), Some(&bytes.len()));
        Crashed { directory: crashed, bytes, records, frame_ends }
    }

    /// Where the last commit begins, if it has `records` records.
    fn last_commit(&self, records: usize) -> usize {
        self.frame_ends[self.frame_ends.len() - records - 1]
    }

    /// Opens a copy whose file is `bytes`.
    fn open_with(&self, bytes: &[u8]) -> (tempfile::TempDir, Result<LocalLog, LogError>) {
        let directory = copy(self.directory.path());
        std::fs::write(&log_files(directory.path())[0], bytes).unwrap();
        let log = open(directory.path());
        (directory, log)
    }

    /// Checks that a log with the file `bytes` has exactly the records whose frames end at or below `end`, takes
    /// appends, and is whole when opened again.
    fn check_kept(&self, bytes: &[u8], end: usize) {
        let kept = self.frame_ends.iter().filter(|frame_end| **frame_end <= end).count();
        let (directory, log) = self.open_with(bytes);
        let log = log.unwrap();
        block_on(async {
            assert_eq!(read_all(&log, A, 0).await.unwrap(), self.records[..kept]);
            assert_eq!(log.append(A, record(77, 5)).await.unwrap(), LogPosition(kept as u64));
            drop(log);
            let again = open(directory.path()).unwrap();
            let read = read_all(&again, A, 0).await.unwrap();
            assert_eq!(read[..kept], self.records[..kept]);
            assert_eq!(read[kept..], [record(77, 5)]);
        });
    }
}

#[test]
fn a_file_cut_anywhere_keeps_the_whole_frames() {
    let crashed = Crashed::with_commits(&[&[30], &[0, 50, 7]]);
    for length in FILE_HEADER..=crashed.bytes.len() {
        crashed.check_kept(&crashed.bytes[..length], length);
    }
    for length in 0..FILE_HEADER {
        let (directory, log) = crashed.open_with(&crashed.bytes[..length]);
        assert_names(&log.err().unwrap(), &log_files(directory.path())[0]);
    }
}

#[test]
fn damage_is_cut_in_the_last_commit_and_an_error_before_it() {
    let crashed = Crashed::with_commits(&[&[30], &[0, 50, 7]]);
    let last_commit = crashed.last_commit(3);
    for place in FILE_HEADER..crashed.bytes.len() {
        let mut bytes = crashed.bytes.clone();
        bytes[place] ^= 1 << (place % 8);
        if place >= last_commit {
            crashed.check_kept(&bytes, place);
            continue;
        }
        let (directory, log) = crashed.open_with(&bytes);
        let Err(error @ LogError::Corrupt { offset, .. }) = log else {
            panic!("byte {place} is in front of the last commit");
        };
        let frame = crashed.frame_ends.iter().filter(|end| **end <= place).max().unwrap_or(&FILE_HEADER);
        assert_eq!(offset, *frame as u64);
        assert_names(&error, &log_files(directory.path())[0]);
    }
}

#[test]
fn pages_missing_in_the_middle_of_the_last_commit_are_a_tear() {
    let crashed = Crashed::with_commits(&[&[30], &[200, 200, 200]]);
    let last_commit = crashed.last_commit(3);
    for begin in (last_commit..crashed.bytes.len()).step_by(13) {
        for length in [1, 40, 100, 500] {
            let mut bytes = crashed.bytes.clone();
            let end = bytes.len().min(begin + length);
            bytes[begin..end].fill(0);
            // What was zero before is no damage.
            let damaged = std::iter::zip(&bytes, &crashed.bytes).position(|(now, before)| now != before);
            crashed.check_kept(&bytes, damaged.unwrap_or(bytes.len()));
        }
    }
}

#[test]
fn a_damaged_payload_does_not_hide_what_its_header_proves() {
    let crashed = Crashed::with_commits(&[&[30], &[50]]);
    let mut bytes = crashed.bytes.clone();
    let (acknowledged, last_payload) = (crashed.frame_ends[2] - 1, bytes.len() - 1);
    bytes[acknowledged] ^= 1;
    bytes[last_payload] ^= 1;
    let (_directory, log) = crashed.open_with(&bytes);
    assert!(matches!(log, Err(LogError::Corrupt { .. })));
}

#[test]
fn bytes_behind_the_last_frame_are_cut() {
    let crashed = Crashed::with_commits(&[&[30]]);
    for behind in [&[0; 5000][..], b"BFrm", b"BFrmBFrmBFrmBFrmBFrmBFrmBFrmBFrmBFrmBFrmBFrmBFrm"] {
        crashed.check_kept(&[&crashed.bytes, behind].concat(), crashed.bytes.len());
    }
    // A stale copy of the file's own frames is not taken for frames, neither in order nor by the search.
    let copied = [&crashed.bytes[..], &crashed.bytes[FILE_HEADER..], b"torn"].concat();
    crashed.check_kept(&copied, crashed.bytes.len());
}

#[test]
fn frames_inside_a_payload_prove_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path()).unwrap();
    block_on(async {
        log.append(A, record(1, 20)).await.unwrap();
        log.append(A, record(2, 20)).await.unwrap();
        let own_file = std::fs::read(&log_files(directory.path())[0]).unwrap();
        log.append(A, own_file.into()).await.unwrap();
    });
    let crashed = copy(directory.path());
    let file = &log_files(crashed.path())[0];
    let mut bytes = std::fs::read(file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(file, bytes).unwrap();
    let again = open(crashed.path()).unwrap();
    assert_eq!(block_on(read_all(&again, A, 0)).unwrap(), [record(1, 20), record(2, 20)]);
}

#[test]
fn what_was_recovered_is_proven_from_then_on() {
    let crashed = Crashed::with_commits(&[&[30, 50]]);
    let (directory, log) = crashed.open_with(&crashed.bytes);
    let crashed_again = copy(directory.path());
    drop(log.unwrap());
    let file = &log_files(crashed_again.path())[0];
    let mut bytes = std::fs::read(file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(file, bytes).unwrap();
    assert!(matches!(open(crashed_again.path()), Err(LogError::Corrupt { .. })));
}
