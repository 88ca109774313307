//! The other roles, in other processes.
//!
//! In: calls of the seams ([`calls`](crate::calls), [`catalog`](crate::catalog)). Out: the same calls on another node, through
//! its internal port ([`wire`](crate::wire)), and for each the serving side: what a role's port does with the bytes.

mod calls;
mod catalog;

pub use calls::{LEAF, RemoteLeaf, RemoteTailer, SOURCE, WRITE, answer_leaf_call, answer_source_call, answer_write};
pub use catalog::{CATALOG, RemoteCatalog, answer_catalog_call};
