//! Documents as clients get them by key: JSON, put together from the columns of one row.
//!
//! In: which fields are wanted, once for many documents; rows. Out: JSON, names in the order of their bytes at every level, with
//! the `_id`. Where a document is, the keys tell.
//!
//! ```text
//! a.b, c of a schema ──▶ "a" "b" field 7 ┐ row 12
//!                        "c"     field 3 ┴────────▶ {"_id":"x","a":{"b":1},"c":2}
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use basalt_common::id::FieldId;
use basalt_common::retention::Expired;
use basalt_common::schema::Schema;
use basalt_common::value::json_write::{JsonStyle, write_json};
use basalt_common::value::{DEPTH_CEILING, FieldPath, Object, Value};

use crate::column::ColumnError;
use crate::segment::{SegmentDamage, SegmentVersion};

/// The field that every document has.
const ID: &str = "_id";

/// A field and its way into a document.
#[derive(Debug)]
struct Outlined {
    /// None for the `_id`.
    field: Option<FieldId>,
    path: FieldPath,
    /// The names of the path, each as JSON with its colon.
    names: Vec<String>,
}

impl Outlined {
    fn new(field: Option<FieldId>, path: FieldPath) -> Self {
        let name = |key: &String| text(&Value::String(key.clone())) + ":";
        let names = path.keys().iter().map(name).collect();
        Self { field, path, names }
    }
}

/// What of documents is wanted.
#[derive(Debug)]
pub struct Wanted {
    schema: Arc<Schema>,
    /// The fields in the order in which they stand in JSON, the `_id` among them; none where whole documents are wanted.
    outline: Option<Vec<Outlined>>,
    expired: Option<Expired>,
}

/// A value as JSON.
fn text(value: &Value) -> String {
    let mut text = Vec::new();
    write_json(value, &mut text, JsonStyle::default());
    String::from_utf8(text).expect("JSON is written as UTF-8")
}

impl Wanted {
    /// Documents, or some paths of them with all that is below; none whose time is over.
    pub fn new(schema: Arc<Schema>, paths: Option<&[FieldPath]>, expired: Option<Expired>) -> Self {
        let outline = paths.map(|paths| {
            let mut fields = BTreeSet::new();
            for field in paths.iter().filter_map(|path| schema.find(path.keys())) {
                schema.visit_subtree(field, &mut |below| fields.extend([below]));
            }
            let named = fields.into_iter().map(|field| (Some(field), schema.path(field)));
            let others = named.filter(|(_, path)| path.keys().first().is_none_or(|first| first != ID));
            let id = (None, FieldPath::root().child(ID));
            let mut outline: Vec<Outlined> =
                others.chain([id]).map(|(field, path)| Outlined::new(field, path)).collect();
            outline.sort_by(|one, other| one.path.cmp(&other.path));
            outline
        });
        Self { schema, outline, expired }
    }

    /// Whether all that is wanted of a segment's documents is open: then it is read without waiting for anything but pages.
    pub fn is_open(&self, version: &SegmentVersion) -> bool {
        let expires = self.expired.is_none_or(|expired| version.is_open(expired.field));
        expires
            && match &self.outline {
                Some(outline) => outline.iter().filter_map(|of| of.field).all(|field| version.is_open(field)),
                None => version.fields().all(|field| version.is_open(field)),
            }
    }

    /// The document in a row, which has this `_id`, as JSON, unless its time is over.
    ///
    /// # Errors
    /// The segment is damaged.
    pub fn json(&self, version: &SegmentVersion, row: u32, id: &str) -> Result<Option<String>, SegmentDamage> {
        if self.expired.map(|expired| version.is_expired(row, expired)).transpose()? == Some(true) {
            return Ok(None);
        }
        let Some(outline) = &self.outline else {
            let mut object = match version.document(row, &self.schema)? {
                Value::Object(object) => object,
                _ => Object::new(),
            };
            object.insert(ID.into(), Value::String(id.into()));
            return Ok(Some(text(&Value::Object(object))));
        };
        let damage = |reason| version.damage(None, ColumnError::Damaged(reason));
        let mut out = Writer::default();
        for of in outline {
            let value = match of.field {
                Some(field) => version.value(row, field)?,
                None => Some(Value::String(id.into())),
            };
            if let Some(value) = value {
                out.put(of, &value).map_err(damage)?;
            }
        }
        Ok(Some(out.finish()))
    }
}

/// Writes the JSON of a document field by field.
#[derive(Default)]
struct Writer<'o> {
    out: Vec<u8>,
    /// The field before: its objects are open.
    before: Option<&'o Outlined>,
}

impl<'o> Writer<'o> {
    /// Appends a field that stands behind the one before.
    fn put(&mut self, of: &'o Outlined, value: &Value) -> Result<(), &'static str> {
        let keys = of.path.keys();
        if keys.is_empty() || self.before.is_some_and(|before| before.path.contains(&of.path)) {
            return Err("a field leads through another's value");
        }
        if keys.len() + value.depth() > DEPTH_CEILING {
            return Err("a field leads too deep");
        }
        let open = self.before.map_or(&[][..], |before| &before.path.keys()[..before.path.keys().len() - 1]);
        let shared = open.iter().zip(keys).take_while(|(one, other)| one == other).count();
        self.out.extend(open[shared..].iter().map(|_| b'}'));
        self.out.push(if self.before.is_none() { b'{' } else { b',' });
        for (index, name) in of.names.iter().enumerate().skip(shared) {
            self.out.extend_from_slice(name.as_bytes());
            if index + 1 < of.names.len() {
                self.out.push(b'{');
            }
        }
        write_json(value, &mut self.out, JsonStyle::default());
        self.before = Some(of);
        Ok(())
    }

    fn finish(mut self) -> String {
        let open = self.before.map_or(0, |before| before.path.keys().len());
        self.out.extend((0..open).map(|_| b'}'));
        String::from_utf8(self.out).expect("JSON is written as UTF-8")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use basalt_common::columns::TypedColumnsBuilder;
    use basalt_common::value::flatten::{flatten, unflatten};
    use basalt_common::value::json::{JsonLimits, parse_document};
    use datafusion::arrow::array::StringArray;

    use super::*;
    use crate::segment::{Segment, SegmentId};

    fn object(text: &str) -> Object {
        match parse_document(text.as_bytes(), &JsonLimits::default()) {
            Ok(Value::Object(object)) => object,
            other => panic!("{other:?}"),
        }
    }

    /// A segment of the leaves of documents.
    fn segment(documents: &[Vec<(FieldPath, Value)>]) -> (Arc<Schema>, SegmentVersion) {
        let mut schema = Schema::default();
        let mut columns: BTreeMap<FieldId, BTreeMap<usize, &Value>> = BTreeMap::new();
        for (row, leaves) in documents.iter().enumerate() {
            for (path, value) in leaves {
                let field = schema.register(path.keys());
                schema.register_value(field, value, &mut |_, _| {});
                columns.entry(field).or_default().insert(row, value);
            }
        }
        let fields = columns.into_iter().map(|(field, values)| {
            let mut column = TypedColumnsBuilder::default();
            (0..documents.len()).for_each(|row| column.push_option(values.get(&row).copied()));
            (field, column.finish())
        });
        let ids = StringArray::from_iter_values((0..documents.len()).map(|row| format!("\"{row}\"")));
        let segment = Segment::new(SegmentId(0), ids, None, fields.collect());
        (Arc::new(schema), SegmentVersion::new(segment))
    }

    #[test]
    fn json_is_that_of_the_wanted_leaves() {
        let documents = [
            r#"{"b": {"c": 1, "d": {"e": "x", "f": {}}}, "a": [1, {"g": null}], "_x": true, "Z": null, "_": 1.0}"#,
            r#"{"a": {}, "b": 7}"#,
            r#"{"a \"quoted\"": {"é": 1.5, "b.c": [], "z": {"y": {"x": "\n"}}}, "_id": "another"}"#,
            "{}",
            r#"{"b": {"d": {"e": -1}}, "ba": {"c": 2}, "a": {"a": {"a": 1}, "b": 2}}"#,
        ];
        let documents = documents.map(object);
        let leaves = |object| flatten(object).into_iter().map(|(path, value)| (path, value.clone())).collect();
        let (schema, version) = segment(&documents.iter().map(leaves).collect::<Vec<_>>());
        let wishes: [Option<&[&str]>; 8] = [
            None,
            Some(&[]),
            Some(&["b"]),
            Some(&["b.d", "b.d.e", "a"]),
            Some(&["_id", "unknown"]),
            Some(&["ba.c", "b.c", "b.d.e", "Z"]),
            Some(&["['a \"quoted\"'].z.y", "['a \"quoted\"']['b.c']", "_"]),
            Some(&["a.a.a", "b.d", "a.b", "_x"]),
        ];
        for wish in wishes {
            let parse = |path: &&str| path.parse::<FieldPath>().expect("it is a path");
            let paths: Option<Vec<FieldPath>> = wish.map(|paths| paths.iter().map(parse).collect());
            let wanted = Wanted::new(Arc::clone(&schema), paths.as_deref(), None);
            assert!(wanted.is_open(&version));
            for (row, document) in documents.iter().enumerate() {
                let is_wanted = |path: &FieldPath| match &paths {
                    Some(paths) => paths.iter().any(|wanted| wanted.contains(path)),
                    None => true,
                };
                let leaves = flatten(document).into_iter().filter(|(path, _)| is_wanted(path));
                let mut expected = unflatten(leaves.map(|(path, value)| (path, value.clone()))).expect("a document");
                let id = format!("\"{row}\"");
                expected.insert(ID.into(), Value::String(id.clone()));
                let json = wanted.json(&version, row as u32, &id);
                assert_eq!(json, Ok(Some(text(&Value::Object(expected)))), "{wish:?} of {document:?}");
            }
        }
    }

    #[test]
    fn fields_that_lead_through_values_are_damage() {
        let leaf = |path: &str, number| (path.parse::<FieldPath>().expect("it is a path"), Value::Int(number));
        let (schema, version) = segment(&[vec![leaf("a.b", 1), leaf("a.b.c", 2)], vec![leaf("a.b.c", 3)]]);
        let paths = ["a".parse().expect("it is a path")];
        for paths in [None, Some(&paths[..])] {
            let wanted = Wanted::new(Arc::clone(&schema), paths, None);
            assert!(wanted.json(&version, 0, "x").is_err());
            assert_eq!(wanted.json(&version, 1, "x"), Ok(Some(r#"{"_id":"x","a":{"b":{"c":3}}}"#.into())));
        }
    }
}
