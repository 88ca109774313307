//! What the files of a collection's keys take, on disk and in the page cache.
//!
//! In: the folder of a store. Out: bytes of key runs and of `_id`s, and how many of them are in memory (`mincore`), whoever reads them.
//! Nothing of them is read for that but heads and ends, a page each.

use std::ffi::{c_int, c_uchar, c_void};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, bail};
use basalt_common::id::ShardId;
use basalt_leaf::file::container::{Container, End, Kind, Part};
use basalt_leaf::key_run::KeyRun;
use basalt_leaf::store::{ShardStore, open_directory};
use bytes::Bytes;
use memmap2::{Advice, Mmap};

const PAGE: usize = 4096;

unsafe extern "C" {
    fn mincore(address: *mut c_void, length: usize, pages: *mut c_uchar) -> c_int;
}

/// Bytes of parts of files.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FileBytes {
    /// On disk.
    pub(super) there: u64,
    /// In the page cache.
    pub(super) resident: u64,
}

impl FileBytes {
    fn add(&mut self, other: Self) {
        self.there += other.there;
        self.resident += other.resident;
    }
}

/// What a collection's keys take.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct KeyFiles {
    /// How many segments there are.
    pub(super) segments: u64,
    /// Their rows, dead ones included.
    pub(super) rows: u64,
    /// The lines of key runs: what every lookup touches.
    pub(super) lines: FileBytes,
    /// The rows of key runs: what a hit touches.
    pub(super) places: FileBytes,
    /// The `_id`s: what a hit is compared with.
    pub(super) ids: FileBytes,
    /// All of the segments' files.
    pub(super) all: FileBytes,
}

/// Which pages of a file are in memory.
fn resident(mapped: &Mmap) -> Result<Vec<u8>> {
    let mut pages = vec![0; mapped.len().div_ceil(PAGE)];
    // SAFETY: the range is mapped, and there is a byte for each of its pages.
    let told = unsafe { mincore(mapped.as_ptr().cast_mut().cast(), mapped.len(), pages.as_mut_ptr()) };
    match told {
        0 => Ok(pages),
        _ => Err(io::Error::last_os_error()).context("mincore"),
    }
}

/// How many bytes of a range are in memory.
fn resident_bytes(pages: &[u8], range: &Range<usize>) -> u64 {
    let within = |page: usize| range.end.min((page + 1) * PAGE) - range.start.max(page * PAGE);
    let held = (range.start / PAGE..range.end.div_ceil(PAGE)).filter(|page| pages[*page] & 1 == 1);
    held.map(|page| within(page) as u64).sum()
}

impl KeyFiles {
    /// Looks at the segments that the newest manifests of shards name.
    pub(super) async fn look(store: &Path, shards: &[ShardId]) -> Result<Self> {
        let mut seen = Self::default();
        for shard in shards {
            let objects = ShardStore::new(open_directory(store)?, *shard);
            let Some(manifest) = objects.newest().await? else { continue };
            for object in manifest.segments.values() {
                // What was merged since is deleted.
                if let Ok(file) = File::open(store.join(shard.to_string()).join(&object.name)) {
                    seen.add(&file)?;
                }
            }
        }
        Ok(seen)
    }

    fn add(&mut self, file: &File) -> Result<()> {
        // SAFETY: an object never changes once it is there.
        let mapped = unsafe { Mmap::map(file)? };
        mapped.advise(Advice::Random)?;
        let pages = resident(&mapped)?;
        let all = 0..mapped.len();
        let bytes = Bytes::from_owner(mapped);
        let End::Known(object) = Container::open_end("segment", Kind::Segment, &bytes, bytes.len())? else {
            bail!("all of the object is here")
        };
        let run = object.places(Part::KeyRun).next().context("a segment has a key run")?;
        let ids = object.places(Part::Keys).next().context("a segment has _ids")?;
        let head = bytes[run.clone()].first_chunk().context("a key run has a head")?;
        let rows = u32::from_le_bytes(*head);
        let lines = KeyRun::open(bytes.slice(run.clone()), rows as usize)?.hot_bytes();
        self.segments += 1;
        self.rows += u64::from(rows);
        let split = run.start + lines;
        let parts = [
            (&mut self.lines, run.start..split),
            (&mut self.places, split..run.end),
            (&mut self.ids, ids),
            (&mut self.all, all),
        ];
        for (part, range) in parts {
            part.add(FileBytes { there: range.len() as u64, resident: resident_bytes(&pages, &range) });
        }
        Ok(())
    }
}
