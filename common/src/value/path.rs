//! Paths to fields.
//!
//! In: names, text as in SQL (`user.address.city`, `a['b.c']`), JSON pointers (RFC 6901). Out: [`FieldPath`], and names.
//! Owns the text of a path. Leaves to the catalog which field a path is, to patches what a pointer's tokens mean in an
//! array.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::{Object, Value};

/// A text that is no path.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PathError {
    /// Something else stands where a name must.
    #[error("expected a name at byte {byte_offset} of the path")]
    ExpectedName {
        /// Where.
        byte_offset: usize,
    },
    /// Something else stands where the next step must.
    #[error("expected `.` or `['` at byte {byte_offset} of the path")]
    ExpectedStep {
        /// Where.
        byte_offset: usize,
    },
    /// A quoted name does not end with `']`.
    #[error("the quoted name that starts at byte {byte_offset} of the path does not end with `']`")]
    OpenQuote {
        /// Where it starts.
        byte_offset: usize,
    },
    /// A JSON pointer does not start with `/`.
    #[error("a JSON pointer must be empty or start with `/`")]
    PointerStart,
    /// A `~` in a JSON pointer is followed by neither 0 nor 1.
    #[error("a `~` that is neither `~0` nor `~1` at byte {byte_offset} of the JSON pointer")]
    PointerEscape {
        /// Where.
        byte_offset: usize,
    },
}

/// The way from a document to one of its fields: the names of objects' fields, outermost first.
///
/// Its text is the names joined by points; a name that is no plain word is quoted: `user['first name'].x`, with `''`
/// for a quote. Paths are ordered by their names, so what is below a path follows it directly.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FieldPath(Vec<String>);

impl FieldPath {
    /// The path to the document itself, which has no name in it.
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// Tells whether it is the path to the document itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The names, outermost first.
    pub fn keys(&self) -> &[String] {
        &self.0
    }

    /// The names, outermost first.
    pub fn into_keys(self) -> Vec<String> {
        self.0
    }

    /// The path to a field of the object that this one leads to.
    #[must_use]
    pub fn child(&self, key: impl Into<String>) -> Self {
        let mut keys = Vec::with_capacity(self.0.len() + 1);
        keys.extend_from_slice(&self.0);
        keys.push(key.into());
        Self(keys)
    }

    /// The value that the path leads to in an object.
    pub fn find_in<'v>(&self, object: &'v Object) -> Option<&'v Value> {
        let (last, way) = self.0.split_last()?;
        let inner = way.iter().try_fold(object, |object, key| match object.get(key)? {
            Value::Object(inner) => Some(inner),
            _ => None,
        });
        inner?.get(last)
    }

    /// Tells whether the other path leads here or through here.
    pub fn contains(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }
}

impl From<Vec<String>> for FieldPath {
    fn from(keys: Vec<String>) -> Self {
        Self(keys)
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, key) in self.0.iter().enumerate() {
            match (plain_length(key) == key.len() && !key.is_empty(), index) {
                (true, 0) => formatter.write_str(key)?,
                (true, _) => write!(formatter, ".{key}")?,
                (false, _) => write!(formatter, "['{}']", key.replace('\'', "''"))?,
            }
        }
        Ok(())
    }
}

impl FromStr for FieldPath {
    type Err = PathError;

    /// Reads what `Display` writes; plain names may be quoted too. The empty text is the root.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut keys = Vec::new();
        let mut byte_offset = 0;
        while byte_offset < text.len() {
            let rest = &text[byte_offset..];
            if let Some(quoted) = rest.strip_prefix("['") {
                let (key, length) = read_quoted(quoted).ok_or(PathError::OpenQuote { byte_offset })?;
                keys.push(key);
                byte_offset += 2 + length;
                continue;
            }
            match rest.strip_prefix('.') {
                Some(_) if !keys.is_empty() => byte_offset += 1,
                None if keys.is_empty() => {}
                Some(_) => return Err(PathError::ExpectedName { byte_offset }),
                None => return Err(PathError::ExpectedStep { byte_offset }),
            }
            let length = plain_length(&text[byte_offset..]);
            if length == 0 {
                return Err(PathError::ExpectedName { byte_offset });
            }
            keys.push(text[byte_offset..byte_offset + length].to_owned());
            byte_offset += length;
        }
        Ok(Self(keys))
    }
}

/// Reads a JSON pointer (RFC 6901) into its tokens: `/a~1b/0` is `a/b`, then `0`; the empty pointer has none.
///
/// # Errors
/// It does not start with `/`, or has a `~` that escapes nothing.
pub fn parse_pointer(pointer: &str) -> Result<Vec<String>, PathError> {
    if pointer.is_empty() {
        return Ok(Vec::new());
    }
    let tokens = pointer.strip_prefix('/').ok_or(PathError::PointerStart)?;
    let bytes = pointer.as_bytes();
    let escapes_nothing = |at: &usize| bytes[*at] == b'~' && !matches!(bytes.get(at + 1), Some(b'0' | b'1'));
    if let Some(byte_offset) = (0..bytes.len()).find(escapes_nothing) {
        return Err(PathError::PointerEscape { byte_offset });
    }
    // In this order: `~01` is `~1` and not `/`.
    Ok(tokens.split('/').map(|token| token.replace("~1", "/").replace("~0", "~")).collect())
}

/// How many bytes at the start of the text form a plain name: `[A-Za-z_][A-Za-z0-9_-]*`.
fn plain_length(text: &str) -> usize {
    match text.bytes().next() {
        Some(first) if first.is_ascii_alphabetic() || first == b'_' => {
            text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')).count()
        }
        _ => 0,
    }
}

/// Reads a quoted name from behind its `['` to behind its `']`, and tells how many bytes that took.
fn read_quoted(text: &str) -> Option<(String, usize)> {
    let mut key = String::new();
    let mut start = 0;
    loop {
        let quote = start + text[start..].find('\'')?;
        key.push_str(&text[start..quote]);
        match text.as_bytes().get(quote + 1)? {
            b'\'' => key.push('\''),
            b']' => return Some((key, quote + 2)),
            _ => return None,
        }
        start = quote + 2;
    }
}
