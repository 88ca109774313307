//! Writes checkpoints of one shard, each as the next manifest.
//!
//! ```text
//! segments and generations without an object ──▶ checkpoint ──▶ manifest, put if absent ──▶ what no manifest names goes
//! ```
//!
//! Each step begins when the one before is durable. What fails is done again from the start, but for the segments that
//! are there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use basalt_common::log::LogIncarnation;

use super::{ShardStore, StoreError};
use crate::file::manifest::{Manifest, ObjectRef};
use crate::file::{checkpoint, generation, segment};
use crate::generation::{Generation, GenerationId};
use crate::indexes::Indexes;
use crate::replica::Checkpoint;
use crate::segment::{SegmentId, SegmentVersion};
use crate::shard::Files;

/// What writing a checkpoint took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// How many segments were written.
    pub segments: usize,
    /// How many generations.
    pub generations: usize,
    /// Bytes of all objects that were written.
    pub bytes: u64,
    /// How many objects were deleted.
    pub deleted: usize,
}

/// The only writer of a shard's objects.
#[derive(Debug)]
pub struct Writer {
    store: ShardStore,
    incarnation: LogIncarnation,
    newest: Option<Manifest>,
    /// The segments that have an object: those of the newest manifest, and those of attempts at the next.
    written: BTreeMap<SegmentId, ObjectRef>,
    /// The same of generations.
    generations: BTreeMap<GenerationId, (SegmentId, ObjectRef)>,
    /// How many attempts at the next manifest failed.
    attempts: u32,
    /// The checkpoints of those whose manifest may be there: the store failed when it was asked to create it. No other
    /// writer's manifest names one of them.
    unanswered: BTreeSet<String>,
}

impl Writer {
    /// Goes on behind the newest manifest.
    pub fn new(store: ShardStore, incarnation: LogIncarnation, newest: Option<Manifest>) -> Self {
        let written = newest.as_ref().map(|manifest| manifest.segments.clone()).unwrap_or_default();
        let generations = newest.as_ref().map(|manifest| manifest.generations.clone()).unwrap_or_default();
        Self { store, incarnation, newest, written, generations, attempts: 0, unanswered: BTreeSet::new() }
    }

    /// The objects.
    pub fn store(&self) -> &ShardStore {
        &self.store
    }

    /// The newest manifest.
    pub fn newest(&self) -> Option<&Manifest> {
        self.newest.as_ref()
    }

    /// Opens the segments and generations that the newest manifest names and the one `before` does not.
    ///
    /// # Errors
    /// As [`ShardStore::open_segment`].
    pub async fn open_new(&self, before: Option<&Manifest>) -> Result<Files, StoreError> {
        let mut files = Files::default();
        let Some(newest) = &self.newest else { return Ok(files) };
        let is_new = |id: &SegmentId| before.is_none_or(|before| !before.segments.contains_key(id));
        for (id, object) in newest.segments.iter().filter(|(id, _)| is_new(id)) {
            files.segments.push(Arc::new(self.store.open_segment(newest.number, *id, object).await?));
        }
        let is_new = |id: &GenerationId| before.is_none_or(|before| !before.generations.contains_key(id));
        for (id, (of, object)) in newest.generations.iter().filter(|(id, _)| is_new(id)) {
            let opened = self.store.open_generation(newest.number, *id, *of, object).await?;
            files.generations.push((*of, Arc::new(opened)));
        }
        Ok(files)
    }

    /// Writes a checkpoint as the next manifest, which then is the newest; new segments get the indexes said. Does nothing where there is no batch behind the
    /// newest.
    ///
    /// # Errors
    /// [`StoreError::Raced`] if another writes this shard; or the store fails, and it may be tried again.
    pub async fn write(&mut self, checkpoint: Checkpoint, indexes: &Indexes) -> Result<Written, StoreError> {
        let checkpoint = Arc::new(checkpoint);
        let mut written = Written::default();
        loop {
            match self.attempt(&checkpoint, indexes, &mut written).await {
                Ok(()) => return Ok(written),
                Err(StoreError::Raced { .. }) if self.take_unanswered().await? => {}
                Err(error) => {
                    self.attempts += 1;
                    return Err(error);
                }
            }
        }
    }

    async fn attempt(
        &mut self,
        checkpoint: &Arc<Checkpoint>,
        indexes: &Indexes,
        written: &mut Written,
    ) -> Result<(), StoreError> {
        let newest = self.newest.as_ref().map(|manifest| manifest.position);
        let Some(position) = checkpoint.shard.snapshot.position().filter(|position| Some(*position) > newest) else {
            return Ok(());
        };
        let number = self.newest.as_ref().map_or(0, |manifest| manifest.number) + 1;
        for version in unwritten(checkpoint, &self.written) {
            let (id, segment, indexes) = (version.segment().id(), Arc::clone(version.segment()), indexes.clone());
            let sealed = self.store.off_the_async_threads(move || segment::encode(&segment, &indexes)).await??;
            let bytes = sealed.bytes.clone();
            let object = self.store.put(&format!("segment-{:012}", id.0), number, self.attempts, sealed).await?;
            self.store.keep(&object, bytes).await?;
            written.segments += 1;
            written.bytes += object.length;
            self.written.insert(id, object);
        }
        for (version, made) in unwritten_generations(checkpoint, &self.generations) {
            let (id, of, indexes) = (made.id(), version.segment().id(), indexes.clone());
            let encode = move || generation::encode(&made, of, version.segment().rows(), &indexes);
            let sealed = self.store.off_the_async_threads(encode).await??;
            let bytes = sealed.bytes.clone();
            let object = self.store.put(&format!("generation-{:012}", id.0), number, self.attempts, sealed).await?;
            self.store.keep(&object, bytes).await?;
            written.generations += 1;
            written.bytes += object.length;
            self.generations.insert(id, (of, object));
        }
        let encoded = Arc::clone(checkpoint);
        let sealed = self.store.off_the_async_threads(move || checkpoint::encode(&encoded)).await?;
        let object = self.store.put("checkpoint", number, self.attempts, sealed).await?;
        written.bytes += object.length;
        let snapshot = checkpoint.shard.snapshot.segments();
        let segments = snapshot.iter().map(|version| version.segment().id());
        let generations = snapshot.iter().flat_map(|version| version.generations().into_keys());
        let manifest = Manifest {
            number,
            shard: self.store.shard(),
            incarnation: self.incarnation,
            position,
            schema_version: checkpoint.shard.schema_version,
            checkpoint: object,
            segments: segments.map(|id| (id, self.written[&id].clone())).collect(),
            generations: generations.map(|id| (id, self.generations[&id].clone())).collect(),
        };
        if let Err(error) = self.store.create_manifest(&manifest).await {
            if matches!(error, StoreError::Store { .. }) {
                self.unanswered.insert(manifest.checkpoint.name);
            }
            return Err(error);
        }
        written.deleted += self.take(manifest).await;
        Ok(())
    }

    /// Takes the manifest that is there for this writer's own, where the answer to one of its attempts was lost.
    async fn take_unanswered(&mut self) -> Result<bool, StoreError> {
        let newest = self.store.newest().await?;
        match newest.filter(|manifest| self.unanswered.contains(&manifest.checkpoint.name)) {
            Some(manifest) => {
                self.take(manifest).await;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Goes on behind a manifest of this writer, which is in the store, and deletes what it makes rubbish.
    async fn take(&mut self, manifest: Manifest) -> usize {
        (self.attempts, self.unanswered) = (0, BTreeSet::new());
        // What else was written for it is deleted below, and written again where it is needed.
        self.written.clone_from(&manifest.segments);
        self.generations.clone_from(&manifest.generations);
        let previous = self.newest.replace(manifest);
        let newest = self.newest.as_ref().expect("it was just put there");
        match self.store.delete_unnamed(newest, previous.as_ref()).await {
            Ok(deleted) => deleted,
            Err(error) => {
                // The next one deletes them.
                tracing::warn!(shard = %self.store.shard(), %error, "what no manifest names is left");
                0
            }
        }
    }
}

/// The segments of a snapshot that have no object yet.
fn unwritten(checkpoint: &Checkpoint, written: &BTreeMap<SegmentId, ObjectRef>) -> Vec<Arc<SegmentVersion>> {
    let segments = checkpoint.shard.snapshot.segments().iter();
    segments.filter(|version| !written.contains_key(&version.segment().id())).cloned().collect()
}

/// The generations of a snapshot that have no object yet, each with its segment.
fn unwritten_generations(
    checkpoint: &Checkpoint,
    written: &BTreeMap<GenerationId, (SegmentId, ObjectRef)>,
) -> Vec<(Arc<SegmentVersion>, Arc<Generation>)> {
    let segments = checkpoint.shard.snapshot.segments().iter();
    let all = segments.flat_map(|version| version.generations().into_values().map(move |of| (version, of)));
    let unwritten = all.filter(|(_, generation)| !written.contains_key(&generation.id()));
    unwritten.map(|(version, generation)| (Arc::clone(version), Arc::clone(generation))).collect()
}
