//! The writer: the one thread that changes the log's directory.
//!
//! In come batches from `queue`; out come durable records, into the index and then to their callers. It owns the active
//! file, the moment at which a commit becomes durable, and the files' coming and going. Bounds of a batch are left to
//! `queue`, what is durable after a crash to `recovery`.
//!
//! A commit is one write and one sync for all appends of a batch, whatever their shards. After a write or sync that
//! failed nobody knows what is on disk, and a sync that succeeds later proves nothing, as the kernel may have dropped
//! the pages (A. Rebello et al., "Can Applications Recover from fsync Failures?", ATC 2020): the writer stops, for good.
//! The exception is a write for which there is no space: what it left is cut off, the cut is synced, and the log goes on.
//!
//! INVARIANT: a commit begins only when everything before it is synced, and the file that it goes to is listed in the
//! checkpoint. `recovery` relies on both.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use super::super::{FullCause, LogError};
use super::checkpoint::Checkpoint;
use super::disk::{Failure, Reserve, is_full};
use super::file::{FILE_HEADER_BYTES, LogFile};
use super::frame::{FrameHeader, FrameSpan, frame_bytes};
use super::index::Placed;
use super::queue::{Append, Queue, Truncate};
use super::shared::{Life, Shared};
use crate::id::ShardId;
use crate::position::LogPosition;

/// Memory kept for encoding between commits: larger buffers, of single large records, are given back.
const BUFFER_KEPT_BYTES: usize = 16 << 20;

/// The state of the writing thread.
pub(super) struct Writer {
    shared: Arc<Shared>,
    queue: Queue,
    active: Arc<LogFile>,
    /// The active file's durable length.
    end: u64,
    /// The last file that the checkpoint lists.
    listed: u64,
    /// Length of all files.
    log_bytes: u64,
    buffer: Vec<u8>,
    reserve: Reserve,
}

impl Writer {
    /// Takes over a recovered log, whose checkpoint lists the files up to `listed`.
    pub(super) fn new(shared: Arc<Shared>, queue: Queue, listed: u64) -> Writer {
        let (active, end) = shared.index().last_file().expect("recovery leaves a last file");
        let ((_, log_bytes), reserve) = (shared.index().size(), Reserve::of(&shared.directory));
        Writer { shared, queue, active, end, listed, log_bytes, buffer: Vec::new(), reserve }
    }

    /// Serves the queue until it is closed or something breaks, and ends the log's life accordingly.
    pub(super) fn run(mut self) {
        let end = match self.serve() {
            Ok(()) => Life::Closed,
            Err(error) => {
                let error = error.into_poison();
                tracing::error!(directory = %self.shared.directory.display(), %error, "the log stopped");
                Life::Poisoned(error)
            }
        };
        self.shared.end(end);
    }

    fn serve(&mut self) -> Result<(), LogError> {
        self.reclaim()?;
        self.reserve.renew();
        while let Some(batch) = self.queue.next_batch() {
            self.commit(batch.appends)?;
            self.truncate(batch.truncations)?;
        }
        // Recovery then knows the last commit to have been acknowledged.
        self.unless_full(Writer::checkpoint)
    }

    /// Carries out something that may as well be done later, if there is space for it.
    fn unless_full(&mut self, action: impl FnOnce(&mut Writer) -> Result<(), Failure>) -> Result<(), LogError> {
        match action(self) {
            Ok(()) => Ok(()),
            Err(Failure::Full) => {
                tracing::warn!(directory = %self.shared.directory.display(), "no space to tidy the log, will try again");
                Ok(())
            }
            Err(Failure::Broken(error)) => Err(error),
        }
    }

    /// Makes the appends durable together and answers them.
    fn commit(&mut self, appends: Vec<Append>) -> Result<(), LogError> {
        let appends = self.refuse_overflow(appends);
        if appends.is_empty() {
            return Ok(());
        }
        match self.write(&appends) {
            Ok(placed) => {
                self.shared.count_commit(placed.len());
                self.shared.index().publish(&placed, self.end);
                for (append, placed) in appends.into_iter().zip(placed) {
                    // Whoever no longer waits needs no answer.
                    let _ = append.answer.send(Ok(placed.position));
                }
                Ok(())
            }
            Err(Failure::Full) => {
                for append in appends {
                    let _ = append.answer.send(Err(self.full(FullCause::Disk)));
                }
                Ok(())
            }
            Err(Failure::Broken(error)) => Err(error),
        }
    }

    fn full(&self, cause: FullCause) -> LogError {
        LogError::Full { path: self.shared.directory.clone(), cause }
    }

    /// Answers the appends that would exceed the log's bound, and returns the others.
    fn refuse_overflow(&self, appends: Vec<Append>) -> Vec<Append> {
        let log_bytes_max = self.shared.config.log_bytes_max;
        let mut log_bytes = self.log_bytes + FILE_HEADER_BYTES;
        let mut fitting = Vec::with_capacity(appends.len());
        for append in appends {
            let bytes = frame_bytes(&append.record);
            if log_bytes + bytes > log_bytes_max {
                let _ = append.answer.send(Err(self.full(FullCause::Setting { log_bytes_max })));
                continue;
            }
            log_bytes += bytes;
            fitting.push(append);
        }
        fitting
    }

    /// Writes one commit and syncs it. Tells where the records lie.
    fn write(&mut self, appends: &[Append]) -> Result<Vec<Placed>, Failure> {
        let bytes: u64 = appends.iter().map(|append| frame_bytes(&append.record)).sum();
        if self.end > FILE_HEADER_BYTES && self.end + bytes > self.shared.config.file_bytes_max {
            self.roll()?;
        }
        if self.listed != self.active.number {
            self.checkpoint()?;
        }
        let placed = self.encode(appends);
        assert_eq!(self.buffer.len() as u64, bytes, "a commit is as long as its frames");
        self.write_buffer()?;
        self.end += bytes;
        self.log_bytes += bytes;
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_KEPT_BYTES);
        Ok(placed)
    }

    /// Gives the records their positions and their places behind the active file's end.
    fn encode(&mut self, appends: &[Append]) -> Vec<Placed> {
        let mut positions: HashMap<ShardId, u64> = HashMap::new();
        {
            let index = self.shared.index();
            for append in appends {
                positions.entry(append.shard).or_insert_with(|| index.range(append.shard).end);
            }
        }
        self.buffer.clear();
        let mut placed = Vec::with_capacity(appends.len());
        for append in appends {
            let next = positions.get_mut(&append.shard).expect("each shard was entered above");
            let (shard, position) = (append.shard, LogPosition(*next));
            *next += 1;
            let offset = self.end + self.buffer.len() as u64;
            let header = FrameHeader::new(shard, position, self.end, &append.record);
            header.encode(self.active.seed, offset, &append.record, &mut self.buffer);
            let span = FrameSpan::new(offset, header.frame_bytes()).expect("the settings keep files below 4 GiB");
            placed.push(Placed { shard, position, span });
        }
        placed
    }

    /// Writes the encoded commit behind the active file's end and syncs it.
    fn write_buffer(&self) -> Result<(), Failure> {
        let (disk, LogFile { path, file, .. }) = (&*self.shared.disk, &*self.active);
        let broken = |action| move |error: io::Error| Failure::Broken(LogError::io(action, path, error));
        match disk.write_at(file, &self.buffer, self.end) {
            Ok(()) => {}
            Err(error) if is_full(&error) => {
                disk.set_length(file, self.end).map_err(broken("cut"))?;
                disk.sync(file).map_err(broken("sync"))?;
                return Err(Failure::Full);
            }
            Err(error) => return Err(broken("write")(error)),
        }
        disk.sync(file).map_err(broken("sync"))
    }

    /// Begins a new file. The next commit lists it, and so does any checkpoint.
    fn roll(&mut self) -> Result<(), Failure> {
        let Shared { disk, directory, incarnation, .. } = &*self.shared;
        let made = LogFile::make(&**disk, directory, *incarnation, self.active.number + 1, self.end)?;
        self.active = Arc::new(made);
        self.end = FILE_HEADER_BYTES;
        self.log_bytes += FILE_HEADER_BYTES;
        self.shared.index().add_file(Arc::clone(&self.active), self.end);
        Ok(())
    }

    /// Writes the present state into the checkpoint, without the files that hold nothing live, and removes those.
    fn checkpoint(&mut self) -> Result<(), Failure> {
        let (mut checkpoint, dead) = {
            let index = self.shared.index();
            (index.checkpoint(self.shared.incarnation), index.dead_files())
        };
        checkpoint.files.retain(|number, _| !dead.contains(number));
        self.store(&checkpoint)?;
        for number in dead {
            let (file, bytes) = self.shared.index().remove_file(number);
            self.log_bytes -= bytes;
            if let Err(error) = self.shared.disk.remove(&file.path) {
                tracing::warn!(path = %file.path.display(), %error, "failed to remove a dead file, the next start will");
            }
        }
        Ok(())
    }

    fn store(&mut self, checkpoint: &Checkpoint) -> Result<(), Failure> {
        checkpoint.store(&*self.shared.disk, &self.shared.directory)?;
        self.listed = checkpoint.last_file();
        Ok(())
    }

    /// Does what lets go of records; in space that was kept for it, if there is no other.
    fn let_go<T>(&mut self, action: impl Fn(&mut Writer) -> Result<T, Failure>) -> Result<T, Failure> {
        match action(self) {
            Err(Failure::Full) if self.reserve.give_up() => action(self),
            done => done,
        }
    }

    /// Moves shards' starts with one checkpoint, answers, and removes what died of it.
    fn truncate(&mut self, truncations: Vec<Truncate>) -> Result<(), LogError> {
        if truncations.is_empty() {
            return Ok(());
        }
        let (allowed, refused) = self.check_truncations(truncations);
        for (truncate, error) in refused {
            let _ = truncate.answer.send(Err(error));
        }
        let answer = match self.let_go(|writer| writer.store_starts(&allowed)) {
            Ok(()) => Ok(()),
            Err(Failure::Full) => Err(self.full(FullCause::Disk)),
            Err(Failure::Broken(error)) => return Err(error),
        };
        if answer.is_ok() {
            self.reclaim()?;
            self.reserve.renew();
        }
        for truncate in allowed {
            let _ = truncate.answer.send(answer.clone());
        }
        Ok(())
    }

    /// Separates the truncations that pass their shard's end.
    fn check_truncations(&self, truncations: Vec<Truncate>) -> (Vec<Truncate>, Vec<(Truncate, LogError)>) {
        let index = self.shared.index();
        let (mut allowed, mut refused) = (Vec::new(), Vec::new());
        for truncate in truncations {
            match index.check(truncate.shard, truncate.below) {
                Err(error @ LogError::PastEnd { .. }) => refused.push((truncate, error)),
                _ => allowed.push(truncate),
            }
        }
        (allowed, refused)
    }

    /// Makes the new starts durable, then effective: the order in which a crash cannot bring an old start back.
    fn store_starts(&mut self, truncations: &[Truncate]) -> Result<(), Failure> {
        let mut checkpoint = self.shared.index().checkpoint(self.shared.incarnation);
        let mut raised: BTreeMap<ShardId, LogPosition> = BTreeMap::new();
        for truncate in truncations {
            let range = checkpoint.shards.entry(truncate.shard).or_default();
            if truncate.below.0 > range.start {
                range.start = truncate.below.0;
                raised.insert(truncate.shard, truncate.below);
            }
        }
        if raised.is_empty() {
            return Ok(());
        }
        self.store(&checkpoint)?;
        let mut index = self.shared.index();
        for (shard, below) in raised {
            index.raise(shard, below);
        }
        Ok(())
    }

    /// Removes the files in which nothing is live; the active one too, if it is large enough, by beginning another.
    fn reclaim(&mut self) -> Result<(), LogError> {
        let dead_bytes_max = self.shared.config.file_dead_bytes_max.max(FILE_HEADER_BYTES);
        if self.end > dead_bytes_max && self.shared.index().last_is_dead() {
            self.unless_full(|writer| writer.let_go(Writer::roll))?;
        }
        let dead = self.shared.index().dead_files();
        match dead.is_empty() {
            true => Ok(()),
            false => self.unless_full(|writer| writer.let_go(Writer::checkpoint)),
        }
    }
}

impl Drop for Writer {
    /// Ends the log's life if nothing else did, which is when this thread panicked.
    fn drop(&mut self) {
        let (path, cause) = (self.shared.directory.clone(), Arc::new(io::Error::other("the writer panicked")));
        self.shared.end(Life::Poisoned(LogError::Poisoned { action: "write to", path, cause }));
    }
}
