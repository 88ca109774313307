//! The words of Basalt and the seams between its roles.
//!
//! In: nothing; the crates `tailer`, `leaf` and `aggregator` depend on this one and never on each other. Out: the types
//! they exchange. This crate knows nothing about sources, indexes or SQL text.
//!
//! ```text
//! aggregator ──ShardScanExec──▶ leaf      (scan: the leaf side of a table, as a plan node that crosses processes)
//!            ──encoded plan───▶           (wire: channels between nodes, fragments and their streams)
//! ```

pub mod clock;
pub mod routing;
pub mod wire;

pub mod scan;
