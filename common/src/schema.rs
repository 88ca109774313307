//! The fields of a collection: a tree of paths, each with its number and the types seen there.
//!
//! In: paths and types as documents bring them. Out: field ids. Every node of the tree is a field, objects that only lead
//! to others too: an empty object is kept at its own path. What arrays hold is a node of its own, beside the children: it
//! has types and fields, and no values, which stay in the array. The catalog owns the truth; a tailer registers what is
//! new before it appends.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::FieldId;
use crate::value::{FieldPath, Object, Type, TypeSet, Value};

/// One step of the way from a document to a field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Into an object.
    Key(String),
    /// Into the elements of an array, all of them.
    Elements,
}

/// A field as it was seen in a document: what is registered with the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldSeen {
    /// The way to it.
    pub path: Vec<Step>,
    /// The types seen there, as [`TypeSet::bits`].
    pub types: u16,
}

/// All fields of a collection, at one version.
#[derive(Debug, Clone)]
pub struct Schema {
    version: u64,
    /// INVARIANT: index = field id; the first is the root; a parent stands before its children. Checked where made.
    fields: Vec<Field>,
}

#[derive(Debug, Clone)]
struct Field {
    key: String,
    parent: FieldId,
    since: u64,
    types: TypeSet,
    children: BTreeMap<String, FieldId>,
    elements: Option<FieldId>,
}

/// What an array's elements are called where a path is shown.
const ELEMENTS: &str = "[]";

impl Default for Schema {
    fn default() -> Self {
        let root = Field {
            key: String::new(),
            parent: FieldId::ROOT,
            since: 0,
            types: TypeSet::default(),
            children: BTreeMap::new(),
            elements: None,
        };
        Self { version: 0, fields: vec![root] }
    }
}

impl Schema {
    /// How many changes made this schema.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// How many fields there are, the root not counted.
    pub fn len(&self) -> usize {
        self.fields.len() - 1
    }

    /// Whether no document has been seen.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn field(&self, id: FieldId) -> &Field {
        &self.fields[id.0 as usize]
    }

    /// The field `key` of the object at `parent`.
    pub fn child(&self, parent: FieldId, key: &str) -> Option<FieldId> {
        self.field(parent).children.get(key).copied()
    }

    /// The fields directly below `parent`, in the order of their keys.
    pub fn children(&self, parent: FieldId) -> impl Iterator<Item = FieldId> + '_ {
        self.field(parent).children.values().copied()
    }

    /// The object that `field` is in; the root is in itself.
    pub fn parent(&self, field: FieldId) -> FieldId {
        self.field(field).parent
    }

    /// The last key of the field's path.
    pub fn key(&self, field: FieldId) -> &str {
        &self.field(field).key
    }

    /// The first version of the schema that has the field.
    pub fn since(&self, field: FieldId) -> u64 {
        self.field(field).since
    }

    /// Whether a document's values may stand at this field: it is known, and not the document itself.
    pub fn holds(&self, field: FieldId) -> bool {
        field != FieldId::ROOT && (field.0 as usize) < self.fields.len()
    }

    /// The types seen at the field.
    pub fn types(&self, field: FieldId) -> TypeSet {
        self.field(field).types
    }

    /// The field at a path of keys.
    pub fn find(&self, keys: &[String]) -> Option<FieldId> {
        keys.iter().try_fold(FieldId::ROOT, |parent, key| self.child(parent, key))
    }

    /// The path of a field.
    pub fn path(&self, field: FieldId) -> FieldPath {
        let mut keys = Vec::new();
        let mut at = field;
        while at != FieldId::ROOT {
            keys.push(self.key(at).to_string());
            at = self.parent(at);
        }
        keys.reverse();
        FieldPath::from(keys)
    }

    /// Calls `visit` for `field` and every field below it.
    pub fn visit_subtree(&self, field: FieldId, visit: &mut impl FnMut(FieldId)) {
        visit(field);
        self.children(field).for_each(|child| self.visit_subtree(child, visit));
    }

    /// The node for what arrays at `field` hold, if any held something.
    pub fn elements(&self, field: FieldId) -> Option<FieldId> {
        self.field(field).elements
    }

    /// Whether a value may stand at `field` without registering anything: its types and all fields in it are known.
    pub fn knows(&self, field: FieldId, value: &Value) -> bool {
        match value {
            Value::Object(object) if !object.is_empty() => {
                object.iter().all(|(key, value)| self.child(field, key).is_some_and(|child| self.knows(child, value)))
            }
            Value::Array(items) if !items.is_empty() => {
                let known = |elements| items.iter().all(|item| self.knows(elements, item));
                self.types(field).contains(Type::Array) && self.elements(field).is_some_and(known)
            }
            _ => self.types(field).contains(value.value_type()),
        }
    }

    /// What this schema has that `base`, of which it is a grown copy, has not.
    pub fn grown_since(&self, base: &Self) -> Vec<FieldSeen> {
        let grown =
            |index: &usize| base.fields.get(*index).is_none_or(|before| before.types != self.fields[*index].types);
        let seen = |index: usize| FieldSeen {
            path: self.steps(FieldId(index as u32)),
            types: self.fields[index].types.bits(),
        };
        (0..self.fields.len()).filter(grown).map(seen).collect()
    }

    /// Adds what was seen; types that this program does not know are left out.
    pub fn grow(&mut self, seen: &[FieldSeen]) {
        for FieldSeen { path, types } in seen {
            let field = path.iter().fold(FieldId::ROOT, |parent, step| match step {
                Step::Key(key) => self.register_child(parent, key),
                Step::Elements => self.register_elements(parent),
            });
            let types = TypeSet::from_bits(*types).unwrap_or_default();
            types.iter().for_each(|of| self.register_type(field, of));
        }
    }

    fn steps(&self, field: FieldId) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut at = field;
        while at != FieldId::ROOT {
            let parent = self.parent(at);
            steps.push(match self.elements(parent) == Some(at) {
                true => Step::Elements,
                false => Step::Key(self.key(at).to_string()),
            });
            at = parent;
        }
        steps.reverse();
        steps
    }

    fn push(&mut self, parent: FieldId, key: &str) -> FieldId {
        let id = FieldId(u32::try_from(self.fields.len()).expect("the catalog's field limit is far below 2^32"));
        self.version += 1;
        let (types, children) = (TypeSet::default(), BTreeMap::new());
        self.fields.push(Field { key: key.into(), parent, since: self.version, types, children, elements: None });
        id
    }

    /// The field `key` below `parent`, made if it is not there.
    pub fn register_child(&mut self, parent: FieldId, key: &str) -> FieldId {
        if let Some(known) = self.child(parent, key) {
            return known;
        }
        let id = self.push(parent, key);
        self.fields[parent.0 as usize].children.insert(key.into(), id);
        id
    }

    /// The node for what arrays at `field` hold, made if it is not there.
    pub fn register_elements(&mut self, field: FieldId) -> FieldId {
        if let Some(known) = self.elements(field) {
            return known;
        }
        let id = self.push(field, ELEMENTS);
        self.fields[field.0 as usize].elements = Some(id);
        id
    }

    /// The field at a path of keys, made if it is not there.
    pub fn register(&mut self, keys: &[String]) -> FieldId {
        keys.iter().fold(FieldId::ROOT, |parent, key| self.register_child(parent, key))
    }

    /// Notes that values of a type occur at a field.
    pub fn register_type(&mut self, field: FieldId, of: Type) {
        if self.fields[field.0 as usize].types.insert(of) {
            self.version += 1;
        }
    }

    /// Registers every field and type of a value that stands at `field`, and calls `leaf` for each field that a value is
    /// kept at: scalars, arrays and empty objects.
    pub fn register_value<'v>(&mut self, field: FieldId, value: &'v Value, leaf: &mut impl FnMut(FieldId, &'v Value)) {
        match value {
            Value::Object(object) if !object.is_empty() => self.register_object(field, object, leaf),
            _ => {
                self.register_type(field, value.value_type());
                if let Value::Array(items) = value {
                    self.register_items(field, items);
                }
                leaf(field, value);
            }
        }
    }

    fn register_items(&mut self, field: FieldId, items: &[Value]) {
        for item in items {
            let elements = self.register_elements(field);
            self.register_value(elements, item, &mut |_, _| {});
        }
    }

    /// [`Self::register_value`] for every field of an object that stands at `field`.
    pub fn register_object<'v>(
        &mut self,
        field: FieldId,
        object: &'v Object,
        leaf: &mut impl FnMut(FieldId, &'v Value),
    ) {
        for (key, value) in object {
            let child = self.register_child(field, key);
            self.register_value(child, value, leaf);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{FieldId, Schema};
    use crate::value::{Type, Value, json};

    #[test]
    fn fields_are_registered_once_and_found_by_path() {
        let document = |text: &str| match json::parse_document(text.as_bytes(), &json::JsonLimits::default()) {
            Ok(Value::Object(object)) => object,
            other => panic!("{other:?}"),
        };
        let mut schema = Schema::default();
        let mut leaves = Vec::new();
        let first = document(r#"{"a": {"b": 1, "c": {}}, "d": [1]}"#);
        schema.register_object(FieldId::ROOT, &first, &mut |field, value| leaves.push((field, value)));
        let shown: Vec<String> =
            leaves.iter().map(|(field, value)| format!("{} {value:?}", schema.path(*field))).collect();
        assert_eq!(shown, ["a.b Int(1)", "a.c Object({})", "d Array([Int(1)])"]);
        let version = schema.version();
        schema.register_object(FieldId::ROOT, &first, &mut |_, _| {});
        assert_eq!((schema.version(), schema.len()), (version, 5), "nothing is new the second time");
        schema.register_object(FieldId::ROOT, &document(r#"{"a": {"b": "x"}}"#), &mut |_, _| {});
        let b = schema.find(&["a".into(), "b".into()]).expect("a.b was registered");
        assert_eq!(schema.types(b).iter().collect::<Vec<_>>(), [Type::Int, Type::String]);
        assert!(schema.version() > version);
    }

    /// What a copy learned, told to its base, makes both know the same; ids of what was known before stay.
    #[test]
    fn a_schema_grows_by_what_was_seen() {
        let value =
            |text: &str| json::parse_document(text.as_bytes(), &json::JsonLimits::default()).expect("it is JSON");
        let mut base = Schema::default();
        base.register_value(FieldId::ROOT, &value(r#"{"a": 1, "b": {"[]": "x"}}"#), &mut |_, _| {});
        let later = value(r#"{"a": "x", "b": {"[]": [1, {"c": [[true]]}]}, "d": [], "e": {}}"#);
        assert!(!base.knows(FieldId::ROOT, &later));
        let mut grown = base.clone();
        grown.register_value(FieldId::ROOT, &later, &mut |_, _| {});
        let seen = grown.grown_since(&base);
        let text = serde_json::to_string(&seen).expect("it is plain data");
        base.grow(&serde_json::from_str::<Vec<_>>(&text).expect("it was written so"));
        assert!(base.knows(FieldId::ROOT, &later) && base.grown_since(&grown).is_empty());
        assert_eq!(base.len(), grown.len());
        assert!(!base.knows(FieldId::ROOT, &value(r#"{"b": {"[]": [{"c": [[null]]}]}}"#)));
    }
}
