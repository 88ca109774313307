//! A memory cgroup of our own: what is in it may use so much memory, page cache included.
//!
//! In: a process, a limit. Out: what the group has in use. Version 1 of cgroups where its memory controller is mounted, else version 2.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Where the two versions are mounted.
const FIRST: &str = "/sys/fs/cgroup/memory";
const SECOND: &str = "/sys/fs/cgroup";

/// How often a limit is set again: pages that are being written cannot be taken back at once.
const TRIES: u32 = 300;

/// How the files of a version are called, and what they say.
struct Names {
    limit: &'static str,
    no_limit: &'static str,
    in_use: &'static str,
    anonymous: &'static str,
    cached: &'static str,
}

const OF_FIRST: Names = Names {
    limit: "memory.limit_in_bytes",
    no_limit: "-1",
    in_use: "memory.usage_in_bytes",
    anonymous: "rss",
    cached: "cache",
};
const OF_SECOND: Names =
    Names { limit: "memory.max", no_limit: "max", in_use: "memory.current", anonymous: "anon", cached: "file" };

/// A group; removed when dropped, if nothing is in it any more.
pub(super) struct Cgroup {
    folder: PathBuf,
    names: Names,
}

/// What a group has in use, in bytes, and how often it had to wait for a page of a file since it was made.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usage {
    pub(super) all: u64,
    pub(super) anonymous: u64,
    pub(super) cached: u64,
    pub(super) waits: u64,
}

impl Cgroup {
    /// Makes a group without a limit.
    pub(super) fn create() -> Result<Self> {
        let first = Path::new(FIRST).join(OF_FIRST.limit).exists();
        let (root, names) = if first { (FIRST, OF_FIRST) } else { (SECOND, OF_SECOND) };
        let folder = Path::new(root).join(format!("basalt-{}", std::process::id()));
        let make = || -> std::io::Result<()> {
            if !first {
                fs::write(Path::new(root).join("cgroup.subtree_control"), "+memory")?;
            }
            fs::create_dir(&folder)
        };
        make().with_context(|| {
            format!("no memory cgroup can be made at {}: this runs as root where one may be made", folder.display())
        })?;
        let group = Self { folder, names };
        if !group.folder.join(group.names.limit).exists() {
            bail!("the cgroup {} has no limit of memory: the controller is not there", group.folder.display());
        }
        Ok(group)
    }

    /// A command that runs a program in the group.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("sh");
        let enter = format!("echo $$ > {}/cgroup.procs && exec \"$0\" \"$@\"", self.folder.display());
        command.arg("-c").arg(enter).arg(program);
        command
    }

    /// Lets the group have so many bytes at most; takes back what it has more than that.
    pub(super) async fn limit(&self, bytes: Option<u64>) -> Result<()> {
        let file = self.folder.join(self.names.limit);
        let text = bytes.map_or_else(|| self.names.no_limit.to_string(), |bytes| bytes.to_string());
        let mut tries = 0;
        while let Err(error) = fs::write(&file, &text) {
            tries += 1;
            if tries == TRIES {
                return Err(error).with_context(|| format!("{} cannot be {text}", file.display()));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Takes back all pages of files. Nothing may run in the group.
    pub(super) fn forget_files(&self) -> Result<()> {
        let force = self.folder.join("memory.force_empty");
        match force.exists() {
            true => fs::write(force, "0")?,
            // It fails where less than that is there, and takes what is there.
            false => drop(fs::write(self.folder.join("memory.reclaim"), "1T")),
        }
        Ok(())
    }

    /// What it has in use.
    pub(super) fn usage(&self) -> Result<Usage> {
        let all = fs::read_to_string(self.folder.join(self.names.in_use))?.trim().parse()?;
        let text = fs::read_to_string(self.folder.join("memory.stat"))?;
        let find = |name: &str| -> Result<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            Ok(line.with_context(|| format!("memory.stat has no {name}"))?.trim().parse()?)
        };
        let (anonymous, cached) = (find(self.names.anonymous)?, find(self.names.cached)?);
        Ok(Usage { all, anonymous, cached, waits: find("pgmajfault")? })
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // It stays where something is in it; there is nothing else to do about that here.
        let _ = fs::remove_dir(&self.folder);
    }
}
