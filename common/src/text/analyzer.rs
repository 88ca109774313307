//! How a text becomes words.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tantivy::tokenizer::{
    Language, LowerCaser, SimpleTokenizer, Stemmer, TextAnalyzer, Token, TokenFilter, TokenStream, Tokenizer,
};
use thiserror::Error;

/// Longer words are not found.
const WORD_BYTES_MAX: usize = 256;

/// What stands in the place of a longer word: no query has it.
pub const TOO_LONG: &str = "\0";

/// How words are found in a text: runs of letters and digits in lower case, reduced to their stems where the analyser is one of a
/// language.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub struct Analyzer(Option<Language>);

/// There is no such analyser.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("there is no analyzer {0:?}; there are {names}", names = Analyzer::names().collect::<Vec<_>>().join(", "))]
pub struct UnknownAnalyzer(String);

/// The name of the analyser that reduces nothing: it is what fields have unless their collection says otherwise.
const STANDARD: &str = "standard";

const LANGUAGES: [(&str, Language); 18] = [
    ("arabic", Language::Arabic),
    ("danish", Language::Danish),
    ("dutch", Language::Dutch),
    ("english", Language::English),
    ("finnish", Language::Finnish),
    ("french", Language::French),
    ("german", Language::German),
    ("greek", Language::Greek),
    ("hungarian", Language::Hungarian),
    ("italian", Language::Italian),
    ("norwegian", Language::Norwegian),
    ("portuguese", Language::Portuguese),
    ("romanian", Language::Romanian),
    ("russian", Language::Russian),
    ("spanish", Language::Spanish),
    ("swedish", Language::Swedish),
    ("tamil", Language::Tamil),
    ("turkish", Language::Turkish),
];

impl Analyzer {
    /// The names of all analysers.
    pub fn names() -> impl Iterator<Item = &'static str> {
        [STANDARD].into_iter().chain(LANGUAGES.map(|(name, _)| name))
    }

    /// Its name, which is part of the format.
    pub fn name(self) -> &'static str {
        let known = LANGUAGES.iter().find(|(_, language)| Some(*language) == self.0);
        known.map_or(STANDARD, |(name, _)| name)
    }

    /// What makes words of texts.
    pub fn words(self) -> TextAnalyzer {
        let words = TextAnalyzer::builder(SimpleTokenizer::default()).filter(HideLong).filter(LowerCaser);
        match self.0 {
            None => words.build(),
            Some(language) => words.filter(Stemmer::new(language)).build(),
        }
    }
}

/// Puts [`TOO_LONG`] in the place of words that are.
#[derive(Clone)]
struct HideLong;

impl TokenFilter for HideLong {
    type Tokenizer<T: Tokenizer> = Hiding<T>;

    fn transform<T: Tokenizer>(self, tokenizer: T) -> Hiding<T> {
        Hiding(tokenizer)
    }
}

#[derive(Clone)]
struct Hiding<T>(T);

impl<T: Tokenizer> Tokenizer for Hiding<T> {
    type TokenStream<'a> = HidingStream<T::TokenStream<'a>>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Self::TokenStream<'a> {
        HidingStream(self.0.token_stream(text))
    }
}

struct HidingStream<T>(T);

impl<T: TokenStream> TokenStream for HidingStream<T> {
    fn advance(&mut self) -> bool {
        let there = self.0.advance();
        if there && self.0.token().text.len() > WORD_BYTES_MAX {
            TOO_LONG.clone_into(&mut self.0.token_mut().text);
        }
        there
    }

    fn token(&self) -> &Token {
        self.0.token()
    }

    fn token_mut(&mut self) -> &mut Token {
        self.0.token_mut()
    }
}

impl fmt::Display for Analyzer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Analyzer {
    type Err = UnknownAnalyzer;

    fn from_str(name: &str) -> Result<Self, UnknownAnalyzer> {
        if name == STANDARD {
            return Ok(Self::default());
        }
        let known = LANGUAGES.iter().find(|(known, _)| *known == name);
        known.map(|(_, language)| Self(Some(*language))).ok_or_else(|| UnknownAnalyzer(name.into()))
    }
}

impl TryFrom<String> for Analyzer {
    type Error = UnknownAnalyzer;

    fn try_from(name: String) -> Result<Self, UnknownAnalyzer> {
        name.parse()
    }
}

impl From<Analyzer> for &'static str {
    fn from(analyzer: Analyzer) -> Self {
        analyzer.name()
    }
}
