//! The aggregator: it turns SQL into a plan divided over the leaves, and merges what comes back. It is the one public
//! address: writes and reads by key pass through it.
//!
//! In: requests over HTTP. Out: rows, outcomes, failures. It keeps no rows itself and knows nothing about segments or logs.
//!
//! ```text
//! http ─▶ sql: one checked statement ─▶ query ─▶ session, planner ─▶ stages on the leaves ─▶ merge ─▶ rows ─▶ http
//!                                         │         │ DataFusion's plan
//!                                         │         │ colocated: join rows where they lie
//!                                         │         │ divide: one task per node that owns shards, each with its own
//!                                         │         ▼ one owner only: the whole plan goes there
//!                                         └ tables: the catalog at one state; dynamic: values of several types
//! ```

pub mod sql;

pub mod failures;

pub mod collection;

pub mod tables;

pub mod dynamic;

pub mod searches;

pub mod boxes;

mod planner;

pub mod session;

mod analyzed;

pub mod estimates;

mod share;

pub mod query;

pub mod rows;

pub mod metrics;

pub mod aggregator;

pub mod http;
