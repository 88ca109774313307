//! The value model: what a document is made of.
//!
//! In: JSON text, bytes of the codec, values made by ingest SQL and typed sources. Out: [`Value`] trees, and JSON and
//! bytes made of them. Owns what a value is, when two are equal, how they are ordered, and both encodings. Leaves to
//! the catalog which fields exist, to batches and segments how values stand in columns, to sources how their types map.
//!
//! ```text
//! JSON text ──json──▶ Value ──flatten──▶ (FieldPath, leaf)      number, decimal: exactness of numbers, used by all
//!                     │   ▲                    │
//!                     │   └─────unflatten──────┘
//!                     ├──codec──▶ bytes ──codec──▶ Value
//!                     └──json_write──▶ JSON text
//! ```

pub mod types;

pub mod decimal;

mod number;

pub mod order;

pub mod json_error;

pub mod json;

pub mod path;

pub mod flatten;

pub mod codec;

pub(crate) mod calendar;

pub mod json_write;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::mem::size_of;

pub use decimal::Decimal;
pub use path::FieldPath;
pub use types::{Type, TypeSet};

/// The most levels of arrays and objects that any value may have, whatever a setting says.
///
/// INVARIANT: no [`Value`] is deeper. The readers refuse what is, the encoder asserts it; so recursion over a value,
/// its drop included, cannot exhaust a stack.
pub const DEPTH_CEILING: usize = 256;

/// The fields of a document or of an object inside one, in the order of their names' bytes.
pub type Object = BTreeMap<String, Value>;

/// One value of a document, of one of the fifteen types of [`Type`].
///
/// Equality is identity of what is stored: floats are equal if their bits are (so NaN equals itself and -0.0 differs
/// from 0.0), and `Int(1)`, `Float(1.0)` and the decimal 1 are three values. [`order::equal_as_json`] compares numbers
/// as numbers.
#[derive(Debug, Clone)]
pub enum Value {
    /// Present, and without a value; absent is something else, and not a value.
    Null,
    /// A truth value.
    Bool(bool),
    /// A 64-bit integer.
    Int(i64),
    /// A double-precision float.
    Float(f64),
    /// An exact decimal number.
    Decimal(Decimal),
    /// Text.
    String(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since midnight.
    Time(i64),
    /// Values in order, of any types.
    Array(Vec<Value>),
    /// Values by name.
    Object(Object),
    /// A vector of floats, of the length its field has.
    Vector(Vec<f32>),
    /// A shape on the earth as well-known binary (WKB).
    Geography(Vec<u8>),
    /// A value of a type that has no exact home here.
    Tagged(Tagged),
}

/// A value of a source's type with no exact home in the model, kept as text, so that nothing is rounded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tagged {
    /// What type it is, in the source's words; [`Tagged::NUMBER`] for a JSON number too long for a decimal.
    pub tag: String,
    /// Its text, as the source writes it.
    pub text: String,
}

impl Tagged {
    /// The tag of a JSON number that neither an int, a float nor a decimal holds exactly.
    pub const NUMBER: &'static str = "number";
}

impl Value {
    /// The type of the value.
    pub fn value_type(&self) -> Type {
        match self {
            Self::Null => Type::Null,
            Self::Bool(_) => Type::Bool,
            Self::Int(_) => Type::Int,
            Self::Float(_) => Type::Float,
            Self::Decimal(_) => Type::Decimal,
            Self::String(_) => Type::String,
            Self::Bytes(_) => Type::Bytes,
            Self::Timestamp(_) => Type::Timestamp,
            Self::Date(_) => Type::Date,
            Self::Time(_) => Type::Time,
            Self::Array(_) => Type::Array,
            Self::Object(_) => Type::Object,
            Self::Vector(_) => Type::Vector,
            Self::Geography(_) => Type::Geography,
            Self::Tagged(_) => Type::Tagged,
        }
    }

    /// How many levels of arrays and objects the value has: 0 for a scalar, 1 for `[]`, 2 for `{"a": [1]}`.
    pub fn depth(&self) -> usize {
        match self {
            Self::Array(items) => 1 + items.iter().map(Self::depth).max().unwrap_or(0),
            Self::Object(fields) => 1 + fields.values().map(Self::depth).max().unwrap_or(0),
            _ => 0,
        }
    }

    /// About how many bytes the value takes wherever it is kept. The same everywhere and always: patches are judged by it.
    pub fn weight(&self) -> usize {
        /// What a value takes beside its bytes.
        const EACH: usize = 8;
        EACH + match self {
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) => 0,
            Self::Timestamp(_) | Self::Date(_) | Self::Time(_) => 0,
            Self::Decimal(_) => 4 * EACH,
            Self::String(text) => text.len(),
            Self::Bytes(bytes) | Self::Geography(bytes) => bytes.len(),
            Self::Array(items) => items.iter().map(Self::weight).sum(),
            Self::Object(fields) => fields.iter().map(|(key, value)| key.len() + value.weight()).sum(),
            Self::Vector(items) => items.len() * size_of::<f32>(),
            Self::Tagged(tagged) => tagged.tag.len() + tagged.text.len(),
        }
    }

    /// How many bytes of heap the value holds beside its own `size_of::<Value>()`: an estimate for memory budgets,
    /// which counts what is allocated but not the allocator's own overhead.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::Decimal(_) => 0,
            Self::Timestamp(_) | Self::Date(_) | Self::Time(_) => 0,
            Self::String(text) => text.capacity(),
            Self::Bytes(bytes) | Self::Geography(bytes) => bytes.capacity(),
            Self::Array(items) => {
                items.capacity() * size_of::<Self>() + items.iter().map(Self::heap_bytes).sum::<usize>()
            }
            Self::Object(fields) => {
                // A B-tree's nodes are between half full and full; two thirds is what random inserts leave.
                let entry_bytes = (size_of::<String>() + size_of::<Self>()) * 3 / 2;
                fields.iter().map(|(key, value)| entry_bytes + key.capacity() + value.heap_bytes()).sum()
            }
            Self::Vector(items) => items.capacity() * size_of::<f32>(),
            Self::Tagged(tagged) => tagged.tag.capacity() + tagged.text.capacity(),
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits(),
            (Self::Decimal(a), Self::Decimal(b)) => a == b,
            (Self::String(a), Self::String(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) | (Self::Geography(a), Self::Geography(b)) => a == b,
            (Self::Timestamp(a), Self::Timestamp(b)) | (Self::Time(a), Self::Time(b)) => a == b,
            (Self::Date(a), Self::Date(b)) => a == b,
            (Self::Array(a), Self::Array(b)) => a == b,
            (Self::Object(a), Self::Object(b)) => a == b,
            (Self::Vector(a), Self::Vector(b)) => a.iter().map(|x| x.to_bits()).eq(b.iter().map(|x| x.to_bits())),
            (Self::Tagged(a), Self::Tagged(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.value_type().hash(state);
        match self {
            Self::Null => {}
            Self::Bool(value) => value.hash(state),
            Self::Int(value) | Self::Timestamp(value) | Self::Time(value) => value.hash(state),
            Self::Float(value) => value.to_bits().hash(state),
            Self::Decimal(value) => value.hash(state),
            Self::String(text) => text.hash(state),
            Self::Bytes(bytes) | Self::Geography(bytes) => bytes.hash(state),
            Self::Date(days) => days.hash(state),
            Self::Array(items) => items.hash(state),
            Self::Object(fields) => fields.hash(state),
            Self::Vector(items) => {
                state.write_usize(items.len());
                items.iter().for_each(|item| item.to_bits().hash(state));
            }
            Self::Tagged(tagged) => tagged.hash(state),
        }
    }
}
