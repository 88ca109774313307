//! What system tests and benchmarks run on.
//!
//! In: descriptions of tables and clusters. Out: leaf processes with data in them, an aggregator before them, and an
//! oracle: DataFusion alone over the same rows in one place. This crate and the `basalt` binary are the only ones that
//! know all roles.

pub mod broker;
pub mod cluster;
pub mod duckdb;
pub mod failing;
pub mod generated;
pub mod leaf;
pub mod operations;
pub mod roles;
pub mod rows;
pub mod server;
pub mod shards;
pub mod tables;
