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
use super::tokens::is_keyword;

/// The longest text in bytes. Reading takes about a hundred bytes of memory for each byte of dense text.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// The most tokens, white space and comments apart. A tree takes up to a kilobyte a token.
pub const TOKENS_MAX: usize = 100_000;

/// The most brackets inside each other.
pub const NESTING_MAX: usize = 50;

/// The most levels the parser may be inside itself: one for an expression in brackets, two for a subquery. A level takes
/// up to 25 kB of stack (measured: `SELECT * FROM (…)`, two levels, 49 kB), so all take 1.3 of the 2 MiB of a thread.
pub const RECURSION_MAX: usize = 50;

/// The deepest expression, and the most set operations in a row. DataFusion's planner and optimizer take 3 kB of stack
/// for an operator and 9 kB for a cast or an `IS NULL` (measured at `opt-level` 1), and half a second for 500 additions.
pub const DEPTH_MAX: usize = 500;

/// The most SELECTs, set operations and joins, a join counted twice, and a WITH wherever its name is used: they all may
/// lie in one another, at 11 kB of stack each. Planning joins takes time by the cube of their number: 100 take a second,
/// 250 most of a minute. A WITH that reads the one before it twice doubles with each.
pub const PARTS_MAX: usize = 250;

/// The most subqueries in expressions inside one another. Each doubles the time of DataFusion's optimizer, nearly: 12 take
/// 0.1 seconds, 20 take 30.
pub const SUBQUERIES_MAX: usize = 12;

/// The most sets of columns that one GROUP BY groups by: each batch of rows is grouped by all of them in one step.
pub const GROUPING_SETS_MAX: usize = 1_024;

/// The stack that a thread needs to plan a query of any of these sizes: the parser needs 1.3 MiB of it, DataFusion 8.
pub const STACK_BYTES_MIN: usize = 16 << 20;

/// The most times the parser may try to read an operand at one place. Valid SQL takes one or two, and one for each pair
/// of brackets around it in FROM.
pub const TRIES_MAX: usize = 100;

/// The most literals that parameters may become.
pub const PARAMETER_VALUES_MAX: usize = 100_000;

/// What may be open.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Opened {
    /// `(`, `[` or `{`; or the text itself.
    #[default]
    Bracket,
    /// `ARRAY<`, `STRUCT<` or `MAP<`: a type with types inside, for which the parser calls itself without counting.
    Type,
    /// `CASE`.
    Case,
}

/// What is open, and how deep it is so far.
#[derive(Debug, Default)]
struct Frame {
    opened: Opened,
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

/// All that is open, the innermost as `frame`.
#[derive(Debug, Default)]
struct Depth {
    outer: Vec<Frame>,
    frame: Frame,
    /// How many of them are brackets or types.
    nesting: usize,
    /// How many INTERVALs stand side by side; the parser calls itself for each without counting.
    intervals: usize,
}

/// Refuses what would make too deep a tree.
pub(super) fn check(tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    let mut depth = Depth::default();
    let mut before = None;
    for token in tokens {
        depth.read(&token.token, before);
        if depth.nesting + depth.intervals > NESTING_MAX {
            return Err(too_deep("brackets", NESTING_MAX, token.span.start));
        }
        if depth.frame.depth() > DEPTH_MAX {
            return Err(too_deep("operators", DEPTH_MAX, token.span.start));
        }
        before = Some(&token.token);
    }
    Ok(())
}

impl Depth {
    fn read(&mut self, token: &Token, before: Option<&Token>) {
        let after_operand = before.is_some_and(ends_operand);
        match role(token) {
            Role::Open => {
                // A subscript is one more level each, `a[1][2]`.
                self.frame.operators += usize::from(*token == Token::LBracket);
                self.open(Opened::Bracket);
            }
            Role::Close => {
                while self.frame.opened != Opened::Bracket {
                    self.close();
                }
                self.close();
            }
            Role::Case => self.open(Opened::Case),
            Role::End if self.frame.opened == Opened::Case => self.close(),
            Role::Less if before.is_some_and(takes_types) => self.open(Opened::Type),
            Role::Greater(count) if self.frame.opened == Opened::Type => {
                for _ in 0..count {
                    if self.frame.opened == Opened::Type {
                        self.close();
                    }
                }
            }
            Role::Operator | Role::Less | Role::Greater(_) => self.frame.operators += 1,
            Role::Structure => {
                if after_operand {
                    self.frame.end_expression();
                }
                self.frame.structure += 1;
            }
            Role::Separator => self.frame.end_expression(),
            Role::Clause if after_operand => self.frame.end_expression(),
            Role::Clause | Role::End | Role::Operand => {}
        }
        self.intervals = match is_keyword(token, Keyword::INTERVAL) {
            true => self.intervals + 1,
            false => 0,
        };
    }

    fn open(&mut self, opened: Opened) {
        self.nesting += usize::from(opened != Opened::Case);
        self.outer.push(std::mem::replace(&mut self.frame, Frame { opened, ..Frame::default() }));
    }

    /// Ends the innermost; of the text itself, which a bracket too many would end, nothing is outside.
    fn close(&mut self) {
        let outer = self.outer.pop().unwrap_or_default();
        let closed = std::mem::replace(&mut self.frame, outer);
        self.nesting = self.nesting.saturating_sub(usize::from(closed.opened != Opened::Case));
        self.frame.inside = self.frame.inside.max(closed.depth() + 1);
    }
}

fn takes_types(token: &Token) -> bool {
    [Keyword::ARRAY, Keyword::STRUCT, Keyword::MAP].iter().any(|keyword| is_keyword(token, *keyword))
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
    Less,
    /// One or two signs.
    Greater(usize),
    Structure,
    Separator,
    Clause,
    Operand,
}

fn role(token: &Token) -> Role {
    match token {
        Token::LParen | Token::LBracket | Token::LBrace => Role::Open,
        Token::RParen | Token::RBracket | Token::RBrace => Role::Close,
        Token::Lt => Role::Less,
        Token::Gt => Role::Greater(1),
        Token::ShiftRight => Role::Greater(2),
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
