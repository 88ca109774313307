//! Which shard a document belongs to.
//!
//! In: the bytes of an `_id`. Out: a shard number. The hash is part of the format: changing it would send a document's
//! next operation to another shard than its last.

use xxhash_rust::xxh3::xxh3_64;

/// The shard, of `shards`, that an `_id` belongs to: XXH3-64 of its bytes, scaled to the range by the high half of a
/// 128-bit product (Lemire, "A fast alternative to the modulo reduction").
///
/// # Panics
/// `shards` is 0.
pub fn shard_of(id: &[u8], shards: u32) -> u32 {
    assert!(shards > 0, "a collection has at least one shard");
    ((u128::from(xxh3_64(id)) * u128::from(shards)) >> 64) as u32
}

#[cfg(test)]
mod tests {
    use super::shard_of;

    /// The format's own numbers: a change here breaks every collection that exists.
    #[test]
    fn the_hash_is_frozen() {
        let ids = ["", "a", "2489395767", "user-1", "😀"];
        let shards: Vec<u32> = ids.iter().map(|id| shard_of(id.as_bytes(), 1 << 20)).collect();
        assert_eq!(shards, [184_424, 945_251, 986_370, 509_793, 46_334]);
    }

    #[test]
    fn ids_spread_evenly() {
        let mut counts = [0_u32; 16];
        (0..16_000).for_each(|id| counts[shard_of(format!("id-{id}").as_bytes(), 16) as usize] += 1);
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
    }
}
