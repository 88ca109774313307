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

use basalt_common::binary::put_varint;
use basalt_common::id::FieldId;
use bytes::Bytes;

use super::FileError;
use super::container::{Container, ContainerBuilder, Kind, Part, Sealed};
use super::segment::{ColumnParts, Opener, extents, note_event_time, put_event_time};
use crate::cache::CachedObject;
use crate::column::ColumnError;
use crate::event_times::EventTimes;
use crate::field::{FieldValues, FileColumns, RowSet, all_rows};
use crate::generation::{Generation, GenerationId};
use crate::indexes::Indexes;
use crate::segment::{SegmentDamage, SegmentId};

const CODEC: u8 = 1;

const IN_MEMORY: ColumnError = ColumnError::Damaged("a generation is to be written that is not encoded");

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
    let (mut columns, mut event_time) = (ColumnParts::new(&mut object), None);
    for (field, values) in generation.fields() {
        let made = values.encoded().ok_or(IN_MEMORY).map_err(damage(*field))?;
        columns.put(*field, made).map_err(damage(*field))?;
        if indexes.event_time == Some(*field) {
            let values = values.take(RowSet(&all_rows(rows))).map_err(damage(*field))?;
            event_time = Some((*field, EventTimes::of(&values).least()));
        }
    }
    columns.put_indexes();
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
    let opener = Opener { object, name: object.name().into(), bytes, away, extents: extents(object) };
    let mut found = opener.fields(rows)?;
    let mut fields = BTreeMap::new();
    for field in named {
        let none = || FileColumns::new(rows, Vec::new()).map(FieldValues::File).expect("nothing is in order");
        fields.insert(field, found.remove(&field).unwrap_or_else(none));
    }
    let generation = Generation::new(id, fields);
    note_event_time(object, generation.event_times())?;
    Ok((segment, generation))
}
