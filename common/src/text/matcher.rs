//! Whether one text matches a query.

use tantivy::tokenizer::TextAnalyzer;

use super::query::{Part, TextQuery, Unit};

/// How far the texts of an array are apart: no phrase goes from one to the next.
const GAP: u32 = 100;

/// Looks for a query's units in texts, one text after the other.
pub struct Matcher {
    query: TextQuery,
    analyzer: TextAnalyzer,
    /// Each word that is looked for with its unit, ascending: most queries have few, and a search beats a hash.
    words: Vec<(String, usize)>,
    prefixes: Vec<(String, usize)>,
    /// Where each unit is in the text, ascending.
    places: Vec<Vec<u32>>,
    /// How many words the text has.
    length: u32,
    /// Where the next text of an array begins.
    next: u32,
}

impl Matcher {
    /// Makes one.
    pub fn new(query: TextQuery) -> Self {
        let (mut words, mut prefixes) = (Vec::new(), Vec::new());
        for (index, unit) in query.units.iter().enumerate() {
            match unit {
                Unit::Word(word) => words.push((word.clone(), index)),
                Unit::Prefix(prefix) => prefixes.push((prefix.clone(), index)),
            }
        }
        words.sort_unstable();
        let places = vec![Vec::new(); query.units.len()];
        Self { analyzer: query.analyzer.words(), query, words, prefixes, places, length: 0, next: 0 }
    }

    /// The query.
    pub fn query(&self) -> &TextQuery {
        &self.query
    }

    /// Goes to the next text: it is empty.
    pub fn clear(&mut self) {
        self.places.iter_mut().for_each(Vec::clear);
        (self.length, self.next) = (0, 0);
    }

    /// Adds to the text, apart from what it has.
    pub fn add(&mut self, text: &str) {
        let Self { analyzer, words, prefixes, places, length, next, .. } = self;
        let start = *next;
        analyzer.token_stream(text).process(&mut |token| {
            let place = start.saturating_add(token.position as u32);
            if let Ok(found) = words.binary_search_by(|(word, _)| word.as_str().cmp(&token.text)) {
                places[words[found].1].push(place);
            }
            for (prefix, unit) in prefixes.iter() {
                if token.text.starts_with(prefix) {
                    places[*unit].push(place);
                }
            }
            *length += 1;
            *next = place.saturating_add(GAP);
        });
    }

    /// Where each unit is in the text.
    pub fn places(&self) -> &[Vec<u32>] {
        &self.places
    }

    /// How many words the text has.
    pub fn length(&self) -> u32 {
        self.length
    }

    /// Whether the text matches.
    pub fn matches(&self) -> bool {
        let holds = |part: &Part| holds(part, |unit| &self.places[unit]);
        let clause = |all: &[Part], none: &[Part]| all.iter().all(holds) && !none.iter().any(holds);
        self.query.clauses.iter().any(|each| clause(&each.all, &each.none))
    }
}

/// Whether the units of a part are behind each other somewhere, where each unit is at some places, ascending.
pub fn holds<'p>(part: &Part, places: impl Fn(usize) -> &'p Vec<u32>) -> bool {
    let Some(((first, _), rest)) = part.split_first() else { return false };
    let follows =
        |start: &u32| rest.iter().all(|(unit, offset)| places(*unit).binary_search(&(start + offset)).is_ok());
    places(*first).iter().any(follows)
}
