//! The aggregator: it turns SQL into a plan divided over the leaves, and merges what comes back.
//!
//! In: SQL and the collections with their placement. Out: rows. It keeps no rows itself and knows nothing about segments
//! or logs.
//!
//! ```text
//! SQL ─▶ session ─▶ planner ─▶ stages on the leaves ─▶ merge ─▶ rows
//!                     │ DataFusion's plan
//!                     │ colocated: join rows where they lie
//!                     │ divide: one task per node that owns shards, each with its own
//!                     ▼ one owner only: the whole plan goes there
//! ```

pub mod collection;
mod planner;
pub mod session;
