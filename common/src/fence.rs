//! Fences: what a reader must wait for to see a write.
//!
//! In: the positions that a write got. Out: an opaque text for the client, and back. A query that is given one answers from
//! snapshots that lie at or behind every position in it, under a schema that knows the write's fields.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::{CollectionId, ShardId};
use crate::position::LogPosition;

/// The point in a collection's shards that a write reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// The collection.
    #[serde(rename = "c")]
    pub collection: u32,
    /// The schema version that the write needs.
    #[serde(rename = "v")]
    pub schema_version: u64,
    /// Which division into shards the positions belong to.
    #[serde(rename = "e")]
    pub routing_epoch: u64,
    /// The last position in each shard that was written.
    #[serde(rename = "p")]
    pub positions: Vec<(u16, u64)>,
}

/// A text that is no fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the fence cannot be read: give it as a write's reply had it")]
pub struct FenceError;

impl Fence {
    /// The collection that it belongs to.
    pub fn collection(&self) -> CollectionId {
        CollectionId(self.collection)
    }

    /// The position to wait for in a shard, if there is one.
    pub fn position(&self, shard: ShardId) -> Option<LogPosition> {
        let (_, position) = self.positions.iter().find(|(own, _)| *own == shard.shard)?;
        (shard.collection == self.collection()).then_some(LogPosition(*position))
    }

    /// The fence as clients get it.
    pub fn to_text(&self) -> String {
        let json = serde_json::to_vec(self).expect("a fence is plain data");
        URL_SAFE_NO_PAD.encode(json)
    }

    /// Reads what [`Self::to_text`] wrote.
    ///
    /// # Errors
    /// The text is something else.
    pub fn from_text(text: &str) -> Result<Self, FenceError> {
        let json = URL_SAFE_NO_PAD.decode(text).map_err(|_| FenceError)?;
        serde_json::from_slice(&json).map_err(|_| FenceError)
    }
}

#[cfg(test)]
mod tests {
    use super::{CollectionId, Fence, FenceError, LogPosition, ShardId};

    #[test]
    fn a_fence_comes_back_and_garbage_does_not() {
        let fence = Fence { collection: 3, schema_version: 9, routing_epoch: 0, positions: vec![(0, 5), (2, 0)] };
        assert_eq!(Fence::from_text(&fence.to_text()), Ok(fence.clone()));
        let shard = |collection, shard| ShardId { collection: CollectionId(collection), shard };
        let asked = [shard(3, 0), shard(3, 1), shard(3, 2), shard(4, 0)].map(|shard| fence.position(shard));
        assert_eq!(asked, [Some(LogPosition(5)), None, Some(LogPosition(0)), None]);
        assert!(["", "x", "e30", "ä"].iter().all(|text| Fence::from_text(text) == Err(FenceError)));
    }
}
