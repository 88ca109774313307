//! What is told of a source while it runs.
//!
//! In: what its partitions did. Out: counts, rates, the last errors. Owns how many of these are kept.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use basalt_common::calls::{SourceError, SourceState, SourceStatus};

/// How many errors are kept.
const ERRORS_MAX: usize = 100;

/// Over how long a rate is taken.
const RATE_WINDOW: Duration = Duration::from_secs(5);

/// How far a partition was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadTo {
    /// The first offset that was not read.
    pub next: u64,
    /// When the last record that was read was written.
    pub written_micros: Option<i64>,
}

#[derive(Debug, Default)]
struct Counted {
    failure: Option<String>,
    read_to: BTreeMap<u32, ReadTo>,
    records: u64,
    replayed: u64,
    failed: u64,
    errors: VecDeque<SourceError>,
    /// When the current window began, and the count then.
    window: (Duration, u64),
    rate: f64,
}

/// What a source did since this process runs it.
#[derive(Debug, Default)]
pub struct Gauge(Mutex<Counted>);

impl Gauge {
    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that it cannot read, and why; none once it can.
    pub fn set_failure(&self, failure: Option<String>) {
        self.counted().failure = failure;
    }

    /// Notes where a partition is read from.
    pub fn begin(&self, partition: u32, next: u64) {
        self.counted().read_to.insert(partition, ReadTo { next, written_micros: None });
    }

    /// Notes records read, and how many operations of them were in their shards already.
    pub fn count(&self, partition: u32, read_to: ReadTo, records: u64, replayed: u64, now: Duration) {
        let mut counted = self.counted();
        counted.records += records;
        counted.replayed += replayed;
        counted.read_to.insert(partition, read_to);
        let (began, before) = counted.window;
        if now >= began + RATE_WINDOW {
            counted.rate = (counted.records - before) as f64 / (now - began).as_secs_f64();
            counted.window = (now, counted.records);
        }
    }

    /// Notes records that were not taken.
    pub fn fail(&self, errors: impl IntoIterator<Item = SourceError>) {
        let mut counted = self.counted();
        for error in errors {
            counted.failed += 1;
            if counted.errors.len() == ERRORS_MAX {
                counted.errors.pop_front();
            }
            counted.errors.push_back(error);
        }
    }

    /// How far each partition was read.
    pub fn read_to(&self) -> BTreeMap<u32, ReadTo> {
        self.counted().read_to.clone()
    }

    /// All of it, but for the lag.
    pub fn status(&self, now: Duration) -> SourceStatus {
        let counted = self.counted();
        let (began, before) = counted.window;
        let since = (now.saturating_sub(began)).as_secs_f64();
        let rate = match now >= began + RATE_WINDOW {
            // Nothing came that would have closed the window.
            true => (counted.records - before) as f64 / since,
            false => counted.rate,
        };
        SourceStatus {
            state: match counted.failure {
                Some(_) => SourceState::Failed,
                None => SourceState::Running,
            },
            reason: counted.failure.clone(),
            partitions: counted.read_to.len() as u32,
            lag_records: None,
            lag_seconds: 0.0,
            records_per_second: rate,
            records: counted.records,
            replayed: counted.replayed,
            failed: counted.failed,
            errors: counted.errors.iter().cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Gauge, ReadTo, SourceError};

    #[test]
    fn rates_are_of_late_and_errors_are_bounded() {
        let gauge = Gauge::default();
        let second = Duration::from_secs;
        for turn in 1..=20 {
            gauge.count(0, ReadTo { next: turn * 100, written_micros: None }, 100, 1, second(turn));
        }
        let status = gauge.status(second(20));
        assert_eq!((status.records, status.replayed, status.partitions), (2000, 20, 1));
        assert_eq!(status.records_per_second, 100.0);
        assert_eq!(gauge.status(second(120)).records_per_second, 0.0, "nothing came for long");
        gauge.fail((0..150).map(|offset| SourceError { partition: 0, offset, message: "bad".into() }));
        let status = gauge.status(second(120));
        assert_eq!((status.failed, status.errors.len()), (150, 100));
        assert_eq!(status.errors.last().map(|error| error.offset), Some(149));
    }
}
