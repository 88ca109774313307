//! Bytes that are batches, and bytes that are not. That operations survive the way is the model test's part.

use proptest::prelude::*;

use super::{Action, Batch, BatchBuilder, BatchHeader, OperationError, RequestKey, decode, encode};
use crate::id::{CollectionId, Epoch, FieldId, ShardId, SourceId};
use crate::patch::PatchOperation;
use crate::position::{SourcePartition, SourceRange};
use crate::retention::Retention;
use crate::schema::Schema;
use crate::value::{Object, Tagged, Value};
use crate::version::Horizon;

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
        horizon: None,
        retention: None,
    };
    (Batch { header, operations: builder.finish() }, schema)
}

/// A batch with versions: programs, and a field that few rows name.
fn versioned() -> Batch {
    let (Batch { mut header, .. }, schema) = sample();
    header.horizon = Some(Horizon { lateness: Some(1 << 40), unsettled_max: 1000 });
    let mut builder = BatchBuilder::versioned();
    let grow = PatchOperation::Increment { path: vec!["f2".into()], by: Value::Int(1) };
    builder.patch(&schema, "x", &[grow], true).expect("its field is registered");
    builder.version(i64::MIN, u128::MAX);
    for row in 0..100 {
        let all = every_type();
        let document = if row == 70 { all } else { Object::from([("f2".into(), Value::Int(row))]) };
        builder.upsert(&schema, "y", &document).expect("its fields are registered");
        builder.version(row, 0);
    }
    builder.delete("z");
    builder.version(i64::MAX, 0);
    Batch { header, operations: builder.finish() }
}

/// The same of a collection that keeps documents for a time.
fn kept() -> Batch {
    let Batch { mut header, operations } = versioned();
    header.retention = Some(Retention { field: FieldId(200), micros: 1 << 50 });
    Batch { header, operations }
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

/// Batches of all versions of the format, as written when it was made: they must be readable for ever.
#[test]
fn all_formats_can_be_read() {
    let (batch, _) = sample();
    assert_eq!(bytes_of(&decode(include_bytes!("fixtures/v1.batch")).expect("it is readable")), bytes_of(&batch));
    assert_eq!(bytes_of(&decode(include_bytes!("fixtures/v2.batch")).expect("it is readable")), bytes_of(&versioned()));
    assert!(bytes_of(&kept()) == include_bytes!("fixtures/v3.batch"), "the bytes are others: it is another format");
    assert_eq!(decode(&bytes_of(&kept())).expect("it was encoded").header, kept().header);
}

#[test]
fn versions_and_few_rows_survive() {
    let batch = versioned();
    let bytes = bytes_of(&batch);
    let read = decode(&bytes).expect("it was encoded");
    assert_eq!(bytes_of(&read), bytes);
    assert_eq!(read.operations.versions, batch.operations.versions);
    let mut without = versioned();
    without.operations.fields.remove(1);
    let field = bytes.len() - bytes_of(&without).len();
    assert!(field < 20, "a field of one row in 102 takes {field} bytes");
    let mut other = sample().0;
    other.header.horizon = Some(Horizon { lateness: None, unsettled_max: 1 });
    assert!(decode(&bytes_of(&other)).is_err(), "a horizon without versions");
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
    for batch in [sample().0, versioned()] {
        damage(&bytes_of(&batch));
    }
}

fn damage(bytes: &[u8]) {
    for end in 0..bytes.len() {
        assert!(decode(&bytes[..end]).is_err(), "cut at {end}");
    }
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1 << bit;
            // Whether it is refused is the frame's checksum's part; here nothing may panic, and what is read is sound.
            if let Ok(read) = decode(&damaged) {
                let again = bytes_of(&read);
                let stable = decode(&again).is_ok_and(|batch| bytes_of(&batch) == again);
                assert!(stable, "byte {at} bit {bit}");
            }
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = bytes;
        let _ = decode(&bytes);
        for version in [1, 2] {
            bytes.insert(0, version);
            let _ = decode(&bytes);
            bytes.remove(0);
        }
    }
}
