//! A disk that fails and stalls on command, and knows what a power cut would leave.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use crate::log::local::disk::{Disk, RealDisk};

/// An operation of a [`Disk`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Write,
    Sync,
    SetLength,
    Rename,
    SyncDirectory,
    Remove,
}

/// A failure to come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    /// What fails; none: everything.
    pub(super) operation: Option<Operation>,
    /// How many such operations succeed before.
    pub(super) skip: usize,
    /// How many fail then.
    pub(super) count: usize,
    pub(super) kind: io::ErrorKind,
}

/// A change of a file that only the page cache has.
enum Dirty {
    Bytes(usize, Vec<u8>),
    Length(usize),
}

/// A file as the platter has it, and what would change that.
#[derive(Default)]
struct Platter {
    durable: Vec<u8>,
    dirty: Vec<Dirty>,
}

impl Platter {
    fn write_back(&mut self) {
        for dirty in self.dirty.drain(..) {
            match dirty {
                Dirty::Bytes(offset, bytes) => {
                    let end = offset + bytes.len();
                    self.durable.resize(end.max(self.durable.len()), 0);
                    self.durable[offset..end].copy_from_slice(&bytes);
                }
                Dirty::Length(length) => self.durable.resize(length, 0),
            }
        }
    }
}

/// A file over all its names: its inode, and which of the files that had the inode in turn.
type Identity = (u64, usize);

#[derive(Default)]
struct State {
    faults: Vec<Fault>,
    stalled: bool,
    waiting: bool,
    syncs: usize,
    writes: Vec<(u64, Vec<u8>)>,
    turns: HashMap<u64, usize>,
    platters: HashMap<Identity, Platter>,
    /// The durable names.
    names: BTreeMap<OsString, Identity>,
}

impl State {
    fn identity(&self, file: &std::fs::Metadata) -> Identity {
        (file.ino(), self.turns.get(&file.ino()).copied().unwrap_or(0))
    }

    fn platter(&mut self, file: &File) -> &mut Platter {
        let identity = self.identity(&file.metadata().unwrap());
        self.platters.entry(identity).or_default()
    }
}

/// The disk. A write that fails has written half; a sync that fails has lost what it should have written, though the
/// page cache still shows it: the worst that kernels do.
#[derive(Default)]
pub(super) struct TestDisk {
    state: Mutex<State>,
    changed: Condvar,
}

impl TestDisk {
    pub(super) fn new() -> Arc<TestDisk> {
        Arc::new(TestDisk::default())
    }

    /// Fails operations from now on.
    pub(super) fn fail(&self, fault: Fault) {
        self.state.lock().unwrap().faults.push(fault);
    }

    /// Fails every operation after `skip` more.
    pub(super) fn die_after(&self, skip: usize) {
        self.fail(Fault { operation: None, skip, count: usize::MAX, kind: io::ErrorKind::Other });
    }

    /// Ends all faults; tells whether one of them had come.
    pub(super) fn mend(&self, fault: Fault) -> bool {
        let faults = std::mem::take(&mut self.state.lock().unwrap().faults);
        faults.iter().any(|left| left.count < fault.count)
    }

    /// Holds whoever writes next.
    pub(super) fn stall(&self) {
        self.state.lock().unwrap().stalled = true;
    }

    /// Waits until somebody is held.
    pub(super) fn wait_stalled(&self) {
        let state = self.state.lock().unwrap();
        drop(self.changed.wait_while(state, |state| !state.waiting).unwrap());
    }

    /// Lets everybody go on.
    pub(super) fn release(&self) {
        self.state.lock().unwrap().stalled = false;
        self.changed.notify_all();
    }

    /// How many syncs of files succeeded.
    pub(super) fn syncs(&self) -> usize {
        self.state.lock().unwrap().syncs
    }

    /// All writes that succeeded, each with its offset.
    pub(super) fn writes(&self) -> Vec<(u64, Vec<u8>)> {
        self.state.lock().unwrap().writes.clone()
    }

    /// Makes the directory that a power cut would leave now: of what was not synced, nothing.
    pub(super) fn power_cut(&self) -> tempfile::TempDir {
        let (state, directory) = (self.state.lock().unwrap(), tempfile::tempdir().unwrap());
        for (name, identity) in &state.names {
            let bytes = state.platters.get(identity).map_or(&[][..], |platter| &platter.durable);
            std::fs::write(directory.path().join(name), bytes).unwrap();
        }
        directory
    }

    fn wait_released(&self) {
        let mut state = self.state.lock().unwrap();
        state.waiting = state.stalled;
        self.changed.notify_all();
        let mut state = self.changed.wait_while(state, |state| state.stalled).unwrap();
        state.waiting = false;
    }

    fn meet(&self, operation: Operation) -> io::Result<()> {
        for fault in &mut self.state.lock().unwrap().faults {
            if fault.operation.is_some_and(|only| only != operation) || fault.count == 0 {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            fault.count -= 1;
            return Err(io::Error::new(fault.kind, "as the test wants"));
        }
        Ok(())
    }

    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        if offset == 0 {
            // Only a new file is written from its beginning; its inode may have been another's.
            *state.turns.entry(file.metadata()?.ino()).or_default() += 1;
        }
        state.platter(file).dirty.push(Dirty::Bytes(offset as usize, bytes.to_vec()));
        RealDisk.write_at(file, bytes, offset)
    }
}

impl Disk for Arc<TestDisk> {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.wait_released();
        if let Err(error) = self.meet(Operation::Write) {
            self.write(file, &bytes[..bytes.len() / 2], offset)?;
            return Err(error);
        }
        self.write(file, bytes, offset)?;
        self.state.lock().unwrap().writes.push((offset, bytes.to_vec()));
        Ok(())
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        let met = self.meet(Operation::Sync);
        let mut state = self.state.lock().unwrap();
        if let Err(error) = met {
            state.platter(file).dirty.clear();
            return Err(error);
        }
        state.syncs += 1;
        state.platter(file).write_back();
        Ok(())
    }

    fn set_length(&self, file: &File, length: u64) -> io::Result<()> {
        self.meet(Operation::SetLength)?;
        self.state.lock().unwrap().platter(file).dirty.push(Dirty::Length(length as usize));
        RealDisk.set_length(file, length)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.meet(Operation::Rename)?;
        RealDisk.rename(from, to)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.meet(Operation::SyncDirectory)?;
        let mut state = self.state.lock().unwrap();
        let mut names = BTreeMap::new();
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            names.insert(entry.file_name(), state.identity(&entry.metadata()?));
        }
        state.names = names;
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.meet(Operation::Remove)?;
        RealDisk.remove(path)
    }
}
