//! Bytes that are batches, and bytes that are not. That operations survive the way is the model test's part.

use proptest::prelude::*;

use super::{Action, Batch, BatchBuilder, BatchHeader, OperationError, RequestKey, decode, encode};
use crate::id::{CollectionId, Epoch, FieldId, ShardId, SourceId};
use crate::patch::PatchOperation;
use crate::position::{SourcePartition, SourceRange};
use crate::schema::Schema;
use crate::value::{Object, Tagged, Value};

fn every_type() -> Object {
    let values = [
        Value::Null,
        Value::Bool(true),
        Value::Int(i64::MIN),
        Value::Float(f64::NAN),
        Value::Decimal("0.1".parse().expect("a decimal")),
        Value::String("text 😀".into()),
        Value::Bytes(vec![0, 255]),
        Value::Timestamp(-1),
        Value::Date(-1),
        Value::Time(86_399_999_999),
        Value::Array(vec![Value::Int(1), Value::Null, Value::Object(Object::new())]),
        Value::Object(Object::new()),
        Value::Vector(vec![0.5, -0.0]),
        Value::Geography(vec![1, 2, 3]),
        Value::Tagged(Tagged { tag: "number".into(), text: "1e400".into() }),
    ];
    values.into_iter().enumerate().map(|(index, value)| (format!("f{index}"), value)).collect()
}

fn sample() -> (Batch, Schema) {
    let mut schema = Schema::default();
    let document = every_type();
    // First of all, so that their numbers are those of the fixture, whatever else is registered with them.
    for key in document.keys() {
        schema.register(std::slice::from_ref(key));
    }
    schema.register_object(FieldId::ROOT, &document, &mut |_, _| {});
    let mut builder = BatchBuilder::default();
    builder.upsert(&schema, "x", &document).expect("its fields are registered");
    let add = |key: &str, value| PatchOperation::Add { path: vec![key.into()], value };
    builder.patch(&schema, "x", &[add("f2", Value::Null)], false).expect("its fields are registered");
    let remove = PatchOperation::Remove { path: vec!["f3".into()] };
    let grow = PatchOperation::Increment { path: vec!["f2".into()], by: Value::Float(2.5) };
    builder.patch(&schema, "x", &[remove.clone(), grow], true).expect("its fields are registered");
    builder.patch(&schema, "y", &[remove.clone(), remove], false).expect("its fields are registered");
    builder.delete("x");
    let partition = SourcePartition { source: SourceId(3), incarnation: 1 << 100, partition: 7 };
    let header = BatchHeader {
        shard: ShardId { collection: CollectionId(9), shard: 4 },
        routing_epoch: 1,
        schema_version: 30,
        logged_at_micros: -5,
        event_time_micros: Some((-1, 1)),
        sources: vec![SourceRange { partition, epoch: Epoch(2), first: 10, last: 20 }],
        request: Some(RequestKey { key: "k".into(), body_hash: u64::MAX }),
    };
    (Batch { header, operations: builder.finish() }, schema)
}

fn bytes_of(batch: &Batch) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(batch, &mut bytes);
    bytes
}

#[test]
fn every_type_and_kind_survives() {
    let (batch, schema) = sample();
    let bytes = bytes_of(&batch);
    let read = decode(&bytes).expect("it was encoded");
    assert_eq!(bytes_of(&read), bytes, "NaN is not equal to itself, so bytes are compared");
    let column = |key: &str| {
        let field = schema.child(FieldId::ROOT, key).expect("it is registered");
        read.operations.fields.iter().find(|column| column.field == field).expect("the batch has it")
    };
    for (key, value) in every_type() {
        assert_eq!(column(&key).values.value(0), Some(value), "{key}");
    }
    let (f2, f3) = (column("f2"), column("f3"));
    assert_eq!(f2.actions.as_ref().expect("patched")[1..3], [Action::Set, Action::Increment]);
    assert_eq!(f2.values.value(1), Some(Value::Null), "set to null");
    assert_eq!(f3.actions.as_ref().expect("patched")[1..3], [Action::Untouched, Action::Remove]);
    assert!(read.operations.program(3).is_some(), "the same field twice is a program");
    assert!(read.operations.program(2).is_none());
}

/// A batch of format version 1, as written when the format was made: it must be readable for ever.
#[test]
fn the_first_format_can_be_read() {
    let fixture = include_bytes!("fixtures/v1.batch");
    let (batch, _) = sample();
    assert_eq!(bytes_of(&decode(fixture).expect("version 1 is readable")), bytes_of(&batch));
}

#[test]
fn unregistered_fields_are_refused_and_add_nothing() {
    let (_, schema) = sample();
    let mut builder = BatchBuilder::default();
    let stranger = Object::from([("f1".into(), Value::Bool(false)), ("stranger".into(), Value::Int(1))]);
    let error = builder.upsert(&schema, "x", &stranger).expect_err("a field is unknown");
    assert_eq!(error, OperationError::UnknownField("stranger".parse().expect("a path")));
    let other_type = Object::from([("f1".into(), Value::Int(1))]);
    assert!(builder.upsert(&schema, "x", &other_type).is_err(), "a type is unknown");
    assert!(builder.is_empty());
}

#[test]
fn damage_never_panics_and_cuts_are_refused() {
    let bytes = bytes_of(&sample().0);
    for end in 0..bytes.len() {
        assert!(decode(&bytes[..end]).is_err(), "cut at {end}");
    }
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            // Whether it is refused is the frame's checksum's part; here nothing may panic, and what is read is sound.
            if let Ok(read) = decode(&damaged) {
                let again = bytes_of(&read);
                assert_eq!(decode(&again).map(|batch| bytes_of(&batch)), Ok(again), "byte {at} bit {bit}");
            }
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = bytes;
        let _ = decode(&bytes);
        bytes.insert(0, 1);
        let _ = decode(&bytes);
    }
}
