//! Integers, byte strings and bitmaps on a byte slice, with every length checked before it is believed.

use super::BatchError;

/// Appends an unsigned integer in 7-bit groups, least first (LEB128).
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a length and that many bytes.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends bits, least significant first, the last byte filled with zeros.
pub(super) fn put_bits(out: &mut Vec<u8>, bits: impl Iterator<Item = bool>) {
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

/// What is left of a record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'b> {
    bytes: &'b [u8],
    total: usize,
}

impl<'b> Reader<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, total: bytes.len() }
    }

    /// How far the reader is.
    pub(super) fn offset(&self) -> usize {
        self.total - self.bytes.len()
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn error(&self, reason: &'static str) -> BatchError {
        BatchError { offset: self.offset(), reason }
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'b [u8], BatchError> {
        let Some((taken, rest)) = self.bytes.split_at_checked(length) else {
            return Err(self.error("it ends too early"));
        };
        self.bytes = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], BatchError> {
        Ok(self.take(N)?.try_into().expect("take gives as many bytes as asked"))
    }

    pub(super) fn byte(&mut self) -> Result<u8, BatchError> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn varint(&mut self) -> Result<u64, BatchError> {
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
    pub(super) fn count(&mut self) -> Result<usize, BatchError> {
        let count = self.varint()?;
        match usize::try_from(count) {
            Ok(count) if count <= self.bytes.len().saturating_mul(8) => Ok(count),
            _ => Err(self.error("a count is larger than what follows")),
        }
    }

    pub(super) fn bytes(&mut self) -> Result<&'b [u8], BatchError> {
        let length = self.varint()?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    pub(super) fn text(&mut self) -> Result<&'b str, BatchError> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|_| self.error("a text is not UTF-8"))
    }

    pub(super) fn bits(&mut self, count: usize) -> Result<impl Iterator<Item = bool> + use<'b>, BatchError> {
        let bytes = self.take(count.div_ceil(8))?;
        Ok((0..count).map(move |bit| bytes[bit / 8] >> (bit % 8) & 1 == 1))
    }
}
