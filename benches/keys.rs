//! `_id` → row: key runs in mapped files beside the table of addresses that small segments in memory have.
//!
//! Each run is of a file segment of its own, of `BASALT_BENCH_ROWS` random `_id`s of 16 characters; up to `BASALT_BENCH_RUNS` of them.
//! Measured are lookups of random `_id`s, found (and compared with the segment's) or not, as [`Keys`] answers them: nanoseconds in the
//! mean. With `BASALT_BENCH_UPSERTS` set it upserts so many random documents in batches instead, and tells what that took and what is
//! resident: the files are written to `BASALT_BENCH_FOLDER` by a first process, and a second opens them as a restart does, gives back all
//! pages of them but those that every lookup touches, and begins.
//! Run: `make bench`.
#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use basalt_common::clock::{Clock, SystemClock};
use basalt_leaf::file::container::{Container, Kind};
use basalt_leaf::file::segment;
use basalt_leaf::indexes::Indexes;
use basalt_leaf::keys::Keys;
use basalt_leaf::segment::{Address, Segment, SegmentId, SegmentVersion};
use bytes::Bytes;
use datafusion::arrow::array::StringArray;
use memmap2::{Advice, Mmap, UncheckedAdvice};

const ROWS: u64 = 1_000_000;
const RUNS: u64 = 32;
const RUNS_SHOWN: [u64; 4] = [1, 8, 32, 100];
const LOOKUPS: u64 = 200_000;
const BATCH: u64 = 1_000;

/// Numbers from here on are in no segment.
const STRANGERS: u64 = 1 << 48;

fn setting(name: &str, default: u64) -> Result<u64> {
    std::env::var(name).map_or(Ok(default), |value| value.parse()).with_context(|| format!("{name} is a number"))
}

/// A number that looks random, another for each (splitmix64).
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

fn id(number: u64) -> String {
    format!("{:016x}", mixed(number))
}

fn ids(numbers: impl Iterator<Item = u64>) -> StringArray {
    StringArray::from_iter_values(numbers.map(id))
}

fn of_run(run: u64, rows: u64) -> Segment {
    Segment::new(SegmentId(run), ids(run * rows..(run + 1) * rows), None, BTreeMap::new())
}

fn path(folder: &Path, run: u64) -> PathBuf {
    folder.join(format!("segment-{run:03}"))
}

fn write(folder: &Path, run: u64, rows: u64) -> Result<()> {
    Ok(fs::write(path(folder, run), segment::encode(&of_run(run, rows), &Indexes::default())?.bytes)?)
}

struct Mapped(Arc<Mmap>);

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

fn map(folder: &Path, run: u64) -> Result<Arc<Mmap>> {
    // SAFETY: nobody changes the file.
    Ok(Arc::new(unsafe { Mmap::map(&File::open(path(folder, run))?)? }))
}

fn open(mapped: &Arc<Mmap>) -> Result<SegmentVersion> {
    let bytes = Bytes::from_owner(Mapped(Arc::clone(mapped)));
    let object = Container::open("segment", Kind::Segment, &bytes)?;
    Ok(SegmentVersion::new(segment::decode(&object, &bytes, None)?))
}

/// Has the system forget a file's pages.
fn give_back(mapped: &Mmap, file: &Path) -> Result<()> {
    // SAFETY: what is mapped is a file, which stays as it is: it is read again.
    unsafe { mapped.unchecked_advise(UncheckedAdvice::DontNeed)? };
    let mut dd = Command::new("dd");
    dd.arg(format!("of={}", file.display())).args([
        "oflag=nocache",
        "conv=notrunc,fdatasync",
        "count=0",
        "status=none",
    ]);
    ensure!(dd.status()?.success(), "dd fails");
    Ok(())
}

fn timed<T>(clock: &SystemClock, run: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let started = clock.monotonic();
    let done = run()?;
    Ok((done, clock.monotonic() - started))
}

fn nanos(took: Duration, count: u64) -> f64 {
    took.as_nanos() as f64 / count as f64
}

/// Nanoseconds to look up random `_id`s of `count`, those that are there and others.
fn lookups(clock: &SystemClock, keys: &Keys, count: u64) -> Result<[f64; 2]> {
    let mut times = [0.0; 2];
    for (time, first) in times.iter_mut().zip([0, STRANGERS]) {
        let asked: Vec<String> = (0..LOOKUPS).map(|index| id(first + mixed(index ^ count) % count)).collect();
        let look = || asked.iter().map(|id| Ok(u64::from(keys.get(id)?.is_some()))).sum::<Result<u64>>();
        look()?;
        let (found, took) = timed(clock, look)?;
        ensure!(found == if first == 0 { LOOKUPS } else { 0 }, "{found} were found");
        *time = nanos(took, LOOKUPS);
    }
    Ok(times)
}

fn compare(clock: &SystemClock, runs: u64, rows: u64) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let sample = of_run(0, rows);
    let (run, built) = timed(clock, || Ok(sample.ids().key_run()?))?;
    let (hot, all) = (run.hot_bytes() as f64 / rows as f64, run.bytes().len() as f64 / rows as f64);
    println!("a run of {rows}: made in {:.0} ns a key; {hot:.2} bytes a key that lookups touch,", nanos(built, rows));
    println!("{:.2} that hits touch", all - hot);
    println!(
        "{:>5} {:>28} {:>12} {:>28} {:>14}",
        "", "runs: found, not, heap/key", "open", "table: found, not", "made, heap/key"
    );
    for run in 0..runs {
        write(folder.path(), run, rows)?;
    }
    for shown in RUNS_SHOWN.into_iter().filter(|shown| *shown <= runs) {
        let count = shown * rows;
        let restart = || (0..shown).map(|run| open(&map(folder.path(), run)?)).collect::<Result<Vec<_>>>();
        let (versions, opened) = timed(clock, restart)?;
        let mut keys = Keys::default();
        versions.iter().for_each(|version| keys.take_in(version));
        let [found, absent] = lookups(clock, &keys, count)?;
        let heap = keys.heap_bytes() as f64 / count as f64;
        print!("{shown:>5} {found:>12.0} {absent:>8.0} {heap:>6.2} {:>9.0} ms", opened.as_secs_f64() * 1e3);
        let versions: Vec<_> = (0..shown).map(|run| SegmentVersion::new(of_run(run, rows))).collect();
        let (table, made) = timed(clock, || {
            let mut keys = Keys::default();
            versions.iter().for_each(|version| keys.take_in(version));
            Ok(keys)
        })?;
        let [found, absent] = lookups(clock, &table, count)?;
        let heap = table.heap_bytes() as f64 / count as f64;
        println!(" {found:>18.0} {absent:>9.0} {:>8.0} {heap:>7.2}", nanos(made, count));
    }
    Ok(())
}

/// What the process has in memory: a line of `smaps_rollup` in MiB.
fn resident(line: &str) -> Result<u64> {
    let text = fs::read_to_string("/proc/self/smaps_rollup")?;
    let found = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(':')?.split_whitespace().next());
    Ok(found.context("the kernel tells it")?.parse::<u64>()? / 1024)
}

fn print_resident(keys: &Keys) -> Result<()> {
    let (all, files, heap) = (resident("Rss")?, resident("Pss_File")?, keys.heap_bytes() >> 20);
    println!("resident: {all} MiB, {files} of files; of the keys on the heap {heap} MiB");
    Ok(())
}

fn upsert(clock: &SystemClock, runs: u64, rows: u64, upserts: u64, folder: &Path) -> Result<()> {
    if !path(folder, runs - 1).exists() {
        (0..runs).try_for_each(|run| write(folder, run, rows))?;
        println!("{} keys are written; run it again", runs * rows);
        return Ok(());
    }
    let mut keys = Keys::default();
    let mapped = (0..runs).map(|run| map(folder, run)).collect::<Result<Vec<_>>>()?;
    let (versions, opened) = timed(clock, || mapped.iter().map(open).collect::<Result<Vec<_>>>())?;
    let ((), taken) = timed(clock, || {
        versions.iter().for_each(|version| keys.take_in(version));
        Ok(())
    })?;
    println!("{} keys in {runs} runs: opened in {opened:?}, which compares checksums; keys in {taken:?}", runs * rows);
    for (index, (mapped, version)) in mapped.iter().zip(&versions).enumerate() {
        give_back(mapped, &path(folder, index as u64))?;
        let run = version.segment().key_run()?.context("it has one")?;
        let touched: u64 = run.bytes()[..run.hot_bytes()].iter().step_by(512).map(|byte| u64::from(*byte)).sum();
        ensure!(touched > 0, "a run has no rows");
        mapped.advise(Advice::Random)?;
    }
    print_resident(&keys)?;
    let ahead = upserts / 10;
    for (first, count) in [(0, ahead), (ahead, upserts - ahead)] {
        let mut times = Vec::new();
        for batch in first / BATCH..(first + count) / BATCH {
            let numbers = (0..BATCH).map(|index| mixed(batch * BATCH + index) % (runs * rows));
            let segment = Arc::new(Segment::new(SegmentId(runs + batch), ids(numbers), None, BTreeMap::new()));
            let id = segment.id();
            let ((), took) = timed(clock, || {
                keys.add_segment(segment);
                for row in 0..BATCH as u32 {
                    ensure!(keys.put(Address { segment: id, row })?.is_some(), "an upsert found nothing");
                }
                Ok(())
            })?;
            times.push(took);
        }
        times.sort();
        let total: Duration = times.iter().sum();
        let worst = times.last().context("there are batches")?.as_secs_f64() * 1e3;
        println!("{count} upserts: {:.0} ns each, the slowest batch of {BATCH} {worst:.1} ms", nanos(total, count));
        print_resident(&keys)?;
    }
    ensure!(keys.len() as u64 == runs * rows, "documents were lost");
    Ok(())
}

fn main() -> Result<()> {
    let (rows, runs) = (setting("BASALT_BENCH_ROWS", ROWS)?, setting("BASALT_BENCH_RUNS", RUNS)?);
    let (upserts, clock) = (setting("BASALT_BENCH_UPSERTS", 0)?, SystemClock::default());
    match upserts {
        0 => compare(&clock, runs, rows),
        _ => {
            let folder = std::env::var("BASALT_BENCH_FOLDER").context("BASALT_BENCH_FOLDER says where files are")?;
            upsert(&clock, runs, rows, upserts, folder.as_ref())
        }
    }
}
