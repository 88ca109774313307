//! The rows of a segment whose texts match a query.
//!
//! In: a condition that searches a column, a segment's version. Out: rows; or how many they are at most. A segment that was written has an
//! index of the words of its texts, or strings that repeat, each of which is looked at once. What patches laid over the field is looked
//! at by itself, as with terms. Where a segment has neither, each text is.

use std::sync::Arc;

use basalt_common::scan::ScanFilter;
use basalt_common::schema::Schema;
use basalt_common::text::functions::TextCall;
use basalt_common::text::{Matcher, TextQuery};
use basalt_common::value::Type;
use datafusion::arrow::array::AsArray;
use datafusion::common::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column as ColumnExpr;
use roaring::RoaringBitmap;

use super::test::{Place, Tested};
use super::{Condition, damage};
use crate::column::{Column, ColumnError, Datum, Predicate};
use crate::overlay::Overlay;
use crate::segment::SegmentVersion;
use crate::text::TextIndex;

/// To look for a text's words in it costs as much as to read so many rows from an index.
const ROWS_PER_TEXT: usize = 256;

/// A search of one column.
#[derive(Debug)]
pub(super) struct Words {
    on: Tested,
    query: TextQuery,
}

/// What of a segment tells which rows match.
enum Source<'v> {
    /// No row has a text.
    Nothing,
    Index(&'v TextIndex),
    Dictionary(&'v Column),
}

impl Words {
    /// The search that an expression is, if it is one of one column of strings.
    pub(super) fn of(expression: &Arc<dyn PhysicalExpr>, filter: &ScanFilter, schema: &Schema) -> Option<Self> {
        let (texts, call) = TextCall::of(expression)?;
        let index = texts.downcast_ref::<ColumnExpr>()?.index();
        let on = Tested::of(&filter.columns[index], filter.schema.field(index), schema)?;
        let query = call.query().ok().filter(|_| on.of == Type::String && on.place != Place::Id)?;
        Some(Self { on, query })
    }

    fn source<'v>(&self, version: &'v SegmentVersion) -> Option<Source<'v>> {
        let Some(encoded) = self.on.column(version)? else { return Some(Source::Nothing) };
        match encoded.text.filter(|text| text.answers(&self.query)) {
            Some(text) => Some(Source::Index(text)),
            None => encoded.column.distinct().map(|_| Source::Dictionary(encoded.column)),
        }
    }

    fn overlay<'v>(&self, version: &'v SegmentVersion) -> Option<&'v Overlay> {
        match self.on.place {
            Place::Id => None,
            Place::Field(field) => version.layers(field).1,
        }
    }

    /// How many rows match at most, if an index tells that.
    pub(super) fn rows_at_most(&self, version: &SegmentVersion) -> Result<Option<usize>> {
        let named = match self.source(version) {
            Some(Source::Nothing) => 0,
            Some(Source::Index(text)) => {
                text.rows_at_most(&self.query).map_err(|cause| damage(version, self.on.place, cause))? as usize
            }
            Some(Source::Dictionary(_)) | None => return Ok(None),
        };
        let laid = self.overlay(version).into_iter().flat_map(Overlay::runs).map(|run| run.rows().len());
        Ok(Some(named + laid.sum::<usize>()))
    }

    /// Whether to find all rows that match is cheaper than to look at the texts of so many.
    pub(super) fn pays(&self, version: &SegmentVersion, texts: usize) -> Result<bool> {
        Ok(match self.rows_at_most(version)? {
            Some(rows) => rows / ROWS_PER_TEXT <= texts,
            None => false,
        })
    }

    /// The rows that match, some of which may be dead; `None` where each text has to be looked at.
    pub(super) fn rows(&self, condition: &Condition, version: &SegmentVersion) -> Result<Option<RoaringBitmap>> {
        let rows = match self.source(version) {
            None => return Ok(None),
            Some(Source::Nothing) => Ok(RoaringBitmap::new()),
            Some(Source::Index(text)) => text.rows(&self.query),
            Some(Source::Dictionary(column)) => self.of_dictionary(column),
        };
        let mut rows = rows.map_err(|cause| damage(version, self.on.place, cause))?;
        // The oldest first: what is laid later hides it.
        for run in self.overlay(version).into_iter().flat_map(Overlay::runs) {
            let passed = condition.of_run(self.on.kind, run)?;
            for (row, passed) in run.rows().iter().zip(passed.values()) {
                if passed {
                    rows.insert(*row)
                } else {
                    rows.remove(*row)
                };
            }
        }
        Ok(Some(rows))
    }

    fn of_dictionary(&self, column: &Column) -> Result<RoaringBitmap, ColumnError> {
        let strings = column.dictionary()?.ok_or(ColumnError::Damaged("a column has lost its dictionary"))?;
        let mut matcher = Matcher::new(self.query.clone());
        let mut matching = Vec::new();
        for text in strings.as_string::<i32>().iter().flatten() {
            matcher.clear();
            matcher.add(text);
            if matcher.matches() {
                matching.push(Datum::String(text.into()));
            }
        }
        let mut words = vec![u64::MAX; column.rows().div_ceil(64) as usize];
        column.select(0..column.rows(), &Predicate::In(matching), &mut words)?;
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut rows = RoaringBitmap::from_lsb0_bytes(0, &bytes);
        rows.remove_range(column.rows() as u32..);
        Ok(rows)
    }
}
