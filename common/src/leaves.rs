//! The leaves, and which of them owns a shard.
//!
//! In: names and ways to leaves. Out: the owner of a shard. Placement is by rendezvous hashing over the names, so that every
//! node comes to the same answer.

use std::sync::Arc;

use url::Url;

use crate::calls::LeafCalls;
use crate::failure::{Failure, FailureKind};
use crate::id::ShardId;
use crate::placement::owner;

/// One leaf.
#[derive(Debug, Clone)]
pub struct LeafNode {
    /// Where plans are sent.
    pub url: Url,
    /// The way of calls.
    pub calls: Arc<dyn LeafCalls>,
}

/// All leaves.
#[derive(Debug, Clone)]
pub struct Leaves {
    nodes: Arc<[LeafNode]>,
    names: Arc<[String]>,
}

impl Leaves {
    /// Makes the set of leaves.
    pub fn new(nodes: Vec<LeafNode>) -> Self {
        let names = nodes.iter().map(|node| node.url.to_string()).collect();
        Self { nodes: nodes.into(), names }
    }

    /// All of them.
    pub fn all(&self) -> &[LeafNode] {
        &self.nodes
    }

    /// The leaf that owns a shard.
    ///
    /// # Errors
    /// There is no leaf at all.
    pub fn owner(&self, shard: ShardId) -> Result<&LeafNode, Failure> {
        let index = owner(shard, &self.names);
        index.map(|index| &self.nodes[index]).ok_or_else(|| Failure::new(FailureKind::Unavailable, "there is no leaf"))
    }
}
