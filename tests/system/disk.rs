//! A shard's store for the oracles: what is in memory is flushed, merged beside the shard and read again from it, at random moments.

use std::sync::Arc;

use anyhow::{Result, ensure};
use basalt_common::batch::Batch;
use basalt_common::log::LogIncarnation;
use basalt_common::position::LogPosition;
use basalt_common::random::SeededRandom;
use basalt_common::schema::Schema;
use basalt_leaf::apply::Outcome;
use basalt_leaf::cache::Cache;
use basalt_leaf::compaction::{Compacted, Compaction, Fold, Folded};
use basalt_leaf::indexes::Indexes;
use basalt_leaf::policy::MergePolicy;
use basalt_leaf::replica::Checkpoint;
use basalt_leaf::shard::Shard;
use basalt_leaf::store::{ShardStore, Store, Writer, open_directory};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use tokio::runtime::Runtime;

use crate::model::SHARD;

pub(super) fn apply_again(
    shard: &mut Shard,
    log: &[(Batch, Vec<Outcome>)],
    next: usize,
    schema: &Schema,
) -> Result<()> {
    for (position, (batch, outcomes)) in log.iter().enumerate().skip(next) {
        let again = shard.apply(LogPosition(position as u64), batch, schema)?;
        ensure!(again == *outcomes, "batch {position} had other outcomes: {again:?}, before {outcomes:?}");
    }
    Ok(())
}

/// How often the shard was flushed and reopened, and what that wrote.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Durability {
    pub(super) flushes: u64,
    pub(super) reopens: u64,
    pub(super) merges: u64,
    pub(super) folds: u64,
    pub(super) let_go: u64,
    pub(super) segments: u64,
    pub(super) generations: u64,
    pub(super) bytes: u64,
}

/// How far a merge beside the shard is.
enum Merge {
    None,
    Begun(Compaction),
    Made(Compacted),
    Folding(Fold),
    Folded(Folded),
}

/// Where a shard's store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// In memory.
    Memory,
    /// In a folder, whose files are mapped.
    Folder,
    /// Elsewhere, of which a folder has so little that nearly all is brought anew each time.
    Elsewhere,
}

/// The bytes of a store elsewhere that are kept.
const CACHE_BYTES: u64 = 64 << 10;

/// The shard's store, and when it is flushed and reopened.
pub(super) struct Disk {
    runtime: Runtime,
    writer: Writer,
    pub(super) random: SeededRandom,
    pub(super) done: Durability,
    merge: Merge,
    /// Which indexes fields get.
    pub(super) indexes: Indexes,
    /// What of the store is in files.
    _folder: tempfile::TempDir,
}

impl Disk {
    /// A store that is empty.
    pub(super) fn new(seed: u64, kept: Kept) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let memory = || Arc::new(InMemory::new()) as Arc<dyn ObjectStore>;
        let store = match kept {
            Kept::Memory => memory().into(),
            Kept::Folder => open_directory(folder.path())?.into(),
            Kept::Elsewhere => {
                let objects = memory();
                let cache = Cache::open(folder.path(), CACHE_BYTES, Arc::clone(&objects))?;
                Store::cached(objects, Arc::new(cache))
            }
        };
        Self::of(seed, store, folder)
    }

    /// A store, of which some may be in files of a folder.
    pub(super) fn of(seed: u64, store: Store, folder: tempfile::TempDir) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let writer = Writer::new(ShardStore::new(store, SHARD), LogIncarnation(1), None);
        Ok(Self {
            runtime,
            writer,
            random: SeededRandom::new(seed),
            done: Durability::default(),
            merge: Merge::None,
            indexes: Indexes::default(),
            _folder: folder,
        })
    }

    /// Writes the shard; what was written is read from its files from then on.
    pub(super) fn flush(&mut self, shard: &mut Shard) -> Result<()> {
        let before = self.writer.newest().cloned();
        let checkpoint = Checkpoint { shard: shard.checkpoint(), ..Checkpoint::default() };
        let written = self.runtime.block_on(self.writer.write(checkpoint, &self.indexes))?;
        self.done.flushes += u64::from(written.bytes > 0);
        self.done.segments += written.segments as u64;
        self.done.generations += written.generations as u64;
        self.done.bytes += written.bytes;
        shard.take_files(self.runtime.block_on(self.writer.open_new(before.as_ref()))?);
        Ok(())
    }

    /// Goes one step on with a merge beside the shard: between two steps batches are applied.
    pub(super) fn merge(&mut self, shard: &mut Shard) -> Result<()> {
        self.merge = match std::mem::replace(&mut self.merge, Merge::None) {
            Merge::None if self.random.chance(1, 2) => {
                shard.begin_fold(self.random.chance(1, 2)).map_or(Merge::None, Merge::Folding)
            }
            Merge::None if self.random.chance(1, 2) => shard.begin_compaction().map_or(Merge::None, Merge::Begun),
            Merge::None => shard.begin_gathering().map_or(Merge::None, Merge::Begun),
            Merge::Folding(fold) => Merge::Folded(fold.run(&self.indexes)?),
            Merge::Folded(folded) => {
                shard.take_folded(&folded);
                self.done.folds += 1;
                Merge::None
            }
            Merge::Begun(compaction) => Merge::Made(compaction.run(&self.indexes)?),
            Merge::Made(compacted) => {
                shard.take_compacted(&compacted);
                self.done.merges += 1;
                Merge::None
            }
        };
        Ok(())
    }

    /// The shard as a restart makes it: from the newest manifest and the log behind it.
    pub(super) fn reopen(
        &mut self,
        log: &[(Batch, Vec<Outcome>)],
        policy: MergePolicy,
        schema: &Schema,
    ) -> Result<Shard> {
        let store = self.writer.store().clone();
        let newest = self.runtime.block_on(store.newest())?;
        ensure!(newest.as_ref() == self.writer.newest(), "another manifest is the newest: {newest:?}");
        let mut shard = match &newest {
            Some(manifest) => Shard::restore(&self.runtime.block_on(store.load(manifest))?.shard, policy)?,
            None => Shard::new(policy),
        };
        self.writer = Writer::new(store, LogIncarnation(1), newest);
        self.merge = Merge::None;
        let next = shard.newest().pin().position().map_or(0, |position| position.0 as usize + 1);
        apply_again(&mut shard, log, next, schema)?;
        self.done.reopens += 1;
        Ok(shard)
    }
}
