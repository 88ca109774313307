//! What a stream promises, checked against a naive model: a map of JSON documents.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::patch::REMOVABLE;
use super::{LIVE_MAX, Operation, Stream};

/// 2026-09-21, in microseconds from 1970.
const START_MICROS: i64 = 1_790_000_000_000_000;

fn parse(text: &str) -> Value {
    serde_json::from_str(text).expect("the stream writes JSON")
}

/// The texts of the first new documents.
fn fresh_documents(count: usize) -> impl Iterator<Item = String> {
    let mut known = BTreeSet::new();
    let of = move |operation| match operation {
        Operation::Upsert { id, document } => known.insert(id).then_some(document),
        _ => None,
    };
    Stream::new(3, START_MICROS).filter_map(of).take(count)
}

/// Scalars and nulls, wherever they stand.
fn leaves(value: &Value) -> usize {
    match value {
        Value::Object(object) => {
            assert!(!object.is_empty());
            object.values().map(leaves).sum()
        }
        Value::Array(array) => {
            assert!(!array.is_empty());
            array.iter().map(leaves).sum()
        }
        _ => 1,
    }
}

#[test]
fn a_seed_and_a_time_decide_the_stream() {
    let take = |seed, start| Stream::new(seed, start).take(15_000);
    assert!(take(1, START_MICROS).eq(take(1, START_MICROS)));
    assert!(!take(1, START_MICROS).eq(take(2, START_MICROS)));
    assert!(!take(1, START_MICROS).eq(take(1, START_MICROS + 1)));
}

/// What a seed means is part of what users rely on when they compare runs of different builds and machines (hashed by
/// FNV-1a).
#[test]
fn the_stream_is_frozen() {
    let hash_byte = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
    let mut hash = 0xCBF2_9CE4_8422_2325;
    for operation in Stream::new(42, START_MICROS).take(1_000) {
        let (kind, id, text) = match operation {
            Operation::Upsert { id, document } => ("upsert", id, document),
            Operation::Patch { id, patch } => ("patch", id, patch),
            Operation::Delete { id } => ("delete", id, String::new()),
        };
        hash = [kind, &id, &text].iter().flat_map(|part| part.bytes()).fold(hash, hash_byte);
    }
    assert_eq!(hash, 0xB20E_AC24_A99B_F295);
}

#[test]
fn documents_have_the_promised_leaves_and_size() {
    let mut bytes = 0;
    for text in fresh_documents(10_000) {
        bytes += text.len();
        assert_eq!(leaves(&parse(&text)), 46, "{text}");
    }
    let mean = bytes / 10_000;
    assert!((1_250..1_350).contains(&mean), "{mean}");
}

#[test]
fn operations_are_mixed_as_promised() {
    let mut counts = BTreeMap::<&str, u32>::new();
    let mut known = BTreeSet::new();
    for operation in Stream::new(5, START_MICROS).take(20_000) {
        let kind = match operation {
            Operation::Upsert { id, .. } => {
                if known.insert(id) {
                    "new"
                } else {
                    "replaced"
                }
            }
            Operation::Patch { patch, .. } if patch.contains(r#""op":"increment""#) => "incremented",
            Operation::Patch { patch, .. } if patch.contains(r#""op":"remove""#) => "removed",
            Operation::Patch { patch, .. } if patch.contains(r#""merge":"#) => "merged",
            Operation::Patch { .. } => "set",
            Operation::Delete { .. } => "deleted",
        };
        *counts.entry(kind).or_default() += 1;
    }
    let shares = [
        ("new", 16_000),
        ("replaced", 1_600),
        ("incremented", 1_000),
        ("removed", 300),
        ("merged", 300),
        ("set", 400),
        ("deleted", 400),
    ];
    for (kind, expected) in shares {
        let tolerance = expected / 50 + 60;
        assert!(counts[kind].abs_diff(expected) <= tolerance, "{kind}: {} of {expected}", counts[kind]);
    }
}

/// The object that holds what a pointer names, and its key there. The stream's paths lead through objects only.
fn parent<'d>(document: &'d mut Value, pointer: &str) -> (&'d mut Map<String, Value>, String) {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer begins with a slash");
    let object = document.pointer_mut(parent).and_then(Value::as_object_mut);
    (object.unwrap_or_else(|| panic!("no object at {parent:?}")), key.to_string())
}

fn incremented(number: &Value, by: &Value) -> Value {
    match (number.as_i64(), by.as_i64()) {
        (Some(number), Some(by)) => {
            let sum = number + by;
            assert!(sum.abs() < 1 << 40, "{sum} is on its way to overflow");
            sum.into()
        }
        (None, None) => {
            let sum = number.as_f64().zip(by.as_f64()).map(|(number, by)| number + by);
            sum.filter(|sum| sum.abs() < 1e9).expect("a float, far from overflow").into()
        }
        _ => panic!("{number} and {by} are of different types"),
    }
}

/// Applies one operation, by RFC 6902 to the letter.
fn apply_operation(document: &mut Value, operation: &Value) {
    let path = operation["path"].as_str().expect("an operation has a path");
    let (object, key) = parent(document, path);
    match operation["op"].as_str().expect("an operation has a name") {
        "add" => _ = object.insert(key, operation["value"].clone()),
        "replace" => _ = object.insert(key, operation["value"].clone()).expect("only what is there is replaced"),
        "remove" => _ = object.remove(&key).expect("only what is there is removed"),
        "increment" => {
            let number = object.get_mut(&key).expect("only what is there is incremented");
            *number = incremented(number, &operation["value"]);
        }
        other => panic!("{other} is no operation"),
    }
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Map::new().into();
    }
    for (key, value) in fields {
        match value {
            Value::Null => _ = target.as_object_mut().expect("made so above").remove(key),
            _ => merge(&mut target[key.as_str()], value),
        }
    }
}

fn apply_patch(document: &mut Value, patch: &Value) {
    let fields = patch.as_object().expect("a patch is an object");
    assert_eq!((fields.len(), &fields["_id"]), (2, &document["_id"]));
    let changed = fields.get("merge").is_some_and(|fields| fields.get("_id").is_some());
    assert!(!changed, "the _id never changes");
    match fields.get("merge") {
        Some(fields) => merge(document, fields),
        None => {
            let operations = patch["patch"].as_array().expect("without a merge there are operations");
            assert!(!operations.is_empty());
            operations.iter().for_each(|operation| apply_operation(document, operation));
        }
    }
}

#[test]
fn every_operation_can_be_applied() {
    let mut documents = BTreeMap::<String, Value>::new();
    let mut removed = BTreeSet::<&str>::new();
    let (mut replaced, mut deleted) = (0, BTreeSet::new());
    for operation in Stream::new(6, START_MICROS).take(40_000) {
        match operation {
            Operation::Upsert { id, document } => {
                assert!(!deleted.contains(&id), "a deleted document came back");
                let document = parse(&document);
                assert_eq!((&document["_id"], leaves(&document)), (&id.clone().into(), 46));
                if let Some(before) = documents.insert(id, document.clone()) {
                    assert_ne!(before, document, "an update changes something");
                    assert_eq!(before["event_time"], document["event_time"]);
                    replaced += 1;
                }
            }
            Operation::Patch { id, patch } => {
                let patch = parse(&patch);
                let document = documents.get_mut(&id).expect("only live documents are patched");
                apply_patch(document, &patch);
                removed.extend(REMOVABLE.iter().filter(|path| document.pointer(path).is_none()));
            }
            Operation::Delete { id } => {
                assert!(documents.remove(&id).is_some(), "only live documents are deleted");
                deleted.insert(id);
            }
        }
    }
    assert!(replaced > 2_500 && deleted.len() > 600, "{replaced} {}", deleted.len());
    assert_eq!(removed.len(), REMOVABLE.len(), "all that can be removed is, at times");
}

#[test]
fn memory_is_bounded() {
    let mut stream = Stream::new(7, START_MICROS);
    stream.by_ref().take(30_000).for_each(drop);
    assert!(stream.live.len() <= LIVE_MAX && stream.live.len() > LIVE_MAX / 2);
}

#[test]
fn the_value_is_of_many_types() {
    let mut counts = BTreeMap::<&str, u32>::new();
    for text in fresh_documents(10_000) {
        let kind = match &parse(&text)["value"] {
            Value::Number(number) if number.is_i64() => "int",
            Value::Number(_) => "float",
            Value::String(_) => "string",
            Value::Bool(_) => "bool",
            Value::Null => "null",
            Value::Array(_) => "array",
            Value::Object(_) => panic!("the value is no object"),
        };
        *counts.entry(kind).or_default() += 1;
    }
    assert_eq!(counts.len(), 6, "{counts:?}");
    assert!(counts["int"] > 5_000, "{counts:?}");
}

#[test]
fn time_advances_and_some_events_are_late() {
    let (mut newest, mut late, mut minutes_late) = (String::new(), 0, 0);
    let mut received_before = START_MICROS / 1_000;
    for text in fresh_documents(10_000) {
        let document = parse(&text);
        let received = document["received_at"].as_i64().expect("milliseconds are ints");
        assert!((received_before..received_before + 1_000).contains(&received));
        received_before = received;
        // Times of one format and zone are in the order of their texts.
        let time = document["event_time"].as_str().expect("times are texts").to_string();
        late += u32::from(time < newest);
        minutes_late += u32::from(!newest.is_empty() && time[..16] < newest[..16]);
        newest = newest.max(time);
    }
    assert!((300..2_000).contains(&late) && minutes_late > 20, "{late} {minutes_late}");
}

#[test]
fn values_are_skewed_and_hang_together() {
    let documents: Vec<Value> = fresh_documents(10_000).map(|text| parse(&text)).collect();
    let mut users = BTreeMap::<&str, (u32, &Value)>::new();
    for document in &documents {
        let user = &document["customer"];
        let home = &user["location"]["city"];
        let known = users.entry(user["id"].as_str().expect("a user has an id")).or_insert((0, home));
        known.0 += 1;
        assert_eq!(known.1, home, "a user has one home");
        assert!(user["location"]["point"]["lat"].as_f64().is_some_and(|latitude| latitude.abs() < 90.0));
    }
    let busiest = users.values().map(|(events, _)| *events).max();
    assert!(users.len() > 3_000 && busiest > Some(300), "{} users, the busiest with {busiest:?} events", users.len());
}
