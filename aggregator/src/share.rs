//! What one query may take, for as long as anything of it runs: its memory, and its place among those that run at once.
//!
//! In: a bound, a place. Out: a memory pool, which the query's tasks hold, those too that nobody waits for any more. What a leaf reads for it
//! meanwhile, on threads that may wait for a store, does not.

use std::fmt;

use datafusion::common::Result;
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryLimit, MemoryPool, MemoryReservation};
use tokio::sync::OwnedSemaphorePermit;

/// The share of one query.
#[derive(Debug)]
pub(crate) struct QueryShare {
    memory: GreedyMemoryPool,
    _place: OwnedSemaphorePermit,
}

impl QueryShare {
    /// So many bytes, at a place that is given back when nothing of the query is left.
    pub(crate) fn new(bytes_max: usize, place: OwnedSemaphorePermit) -> Self {
        Self { memory: GreedyMemoryPool::new(bytes_max), _place: place }
    }
}

impl fmt::Display for QueryShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.memory.fmt(f)
    }
}

impl MemoryPool for QueryShare {
    fn name(&self) -> &str {
        self.memory.name()
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.memory.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.memory.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.memory.try_grow(reservation, additional)
    }

    fn reserved(&self) -> usize {
        self.memory.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.memory.memory_limit()
    }
}
