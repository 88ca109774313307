//! DuckDB, another engine: the answers that ours must equal.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::workspace;

/// The relative error that floats may have: sums of them depend on the order.
const FLOAT_ERROR_MAX: f64 = 1e-9;

/// Runs `setup`, and then queries; returns the rows of each. Installs DuckDB if it is not there.
///
/// # Errors
/// DuckDB cannot be installed, or refuses a statement.
pub fn rows(setup: &[String], queries: &[&str]) -> Result<Vec<Vec<Json>>> {
    Ok(serde_json::from_value(run(&json!({ "setup": setup, "queries": queries }))?)?)
}

/// What a query took.
#[derive(Debug, Deserialize)]
pub struct Timed {
    /// Its rows, as arrays.
    pub rows: Json,
    /// The median time, in milliseconds.
    pub millis: f64,
}

/// As [`rows`], and how long each query takes: the median of `runs`, one before them not counted.
///
/// # Errors
/// As [`rows`].
pub fn times(setup: &[String], queries: &[&str], runs: usize) -> Result<Vec<Timed>> {
    Ok(serde_json::from_value(run(&json!({ "setup": setup, "queries": queries, "runs": runs }))?)?)
}

fn run(asked: &Json) -> Result<Json> {
    let script = workspace().join("tests/services/duckdb.sh");
    let mut child = Command::new(script).arg("run").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().context("it has an input")?.write_all(asked.to_string().as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "DuckDB failed: {}", output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
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
