//! A leaf process that makes its shards from a seed, and the handle by which a test holds one.
//!
//! The process prints its port, then answers lines on its standard input: `counters` with its totals as JSON. It ends
//! when its input does, so that none outlives its test.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::tables::Table;
use crate::workspace;

/// What a leaf process is told to hold.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LeafSpec {
    /// The port to listen on; 0 for any.
    pub port: u16,
    /// The tables and, of each, the shards to hold.
    pub tables: Vec<(Table, Vec<u32>)>,
}

/// A leaf's totals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Rows its scans read.
    pub rows_scanned: u64,
    /// Bytes it sent.
    pub bytes_sent: u64,
}

/// A running leaf process; killed when dropped.
#[derive(Debug)]
pub struct LeafProcess {
    spec: LeafSpec,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl LeafProcess {
    /// Starts one and waits until it listens.
    ///
    /// # Errors
    /// The program is not built (`cargo build --workspace` makes it), or it ended before it listened.
    pub fn start(mut spec: LeafSpec) -> Result<Self> {
        let program = program("harness-leaf")?;
        let mut child = Command::new(&program)
            .arg(serde_json::to_string(&spec)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}; run `cargo build --workspace` first", program.display()))?;
        let input = child.stdin.take().context("the leaf has no input")?;
        let mut output = BufReader::new(child.stdout.take().context("the leaf has no output")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        spec.port = line.trim().parse().with_context(|| format!("the leaf said {line:?} instead of its port"))?;
        Ok(Self { spec, child, input, output })
    }

    /// Its address.
    ///
    /// # Panics
    /// Never: the address is well formed.
    pub fn url(&self) -> Url {
        Url::parse(&format!("http://127.0.0.1:{}", self.spec.port)).expect("a host and a port are an address")
    }

    /// Its totals since it started.
    ///
    /// # Errors
    /// The process has ended.
    pub fn totals(&mut self) -> Result<Totals> {
        writeln!(self.input, "counters")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("the leaf said {line:?} instead of its counters"))
    }

    /// Kills it with SIGKILL and waits until it is gone.
    ///
    /// # Errors
    /// The process cannot be signalled.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts it again, with the same shards on the same port.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn restart(&mut self) -> Result<()> {
        *self = Self::start(self.spec.clone())?;
        Ok(())
    }
}

impl Drop for LeafProcess {
    fn drop(&mut self) {
        // The process may have ended already; there is nothing else to do about an error here.
        let _ = self.kill();
    }
}

/// Where cargo puts the programs of this workspace.
///
/// # Errors
/// It was not built.
pub fn program(name: &str) -> Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
    let program = target.join("debug").join(name);
    ensure!(program.is_file(), "{} is not there; run `cargo build --workspace` first", program.display());
    Ok(program)
}
