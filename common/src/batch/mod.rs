//! A batch: operations on documents of one shard, in columnar form, with the source positions they cover.
//!
//! In: operations, row by row, through [`BatchBuilder`]. Out: the bytes of one record of the shard log, and back. Owns the
//! form; appending it is the log's work, and applying it the leaf's.
//!
//! ```text
//! row  _id  kind    field 1 (a)   field 2 (b.c)        program
//!  0   "x"  upsert  set 7         ·                    ·        the whole document is {a: 7}
//!  1   "x"  patch   ·             set null             ·        b.c becomes null, a stays untouched
//!  2   "x"  patch   remove        increment by 2.5     ·
//!  3   "y"  patch   ·             ·                    [test…]  what columns cannot say, in order
//!  4   "x"  delete  ·             ·                    ·
//! ```
//!
//! For patches each field has an *action* per row, so that untouched, set to null and removed differ. In a collection that
//! names a version every operation has one, and every patch is a program, with an operation id.

mod builder;
mod codec;

use datafusion::arrow::array::{Array, BinaryArray, Int64Array, StringArray};

use crate::columns::TypedColumns;
use crate::id::{FieldId, ShardId};
use crate::position::SourceRange;
use crate::retention::Retention;
use crate::version::Horizon;

pub use builder::{BatchBuilder, OperationError};
pub use codec::{BatchError, decode, encode};

/// What is done to a document.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OperationKind {
    /// The document becomes this one, whatever it was.
    Upsert = 0,
    /// The named fields change; nothing is done where the document is missing.
    Patch = 1,
    /// The named fields change; a missing document is made first.
    PatchOrInsert = 2,
    /// The document goes.
    Delete = 3,
}

/// What a patch does to one field.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Nothing.
    Untouched = 0,
    /// Takes the value of the row, in place of whatever is there.
    Set = 1,
    /// Goes; fails the patch where it is not there.
    Remove = 2,
    /// Grows by the value of the row.
    Increment = 3,
}

/// Values of one field, one row an operation.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldColumn {
    /// The field.
    pub field: FieldId,
    /// What patches do to it, one a row; none where the batch has no patch of this field. In an upsert's row a value that
    /// is there is set.
    pub actions: Option<Vec<Action>>,
    /// The values.
    pub values: TypedColumns,
}

/// What tells the order of operations, whatever the order of their arrival.
#[derive(Debug, Clone, PartialEq)]
pub struct OperationVersions {
    /// The version of each: the higher counts. None is null.
    pub versions: Int64Array,
    /// Which operation each is, so that it counts once however often it arrives; 0 where it is the same if its content is.
    pub operation_ids: Vec<u128>,
}

/// Operations in the order in which they apply.
#[derive(Debug, Clone, PartialEq)]
pub struct Operations {
    /// The documents' `_id`s.
    pub ids: StringArray,
    /// What is done, one a row.
    pub kinds: Vec<OperationKind>,
    /// What tells the order of operations in a collection that names a version.
    pub versions: Option<OperationVersions>,
    /// The fields, ascending.
    pub fields: Vec<FieldColumn>,
    /// For patches that columns cannot say: their operations in order, as [`patch::encode`](crate::patch::encode) writes
    /// them. Such a row has no actions.
    pub programs: Option<BinaryArray>,
}

impl Operations {
    /// How many operations there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none: a batch may only carry positions.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The program of a row that has one.
    pub fn program(&self, row: usize) -> Option<&[u8]> {
        let programs = self.programs.as_ref()?;
        programs.is_valid(row).then(|| programs.value(row))
    }
}

/// A client's key for one request, by which its retry is known.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestKey {
    /// The `Idempotency-Key` header.
    pub key: String,
    /// The hash of the request's body: another body under the same key is a conflict.
    pub body_hash: u64,
}

/// What a batch says beside its operations.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchHeader {
    /// The shard the operations belong to.
    pub shard: ShardId,
    /// Which division of the collection into shards the sender knew; the leaf refuses a stale one.
    pub routing_epoch: u64,
    /// The least schema version that knows every field of the batch.
    pub schema_version: u64,
    /// When the batch was logged, in microseconds since 1970: the only time that applying it may see.
    pub logged_at_micros: i64,
    /// The least and the greatest event time of its documents, where the collection names one.
    pub event_time_micros: Option<(i64, i64)>,
    /// The source positions covered.
    pub sources: Vec<SourceRange>,
    /// The request that sent it, if that had a key.
    pub request: Option<RequestKey>,
    /// How late operations may be, where they have versions.
    pub horizon: Option<Horizon>,
    /// How long documents are kept, where that is not for ever.
    pub retention: Option<Retention>,
}

/// One record of a shard log: header and operations.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// What it says beside its operations.
    pub header: BatchHeader,
    /// The operations.
    pub operations: Operations,
}

#[cfg(test)]
mod tests;
