//! Paths, their text, and documents flat and back.

use proptest::prelude::*;

use super::{keys, values};
use crate::value::flatten::{UnflattenError, flatten, unflatten};
use crate::value::json::{JsonLimits, parse_document};
use crate::value::path::{PathError, parse_pointer};
use crate::value::{DEPTH_CEILING, FieldPath, Object, Value};

fn path(keys: &[&str]) -> FieldPath {
    FieldPath::from(keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>())
}

fn object(json: &str) -> Object {
    match parse_document(json.as_bytes(), &JsonLimits::default()) {
        Ok(Value::Object(object)) => object,
        other => panic!("{other:?} is no object"),
    }
}

#[test]
fn paths_have_a_text() {
    let cases: [(&[&str], &str); 9] = [
        (&[], ""),
        (&["a"], "a"),
        (&["user", "address", "city"], "user.address.city"),
        (&["_id", "x-1"], "_id.x-1"),
        (&["a.b", "c"], "['a.b'].c"),
        (&["a", "", "it's"], "a['']['it''s']"),
        (&["1a", "-"], "['1a']['-']"),
        (&["é", "']", "b"], "['é'][''']'].b"),
        (&["a", "b c"], "a['b c']"),
    ];
    for (keys, text) in cases {
        assert_eq!(path(keys).to_string(), text);
        assert_eq!(text.parse(), Ok(path(keys)), "{text}");
    }
    assert_eq!("user['address'].city".parse(), Ok(path(&["user", "address", "city"])));
    assert!(FieldPath::root().is_root() && !path(&["a"]).is_root());
    assert_eq!(path(&["a"]).child("b"), path(&["a", "b"]));
    assert!(path(&["a"]).contains(&path(&["a", "b"])) && !path(&["a"]).contains(&path(&["ab"])));
}

#[test]
fn texts_that_are_no_paths_are_refused() {
    let name = |byte_offset: usize| PathError::ExpectedName { byte_offset };
    let step = |byte_offset: usize| PathError::ExpectedStep { byte_offset };
    let quote = |byte_offset: usize| PathError::OpenQuote { byte_offset };
    let cases = [
        (".", name(0)),
        (".a", name(0)),
        ("a.", name(2)),
        ("a..b", name(2)),
        ("a.1", name(2)),
        ("1", name(0)),
        ("é", name(0)),
        ("a.['b']", name(2)),
        ("a b", step(1)),
        ("aé", step(1)),
        ("['a']b", step(5)),
        ("a[0]", step(1)),
        ("a['b", quote(1)),
        ("a['b'", quote(1)),
        ("['b'x]", quote(0)),
        ("['b''", quote(0)),
    ];
    for (text, error) in cases {
        assert_eq!(text.parse::<FieldPath>(), Err(error), "{text}");
    }
}

#[test]
fn pointers_are_read() {
    let cases: [(&str, &[&str]); 6] = [
        ("", &[]),
        ("/", &[""]),
        ("/a~1b/0", &["a/b", "0"]),
        ("/a//b", &["a", "", "b"]),
        ("/~01/~0~1", &["~1", "~/"]),
        ("/é/-", &["é", "-"]),
    ];
    for (pointer, tokens) in cases {
        assert_eq!(parse_pointer(pointer), Ok(tokens.iter().map(|token| (*token).to_owned()).collect()), "{pointer}");
    }
    assert_eq!(parse_pointer("a"), Err(PathError::PointerStart));
    assert_eq!(parse_pointer("/a~"), Err(PathError::PointerEscape { byte_offset: 2 }));
    assert_eq!(parse_pointer("/a/~2"), Err(PathError::PointerEscape { byte_offset: 3 }));
}

#[test]
fn objects_are_flattened() {
    let nested = object(r#"{"a": {"b": 1, "c": {}}, "d": [{"e": 2}], "f": null, "a.b": 3}"#);
    let flat: Vec<_> = flatten(&nested).into_iter().map(|(path, value)| (path.to_string(), value.clone())).collect();
    let array = Value::Array(vec![Value::Object([("e".to_owned(), Value::Int(2))].into())]);
    let expected = [
        ("a.b", Value::Int(1)),
        ("a.c", Value::Object(Object::new())),
        ("['a.b']", Value::Int(3)),
        ("d", array),
        ("f", Value::Null),
    ];
    assert_eq!(flat, expected.map(|(path, value)| (path.to_owned(), value)));
    assert_eq!(flatten(&Object::new()), []);
    assert_eq!(unflatten([]), Ok(Object::new()));
}

#[test]
fn conflicts_are_refused() {
    let leaf = |keys: &[&str]| (path(keys), Value::Int(1));
    let conflict =
        |outer: &[&str], inner: &[&str]| Err(UnflattenError::Conflict { outer: path(outer), inner: path(inner) });
    assert_eq!(unflatten([leaf(&["a", "b"]), leaf(&["a"])]), conflict(&["a"], &["a", "b"]));
    assert_eq!(unflatten([leaf(&["a"]), leaf(&["b"]), leaf(&["a", "b", "c"])]), conflict(&["a"], &["a", "b", "c"]));
    assert_eq!(unflatten([leaf(&["a"]), leaf(&["a"])]), conflict(&["a"], &["a"]));
    let empty = (path(&["a"]), Value::Object(Object::new()));
    assert_eq!(unflatten([empty, leaf(&["a", "b"])]), conflict(&["a"], &["a", "b"]));
    assert_eq!(unflatten([leaf(&[])]), Err(UnflattenError::Root));
    assert_eq!(unflatten([leaf(&[]), leaf(&["a"])]), Err(UnflattenError::Root));
    let deep = FieldPath::from(vec!["a".to_owned(); DEPTH_CEILING + 1]);
    assert_eq!(unflatten([(deep.clone(), Value::Null)]), Err(UnflattenError::TooDeep { path: deep }));
    let deepest = FieldPath::from(vec!["a".to_owned(); DEPTH_CEILING]);
    assert_eq!(unflatten([(deepest, Value::Null)]).map(|object| Value::Object(object).depth()), Ok(DEPTH_CEILING));
}

proptest! {
    #[test]
    fn texts_of_paths_are_read_back(names in proptest::collection::vec(keys(), 0..5)) {
        let path = FieldPath::from(names);
        prop_assert_eq!(path.to_string().parse(), Ok(path));
    }

    #[test]
    fn any_text_is_a_path_or_refused(text in "[ab.'\\[\\]é ]{0,12}", pointer: String) {
        if let Ok(path) = text.parse::<FieldPath>() {
            prop_assert_eq!(path.to_string().parse(), Ok(path));
        }
        let _ = parse_pointer(&pointer);
    }

    #[test]
    fn pointers_are_read_back(tokens in proptest::collection::vec("[a~/01é]{0,5}", 0..5)) {
        let pointer: String = tokens.iter().map(|token| format!("/{}", token.replace('~', "~0").replace('/', "~1"))).collect();
        prop_assert_eq!(parse_pointer(&pointer), Ok(tokens));
    }

    #[test]
    fn objects_come_back(object in proptest::collection::btree_map(keys(), values(), 0..6), turn: usize) {
        let mut leaves: Vec<_> = flatten(&object).into_iter().map(|(path, value)| (path, value.clone())).collect();
        prop_assert!(leaves.is_sorted_by(|(a, _), (b, _)| a < b));
        let by = turn % leaves.len().max(1);
        leaves.rotate_left(by);
        prop_assert_eq!(unflatten(leaves), Ok(object));
    }
}
