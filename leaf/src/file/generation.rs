//! A generation as an object: *columns* of some fields of a segment, their *terms*, *text*, *elements* and *cells*, and which *generation* it is.
//!
//! ```text
//! column, terms, text, elements, cells, event time    as in segment.rs
//! generation = number segment rows count field…             codec 1; fields ascend; one without a column has no value in any row
//! ```
//!
//! From the event time on, an object is on this machine wherever the rest of it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use basalt_common::binary::{put_bytes, put_varint};
use basalt_common::id::FieldId;
use bytes::Bytes;

use super::FileError;
use super::container::{Container, ContainerBuilder, Kind, Part, Sealed};
use super::segment::{
    COLUMN_CODEC, INDEX_CODEC, Opener, cells_label, column_label, extents, label, note_event_time, put_event_time,
};
use crate::cache::CachedObject;
use crate::column::ColumnError;
use crate::event_times::EventTimes;
use crate::field::{FieldValues, FileCells, FileColumns, RowSet, all_rows};
use crate::generation::{Generation, GenerationId};
use crate::indexes::Indexes;
use crate::segment::{SegmentDamage, SegmentId};

const CODEC: u8 = 1;

const WRITTEN: ColumnError = ColumnError::Damaged("a generation is to be written that was not just made");

/// The object of a generation that was just made for a segment of so many rows. Takes long: not for the async threads.
///
/// # Errors
/// It was not just made.
pub fn encode(
    generation: &Generation,
    segment: SegmentId,
    rows: usize,
    indexes: &Indexes,
) -> Result<Sealed, SegmentDamage> {
    let damage = |field| move |cause| SegmentDamage { segment, field: Some(field), cause };
    let mut object = ContainerBuilder::new(Kind::Segment);
    let (mut of_columns, mut event_time) = (Vec::new(), None);
    for (field, values) in generation.fields() {
        let FieldValues::File(columns) = values else { return Err(damage(*field)(WRITTEN)) };
        for column in columns.columns() {
            let mut index = |part: Part, label: Vec<u8>, made: Option<&Bytes>| {
                of_columns.push((part, label, made.ok_or(WRITTEN).map_err(damage(*field))?.clone()));
                Ok(())
            };
            let named = column_label(*field, column.of, column.present, 0);
            let bytes = column.column.made_of().ok_or(WRITTEN).map_err(damage(*field))?;
            object.labelled(Part::Columns, COLUMN_CODEC, named, |out| out.extend_from_slice(bytes));
            if let Some(terms) = &column.terms {
                index(Part::Terms, label(*field, column.of), terms.made_of())?;
            }
            if let Some((analyzer, text)) = &column.text {
                let mut named = label(*field, column.of);
                put_bytes(&mut named, analyzer.to_string().as_bytes());
                index(Part::Text, named, text.made_of())?;
            }
            if let Some(elements) = &column.elements {
                index(Part::Elements, label(*field, column.of), elements.made_of())?;
            }
            if let Some(FileCells { longitudes, present, rows }) = &column.cells {
                index(Part::Cells, cells_label(*field, *longitudes, *present), rows.made_of())?;
            }
        }
        if indexes.event_time == Some(*field) {
            let values = values.take(RowSet(&all_rows(rows))).map_err(damage(*field))?;
            event_time = Some((*field, EventTimes::of(&values).least()));
        }
    }
    of_columns.sort_by_key(|(part, ..)| *part as u8);
    for (part, label, bytes) in of_columns {
        object.labelled(part, INDEX_CODEC, label, |out| out.extend_from_slice(&bytes));
    }
    if let Some((field, least)) = event_time {
        put_event_time(&mut object, field, least);
    }
    object.part(Part::Generation, CODEC, |out| {
        [generation.id().0, segment.0, rows as u64].into_iter().for_each(|number| put_varint(out, number));
        put_varint(out, generation.fields().len() as u64);
        generation.fields().keys().for_each(|field| put_varint(out, field.0.into()));
    });
    Ok(object.seal())
}

/// Opens a generation in its object, whose end lies in `bytes`: all of it, unless the rest is to be had `away`. Tells the segment, too.
///
/// # Errors
/// The parts are not what [`encode`] writes.
pub fn decode(
    object: &Container<'_>,
    bytes: &Bytes,
    away: Option<&Arc<CachedObject>>,
) -> Result<(SegmentId, Generation), FileError> {
    let part = object.part(Part::Generation, CODEC)?;
    let (id, segment, rows, named) = part.read(|reader| {
        let (id, segment, rows) = (GenerationId(reader.varint()?), SegmentId(reader.varint()?), reader.small::<u32>()?);
        let fields = (0..reader.count()?).map(|_| reader.small().map(FieldId)).collect::<Result<Vec<_>, _>>()?;
        match fields.is_sorted_by(|before, behind| before < behind) {
            true => Ok((id, segment, rows as usize, fields)),
            false => Err(reader.error("fields are not ascending")),
        }
    })?;
    let (mut found, _) =
        Opener { object, name: object.name().into(), bytes, away, extents: extents(object) }.fields(rows)?;
    let mut fields = BTreeMap::new();
    for field in named {
        let none = || FileColumns::new(rows, Vec::new()).map(FieldValues::File).expect("nothing is in order");
        fields.insert(field, found.remove(&field).unwrap_or_else(none));
    }
    let generation = Generation::new(id, fields);
    note_event_time(object, generation.event_times())?;
    Ok((segment, generation))
}
