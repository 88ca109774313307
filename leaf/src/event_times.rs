//! The event times of a segment's documents, by which those are told whose time is over.
//!
//! In: values of the field that has a document's event time. Out: the rows below a time. To read a time out of a text costs a hundred
//! times as much as to compare it: a segment knows its least one, by which most segments need no look; where there are lower ones,
//! all are read once and kept.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use basalt_common::columns::TypedColumns;
use basalt_common::id::FieldId;
use basalt_common::retention::event_time;
use datafusion::arrow::array::{Array, Int64Array};
use roaring::RoaringBitmap;

use crate::column::ColumnError;

/// The times of all rows.
#[derive(Debug)]
pub struct EventTimes {
    /// Null where a row has none.
    times: Int64Array,
    /// The greatest number where no row has one.
    least: i64,
}

impl EventTimes {
    /// Those that values are.
    pub fn of(values: &TypedColumns) -> Self {
        let time = |row| values.value(row).as_ref().and_then(event_time);
        let times: Int64Array = (0..values.rows()).map(time).collect();
        let least = times.iter().flatten().min().unwrap_or(i64::MAX);
        Self { times, least }
    }

    /// The least; the greatest number where there is none.
    pub fn least(&self) -> i64 {
        self.least
    }

    /// The rows whose time is lower.
    pub fn below(&self, time: i64) -> RoaringBitmap {
        if self.least >= time {
            return RoaringBitmap::new();
        }
        let is_lower = |row: &u32| self.times.is_valid(*row as usize) && self.times.value(*row as usize) < time;
        RoaringBitmap::from_sorted_iter((0..self.times.len() as u32).filter(is_lower)).expect("rows ascend")
    }
}

/// What is known of the event times of a segment, or of what a field was folded into: of one field, as a collection has one.
#[derive(Debug, Default)]
pub struct KnownTimes(Mutex<Option<Known>>);

#[derive(Debug)]
struct Known {
    field: FieldId,
    least: i64,
    times: Option<Arc<EventTimes>>,
}

impl KnownTimes {
    /// Notes the least time, which was noted when the segment was written.
    pub fn note(&self, field: FieldId, least: i64) {
        *self.lock() = Some(Known { field, least, times: None });
    }

    /// Whether any time may be lower, as far as is known.
    pub fn may_be_below(&self, field: FieldId, time: i64) -> bool {
        self.lock().as_ref().is_none_or(|known| known.field != field || known.least < time)
    }

    /// The times of all rows, which are read if they are not known.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn get(
        &self,
        field: FieldId,
        read: impl FnOnce() -> Result<EventTimes, ColumnError>,
    ) -> Result<Arc<EventTimes>, ColumnError> {
        if let Some(Known { field: of, times: Some(times), .. }) = &*self.lock()
            && *of == field
        {
            return Ok(Arc::clone(times));
        }
        // Others may look meanwhile: that may take a store's time.
        let times = Arc::new(read()?);
        *self.lock() = Some(Known { field, least: times.least, times: Some(Arc::clone(&times)) });
        Ok(times)
    }

    /// Whether [`Self::get`] needs to read nothing.
    pub fn are_read(&self, field: FieldId) -> bool {
        self.lock().as_ref().is_some_and(|known| known.field == field && known.times.is_some())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
