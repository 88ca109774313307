//! The rows whose texts match a query.

use basalt_common::text::{Clause, Part, TOO_LONG, TextQuery, Unit, holds};
use memchr::memmem::Finder;
use roaring::RoaringBitmap;
use tantivy::postings::{Postings, SegmentPostings};
use tantivy::schema::IndexRecordOption;
use tantivy::{COLLECT_BLOCK_BUFFER_LEN, DocSet};

use super::{TextIndex, in_rows, wrong};
use crate::column::ColumnError;

/// So many rows of a phrase are looked at together: what their places take is bounded by it.
const ROWS_AT_ONCE: usize = 65_536;

impl TextIndex {
    /// Whether it can tell which rows match: not where a clause only says what must not be there.
    pub fn answers(&self, query: &TextQuery) -> bool {
        query.analyzer == self.analyzer() && query.clauses.iter().all(|clause| !clause.all.is_empty())
    }

    /// How many rows match at most.
    ///
    /// # Errors
    /// The index is damaged.
    pub fn rows_at_most(&self, query: &TextQuery) -> Result<u64, ColumnError> {
        let counts = query.units.iter().map(|unit| self.count(unit)).collect::<Result<Vec<u64>, _>>()?;
        let clause = |clause: &Clause| clause.all.iter().flatten().map(|(unit, _)| counts[*unit]).min();
        Ok(query.clauses.iter().filter_map(clause).sum())
    }

    fn count(&self, unit: &Unit) -> Result<u64, ColumnError> {
        match unit {
            Unit::Word(word) => Ok(self.words.doc_freq(&self.term(word)).map_err(wrong)?.into()),
            Unit::Prefix(prefix) => {
                let mut words = self.words.terms().range().ge(prefix).into_stream().map_err(wrong)?;
                let mut count = 0;
                while words.advance() && words.key().starts_with(prefix.as_bytes()) {
                    count += u64::from(words.value().doc_freq);
                }
                Ok(count)
            }
        }
    }

    /// The rows that match, dead ones included, if the index [`answers`](Self::answers).
    ///
    /// # Errors
    /// The index is damaged.
    pub fn rows(&self, query: &TextQuery) -> Result<RoaringBitmap, ColumnError> {
        let mut rows = RoaringBitmap::new();
        for clause in &query.clauses {
            rows |= self.of_clause(query, clause)?;
        }
        Ok(rows)
    }

    fn of_clause(&self, query: &TextQuery, clause: &Clause) -> Result<RoaringBitmap, ColumnError> {
        let mut rows: Option<RoaringBitmap> = None;
        for (unit, _) in clause.all.iter().flatten() {
            let having = self.having(&query.units[*unit])?;
            rows = Some(rows.map_or_else(|| having.clone(), |rows| rows & &having));
        }
        let mut rows = rows.unwrap_or_default();
        for phrase in clause.all.iter().filter(|part| part.len() > 1) {
            rows = self.of_phrase(query, phrase, &rows)?;
        }
        for part in &clause.none {
            rows -= match part.as_slice() {
                [(unit, _)] => self.having(&query.units[*unit])?,
                _ => self.of_phrase(query, part, &rows)?,
            };
        }
        Ok(rows)
    }

    /// The rows that have a unit.
    fn having(&self, unit: &Unit) -> Result<RoaringBitmap, ColumnError> {
        let mut rows = RoaringBitmap::new();
        self.each_word(unit, IndexRecordOption::Basic, |postings| add(&mut rows, postings))?;
        Ok(rows)
    }

    /// The rows that have, for each of some pieces, a word with it; and those with a word too long to be known.
    ///
    /// # Errors
    /// The index is damaged.
    pub fn rows_with_pieces(&self, pieces: &[String]) -> Result<RoaringBitmap, ColumnError> {
        let finders: Vec<Finder<'_>> = pieces.iter().map(Finder::new).collect();
        let mut having = vec![RoaringBitmap::new(); pieces.len()];
        let mut words = self.words.terms().stream().map_err(wrong)?;
        while words.advance() {
            for (finder, rows) in finders.iter().zip(&mut having) {
                if words.key() == TOO_LONG.as_bytes() || finder.find(words.key()).is_some() {
                    let postings = self.words.read_postings_from_terminfo(words.value(), IndexRecordOption::Basic);
                    add(rows, postings.map_err(wrong)?);
                }
            }
        }
        Ok(having.into_iter().reduce(|all, rows| all & rows).unwrap_or_default())
    }

    /// The rows, of some, in which the units of a part are behind each other.
    fn of_phrase(&self, query: &TextQuery, part: &Part, among: &RoaringBitmap) -> Result<RoaringBitmap, ColumnError> {
        // The units of the part by their places in it, however often one occurs.
        let own: Part = part.iter().enumerate().map(|(index, (_, offset))| (index, *offset)).collect();
        let among: Vec<u32> = among.iter().collect();
        let mut rows = RoaringBitmap::new();
        for some in among.chunks(ROWS_AT_ONCE) {
            let places = part.iter().map(|(unit, _)| self.places(&query.units[*unit], some));
            let places = places.collect::<Result<Vec<_>, _>>()?;
            let matching = some.iter().enumerate().filter(|(index, _)| holds(&own, |unit| &places[unit][*index]));
            rows.extend(matching.map(|(_, row)| *row));
        }
        Ok(rows)
    }

    /// Where a unit is in each of some rows, ascending.
    fn places(&self, unit: &Unit, rows: &[u32]) -> Result<Vec<Vec<u32>>, ColumnError> {
        let (mut places, mut of_word) = (vec![Vec::new(); rows.len()], Vec::new());
        self.each_word(unit, IndexRecordOption::WithFreqsAndPositions, |mut postings| {
            in_rows(&mut postings, rows, |index, postings| {
                postings.positions(&mut of_word);
                places[index].append(&mut of_word);
            });
        })?;
        if matches!(unit, Unit::Prefix(_)) {
            places.iter_mut().for_each(|places| places.sort_unstable());
        }
        Ok(places)
    }
}

/// Adds the rows in which a word is.
fn add(rows: &mut RoaringBitmap, mut postings: SegmentPostings) {
    let mut block = [0; COLLECT_BLOCK_BUFFER_LEN];
    loop {
        let count = postings.fill_buffer(&mut block);
        rows.extend(&block[..count]);
        if count < block.len() {
            break;
        }
    }
}
