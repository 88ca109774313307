//! Reads one query.
//!
//! In: SQL text. Out: a [`Statement`] that is a query, `EXPLAIN` of one, `DESCRIBE`, `SHOW TABLES` or `SHOW COLUMNS`. Any
//! other statement is refused by its first word, before it is read: a syntax error in an INSERT would say less than that
//! INSERT is not run here. `EXPLAIN` is read here too, since the parser answers any mistake in the query explained by
//! taking its first word for a table.

use basalt_common::scan::AccessPath;
use datafusion::sql::sqlparser::ast::{AnalyzeFormat, AnalyzeFormatKind, DescribeAlias, Statement};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::check;
use super::dialect::BasaltDialect;
use super::error::{A_QUERY, SqlError, SqlErrorKind, THE_END, end_of};
use super::fallback;
use super::hint;
use super::limits::{self, RECURSION_MAX};
use super::tokens;

const DOCUMENTS: &str = "/v1/workspaces/{w}/collections/{c}/documents";

/// The first words of statements that are SQL and not queries.
const OTHER_STATEMENTS: &str = "ABORT ALTER ANALYZE ASSERT ATTACH BEGIN CACHE CALL CASE CHECKPOINT CLOSE CLUSTER COMMENT \
    COMMIT COPY CREATE DEALLOCATE DECLARE DELETE DENY DETACH DISCARD DO DROP END EXEC EXECUTE EXPORT FETCH FLUSH GRANT IF \
    INSERT INSTALL KILL LISTEN LOAD LOCK MERGE MSCK NOTIFY OPEN OPTIMIZE PRAGMA PREPARE PRINT RAISE REFRESH REINDEX \
    RELEASE RENAME REPLACE RESET RETURN REVOKE ROLLBACK SAVEPOINT SET START TRUNCATE UNCACHE UNLISTEN UNLOAD UPDATE USE \
    VACUUM";

/// Reads a text that holds one query; comments and a semicolon at the end may follow. Beside it, the way that a hint forces.
///
/// # Errors
/// The text is not SQL, not one query, or larger than [`limits`] allow; with the position where that shows.
pub fn parse_with_hint(sql: &str) -> Result<(Statement, Option<AccessPath>), SqlError> {
    let tokens = one_statement(tokens::read(sql)?, sql)?;
    let (tokens, path) = hint::take(tokens)?;
    check_first_words(&tokens)?;
    limits::check(&tokens)?;
    let dialect = BasaltDialect::default();
    let mut parser = Parser::new(&dialect).with_recursion_limit(RECURSION_MAX).with_tokens_with_locations(tokens);
    let statement = statement(&mut parser).and_then(|statement| end(&mut parser).map(|()| statement));
    let statement = statement.map_err(|error| match dialect.exhausted_at() {
        Some(furthest) => undecided().at(furthest),
        None => fallback::hidden(SqlError::from_parser(error, sql), sql),
    })?;
    check::check(&statement, sql)?;
    Ok((statement, path))
}

#[cfg(test)]
pub(super) fn parse(sql: &str) -> Result<Statement, SqlError> {
    parse_with_hint(sql).map(|(statement, _)| statement)
}

/// Takes the format out of `EXPLAIN FORMAT …`, for which DataFusion's planner has no reading.
pub fn take_explain_format(statement: &mut Statement) -> Option<AnalyzeFormat> {
    let Statement::Explain { format, .. } = statement else {
        return None;
    };
    match format.take()? {
        AnalyzeFormatKind::Keyword(format) | AnalyzeFormatKind::Assignment(format) => Some(format),
    }
}

/// Drops semicolons around a statement, and refuses a second one.
fn one_statement(mut tokens: Vec<TokenWithSpan>, sql: &str) -> Result<Vec<TokenWithSpan>, SqlError> {
    let is_semicolon = |token: &TokenWithSpan| token.token == Token::SemiColon;
    while tokens.last().is_some_and(is_semicolon) {
        tokens.pop();
    }
    let first = tokens.iter().position(|token| !is_semicolon(token)).unwrap_or(tokens.len());
    tokens.drain(..first);
    if tokens.is_empty() {
        return Err(SqlError::new(SqlErrorKind::Syntax, "there is no query in the text").at(end_of(sql)));
    }
    let second = tokens.windows(2).find(|pair| is_semicolon(&pair[0]) && !is_semicolon(&pair[1]));
    match second {
        Some(pair) => {
            let error = SqlError::new(SqlErrorKind::NotAQuery, "only one statement can be run at a time");
            Err(error.at(pair[1].span.start).with_hint("send each statement in a request of its own"))
        }
        None => Ok(tokens),
    }
}

/// Refuses other statements, alone or after EXPLAIN, by their first word.
fn check_first_words(tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    let word = |index: usize| match tokens.get(index).map(|token| &token.token) {
        Some(Token::Word(word)) if word.quote_style.is_none() => word.value.to_uppercase(),
        _ => String::new(),
    };
    let mut start = 0;
    if word(start) == "EXPLAIN" {
        start += 1;
        start += usize::from(word(start) == "ANALYZE");
        start += usize::from(word(start) == "VERBOSE");
    }
    let first = word(start);
    let is_other = OTHER_STATEMENTS.split(' ').any(|other| other == first);
    let Some(token) = tokens.get(start).filter(|_| is_other) else {
        return Ok(());
    };
    let name = match first.as_str() {
        "CREATE" | "ALTER" | "DROP" | "START" => format!("{first} {}", word(start + 1)),
        _ => first,
    };
    Err(not_a_query(name.trim_end()).at(token.span.start))
}

/// Refuses a statement by its name, and says what to do instead.
pub(super) fn not_a_query(name: &str) -> SqlError {
    let error = SqlError::new(SqlErrorKind::NotAQuery, format!("{name} is not a query"));
    match name.split(' ').next().unwrap_or_default() {
        "INSERT" | "REPLACE" | "COPY" | "LOAD" => error.with_hint(format!("send documents to POST {DOCUMENTS}")),
        "UPDATE" | "MERGE" => error.with_hint(format!("send changes to PATCH {DOCUMENTS}")),
        "DELETE" | "TRUNCATE" => error.with_hint(format!("send ids to DELETE {DOCUMENTS}")),
        _ => error.with_hint("only queries can be run here"),
    }
}

fn statement(parser: &mut Parser) -> Result<Statement, ParserError> {
    match keyword(parser) {
        Keyword::EXPLAIN => explain(parser),
        Keyword::DESCRIBE | Keyword::DESC => describe(parser),
        Keyword::SHOW => show(parser),
        _ if begins_query(parser) => parser.parse_query().map(Statement::Query),
        _ => parser.expected_ref(A_QUERY, parser.peek_token_ref()),
    }
}

fn keyword(parser: &Parser) -> Keyword {
    match &parser.peek_token_ref().token {
        Token::Word(word) => word.keyword,
        _ => Keyword::NoKeyword,
    }
}

fn begins_query(parser: &Parser) -> bool {
    let is_word = matches!(keyword(parser), Keyword::SELECT | Keyword::WITH | Keyword::VALUES);
    is_word || parser.peek_token_ref().token == Token::LParen
}

/// Reads `EXPLAIN [ANALYZE] [VERBOSE] [FORMAT format] query`.
fn explain(parser: &mut Parser) -> Result<Statement, ParserError> {
    parser.next_token();
    let analyze = parser.parse_keyword(Keyword::ANALYZE);
    let verbose = parser.parse_keyword(Keyword::VERBOSE);
    let format = match parser.parse_keyword(Keyword::FORMAT) {
        true => Some(explain_format(parser)?),
        false => None,
    };
    if !begins_query(parser) {
        return parser.expected_ref(A_QUERY, parser.peek_token_ref());
    }
    explained(parser, DescribeAlias::Explain, analyze, verbose, format)
}

fn explain_format(parser: &mut Parser) -> Result<AnalyzeFormatKind, ParserError> {
    let format = match keyword(parser) {
        Keyword::TEXT => AnalyzeFormat::TEXT,
        Keyword::JSON => AnalyzeFormat::JSON,
        Keyword::TREE => AnalyzeFormat::TREE,
        Keyword::GRAPHVIZ => AnalyzeFormat::GRAPHVIZ,
        _ => return parser.expected_ref("TEXT, JSON, TREE or GRAPHVIZ", parser.peek_token_ref()),
    };
    parser.next_token();
    Ok(AnalyzeFormatKind::Keyword(format))
}

fn explained(
    parser: &mut Parser,
    describe_alias: DescribeAlias,
    analyze: bool,
    verbose: bool,
    format: Option<AnalyzeFormatKind>,
) -> Result<Statement, ParserError> {
    let statement = Box::new(Statement::Query(parser.parse_query()?));
    let (query_plan, estimate, options) = (false, false, None);
    Ok(Statement::Explain { describe_alias, analyze, verbose, query_plan, estimate, statement, format, options })
}

/// Reads `DESCRIBE [TABLE] name` and `DESCRIBE query`.
fn describe(parser: &mut Parser) -> Result<Statement, ParserError> {
    parser.next_token();
    if begins_query(parser) {
        return explained(parser, DescribeAlias::Describe, false, false, None);
    }
    let is_name = matches!(parser.peek_nth_token_ref(1).token, Token::EOF | Token::Period);
    let has_table_keyword = !is_name && parser.parse_keyword(Keyword::TABLE);
    let table_name = parser.parse_object_name(false)?;
    let describe_alias = DescribeAlias::Describe;
    Ok(Statement::ExplainTable { describe_alias, hive_format: None, has_table_keyword, table_name })
}

fn show(parser: &mut Parser) -> Result<Statement, ParserError> {
    let ahead = (1..=3).map(|index| &parser.peek_nth_token_ref(index).token);
    let shown = [Keyword::TABLES, Keyword::COLUMNS, Keyword::FIELDS];
    let is_known = ahead
        .take_while(|token| !matches!(token, Token::EOF))
        .any(|token| shown.iter().any(|keyword| tokens::is_keyword(token, *keyword)));
    if is_known {
        return parser.parse_statement();
    }
    parser.next_token();
    parser.expected_ref("TABLES or COLUMNS", parser.peek_token_ref())
}

fn end(parser: &mut Parser) -> Result<(), ParserError> {
    match parser.peek_token_ref().token {
        Token::EOF => Ok(()),
        _ => parser.expected_ref(THE_END, parser.peek_token_ref()),
    }
}

fn undecided() -> SqlError {
    let message = "the query cannot be read from here: it is no SQL, or too complex";
    SqlError::new(SqlErrorKind::TooComplex, message).with_hint("name parts of it with WITH, and use the names")
}
