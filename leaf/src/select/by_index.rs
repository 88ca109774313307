//! The rows of a segment whose texts match a query or a pattern, or whose arrays have an element.
//!
//! In: a condition that searches a column, a segment's version. Out: rows; or how many they are at most. A segment that was written has an
//! index of the words of its texts, or strings that repeat, each of which is looked at once; and the elements of its arrays by their
//! values. A pattern of LIKE has pieces, each of which lies within a word: the rows that have such words may match, and no others. What patches laid over the field is looked at by itself, as with terms. Where a segment has nothing of that, each value is.

use std::sync::Arc;

use basalt_common::scan::ScanFilter;
use basalt_common::schema::Schema;
use basalt_common::text::functions::TextCall;
use basalt_common::text::{Analyzer, Matcher, TextQuery};
use basalt_common::value::Type;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::physical_expr::expressions::{Column as ColumnExpr, LikeExpr};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use roaring::RoaringBitmap;

use super::test::{Place, Tested, constant};
use super::{Condition, damage};
use crate::column::{Column, ColumnError, Datum, Predicate};
use crate::elements::Elements;
use crate::field::FieldValues;
use crate::overlay::Overlay;
use crate::piece::{Held, Piece};
use crate::segment::SegmentVersion;
use crate::text::TextIndex;

/// To look into a value costs as much as to read so many rows from an index.
const ROWS_PER_VALUE: usize = 256;

/// To look for a piece in a word of an index costs nearly as much as to look for a pattern in a text; so there must be fewer words.
const ROWS_PER_WORD: usize = 4;

/// Shorter pieces are in too many words.
const PIECE_BYTES_MIN: usize = 3;

/// A search of one column's values.
#[derive(Debug)]
pub(super) struct Search {
    on: Tested,
    sought: Sought,
}

#[derive(Debug)]
enum Sought {
    /// Texts that match.
    Words(TextQuery),
    /// Texts that have words with these pieces: they may match a pattern.
    Pieces(Vec<String>),
    /// Arrays with an element that meets a predicate; the type of the place is that of the elements.
    Elements(Predicate<'static>),
}

/// What of a segment tells which rows match.
enum Source<'v> {
    /// No row has such values.
    Nothing,
    Text(Held<'v, TextIndex>, &'v TextQuery),
    Dictionary(Held<'v, Column>, &'v TextQuery),
    Pieces(Held<'v, TextIndex>, &'v [String]),
    Elements(Held<'v, Elements>, &'v Predicate<'static>),
}

impl Search {
    /// The search that an expression is, if it is one of one column.
    pub(super) fn of(expression: &Arc<dyn PhysicalExpr>, filter: &ScanFilter, schema: &Schema) -> Option<Self> {
        let column = |expression: &Arc<dyn PhysicalExpr>| Some(expression.downcast_ref::<ColumnExpr>()?.index());
        if let Some((texts, call)) = TextCall::of(expression) {
            let index = column(texts)?;
            let on = Tested::of(&filter.columns[index], filter.schema.field(index), schema)?;
            let query = call.query().ok().filter(|_| on.of == Type::String && on.place != Place::Id)?;
            return Some(Self { on, sought: Sought::Words(query) });
        }
        if let Some(like) = expression.downcast_ref::<LikeExpr>() {
            // Whoever ignores case folds more than lower case does, as of ſ and ς.
            let index = column(like.expr()).filter(|_| !like.negated() && !like.case_insensitive())?;
            let on = Tested::of(&filter.columns[index], filter.schema.field(index), schema)?;
            let pieces = pieces(constant(like.pattern())?.try_as_str().flatten()?);
            let is_known = !pieces.is_empty() && on.place != Place::Id;
            return is_known.then_some(Self { on, sought: Sought::Pieces(pieces) });
        }
        let call = expression.downcast_ref::<ScalarFunctionExpr>()?;
        let [arrays, sought] = call.args() else { return None };
        let index = column(arrays)?;
        let DataType::List(item) = filter.schema.field(index).data_type() else { return None };
        let on = Tested { kind: None, ..Tested::of(&filter.columns[index], item, schema)? };
        let predicate = match call.name() {
            "array_has" => Predicate::equal(on.datum(constant(sought)?)?),
            "array_has_any" => {
                Predicate::In(items(constant(sought)?)?.iter().map(|item| on.datum(item)).collect::<Option<_>>()?)
            }
            _ => return None,
        };
        Some(Self { on, sought: Sought::Elements(predicate) }).filter(|search| search.on.place != Place::Id)
    }

    /// Whether the rows that are found match, and not only may.
    pub(super) fn is_exact(&self) -> bool {
        !matches!(self.sought, Sought::Pieces(_))
    }

    fn source<'v>(&'v self, version: &'v SegmentVersion) -> Result<Option<Source<'v>>> {
        self.opened(version).map_err(|cause| damage(version, self.on.place, cause))
    }

    fn opened<'v>(&'v self, version: &'v SegmentVersion) -> Result<Option<Source<'v>>, ColumnError> {
        if let Sought::Elements(predicate) = &self.sought {
            let Place::Field(field) = self.on.place else { return Ok(None) };
            let file = match version.layers(field).0 {
                None => return Ok(Some(Source::Nothing)),
                Some(FieldValues::Memory(_)) => return Ok(None),
                Some(FieldValues::File(file)) => file,
            };
            let Some(arrays) = file.find(Type::Array) else { return Ok(Some(Source::Nothing)) };
            let elements = arrays.elements.as_ref().map(Piece::get).transpose()?;
            let elements = elements.filter(|elements| elements.tell(self.on.of));
            return Ok(elements.map(|elements| Source::Elements(elements, predicate)));
        }
        let Some(encoded) = self.on.column(version) else { return Ok(None) };
        let Some(encoded) = encoded else { return Ok(Some(Source::Nothing)) };
        Ok(match &self.sought {
            Sought::Words(query) => match encoded.words(query.analyzer)?.filter(|text| text.answers(query)) {
                Some(text) => Some(Source::Text(text, query)),
                None => {
                    let column = encoded.column()?;
                    column.distinct().is_some().then_some(Source::Dictionary(column, query))
                }
            },
            Sought::Pieces(pieces) => {
                encoded.words(Analyzer::default())?.map(|text| Source::Pieces(text, pieces.as_slice()))
            }
            Sought::Elements(_) => None,
        })
    }

    fn overlay<'v>(&self, version: &'v SegmentVersion) -> Option<&'v Overlay> {
        match self.on.place {
            Place::Id => None,
            Place::Field(field) => version.layers(field).1,
        }
    }

    /// How many rows match at most, if an index tells that.
    pub(super) fn rows_at_most(&self, version: &SegmentVersion) -> Result<Option<usize>> {
        let named = match self.source(version)? {
            Some(Source::Nothing) => Ok(0),
            Some(Source::Text(text, query)) => text.rows_at_most(query).map(|rows| rows as usize),
            Some(Source::Elements(elements, predicate)) => elements.count(self.on.of, predicate),
            Some(Source::Dictionary(..) | Source::Pieces(..)) | None => return Ok(None),
        };
        let named = named.map_err(|cause| damage(version, self.on.place, cause))?;
        let laid = self.overlay(version).into_iter().flat_map(Overlay::runs).map(|run| run.rows().len());
        Ok(Some(named + laid.sum::<usize>()))
    }

    /// Whether to find all rows that match is cheaper than to look at so many values.
    pub(super) fn pays(&self, version: &SegmentVersion, values: usize) -> Result<bool> {
        Ok(match self.source(version)? {
            None => false,
            Some(Source::Dictionary(column, _)) => column.distinct().is_some_and(|strings| strings <= values),
            Some(Source::Pieces(text, _)) => text.words() * ROWS_PER_WORD <= values,
            Some(Source::Nothing | Source::Text(..) | Source::Elements(..)) => {
                self.rows_at_most(version)?.is_some_and(|rows| rows / ROWS_PER_VALUE <= values)
            }
        })
    }

    /// The rows that match (or may, where the search is not exact), some of which may be dead; `None` where each value has to be looked at.
    pub(super) fn rows(&self, condition: &Condition, version: &SegmentVersion) -> Result<Option<RoaringBitmap>> {
        let rows = match self.source(version)? {
            None => return Ok(None),
            Some(Source::Nothing) => Ok(RoaringBitmap::new()),
            Some(Source::Text(text, query)) => text.rows(query),
            Some(Source::Dictionary(column, query)) => of_dictionary(&column, query),
            Some(Source::Pieces(text, pieces)) => text.rows_with_pieces(pieces),
            Some(Source::Elements(elements, predicate)) => {
                elements.rows(self.on.of, predicate).map(|rows| rows.into_iter().collect())
            }
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
}

/// The pieces of a pattern of LIKE that lie within words, in lower case.
fn pieces(pattern: &str) -> Vec<String> {
    if pattern.contains('\\') {
        return Vec::new();
    }
    let pieces = pattern.split(|c: char| !c.is_alphanumeric()).filter(|piece| piece.len() >= PIECE_BYTES_MIN);
    pieces.map(|piece| piece.chars().flat_map(char::to_lowercase).collect()).collect()
}

/// The items of a constant list, without nulls.
fn items(list: &ScalarValue) -> Option<Vec<ScalarValue>> {
    let ScalarValue::List(list) = list else { return None };
    let items = list.value(0);
    (0..items.len())
        .map(|index| ScalarValue::try_from_array(&items, index).ok().filter(|item| !item.is_null()))
        .collect()
}

fn of_dictionary(column: &Column, query: &TextQuery) -> Result<RoaringBitmap, ColumnError> {
    let strings = column.dictionary()?.ok_or(ColumnError::Damaged("a column has lost its dictionary"))?;
    let mut matcher = Matcher::new(query.clone());
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
