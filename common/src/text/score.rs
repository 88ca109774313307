//! How well a text matches: BM25 (Robertson and Zaragoza 2009), with k1 = 1.2 and b = 0.75.
//!
//! The statistics are those of the whole collection, so that scores of rows of different shards and segments compare. They are as
//! they were when the query was planned, and count rows that died since their segment was written.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::TextQuery;
use super::query::Unit;

const K1: f32 = 1.2;
const B: f32 = 0.75;

/// What is known of all texts of a field.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Statistics {
    /// How many there are.
    pub texts: u64,
    /// How many words they have, all together.
    pub words: u64,
    /// In how many each unit of a query occurs.
    pub found: Vec<u64>,
}

impl Statistics {
    /// Adds those of other texts.
    pub fn add(&mut self, other: &Self) {
        self.texts += other.texts;
        self.words += other.words;
        self.found.resize(self.found.len().max(other.found.len()), 0);
        self.found.iter_mut().zip(&other.found).for_each(|(all, found)| *all += found);
    }
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.texts, self.words)?;
        self.found.iter().try_for_each(|found| write!(f, " {found}"))
    }
}

impl FromStr for Statistics {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = text.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>()?;
        let mut numbers = numbers.into_iter();
        let mut next = || numbers.next().unwrap_or_default();
        let (texts, words) = (next(), next());
        Ok(Self { texts, words, found: numbers.collect() })
    }
}

/// Scores texts for one query.
#[derive(Debug, Clone)]
pub struct Scorer {
    /// What each unit counts, by its number; zero for those that are not wanted.
    weights: Vec<f32>,
    length_mean: f32,
}

impl Scorer {
    /// Makes one. A word counts the more the rarer it is, words that begin in some way count one.
    pub fn new(query: &TextQuery, statistics: &Statistics) -> Self {
        let mut weights = vec![0.0; query.units.len()];
        for unit in query.wanted() {
            let found = statistics.found.get(unit).copied().unwrap_or_default();
            weights[unit] = match query.units[unit] {
                Unit::Word(_) => rarity(found, statistics.texts),
                Unit::Prefix(_) => 1.0,
            };
        }
        let length_mean = statistics.words as f32 / statistics.texts.max(1) as f32;
        Self { weights, length_mean: length_mean.max(1.0) }
    }

    /// The units that count.
    pub fn units(&self) -> impl Iterator<Item = usize> + '_ {
        self.weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0).map(|(unit, _)| unit)
    }

    /// The score of a text of so many words that has the units at these places.
    pub fn score(&self, places: &[Vec<u32>], length: u32) -> f32 {
        let there = self.units().filter(|unit| !places[*unit].is_empty());
        there.map(|unit| self.part(unit, places[unit].len() as u32, length)).sum()
    }

    /// What a unit that occurs so often adds to the score of a text of so many words.
    pub fn part(&self, unit: usize, times: u32, length: u32) -> f32 {
        let times = times as f32;
        let norm = K1 * (1.0 - B + B * rounded(length) as f32 / self.length_mean);
        self.weights[unit] * times * (K1 + 1.0) / (times + norm)
    }
}

fn rarity(found: u64, texts: u64) -> f32 {
    let others = texts.max(found) - found;
    (1.0 + (others as f32 + 0.5) / (found as f32 + 0.5)).ln()
}

/// The length as an index keeps it: in one byte.
fn rounded(length: u32) -> u32 {
    use tantivy::fieldnorm::FieldNormReader;
    FieldNormReader::id_to_fieldnorm(FieldNormReader::fieldnorm_to_id(length))
}
