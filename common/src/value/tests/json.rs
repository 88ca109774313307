//! Reading JSON: what is accepted, and which error is given where for what is not.

use proptest::prelude::*;

use super::tagged;
use crate::value::json::{JsonErrorKind, JsonLimits, ndjson_lines, parse_array_of_documents, parse_document};
use crate::value::{DEPTH_CEILING, Object, Value};

fn parse(text: &str) -> Result<Value, crate::value::json::JsonError> {
    parse_document(text.as_bytes(), &JsonLimits::default())
}

fn end(inside: &'static str) -> JsonErrorKind {
    JsonErrorKind::UnexpectedEnd { inside }
}

fn mark(expected: &'static str) -> JsonErrorKind {
    JsonErrorKind::ExpectedMark { expected }
}

#[test]
fn documents_are_read() {
    let text = |text: &str| Value::String(text.to_owned());
    let cases = [
        ("null", Value::Null),
        (" \r\n\ttrue ", Value::Bool(true)),
        ("false", Value::Bool(false)),
        (r#""a\"\\\/\b\f\n\r\té\u00e9\ud83d\ude00""#, text("a\"\\/\u{8}\u{c}\n\r\téé😀")),
        ("[]", Value::Array(vec![])),
        ("[1,[2.5], {}]", Value::Array(vec![Value::Int(1), Value::Array(vec![Value::Float(2.5)]), object([])])),
        (r#"{"b":1,"a":{"":null}}"#, object([("a", object([("", Value::Null)])), ("b", Value::Int(1))])),
        ("-0", Value::Int(0)),
        ("[-0.0]", Value::Array(vec![Value::Float(-0.0)])),
    ];
    for (json, value) in cases {
        assert_eq!(parse(json), Ok(value), "{json}");
    }
}

fn object<const COUNT: usize>(fields: [(&str, Value); COUNT]) -> Value {
    Value::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Object>())
}

#[test]
fn errors_have_their_place() {
    let twice = |key: &str| JsonErrorKind::DuplicateKey { key: key.to_owned() };
    let cases: Vec<(&[u8], JsonErrorKind, usize)> = vec![
        (b"", end("a value"), 0),
        (b"  ", end("a value"), 2),
        (b"[1", end("an array"), 2),
        (b"[1,", end("a value"), 3),
        (b"{", end("an object"), 1),
        (br#"{"a""#, end("an object"), 4),
        (br#"{"a":"#, end("a value"), 5),
        (br#""abc"#, end("a string"), 4),
        (br#""abc\"#, end("a string"), 5),
        (b"tru", end("a value"), 3),
        (b"nulL", JsonErrorKind::ExpectedLiteral, 3),
        (b"[,]", JsonErrorKind::ExpectedValue, 1),
        (b"'a'", JsonErrorKind::ExpectedValue, 0),
        (b"[1 2]", mark("`,` or `]`"), 3),
        (br#"{"a" 1}"#, mark("`:`"), 5),
        (br#"{"a":1 "b"}"#, mark("`,` or `}`"), 7),
        (b"[1,]", JsonErrorKind::TrailingComma, 3),
        (br#"{"a":1,}"#, JsonErrorKind::TrailingComma, 7),
        (b"{a:1}", JsonErrorKind::ExpectedKey, 1),
        (b"{1:1}", JsonErrorKind::ExpectedKey, 1),
        (br#"{"a":1, "b":2 , "a" :3}"#, twice("a"), 16),
        (br#"[{"x":{"\u0061":1,"a":2}}]"#, twice("a"), 18),
        (br#"{"":1,"":2}"#, twice(""), 6),
        (b"01", JsonErrorKind::InvalidNumber, 1),
        (b"[-x]", JsonErrorKind::InvalidNumber, 2),
        (b"[1.x]", JsonErrorKind::InvalidNumber, 3),
        (b"[1e]", JsonErrorKind::InvalidNumber, 3),
        (b"-", end("a value"), 1),
        (b"+1", JsonErrorKind::ExpectedValue, 0),
        (b".5", JsonErrorKind::ExpectedValue, 0),
        (b"[NaN]", JsonErrorKind::NotFinite, 1),
        (b"[ Infinity]", JsonErrorKind::NotFinite, 2),
        (b"[-Infinity]", JsonErrorKind::NotFinite, 2),
        (b"Nope", JsonErrorKind::ExpectedValue, 0),
        (b"\"a\nb\"", JsonErrorKind::ControlCharacter, 2),
        (b"\"0123456789abcdef\x00\"", JsonErrorKind::ControlCharacter, 17),
        (br#""a\x""#, JsonErrorKind::InvalidEscape, 3),
        (br#""a\u12g4""#, JsonErrorKind::InvalidEscape, 6),
        (br#"["a\ud800"]"#, JsonErrorKind::LoneSurrogate, 3),
        (br#"["a\ud800\n"]"#, JsonErrorKind::LoneSurrogate, 3),
        (br#"["a\ud800x"]"#, JsonErrorKind::LoneSurrogate, 3),
        (br#"["a\udc00x"]"#, JsonErrorKind::LoneSurrogate, 3),
        (br#"["a\uDC00x"]"#, JsonErrorKind::LoneSurrogate, 3),
        (br#"["a\ud800\ud800"]"#, JsonErrorKind::LoneSurrogate, 3),
        (br#"["a\ud800\u0041"]"#, JsonErrorKind::LoneSurrogate, 3),
        (br#"{"\ud800":1}"#, JsonErrorKind::LoneSurrogate, 2),
        (b"[\"ab\xff\"]", JsonErrorKind::InvalidUtf8, 4),
        (b"[\"\\n\\n\xc3\"]", JsonErrorKind::InvalidUtf8, 6),
        (b"{\"\xe2\x82\":1}", JsonErrorKind::InvalidUtf8, 2),
        (b"\xff", JsonErrorKind::ExpectedValue, 0),
        (b"1 2", JsonErrorKind::TrailingCharacters, 2),
        (b"{}}", JsonErrorKind::TrailingCharacters, 2),
        (b"null\0", JsonErrorKind::TrailingCharacters, 4),
    ];
    for (json, kind, byte_offset) in cases {
        let error = parse_document(json, &JsonLimits::default()).expect_err("no JSON");
        assert_eq!((error.kind, error.byte_offset), (kind, byte_offset), "{}", json.escape_ascii());
    }
}

#[test]
fn errors_tell_line_and_column() {
    let error = parse("{\n  \"a\": 1,\n  \"a\": 2\n}").expect_err("a duplicate");
    assert_eq!((error.byte_offset, error.line, error.column), (14, 3, 3));
    assert_eq!(error.to_string(), r#"the field "a" is there twice in one object (line 3, column 3)"#);
    let error = parse("[1,\n").expect_err("an end");
    assert_eq!((error.line, error.column), (2, 1));
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let deep = |depth_max: usize| JsonErrorKind::TooDeep { depth_max };
    assert_eq!(parse(&nested(128)).map(|value| value.depth()), Ok(128));
    let error = parse(&nested(129)).expect_err("too deep");
    assert_eq!((error.kind, error.byte_offset), (deep(128), 128));
    // Never closed, and far past any stack.
    for opening in ["[", r#"{"a":"#, r#"[{"a":"#] {
        let error = parse(&opening.repeat(100_000)).expect_err("too deep");
        assert_eq!(error.kind, deep(128));
    }
    let unbounded = JsonLimits { depth_max: usize::MAX, ..JsonLimits::default() };
    let deepest = parse_document(nested(DEPTH_CEILING).as_bytes(), &unbounded).expect("within the ceiling");
    assert_eq!(deepest.depth(), DEPTH_CEILING);
    let error = parse_document(nested(100_000).as_bytes(), &unbounded).expect_err("too deep");
    assert_eq!((error.kind, error.byte_offset), (deep(DEPTH_CEILING), DEPTH_CEILING));
}

#[test]
fn numbers_of_any_length_are_kept() {
    let digits = "7".repeat(5000);
    for number in [digits.clone(), format!("-{digits}.5e-3"), format!("{digits}E7"), format!("0.{digits}")] {
        let json = format!(r#"{{"a": [{number}, {number} ], "b": {number}, "c": "x"}}"#);
        let read = parse(&json).expect("JSON");
        let kept = tagged("number", &number);
        let array = Value::Array(vec![kept.clone(), kept.clone()]);
        assert_eq!(read, object([("a", array), ("b", kept), ("c", Value::String("x".to_owned()))]));
    }
    for (tail, kind, past) in [
        ("x", mark("`,` or `]`"), 0),
        (".x", JsonErrorKind::InvalidNumber, 1),
        ("e+", end("a number"), 2),
        (",{\"a\":1,\"a\":1}]", JsonErrorKind::DuplicateKey { key: "a".to_owned() }, 8),
        (",nulL]", JsonErrorKind::ExpectedLiteral, 4),
        (",\"\\n\u{0}\"]", JsonErrorKind::ControlCharacter, 4),
    ] {
        let error = parse(&format!("[{digits}{tail}")).expect_err("no JSON");
        assert_eq!((error.kind, error.byte_offset), (kind, 5001 + past), "{tail}");
    }
    let error = parse_document(&[b"[".as_slice(), digits.as_bytes(), b",\"\xff\"]"].concat(), &JsonLimits::default());
    assert_eq!(error.expect_err("no UTF-8").byte_offset, 5003);
}

#[test]
fn long_documents_are_refused() {
    let limits = JsonLimits { document_bytes_max: 10, ..JsonLimits::default() };
    assert!(parse_document(b"   \"12345678\"   ", &limits).is_ok());
    let error = parse_document(b" \"123456789\"", &limits).expect_err("too long");
    assert_eq!((error.kind, error.byte_offset), (JsonErrorKind::TooLong { bytes: 11, document_bytes_max: 10 }, 1));
    assert!(parse_array_of_documents(b"[\"12345678\", \"12345678\"]", &limits).is_ok());
    let error = parse_array_of_documents(b"[{}, \"123456789\"]", &limits).expect_err("too long");
    assert_eq!(error.byte_offset, 5);
}

#[test]
fn bodies_of_documents_are_read() {
    let limits = JsonLimits { depth_max: 2, ..JsonLimits::default() };
    let read = |body: &str| parse_array_of_documents(body.as_bytes(), &limits);
    assert_eq!(read(" [ ] "), Ok(vec![]));
    assert_eq!(read(r#" {"a":1} "#), Ok(vec![object([("a", Value::Int(1))])]));
    assert_eq!(read(r#"[{"a":1}, 5, {}]"#), Ok(vec![object([("a", Value::Int(1))]), Value::Int(5), object([])]));
    assert!(read(r#"[{"a":[]}]"#).is_ok(), "the array around the documents is no level");
    let cases = [
        (r#"[{"a":[[]]}]"#, JsonErrorKind::TooDeep { depth_max: 2 }, 7),
        ("[{},\n{]", JsonErrorKind::ExpectedKey, 6),
        ("[{}] x", JsonErrorKind::TrailingCharacters, 5),
        ("{} {}", JsonErrorKind::TrailingCharacters, 3),
        (" 5", JsonErrorKind::ExpectedDocuments, 1),
        ("", end("a value"), 0),
    ];
    for (body, kind, byte_offset) in cases {
        let error = read(body).expect_err("no body");
        assert_eq!((error.kind, error.byte_offset), (kind, byte_offset), "{body}");
    }
}

#[test]
fn lines_are_found() {
    let body = b"{\"a\":1}\r\n\n  \t\r\n[2]\n \r\r\n3";
    let lines: Vec<_> = ndjson_lines(body).map(|line| (line.number, line.byte_offset, line.bytes)).collect();
    assert_eq!(lines, [(1, 0, b"{\"a\":1}".as_slice()), (4, 15, b"[2]"), (6, 23, b"3")]);
    for (number, offset, bytes) in lines {
        assert!(number > 0 && body[offset..].starts_with(bytes));
    }
    assert_eq!(ndjson_lines(b"").count() + ndjson_lines(b"\n\r\n").count(), 0);
}

/// Bytes that are nearly JSON: what random bytes hardly ever are.
fn nearly_json() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"a\"",
        "\"b\"",
        "\"",
        "\\u",
        "\\ud800",
        "\\udc00",
        "\\n",
        "1",
        "-",
        "0.5",
        "e5",
        "1e400",
        "null",
        "true",
        "NaN",
        "Infinity",
        " ",
        "\n",
        "é",
        "\u{0}",
        "12345678901234567890",
    ];
    let piece = prop_oneof![
        20 => proptest::sample::select(pieces.to_vec()).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ];
    proptest::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

fn check_against_serde(bytes: &[u8]) -> Result<(), TestCaseError> {
    let theirs = serde_json::from_slice::<serde_json::Value>(bytes);
    match parse_document(bytes, &JsonLimits::default()) {
        Ok(_) => {
            prop_assert!(std::str::from_utf8(bytes).is_ok());
            let out_of_range = |error: &serde_json::Error| error.to_string().starts_with("number out of range");
            prop_assert!(theirs.as_ref().err().is_none_or(out_of_range), "{theirs:?}");
        }
        Err(error) => {
            prop_assert!(error.byte_offset <= bytes.len());
            let is_ours_alone = matches!(error.kind, JsonErrorKind::DuplicateKey { .. });
            prop_assert!(theirs.is_err() || is_ours_alone, "{error}");
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in any::<Vec<u8>>()) {
        check_against_serde(&bytes)?;
        let _ = parse_array_of_documents(&bytes, &JsonLimits::default());
        prop_assert!(ndjson_lines(&bytes).all(|line| bytes[line.byte_offset..].starts_with(line.bytes)));
    }

    #[test]
    fn nearly_json_is_read_or_refused(bytes in nearly_json()) {
        check_against_serde(&bytes)?;
        let _ = parse_array_of_documents(&bytes, &JsonLimits::default());
    }

    #[test]
    fn strings_are_read_as_serde_reads_them(pieces in nearly_json()) {
        let json = [b"\"".as_slice(), &pieces, b"\""].concat();
        if let Ok(Value::String(text)) = parse_document(&json, &JsonLimits::default()) {
            prop_assert_eq!(serde_json::from_slice::<String>(&json).ok(), Some(text));
        }
    }
}
