//! Reading JSON.
//!
//! In: the bytes of a document, of a body of documents, or of NDJSON. Out: [`Value`]s whose numbers are exact, or a
//! [`JsonError`] with its place. Owns what is accepted (RFC 8259 without duplicate names) and the bounds on it. Leaves
//! the tokens to jiter, numbers to `number`, and to the tailer what becomes of a document that cannot be read.

use std::collections::btree_map::Entry;

use jiter::{Jiter, JiterError, JiterErrorType, JsonErrorType, Peek};

pub use super::json_error::{JsonError, JsonErrorKind};
use super::number::{json_number_end, value_of_json_number};
use super::{DEPTH_CEILING, Object, Value};

/// The bounds on one document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonLimits {
    /// How many levels of arrays and objects a document may have; [`DEPTH_CEILING`] holds whatever is set here.
    pub depth_max: usize,
    /// How long a document may be, in bytes of JSON.
    pub document_bytes_max: usize,
}

impl Default for JsonLimits {
    fn default() -> Self {
        // The contract's defaults. Deeper than 128 is no document but an accident or an attack.
        Self { depth_max: 128, document_bytes_max: 16 << 20 }
    }
}

/// Reads one JSON value that fills the text but for blanks around it.
///
/// A number becomes what holds exactly that number. Without point and exponent: an int, else a decimal, else the tagged
/// text `number`. With: the float whose shortest text denotes the same number, else a decimal, else the text. `-0` is
/// the int 0, `-0.0` the float -0.0.
///
/// # Errors
/// The text is no JSON, names a field of an object twice, or is over one of the limits.
pub fn parse_document(bytes: &[u8], limits: &JsonLimits) -> Result<Value, JsonError> {
    let mut reader = Reader::open(bytes, limits);
    let peek = reader.peek()?;
    let document = reader.document(peek)?;
    reader.finish()?;
    Ok(document)
}

/// Reads a body that is an array of documents, or one document that is an object. The limits hold for each document,
/// and the array around them is no level. Whether each is an object is left to the caller, who knows its index.
///
/// # Errors
/// The body as a whole is no JSON, or is neither an array nor an object, or one document is over a limit; the offset
/// is relative to the body.
pub fn parse_array_of_documents(bytes: &[u8], limits: &JsonLimits) -> Result<Vec<Value>, JsonError> {
    let mut reader = Reader::open(bytes, limits);
    let mut documents = Vec::new();
    match reader.peek()? {
        Peek::Object => documents.push(reader.document(Peek::Object)?),
        Peek::Array => {
            let mut next = reader.tokens.known_array().map_err(|error| reader.error(error))?;
            while let Some(peek) = next {
                documents.push(reader.document(peek)?);
                next = reader.tokens.array_step().map_err(|error| reader.error(error))?;
            }
        }
        _ => return Err(reader.error_here(JsonErrorKind::ExpectedDocuments)),
    }
    reader.finish()?;
    Ok(documents)
}

/// One line of an NDJSON body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NdjsonLine<'a> {
    /// Which line of the body it is, from 1, blank lines counted.
    pub number: usize,
    /// Where it starts, in bytes from the start of the body.
    pub byte_offset: usize,
    /// The line without its end (`\n` or `\r\n`).
    pub bytes: &'a [u8],
}

/// The lines of an NDJSON body that are not blank. The last line needs no end.
pub fn ndjson_lines(bytes: &[u8]) -> impl Iterator<Item = NdjsonLine<'_>> {
    let mut byte_offset = 0;
    let lines = bytes.split(|byte| *byte == b'\n').enumerate().map(move |(index, line)| {
        let start = byte_offset;
        byte_offset += line.len() + 1;
        NdjsonLine { number: index + 1, byte_offset: start, bytes: line.strip_suffix(b"\r").unwrap_or(line) }
    });
    lines.filter(|line| !line.bytes.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r')))
}

/// The reading of one text.
struct Reader<'a> {
    text: &'a [u8],
    /// The tokens of the text from `base` on.
    tokens: Jiter<'a>,
    base: usize,
    limits: JsonLimits,
}

impl<'a> Reader<'a> {
    fn open(text: &'a [u8], limits: &JsonLimits) -> Self {
        let limits = JsonLimits { depth_max: limits.depth_max.min(DEPTH_CEILING), ..*limits };
        Self { text, tokens: Jiter::new(text), base: 0, limits }
    }

    /// The byte that is read next.
    fn offset(&self) -> usize {
        self.base + self.tokens.current_index()
    }

    fn peek(&mut self) -> Result<Peek, JsonError> {
        self.tokens.peek().map_err(|error| self.error(error))
    }

    fn finish(&mut self) -> Result<(), JsonError> {
        self.tokens.finish().map_err(|error| self.error(error))
    }

    /// Reads one document, which starts at the next byte.
    fn document(&mut self, peek: Peek) -> Result<Value, JsonError> {
        let start = self.offset();
        let document = self.value(peek, 0)?;
        let (bytes, document_bytes_max) = (self.offset() - start, self.limits.document_bytes_max);
        if bytes > document_bytes_max {
            return Err(JsonError::at(JsonErrorKind::TooLong { bytes, document_bytes_max }, self.text, start));
        }
        Ok(document)
    }

    /// Reads one value inside `depth` arrays and objects. Calls itself for what is inside, no deeper than the limit.
    fn value(&mut self, peek: Peek, depth: usize) -> Result<Value, JsonError> {
        match peek {
            Peek::Null => self.tokens.known_null().map(|()| Value::Null).map_err(|error| self.error(error)),
            Peek::True | Peek::False => {
                self.tokens.known_bool(peek).map(Value::Bool).map_err(|error| self.error(error))
            }
            Peek::String => {
                let text = self.tokens.known_str().map(str::to_owned);
                text.map(Value::String).map_err(|error| self.error(error))
            }
            Peek::Array => self.array(depth + 1).map(Value::Array),
            Peek::Object => self.object(depth + 1).map(Value::Object),
            Peek::NaN | Peek::Infinity => Err(self.not_a_value()),
            number if number.is_num() => self.number(number),
            _ => Err(self.not_a_value()),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Vec<Value>, JsonError> {
        self.check_depth(depth)?;
        let mut items = Vec::new();
        let mut next = self.tokens.known_array().map_err(|error| self.error(error))?;
        while let Some(peek) = next {
            items.push(self.value(peek, depth)?);
            next = self.tokens.array_step().map_err(|error| self.error(error))?;
        }
        Ok(items)
    }

    fn object(&mut self, depth: usize) -> Result<Object, JsonError> {
        self.check_depth(depth)?;
        let mut fields = Object::new();
        let mut before_key = self.offset();
        let mut next = self.tokens.known_object().map(|key| key.map(str::to_owned));
        while let Some(key) = next.map_err(|error| self.error(error))? {
            let peek = self.peek()?;
            let value = self.value(peek, depth)?;
            match fields.entry(key) {
                Entry::Vacant(field) => field.insert(value),
                Entry::Occupied(field) => {
                    // Only `{` or a comma and blanks stand between there and the name.
                    let blanks = self.text[before_key..].iter().take_while(|byte| **byte != b'"').count();
                    let kind = JsonErrorKind::DuplicateKey { key: field.key().clone() };
                    return Err(JsonError::at(kind, self.text, before_key + blanks));
                }
            };
            before_key = self.offset();
            next = self.tokens.next_key().map(|key| key.map(str::to_owned));
        }
        Ok(fields)
    }

    /// Reads a number from its own bytes.
    fn number(&mut self, peek: Peek) -> Result<Value, JsonError> {
        let start = self.offset();
        let value = self.tokens.known_number_bytes(peek).map(|bytes| value_of_json_number(ascii(bytes)));
        value.or_else(|error| {
            if error.error_type != JiterErrorType::JsonError(JsonErrorType::NumberOutOfRange) {
                return Err(self.error(error));
            }
            // Jiter stops at 4,300 digits before the point. No number is refused here: find its end, and go on behind.
            let end = json_number_end(&self.text[start..]).map_err(|at| self.bad_number(start + at))? + start;
            (self.tokens, self.base) = (Jiter::new(&self.text[end..]), end);
            Ok(value_of_json_number(ascii(&self.text[start..end])))
        })
    }

    fn check_depth(&self, depth: usize) -> Result<(), JsonError> {
        let depth_max = self.limits.depth_max;
        if depth > depth_max { Err(self.error_here(JsonErrorKind::TooDeep { depth_max })) } else { Ok(()) }
    }

    fn error_here(&self, kind: JsonErrorKind) -> JsonError {
        JsonError::at(kind, self.text, self.offset())
    }

    /// The error for a byte with which no value begins.
    fn not_a_value(&self) -> JsonError {
        let rest = &self.text[self.offset()..];
        let not_finite = rest.starts_with(b"NaN") || rest.starts_with(b"Infinity");
        self.error_here(if not_finite { JsonErrorKind::NotFinite } else { JsonErrorKind::ExpectedValue })
    }

    /// The error for a number that stops being one at a byte.
    fn bad_number(&self, byte_offset: usize) -> JsonError {
        let kind = match self.text.get(byte_offset..) {
            None | Some([]) => JsonErrorKind::UnexpectedEnd { inside: "a number" },
            Some(rest) if rest.starts_with(b"Infinity") || rest.starts_with(b"NaN") => JsonErrorKind::NotFinite,
            Some(_) => JsonErrorKind::InvalidNumber,
        };
        JsonError::at(kind, self.text, byte_offset)
    }

    /// Says in our words, and with the place in the whole text, what jiter says.
    fn error(&self, error: JiterError) -> JsonError {
        let byte_offset = self.base + error.index;
        let JiterErrorType::JsonError(error_type) = error.error_type else {
            return JsonError::at(JsonErrorKind::ExpectedValue, self.text, byte_offset);
        };
        let expected = |expected: &'static str| JsonErrorKind::ExpectedMark { expected };
        let ends = |inside: &'static str| JsonErrorKind::UnexpectedEnd { inside };
        let (kind, byte_offset) = match error_type {
            JsonErrorType::EofWhileParsingList => (ends("an array"), byte_offset),
            JsonErrorType::EofWhileParsingObject => (ends("an object"), byte_offset),
            JsonErrorType::EofWhileParsingString => (ends("a string"), self.text.len()),
            JsonErrorType::EofWhileParsingValue => (ends("a value"), byte_offset),
            JsonErrorType::ExpectedColon => (expected("`:`"), byte_offset),
            JsonErrorType::ExpectedListCommaOrEnd => (expected("`,` or `]`"), byte_offset),
            JsonErrorType::ExpectedObjectCommaOrEnd => (expected("`,` or `}`"), byte_offset),
            JsonErrorType::ExpectedSomeIdent => (JsonErrorKind::ExpectedLiteral, byte_offset),
            JsonErrorType::ExpectedSomeValue => return self.not_a_value(),
            JsonErrorType::InvalidEscape => (JsonErrorKind::InvalidEscape, byte_offset),
            JsonErrorType::InvalidNumber => return self.bad_number(byte_offset),
            JsonErrorType::InvalidUnicodeCodePoint => (JsonErrorKind::InvalidUtf8, self.invalid_utf8_at()),
            JsonErrorType::ControlCharacterWhileParsingString => (JsonErrorKind::ControlCharacter, byte_offset),
            JsonErrorType::KeyMustBeAString => (JsonErrorKind::ExpectedKey, byte_offset),
            JsonErrorType::LoneLeadingSurrogateInHexEscape | JsonErrorType::UnexpectedEndOfHexEscape => {
                (JsonErrorKind::LoneSurrogate, self.lone_surrogate_at(&error_type, byte_offset))
            }
            JsonErrorType::TrailingComma => (JsonErrorKind::TrailingComma, byte_offset),
            JsonErrorType::TrailingCharacters => (JsonErrorKind::TrailingCharacters, byte_offset),
            // No call that is made here ends so.
            JsonErrorType::FloatExpectingInt
            | JsonErrorType::DuplicateKey(_)
            | JsonErrorType::InternalError(_)
            | JsonErrorType::NumberOutOfRange
            | JsonErrorType::RecursionLimitExceeded => (JsonErrorKind::ExpectedValue, byte_offset),
        };
        JsonError::at(kind, self.text, byte_offset)
    }

    /// The first byte that is not UTF-8. Jiter counts it within the unescaped string; since everything before that
    /// string was UTF-8, it is the first of the text.
    fn invalid_utf8_at(&self) -> usize {
        str::from_utf8(self.text).map_or_else(|error| error.valid_up_to(), |_| self.offset())
    }

    /// The backslash of the surrogate that has no other half, given where jiter noticed: at the last digit of the
    /// escape that should have been the second half (or is one, without a first), or just behind the escape of the
    /// first half, past one more backslash if there is one.
    fn lone_surrogate_at(&self, error_type: &JsonErrorType, noticed: usize) -> usize {
        const ESCAPE_BYTES: usize = r"\ud800".len();
        let back = if *error_type == JsonErrorType::UnexpectedEndOfHexEscape {
            ESCAPE_BYTES + usize::from(self.text[noticed - 1] == b'\\')
        } else {
            let is_second_half = matches!(self.text[noticed - 3..], [b'd' | b'D', b'c'..=b'f' | b'C'..=b'F', ..]);
            if is_second_half { ESCAPE_BYTES - 1 } else { 2 * ESCAPE_BYTES - 1 }
        };
        noticed - back
    }
}

/// The bytes of a number as text.
fn ascii(number: &[u8]) -> &str {
    str::from_utf8(number).expect("a number has ASCII only")
}
