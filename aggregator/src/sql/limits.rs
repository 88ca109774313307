//! How large and how deep a query may be.
//!
//! In: the tokens of a text, before they are parsed. Out: a refusal with the position, or nothing. Parsing, visiting,
//! planning and dropping a tree all recurse, and an expression such as `1+1+1…` is as deep as it is long, though the
//! parser makes it in a loop. So the depth is estimated from above before there is a tree:
//!
//! ```text
//! text            f(a + b * c, d) OR e        depth
//! inside f(…)       a + b * c  |  d           max(2 operators, 0) = 2
//! outside         f(…) OR e                   1 operator + 1 bracket + 2 = 4
//! ```
//!
//! Commas, and clauses such as WHERE, end an expression; set operations and joins add to the depth of the query itself.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use super::error::{SqlError, SqlErrorKind};

/// The longest text in bytes. Reading takes about a hundred bytes of memory for each byte of dense text.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// The most tokens, white space and comments apart. A tree takes up to a kilobyte a token.
pub const TOKENS_MAX: usize = 100_000;

/// The most brackets inside each other.
pub const NESTING_MAX: usize = 50;

/// The parser's own limit: every bracket of [`NESTING_MAX`] may be two or three levels to it.
pub const RECURSION_MAX: usize = 120;

/// The deepest tree.
pub const DEPTH_MAX: usize = 1_000;

/// The most relations joined in one FROM.
pub const JOINS_MAX: usize = 200;

/// How many operands the parser may try for each token, see [`STEPS_MIN`]. What is valid takes one to four.
pub const STEPS_PER_TOKEN: usize = 32;

/// The operands it may try in the shortest text.
pub const STEPS_MIN: usize = 1_000;

/// The most literals that parameters may become.
pub const PARAMETER_VALUES_MAX: usize = 100_000;

/// What is open, and how deep it is so far.
#[derive(Debug, Default)]
struct Frame {
    /// CASE … END, rather than brackets.
    is_case: bool,
    /// Operators of the expression that is being read.
    operators: usize,
    /// The deepest bracket inside it.
    inside: usize,
    /// The deepest expression already ended.
    ended: usize,
    /// Set operations and joins, which nest whole queries.
    structure: usize,
}

impl Frame {
    fn depth(&self) -> usize {
        self.structure + self.ended.max(self.operators + self.inside)
    }

    fn end_expression(&mut self) {
        self.ended = self.ended.max(self.operators + self.inside);
        self.operators = 0;
        self.inside = 0;
    }
}

/// Refuses what would make too deep a tree.
pub(super) fn check(tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    let mut outer: Vec<Frame> = Vec::new();
    let mut frame = Frame::default();
    let mut brackets = 0;
    let mut before = None;
    for token in tokens {
        match role(&token.token) {
            Role::Open => {
                brackets += 1;
                // A subscript is one more level each, `a[1][2]`.
                frame.operators += usize::from(token.token == Token::LBracket);
                outer.push(std::mem::take(&mut frame));
            }
            Role::Case => outer.push(std::mem::replace(&mut frame, Frame { is_case: true, ..Frame::default() })),
            Role::Close => {
                while frame.is_case {
                    close(&mut frame, &mut outer);
                }
                brackets -= usize::from(brackets > 0);
                close(&mut frame, &mut outer);
            }
            Role::End if frame.is_case => close(&mut frame, &mut outer),
            Role::Operator => frame.operators += 1,
            Role::Structure => {
                if before.is_some_and(ends_operand) {
                    frame.end_expression();
                }
                frame.structure += 1;
            }
            Role::Separator => frame.end_expression(),
            Role::Clause if before.is_some_and(ends_operand) => frame.end_expression(),
            Role::Clause | Role::End | Role::Operand => {}
        }
        if brackets > NESTING_MAX {
            return Err(too_deep("brackets", NESTING_MAX, token.span.start));
        }
        if frame.depth() > DEPTH_MAX {
            return Err(too_deep("operators", DEPTH_MAX, token.span.start));
        }
        before = Some(&token.token);
    }
    Ok(())
}

fn close(frame: &mut Frame, outer: &mut Vec<Frame>) {
    let closed = std::mem::replace(frame, outer.pop().unwrap_or_default());
    frame.inside = frame.inside.max(closed.depth() + 1);
}

fn too_deep(what: &str, limit: usize, location: Location) -> SqlError {
    let message = format!("the query is too complex: more than {limit} {what} in one another");
    let error = SqlError::new(SqlErrorKind::TooComplex, message).at(location);
    error.with_hint("use IN, an array or a parameter for long lists, and WITH for parts of a query")
}

/// What a token does to the depth.
enum Role {
    Open,
    Close,
    Case,
    End,
    Operator,
    Structure,
    Separator,
    Clause,
    Operand,
}

fn role(token: &Token) -> Role {
    match token {
        Token::LParen | Token::LBracket | Token::LBrace => Role::Open,
        Token::RParen | Token::RBracket | Token::RBrace => Role::Close,
        Token::Comma | Token::SemiColon => Role::Separator,
        Token::VerticalBarRightAngleBracket => Role::Structure,
        Token::Word(word) => keyword_role(word.keyword),
        Token::Number(..) | Token::SingleQuotedString(_) | Token::Placeholder(_) | Token::Period => Role::Operand,
        _ => Role::Operator,
    }
}

fn keyword_role(keyword: Keyword) -> Role {
    match keyword {
        Keyword::CASE => Role::Case,
        Keyword::END => Role::End,
        Keyword::WHEN | Keyword::THEN | Keyword::ELSE => Role::Clause,
        Keyword::AND | Keyword::OR | Keyword::XOR | Keyword::NOT | Keyword::IS | Keyword::IN => Role::Operator,
        Keyword::LIKE | Keyword::ILIKE | Keyword::RLIKE | Keyword::REGEXP | Keyword::SIMILAR => Role::Operator,
        Keyword::BETWEEN | Keyword::OVERLAPS | Keyword::MEMBER | Keyword::NOTNULL => Role::Operator,
        Keyword::DIV | Keyword::OPERATOR | Keyword::COLLATE | Keyword::AT | Keyword::INTERVAL => Role::Operator,
        Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT | Keyword::MINUS => Role::Structure,
        Keyword::JOIN | Keyword::APPLY | Keyword::PIVOT | Keyword::UNPIVOT => Role::Structure,
        Keyword::SELECT | Keyword::FROM | Keyword::WHERE | Keyword::GROUP | Keyword::HAVING => Role::Clause,
        Keyword::QUALIFY | Keyword::ORDER | Keyword::LIMIT | Keyword::ON => Role::Clause,
        _ => Role::Operand,
    }
}

/// Whether a token surely ends an operand. Many words may be both names and clauses, `1 + limit + limit`; one of
/// these in front tells that a clause begins, for two operands never stand side by side.
fn ends_operand(token: &Token) -> bool {
    match token {
        Token::Word(word) => word.keyword == Keyword::NoKeyword,
        Token::Number(..) | Token::SingleQuotedString(_) | Token::Placeholder(_) => true,
        Token::RParen | Token::RBracket | Token::RBrace => true,
        _ => false,
    }
}
