//! Random operations on documents, and the naive model of what they do: a map of documents.
//!
//! In: a seed. Out: operations of every kind, among them ones that must fail. The same sequence goes into the database and
//! into [`Model`]; both must end with the same documents and the same outcomes.

use std::collections::BTreeMap;

use basalt_common::patch::{PatchOperation, apply_all};
use basalt_common::random::SeededRandom;
use basalt_common::retention::event_time;
use basalt_common::value::{Object, Value};

/// One operation on one document.
#[derive(Debug, Clone)]
pub enum Operation {
    /// The document becomes this one.
    Upsert(Object),
    /// Fields change; with `insert`, a missing document is made.
    Patch {
        /// What changes.
        operations: Vec<PatchOperation>,
        /// Whether a missing document is made.
        insert: bool,
    },
    /// The document goes.
    Delete,
}

/// What became of an operation, without the reason of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// A document that was not there is.
    Added,
    /// A document was replaced.
    Replaced,
    /// Fields changed.
    Patched,
    /// A document is gone.
    Deleted,
    /// There was none.
    Missing,
    /// Nothing changed.
    Failed,
}

/// A map of documents: the database, as simple as it can be.
#[derive(Debug, Default)]
pub struct Model {
    /// The documents by `_id`.
    pub documents: BTreeMap<String, Object>,
}

impl Model {
    /// Lets go of the documents whose time, in `field`, is over; tells how many.
    pub fn let_go(&mut self, field: &str, below: i64) -> usize {
        let before = self.documents.len();
        self.documents.retain(|_, document| !is_expired(document, field, below));
        before - self.documents.len()
    }

    /// Applies one operation.
    pub fn apply(&mut self, id: &str, operation: &Operation) -> Effect {
        match operation {
            Operation::Upsert(document) => match self.documents.insert(id.into(), document.clone()) {
                Some(_) => Effect::Replaced,
                None => Effect::Added,
            },
            Operation::Delete => match self.documents.remove(id) {
                Some(_) => Effect::Deleted,
                None => Effect::Missing,
            },
            Operation::Patch { operations, insert } => {
                let before = self.documents.get(id);
                if before.is_none() && !insert {
                    return Effect::Missing;
                }
                let effect = if before.is_some() { Effect::Patched } else { Effect::Added };
                let mut patched = before.cloned().unwrap_or_default();
                match apply_all(&mut patched, operations) {
                    Ok(()) => {
                        self.documents.insert(id.into(), patched);
                        effect
                    }
                    Err(_) => Effect::Failed,
                }
            }
        }
    }
}

/// Whether the event time that a document has in `field` is lower.
pub fn is_expired(document: &Object, field: &str, below: i64) -> bool {
    document.get(field).and_then(event_time).is_some_and(|time| time < below)
}

/// The number of this round: further ones than the first have other seeds, and `BASALT_ROUND` says which.
fn round() -> u64 {
    std::env::var("BASALT_ROUND").ok().and_then(|round| round.parse().ok()).unwrap_or_default()
}

/// The seed of this round: `seed` itself in the first.
pub fn seed_of_round(seed: u64) -> u64 {
    seed + 1_000 * round()
}

/// Whether `enough` was tested. One of many further rounds, of seeds that nobody looked at, may meet less of one thing than the first must.
pub fn is_tested(enough: bool) -> bool {
    enough || round() > 0
}

/// Draws operations. Few keys on few levels, so that paths meet: a field is now a number, now an object, now an array.
#[derive(Debug)]
pub struct Operations {
    random: SeededRandom,
    ids: u64,
    keys: &'static [&'static str],
    /// Keys of objects in documents: fewer, for each level has so many times as many fields as the one above.
    keys_below: &'static [&'static str],
}

const KEYS: [&str; 5] = ["a", "b", "n", "tags", "0"];
const KEYS_BELOW: [&str; 3] = ["a", "n", "0"];

impl Operations {
    /// Operations on documents `doc-0` to `doc-{ids - 1}`.
    pub fn new(seed: u64, ids: u64) -> Self {
        Self { random: SeededRandom::new(seed), ids, keys: &KEYS, keys_below: &KEYS_BELOW }
    }

    /// The same without keys that may be indices: a field that patches name so is no field to SQL while arrays are there.
    pub fn without_indices(seed: u64, ids: u64) -> Self {
        Self { keys: &KEYS[..4], keys_below: &KEYS_BELOW[..2], ..Self::new(seed, ids) }
    }

    /// The next operation with its document's `_id`.
    pub fn draw(&mut self) -> (String, Operation) {
        let id = format!("doc-{}", self.random.below(self.ids));
        let operation = match self.random.below(10) {
            0..=3 => Operation::Upsert(self.document()),
            4 => Operation::Delete,
            _ => {
                let count = 1 + self.random.below(3);
                let operations = (0..count).map(|_| self.patch_operation()).collect();
                Operation::Patch { operations, insert: self.random.chance(1, 3) }
            }
        };
        (id, operation)
    }

    /// A number of operations for one batch.
    pub fn batch_size(&mut self) -> u64 {
        match self.random.below(4) {
            0 => 1,
            1 => 1 + self.random.below(10),
            _ => 1 + self.random.below(200),
        }
    }

    fn document(&mut self) -> Object {
        let count = self.random.below(6);
        let mut document: Object = (0..count).map(|_| (self.key(), self.value(2))).collect();
        document.insert("n".into(), self.number());
        document
    }

    fn key(&mut self) -> String {
        (*self.random.pick(self.keys)).to_string()
    }

    fn key_below(&mut self) -> String {
        (*self.random.pick(self.keys_below)).to_string()
    }

    fn number(&mut self) -> Value {
        match self.random.below(12) {
            0 => Value::Int(i64::MAX - 3),
            1 => Value::Float(self.random.below(1_000) as f64 / 8.0),
            2 => Value::Decimal("123456789012345678901234567890.5".parse().expect("it is a decimal")),
            _ => Value::Int(self.random.below(1_000) as i64 - 500),
        }
    }

    fn value(&mut self, depth: u64) -> Value {
        match self.random.below(if depth == 0 { 7 } else { 10 }) {
            0 => Value::Null,
            1 => Value::Bool(self.random.chance(1, 2)),
            2 | 3 => self.number(),
            4 => Value::String(format!("text {}", self.random.below(20))),
            5 => Value::Object(Object::new()),
            6 => Value::Array(Vec::new()),
            7 => Value::Array((0..self.random.below(4)).map(|_| self.value(depth - 1)).collect()),
            _ => Value::Object(
                (0..1 + self.random.below(3)).map(|_| (self.key_below(), self.value(depth - 1))).collect(),
            ),
        }
    }

    fn path(&mut self) -> Vec<String> {
        let mut path = vec![self.key()];
        while path.len() < 3 && self.random.chance(1, 3) {
            path.push(if self.random.chance(1, 6) { "-".into() } else { self.key_below() });
        }
        path
    }

    /// A path at least as deep as its target: else each copy of a copy would make deeper fields, without end.
    fn path_from(&mut self, depth: usize) -> Vec<String> {
        let mut path = self.path();
        while path.len() < depth {
            path.push(self.key_below());
        }
        path
    }

    fn patch_operation(&mut self) -> PatchOperation {
        let path = if self.random.chance(1, 40) { Vec::new() } else { self.path() };
        match self.random.below(16) {
            0..=4 => PatchOperation::Add { path, value: self.value(2) },
            5 => PatchOperation::Replace { path, value: self.value(2) },
            6 | 7 => PatchOperation::Remove { path },
            8..=10 => PatchOperation::Increment { path, by: self.number() },
            11 => PatchOperation::Test { path, value: self.value(0) },
            12 => PatchOperation::Move { from: self.path_from(path.len()), path },
            13 => PatchOperation::Copy { from: self.path_from(path.len()), path },
            14 if self.random.chance(1, 20) => {
                PatchOperation::Add { path: Vec::new(), value: Value::Object(self.document()) }
            }
            _ => {
                let count = 1 + self.random.below(3);
                PatchOperation::Merge { object: (0..count).map(|_| (self.key(), self.value(2))).collect() }
            }
        }
    }
}
