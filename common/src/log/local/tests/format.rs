//! The format on disk: logs of earlier versions open, and this version writes what it always wrote.

use super::*;

/// Where the fixture of format version 1 lies: the directory of [`write`]'s log after it was closed.
const VERSION_1: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/log/local/fixtures/v1");

/// Writes a small log, the same bytes every time.
fn write(directory: &Path) {
    let config = LocalLogConfig { file_bytes_max: 300, ..small() };
    let log = LocalLog::open(directory, config, INCARNATION).unwrap();
    block_on(async {
        for number in 0..9 {
            log.append([A, C][number as usize % 2], record(number, 20 * number as usize)).await.unwrap();
        }
        log.truncate(A, LogPosition(2)).await.unwrap();
        log.close().await.unwrap();
    });
}

#[test]
fn a_log_of_version_1_opens() {
    let directory = copy(Path::new(VERSION_1));
    let log = LocalLog::open(directory.path(), small(), 0).unwrap();
    assert_eq!(log.incarnation().0, INCARNATION);
    block_on(async {
        let of = |numbers: [u64; 3]| numbers.map(|number| record(number, 20 * number as usize));
        assert_eq!(read_all(&log, A, 2).await.unwrap(), of([4, 6, 8]));
        assert_eq!(read_all(&log, C, 1).await.unwrap(), of([3, 5, 7]));
        assert_eq!(log.start(A).await.unwrap(), LogPosition(2));
        assert_eq!(log.append(C, Bytes::new()).await.unwrap(), LogPosition(4));
    });
}

#[test]
fn this_version_writes_version_1() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path());
    let (written, fixture) = (all_files(directory.path()), all_files(Path::new(VERSION_1)));
    let names = |files: &[PathBuf]| files.iter().map(|path| path.file_name().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&written), names(&fixture));
    for (written, fixture) in written.iter().zip(&fixture) {
        assert_eq!(std::fs::read(written).unwrap(), std::fs::read(fixture).unwrap(), "{}", fixture.display());
    }
}
