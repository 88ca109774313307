//! The text as tokens, with each parameter as one of them.
//!
//! In: SQL text. Out: its tokens with their positions, without white space and comments. Owns how a parameter is written:
//! `:name`, `$name`, `$1` and `?`. The parser reads only the last three as one token; for it `:` may also be a slice or a
//! separator, so here a colon followed at once by a word becomes a parameter, except after an operand directly inside
//! brackets or braces:
//!
//! ```text
//! x = :n   (:a, :b)   :a::int   f[:i]   {'key': :v}      parameters
//! f[1:n]   {'key':v}                                     a slice's end, a struct's value
//! ```

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};

use super::dialect::BasaltDialect;
use super::error::{SqlError, SqlErrorKind};
use super::limits::{TEXT_BYTES_MAX, TOKENS_MAX};

/// Reads the tokens of a text.
pub(super) fn read(sql: &str) -> Result<Vec<TokenWithSpan>, SqlError> {
    if sql.len() > TEXT_BYTES_MAX {
        let message = format!("the query has {} bytes, more than {TEXT_BYTES_MAX}", sql.len());
        return Err(SqlError::new(SqlErrorKind::TooLarge, message).with_hint("send long lists as parameters"));
    }
    let (tokens, error) = significant(sql);
    if let Some(error) = error {
        return Err(error);
    }
    if let Some(token) = tokens.get(TOKENS_MAX) {
        let message = format!("the query has more than {TOKENS_MAX} words and signs");
        let error = SqlError::new(SqlErrorKind::TooLarge, message).with_hint("send long lists as parameters");
        return Err(error.at(token.span.start));
    }
    with_parameters(with_field_names(tokens))
}

/// Makes names of words that are fields of documents more often than SQL: every word behind a dot, and `user`, which alone
/// would be the function of that name.
fn with_field_names(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut behind_dot = false;
    for token in &mut tokens {
        if let Token::Word(word) = &mut token.token
            && (behind_dot || word.keyword == Keyword::USER)
        {
            word.keyword = Keyword::NoKeyword;
        }
        behind_dot = token.token == Token::Period;
    }
    tokens
}

/// The tokens of a text without white space and comments, up to the first that cannot be read.
pub(super) fn significant(sql: &str) -> (Vec<TokenWithSpan>, Option<SqlError>) {
    let dialect = BasaltDialect::default();
    let mut tokens = Vec::new();
    let result = Tokenizer::new(&dialect, sql).tokenize_with_location_into_buf(&mut tokens);
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
    (tokens, result.err().map(|error| SqlError::from_tokenizer(error, sql)))
}

/// Whether a token is a given word of SQL, and not a quoted name.
pub(super) fn is_keyword(token: &Token, keyword: Keyword) -> bool {
    matches!(token, Token::Word(word) if word.keyword == keyword)
}

fn with_parameters(tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>, SqlError> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut brackets: Vec<Token> = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(mut token) = tokens.next() {
        if token.token == Token::Colon && !separates(out.last(), brackets.last()) {
            let name = tokens.next_if(|next| next.span.start == token.span.end && matches!(next.token, Token::Word(_)));
            if let Some(TokenWithSpan { token: Token::Word(word), span }) = name {
                token = parameter(format!(":{}", word.value), token.span.start, span.end);
            }
        }
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => brackets.push(token.token.clone()),
            Token::RParen | Token::RBracket | Token::RBrace => drop(brackets.pop()),
            Token::Placeholder(text) => check_parameter(text, token.span.start, out.last())?,
            Token::AtSign => return Err(at_sign(token.span.start)),
            _ => {}
        }
        out.push(token);
    }
    Ok(out)
}

fn parameter(text: String, start: Location, end: Location) -> TokenWithSpan {
    TokenWithSpan { token: Token::Placeholder(text), span: Span::new(start, end) }
}

/// Whether a colon stands between two operands, as in `[1:n]`.
fn separates(before: Option<&TokenWithSpan>, bracket: Option<&Token>) -> bool {
    matches!(bracket, Some(Token::LBracket | Token::LBrace)) && before.is_some_and(|token| ends_operand(&token.token))
}

/// Whether a token can end an operand; after the words of an expression that cannot, an operand begins.
fn ends_operand(token: &Token) -> bool {
    match token {
        Token::Word(word) => !matches!(
            word.keyword,
            Keyword::AND
                | Keyword::OR
                | Keyword::XOR
                | Keyword::NOT
                | Keyword::CASE
                | Keyword::WHEN
                | Keyword::THEN
                | Keyword::ELSE
                | Keyword::LIKE
                | Keyword::ILIKE
                | Keyword::RLIKE
                | Keyword::REGEXP
                | Keyword::TO
                | Keyword::ESCAPE
                | Keyword::BETWEEN
                | Keyword::FROM
                | Keyword::DIV
                | Keyword::OVERLAPS
                | Keyword::ZONE
                | Keyword::INTERVAL
        ),
        Token::Number(..) | Token::SingleQuotedString(_) | Token::Placeholder(_) => true,
        Token::RParen | Token::RBracket | Token::RBrace => true,
        _ => false,
    }
}

fn check_parameter(text: &str, location: Location, before: Option<&TokenWithSpan>) -> Result<(), SqlError> {
    let message = match before {
        _ if text == "$" => "a parameter needs a name or a number after `$`".to_owned(),
        Some(before) if before.token == Token::Period => {
            format!("parameter {text} stands where a name is needed; parameters are values")
        }
        _ => return Ok(()),
    };
    Err(SqlError::new(SqlErrorKind::Syntax, message).at(location))
}

/// The parser would take `@name` for a parameter, and in FROM for a file.
fn at_sign(location: Location) -> SqlError {
    let error = SqlError::new(SqlErrorKind::Syntax, "`@` stands for nothing here").at(location);
    error.with_hint("quote a name that holds it, \"@name\"; parameters are written :name, $name, $1 or ?")
}
