//! The binary form of values.
//!
//! In: a [`Value`], or bytes from a log, a segment or the network. Out: bytes, or the value. Owns the format, which is
//! frozen by a fixture: a value has exactly one form, and only that form is read. Leaves checksums and the version of
//! the format to the file or frame around it.
//!
//! # Grammar
//!
//! ```text
//! value     := type:u8 body                    the type's frozen code
//! body      :=                                 null
//!            | 0x00 | 0x01                     bool
//!            | zigzag                          int, timestamp, date, time
//!            | bits:u64le                      float, IEEE 754
//!            | scale:u8 digits:text            decimal: two's complement, big endian, no byte more than needed
//!            | text                            string (UTF-8), bytes, geography
//!            | count:varint value*             array
//!            | count:varint (key:text value)*  object: keys in UTF-8, each greater than the one before, by bytes
//!            | count:varint bits:u32le*        vector, IEEE 754
//!            | tag:text text                   tagged, both in UTF-8
//! text      := length:varint byte*
//! varint    := u64, 7 bits a byte, low bits first, the high bit set on all bytes but the last; no byte more than needed
//! zigzag    := varint of (n << 1) ^ (n >> 63): 0, -1, 1, -2, …
//! ```

use arrow_buffer::i256;
use thiserror::Error;

use super::{DEPTH_CEILING, Decimal, Object, Tagged, Type, Value};

/// How many items are made room for before they are read: a count is only a claim.
const ROOM_ITEMS_MAX: usize = 1024;

/// Bytes that are no value, with the offset of what cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The bytes end inside a value, or a length or count reaches past their end.
    #[error("the bytes end inside the value at {offset}")]
    UnexpectedEnd {
        /// Where.
        offset: usize,
    },
    /// No type has this code.
    #[error("no type has the code {code} found at {offset}")]
    UnknownType {
        /// The code.
        code: u8,
        /// Where.
        offset: usize,
    },
    /// The bytes are not the one form of such a value.
    #[error("not a {expected} at {offset}")]
    Malformed {
        /// What should have been there.
        expected: &'static str,
        /// Where.
        offset: usize,
    },
    /// Text is not UTF-8.
    #[error("not UTF-8 at {offset}")]
    InvalidUtf8 {
        /// Where the text starts.
        offset: usize,
    },
    /// The keys of an object are not in order, or one is there twice.
    #[error("a key of an object out of order at {offset}")]
    KeyOrder {
        /// Where the second of the two starts.
        offset: usize,
    },
    /// Arrays and objects are nested deeper than any value is.
    #[error("nested deeper than {DEPTH_CEILING} levels at {offset}")]
    TooDeep {
        /// Where.
        offset: usize,
    },
    /// Bytes follow the value.
    #[error("bytes follow the end of the value at {offset}")]
    TrailingBytes {
        /// Where the value ends.
        offset: usize,
    },
}

/// Appends the binary form of a value.
///
/// # Panics
/// The value is deeper than [`DEPTH_CEILING`], which the model forbids.
pub fn encode(value: &Value, out: &mut Vec<u8>) {
    encode_inside(value, 0, out);
}

/// Reads a value that fills the bytes.
///
/// # Errors
/// The bytes are not the form that [`encode`] gives a value. Memory is bounded by the bytes, not by their claims.
pub fn decode(bytes: &[u8]) -> Result<Value, CodecError> {
    whole(bytes, |decoder| decoder.value(0))
}

/// Tells the type of a value that fills the bytes: [`decode`] without the value.
///
/// # Errors
/// As [`decode`].
pub fn check(bytes: &[u8]) -> Result<Type, CodecError> {
    whole(bytes, |decoder| decoder.pass(0))
}

fn whole<T>(bytes: &[u8], read: impl FnOnce(&mut Decoder<'_>) -> Result<T, CodecError>) -> Result<T, CodecError> {
    let mut decoder = Decoder { bytes, offset: 0 };
    let found = read(&mut decoder)?;
    match decoder.offset {
        offset if offset < bytes.len() => Err(CodecError::TrailingBytes { offset }),
        _ => Ok(found),
    }
}

/// Encodes a value inside `depth` arrays and objects.
fn encode_inside(value: &Value, depth: usize, out: &mut Vec<u8>) {
    out.push(value.value_type().code());
    match value {
        Value::Null => {}
        Value::Bool(value) => out.push(u8::from(*value)),
        Value::Int(number) | Value::Timestamp(number) | Value::Time(number) => put_zigzag(*number, out),
        Value::Date(days) => put_zigzag(i64::from(*days), out),
        Value::Float(float) => out.extend_from_slice(&float.to_bits().to_le_bytes()),
        Value::Decimal(decimal) => {
            out.push(decimal.scale());
            put_text(shortest(&decimal.unscaled().to_be_bytes()), out);
        }
        Value::String(text) => put_text(text.as_bytes(), out),
        Value::Bytes(bytes) | Value::Geography(bytes) => put_text(bytes, out),
        Value::Array(items) => {
            assert!(depth < DEPTH_CEILING, "a value deeper than {DEPTH_CEILING}");
            put_length(items.len(), out);
            for item in items {
                encode_inside(item, depth + 1, out);
            }
        }
        Value::Object(fields) => {
            assert!(depth < DEPTH_CEILING, "a value deeper than {DEPTH_CEILING}");
            put_length(fields.len(), out);
            for (key, field) in fields {
                put_text(key.as_bytes(), out);
                encode_inside(field, depth + 1, out);
            }
        }
        Value::Vector(items) => {
            put_length(items.len(), out);
            items.iter().for_each(|item| out.extend_from_slice(&item.to_bits().to_le_bytes()));
        }
        Value::Tagged(tagged) => {
            put_text(tagged.tag.as_bytes(), out);
            put_text(tagged.text.as_bytes(), out);
        }
    }
}

fn put_varint(number: u64, out: &mut Vec<u8>) {
    let mut rest = number;
    while rest > 0x7f {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn put_zigzag(number: i64, out: &mut Vec<u8>) {
    put_varint(((number << 1) ^ (number >> 63)).cast_unsigned(), out);
}

fn put_length(length: usize, out: &mut Vec<u8>) {
    put_varint(length as u64, out);
}

fn put_text(bytes: &[u8], out: &mut Vec<u8>) {
    put_length(bytes.len(), out);
    out.extend_from_slice(bytes);
}

/// The integer without the leading bytes that only repeat its sign; at least one byte.
fn shortest(integer: &[u8]) -> &[u8] {
    let mut rest = integer;
    // The byte behind keeps the sign, so the one before it says nothing.
    while matches!(rest, [0x00, 0x00..=0x7f, ..] | [0xff, 0x80..=0xff, ..]) {
        rest = &rest[1..];
    }
    rest
}

/// The reading of one value.
struct Decoder<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Decoder<'a> {
    /// Reads the type of a value inside `depth` arrays and objects.
    fn value_type(&mut self, depth: usize) -> Result<Type, CodecError> {
        let offset = self.offset;
        let code = self.byte()?;
        let value_type = Type::from_code(code).ok_or(CodecError::UnknownType { code, offset })?;
        if matches!(value_type, Type::Array | Type::Object) && depth >= DEPTH_CEILING {
            return Err(CodecError::TooDeep { offset });
        }
        Ok(value_type)
    }

    /// Passes over a value inside `depth` arrays and objects, and tells its type.
    fn pass(&mut self, depth: usize) -> Result<Type, CodecError> {
        let value_type = self.value_type(depth)?;
        match value_type {
            Type::String => drop(self.str()?),
            Type::Bytes | Type::Geography => drop(self.text()?),
            Type::Array => (0..self.count(1)?).try_for_each(|_| self.pass(depth + 1).map(drop))?,
            Type::Object => self.pass_fields(depth)?,
            _ => drop(self.body(value_type, depth)?),
        }
        Ok(value_type)
    }

    /// Reads a value inside `depth` arrays and objects.
    fn value(&mut self, depth: usize) -> Result<Value, CodecError> {
        let value_type = self.value_type(depth)?;
        self.body(value_type, depth)
    }

    /// Reads what follows a value's type.
    fn body(&mut self, value_type: Type, depth: usize) -> Result<Value, CodecError> {
        let value = match value_type {
            Type::Null => Value::Null,
            Type::Bool => Value::Bool(self.bool()?),
            Type::Int => Value::Int(self.zigzag()?),
            Type::Timestamp => Value::Timestamp(self.zigzag()?),
            Type::Time => Value::Time(self.zigzag()?),
            Type::Date => Value::Date(self.date()?),
            Type::Float => Value::Float(f64::from_bits(u64::from_le_bytes(self.array()?))),
            Type::Decimal => Value::Decimal(self.decimal()?),
            Type::String => Value::String(self.string()?),
            Type::Bytes => Value::Bytes(self.text()?.to_vec()),
            Type::Geography => Value::Geography(self.text()?.to_vec()),
            Type::Array => Value::Array(self.items(depth)?),
            Type::Object => Value::Object(self.fields(depth)?),
            Type::Vector => Value::Vector(self.vector()?),
            Type::Tagged => Value::Tagged(Tagged { tag: self.string()?, text: self.string()? }),
        };
        Ok(value)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], CodecError> {
        let end = self.offset.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(CodecError::UnexpectedEnd { offset: self.offset })?;
        let taken = &self.bytes[self.offset..end];
        self.offset = end;
        Ok(taken)
    }

    fn array<const COUNT: usize>(&mut self) -> Result<[u8; COUNT], CodecError> {
        Ok(self.take(COUNT)?.try_into().expect("as many bytes as were asked for"))
    }

    fn byte(&mut self) -> Result<u8, CodecError> {
        self.array().map(|[byte]| byte)
    }

    fn bool(&mut self) -> Result<bool, CodecError> {
        let offset = self.offset;
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(CodecError::Malformed { expected: "bool", offset }),
        }
    }

    fn varint(&mut self) -> Result<u64, CodecError> {
        let offset = self.offset;
        let mut number = 0u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            let overflows = bits << shift >> shift != bits;
            let padded = byte == 0 && shift > 0;
            if overflows || padded {
                break;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(CodecError::Malformed { expected: "varint", offset })
    }

    fn zigzag(&mut self) -> Result<i64, CodecError> {
        let coded = self.varint()?;
        Ok((coded >> 1).cast_signed() ^ -(coded & 1).cast_signed())
    }

    fn date(&mut self) -> Result<i32, CodecError> {
        let offset = self.offset;
        i32::try_from(self.zigzag()?).map_err(|_| CodecError::Malformed { expected: "date", offset })
    }

    /// Reads a count of things of at least `item_bytes` each, and checks that so many can follow.
    fn count(&mut self, item_bytes: usize) -> Result<usize, CodecError> {
        let offset = self.offset;
        let count = usize::try_from(self.varint()?).ok();
        let most = (self.bytes.len() - self.offset) / item_bytes;
        count.filter(|count| *count <= most).ok_or(CodecError::UnexpectedEnd { offset })
    }

    fn text(&mut self) -> Result<&'a [u8], CodecError> {
        let length = self.count(1)?;
        self.take(length)
    }

    fn str(&mut self) -> Result<&'a str, CodecError> {
        let offset = self.offset;
        str::from_utf8(self.text()?).map_err(|_| CodecError::InvalidUtf8 { offset })
    }

    fn string(&mut self) -> Result<String, CodecError> {
        self.str().map(str::to_owned)
    }

    fn decimal(&mut self) -> Result<Decimal, CodecError> {
        let offset = self.offset;
        let scale = self.byte()?;
        let digits = self.text()?;
        let padding = match digits.first() {
            Some(0x80..) => 0xff,
            _ => 0x00,
        };
        let mut unscaled = [padding; 32];
        let start = unscaled.len().checked_sub(digits.len());
        let decimal = start.and_then(|start| {
            unscaled[start..].copy_from_slice(digits);
            Decimal::from_parts(i256::from_be_bytes(unscaled), scale)
        });
        let is_only_form = |decimal: &Decimal| decimal.scale() == scale && shortest(&unscaled) == digits;
        decimal.filter(is_only_form).ok_or(CodecError::Malformed { expected: "decimal", offset })
    }

    fn items(&mut self, depth: usize) -> Result<Vec<Value>, CodecError> {
        let count = self.count(1)?;
        let mut items = Vec::with_capacity(count.min(ROOM_ITEMS_MAX));
        for _ in 0..count {
            items.push(self.value(depth + 1)?);
        }
        Ok(items)
    }

    fn fields(&mut self, depth: usize) -> Result<Object, CodecError> {
        let count = self.count(2)?;
        let mut fields = Object::new();
        for _ in 0..count {
            let offset = self.offset;
            let key = self.string()?;
            if fields.last_key_value().is_some_and(|(last, _)| *last >= key) {
                return Err(CodecError::KeyOrder { offset });
            }
            let field = self.value(depth + 1)?;
            fields.insert(key, field);
        }
        Ok(fields)
    }

    fn pass_fields(&mut self, depth: usize) -> Result<(), CodecError> {
        let mut last = None;
        for _ in 0..self.count(2)? {
            let offset = self.offset;
            let key = self.str()?;
            if last.replace(key).is_some_and(|last| last >= key) {
                return Err(CodecError::KeyOrder { offset });
            }
            self.pass(depth + 1)?;
        }
        Ok(())
    }

    fn vector(&mut self) -> Result<Vec<f32>, CodecError> {
        let count = self.count(size_of::<f32>())?;
        (0..count).map(|_| self.array().map(|bits| f32::from_bits(u32::from_le_bytes(bits)))).collect()
    }
}
