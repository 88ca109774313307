//! What can be wrong with JSON text, and where.
//!
//! In: what the reader met. Out: [`JsonError`], with the byte, line and column. Owns the words. Leaves to `json` the
//! finding, to the tailer where in a body or an object the text began.

use thiserror::Error;

/// What is wrong with a JSON text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum JsonErrorKind {
    /// The text ends inside a value.
    #[error("the text ends inside {inside}")]
    UnexpectedEnd {
        /// What it ends inside of.
        inside: &'static str,
    },
    /// Something else stands where a value must.
    #[error("expected a value")]
    ExpectedValue,
    /// A word begins like `true`, `false` or `null` and is none of them.
    #[error("expected `true`, `false` or `null`")]
    ExpectedLiteral,
    /// Something else stands where a mark must.
    #[error("expected {expected}")]
    ExpectedMark {
        /// The marks that can stand there.
        expected: &'static str,
    },
    /// A comma stands before the end of an array or object.
    #[error("a comma before the end of an array or object")]
    TrailingComma,
    /// The name of a field is no string.
    #[error("the name of a field must be a string")]
    ExpectedKey,
    /// An object has two fields of one name; the offset is that of the second name.
    #[error("the field {key:?} is there twice in one object")]
    DuplicateKey {
        /// The name.
        key: String,
    },
    /// The number is not written as JSON has them.
    #[error("not a number as JSON writes them")]
    InvalidNumber,
    /// NaN or an infinity is written as a number.
    #[error("JSON has no NaN and no infinity: use null")]
    NotFinite,
    /// A control character stands in a string as it is.
    #[error("a control character in a string must be escaped")]
    ControlCharacter,
    /// An escape in a string is none of JSON's.
    #[error("not an escape that JSON has")]
    InvalidEscape,
    /// Half of a surrogate pair stands alone in a string; the offset is that of its backslash.
    #[error("half of a surrogate pair, which is no character")]
    LoneSurrogate,
    /// The bytes are not UTF-8.
    #[error("not UTF-8")]
    InvalidUtf8,
    /// More than blanks follow the value.
    #[error("something follows the end of the value")]
    TrailingCharacters,
    /// Arrays and objects are nested too deep; the offset is that of the first bracket past the limit.
    #[error("nested deeper than {depth_max} levels (setting depth_max)")]
    TooDeep {
        /// The limit.
        depth_max: usize,
    },
    /// The document is too long.
    #[error("a document of {bytes} bytes, over the limit of {document_bytes_max} (setting document_bytes_max)")]
    TooLong {
        /// How long it is.
        bytes: usize,
        /// The limit.
        document_bytes_max: usize,
    },
    /// A body of documents is neither an array nor an object.
    #[error("expected an array of documents or one object")]
    ExpectedDocuments,
}

/// A JSON text that cannot be read: what is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{kind} (line {line}, column {column})")]
pub struct JsonError {
    /// What is wrong.
    pub kind: JsonErrorKind,
    /// Where, in bytes from the start of the text that was given; its length where the text ends too early.
    pub byte_offset: usize,
    /// The line of that byte, from 1.
    pub line: usize,
    /// The place of that byte in its line, from 1, in bytes.
    pub column: usize,
}

impl JsonError {
    /// Makes the error for a byte of a text, counting the lines up to there.
    pub(super) fn at(kind: JsonErrorKind, text: &[u8], byte_offset: usize) -> Self {
        let before = &text[..byte_offset.min(text.len())];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Self { kind, byte_offset: before.len(), line, column: before.len() - line_start + 1 }
    }
}
