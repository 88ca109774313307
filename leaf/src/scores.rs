//! How well texts match, and what is known of all of them.
//!
//! In: a query, rows of a segment's version. Out: their scores, from the index of their words where the segment has one; or statistics,
//! by which scores are made. Texts that patches laid over others are looked at themselves.

use basalt_common::id::FieldId;
use basalt_common::scan::ScanScore;
use basalt_common::text::functions::{scores as of_texts, statistics as of_all};
use basalt_common::text::{Analyzer, Scorer, Statistics, TextQuery};
use basalt_common::value::Type;
use datafusion::arrow::array::{ArrayRef, Float64Array, UInt32Array};
use datafusion::common::{DataFusionError, Result};

use crate::column::ColumnError;
use crate::field::{FieldValues, FileColumn};
use crate::piece::Held;
use crate::segment::{SegmentDamage, SegmentVersion};
use crate::text::TextIndex;

/// The most texts of a segment without an index of their words that are looked at for statistics.
const SAMPLE: usize = 4_096;

/// The strings of a field in a file, and the index of their words, if it was made by an analyser.
fn index(
    version: &SegmentVersion,
    field: FieldId,
    analyzer: Analyzer,
) -> Result<Option<(&FileColumn, Held<'_, TextIndex>)>> {
    let Some(FieldValues::File(file)) = version.layers(field).0 else { return Ok(None) };
    let Some(strings) = file.find(Type::String) else { return Ok(None) };
    let words = strings.words(analyzer).map_err(|cause| damage(version, field, cause))?;
    Ok(words.map(|words| (strings, words)))
}

/// The scores of rows by the strings of a field, which `texts` reads.
///
/// # Errors
/// The segment is damaged.
pub fn scores(
    version: &SegmentVersion,
    field: FieldId,
    score: &ScanScore,
    rows: &UInt32Array,
    texts: impl Fn(&UInt32Array) -> Result<ArrayRef>,
) -> Result<Float64Array> {
    let query = score.call.query()?;
    let of_texts = |rows: &UInt32Array| of_texts(&texts(rows)?, &query, &score.statistics);
    let Some((_, index)) = index(version, field, query.analyzer)? else { return of_texts(rows) };
    let scorer = Scorer::new(&query, &score.statistics);
    let found = index.scores(&query, &scorer, rows.values()).map_err(|cause| damage(version, field, cause))?;
    let mut scores: Vec<f64> = found.into_iter().map(f64::from).collect();
    if let Some(overlay) = version.layers(field).1 {
        let laid = rows.values().iter().enumerate().filter(|(_, row)| overlay.covers(**row));
        let (places, laid): (Vec<usize>, Vec<u32>) = laid.map(|(place, row)| (place, *row)).unzip();
        let of_laid = of_texts(&laid.into())?;
        places.into_iter().zip(of_laid.values()).for_each(|(place, score)| scores[place] = *score);
    }
    Ok(scores.into())
}

fn damage(version: &SegmentVersion, field: FieldId, cause: ColumnError) -> DataFusionError {
    SegmentDamage { segment: version.segment().id(), field: Some(field), cause }.into()
}

/// What is known of the strings of one field of a segment, about.
///
/// # Errors
/// The segment is damaged.
pub fn statistics(version: &SegmentVersion, field: FieldId, query: &TextQuery) -> Result<Statistics> {
    if let Some((strings, index)) = index(version, field, query.analyzer)? {
        let known = index.statistics(query, strings.present);
        return known.map_err(|cause| damage(version, field, cause));
    }
    let live = version.live();
    let step = live.len().div_ceil(SAMPLE).max(1);
    let sample: UInt32Array = live.values().iter().step_by(step).copied().collect::<Vec<_>>().into();
    let stored = version.column(field, &sample)?;
    let Some((_, texts)) = stored.columns().iter().find(|(of, _)| *of == Type::String) else {
        return Ok(Statistics::default());
    };
    let mut known = of_all(texts, query)?;
    known.texts *= step as u64;
    known.words *= step as u64;
    known.found.iter_mut().for_each(|found| *found *= step as u64);
    Ok(known)
}
