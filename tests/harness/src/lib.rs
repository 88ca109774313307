//! What system tests and benchmarks run on.
//!
//! In: descriptions of tables and clusters. Out: leaf processes with data in them, an aggregator before them, and an
//! oracle: DataFusion alone over the same rows in one place. This crate and the `basalt` binary are the only ones that
//! know all roles.

use std::path::{Path, PathBuf};

/// The folder of the workspace whose tests run: asked of cargo now, for what is built in one clone may be run from another.
pub fn workspace() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map_or(env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    let is_root = |folder: &&Path| folder.join("Cargo.lock").is_file();
    package.ancestors().find(is_root).map_or_else(|| package.clone(), Path::to_path_buf)
}

pub mod broker;
pub mod bucket;
pub mod cluster;
pub mod comparison;
pub mod disk;
pub mod failing;
pub mod generated;
pub mod leaf;
pub mod operations;
pub mod peers;
pub mod postgres;
pub mod roles;
pub mod rows;
pub mod selecting;
pub mod server;
pub mod shards;
pub mod tables;
