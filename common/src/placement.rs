//! Which leaf owns a shard.
//!
//! In: the leaves, by name. Out: one of them for each shard. By rendezvous hashing (Thaler and Ravishankar, "Using
//! name-based mappings to increase hit rates"): every node that knows the same leaves chooses the same owner, and a leaf
//! that comes or goes moves only its own share.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::id::ShardId;

/// The index, in `leaves`, of the owner of a shard; none where there are no leaves.
pub fn owner(shard: ShardId, leaves: &[impl AsRef<str>]) -> Option<usize> {
    let seed = u64::from(shard.collection.0) << 16 | u64::from(shard.shard);
    let weight = |index: &usize| {
        let name = leaves[*index].as_ref();
        (xxh3_64_with_seed(name.as_bytes(), seed), name)
    };
    (0..leaves.len()).max_by_key(weight)
}

#[cfg(test)]
mod tests {
    use super::owner;
    use crate::id::{CollectionId, ShardId};

    #[test]
    fn a_leaf_that_goes_moves_only_its_own_shards() {
        let all = ["a", "b", "c"];
        let shard = |index: u32| ShardId { collection: CollectionId(index / 8), shard: (index % 8) as u16 };
        let mut counts = [0; 3];
        for index in 0..3000 {
            let before = owner(shard(index), &all).expect("there are leaves");
            counts[before] += 1;
            let after = owner(shard(index), &all[..2]).expect("there are leaves");
            assert!(before == 2 || before == after, "shard {index} moved from {before} to {after}");
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
        assert_eq!(owner(shard(0), &[] as &[&str]), None);
    }
}
