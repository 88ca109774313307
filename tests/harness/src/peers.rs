//! Other engines, each in a process of its own: the answers that ours must equal, and what they take for them.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::workspace;

/// The relative error that floats may have: sums of them depend on the order.
const FLOAT_ERROR_MAX: f64 = 1e-9;

/// Another engine. What it needs is installed when it is first asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// DuckDB, its tables in a file: compressed there, and read faster than in memory where texts repeat.
    DuckDb,
    /// ClickHouse, its tables in files that the system keeps in memory.
    ClickHouse,
}

/// Statements, and then queries, of which each is asked once for its rows and then so often for the median of its times.
#[derive(Debug, Default, Serialize)]
pub struct Round {
    /// What comes before the queries.
    pub statements: Vec<String>,
    /// The queries.
    pub queries: Vec<String>,
    /// How often each is asked for its time; 0 for its rows only.
    pub runs: usize,
}

/// What became of a [`Round`].
#[derive(Debug, Deserialize)]
pub struct Outcome {
    /// How long the statements took.
    pub seconds: f64,
    /// CPU time that the engine took for them.
    pub cpu_seconds: f64,
    /// Bytes that the engine wrote for them.
    pub bytes_written: u64,
    /// The answer to each query.
    pub answers: Vec<Answer>,
}

/// What a query gave, and how long it took.
#[derive(Debug, Deserialize)]
pub struct Answer {
    /// Its rows, as arrays.
    pub rows: Json,
    millis: Option<f64>,
}

impl Answer {
    /// The median time, in milliseconds; not a number if none was asked for.
    pub fn millis(&self) -> f64 {
        self.millis.unwrap_or(f64::NAN)
    }
}

impl Peer {
    /// Runs rounds in one process, one after another.
    ///
    /// # Errors
    /// The engine cannot be installed, or refuses a statement.
    pub fn rounds(self, rounds: &[Round]) -> Result<Vec<Outcome>> {
        let name = match self {
            Self::DuckDb => "duckdb",
            Self::ClickHouse => "clickhouse",
        };
        let script = workspace().join("tests/services/peers.sh");
        let mut child =
            Command::new(script).args([name, "run"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let asked = json!({ "rounds": rounds }).to_string();
        child.stdin.take().context("it has an input")?.write_all(asked.as_bytes())?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "{name} failed: {}", output.status);
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Runs statements, and then queries; returns the answer to each, with the median time of `runs`.
    ///
    /// # Errors
    /// As [`Self::rounds`].
    pub fn answers(self, statements: &[String], queries: &[&str], runs: usize) -> Result<Vec<Answer>> {
        let queries = queries.iter().map(ToString::to_string).collect();
        let round = Round { statements: statements.to_vec(), queries, runs };
        Ok(self.rounds(&[round])?.pop().context("an outcome for the round")?.answers)
    }
}

/// Whether two values are equal: floats nearly, all else exactly.
pub fn equal(ours: &Json, theirs: &Json) -> bool {
    match (ours, theirs) {
        (Json::Array(ours), Json::Array(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(ours, theirs)| equal(ours, theirs))
        }
        (Json::Number(a), Json::Number(b)) if a.is_f64() || b.is_f64() => {
            let (a, b) = (a.as_f64().unwrap_or(f64::NAN), b.as_f64().unwrap_or(f64::NAN));
            (a - b).abs() <= FLOAT_ERROR_MAX * a.abs().max(b.abs())
        }
        _ => ours == theirs,
    }
}
