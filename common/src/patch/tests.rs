//! The examples of the RFCs, and what Basalt adds to them.

use super::{PatchOperation, apply_all, decode, encode, parse_merge, parse_operations};
use crate::value::json::{JsonLimits, parse_document};
use crate::value::{Object, Value};

fn json(text: &str) -> Value {
    parse_document(text.as_bytes(), &JsonLimits::default()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn object(text: &str) -> Object {
    match json(text) {
        Value::Object(object) => object,
        other => panic!("{other:?} is no object"),
    }
}

/// Applies a patch; `expected` is the document behind it, or a part of the error's text.
fn check(document: &str, patch: &str, expected: Result<&str, &str>) {
    let operations = parse_operations(json(patch)).unwrap_or_else(|error| panic!("{patch}: {error}"));
    let mut bytes = Vec::new();
    encode(&operations, &mut bytes);
    assert_eq!(decode(&bytes).as_ref(), Ok(&operations), "through bytes");
    let mut patched = object(document);
    match (apply_all(&mut patched, &operations), expected) {
        (Ok(()), Ok(expected)) => assert_eq!(patched, object(expected), "{document} {patch}"),
        (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{document} {patch}: {error}"),
        (result, _) => panic!("{document} {patch}: {result:?} {patched:?}, expected {expected:?}"),
    }
}

#[test]
fn rfc_6902_appendix_a() {
    check(r#"{"foo":"bar"}"#, r#"[{"op":"add","path":"/baz","value":"qux"}]"#, Ok(r#"{"baz":"qux","foo":"bar"}"#));
    check(
        r#"{"foo":["bar","baz"]}"#,
        r#"[{"op":"add","path":"/foo/1","value":"qux"}]"#,
        Ok(r#"{"foo":["bar","qux","baz"]}"#),
    );
    check(r#"{"baz":"qux","foo":"bar"}"#, r#"[{"op":"remove","path":"/baz"}]"#, Ok(r#"{"foo":"bar"}"#));
    check(r#"{"foo":["bar","qux","baz"]}"#, r#"[{"op":"remove","path":"/foo/1"}]"#, Ok(r#"{"foo":["bar","baz"]}"#));
    check(r#"{"baz":"qux"}"#, r#"[{"op":"replace","path":"/baz","value":"boo"}]"#, Ok(r#"{"baz":"boo"}"#));
    check(
        r#"{"foo":{"bar":"baz","waldo":"fred"},"qux":{"corge":"grault"}}"#,
        r#"[{"op":"move","from":"/foo/waldo","path":"/qux/thud"}]"#,
        Ok(r#"{"foo":{"bar":"baz"},"qux":{"corge":"grault","thud":"fred"}}"#),
    );
    check(
        r#"{"foo":["all","grass","cows","eat"]}"#,
        r#"[{"op":"move","from":"/foo/1","path":"/foo/3"}]"#,
        Ok(r#"{"foo":["all","cows","eat","grass"]}"#),
    );
    check(
        r#"{"baz":"qux","foo":["a",2,"c"]}"#,
        r#"[{"op":"test","path":"/baz","value":"qux"},{"op":"test","path":"/foo/1","value":2}]"#,
        Ok(r#"{"baz":"qux","foo":["a",2,"c"]}"#),
    );
    check(r#"{"baz":"qux"}"#, r#"[{"op":"test","path":"/baz","value":"bar"}]"#, Err("another value"));
    check(
        r#"{"foo":"bar"}"#,
        r#"[{"op":"add","path":"/child","value":{"g":{}}}]"#,
        Ok(r#"{"foo":"bar","child":{"g":{}}}"#),
    );
    check(r#"{"/":9,"~1":10}"#, r#"[{"op":"test","path":"/~01","value":10}]"#, Ok(r#"{"/":9,"~1":10}"#));
    check(r#"{"/":9,"~1":10}"#, r#"[{"op":"test","path":"/~01","value":"10"}]"#, Err("another value"));
    check(r#"{"foo":["bar"]}"#, r#"[{"op":"add","path":"/foo/-","value":["abc"]}]"#, Ok(r#"{"foo":["bar",["abc"]]}"#));
    check(r#"{"foo":["bar"]}"#, r#"[{"op":"add","path":"/foo/2","value":1}]"#, Err("no index"));
    check(r#"{"foo":["bar"]}"#, r#"[{"op":"add","path":"/foo/01","value":1}]"#, Err("no index"));
    check(r#"{"a":1}"#, r#"[{"op":"remove","path":"/b"}]"#, Err("nothing is at b"));
    check(r#"{"a":1}"#, r#"[{"op":"replace","path":"/b/c","value":1}]"#, Err("nothing is at b.c"));
    check(r#"{"a":1}"#, r#"[{"op":"add","path":"/a/b","value":1}]"#, Err("leads through a int"));
    check(r#"{"a":{"b":1}}"#, r#"[{"op":"move","from":"/a","path":"/a/c"}]"#, Err("into itself"));
    check(r#"{"a":{"b":1}}"#, r#"[{"op":"remove","path":"/a/b"}]"#, Ok(r#"{"a":{}}"#));
    check(r#"{"a":1}"#, r#"[{"op":"replace","path":"","value":{"b":2}}]"#, Ok(r#"{"b":2}"#));
    check(r#"{"a":1}"#, r#"[{"op":"replace","path":"","value":2}]"#, Err("object only"));
    check(r#"{"a":1}"#, r#"[{"op":"add","path":"","value":{"_id":"b"}}]"#, Err("_id of a document never changes"));
    check(r#"{"a":{"_id":1}}"#, r#"[{"op":"copy","from":"/a","path":""}]"#, Err("_id of a document never changes"));
}

#[test]
fn additions_to_rfc_6902() {
    check(r#"{}"#, r#"[{"op":"add","path":"/a/b/c","value":1}]"#, Ok(r#"{"a":{"b":{"c":1}}}"#));
    check(r#"{"a":1}"#, r#"[{"op":"test","path":"/a","value":1.0}]"#, Ok(r#"{"a":1}"#));
    check(r#"{}"#, r#"[{"op":"increment","path":"/a/n","value":2}]"#, Ok(r#"{"a":{"n":2}}"#));
    check(r#"{}"#, r#"[{"op":"add","path":"/tags/-","value":1}]"#, Err("nothing is at tags"));
    check(r#"{"o":{}}"#, r#"[{"op":"add","path":"/o/-","value":1}]"#, Ok(r#"{"o":{"-":1}}"#));
    check(r#"{"n":null}"#, r#"[{"op":"increment","path":"/n","value":-2}]"#, Ok(r#"{"n":-2}"#));
    check(r#"{"n":1}"#, r#"[{"op":"increment","path":"/n","value":0.5}]"#, Ok(r#"{"n":1.5}"#));
    check(r#"{"n":[1,2]}"#, r#"[{"op":"increment","path":"/n/1","value":5}]"#, Ok(r#"{"n":[1,7]}"#));
    check(
        r#"{"n":12345678901234567890123}"#,
        r#"[{"op":"increment","path":"/n","value":1}]"#,
        Ok(r#"{"n":12345678901234567890124}"#),
    );
    check(r#"{"n":9223372036854775807}"#, r#"[{"op":"increment","path":"/n","value":1}]"#, Err("overflows"));
    check(r#"{"n":"x"}"#, r#"[{"op":"increment","path":"/n","value":1}]"#, Err("is a string"));
    check(r#"{"n":{"a":1}}"#, r#"[{"op":"increment","path":"/n","value":1}]"#, Err("is a object"));
}

#[test]
fn rfc_7396_appendix_a() {
    let merged = |document: &str, patch: &str, expected: &str| {
        let operation = parse_merge(json(patch)).unwrap_or_else(|error| panic!("{error}"));
        let mut target = object(document);
        apply_all(&mut target, &[operation]).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(target, object(expected), "{document} {patch}");
    };
    merged(r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#);
    merged(r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#);
    merged(r#"{"a":"b"}"#, r#"{"a":null}"#, r#"{}"#);
    merged(r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#);
    merged(r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#);
    merged(r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#);
    merged(r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#);
    merged(r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#);
    merged(r#"{}"#, r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#);
}

#[test]
fn wrong_patches_say_what_is_wrong() {
    let deep = format!(r#"[{{"op":"add","path":"{}","value":1}}]"#, "/a".repeat(100_000));
    for (patch, part) in [
        (deep.as_str(), "more than 256 levels"),
        (r#"{"op":"add"}"#, "a list of operations"),
        (r#"[{"op":"add","path":"/a","value":1},{"op":"add","path":"/a"}]"#, "operation 1: \"value\" is missing"),
        (r#"[{"op":"put","path":"/a"}]"#, "\"put\" is no operation"),
        (r#"[{"op":"add","path":"a","value":1}]"#, "operation 0: "),
        (r#"[{"op":"add","path":"/_id","value":1}]"#, "_id of a document never changes"),
        (r#"[{"op":"move","from":"/_id","path":"/b"}]"#, "_id of a document never changes"),
        (r#"[{"op":"increment","path":"/a","value":"1"}]"#, "is a number, not a string"),
        (r#"[7]"#, "an operation is an object"),
    ] {
        let error = parse_operations(json(patch)).expect_err(patch).to_string();
        assert!(error.contains(part), "{patch}: {error}");
    }
    assert!(parse_merge(json(r#"{"_id":"x"}"#)).is_err());
    assert!(parse_merge(json("[1]")).is_err());
}

#[test]
fn a_program_of_other_bytes_is_refused() {
    let mut bytes = Vec::new();
    encode(&[PatchOperation::Remove { path: vec!["a".into()] }], &mut bytes);
    for end in 0..bytes.len() {
        assert!(decode(&bytes[..end]).is_err(), "cut at {end}");
    }
    bytes.push(0);
    assert!(decode(&bytes).is_err());
}

/// An array that is copied into itself again and again doubles each time.
#[test]
fn copies_that_hold_what_was_copied_are_bounded() {
    let copy = r#"{"op":"copy","from":"/a","path":"/a/-"}"#;
    let patch = |count: usize| format!("[{}]", vec![copy; count].join(","));
    check(r#"{"a":[1]}"#, &patch(2), Ok(r#"{"a":[1,[1],[1,[1]]]}"#));
    check(r#"{"a":[1]}"#, &patch(64), Err("would be too large: the copies of one patch take 16777216 bytes"));
}
