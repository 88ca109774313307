//! The doors to time.
//!
//! Out: wall time and monotonic time. Nothing else in the product asks the operating system for either, so that a
//! simulation replays a run from its seed.

use std::fmt;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant, SystemTime};

/// Tells the time.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Microseconds since 1970-01-01T00:00:00Z; may step when the machine's clock is set.
    fn now_micros(&self) -> i64;

    /// Time since some fixed moment; never goes back.
    fn monotonic(&self) -> Duration;
}

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl Default for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    fn default() -> Self {
        Self { started: Instant::now() }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    fn now_micros(&self) -> i64 {
        match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
        }
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

/// A clock that stands still until it is moved: for simulations and tests.
#[derive(Debug, Default)]
pub struct ManualClock {
    since_start: Mutex<Duration>,
    epoch_micros: i64,
}

impl ManualClock {
    /// A clock that shows `epoch_micros`.
    pub fn new(epoch_micros: i64) -> Self {
        Self { since_start: Mutex::default(), epoch_micros }
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        *self.since_start.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }
}

impl Clock for ManualClock {
    fn now_micros(&self) -> i64 {
        self.epoch_micros + i64::try_from(self.monotonic().as_micros()).unwrap_or(i64::MAX)
    }

    fn monotonic(&self) -> Duration {
        *self.since_start.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{Clock, Duration, ManualClock, SystemClock};

    #[test]
    fn a_manual_clock_moves_only_when_moved() {
        let clock = ManualClock::new(1_000);
        assert_eq!((clock.now_micros(), clock.monotonic()), (1_000, Duration::ZERO));
        clock.advance(Duration::from_micros(5));
        assert_eq!((clock.now_micros(), clock.monotonic()), (1_005, Duration::from_micros(5)));
    }

    #[test]
    fn the_system_clock_is_in_this_century_and_never_goes_back() {
        let clock = SystemClock::default();
        assert!(clock.now_micros() > 1_700_000_000_000_000);
        let (first, second) = (clock.monotonic(), clock.monotonic());
        assert!(second >= first);
    }
}
