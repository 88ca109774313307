//! What is where in a column: read once when it is opened, so that any block is found in one step.
//!
//! In: the bytes of a column. Out: the places of its parts, each within the bytes, and the statistics of its blocks. The
//! format is told in `encode`.

use std::borrow::Cow;
use std::ops::Range;

use super::dictionary::Dictionary;
use super::integers::{Frame, Integers};
use super::presence::{Form, Presence};
use super::strings::{Strings, Symbols};
use super::{ColumnError, Datum, Storage, floats};
use basalt_common::binary::Reader;

/// The version of the format.
pub(super) const VERSION: u8 = 1;

/// Bytes before the first part.
pub(super) const HEAD_BYTES: usize = 8;

/// Parts begin at multiples of this, counted from the column's first byte.
pub(super) const ALIGNMENT: usize = 8;

/// The smallest and the largest block, as bits that number its rows; ranks of presence fit 16 bits.
pub(super) const BLOCK_BITS_MIN: u8 = 6;
pub(super) const BLOCK_BITS_MAX: u8 = 16;

/// More blocks than 2^32 rows make at the usual size: a bound on what a lie allocates.
const BLOCKS_MAX: usize = 1 << 20;

/// As many bits number the rows of a block that holds the whole column.
pub(super) const ONE_BLOCK_BITS: u8 = 32;

/// How the values of a block are written. New encodings take new codes.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Bits = 1,
    Integers = 2,
    Floats = 3,
    Scaled = 4,
    Patterns = 5,
    Codes = 6,
    Strings = 7,
    Compressed = 8,
}

impl Encoding {
    const ALL: [Self; 8] = [
        Self::Bits,
        Self::Integers,
        Self::Floats,
        Self::Scaled,
        Self::Patterns,
        Self::Codes,
        Self::Strings,
        Self::Compressed,
    ];

    fn from_code(code: u8) -> Result<Self, ColumnError> {
        let found = Self::ALL.into_iter().find(|encoding| *encoding as u8 == code);
        found.ok_or(ColumnError::Unknown { part: "encoding", code })
    }

    fn serves(self, storage: Storage) -> bool {
        match self {
            Self::Bits => storage == Storage::Bool,
            Self::Integers => matches!(storage, Storage::Int | Storage::Timestamp | Storage::Date | Storage::Time),
            Self::Floats | Self::Scaled | Self::Patterns => storage == Storage::Float,
            Self::Codes | Self::Strings | Self::Compressed => matches!(storage, Storage::String | Storage::Binary),
        }
    }
}

/// The values of a block: what the directory says of them.
#[derive(Debug, Clone)]
pub(super) enum Values {
    /// Bits, of which so many are set; none are written where all are alike.
    Bits { set: usize },
    /// Integers, or codes of a dictionary.
    Integers(Frame),
    /// Floats, as they are where there is no more to it.
    Floats { kind: Floats, min: f64, max: f64 },
    /// Bytes of so many strings, and where these begin.
    Strings {
        bytes: usize,
        begins: Frame,
        begins_at: usize,
        is_compressed: bool,
        min: Range<usize>,
        max: Option<Range<usize>>,
    },
}

/// How floats are written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Floats {
    Plain,
    Scaled {
        exponent: u8,
        frame: Frame,
    },
    /// Their bits as integers: where all are equal, or end in many zeros.
    Patterns(Frame),
}

/// A block that has values.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) rows: usize,
    pub(super) count: usize,
    form: Form,
    presence_at: usize,
    /// INVARIANT: all that `values` tells of lies within the column from here on; checked in [`Directory::read`].
    values_at: usize,
    pub(super) values: Values,
}

impl Block {
    /// Whether every row has a value.
    pub(super) fn is_full(&self) -> bool {
        self.form == Form::All
    }
}

/// What is where.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) block_bits: u8,
    /// One for each block; none where no row has a value.
    pub(super) blocks: Vec<Option<Block>>,
    /// Where the dictionary is, and of how many strings.
    pub(super) dictionary: Option<(Range<usize>, usize)>,
    symbols_at: Option<usize>,
    pub(super) present: u64,
}

/// A directory that is being read, and the parts that it tells of, one after the other.
struct Opening<'b> {
    reader: Reader<'b>,
    storage: Storage,
    part_at: usize,
    parts_end: usize,
}

impl Directory {
    /// The directory of a column of so many rows.
    pub(super) fn read(bytes: &[u8], storage: Storage, rows: u64) -> Result<Self, ColumnError> {
        let [version, stored, block_bits, ..] = *bytes.first_chunk::<HEAD_BYTES>().ok_or(TOO_SHORT)?;
        if version != VERSION {
            return Err(ColumnError::Unknown { part: "version", code: version });
        }
        let known = Storage::ALL.into_iter().find(|storage| *storage as u8 == stored);
        let stored = known.ok_or(ColumnError::Unknown { part: "storage type", code: stored })?;
        if stored != storage {
            let expected = storage.data_type().to_string();
            return Err(ColumnError::OtherType { column: stored.data_type(), expected });
        }
        if !matches!(block_bits, BLOCK_BITS_MIN..=BLOCK_BITS_MAX | ONE_BLOCK_BITS) || rows > 1 << 32 {
            return Err(ColumnError::Damaged("its blocks are of no size that is allowed"));
        }
        let (rest, length) = bytes.split_last_chunk::<4>().ok_or(TOO_SHORT)?;
        let parts_end = rest.len().checked_sub(u32::from_le_bytes(*length) as usize).ok_or(TOO_SHORT)?;
        let mut reader = Reader::new(rest);
        reader.take(parts_end)?;
        let mut opening = Opening { reader, storage, part_at: HEAD_BYTES, parts_end };
        let mut directory = opening.shared(block_bits)?;
        let symbols = directory.symbols_at.map(|at| Symbols::new(&bytes[at..]));
        if symbols.is_some_and(|symbols| symbols.is_none_or(|symbols| !symbols.is_sound())) {
            return Err(ColumnError::Damaged("a symbol is longer than symbols are"));
        }
        opening.blocks(&mut directory, rows)?;
        opening.reader.end()?;
        match opening.part_at == parts_end {
            true => Ok(directory),
            false => Err(ColumnError::Damaged("more lies behind the last part")),
        }
    }
}

const TOO_SHORT: ColumnError = ColumnError::Damaged("it ends too early");

impl Opening<'_> {
    /// Where the next part of `count × width` bytes begins.
    fn part(&mut self, count: usize, width: usize) -> Result<usize, ColumnError> {
        let at = self.part_at.next_multiple_of(ALIGNMENT);
        let end = count.checked_mul(width).and_then(|bytes| at.checked_add(bytes)).filter(|end| *end <= self.parts_end);
        self.part_at = end.ok_or(ColumnError::Damaged("a part ends behind the parts"))?;
        Ok(at)
    }

    fn error(&self, reason: &'static str) -> ColumnError {
        self.reader.error(reason).into()
    }

    fn shared(&mut self, block_bits: u8) -> Result<Directory, ColumnError> {
        let mut directory =
            Directory { block_bits, blocks: Vec::new(), dictionary: None, symbols_at: None, present: 0 };
        let strings: u32 = self.reader.small()?;
        if strings > 0 {
            let bytes: usize = self.reader.small()?;
            let at = self.part(Dictionary::more_bytes(strings as usize).saturating_add(bytes), 1)?;
            directory.dictionary = Some((at..self.part_at, strings as usize));
        }
        directory.symbols_at = match self.reader.byte()? {
            0 => None,
            1 => Some(self.part(Symbols::BYTES, 1)?),
            _ => return Err(self.error("a mark of presence is neither 0 nor 1")),
        };
        Ok(directory)
    }

    fn blocks(&mut self, directory: &mut Directory, rows: u64) -> Result<(), ColumnError> {
        let block_rows = 1_u64 << directory.block_bits;
        let count = rows.div_ceil(block_rows) as usize;
        if count > BLOCKS_MAX {
            return Err(ColumnError::Damaged("it has too many blocks"));
        }
        while directory.blocks.len() < count {
            let left = count - directory.blocks.len();
            match self.reader.byte()? {
                0 => match self.reader.small::<usize>()? {
                    run if 0 < run && run <= left => directory.blocks.resize(directory.blocks.len() + run, None),
                    _ => return Err(self.error("a run of empty blocks is not within the column")),
                },
                form => {
                    let before = directory.blocks.len() as u64 * block_rows;
                    let rows = block_rows.min(rows - before) as usize;
                    let block = self.block(directory, Form::from_code(form)?, rows)?;
                    directory.present += block.count as u64;
                    directory.blocks.push(Some(block));
                }
            }
        }
        Ok(())
    }

    fn block(&mut self, directory: &Directory, form: Form, rows: usize) -> Result<Block, ColumnError> {
        let count = match form {
            Form::All => rows,
            Form::Bitmap | Form::Sparse => self.reader.small()?,
        };
        if count == 0 || count > rows {
            return Err(self.error("a block has more values than rows, or none"));
        }
        let presence_at = self.part(form.bytes(rows, count), 1)?;
        let encoding = Encoding::from_code(self.reader.byte()?)?;
        if !encoding.serves(self.storage) {
            return Err(self.error("a block's encoding is one for another type"));
        }
        let (values_at, values) = match encoding {
            Encoding::Bits => match self.reader.small::<usize>()? {
                set if set > count => return Err(self.error("a block has more bits set than bits")),
                set => {
                    let bytes = if set == 0 || set == count { 0 } else { count.div_ceil(8) };
                    (self.part(bytes, 1)?, Values::Bits { set })
                }
            },
            Encoding::Integers | Encoding::Codes => {
                let frame = Frame::read(&mut self.reader)?;
                let strings = directory.dictionary.as_ref().map_or(0, |(_, strings)| *strings as i64);
                if encoding == Encoding::Codes && (frame.min() < 0 || frame.max() >= strings) {
                    return Err(self.error("a block has codes of no string"));
                }
                (self.part(count, frame.width())?, Values::Integers(frame))
            }
            Encoding::Floats | Encoding::Scaled | Encoding::Patterns => self.floats(encoding, count)?,
            Encoding::Strings | Encoding::Compressed if directory.dictionary.is_some() => {
                return Err(self.error("a block has strings where the column has codes"));
            }
            Encoding::Compressed if directory.symbols_at.is_none() => {
                return Err(self.error("a block is compressed, but there are no symbols"));
            }
            Encoding::Strings | Encoding::Compressed => self.strings(encoding, count)?,
        };
        Ok(Block { rows, count, form, presence_at, values_at, values })
    }

    fn floats(&mut self, encoding: Encoding, count: usize) -> Result<(usize, Values), ColumnError> {
        let min = f64::from_le_bytes(self.reader.array()?);
        let max = f64::from_le_bytes(self.reader.array()?);
        let (width, kind) = match encoding {
            Encoding::Scaled => {
                let exponent = self.reader.byte()?;
                if exponent > floats::EXPONENT_MAX {
                    return Err(self.error("a power of ten is not exact"));
                }
                let frame = Frame::read(&mut self.reader)?;
                (frame.width(), Floats::Scaled { exponent, frame })
            }
            Encoding::Patterns => {
                let frame = Frame::read(&mut self.reader)?;
                (frame.width(), Floats::Patterns(frame))
            }
            _ => (8, Floats::Plain),
        };
        Ok((self.part(count, width)?, Values::Floats { kind, min, max }))
    }

    fn strings(&mut self, encoding: Encoding, count: usize) -> Result<(usize, Values), ColumnError> {
        let bytes = self.reader.small()?;
        let values_at = self.part(bytes, 1)?;
        let begins = Frame::read(&mut self.reader)?;
        let begins_at = self.part(count + 1, begins.width())?;
        let (min, max) = (self.prefix()?, self.reader.byte()?);
        let max = match max {
            0 => None,
            1 => Some(self.prefix()?),
            _ => return Err(self.error("a mark of presence is neither 0 nor 1")),
        };
        let is_compressed = encoding == Encoding::Compressed;
        Ok((values_at, Values::Strings { bytes, begins, begins_at, is_compressed, min, max }))
    }

    fn prefix(&mut self) -> Result<Range<usize>, ColumnError> {
        let length = self.reader.bytes()?.len();
        Ok(self.reader.offset() - length..self.reader.offset())
    }
}

/// A column's bytes and what is where in them: from here on, nothing is looked for outside.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts<'b> {
    pub(super) bytes: &'b [u8],
    pub(super) directory: &'b Directory,
}

impl<'b> Parts<'b> {
    pub(super) fn presence(self, block: &Block) -> Presence<'b> {
        Presence::new(block.form, block.rows, block.count, &self.bytes[block.presence_at..])
    }

    pub(super) fn integers(self, block: &Block, frame: Frame) -> Integers<'b> {
        Integers::new(frame, &self.bytes[block.values_at..], block.count)
    }

    /// The values of a block as they lie: all bytes from the first on.
    pub(super) fn values(self, block: &Block) -> &'b [u8] {
        &self.bytes[block.values_at..]
    }

    /// The bits of a block, unless all are alike: then none are written.
    pub(super) fn bits(self, block: &Block) -> Option<&'b [u8]> {
        match block.values {
            Values::Bits { set } if 0 < set && set < block.count => {
                Some(&self.values(block)[..block.count.div_ceil(8)])
            }
            _ => None,
        }
    }

    /// The values of a block of plain floats.
    pub(super) fn plain_floats(self, block: &Block) -> &'b [[u8; 8]] {
        &self.values(block).as_chunks().0[..block.count]
    }

    pub(super) fn dictionary(self) -> Option<Dictionary<'b>> {
        let (place, strings) = self.directory.dictionary.as_ref()?;
        Some(Dictionary::new(&self.bytes[place.clone()], *strings))
    }

    /// The strings of a block that has them, not codes.
    pub(super) fn strings(self, block: &Block) -> Option<Strings<'b>> {
        let Values::Strings { bytes, begins, begins_at, is_compressed, .. } = &block.values else { return None };
        let begins = Integers::new(*begins, &self.bytes[*begins_at..], block.count + 1);
        let symbols = match (is_compressed, self.directory.symbols_at) {
            (false, _) => None,
            (true, at) => Some(Symbols::new(&self.bytes[at?..])?),
        };
        Some(Strings::new(&self.bytes[block.values_at..][..*bytes], block.count, begins, symbols))
    }

    /// What is known of a block without reading its values.
    pub(super) fn statistics(self, block: &Block, storage: Storage) -> Statistics<'b> {
        let binary = |bytes: &'b [u8]| Datum::Binary(Cow::Borrowed(bytes));
        let (min, max) = match &block.values {
            Values::Bits { set } => (Some(Datum::Bool(*set == block.count)), Some(Datum::Bool(*set > 0))),
            Values::Integers(frame) => match (storage, self.dictionary()) {
                (Storage::String | Storage::Binary, Some(dictionary)) => {
                    (dictionary.get(frame.min()).map(binary), dictionary.get(frame.max()).map(binary))
                }
                _ => (Some(Datum::Int(frame.min())), Some(Datum::Int(frame.max()))),
            },
            Values::Floats { min, max, .. } => (Some(Datum::Float(*min)), Some(Datum::Float(*max))),
            Values::Strings { min, max, .. } => {
                let bound = |place: &Range<usize>| binary(&self.bytes[place.clone()]);
                (Some(bound(min)), max.as_ref().map(bound))
            }
        };
        Statistics { rows: block.rows, present: block.count, min, max }
    }
}

/// What is known of a block without reading its values.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics<'b> {
    /// Rows, those without a value included.
    pub rows: usize,
    /// Rows with a value.
    pub present: usize,
    /// No value is less: none where there is no value. Of numbers, the least value itself. Of strings, bytes that need
    /// not be UTF-8.
    pub min: Option<Datum<'b>>,
    /// No value is greater: none where there is no value, or no short bound. Of numbers, the greatest value itself;
    /// floats are compared by [`f64::total_cmp`], by which NaN is greater than infinity, or with its sign set less than
    /// all else.
    pub max: Option<Datum<'b>>,
}
