//! The language of queries.
//!
//! ```text
//! query  = clause ("OR" clause)…
//! clause = part…                      all of them, in any place of the text
//! part   = "-"? (word | word* | "words behind each other")
//! ```

use std::collections::HashSet;
use std::collections::hash_map::{Entry, HashMap};
use std::hash::Hash;

use serde::{Deserialize, Serialize};
use tantivy::tokenizer::TextAnalyzer;
use thiserror::Error;

use super::{Analyzer, TOO_LONG};

/// The longest query, in bytes.
const BYTES_MAX: usize = 64 << 10;

/// The most words of a query, each counted once, as each is looked for in every text; and of a phrase, however often each is in it.
const WORDS_MAX: usize = 1_000;

/// Why a query is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QueryError {
    /// Too long.
    #[error("the query of a search has {0} bytes, and at most {BYTES_MAX} are allowed")]
    TooLong(usize),
    /// Too many words.
    #[error("the query of a search has more than {WORDS_MAX} words")]
    TooManyWords,
    /// Too long a phrase.
    #[error("a phrase of a search has {0} words, and at most {WORDS_MAX} are allowed")]
    TooLongPhrase(usize),
}

/// How a query's text is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// In the language of this module.
    Search,
    /// As one phrase.
    Phrase,
    /// As one phrase whose last word goes on.
    Prefix,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Search, Self::Phrase, Self::Prefix];

    /// The name of the SQL function.
    pub fn name(self) -> &'static str {
        match self {
            Self::Search => "search",
            Self::Phrase => "match_phrase",
            Self::Prefix => "prefix",
        }
    }
}

/// What is looked for at one place of a text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unit {
    /// A word, analysed.
    Word(String),
    /// Words that begin so.
    Prefix(String),
}

/// Units behind each other: the number of each in its query, and its place behind the first.
pub type Part = Vec<(usize, u32)>;

/// Parts that must occur, and that must not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Clause {
    /// Each of these occurs.
    pub all: Vec<Part>,
    /// None of these does.
    pub none: Vec<Part>,
}

/// A query: a text matches it if it matches one of its clauses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextQuery {
    /// What is looked for, each once.
    pub units: Vec<Unit>,
    /// The clauses; with none, nothing matches.
    pub clauses: Vec<Clause>,
    /// How words are made of texts and of the query.
    pub analyzer: Analyzer,
}

impl TextQuery {
    /// Reads a query.
    ///
    /// # Errors
    /// It is too long.
    pub fn new(kind: Kind, text: &str, analyzer: Analyzer) -> Result<Self, QueryError> {
        if text.len() > BYTES_MAX {
            return Err(QueryError::TooLong(text.len()));
        }
        let mut reader = Reader { words: analyzer.words(), units: Vec::new(), known: HashMap::new() };
        let (mut clauses, mut clause) = (Vec::new(), Clause::default());
        match kind {
            Kind::Search => {
                for token in tokens(text) {
                    match token {
                        Token::Or => clauses.push(std::mem::take(&mut clause)),
                        Token::Part { text, goes_on, not } => {
                            let part = reader.part(text, goes_on)?;
                            if not { &mut clause.none } else { &mut clause.all }.extend(part);
                        }
                    }
                }
            }
            Kind::Phrase => clause.all.extend(reader.part(text, false)?),
            Kind::Prefix => clause.all.extend(reader.part(text, true)?),
        }
        clauses.push(clause);
        clauses.retain(|clause| !clause.all.is_empty() || !clause.none.is_empty());
        for clause in &mut clauses {
            keep_first(&mut clause.all);
            keep_first(&mut clause.none);
        }
        keep_first(&mut clauses);
        Ok(Self { units: reader.units, clauses, analyzer })
    }

    /// The units that a text which matches may have: not those that only must not occur. Each once, ascending.
    pub fn wanted(&self) -> Vec<usize> {
        let parts = self.clauses.iter().flat_map(|clause| &clause.all);
        let mut wanted: Vec<usize> = parts.flatten().map(|(unit, _)| *unit).collect();
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    }
}

/// Keeps of those that are equal the first: what is asked again and again is looked for once.
fn keep_first<T: Clone + Eq + Hash>(each: &mut Vec<T>) {
    let mut known = HashSet::new();
    each.retain(|one| known.insert(one.clone()));
}

/// Numbers the units of a query.
struct Reader {
    words: TextAnalyzer,
    units: Vec<Unit>,
    known: HashMap<Unit, usize>,
}

impl Reader {
    /// The units of a phrase, of which the last may go on; none where there is no word in it.
    fn part(&mut self, text: &str, goes_on: bool) -> Result<Option<Part>, QueryError> {
        let mut words = Vec::new();
        self.words.token_stream(text).process(&mut |word| words.push((word.text.clone(), word.position)));
        let Some((_, first)) = words.first() else { return Ok(None) };
        let (first, last) = (*first, words.len() - 1);
        if last >= WORDS_MAX {
            return Err(QueryError::TooLongPhrase(words.len()));
        }
        let part = words.into_iter().enumerate().map(|(index, (mut word, position))| {
            // Nothing has a word that is too long.
            if word == TOO_LONG {
                word.push('\0');
            }
            let unit = if goes_on && index == last { Unit::Prefix(word) } else { Unit::Word(word) };
            Ok((self.number(unit)?, (position - first) as u32))
        });
        part.collect::<Result<_, _>>().map(Some)
    }

    fn number(&mut self, unit: Unit) -> Result<usize, QueryError> {
        let next = self.units.len();
        match self.known.entry(unit) {
            Entry::Occupied(known) => Ok(*known.get()),
            Entry::Vacant(_) if next == WORDS_MAX => Err(QueryError::TooManyWords),
            Entry::Vacant(new) => {
                self.units.push(new.key().clone());
                Ok(*new.insert(next))
            }
        }
    }
}

enum Token<'q> {
    Or,
    Part { text: &'q str, goes_on: bool, not: bool },
}

fn tokens(text: &str) -> impl Iterator<Item = Token<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        if rest.is_empty() {
            return None;
        }
        let not = rest.len() > 1 && rest.starts_with('-');
        let body = &rest[usize::from(not)..];
        // A quote that is not closed goes to the end.
        let (text, behind, quoted) = match body.strip_prefix('"') {
            Some(quoted) => {
                let (text, behind) = quoted.split_once('"').unwrap_or((quoted, ""));
                (text, behind, true)
            }
            None => {
                let end = body.find(|c: char| c.is_whitespace() || c == '"').unwrap_or(body.len());
                (&body[..end], &body[end..], false)
            }
        };
        rest = behind;
        if text == "OR" && !quoted && !not {
            return Some(Token::Or);
        }
        let goes_on = match quoted {
            true => rest.starts_with('*'),
            false => text.ends_with('*'),
        };
        if quoted && goes_on {
            rest = &rest[1..];
        }
        Some(Token::Part { text, goes_on, not })
    })
}
