//! Refuses what the parser reads and the planner would ignore or do.
//!
//! In: a parsed statement. Out: an error for a query that writes (`SELECT … INTO`, `WITH … AS (DELETE …)`), that has
//! clauses which DataFusion drops in silence (`FOR UPDATE`, `TABLESAMPLE`, table hints, `WITH ORDINALITY`), or that would
//! take too long to plan. Leaves to DataFusion what it refuses itself.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, GroupByWithModifier, ObjectName, Query, Select, Spanned, Statement, TableFactor, Visit, Visitor,
};
use datafusion::sql::sqlparser::tokenizer::{Location, Token};

use super::error::{SqlError, SqlErrorKind};
use super::limits::{GROUPING_SETS_MAX, PARTS_MAX, SUBQUERIES_MAX};
use super::names::{locate, parts};
use super::parse::not_a_query;
use super::tokens;

/// Checks a statement; `sql` is its text, to find the positions that the tree lacks.
pub(super) fn check(statement: &Statement, sql: &str) -> Result<(), SqlError> {
    if let ControlFlow::Break(error) = statement.visit(&mut Checker { sql, subqueries: 0 }) {
        return Err(*error);
    }
    let parts = parts(statement);
    if parts > PARTS_MAX {
        let parts = format!("{parts} parts, more than {PARTS_MAX}");
        let message = format!("the query is too complex: {parts}; a SELECT or UNION is one, a join two");
        let error = SqlError::new(SqlErrorKind::TooComplex, message);
        return Err(error.with_hint("a WITH counts wherever its name is used; split the query"));
    }
    Ok(())
}

struct Checker<'a> {
    sql: &'a str,
    /// How many expressions with a subquery are around.
    subqueries: usize,
}

type Checked = ControlFlow<Box<SqlError>>;

impl Visitor for Checker<'_> {
    type Break = Box<SqlError>;

    fn pre_visit_statement(&mut self, statement: &Statement) -> Checked {
        let name = match statement {
            Statement::Query(_) | Statement::Explain { .. } | Statement::ExplainTable { .. } => {
                return Checked::Continue(());
            }
            Statement::ShowTables { .. } | Statement::ShowColumns { .. } => return Checked::Continue(()),
            Statement::Insert(_) => "INSERT",
            Statement::Update(_) => "UPDATE",
            Statement::Delete(_) => "DELETE",
            Statement::Merge(_) => "MERGE",
            _ => "this statement",
        };
        Checked::Break(Box::new(not_a_query(name).at(self.word(name))))
    }

    fn pre_visit_query(&mut self, query: &Query) -> Checked {
        if let Some(lock) = query.locks.first() {
            return self.ignored(&format!("FOR {}", lock.lock_type), self.word("for"));
        }
        match query.for_clause {
            Some(_) => self.ignored("FOR XML, JSON or BROWSE", self.word("for")),
            None => Checked::Continue(()),
        }
    }

    fn pre_visit_select(&mut self, select: &Select) -> Checked {
        if let Some(into) = &select.into {
            let error = SqlError::new(SqlErrorKind::NotAQuery, "SELECT INTO is not a query");
            let error = error.with_hint("only queries can be run here; leave out INTO").at(into.name.span().start);
            return Checked::Break(Box::new(error));
        }
        let sets = grouping_sets(&select.group_by);
        if sets > GROUPING_SETS_MAX {
            let sets = format!("it groups by {sets} sets of columns, more than {GROUPING_SETS_MAX}");
            let error = SqlError::new(SqlErrorKind::TooComplex, format!("the query is too complex: {sets}"));
            let error = error.with_hint("name the sets that you need with GROUPING SETS").at(self.word("group"));
            return Checked::Break(Box::new(error));
        }
        if !select.distribute_by.is_empty() {
            return self.ignored("DISTRIBUTE BY", self.word("distribute"));
        }
        Checked::Continue(())
    }

    /// The parser takes a text for a name too.
    fn pre_visit_relation(&mut self, name: &ObjectName) -> Checked {
        let text = name.0.iter().filter_map(|part| part.as_ident()).find(|part| part.quote_style == Some('\''));
        let Some(text) = text else {
            return Checked::Continue(());
        };
        let error = SqlError::new(SqlErrorKind::Syntax, "a text stands where the name of a collection is needed");
        let error = error.with_hint("quote names with \"…\"").at(self.text(&text.value));
        Checked::Break(Box::new(error))
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> Checked {
        let Some(query) = subquery(expr) else {
            return Checked::Continue(());
        };
        self.subqueries += 1;
        if self.subqueries <= SUBQUERIES_MAX {
            return Checked::Continue(());
        }
        let message = format!("the query is too complex: more than {SUBQUERIES_MAX} subqueries in one another");
        let error = SqlError::new(SqlErrorKind::TooComplex, message).at(query.span().start);
        Checked::Break(Box::new(error.with_hint("join with the subqueries instead")))
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> Checked {
        self.subqueries -= usize::from(subquery(expr).is_some());
        Checked::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> Checked {
        match factor {
            TableFactor::Table { name, with_hints, .. } if !with_hints.is_empty() => self.ignored_of(name, "WITH (…)"),
            TableFactor::Table { name, partitions, .. } if !partitions.is_empty() => self.ignored_of(name, "PARTITION"),
            TableFactor::Table { name, sample: Some(_), .. } => self.ignored_of(name, "TABLESAMPLE"),
            TableFactor::Table { name, with_ordinality: true, .. }
            | TableFactor::Function { name, with_ordinality: true, .. } => self.ignored_of(name, "WITH ORDINALITY"),
            TableFactor::Derived { sample: Some(_), .. } => self.ignored("TABLESAMPLE", self.word("tablesample")),
            _ => Checked::Continue(()),
        }
    }
}

impl Checker<'_> {
    fn ignored_of(&self, name: &ObjectName, clause: &str) -> Checked {
        self.ignored(clause, name.span().start)
    }

    fn ignored(&self, clause: &str, location: Location) -> Checked {
        let error = SqlError::new(SqlErrorKind::Unsupported, format!("{clause} is not supported")).at(location);
        Checked::Break(Box::new(error.with_hint("leave it out")))
    }

    /// The first place of a text, which the tree does not keep for names.
    fn text(&self, text: &str) -> Location {
        let (tokens, _) = tokens::significant(self.sql);
        let found =
            tokens.iter().find(|token| matches!(&token.token, Token::SingleQuotedString(other) if other == text));
        found.map_or(Location::empty(), |token| token.span.start)
    }

    /// The first place of a word, which the tree does not keep; unknown is a location of zeros.
    fn word(&self, word: &str) -> Location {
        let found = locate(self.sql, &[word.to_lowercase()]);
        found.map_or(Location::empty(), |(line, column)| Location { line, column })
    }
}

/// By how many sets of columns a GROUP BY groups: those of its parts are multiplied.
fn grouping_sets(group_by: &GroupByExpr) -> usize {
    let (parts, modifiers) = match group_by {
        GroupByExpr::All(modifiers) => (&[][..], modifiers),
        GroupByExpr::Expressions(parts, modifiers) => (parts.as_slice(), modifiers),
    };
    let power = |columns: usize| u32::try_from(columns).ok().and_then(|bits| 1_usize.checked_shl(bits));
    let of_part = |part: &Expr| match part {
        Expr::Cube(columns) => power(columns.len()).unwrap_or(usize::MAX),
        Expr::Rollup(columns) => columns.len() + 1,
        Expr::GroupingSets(sets) => sets.len(),
        _ => 1,
    };
    let is_cube = modifiers.iter().any(|modifier| matches!(modifier, GroupByWithModifier::Cube));
    let of_all = if is_cube { power(parts.len()).unwrap_or(usize::MAX) } else { 1 };
    parts.iter().map(of_part).fold(of_all, usize::saturating_mul)
}

fn subquery(expr: &Expr) -> Option<&Query> {
    match expr {
        Expr::Subquery(query) => Some(query),
        Expr::Exists { subquery, .. } | Expr::InSubquery { subquery, .. } => Some(subquery),
        _ => None,
    }
}
