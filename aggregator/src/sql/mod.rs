//! The text of a query becomes one statement that may be planned.
//!
//! In: SQL text and the values of its parameters. Out: one parsed, checked and filled `Statement`, or an error with
//! line, column and what to do. Owns which SQL is a query, how large it may be, how parameters stand in it, and where in
//! the text a name is. Leaves names' meaning and types to the planner, and what may be read to the session.
//!
//! ```text
//! text ─tokens─▶ tokens ─limits─▶ bounded ─parse─▶ Statement ─check─▶ a query ─parameters─▶ filled ─▶ planner
//!        │ :name becomes one token     │ with `dialect`                             │
//!        ▼                             ▼                                            ▼ names: relations, nearest, locate
//!      error with line and column ◀────┴────────────────────────────────────────────┘
//! ```
//!
//! Everything here runs on the caller's stack and is bounded by [`limits`]; none of it blocks.

pub mod error;

mod dialect;

mod tokens;

mod hint;

pub mod limits;

mod parse;

mod fallback;

mod check;

mod parameters;

mod names;

mod naming;

mod score;

#[cfg(test)]
mod tests;

pub use error::{SqlError, SqlErrorKind};
pub use names::{TableReference, locate, nearest, references};
pub use naming::name_paths;
pub use parameters::{Parameter, Parameters, fill};
#[cfg(test)]
use parse::parse;
pub use parse::{parse_with_hint, take_explain_format};
pub use score::take_scores;
