//! Bodies and records, read into items.

use basalt_common::catalog::{CatalogState, Command};
use basalt_common::indexing::IndexSettings;
use basalt_common::retention::RetentionSettings;
use basalt_common::version::VersionSettings;

use bytes::Bytes;

use super::{BodyFormat, Collection, Items, JsonLimits, Record, WriteKind, read_items, read_record};

/// A collection of four shards whose `_id`s and versions are in these fields.
pub(crate) fn collection(key: Option<&str>, version: Option<&str>) -> Collection {
    let (workspace, name, text) = ("public".into(), "c".into(), String::new());
    let version = version.map(|path| VersionSettings { path: path.into(), lateness: None, max_future: Some(1_000) });
    let create = Command::CreateCollection {
        workspace,
        name,
        description: text.clone(),
        owner: text,
        shards: 4,
        key: key.map(Into::into),
        version,
        indexing: IndexSettings::default(),
        retention: RetentionSettings::default(),
    };
    let state = CatalogState::default().apply(&create).expect("it is allowed");
    let collection = state.collections().next().expect("it was made");
    (**collection).clone()
}

fn shown(items: &Items) -> (Vec<String>, Vec<String>) {
    let good = items.items.iter().map(|item| format!("{} {:?}", item.index, item.id)).collect();
    let bad = items.errors.iter().map(|error| format!("{} {:?} {}", error.index, error.byte_offset, error.message));
    (good, bad.collect())
}

fn read(kind: WriteKind, format: BodyFormat, body: &str) -> Result<Items, String> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    read_items(kind, format, &body, &collection(None, None), &JsonLimits::default()).map_err(|failure| failure.message)
}

#[track_caller]
fn check(kind: WriteKind, format: BodyFormat, body: &str, good: &[&str], bad: &[&str]) {
    let (is_good, is_bad) = shown(&read(kind, format, body).expect("the body can be read"));
    assert_eq!(is_good, good, "{body}");
    assert_eq!(is_bad, bad, "{body}");
}

#[test]
fn ids_are_texts_or_numbers() {
    let body =
        r#"[{"_id": "a"}, {"_id": 7}, {"_id": 1.5}, {"_id": 18446744073709551616}, {}, {"_id": null}, {"_id": ""}, 3]"#;
    check(
        WriteKind::Upsert,
        BodyFormat::Json,
        body,
        &[r#"0 Some("a")"#, r#"1 Some("7")"#, r#"2 Some("1.5")"#, r#"3 Some("18446744073709551616")"#, "4 None"],
        &[
            "5 None an _id is a string or a number, not a null",
            "6 None an _id is not empty",
            "7 None a document is an object, not a int",
        ],
    );
}

#[test]
fn keys_make_ids() {
    let collection = collection(Some("a.b"), None);
    let body =
        br#"[{"a": {"b": "x"}}, {"a": {"b": 7}, "_id": 7}, {"a": {"b": "x"}, "_id": "y"}, {"a": 1}, {"a": {"b": {}}}]"#;
    let body = Bytes::from_static(body);
    let items = read_items(WriteKind::Upsert, BodyFormat::Json, &body, &collection, &JsonLimits::default());
    let (good, bad) = shown(&items.expect("the body can be read"));
    assert_eq!(good, [r#"0 Some("x")"#, r#"1 Some("7")"#]);
    let expected = [
        r#"2 None the _id is "y", and by the collection's key a.b it is "x""#,
        "3 None the collection's key is a.b, and the document has no such field",
        "4 None the key a.b: an _id is a string or a number, not a object",
    ];
    assert_eq!(bad, expected);
}

#[test]
fn operations_have_versions_where_the_collection_asks_for_them() {
    let collection = collection(None, Some("at"));
    let read = |kind, body: &'static str| {
        read_items(kind, BodyFormat::Json, &Bytes::from_static(body.as_bytes()), &collection, &JsonLimits::default())
    };
    let body = r#"[{"_id": "a", "at": 7}, {"_id": "b"}, {"_id": "c", "at": "soon"}, {"_id": "d", "at": 2001}]"#;
    let mut items = read(WriteKind::Upsert, body).expect("it can be read");
    items.refuse_future(collection.version.as_ref().expect("it has one"), 1_000);
    assert_eq!(items.items[0].stamp.map(|stamp| stamp.version), Some(7));
    let (good, bad) = shown(&items);
    assert_eq!(good, [r#"0 Some("a")"#]);
    let expected = [
        "1 None the collection's version is at, and there is no such field",
        r#"2 None a version is a 64-bit integer or a time as RFC 3339 writes it, not "soon""#,
        "3 None the version is 1001 microseconds ahead of now, and max_future is 1000",
    ];
    assert_eq!(bad, expected);
    let deletes = read(WriteKind::Delete, r#"{"ids": ["a"], "version": 9}"#).expect("it can be read");
    assert_eq!(deletes.items[0].stamp.map(|stamp| stamp.version), Some(9));
    let refused = read(WriteKind::Delete, r#"{"ids": ["a"]}"#).expect_err("it has no version");
    assert!(refused.message.contains("\"version\""), "{refused:?}");
    let record = |version: Option<&str>| Record {
        operation: Some("delete".into()),
        version: version.map(Into::into),
        key: Some(b"k".to_vec()),
        ..Record::default()
    };
    let read = |version| read_record(&record(version), &collection, None, &JsonLimits::default());
    for (header, version) in [("12", 12), ("1970-01-01T00:00:00.000012Z", 12)] {
        let item = read(Some(header)).expect("it can be read");
        assert_eq!(item.stamp.map(|stamp| stamp.version), Some(version), "{header}");
    }
    assert!(read(None).is_err() && read(Some("x")).is_err());
}

#[test]
fn records_say_what_they_do() {
    let record = |operation: Option<&str>, key: Option<&[u8]>, value: Option<&'static str>| Record {
        operation: operation.map(Into::into),
        key: key.map(Into::into),
        value: value.map(Into::into),
        ..Record::default()
    };
    let records = [
        record(None, Some(b"k"), Some(r#"{"_id": "a"}"#)),
        record(None, None, Some(r#"{"b": 1}"#)),
        record(Some("patch"), None, Some(r#"{"_id": "a", "merge": {"x": 1}}"#)),
        record(None, Some(b"k"), None),
        record(Some("delete"), Some(b"k"), Some("whatever")),
        record(Some("upsert"), None, None),
        record(None, Some(b"\xff"), None),
        record(Some("increment"), None, None),
        record(None, None, Some("{\"b\": tru}")),
    ];
    let mut items = Items::default();
    let limits = JsonLimits::default();
    for (offset, record) in records.iter().enumerate() {
        items.add(offset as u64, read_record(record, &collection(None, None), None, &limits));
    }
    let (good, bad) = shown(&items);
    assert_eq!(good, [r#"0 Some("a")"#, "1 None", r#"2 Some("a")"#, r#"3 Some("k")"#, r#"4 Some("k")"#]);
    let expected = [
        "5 None the record has no value",
        "6 None a delete names the document by its key, a text",
        r#"7 None "increment" is no operation; there are upsert, patch and delete"#,
        "8 Some(9) expected `true`, `false` or `null` (line 1, column 10), at byte 9 of the value",
    ];
    assert_eq!(bad, expected);
}

#[test]
fn the_other_lines_land() {
    let body = "{\"_id\": \"a\"}\n{\"b\": tru}\n\n{\"_id\": \"c\"}\n";
    check(
        WriteKind::Upsert,
        BodyFormat::Ndjson,
        body,
        &[r#"0 Some("a")"#, r#"2 Some("c")"#],
        &["1 Some(22) line 2, column 10: expected `true`, `false` or `null`"],
    );
    let refused = read(WriteKind::Upsert, BodyFormat::Json, r#"[{"_id": "a"}, {"b": tru}]"#);
    assert_eq!(
        refused.map(|_| ()),
        Err("the body cannot be read: expected `true`, `false` or `null` (line 1, column 25), at byte 24".into())
    );
}

#[test]
fn patches_and_deletes_have_their_shapes() {
    let body = r#"[{"_id": "a", "patch": [{"op": "increment", "path": "/n", "value": 1}]},
        {"_id": "b", "merge": {"x": null}, "upsert": true}, {"_id": "c", "patch": [], "merge": {}},
        {"patch": []}, {"_id": "d", "patch": [{"op": "grow", "path": "/n"}]}, {"_id": "e", "merge": {}, "x": 1}]"#;
    check(
        WriteKind::Patch,
        BodyFormat::Json,
        body,
        &[r#"0 Some("a")"#, r#"1 Some("b")"#],
        &[
            "2 None a patch has either \"patch\", a list of operations, or \"merge\", an object",
            "3 None a patch names the document: \"_id\" is missing",
            "4 None operation 0: \"grow\" is no operation; there are add, replace, remove, test, move, copy, increment",
            "5 None \"x\" is not known here; there are _id, patch, merge, upsert",
        ],
    );
    check(
        WriteKind::Delete,
        BodyFormat::Json,
        r#"{"ids": ["a", 1, true]}"#,
        &[r#"0 Some("a")"#, r#"1 Some("1")"#],
        &["2 None an _id is a string or a number, not a bool"],
    );
    for bad in ["[]", "{}", r#"{"ids": 1}"#, r#"{"ids": [], "x": 1}"#] {
        assert!(read(WriteKind::Delete, BodyFormat::Json, bad).is_err(), "{bad}");
    }
}
