//! What an aggregator asks a tailer about sources.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::id::SourceId;

/// What a source does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceState {
    /// It reads, or waits for something to read.
    Running,
    /// It rests until it is resumed.
    #[default]
    Paused,
    /// It cannot read; that is tried again.
    Failed,
}

/// A record that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceError {
    /// Where it is.
    pub partition: u32,
    /// Where it is there.
    pub offset: u64,
    /// What is wrong with it.
    pub message: String,
}

/// A source as its tailer has it. Counts begin with the tailer's process.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// What it does.
    pub state: SourceState,
    /// Why it failed.
    pub reason: Option<String>,
    /// How many partitions it has.
    pub partitions: u32,
    /// How many records are there that it has not read, about; none where the source does not answer.
    pub lag_records: Option<u64>,
    /// How old the newest record read is, if there are others behind it.
    pub lag_seconds: f64,
    /// Records read in a second, of late.
    pub records_per_second: f64,
    /// How many records were read.
    pub records: u64,
    /// How many of them were in a shard already, and left out there.
    pub replayed: u64,
    /// How many records were not taken.
    pub failed: u64,
    /// The last of these.
    pub errors: Vec<SourceError>,
}

/// Knows the sources. A tailer implements it.
#[async_trait]
pub trait Sources: Send + Sync + 'static {
    /// How a source is, once the tailer does what the catalog says at a version.
    ///
    /// # Errors
    /// The tailer cannot be reached.
    async fn source_status(&self, source: SourceId, catalog_version: u64) -> Result<SourceStatus, Failure>;
}
