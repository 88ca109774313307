//! The forms in which a shard lies in the object store.
//!
//! In: segments, checkpoints of replicas, manifests. Out: the bytes of objects, and back. Owns the formats; where objects
//! are, and in which order they are written, is the store's affair.
//!
//! ```text
//! manifest ──names──▶ segment…      documents, which never change
//!          └─names──▶ checkpoint    what was laid over them, and what else the log decided
//! ```
//!
//! Each kind of object is a [container](container) of parts. A fixture of each version must stay readable.

pub mod checkpoint;
pub mod container;
pub mod generation;
pub mod manifest;
pub mod segment;
mod segment_before;
mod unsettled;

use basalt_common::binary::BinaryError;
use thiserror::Error;

use crate::column::ColumnError;

pub use container::{Container, Part, Sealed};

/// An object that does not hold what was written to it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("object {object} is damaged in its {part} at byte {offset}: {reason}; restore it from a copy")]
pub struct FileError {
    /// The object's name.
    pub object: String,
    /// The part of it.
    pub part: &'static str,
    /// Where in the object.
    pub offset: usize,
    /// What is wrong there.
    pub reason: String,
}

/// A part that is read: what is left of it, and where it lies.
struct PartReader<'b> {
    object: &'b str,
    part: Part,
    start: usize,
    bytes: &'b [u8],
}

impl<'b> PartReader<'b> {
    /// Reads the whole part.
    fn read<T>(
        &self,
        read: impl FnOnce(&mut basalt_common::binary::Reader<'b>) -> Result<T, BinaryError>,
    ) -> Result<T, FileError> {
        let mut reader = basalt_common::binary::Reader::new(self.bytes);
        let value = read(&mut reader).map_err(|error| self.error(error))?;
        reader.end().map_err(|error| self.error(error))?;
        Ok(value)
    }

    /// What lies at `start` is no column, or none of those that belong to one.
    fn wrong(&self, start: usize, cause: &ColumnError) -> FileError {
        FileError { reason: cause.to_string(), ..self.error(BinaryError { offset: start, reason: "" }) }
    }

    fn error(&self, BinaryError { offset, reason }: BinaryError) -> FileError {
        let object = self.object.to_string();
        FileError { object, part: self.part.name(), offset: self.start + offset, reason: reason.into() }
    }
}

#[cfg(test)]
pub(crate) mod tests;
