//! Which SQL is read.
//!
//! In: questions of the tokenizer and the parser. Out: answers. Syntax is DataFusion's default, with two changes: a
//! colon is never an operator, so that `:name` is a parameter, and clauses that DataFusion parses and then ignores
//! (`SETTINGS`, `FORMAT`, `PREWHERE`, `CONNECT BY`, optimizer hints in comments) are not read at all. Backslashes in
//! strings stand for themselves. It also stops a parser that tries the same tokens again and again.

use std::any::TypeId;
use std::cell::Cell;

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::dialect::{Dialect, GenericDialect};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

/// The SQL of this database, for one run of the parser.
#[derive(Debug)]
pub(super) struct BasaltDialect {
    /// How many more operands may be tried; see [`BasaltDialect::with_steps`].
    steps_left: Cell<usize>,
}

impl BasaltDialect {
    /// Allows the parser to try `steps` operands. It tries several readings of a text one after the other, and
    /// readings inside readings; on some texts that are no SQL the tries double with each level.
    pub(super) fn with_steps(steps: usize) -> Self {
        Self { steps_left: Cell::new(steps) }
    }

    /// Whether the parser used up its steps.
    pub(super) fn is_exhausted(&self) -> bool {
        self.steps_left.get() == 0
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

    /// Counts, and refuses when the count is used up; `RecursionLimitExceeded` is what the parser does not retry after.
    fn parse_prefix(&self, _parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        match self.steps_left.get() {
            0 => Some(Err(ParserError::RecursionLimitExceeded)),
            steps => {
                self.steps_left.set(steps - 1);
                None
            }
        }
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
        supports_from_first_select
        supports_group_by_expr
        supports_group_by_with_modifier
        supports_limit_comma
        supports_pipe_operator
        supports_projection_trailing_commas
        supports_select_wildcard_except
        supports_select_wildcard_exclude
        supports_select_wildcard_ilike
        supports_select_wildcard_rename
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
