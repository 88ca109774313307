//! A segment as an object: *columns*, their *terms*, *text*, *elements* and *cells*, *versions* and the least *event time* in a collection that has
//! them, *keys* and their *run*.
//!
//! ```text
//! column    = as in column/encode.rs           codec 3; of as many rows as keys
//!             label: field type:u8 present plain          how many rows have a value; bytes as an array in memory
//! terms     = as in terms/mod.rs               codec 2; label: field type:u8
//! text      = as in text/mod.rs                codec 2; label: field type:u8 analyzer
//! elements  = as in elements.rs                codec 2; label: field type:u8
//! cells     = as in cells.rs                   codec 2; label: field type:u8 longitudes present   the field of the longitudes; rows with both
//! versions  = column                           codec 1; ints, none where a patch made the row
//! event time = field least:i64                 codec 1; the greatest number where no row has one
//! keys      = column                           codec 3; the _ids; label: segment rows
//! key run   = as in key_run/mod.rs             codec 2; codec 1 had homes by the unmixed hash
//! ```
//!
//! There is a part for each column and each of its indexes; columns ascend by field, then type, and stand before all indexes. Each
//! is opened when it is first read. From the versions on, an object is on this machine wherever the rest of it is: that is its *end*.
//! What was written before is in `segment_before.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use basalt_common::binary::{BinaryError, Reader, put_bytes, put_varint};
use basalt_common::columns::TypedColumns;
use basalt_common::id::FieldId;
use basalt_common::text::Analyzer;
use basalt_common::value::Type;
use bytes::Bytes;
use datafusion::arrow::array::{Array, AsArray, Int64Array};
use datafusion::arrow::datatypes::{DataType, Int64Type};

use super::container::{Container, ContainerBuilder, End, Entry, Kind, Part, Sealed};
use super::{FileError, segment_before};
use crate::cache::{CachedObject, ExtentPlace};
use crate::column::{self, Column, ColumnError};
use crate::event_times::{EventTimes, KnownTimes};
use crate::field::{FieldValues, FileCells, FileColumn, FileColumns, Ids, RowSet, all_rows};
use crate::indexes::Indexes;
use crate::key_run::KeyRun;
use crate::piece::{ColumnShape, Open, Piece, Place, TermsShape};
use crate::segment::{Segment, SegmentBytes, SegmentDamage, SegmentId};

const KEYS_CODEC: u8 = 3;
const COLUMN_CODEC: u8 = 3;
const VERSIONS_CODEC: u8 = 1;
const INDEX_CODEC: u8 = 2;
const KEY_RUN_CODEC: u8 = 2;
const KEY_RUN_CODEC_BEFORE: u8 = 1;
const EVENT_TIME_CODEC: u8 = 1;

/// Parts of a kind that lie next to each other are brought together, until they are of so many bytes.
const EXTENT_BYTES: usize = 1 << 20;

/// The object of a segment, with the indexes that its fields are to have; what was encoded when it was made is taken as it is. Takes long:
/// not for the async threads.
///
/// # Errors
/// The segment lies in a file, and is damaged there, or cannot be read.
pub fn encode(segment: &Segment, indexes: &Indexes) -> Result<Sealed, SegmentDamage> {
    let rows = all_rows(segment.rows());
    let damage = |field| move |cause| SegmentDamage { segment: segment.id(), field, cause };
    let read = |field: FieldId| match segment.fields().get(&field) {
        Some(values) => values.take(RowSet(&rows)).map_err(damage(Some(field))),
        None => Ok(TypedColumns::absent(rows.len())),
    };
    let mut object = ContainerBuilder::with_capacity(Kind::Segment, segment.sizes().total);
    let (mut columns, mut least) = (ColumnParts::new(&mut object), i64::MAX);
    for (field, values) in segment.fields() {
        let encoded;
        let made = match values.encoded().filter(|columns| columns.are_made()) {
            Some(made) => made,
            None => {
                encoded = FileColumns::of_field(*field, indexes, read)?;
                &encoded
            }
        };
        columns.put(*field, made).map_err(damage(Some(*field)))?;
        if indexes.event_time == Some(*field) {
            least = EventTimes::of(&read(*field)?).least();
        }
    }
    columns.put_indexes();
    if let Some(versions) = segment.versions() {
        object.part(Part::Versions, VERSIONS_CODEC, |out| put_column(out, versions));
    }
    if let Some(field) = indexes.event_time {
        put_event_time(&mut object, field, least);
    }
    let mut label = Vec::new();
    put_varint(&mut label, segment.id().0);
    put_varint(&mut label, segment.rows() as u64);
    let ids = || segment.ids().take(RowSet(&rows)).map_err(damage(None));
    match segment.ids().made_of() {
        Some(made) => object.labelled(Part::Keys, KEYS_CODEC, label, |out| out.extend_from_slice(made)),
        None => {
            let ids = ids()?;
            object.labelled(Part::Keys, KEYS_CODEC, label, |out| put_column(out, &ids));
        }
    }
    let made;
    let run = match segment.key_run().map_err(damage(None))? {
        Some(run) => run,
        None => {
            made = KeyRun::of(&ids()?);
            &made
        }
    };
    object.part(Part::KeyRun, KEY_RUN_CODEC, |out| out.extend_from_slice(run.bytes()));
    Ok(object.seal())
}

fn put_column(out: &mut Vec<u8>, array: &dyn Array) {
    column::encode(array, out).expect("typed columns are arrays of storage types");
}

const NOT_MADE: ColumnError = ColumnError::Damaged("what is to be written was not just made");

/// The columns of an object, and behind them their indexes.
pub(super) struct ColumnParts<'o> {
    object: &'o mut ContainerBuilder,
    /// The indexes, until all columns are written.
    indexes: Vec<(Part, Vec<u8>, Bytes)>,
}

impl<'o> ColumnParts<'o> {
    pub(super) fn new(object: &'o mut ContainerBuilder) -> Self {
        Self { object, indexes: Vec::new() }
    }

    /// Appends the columns of a field, which were just made; their indexes are left to be appended.
    pub(super) fn put(&mut self, field: FieldId, columns: &FileColumns) -> Result<(), ColumnError> {
        for column in columns.columns() {
            let named = column_label(field, column);
            let bytes = column.column.made_of().ok_or(NOT_MADE)?;
            self.object.labelled(Part::Columns, COLUMN_CODEC, named, |out| out.extend_from_slice(bytes));
            if let Some(terms) = &column.terms {
                self.index(Part::Terms, label(field, column.of), terms.made_of())?;
            }
            if let Some((analyzer, text)) = &column.text {
                let mut named = label(field, column.of);
                put_bytes(&mut named, analyzer.to_string().as_bytes());
                self.index(Part::Text, named, text.made_of())?;
            }
            if let Some(elements) = &column.elements {
                self.index(Part::Elements, label(field, column.of), elements.made_of())?;
            }
            if let Some(cells) = &column.cells {
                self.index(Part::Cells, cells_label(field, cells), cells.rows.made_of())?;
            }
        }
        Ok(())
    }

    fn index(&mut self, part: Part, label: Vec<u8>, made: Option<&Bytes>) -> Result<(), ColumnError> {
        self.indexes.push((part, label, made.ok_or(NOT_MADE)?.clone()));
        Ok(())
    }

    /// Appends the indexes.
    pub(super) fn put_indexes(self) {
        let Self { object, mut indexes } = self;
        indexes.sort_by_key(|(part, ..)| *part as u8);
        for (part, label, bytes) in indexes {
            object.labelled(part, INDEX_CODEC, label, |out| out.extend_from_slice(&bytes));
        }
    }
}

fn label(field: FieldId, of: Type) -> Vec<u8> {
    let mut label = Vec::new();
    put_varint(&mut label, field.0.into());
    label.push(of.code());
    label
}

fn cells_label(latitudes: FieldId, cells: &FileCells) -> Vec<u8> {
    let mut named = label(latitudes, Type::Float);
    put_varint(&mut named, cells.longitudes.0.into());
    put_varint(&mut named, cells.present);
    named
}

fn column_label(field: FieldId, column: &FileColumn) -> Vec<u8> {
    let mut named = label(field, column.of);
    put_varint(&mut named, column.present);
    put_varint(&mut named, column.plain as u64);
    named
}

pub(super) fn put_event_time(object: &mut ContainerBuilder, field: FieldId, least: i64) {
    object.part(Part::EventTime, EVENT_TIME_CODEC, |out| {
        put_varint(out, field.0.into());
        out.extend_from_slice(&least.to_le_bytes());
    });
}

pub(super) fn note_event_time(object: &Container<'_>, times: &KnownTimes) -> Result<(), FileError> {
    let Some(part) = object.find(Part::EventTime, EVENT_TIME_CODEC)? else { return Ok(()) };
    let (field, least) = part.read(|reader| Ok((FieldId(reader.small()?), i64::from_le_bytes(reader.array()?))))?;
    times.note(field, least);
    Ok(())
}

/// How many bytes of an object's end are to be on this machine, by the end of an object of so many bytes. Where that is more than
/// there is, it may be more yet.
///
/// # Errors
/// It is not the end of a segment's object with this checksum.
pub fn end_bytes(name: &str, end: &[u8], length: usize, checksum: u32) -> Result<usize, FileError> {
    let object = match Container::open_end(name, Kind::Segment, end, length)? {
        End::Longer(needed) => return Ok(needed),
        End::Known(object) => object,
    };
    if object.checksum() != checksum {
        let reason = "its checksum is another: it is whole, but not the object that was named".into();
        return Err(FileError { object: name.into(), part: "directory", offset: length, reason });
    }
    Ok(length - end_start(&object))
}

/// Where an object's end begins.
fn end_start(object: &Container<'_>) -> usize {
    let kept = [Part::Versions, Part::EventTime, Part::Keys, Part::KeyRun, Part::Generation];
    match object.is_labelled() {
        true => kept.iter().flat_map(|part| object.entries(*part)).map(|entry| entry.offset).min().unwrap_or_default(),
        false => 0,
    }
}

/// The extents of an object: each has parts of one kind, but in a small object.
pub fn extents(object: &Container<'_>) -> Vec<ExtentPlace> {
    let mut extents: Vec<(ExtentPlace, Part)> = Vec::new();
    let is_small = end_start(object) <= EXTENT_BYTES;
    for part in [Part::Columns, Part::Terms, Part::Text, Part::Elements, Part::Cells] {
        for entry in object.entries(part) {
            match extents.last_mut() {
                Some((extent, last)) if is_small || *last == part && extent.length < EXTENT_BYTES => {
                    extent.length = entry.offset + entry.length - extent.start;
                    *last = part;
                }
                _ => extents.push((ExtentPlace { start: entry.offset, length: entry.length }, part)),
            }
        }
    }
    extents.into_iter().map(|(extent, _)| extent).collect()
}

/// Opens a segment in its object, whose end lies in `bytes`: all of it, unless the rest is to be had `away`.
///
/// # Errors
/// The parts are not what [`encode`] writes.
pub fn decode(object: &Container<'_>, bytes: &Bytes, away: Option<&Arc<CachedObject>>) -> Result<Segment, FileError> {
    if !object.is_labelled() {
        return segment_before::decode(object, bytes);
    }
    Opener { object, name: object.name().into(), bytes, away, extents: extents(object) }.segment()
}

/// Indexes of a kind, by their columns, with what their labels say.
type IndexEntries<'o, L> = BTreeMap<(FieldId, Type), (&'o Entry, L)>;

/// Opens the parts of an object.
pub(super) struct Opener<'o> {
    pub(super) object: &'o Container<'o>,
    pub(super) name: Arc<str>,
    pub(super) bytes: &'o Bytes,
    pub(super) away: Option<&'o Arc<CachedObject>>,
    pub(super) extents: Vec<ExtentPlace>,
}

impl Opener<'_> {
    fn segment(&self) -> Result<Segment, FileError> {
        let entry = self.object.only(Part::Keys, KEYS_CODEC)?;
        let (id, rows) = self.object.label(entry, |label| Ok((SegmentId(label.varint()?), label.small::<u32>()?)))?;
        let rows = rows as usize;
        let shape = ColumnShape { of: DataType::Utf8, rows: rows as u64, present: rows as u64, by_row: true };
        let ids = Ids::File(Box::new(self.kept(Part::Keys, entry, shape)?), rows);
        let is_before = self.object.codec(Part::KeyRun) == Some(KEY_RUN_CODEC_BEFORE);
        let codec = if is_before { KEY_RUN_CODEC_BEFORE } else { KEY_RUN_CODEC };
        let run = self.object.only(Part::KeyRun, codec)?;
        let run = self.kept(Part::KeyRun, run, rows)?;
        let versions = self.versions(rows)?;
        let fields = self.fields(rows)?;
        // Of the `_id`s it is not known what they take as an array: more than encoded.
        let sizes = SegmentBytes::of(&fields, entry.length, self.object.bytes());
        let segment = Segment::of_parts(id, ids, versions, fields, sizes).with_key_run(run);
        note_event_time(self.object, segment.event_times())?;
        Ok(segment)
    }

    fn place(&self, part: Part, entry: &Entry) -> Place {
        let Entry { offset, length, checksum, .. } = *entry;
        Place { object: Arc::clone(&self.name), part: part.name(), offset, length, checksum }
    }

    /// A part of the object's end.
    fn kept<T: Open>(&self, part: Part, entry: &Entry, shape: T::Shape) -> Result<Piece<T>, FileError> {
        let held = self.object.held(entry)?;
        Ok(Piece::here(self.place(part, entry), self.bytes.slice_ref(held), self.away.cloned(), shape))
    }

    /// A part that may be elsewhere.
    fn piece<T: Open>(&self, part: Part, entry: &Entry, shape: T::Shape) -> Result<Piece<T>, FileError> {
        let Some(away) = self.away else { return self.kept(part, entry, shape) };
        let behind = self.extents.partition_point(|extent| extent.start <= entry.offset);
        let extent = self.extents[behind.checked_sub(1).expect("every part of these kinds is in an extent")];
        Ok(Piece::away(self.place(part, entry), Arc::clone(away), extent, shape))
    }

    fn versions(&self, rows: usize) -> Result<Option<Int64Array>, FileError> {
        let Some(part) = self.object.find(Part::Versions, VERSIONS_CODEC)? else { return Ok(None) };
        let column = Column::open(self.bytes.slice_ref(part.bytes), &DataType::Int64, rows as u64);
        let versions = column.and_then(|column| column.read(0..rows as u64));
        let versions = versions.map_err(|cause| part.wrong(0, &cause))?;
        Ok(Some(versions.as_primitive::<Int64Type>().clone()))
    }

    /// The indexes of a kind, by their columns.
    fn indexes<L>(
        &self,
        part: Part,
        read: impl Fn(&mut Reader<'_>) -> Result<L, BinaryError>,
    ) -> Result<IndexEntries<'_, L>, FileError> {
        let mut all = BTreeMap::new();
        for entry in self.object.entries(part) {
            self.object.expect_codec(entry, INDEX_CODEC)?;
            let (column, more) = self.object.label(entry, |label| Ok((read_column(label)?, read(label)?)))?;
            all.insert(column, (entry, more));
        }
        Ok(all)
    }

    /// The fields.
    pub(super) fn fields(&self, rows: usize) -> Result<BTreeMap<FieldId, FieldValues>, FileError> {
        let terms = self.indexes(Part::Terms, |_| Ok(()))?;
        let text = self.indexes(Part::Text, |label| {
            let unknown = BinaryError { offset: label.offset(), reason: "an analyser is not known to this program" };
            label.text()?.parse::<Analyzer>().map_err(|_| unknown)
        })?;
        let elements = self.indexes(Part::Elements, |_| Ok(()))?;
        let cells = self.indexes(Part::Cells, |label| Ok((FieldId(label.small()?), label.varint()?)))?;
        let mut columns: BTreeMap<FieldId, Vec<FileColumn>> = BTreeMap::new();
        let rows64 = rows as u64;
        for entry in self.object.entries(Part::Columns) {
            self.object.expect_codec(entry, COLUMN_CODEC)?;
            let read = |label: &mut Reader<'_>| Ok((read_column(label)?, label.varint()?, label.small::<usize>()?));
            let ((field, of), present, plain) = self.object.label(entry, read)?;
            let key = (field, of);
            let of_terms = |entry| self.piece(Part::Terms, entry, TermsShape { rows: rows64, present });
            columns.entry(field).or_default().push(FileColumn {
                of,
                present,
                plain,
                column: self.piece(Part::Columns, entry, ColumnShape::new(of, rows64, present))?,
                terms: terms.get(&key).map(|(entry, ())| of_terms(entry)).transpose()?,
                text: match text.get(&key) {
                    Some((entry, analyzer)) => Some((*analyzer, self.piece(Part::Text, entry, rows64)?)),
                    None => None,
                },
                elements: match elements.get(&key) {
                    Some((entry, ())) => Some(self.piece(Part::Elements, entry, rows64)?),
                    None => None,
                },
                cells: match cells.get(&key) {
                    Some((entry, (longitudes, present))) => {
                        let shape = TermsShape { rows: rows64, present: *present };
                        let rows = self.piece(Part::Cells, entry, shape)?;
                        Some(FileCells { longitudes: *longitudes, present: *present, rows })
                    }
                    None => None,
                },
            });
        }
        let unordered = |reason: &str| FileError {
            object: self.object.name().into(),
            part: Part::Columns.name(),
            offset: 0,
            reason: reason.into(),
        };
        let mut fields = BTreeMap::new();
        for (field, columns) in columns {
            let columns = FileColumns::new(rows, columns).map_err(unordered)?;
            fields.insert(field, FieldValues::File(columns));
        }
        Ok(fields)
    }
}

fn read_column(label: &mut Reader<'_>) -> Result<(FieldId, Type), BinaryError> {
    let field = FieldId(label.small()?);
    let of = Type::from_code(label.byte()?).ok_or(BinaryError { offset: 0, reason: "it is of an unknown type" })?;
    Ok((field, of))
}
