//! What can be wrong with a query, and where in its text.
//!
//! In: errors of the tokenizer and parser, whose texts end in ` at Line: 1, Column: 7`, and findings of this module. Out:
//! [`SqlError`]s with the position in fields and a message without it. Leaves HTTP statuses to the server.

use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Location, TokenizerError};

use super::names::nearest;

/// The most characters of a message; a token found where it does not belong may be a text of megabytes.
const MESSAGE_CHARS_MAX: usize = 300;

/// Words that open a query, offered when something similar stands where one must.
const OPENERS: [&str; 6] = ["SELECT", "WITH", "VALUES", "EXPLAIN", "DESCRIBE", "SHOW"];

/// Words that open a clause, offered when something similar stands where the query could end.
const CLAUSES: [&str; 20] = [
    "FROM",
    "WHERE",
    "GROUP",
    "HAVING",
    "QUALIFY",
    "WINDOW",
    "ORDER",
    "LIMIT",
    "OFFSET",
    "JOIN",
    "INNER",
    "LEFT",
    "RIGHT",
    "FULL",
    "CROSS",
    "ON",
    "USING",
    "UNION",
    "INTERSECT",
    "EXCEPT",
];

/// What the parser calls the places where [`OPENERS`] fit.
pub(super) const A_QUERY: &str = "a query";

/// What the parser calls the places where [`CLAUSES`] fit.
pub(super) const THE_END: &str = "the end of the query";

/// What kind of mistake a query has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SqlErrorKind {
    /// The text is not SQL as this module reads it.
    Syntax,
    /// The text is SQL, but a statement other than a query, or more than one.
    NotAQuery,
    /// The query has a clause that would be ignored.
    Unsupported,
    /// The text, or what its parameters hold, is longer than [`limits`](super::limits) allow.
    TooLarge,
    /// The query nests deeper, or chains more operators, than [`limits`](super::limits) allow.
    TooComplex,
    /// A parameter lacks a value, or a value its parameter.
    Parameter,
}

/// A mistake in a query: what, where and, if known, what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SqlError {
    /// What kind of mistake it is.
    pub kind: SqlErrorKind,
    /// What is wrong, without the position.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The line, from 1.
    pub line: Option<u64>,
    /// The column in characters, from 1.
    pub column: Option<u64>,
}

impl SqlError {
    pub(super) fn new(kind: SqlErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, line: None, column: None }
    }

    /// Adds where; a location of zeros is the parser's word for not knowing.
    pub(super) fn at(self, location: Location) -> Self {
        let known = location.line > 0 && location.column > 0;
        Self { line: known.then_some(location.line), column: known.then_some(location.column), ..self }
    }

    pub(super) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// An error of the tokenizer, which says where.
    pub(super) fn from_tokenizer(error: TokenizerError, sql: &str) -> Self {
        Self::from_text(&error.to_string(), sql)
    }

    /// An error of the parser; where its text names the end of the input, that is the position.
    pub(super) fn from_parser(error: ParserError, sql: &str) -> Self {
        match error {
            ParserError::TokenizerError(text) | ParserError::ParserError(text) => Self::from_text(&text, sql),
            ParserError::RecursionLimitExceeded => {
                Self::new(SqlErrorKind::TooComplex, "the query is nested too deeply")
                    .with_hint("name parts of it with WITH, and use the names")
            }
        }
    }

    fn from_text(text: &str, sql: &str) -> Self {
        let (text, location) = split_location(text);
        let Some((expected, found)) = text.strip_prefix("Expected: ").and_then(|rest| rest.split_once(", found: "))
        else {
            return Self::new(SqlErrorKind::Syntax, shortened(&uncapitalised(text)))
                .at(location.unwrap_or(Location::empty()));
        };
        if found == "EOF" && location.is_none() {
            let message = format!("expected {expected}, found the end of the text");
            return Self::new(SqlErrorKind::Syntax, message).at(end_of(sql));
        }
        let error = Self::new(SqlErrorKind::Syntax, shortened(&format!("expected {expected}, found {found}")))
            .at(location.unwrap_or(Location::empty()));
        let words: &[&str] = match expected {
            A_QUERY => &OPENERS,
            THE_END | ")" => &CLAUSES,
            _ => &[],
        };
        match nearest(found, words.iter().copied()) {
            Some(word) if !word.eq_ignore_ascii_case(found) => error.with_hint(format!("did you mean {word}?")),
            _ => error,
        }
    }
}

/// Takes ` at Line: 1, Column: 7` off the end of a text.
fn split_location(text: &str) -> (&str, Option<Location>) {
    let parts = text.rsplit_once(" at Line: ").and_then(|(message, position)| {
        let (line, column) = position.split_once(", Column: ")?;
        Some((message, Location { line: line.parse().ok()?, column: column.parse().ok()? }))
    });
    match parts {
        Some((message, location)) => (message, Some(location)),
        None => (text, None),
    }
}

/// The position after the last character that is not white space.
pub(super) fn end_of(sql: &str) -> Location {
    let text = sql.trim_end();
    let last_line = text.rsplit('\n').next().unwrap_or_default();
    let lines = text.matches('\n').count() as u64 + 1;
    Location { line: lines, column: last_line.chars().count() as u64 + 1 }
}

/// A sentence of the parser as a clause: a first word in capitals stays, as `EXTRACT`.
fn uncapitalised(text: &str) -> String {
    let text = text.trim_end_matches('.');
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(first), Some(second)) if second.is_lowercase() => {
            first.to_lowercase().chain(text.chars().skip(1)).collect()
        }
        _ => text.to_owned(),
    }
}

fn shortened(message: &str) -> String {
    match message.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}
