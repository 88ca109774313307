//! Which SQL is read.
//!
//! In: questions of the tokenizer and the parser. Out: answers. Syntax is DataFusion's default, with two changes: a
//! colon is never an operator, so that `:name` is a parameter; and what DataFusion parses and then ignores is not read at
//! all (`SETTINGS`, `FORMAT`, `PREWHERE`, `CONNECT BY`, `SELECT * ILIKE`, `FROM t` without SELECT, hints in comments).
//! Backslashes in strings stand for themselves. It also stops a parser that tries the same tokens again and again.

use std::any::TypeId;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::dialect::{Dialect, GenericDialect};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Token};

use super::limits::TRIES_MAX;

/// The SQL of this database, for one run of the parser.
#[derive(Debug, Default)]
pub(super) struct BasaltDialect {
    /// How often an operand was tried at each place.
    tries: RefCell<HashMap<Location, usize>>,
    /// Whether one was tried more than [`TRIES_MAX`] times.
    is_exhausted: Cell<bool>,
}

impl BasaltDialect {
    /// How far the parser came, if it was stopped because it went over the same text again and again.
    pub(super) fn exhausted_at(&self) -> Option<Location> {
        self.is_exhausted.get().then(|| self.tries.borrow().keys().max().copied()).flatten()
    }
}

/// Answers yes to the questions named.
macro_rules! reads {
    ($($feature:ident)*) => { $(fn $feature(&self) -> bool { true })* };
}

impl Dialect for BasaltDialect {
    /// The parser allows some syntax, `UNNEST` in FROM above all, to dialects it knows by type only.
    fn dialect(&self) -> TypeId {
        TypeId::of::<GenericDialect>()
    }

    fn is_delimited_identifier_start(&self, character: char) -> bool {
        matches!(character, '"' | '`')
    }

    fn is_identifier_start(&self, character: char) -> bool {
        character.is_alphabetic() || character == '_'
    }

    fn is_identifier_part(&self, character: char) -> bool {
        character.is_alphanumeric() || matches!(character, '_' | '$')
    }

    /// Counts tries: the parser takes one reading of a text after the other, and readings inside readings, so on texts
    /// that are no SQL deep inside brackets the tries double with each level. `RecursionLimitExceeded` ends them all.
    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        let mut tries = self.tries.borrow_mut();
        let here = tries.entry(parser.peek_token_ref().span.start).or_default();
        *here += 1;
        if *here > TRIES_MAX {
            self.is_exhausted.set(true);
        }
        self.is_exhausted.get().then_some(Err(ParserError::RecursionLimitExceeded))
    }

    /// A colon ends an expression; by default it would reach into JSON.
    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        (parser.peek_token_ref().token == Token::Colon).then(|| Ok(self.prec_unknown()))
    }

    // Words of the text.
    reads! {
        supports_nested_comments
        supports_numeric_literal_underscores
        supports_string_escape_constant
        supports_unicode_string_literal
    }

    // The select list and the clauses of a query.
    reads! {
        supports_empty_projections
        supports_group_by_expr
        supports_group_by_with_modifier
        supports_limit_comma
        supports_pipe_operator
        supports_projection_trailing_commas
        supports_select_wildcard_except
        supports_select_wildcard_exclude
        supports_select_wildcard_replace
    }

    // Relations.
    reads! {
        supports_left_associative_joins_without_parens
        supports_parens_around_table_factor
        supports_values_as_table_factor
    }

    // Expressions and types.
    reads! {
        allow_extract_custom
        allow_extract_single_quotes
        support_map_literal_syntax
        supports_array_typedef_with_brackets
        supports_bitwise_shift_operators
        supports_comma_separated_trim
        supports_dictionary_syntax
        supports_extract_comma_syntax
        supports_filter_during_aggregation
        supports_interval_options
        supports_named_fn_args_with_assignment_operator
        supports_struct_literal
        supports_window_clause_named_window_reference
        supports_window_function_null_treatment_arg
    }
}
