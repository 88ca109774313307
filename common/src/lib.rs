//! The words of Basalt and the seams between its roles.
//!
//! In: nothing; the crates `tailer`, `leaf` and `aggregator` depend on this one and never on each other. Out: the types
//! they exchange. This crate knows nothing about sources, indexes or SQL text.
//!
//! ```text
//! client ──JSON──▶ value ──schema──▶ batch ──▶ log ──▶ leaf   (what is stored, from bytes to the shard log and back)
//!                          ▲ catalog: collections and their fields, one order of changes
//! aggregator ──calls──▶ tailer, leaf      (writes, keys, fences; remote: the same across processes)
//! aggregator ──ShardScanExec──▶ leaf      (scan: the leaf side of a table, as a plan node that crosses processes)
//!            ──encoded plan───▶           (wire: channels between nodes, fragments and their streams)
//! ```

pub mod clock;
pub mod failure;
pub mod id;
pub mod position;
pub mod process;
pub mod random;
pub mod routing;

pub mod placement;

pub mod binary;

pub mod value;

pub mod columns;
pub mod schema;

pub mod flat;

pub mod patch;

pub mod version;

pub mod retention;

pub mod sql_type;

pub mod text;

pub mod geography;

pub mod bounded;

pub mod functions;

pub mod indexing;

pub mod batch;

pub mod log;

pub mod catalog;

pub mod topics;

pub mod fence;

pub mod calls;

pub mod leaves;

pub mod wire;

pub mod remote;

pub mod in_time;

pub mod scan;
