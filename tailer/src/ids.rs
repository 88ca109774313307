//! `_id`s for documents that come without one.
//!
//! Operation ids for increments that come without one: made alike, so that what arrives again is known.
//!
//! In: the time, or a request's key and an item's number, or a position in a source. Out: UUIDs as text: of version 7 (time
//! first, so that they are in the order in which they were made, about), or of version 8 and the same again for the same item
//! of the same request, or the same position.

use std::sync::{Mutex, PoisonError};

use basalt_common::batch::RequestKey;
use basalt_common::position::SourcePartition;
use basalt_common::random::SeededRandom;
use uuid::{Builder, Uuid};
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128, xxh3_128_with_seed};

/// Makes `_id`s.
#[derive(Debug)]
pub struct IdMaker {
    random: Mutex<SeededRandom>,
}

impl IdMaker {
    /// Makes a maker whose `_id`s its seed decides.
    pub fn new(seed: u64) -> Self {
        Self { random: Mutex::new(SeededRandom::new(seed)) }
    }

    /// An `_id` that no other call gives.
    pub fn next(&self, now_micros: i64) -> String {
        let bytes = self.bits().to_le_bytes();
        let counter: &[u8; 10] = bytes.first_chunk().expect("16 bytes are more than 10");
        let millis = u64::try_from(now_micros / 1000).unwrap_or_default();
        text(Builder::from_unix_timestamp_millis(millis, counter).into_uuid())
    }

    /// An operation id that no other call gives.
    pub fn next_operation(&self) -> u128 {
        self.bits().max(1)
    }

    fn bits(&self) -> u128 {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        u128::from(random.next_u64()) << 64 | u128::from(random.next_u64())
    }
}

/// The `_id` that bits make: the same for the same.
pub fn id_of(bits: u128) -> String {
    text(Builder::from_custom_bytes(bits.to_le_bytes()).into_uuid())
}

/// What names an item of a request with a key: the same at every try, never 0.
pub fn of_request(key: &RequestKey, index: u64) -> u128 {
    let seed = xxh3_64_with_seed(&index.to_le_bytes(), key.body_hash);
    xxh3_128_with_seed(key.key.as_bytes(), seed).max(1)
}

/// What names a record of a source: the same whenever it is read, never 0.
pub fn of_position(partition: SourcePartition, offset: u64) -> u128 {
    let SourcePartition { source, incarnation, partition } = partition;
    let mut position = [0; 32];
    position[..16].copy_from_slice(&incarnation.to_le_bytes());
    position[16..20].copy_from_slice(&source.0.to_le_bytes());
    position[20..24].copy_from_slice(&partition.to_le_bytes());
    position[24..].copy_from_slice(&offset.to_le_bytes());
    xxh3_128(&position).max(1)
}

fn text(id: Uuid) -> String {
    id.hyphenated().to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{IdMaker, RequestKey, id_of, of_request};

    #[test]
    fn made_ids_differ_and_those_of_a_request_come_back() {
        let maker = IdMaker::new(7);
        let made: HashSet<String> = (0..10_000).map(|at| maker.next(1_700_000_000_000_000 + at)).collect();
        assert_eq!(made.len(), 10_000);
        let (earlier, later) = (maker.next(1_700_000_000_000_000), maker.next(1_700_000_001_000_000));
        assert!(earlier < later, "{earlier} {later}");
        let key = |key: &str| RequestKey { key: key.into(), body_hash: 1 };
        let of = |text: &str, index| id_of(of_request(&key(text), index));
        assert_eq!(of("a", 0), of("a", 0));
        assert_eq!(HashSet::from([of("a", 0), of("a", 1), of("b", 0)]).len(), 3);
    }
}
