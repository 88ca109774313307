//! Searching texts: what a query means, and which texts it matches.
//!
//! In: texts, and a query in words. Out: whether it matches, and how well. Pure: the index of a leaf answers the same for the same
//! text, only sooner. Owns the analysers, which make words of texts, and the language of queries; what SQL calls all this is
//! [`functions`]' affair.
//!
//! ```text
//! "Quick, quick fox"  ──analyser──▶  quick₀ quick₁ fox₂ ─┐
//! '"quick fox" OR dog*'  ──query──▶  [quick fox] | [dog…] ┴──▶ matches: yes        score: BM25, by statistics of the collection
//! ```

mod analyzer;
pub mod functions;
mod matcher;
mod query;
mod score;
#[cfg(test)]
mod tests;

pub use analyzer::{Analyzer, TOO_LONG};
pub use matcher::{Matcher, holds};
pub use query::{Clause, Kind, Part, QueryError, TextQuery, Unit};
pub use score::{Scorer, Statistics};
