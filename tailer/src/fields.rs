//! Fields and types that a request brings and the catalog does not know yet.
//!
//! In: operations and the schema as it is. Out: the schema with what they bring, within the collection's limit; operations
//! that would go beyond it are errors of their own, and the others go on.

use basalt_common::calls::ItemError;
use basalt_common::id::FieldId;
use basalt_common::patch;
use basalt_common::schema::Schema;
use basalt_common::value::Value;

use crate::items::{Change, Item};

/// Fields of a collection, unless set otherwise.
pub const FIELDS_MAX: u32 = 10_000;

/// Returns the schema that knows every field of the items, or none where `schema` does. Items that would take it over
/// `fields_max` are moved to `errors`.
pub fn grow(schema: &Schema, items: &mut Vec<Item>, errors: &mut Vec<ItemError>, fields_max: u32) -> Option<Schema> {
    let mut grown = Growing { schema: None, accepted: None };
    items.retain(|item| {
        let fields = match &item.change {
            Change::Upsert(document) => {
                let known = grown.schema.as_ref().unwrap_or(schema);
                let known = |(key, value): (&String, &Value)| {
                    known.child(FieldId::ROOT, key).is_some_and(|field| known.knows(field, value))
                };
                if document.iter().all(known) {
                    return true;
                }
                grown.register(schema, |schema| schema.register_object(FieldId::ROOT, document, &mut |_, _| {}))
            }
            Change::Patch { operations, .. } => {
                grown.register(schema, |schema| patch::register_within(schema, operations, fields_max as usize))
            }
            Change::UpsertFlat(_) | Change::Delete => return true,
        };
        let good = fields <= fields_max as usize;
        match good {
            true => grown.accept(),
            false => {
                grown.reject();
                let message =
                    format!("the collection would have {fields} fields or more, and fields_max is {fields_max}");
                errors.push(ItemError { index: item.index, byte_offset: None, id: item.id.clone(), message });
            }
        }
        good
    });
    grown.accepted.filter(|grown| grown.version() > schema.version())
}

/// A schema that grows by what is accepted.
struct Growing {
    /// INVARIANT: `accepted`, or a copy of it that has grown since.
    schema: Option<Schema>,
    accepted: Option<Schema>,
}

impl Growing {
    fn register(&mut self, base: &Schema, register: impl FnOnce(&mut Schema)) -> usize {
        let schema = self.schema.get_or_insert_with(|| base.clone());
        register(schema);
        schema.len()
    }

    fn accept(&mut self) {
        let version = |schema: &Option<Schema>| schema.as_ref().map(Schema::version);
        if version(&self.schema) != version(&self.accepted) {
            self.accepted.clone_from(&self.schema);
        }
    }

    fn reject(&mut self) {
        self.schema.clone_from(&self.accepted);
    }
}

#[cfg(test)]
mod tests {
    use basalt_common::patch::PatchOperation;
    use basalt_common::value::Object;

    use super::{Change, Item, Schema, Value, grow};

    fn upsert(index: u64, keys: &[&str]) -> Item {
        let document: Object = keys.iter().map(|key| (key.to_string(), Value::Int(1))).collect();
        Item { index, id: Some(index.to_string()), change: Change::Upsert(document), stamp: None }
    }

    #[test]
    fn what_goes_beyond_the_limit_is_refused_alone() {
        let mut items = vec![upsert(0, &["a", "b"]), upsert(1, &["c", "d"]), upsert(2, &["c"]), upsert(3, &["a"])];
        let mut errors = Vec::new();
        let grown = grow(&Schema::default(), &mut items, &mut errors, 3).expect("fields are new");
        assert_eq!(grown.len(), 3);
        assert_eq!(items.iter().map(|item| item.index).collect::<Vec<_>>(), [0, 2, 3]);
        assert_eq!(errors.iter().map(|error| error.index).collect::<Vec<_>>(), [1]);
        assert!(grow(&grown, &mut items, &mut errors, 3).is_none(), "nothing is new the second time");
    }

    /// Each copy of an object into itself doubles its fields.
    #[test]
    fn copies_without_end_are_refused_at_the_limit() {
        let copy = |n| PatchOperation::Copy { from: vec!["o".into()], path: vec!["o".into(), format!("c{n}")] };
        let object = PatchOperation::Add { path: vec!["o".into(), "x".into()], value: Value::Int(1) };
        let operations = [object].into_iter().chain((0..64).map(copy)).collect();
        let change = Change::Patch { operations, insert: true };
        let mut items = vec![Item { index: 7, id: Some("a".into()), change, stamp: None }, upsert(8, &["b"])];
        let mut errors = Vec::new();
        let grown = grow(&Schema::default(), &mut items, &mut errors, 1_000).expect("a field is new");
        assert_eq!((grown.len(), items.len()), (1, 1));
        assert!(errors[0].index == 7 && errors[0].message.contains("fields_max is 1000"), "{errors:?}");
    }
}
