//! A PostgreSQL server, for benchmarks beside it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::broker::free_ports;
use crate::workspace;

/// One with its settings as they come; stopped when dropped.
#[derive(Debug)]
pub struct Postgres {
    data: TempDir,
    port: u16,
}

fn script() -> PathBuf {
    workspace().join("tests/services/postgres.sh")
}

impl Postgres {
    /// Starts one; as root it installs Debian's PostgreSQL where there is none.
    ///
    /// # Errors
    /// It is not there, or does not start.
    pub fn start() -> Result<Self> {
        let postgres = Self { data: tempfile::tempdir()?, port: free_ports()? };
        let up = Command::new(script()).arg("up").arg(postgres.data.path()).arg(postgres.port.to_string()).status()?;
        ensure!(up.success(), "PostgreSQL does not start");
        Ok(postgres)
    }

    /// Runs SQL, commands of psql among it; returns what it prints, a line for each row.
    ///
    /// # Errors
    /// The server refuses a statement.
    pub fn run(&self, sql: &str) -> Result<String> {
        let file = self.data.path().join("run.sql");
        std::fs::write(&file, sql)?;
        let out =
            Command::new(script()).arg("run").arg(self.data.path()).arg(self.port.to_string()).arg(&file).output()?;
        ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        Ok(String::from_utf8(out.stdout)?.trim().to_string())
    }

    /// The one value that a query gives, and the median time of so many runs behind it, in milliseconds, as psql measures it.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn time(&self, query: &str, runs: usize) -> Result<(String, f64)> {
        let printed = self.run(&format!("{query};\n\\timing on\n{}", format!("{query};\n").repeat(runs)))?;
        let time = |line: &str| line.strip_prefix("Time: ")?.split(' ').next()?.parse::<f64>().ok();
        let mut times: Vec<f64> = printed.lines().filter_map(time).collect();
        ensure!(times.len() == runs, "psql printed {printed}");
        times.sort_by(f64::total_cmp);
        Ok((printed.lines().next().context("a row")?.to_string(), times[runs / 2]))
    }

    /// CPU seconds of all its processes, also those that ended.
    ///
    /// # Errors
    /// It does not run.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let out = Command::new(script()).arg("cpu").arg(self.data.path()).output()?;
        ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        Ok(String::from_utf8(out.stdout)?.trim().parse()?)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = Command::new(script()).arg("down").arg(self.data.path()).status();
    }
}
