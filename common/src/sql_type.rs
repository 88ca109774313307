//! What a field is in SQL: its Arrow type.
//!
//! In: a schema. Out: Arrow fields. Owns the rule by which seen types become one SQL type, and the marks by which the two
//! sides of a scan know what was meant.
//!
//! | seen at the path              | SQL                                                                          |
//! | ----------------------------- | ---------------------------------------------------------------------------- |
//! | nothing, or null              | Null                                                                         |
//! | one type                      | that type; arrays are lists of what their elements are; objects are structs  |
//! | int and float                 | Float64                                                                      |
//! | several                       | _dynamic_: a struct with a child a type, named after it, at most one non-null |
//!
//! A null and an absent value are both NULL. Objects deeper than [`LEVELS_MAX`] are shown as JSON text from there on.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Fields};

use crate::columns::storage_type;
use crate::id::FieldId;
use crate::schema::Schema;
use crate::value::Type;

/// The column of the documents' keys.
pub const ID_COLUMN: &str = "_id";

/// The metadata key under which Arrow keeps the name of an extension type.
pub const EXTENSION: &str = "ARROW:extension:name";

/// The extension type of a column with values of several types.
pub const DYNAMIC: &str = "basalt.dynamic";

/// The extension type of text that holds the JSON of objects nested too deep for a type of their own.
pub const JSON: &str = "basalt.json";

/// The most levels of structs and lists in a type: plans cross processes in messages that may nest a hundred deep, and
/// each level takes three.
pub const LEVELS_MAX: usize = 24;

/// Digits, and digits behind the point, of decimals in SQL.
pub const DECIMAL: (u8, i8) = (76, 38);

/// Whether a column may have values of several types.
pub fn is_dynamic(field: &Field) -> bool {
    has_extension(field, DYNAMIC)
}

/// Whether a field has an extension type of this name.
pub fn has_extension(field: &Field, name: &str) -> bool {
    field.metadata().get(EXTENSION).is_some_and(|own| own == name)
}

/// The columns of a collection: `_id` and its fields, by name.
pub fn columns(schema: &Schema) -> Vec<(Field, FieldId)> {
    let id = (Field::new(ID_COLUMN, DataType::Utf8, false), FieldId::ROOT);
    let fields = schema.children(FieldId::ROOT).filter(|field| is_shown(schema, *field));
    [id].into_iter().chain(fields.map(|field| (column(schema, field), field))).collect()
}

/// The column of a field and all below it.
pub fn column(schema: &Schema, field: FieldId) -> Field {
    named(schema.key(field), schema, field, LEVELS_MAX)
}

/// Whether anything was seen at a field or below it: fields of patches that may be indices of arrays were not.
fn is_shown(schema: &Schema, field: FieldId) -> bool {
    !schema.types(field).is_empty() || schema.children(field).any(|child| is_shown(schema, child))
}

fn named(name: &str, schema: &Schema, field: FieldId, levels: usize) -> Field {
    let mut kinds = kinds(schema, field, levels);
    let numbers = kinds.len() == 2 && kinds[0].0 == Type::Int && kinds[1].0 == Type::Float;
    if numbers {
        kinds.remove(0);
    }
    match kinds.len() {
        0 => Field::new(name, DataType::Null, true),
        1 => {
            let (of, kind) = kinds.remove(0);
            mark(kind.with_name(name), of)
        }
        _ => {
            let children: Fields = kinds.into_iter().map(|(_, kind)| kind).collect();
            with_extension(Field::new(name, DataType::Struct(children), true), DYNAMIC)
        }
    }
}

fn with_extension(field: Field, name: &str) -> Field {
    field.with_metadata(HashMap::from([(EXTENSION.to_string(), name.to_string())]))
}

/// Marks a field whose Arrow type stands for several of ours.
fn mark(field: Field, of: Type) -> Field {
    match of {
        Type::Tagged => with_extension(field, "basalt.tagged"),
        Type::Geography => with_extension(field, "basalt.geography"),
        Type::Vector => with_extension(field, "basalt.vector"),
        _ => field,
    }
}

/// The types at a field, null apart, each as a field named after it, in the order of types.
fn kinds(schema: &Schema, field: FieldId, levels: usize) -> Vec<(Type, Field)> {
    let mut types = schema.types(field);
    let children = object_children(schema, field);
    if !children.is_empty() {
        types.insert(Type::Object);
    }
    let kind = |of: Type| {
        let name = of.name();
        let shown = match of {
            Type::Object | Type::Array if levels == 0 => with_extension(Field::new(name, DataType::Utf8, true), JSON),
            Type::Object => {
                let fields = children.iter().map(|child| named(schema.key(*child), schema, *child, levels - 1));
                Field::new(name, DataType::Struct(fields.collect()), true)
            }
            Type::Array => Field::new(name, DataType::List(Arc::new(item(schema, field, levels))), true),
            Type::Decimal => Field::new(name, DataType::Decimal256(DECIMAL.0, DECIMAL.1), true),
            Type::Tagged => Field::new(name, DataType::Utf8, true),
            Type::Vector => {
                let item = Arc::new(Field::new("item", DataType::Float32, true));
                Field::new(name, DataType::List(item), true)
            }
            scalar => Field::new(name, storage_type(scalar), true),
        };
        (of, mark(shown, of))
    };
    types.iter().filter(|of| *of != Type::Null).map(kind).collect()
}

fn item(schema: &Schema, array: FieldId, levels: usize) -> Field {
    match schema.elements(array) {
        Some(elements) => named("item", schema, elements, levels - 1),
        None => Field::new("item", DataType::Null, true),
    }
}

/// The fields that an object at this path has.
fn object_children(schema: &Schema, field: FieldId) -> Vec<FieldId> {
    schema.children(field).filter(|child| is_shown(schema, *child)).collect()
}

#[cfg(test)]
mod tests {
    use super::{Schema, columns, is_dynamic};
    use crate::id::FieldId;
    use crate::patch;
    use crate::value::{Object, Value, json};

    fn schema(documents: &[&str]) -> Schema {
        let mut schema = Schema::default();
        for text in documents {
            let document = json::parse_document(text.as_bytes(), &json::JsonLimits::default());
            let Ok(Value::Object(document)) = document else { panic!("{text} is no document") };
            schema.register_object(FieldId::ROOT, &document, &mut |_, _| {});
        }
        schema
    }

    fn shown(schema: &Schema) -> String {
        let columns = columns(schema);
        let shown: Vec<String> = columns
            .iter()
            .skip(1)
            .map(|(field, _)| {
                let dynamic = if is_dynamic(field) { " dynamic" } else { "" };
                format!("{}: {}{dynamic}", field.name(), field.data_type())
            })
            .collect();
        shown.join("; ")
    }

    fn check(documents: &[&str], expected: &str) {
        assert_eq!(shown(&schema(documents)), expected, "{documents:?}");
    }

    #[test]
    fn types_become_sql() {
        check(&["{}"], "");
        check(&[r#"{"a": null}"#], "a: Null");
        check(&[r#"{"a": 1}"#, r#"{"a": null}"#], "a: Int64");
        check(&[r#"{"a": 1}"#, r#"{"a": 1.5}"#], "a: Float64");
        check(&[r#"{"a": 18446744073709551615}"#], "a: Decimal256(76, 38)");
        check(&[r#"{"a": 1, "b": {"c": "x"}}"#], r#"a: Int64; b: Struct("c": Utf8)"#);
        check(&[r#"{"a": []}"#], "a: List(Null)");
        check(&[r#"{"a": [1]}"#, r#"{"a": [2.5, null]}"#], "a: List(Float64)");
        check(&[r#"{"a": [{"b": 1}, {"c": [true]}]}"#], r#"a: List(Struct("b": Int64, "c": List(Boolean)))"#);
        check(
            &[r#"{"a": 1}"#, r#"{"a": 1.5}"#, r#"{"a": "x"}"#],
            r#"a: Struct("int": Int64, "float": Float64, "string": Utf8) dynamic"#,
        );
        check(
            &[r#"{"a": 1}"#, r#"{"a": {"b": 2}}"#],
            r#"a: Struct("int": Int64, "object": Struct("b": Int64)) dynamic"#,
        );
        check(&[r#"{"a": {}}"#], "a: Struct()");
    }

    /// A patch of an array's element makes no object of the array, and its type is one that elements may have.
    #[test]
    fn indices_are_no_fields() {
        let mut schema = schema(&[r#"{"a": [[1]], "b": [{"c": 1}]}"#]);
        let set = |path: &[&str], value| {
            let path = path.iter().map(ToString::to_string).collect();
            patch::PatchOperation::Replace { path, value }
        };
        let object = Value::Object(Object::from([("d".into(), Value::Bool(true))]));
        patch::register(
            &mut schema,
            &[set(&["a", "0", "0"], Value::String("x".into())), set(&["b", "0", "c"], object)],
        );
        let marked = r#", metadata: {"ARROW:extension:name": "basalt.dynamic"}"#;
        let (list, object) =
            (r#"Struct("int": Int64, "string": Utf8)"#, r#"Struct("int": Int64, "object": Struct("d": Boolean))"#);
        let expected = format!(r#"a: List(List({list}{marked})); b: List(Struct("c": {object}{marked}))"#);
        assert_eq!(shown(&schema), expected);
    }

    #[test]
    fn deep_objects_end_in_text() {
        let deep = format!("{}1{}", r#"{"a":"#.repeat(100), "}".repeat(100));
        let shown = shown(&schema(&[&deep]));
        assert!(shown.matches("Struct").count() <= super::LEVELS_MAX && shown.contains("Utf8"), "{shown}");
    }
}
