//! How the fields of a collection are indexed.
//!
//! Every field has columns and terms, and texts that look like prose an index of their words. A collection may say which analyser the
//! words of a field are made by, and which fields need no index. Neither changes what a query answers but for the words of a search
//! that names no analyser; segments that were written under other settings are read as they are.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::text::Analyzer;
use crate::value::FieldPath;

/// How one field's words are indexed, as the maker of a collection says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextSettings {
    /// What makes words of its texts.
    #[serde(default)]
    pub analyzer: Analyzer,
}

/// The settings as the catalog keeps them: by the paths of fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexSettings {
    /// Fields whose words are indexed whatever they look like.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub text: BTreeMap<String, TextSettings>,
    /// Fields without an index, with all that is below them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unindexed: BTreeSet<String>,
}

impl IndexSettings {
    /// Whether they say nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The settings, read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Indexing {
    text: BTreeMap<FieldPath, Analyzer>,
    unindexed: BTreeSet<FieldPath>,
}

/// Which words of a field are indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WordIndex {
    /// None.
    Never,
    /// Those of texts that look like prose, by the standard analyser.
    OfProse,
    /// All.
    Always(Analyzer),
}

impl Indexing {
    /// Reads settings; `read` makes a path of its text, or an error.
    ///
    /// # Errors
    /// As `read`.
    pub fn new<E>(settings: &IndexSettings, read: impl Fn(&str) -> Result<FieldPath, E>) -> Result<Self, E> {
        let text = settings.text.iter().map(|(path, text)| Ok((read(path)?, text.analyzer)));
        let unindexed = settings.unindexed.iter().map(|path| read(path));
        Ok(Self { text: text.collect::<Result<_, _>>()?, unindexed: unindexed.collect::<Result<_, _>>()? })
    }

    /// The settings, as they were given.
    pub fn settings(&self) -> IndexSettings {
        let text = self.text.iter().map(|(path, analyzer)| (path.to_string(), TextSettings { analyzer: *analyzer }));
        IndexSettings { text: text.collect(), unindexed: self.unindexed.iter().map(ToString::to_string).collect() }
    }

    /// What makes words of a field's texts.
    pub fn analyzer(&self, path: &FieldPath) -> Analyzer {
        self.text.get(path).copied().unwrap_or_default()
    }

    /// Whether a field has terms.
    pub fn has_terms(&self, path: &FieldPath) -> bool {
        !self.unindexed.iter().any(|above| path.keys().starts_with(above.keys()))
    }

    /// Which words of a field are indexed.
    pub fn words(&self, path: &FieldPath) -> WordIndex {
        match self.text.get(path) {
            Some(analyzer) => WordIndex::Always(*analyzer),
            None if self.has_terms(path) => WordIndex::OfProse,
            None => WordIndex::Never,
        }
    }
}
