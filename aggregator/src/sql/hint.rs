//! Hints: `FROM collection HINT(access_path=index_filter)`.
//!
//! In: tokens. Out: the tokens without hints, and what these say. A hint holds for all that its query reads; it is there to
//! compare ways to the same rows, since leaves choose the way by counts.

use basalt_common::scan::AccessPath;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use super::error::{SqlError, SqlErrorKind};

/// The tokens of a hint: `HINT ( name = value )`.
const TOKENS: usize = 6;

/// Takes hints out of a text.
///
/// # Errors
/// One of them is none that is known, or two differ.
pub(super) fn take(tokens: Vec<TokenWithSpan>) -> Result<(Vec<TokenWithSpan>, Option<AccessPath>), SqlError> {
    let (mut kept, mut path): (Vec<TokenWithSpan>, Option<AccessPath>) = (Vec::with_capacity(tokens.len()), None);
    let mut rest = tokens.as_slice();
    while let Some(token) = rest.first() {
        let begins = word(token).is_some_and(|word| word.eq_ignore_ascii_case("hint"));
        let is_behind_name = kept.last().and_then(word).is_some();
        let is_call = rest.get(1).is_some_and(|next| next.token == Token::LParen);
        if !(begins && is_behind_name && is_call) {
            kept.push(token.clone());
            rest = &rest[1..];
            continue;
        }
        let found = read(rest).ok_or_else(|| unknown(token.span.start))?;
        if path.is_some_and(|path| path != found) {
            let error = SqlError::new(SqlErrorKind::Unsupported, "hints of one query differ").at(token.span.start);
            return Err(error.with_hint("a hint holds for the whole query: write it once"));
        }
        path = Some(found);
        rest = &rest[TOKENS..];
    }
    Ok((kept, path))
}

fn word(token: &TokenWithSpan) -> Option<&str> {
    match &token.token {
        Token::Word(word) => Some(&word.value),
        _ => None,
    }
}

fn read(tokens: &[TokenWithSpan]) -> Option<AccessPath> {
    let [_, _, name, equals, value, end, ..] = tokens else { return None };
    let is_path = word(name)?.eq_ignore_ascii_case("access_path");
    let is_whole = is_path && equals.token == Token::Eq && end.token == Token::RParen;
    AccessPath::from_name(&word(value)?.to_ascii_lowercase()).filter(|_| is_whole)
}

fn unknown(at: Location) -> SqlError {
    let paths = AccessPath::ALL.map(AccessPath::name).join(" | ");
    let error = SqlError::new(SqlErrorKind::Syntax, "there is no such hint").at(at);
    error.with_hint(format!("HINT(access_path={paths})"))
}
