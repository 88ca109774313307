//! Documents read out of JSON straight into fields, with no tree of values between: what takes most of the time of a write otherwise.
//!
//! In: the text of documents, a schema. Out: each document's leaves with their fields, where the document is as the schema knows them;
//! nothing for all others (a field or a type that is new, text that is no JSON, a name given twice, anything over a limit): whoever has
//! the text reads it as a [`Value`] then, by [`value::json`](crate::value::json), which says what is wrong or registers what is new. Both
//! ways give the same document.

use bytes::Bytes;
use jiter::{Jiter, Peek};

use crate::columns::Scalar;
use crate::id::FieldId;
use crate::schema::Schema;
use crate::value::json::{JsonLimits, parse_document};
use crate::value::{DEPTH_CEILING, Object, Type, Value};

/// Longer integers are read as all numbers are.
const SHORT_DIGITS: usize = 18;

/// The name that is no field's.
const ID: &str = "_id";

/// A leaf's value.
#[derive(Debug, Clone, PartialEq)]
enum Leaf {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// A string without escapes: where it begins in the text, and its length.
    Text(u32, u32),
    Other(Box<Value>),
}

/// A value of a document.
#[derive(Debug, Clone, Copy)]
pub enum FlatValue<'d> {
    /// What nearly all are.
    Scalar(Scalar<'d>),
    /// Any other value: an array, a number that is no int and no float, an empty object.
    Other(&'d Value),
}

/// A document as its leaves, without its `_id`.
#[derive(Debug, Clone, PartialEq)]
pub struct FlatDocument {
    text: Bytes,
    /// INVARIANT: each field once, and known to the schema with the value's type; checked in [`FlatReader`].
    leaves: Vec<(FieldId, Leaf)>,
}

impl FlatDocument {
    /// The leaves with their fields, in the order of the text.
    pub fn leaves(&self) -> impl Iterator<Item = (FieldId, FlatValue<'_>)> {
        self.leaves.iter().map(|(field, leaf)| (*field, self.value(leaf)))
    }

    fn value<'d>(&'d self, leaf: &'d Leaf) -> FlatValue<'d> {
        FlatValue::Scalar(match leaf {
            Leaf::Null => Scalar::Null,
            Leaf::Bool(value) => Scalar::Bool(*value),
            Leaf::Int(value) => Scalar::Int(*value),
            Leaf::Float(value) => Scalar::Float(*value),
            Leaf::Text(begin, length) => {
                let bytes = &self.text[*begin as usize..][..*length as usize];
                Scalar::Text(str::from_utf8(bytes).expect("it was read as UTF-8"))
            }
            Leaf::Other(value) => return FlatValue::Other(value),
        })
    }
}

/// A document with its `_id`, if it has one.
pub type Named = (Option<String>, FlatDocument);

/// Reads documents, one after another: of those that are alike, later ones are read faster.
#[derive(Debug)]
pub struct FlatReader<'s> {
    schema: &'s Schema,
    limits: JsonLimits,
    /// For each name of the document before, in order: the object that it was in, and its field.
    names: Vec<(FieldId, FieldId)>,
    /// By field: the number of the document that had it last.
    seen: Vec<u32>,
    document: u32,
    /// How many leaves the document before had.
    leaves: usize,
}

/// A document that is being read.
struct Reading<'t> {
    text: &'t [u8],
    tokens: Jiter<'t>,
    leaves: Vec<(FieldId, Leaf)>,
    id: Option<String>,
    /// How many names were read.
    names: usize,
}

impl<'s> FlatReader<'s> {
    /// A reader of documents of this schema.
    pub fn new(schema: &'s Schema, limits: &JsonLimits) -> Self {
        let limits = JsonLimits { depth_max: limits.depth_max.min(DEPTH_CEILING), ..*limits };
        let seen = vec![0; schema.len() + 1];
        Self { schema, limits, names: Vec::new(), seen, document: 0, leaves: 0 }
    }

    /// The one document that fills the text but for blanks around it.
    pub fn document(&mut self, text: &Bytes) -> Option<Named> {
        u32::try_from(text.len()).ok()?;
        let mut tokens = Jiter::new(text);
        let peek = tokens.peek().ok()?;
        let (tokens, named) = self.next(text, tokens, peek)?;
        is_over(tokens).then_some(named)
    }

    /// The documents of a body that is an array of them, or a single one.
    pub fn body(&mut self, text: &Bytes) -> Option<Vec<Named>> {
        u32::try_from(text.len()).ok()?;
        let mut tokens = Jiter::new(text);
        if tokens.peek().ok()? != Peek::Array {
            return self.document(text).map(|named| vec![named]);
        }
        let (mut documents, mut next) = (Vec::new(), tokens.known_array().ok()?);
        while let Some(peek) = next {
            let named;
            (tokens, named) = self.next(text, tokens, peek)?;
            documents.push(named);
            next = tokens.array_step().ok()?;
        }
        is_over(tokens).then_some(documents)
    }

    fn next<'t>(&mut self, text: &'t Bytes, tokens: Jiter<'t>, peek: Peek) -> Option<(Jiter<'t>, Named)> {
        if peek != Peek::Object {
            return None;
        }
        self.document = self.document.checked_add(1)?;
        let (start, leaves) = (tokens.current_index(), Vec::with_capacity(self.leaves));
        let mut reading = Reading { text, tokens, leaves, id: None, names: 0 };
        self.object(&mut reading, FieldId::ROOT, 1)?;
        let Reading { tokens, leaves, id, .. } = reading;
        let is_short = tokens.current_index() - start <= self.limits.document_bytes_max;
        self.leaves = leaves.len();
        is_short.then(|| (tokens, (id, FlatDocument { text: text.clone(), leaves })))
    }

    /// Reads the names and values of the object at `parent`, which is inside `depth` objects with itself; whether it has any.
    fn object(&mut self, reading: &mut Reading<'_>, parent: FieldId, depth: usize) -> Option<bool> {
        if depth > self.limits.depth_max {
            return None;
        }
        let (place, mut any) = (&mut reading.names, false);
        let mut next = reading.tokens.known_object().ok()?.map(|name| self.field(place, parent, name));
        while let Some(found) = next {
            let peek = reading.tokens.peek().ok()?;
            match found? {
                Some(field) => self.leaf(reading, field, peek, depth)?,
                None => reading.read_id(peek)?,
            }
            any = true;
            let place = &mut reading.names;
            next = reading.tokens.next_key().ok()?.map(|name| self.field(place, parent, name));
        }
        Some(any)
    }

    /// The field of a name, `None` inside where it is the `_id`'s; nothing where it is unknown, or was there before.
    fn field(&mut self, place: &mut usize, parent: FieldId, name: &str) -> Option<Option<FieldId>> {
        if parent == FieldId::ROOT && name == ID {
            return Some(None);
        }
        let field = match self.names.get(*place) {
            Some((before, field)) if *before == parent && self.schema.key(*field) == name => *field,
            _ => {
                let field = self.schema.child(parent, name)?;
                self.names.truncate(*place);
                self.names.push((parent, field));
                field
            }
        };
        *place += 1;
        let seen = &mut self.seen[field.0 as usize];
        (std::mem::replace(seen, self.document) != self.document).then_some(Some(field))
    }

    fn leaf(&mut self, reading: &mut Reading<'_>, field: FieldId, peek: Peek, depth: usize) -> Option<()> {
        let leaf = match peek {
            Peek::Object => match self.object(reading, field, depth + 1)? {
                true => return Some(()),
                false => Leaf::Other(Box::new(Value::Object(Object::new()))),
            },
            Peek::Null => reading.tokens.known_null().ok().map(|()| Leaf::Null)?,
            Peek::True | Peek::False => reading.tokens.known_bool(peek).ok().map(Leaf::Bool)?,
            Peek::String => reading.string()?,
            Peek::Array => {
                let limits = JsonLimits { depth_max: self.limits.depth_max - depth, ..self.limits };
                Leaf::Other(Box::new(reading.array(peek, &limits)?))
            }
            number if number.is_num() => reading.number(peek)?,
            _ => return None,
        };
        let is_known = match &leaf {
            Leaf::Other(value) => self.schema.knows(field, value),
            Leaf::Null => self.schema.types(field).contains(Type::Null),
            Leaf::Bool(_) => self.schema.types(field).contains(Type::Bool),
            Leaf::Int(_) => self.schema.types(field).contains(Type::Int),
            Leaf::Float(_) => self.schema.types(field).contains(Type::Float),
            Leaf::Text(..) => self.schema.types(field).contains(Type::String),
        };
        is_known.then(|| reading.leaves.push((field, leaf)))
    }
}

fn is_over(mut tokens: Jiter<'_>) -> bool {
    tokens.finish().is_ok()
}

impl Reading<'_> {
    /// An `_id` that is a string or an integer, once; what else may be one is read the long way.
    fn read_id(&mut self, peek: Peek) -> Option<()> {
        let id = match peek {
            Peek::String => self.tokens.known_str().ok()?.to_owned(),
            number if number.is_num() => match self.number(peek)? {
                Leaf::Int(integer) => integer.to_string(),
                _ => return None,
            },
            _ => return None,
        };
        self.id.replace(id).is_none().then_some(())
    }

    fn string(&mut self) -> Option<Leaf> {
        let string = self.tokens.known_str().ok()?;
        // One with escapes lies elsewhere than in the text.
        let begin = (string.as_ptr() as usize).checked_sub(self.text.as_ptr() as usize);
        let within = begin.filter(|begin| begin + string.len() <= self.text.len());
        Some(match within {
            Some(begin) => Leaf::Text(begin as u32, string.len() as u32),
            None => Leaf::Other(Box::new(Value::String(string.to_owned()))),
        })
    }

    fn number(&mut self, peek: Peek) -> Option<Leaf> {
        let digits = self.tokens.known_number_bytes(peek).ok()?;
        let is_short = digits.len() <= SHORT_DIGITS && digits[1..].iter().all(u8::is_ascii_digit);
        let text = str::from_utf8(digits).ok()?;
        if is_short && let Ok(integer) = text.parse() {
            return Some(Leaf::Int(integer));
        }
        Some(match parse_document(digits, &JsonLimits::default()).ok()? {
            Value::Int(value) => Leaf::Int(value),
            Value::Float(value) => Leaf::Float(value),
            other => Leaf::Other(Box::new(other)),
        })
    }

    fn array(&mut self, peek: Peek, limits: &JsonLimits) -> Option<Value> {
        let start = self.tokens.current_index();
        self.tokens.known_skip(peek).ok()?;
        parse_document(&self.text[start..self.tokens.current_index()], limits).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::{FlatDocument, FlatReader, FlatValue, Named};
    use crate::columns::Scalar;
    use crate::id::FieldId;
    use crate::schema::Schema;
    use crate::value::json::{JsonLimits, parse_array_of_documents, parse_document};
    use crate::value::{Object, Value};

    fn value(flat: FlatValue<'_>) -> Value {
        match flat {
            FlatValue::Scalar(Scalar::Null) => Value::Null,
            FlatValue::Scalar(Scalar::Bool(value)) => Value::Bool(value),
            FlatValue::Scalar(Scalar::Int(value)) => Value::Int(value),
            FlatValue::Scalar(Scalar::Float(value)) => Value::Float(value),
            FlatValue::Scalar(Scalar::Text(text)) => Value::String(text.into()),
            FlatValue::Other(value) => value.clone(),
        }
    }

    fn leaves(document: &FlatDocument) -> BTreeMap<FieldId, Value> {
        document.leaves().map(|(field, flat)| (field, value(flat))).collect()
    }

    /// What the long way says of the same text: its `_id` and leaves; none where it does not read it, or something is new.
    fn expected(schema: &Schema, value: Value) -> Option<(Option<Value>, BTreeMap<FieldId, Value>)> {
        let Value::Object(mut document) = value else { return None };
        let id = document.remove("_id").map(|id| match id {
            Value::Int(integer) => Value::String(integer.to_string()),
            other => other,
        });
        let (mut grown, mut leaves) = (schema.clone(), BTreeMap::new());
        grown.register_object(FieldId::ROOT, &document, &mut |field, value| drop(leaves.insert(field, value.clone())));
        (grown.version() == schema.version()).then_some((id, leaves))
    }

    fn check(schema: &Schema, text: &str, read: Option<Named>, limits: &JsonLimits) -> bool {
        let known = parse_document(text.as_bytes(), limits).ok().and_then(|value| expected(schema, value));
        let is_read = read.is_some();
        if let Some((id, document)) = read {
            let (known_id, known_leaves) = known.unwrap_or_else(|| panic!("{text} was read"));
            assert_eq!(id.map(Value::String), known_id, "{text}");
            assert_eq!(leaves(&document), known_leaves, "{text}");
            assert_eq!(document.leaves().count(), known_leaves.len(), "a field twice in {text}");
        } else if let Some((id, _)) = known {
            assert!(matches!(id, Some(ref id) if !matches!(id, Value::String(_))), "{text} is known, and was not read");
        }
        is_read
    }

    fn schema_of(texts: &[&str]) -> Schema {
        let mut schema = Schema::default();
        for text in texts {
            let value = parse_document(text.as_bytes(), &JsonLimits::default()).expect("it is JSON");
            let Value::Object(mut document) = value else { panic!("{text} is no object") };
            document.remove("_id");
            schema.register_object(FieldId::ROOT, &document, &mut |_, _| {});
        }
        schema
    }

    #[test]
    fn documents_are_read_as_the_schema_knows_them() {
        let known = [
            r#"{"_id": "a", "n": 1, "f": 2.5, "s": "x", "o": {"n": null, "b": true, "e": {}}, "l": [1, {"k": "v"}]}"#,
            r#"{"n": 12345678901234567890123, "s": "é\n", "f": 1e400, "é\"": 0}"#,
        ];
        let schema = schema_of(&known);
        let limits = JsonLimits { depth_max: 3, document_bytes_max: 160 };
        let mut reader = FlatReader::new(&schema, &limits);
        let mut count = 0;
        for text in [
            known[0],
            known[1],
            known[0],
            "{}",
            r#" {"o": {"b": false, "n": null}, "n": -0, "_id": "\u00e9"} "#,
            r#"{"n": 999999999999999999, "f": -0.0, "s": ""}"#,
            r#"{"n": 9223372036854775807, "f": 1.0}"#,
            r#"{"n": -9223372036854775808, "l": []}"#,
            r#"{"n": -, "s": "x"}"#,
            r#"{"n": 01}"#,
            r#"{"n": 1, "n": 2}"#,
            r#"{"o": {"n": null}, "o": {"b": true}}"#,
            r#"{"_id": "a", "_id": "b"}"#,
            r#"{"_id": 5, "n": 1}"#,
            r#"{"n": "1"}"#,
            r#"{"new": 1}"#,
            r#"{"o": {"_id": 1}}"#,
            r#"{"l": [[[[]]]]}"#,
            r#"{"l": [1, {"k": "w"}, {"k": "v"}]}"#,
            r#"{"l": ["x"]}"#,
            r#"{"n": NaN}"#,
            r#"{"n": 1,}"#,
            r#"{"n": 1} x"#,
            r#"{"n": 1"#,
            r#"{"s": "a	b"}"#,
            r#"{"s": "\ud800"}"#,
            "[1]",
            "7",
            "",
        ] {
            let read = reader.document(&Bytes::copy_from_slice(text.as_bytes()));
            count += usize::from(check(&schema, text, read, &limits));
        }
        assert_eq!(count, 10, "documents that are as the schema knows them");
        let long = format!(r#"{{"s": "{}"}}"#, "x".repeat(160));
        assert!(reader.document(&Bytes::from(long)).is_none());
        let not_text = [br#"{"s": ""#.as_slice(), &[0xff], br#""}"#].concat();
        assert!(reader.document(&Bytes::from(not_text)).is_none());
    }

    #[test]
    fn bodies_are_read_whole_or_not() {
        let schema = schema_of(&[r#"{"n": 1, "s": "x"}"#]);
        let mut reader = FlatReader::new(&schema, &JsonLimits::default());
        for text in [
            r#"[{"_id": "a", "n": 1}, {"s": "y"}, {}]"#,
            "[]",
            r#" {"n": 3} "#,
            r#"[{"n": 1}, {"n": "x"}]"#,
            r#"[{"n": 1}, 2]"#,
            r#"[{"n": 1}"#,
            r#"[{"n": 1}] 1"#,
        ] {
            let known = parse_array_of_documents(text.as_bytes(), &JsonLimits::default()).ok();
            let known =
                known.and_then(|all| all.into_iter().map(|one| expected(&schema, one)).collect::<Option<Vec<_>>>());
            let read = reader.body(&Bytes::copy_from_slice(text.as_bytes()));
            let read = read.map(|all| {
                let one = |(id, document): &Named| (id.clone().map(Value::String), leaves(document));
                all.iter().map(one).collect::<Vec<_>>()
            });
            assert_eq!(read, known, "{text}");
        }
    }

    fn scalar() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            (-100_i64..100).prop_map(Value::Int),
            any::<f64>().prop_filter("JSON has no others", |value| value.is_finite()).prop_map(Value::Float),
            "[a\"\\\\\u{e9}\n]{0,4}".prop_map(Value::String),
        ]
    }

    fn object(depth: u32) -> impl Strategy<Value = Object> {
        let any = scalar().prop_recursive(depth, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
                prop::collection::btree_map("[a-c]", inner, 0..4).prop_map(Value::Object),
            ]
        });
        prop::collection::btree_map("[a-d]", any, 0..5)
    }

    proptest! {
        /// Documents, and what is left of them when bytes are changed, are read as the long way reads them.
        #[test]
        fn random_documents_are_read_the_same(
            known in prop::collection::vec(object(3), 1..6),
            all in prop::collection::vec(object(3), 1..6),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        ) {
            let text = |object: &Object| {
                let mut text = Vec::new();
                let style = crate::value::json_write::JsonStyle::default();
                crate::value::json_write::write_json(&Value::Object(object.clone()), &mut text, style);
                text
            };
            let mut schema = Schema::default();
            known.iter().for_each(|object| schema.register_object(FieldId::ROOT, object, &mut |_, _| {}));
            let mut reader = FlatReader::new(&schema, &JsonLimits::default());
            for object in known.iter().chain(&all) {
                let mut bytes = text(object);
                for (at, byte) in &changes {
                    let at = at.index(bytes.len());
                    bytes[at] = *byte;
                }
                for bytes in [text(object), bytes] {
                    let read = reader.document(&Bytes::from(bytes.clone()));
                    match String::from_utf8(bytes) {
                        Ok(text) => drop(check(&schema, &text, read, &JsonLimits::default())),
                        Err(_) => prop_assert!(read.is_none()),
                    }
                }
            }
        }
    }
}
