//! What a leaf counts about its own work.
//!
//! In: increments from scans and sockets. Out: totals since the process started, for metrics and for tests that ask where
//! the work was done.

use std::sync::atomic::{AtomicU64, Ordering};

/// Totals since the leaf started.
#[derive(Debug, Default)]
pub struct Counters {
    rows_scanned: AtomicU64,
    bytes_sent: AtomicU64,
}

impl Counters {
    /// Adds rows that a scan read from this leaf's shards.
    pub fn add_rows_scanned(&self, rows: usize) {
        self.rows_scanned.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// Adds bytes written to the network.
    pub fn add_bytes_sent(&self, bytes: usize) {
        self.bytes_sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Rows that scans read from this leaf's shards.
    pub fn rows_scanned(&self) -> u64 {
        self.rows_scanned.load(Ordering::Relaxed)
    }

    /// Bytes written to the network, of all connections.
    pub fn bytes_sent(&self) -> u64 {
        self.bytes_sent.load(Ordering::Relaxed)
    }
}
