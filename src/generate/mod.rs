//! The stream of `basalt generate`: what a shop's website and apps would send, forever.
//!
//! In: a seed and a time to start from. Out: operations in the order in which they happen; the same ones for the same
//! seed and time, on every platform. Owns the mix, event time, and the memory of which documents there are, so that
//! patches and deletes name only documents that were emitted and not deleted. Sending them, and how fast, is its
//! caller's.
//!
//! ```text
//! 80 %  upserts of new documents
//!  8 %  upserts that replace one of the last 1,000 documents: same `_id`, some fields changed
//! 10 %  patches of any of the last 10,000
//!  2 %  deletes from the older half of these
//! ```
//!
//! A document that fell out of the last 10,000 is never named again.

mod document;
mod json;
mod patch;
mod words;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use basalt_common::random::SeededRandom;

use document::{Event, skewed};

/// How many documents the stream remembers.
const LIVE_MAX: usize = 10_000;

/// How many of these are recent enough to be replaced.
const RECENT_MAX: usize = 1_000;

/// By how much event time advances with an operation, in microseconds: from the first to below the second.
const ADVANCE_MICROS: (u64, u64) = (1_000, 7_000);

/// How late an event may be.
const LATE_MILLISECONDS_MAX: u64 = 300_000;

/// What happens to one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operation {
    /// The document becomes this one.
    Upsert {
        /// Its `_id`.
        id: String,
        /// The JSON text of an object that has the `_id` too.
        document: String,
    },
    /// Parts of the document change.
    Patch {
        /// Its `_id`.
        id: String,
        /// The JSON text of an object: the `_id`, and operations (RFC 6902 and `increment`) in `patch` or an object
        /// (RFC 7396) in `merge`.
        patch: String,
    },
    /// The document goes.
    Delete {
        /// Its `_id`.
        id: String,
    },
}

/// A document that the stream may still name, as what it takes to write it again.
#[derive(Debug)]
struct Live {
    event: Event,
    /// A bit for each of [`patch::REMOVABLE`] that the document lacks.
    removed: u8,
}

/// The endless sequence of operations that a seed and a time decide.
#[derive(Debug)]
pub(crate) struct Stream {
    random: SeededRandom,
    now_micros: i64,
    /// INVARIANT: at most [`LIVE_MAX`], about in the order in which they were emitted. Checked where one is added.
    live: VecDeque<Live>,
}

impl Stream {
    /// The stream of a seed, whose first event happens shortly after `start_micros`, counted from 1970. Streams of one
    /// seed and different starts tell of the same documents at different times.
    ///
    /// # Panics
    /// The start is not within the years 1970 to 9998.
    pub(crate) fn new(seed: u64, start_micros: i64) -> Self {
        assert!((0..253_370_764_800_000_000).contains(&start_micros), "{start_micros} is not within 1970 to 9998");
        Self { random: SeededRandom::new(seed), now_micros: start_micros, live: VecDeque::with_capacity(LIVE_MAX) }
    }

    fn add(&mut self) -> Operation {
        // No two numbers of the sequence are equal, so no two seeds are.
        let seed = self.random.next_u64();
        let event = Event { seed, event_micros: self.now_micros - self.lateness_micros(), revision: 0 };
        if self.live.len() == LIVE_MAX {
            self.live.pop_front();
        }
        self.live.push_back(Live { event, removed: 0 });
        assert!(self.live.len() <= LIVE_MAX, "the memory of documents is bounded");
        self.upsert(event)
    }

    /// By how much the next event is late: mostly not at all, else from a millisecond to minutes.
    fn lateness_micros(&mut self) -> i64 {
        if !self.random.chance(1, 25) {
            return 0;
        }
        1_000 * (1 + skewed(&mut self.random, LATE_MILLISECONDS_MAX)) as i64
    }

    fn upsert(&self, event: Event) -> Operation {
        let id = event.id();
        let document = event.document(&id, self.now_micros);
        Operation::Upsert { id, document }
    }

    fn replace(&mut self) -> Operation {
        let recent = self.live.len().min(RECENT_MAX);
        let index = self.live.len() - 1 - self.random.below(recent as u64) as usize;
        let live = &mut self.live[index];
        live.event.revision += 1;
        live.removed = 0;
        let event = live.event;
        self.upsert(event)
    }

    fn patch(&mut self) -> Operation {
        let index = self.random.below(self.live.len() as u64) as usize;
        let live = &mut self.live[index];
        let id = live.event.id();
        let patch = patch::patch(&mut self.random, live, &id, self.now_micros);
        Operation::Patch { id, patch }
    }

    fn delete(&mut self) -> Operation {
        let index = self.random.below(self.live.len().div_ceil(2) as u64) as usize;
        let live = self.live.swap_remove_front(index).expect("the index is below the length");
        Operation::Delete { id: live.event.id() }
    }
}

impl Iterator for Stream {
    type Item = Operation;

    /// The next operation; there always is one.
    fn next(&mut self) -> Option<Operation> {
        let (least, end) = ADVANCE_MICROS;
        self.now_micros += (least + self.random.below(end - least)) as i64;
        let share = self.random.below(100);
        if self.live.is_empty() {
            return Some(self.add());
        }
        Some(match share {
            0..80 => self.add(),
            80..88 => self.replace(),
            88..98 => self.patch(),
            _ => self.delete(),
        })
    }
}
