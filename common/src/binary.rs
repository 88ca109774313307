//! Integers, byte strings and bitmaps on a byte slice, with every length checked before it is believed.
//!
//! In: numbers and bytes, or a slice. Out: a slice, or what was put into it. What the binary formats of batches and of a
//! leaf's objects are made of; the formats themselves are theirs.

use thiserror::Error;

/// Bytes that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("at byte {offset}: {reason}")]
pub struct BinaryError {
    /// How far the bytes were good.
    pub offset: usize,
    /// What is wrong there.
    pub reason: &'static str,
}

/// Appends an unsigned integer in 7-bit groups, least first (LEB128).
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a length and that many bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends bits, least significant first, the last byte filled with zeros.
pub fn put_bits(out: &mut Vec<u8>, bits: impl Iterator<Item = bool>) {
    let (mut byte, mut used) = (0_u8, 0);
    for bit in bits {
        byte |= u8::from(bit) << used;
        used += 1;
        if used == 8 {
            out.push(byte);
            (byte, used) = (0, 0);
        }
    }
    if used > 0 {
        out.push(byte);
    }
}

/// Appends ascending numbers: how many, then by how much each is above the one before, less one.
pub fn put_ascending(out: &mut Vec<u8>, numbers: &[u32]) {
    put_varint(out, numbers.len() as u64);
    let mut next = 0;
    for number in numbers {
        put_varint(out, u64::from(*number) - next);
        next = u64::from(*number) + 1;
    }
}

/// Appends whether a value is there, and the value if it is.
pub fn put_option<T>(out: &mut Vec<u8>, value: Option<&T>, put: impl FnOnce(&mut Vec<u8>, &T)) {
    out.push(value.is_some().into());
    if let Some(value) = value {
        put(out, value);
    }
}

/// What is left of a slice that is read.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'b> {
    bytes: &'b [u8],
    total: usize,
}

impl<'b> Reader<'b> {
    /// Begins at the start of the bytes.
    pub fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, total: bytes.len() }
    }

    /// How far the reader is.
    pub fn offset(&self) -> usize {
        self.total - self.bytes.len()
    }

    /// Whether nothing is left.
    pub fn is_at_end(&self) -> bool {
        self.bytes.is_empty()
    }

    /// An error at the place where the reader is.
    pub fn error(&self, reason: &'static str) -> BinaryError {
        BinaryError { offset: self.offset(), reason }
    }

    /// The next `length` bytes.
    ///
    /// # Errors
    /// There are fewer.
    pub fn take(&mut self, length: usize) -> Result<&'b [u8], BinaryError> {
        let Some((taken, rest)) = self.bytes.split_at_checked(length) else {
            return Err(self.error("it ends too early"));
        };
        self.bytes = rest;
        Ok(taken)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// There are fewer.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], BinaryError> {
        Ok(self.take(N)?.try_into().expect("take gives as many bytes as asked"))
    }

    /// The next byte.
    ///
    /// # Errors
    /// There is none.
    pub fn byte(&mut self) -> Result<u8, BinaryError> {
        Ok(self.array::<1>()?[0])
    }

    /// An integer as [`put_varint`] writes it.
    ///
    /// # Errors
    /// It does not end, or is longer than 64 bits.
    pub fn varint(&mut self) -> Result<u64, BinaryError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let group = u64::from(byte & 0x7f);
            if shift == 63 && group > 1 {
                break;
            }
            value |= group << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.error("an integer is longer than 64 bits"))
    }

    /// A number of things of which each takes at least one bit of what is left: so nothing huge is allocated for a lie.
    ///
    /// # Errors
    /// There cannot be as many.
    pub fn count(&mut self) -> Result<usize, BinaryError> {
        let count = self.varint()?;
        match usize::try_from(count) {
            Ok(count) if count <= self.bytes.len().saturating_mul(8) => Ok(count),
            _ => Err(self.error("a count is larger than what follows")),
        }
    }

    /// An integer of a smaller kind.
    ///
    /// # Errors
    /// As [`Self::varint`], or it is larger than its kind.
    pub fn small<T: TryFrom<u64>>(&mut self) -> Result<T, BinaryError> {
        let value = self.varint()?;
        T::try_from(value).map_err(|_| self.error("a number is larger than its kind"))
    }

    /// What [`put_option`] writes.
    ///
    /// # Errors
    /// As `read`, or it is not said whether the value is there.
    pub fn option<T, E: From<BinaryError>>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        match self.byte()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(self.error("a mark of presence is neither 0 nor 1").into()),
        }
    }

    /// Strictly ascending numbers, as [`put_ascending`] writes them.
    ///
    /// # Errors
    /// There are fewer, or one is larger than 32 bits.
    pub fn ascending(&mut self) -> Result<Vec<u32>, BinaryError> {
        let count = self.count()?;
        let (mut numbers, mut next) = (Vec::new(), 0_u64);
        for _ in 0..count {
            let number = next.checked_add(self.varint()?).and_then(|number| u32::try_from(number).ok());
            let number = number.ok_or_else(|| self.error("a number is larger than its kind"))?;
            numbers.push(number);
            next = u64::from(number) + 1;
        }
        Ok(numbers)
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// Something is.
    pub fn end(&self) -> Result<(), BinaryError> {
        match self.is_at_end() {
            true => Ok(()),
            false => Err(self.error("more follows where it should end")),
        }
    }

    /// A length and that many bytes.
    ///
    /// # Errors
    /// There are fewer.
    pub fn bytes(&mut self) -> Result<&'b [u8], BinaryError> {
        let length = self.varint()?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// As [`Self::bytes`], in UTF-8.
    ///
    /// # Errors
    /// There are fewer, or they are no text.
    pub fn text(&mut self) -> Result<&'b str, BinaryError> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|_| self.error("a text is not UTF-8"))
    }

    /// As many bits, as [`put_bits`] writes them.
    ///
    /// # Errors
    /// There are fewer.
    pub fn bits(&mut self, count: usize) -> Result<impl Iterator<Item = bool> + use<'b>, BinaryError> {
        let bytes = self.take(count.div_ceil(8))?;
        Ok((0..count).map(move |bit| bytes[bit / 8] >> (bit % 8) & 1 == 1))
    }
}
