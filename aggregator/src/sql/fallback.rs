//! Finds the mistake that the parser's second reading hides.
//!
//! In: a text and the error that the parser gave for it. Out: the error to show. The parser reads brackets in FROM as a
//! subquery first and, if that fails for whatever reason, as a join of tables; then it complains of the join:
//!
//! ```text
//! SELECT * FROM (SELECT a, b FROM t WHRE c) AS s
//!                       │                │
//!                       │                └ the mistake, from reading the subquery alone
//!                       └ the parser's: it expected `)` after a table named "select"
//! ```
//!
//! So the subquery around an error is read alone, and its error taken if it lies further on; and so on inward.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use super::dialect::BasaltDialect;
use super::error::SqlError;
use super::limits::{NESTING_MAX, RECURSION_MAX};
use super::tokens::{is_keyword, read};

/// The error of the innermost subquery that has one.
pub(super) fn hidden(error: SqlError, sql: &str) -> SqlError {
    let Ok(tokens) = read(sql) else {
        return error;
    };
    let mut error = error;
    for _ in 0..NESTING_MAX {
        let inner = place(&error).and_then(|place| subquery_around(&tokens, place)).and_then(|query| alone(query, sql));
        match inner {
            Some(inner) if place(&inner) > place(&error) => error = inner,
            _ => break,
        }
    }
    error
}

fn place(error: &SqlError) -> Option<Location> {
    error.line.zip(error.column).map(|(line, column)| Location { line, column })
}

/// The tokens of the innermost subquery around a place: after its bracket, up to and with the one that closes it.
fn subquery_around(tokens: &[TokenWithSpan], place: Location) -> Option<&[TokenWithSpan]> {
    let before = tokens.partition_point(|token| token.span.start < place);
    let mut closed = 0_usize;
    for open in (0..before).rev() {
        match tokens[open].token {
            Token::RParen => closed += 1,
            Token::LParen if closed > 0 => closed -= 1,
            Token::LParen if begins_query(&tokens[open + 1..]) => return Some(up_to_close(&tokens[open + 1..])),
            _ => {}
        }
    }
    None
}

fn begins_query(tokens: &[TokenWithSpan]) -> bool {
    let first = tokens.iter().map(|token| &token.token).find(|token| **token != Token::LParen);
    let openers = [Keyword::SELECT, Keyword::WITH, Keyword::VALUES];
    first.is_some_and(|token| openers.iter().any(|keyword| is_keyword(token, *keyword)))
}

fn up_to_close(tokens: &[TokenWithSpan]) -> &[TokenWithSpan] {
    let mut open = 1_usize;
    for (index, token) in tokens.iter().enumerate() {
        match token.token {
            Token::LParen => open += 1,
            Token::RParen => open -= 1,
            _ => {}
        }
        if open == 0 {
            return &tokens[..=index];
        }
    }
    tokens
}

/// The error of a subquery, if it has one that says more than that it is too complex.
fn alone(query: &[TokenWithSpan], sql: &str) -> Option<SqlError> {
    let dialect = BasaltDialect::default();
    let parser = Parser::new(&dialect).with_recursion_limit(RECURSION_MAX);
    let mut parser = parser.with_tokens_with_locations(query.to_vec());
    let result = parser.parse_query().and_then(|_| parser.expect_token(&Token::RParen));
    match result {
        Ok(_) | Err(ParserError::RecursionLimitExceeded) => None,
        Err(error) => Some(SqlError::from_parser(error, sql)),
    }
}
