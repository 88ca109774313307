//! `score()`: how well a row matches what its SELECT searches for.
//!
//! In: a statement. Out: the same, where `score()` is the sum of the scores of the searches in the WHERE of its SELECT, not counting
//! those under NOT: `SELECT score() FROM t WHERE search(body, 'fox')` becomes
//! `SELECT text_score(body, 'fox', 'search') AS "score" FROM t WHERE …`. What a score takes beside that is added when the statement is
//! planned (`searches.rs`).

use std::ops::ControlFlow;

use basalt_common::text::Kind;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Query,
    SelectItem, SetExpr, Spanned, Statement, UnaryOperator, Value, VisitMut, VisitorMut, visit_expressions,
    visit_expressions_mut,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::error::{SqlError, SqlErrorKind};

/// Puts scores in the place of every `score()`.
///
/// # Errors
/// There is nothing searched for where one stands.
pub fn take_scores(statement: &mut Statement) -> Result<(), SqlError> {
    let _: ControlFlow<()> = statement.visit(&mut Scores);
    let left = visit_expressions_mut(statement, |expression| match is_score(expression) {
        true => ControlFlow::Break(expression.span()),
        false => ControlFlow::Continue(()),
    });
    match left {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(span) => {
            let message = "score() has no search to be the score of";
            let error = SqlError::new(SqlErrorKind::Unsupported, message).at(span.start);
            Err(error.with_hint("write search(), match_phrase() or prefix() in the WHERE of the same SELECT"))
        }
    }
}

struct Scores;

impl VisitorMut for Scores {
    type Break = ();

    /// Inner queries come first: their scores are their own.
    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let SetExpr::Select(select) = query.body.as_mut() else { return ControlFlow::Continue(()) };
        let Some(score) = select.selection.as_ref().and_then(score) else { return ControlFlow::Continue(()) };
        let replace = |expression: &mut Expr| {
            if is_score(expression) {
                *expression = score.clone();
            }
            ControlFlow::<()>::Continue(())
        };
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expression) = item
                && contains_score(expression)
            {
                let shown = if is_score(expression) { "score".into() } else { expression.to_string() };
                *item = SelectItem::ExprWithAlias { expr: expression.clone(), alias: Ident::with_quote('"', shown) };
            }
        }
        let _ = visit_expressions_mut(&mut select.projection, replace);
        let _ = visit_expressions_mut(&mut select.selection, replace);
        let _ = visit_expressions_mut(&mut select.having, replace);
        visit_expressions_mut(&mut query.order_by, replace)
    }
}

fn is_score(expression: &Expr) -> bool {
    let Expr::Function(call) = expression else { return false };
    let is_empty = matches!(&call.args, FunctionArguments::List(list) if list.args.is_empty());
    is_empty && name(call).is_some_and(|name| name.eq_ignore_ascii_case("score"))
}

fn contains_score(expression: &Expr) -> bool {
    let found = visit_expressions(expression, |part| match is_score(part) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    });
    found.is_break()
}

fn name(call: &Function) -> Option<&str> {
    match call.name.0.as_slice() {
        [part] => part.as_ident().map(|name| name.value.as_str()),
        _ => None,
    }
}

/// The score of all that a condition searches for.
fn score(condition: &Expr) -> Option<Expr> {
    match condition {
        Expr::Nested(inner) => score(inner),
        Expr::UnaryOp { op: UnaryOperator::Not, .. } => None,
        Expr::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, right } => {
            match (score(left), score(right)) {
                (Some(left), Some(right)) => {
                    let (left, right) = (Box::new(left), Box::new(right));
                    Some(Expr::Nested(Box::new(Expr::BinaryOp { left, op: BinaryOperator::Plus, right })))
                }
                (left, right) => left.or(right),
            }
        }
        Expr::Function(call) => of_call(call),
        _ => None,
    }
}

fn of_call(call: &Function) -> Option<Expr> {
    let kind =
        Kind::ALL.into_iter().find(|kind| name(call).is_some_and(|name| name.eq_ignore_ascii_case(kind.name())))?;
    let mut call = call.clone();
    let FunctionArguments::List(list) = &mut call.args else { return None };
    let kind = Expr::Value(Value::SingleQuotedString(kind.name().into()).with_span(Span::empty()));
    list.args.insert(list.args.len().min(2), FunctionArg::Unnamed(FunctionArgExpr::Expr(kind)));
    call.name = ObjectName::from(Ident::new("text_score"));
    Some(Expr::Function(call))
}

#[cfg(test)]
mod tests {
    use super::take_scores;
    use crate::sql::parse;

    #[track_caller]
    fn check(sql: &str, expected: &str) {
        let mut statement = parse(sql).expect("it is a query");
        take_scores(&mut statement).expect("it searches");
        assert_eq!(statement.to_string(), expected);
    }

    #[test]
    fn a_score_is_that_of_its_own_select() {
        check(
            "SELECT a, score() FROM t WHERE search(b, 'x') AND c > 1 ORDER BY score() DESC",
            "SELECT a, text_score(b, 'x', 'search') AS \"score\" FROM t WHERE search(b, 'x') AND c > 1 \
             ORDER BY text_score(b, 'x', 'search') DESC",
        );
        check(
            "SELECT score() + 1 FROM t WHERE (SEARCH(b, 'x', 'english') OR prefix(t.c.d, 'y')) AND NOT search(e, 'z')",
            "SELECT (text_score(b, 'x', 'search', 'english') + text_score(t.c.d, 'y', 'prefix')) + 1 AS \"score() + 1\" FROM t \
             WHERE (SEARCH(b, 'x', 'english') OR prefix(t.c.d, 'y')) AND NOT search(e, 'z')",
        );
        check(
            "SELECT max(s) FROM (SELECT score() AS s FROM t WHERE match_phrase(b, 'x y')) AS u",
            "SELECT max(s) FROM (SELECT text_score(b, 'x y', 'match_phrase') AS s FROM t WHERE match_phrase(b, 'x y')) AS u",
        );
    }

    #[test]
    fn a_score_of_nothing_is_refused() {
        let mut statement = parse("SELECT a FROM t WHERE NOT search(b, 'x') ORDER BY score()").expect("it is a query");
        let error = take_scores(&mut statement).expect_err("nothing is searched for");
        assert!(error.to_string().contains("score() has no search"), "{error}");
    }
}
