//! Requests that came with a key: so that a retry does nothing twice.
//!
//! In: the keys of batches, in the order of the log. Out: whether a batch is new, came before, or contradicts the one that
//! did. A function of the log alone: time is the batches' own.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use basalt_common::batch::RequestKey;
use basalt_common::calls::Outcomes;

/// How long keys are kept, in microseconds of logged time: a day, as clients that retry from a queue may take.
const KEPT_MICROS: i64 = 24 * 60 * 60 * 1_000_000;

/// The most keys that a shard keeps: some tens of megabytes. The oldest go first.
const KEYS_MAX: usize = 100_000;

/// What is known of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Nothing: it is to be applied.
    New,
    /// It was applied, with these outcomes.
    Before(Outcomes),
    /// Its key came with another body.
    Conflict,
}

/// A request that came with a key, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The key and the hash of its body.
    pub request: RequestKey,
    /// The logged time until which it is kept, in microseconds since 1970.
    pub until_micros: i64,
    /// What became of it.
    pub outcomes: Outcomes,
}

/// The keys of a shard's recent requests.
#[derive(Debug, Default)]
pub struct Requests {
    by_key: HashMap<String, Arc<Kept>>,
    /// INVARIANT: those of `by_key`, oldest first.
    order: VecDeque<Arc<Kept>>,
}

impl Requests {
    /// The requests that were kept before, oldest first.
    pub fn restore(kept: Vec<Arc<Kept>>) -> Self {
        let by_key = kept.iter().map(|kept| (kept.request.key.clone(), Arc::clone(kept))).collect();
        Self { by_key, order: kept.into() }
    }

    /// All that are kept, oldest first.
    pub fn kept(&self) -> Vec<Arc<Kept>> {
        self.order.iter().cloned().collect()
    }

    /// Looks a request up.
    pub fn look(&self, request: &RequestKey) -> Seen {
        match self.by_key.get(&request.key) {
            None => Seen::New,
            Some(kept) if kept.request.body_hash == request.body_hash => Seen::Before(kept.outcomes.clone()),
            Some(_) => Seen::Conflict,
        }
    }

    /// Keeps what became of a new request.
    pub fn keep(&mut self, request: &RequestKey, outcomes: &Outcomes, logged_at_micros: i64) {
        let until_micros = logged_at_micros.saturating_add(KEPT_MICROS);
        let kept = Arc::new(Kept { request: request.clone(), until_micros, outcomes: outcomes.clone() });
        self.by_key.insert(request.key.clone(), Arc::clone(&kept));
        self.order.push_back(kept);
        if self.order.len() > KEYS_MAX {
            self.forget_oldest();
        }
    }

    /// Forgets what is older than a day at `logged_at_micros`.
    pub fn forget_until(&mut self, logged_at_micros: i64) {
        while self.order.front().is_some_and(|kept| kept.until_micros < logged_at_micros) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(kept) = self.order.pop_front() {
            self.by_key.remove(&kept.request.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{KEPT_MICROS, KEYS_MAX, Outcomes, RequestKey, Requests, Seen};

    fn request(key: usize, body_hash: u64) -> RequestKey {
        RequestKey { key: key.to_string(), body_hash }
    }

    #[test]
    fn a_key_is_known_for_a_day_and_within_the_bound() {
        let mut requests = Requests::default();
        let outcomes = Outcomes { conflict: false, failures: vec![(3, "no".into())], ..Outcomes::default() };
        requests.keep(&request(0, 1), &outcomes, 10);
        assert_eq!(requests.look(&request(0, 1)), Seen::Before(outcomes));
        assert_eq!(requests.look(&request(0, 2)), Seen::Conflict);
        requests.forget_until(10 + KEPT_MICROS);
        assert_ne!(requests.look(&request(0, 1)), Seen::New);
        requests.forget_until(11 + KEPT_MICROS);
        assert_eq!(requests.look(&request(0, 1)), Seen::New);
        (0..=KEYS_MAX).for_each(|key| requests.keep(&request(key, 1), &Outcomes::default(), 0));
        assert_eq!(requests.look(&request(0, 1)), Seen::New, "the oldest went");
        assert_ne!(requests.look(&request(1, 1)), Seen::New);
        assert_eq!(requests.by_key.len(), requests.order.len());
    }
}
