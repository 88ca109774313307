//! Paths into documents, as DataFusion reads them, and names for result columns that are paths.
//!
//! In: a statement. Out: the same, where `SELECT user.address.city` yields a column named `city`, as `SELECT city` would;
//! DataFusion would name it `t.user[address][city]`. A name that another column of the list has is left as it is. Behind an
//! index a name is a subscript, which DataFusion can plan: `a[1].b` becomes `a[1]['b']`.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, Ident, Query, SelectItem, SetExpr, Statement, Subscript, Value, visit_expressions_mut,
};

/// Names the columns of the outermost list, and makes every path one that can be planned.
pub fn name_paths(statement: &mut Statement) {
    let query = match &mut *statement {
        Statement::Explain { statement, .. } => statement.as_mut(),
        other => other,
    };
    if let Statement::Query(query) = query {
        name_in_query(query);
    }
    let _: ControlFlow<()> = visit_expressions_mut(statement, |expression| {
        if let Expr::CompoundFieldAccess { access_chain, .. } = expression {
            // What stands before the first index may be a collection's name.
            let index = access_chain.iter().position(|access| matches!(access, AccessExpr::Subscript(_)));
            access_chain.iter_mut().skip(index.unwrap_or(usize::MAX)).for_each(as_subscript);
        }
        ControlFlow::Continue(())
    });
}

/// Makes a subscript of a name behind a dot.
fn as_subscript(access: &mut AccessExpr) {
    if let AccessExpr::Dot(Expr::Identifier(name)) = access {
        let index = Expr::Value(Value::SingleQuotedString(name.value.clone()).with_span(name.span));
        *access = AccessExpr::Subscript(Subscript::Index { index });
    }
}

fn name_in_query(query: &mut Query) {
    let mut body = &mut *query.body;
    // The first list of a union names its columns.
    while let SetExpr::SetOperation { left, .. } = body {
        body = &mut **left;
    }
    match body {
        SetExpr::Query(inner) => name_in_query(inner),
        SetExpr::Select(select) => name_in_list(&mut select.projection),
        _ => {}
    }
}

fn name_in_list(items: &mut [SelectItem]) {
    let mut times: HashMap<String, usize> = HashMap::new();
    for item in items.iter() {
        let name = match item {
            SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
            SelectItem::UnnamedExpr(expression) => last_name(expression).map(|name| name.value.clone()),
            // What a wildcard brings is not known here.
            _ => return,
        };
        *times.entry(name.unwrap_or_default()).or_default() += 1;
    }
    for item in items {
        let SelectItem::UnnamedExpr(expression) = item else { continue };
        let is_path = !matches!(expression, Expr::Identifier(_));
        if let Some(alias) = last_name(expression).filter(|name| is_path && times[&name.value] == 1) {
            *item = SelectItem::ExprWithAlias { expr: expression.clone(), alias };
        }
    }
}

/// The last name of a path.
fn last_name(expression: &Expr) -> Option<Ident> {
    match expression {
        Expr::Identifier(name) => Some(name.clone()),
        Expr::CompoundIdentifier(names) => names.last().cloned(),
        Expr::CompoundFieldAccess { access_chain, .. } => match access_chain.last()? {
            AccessExpr::Dot(name) => last_name(name),
            AccessExpr::Subscript(Subscript::Index { index: Expr::Value(value) }) => match &value.value {
                Value::SingleQuotedString(text) => Some(Ident::with_quote('"', text)),
                _ => None,
            },
            AccessExpr::Subscript(_) => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::name_paths;
    use crate::sql::parse;

    #[track_caller]
    fn check(sql: &str, expected: &str) {
        let mut statement = parse(sql).expect("it is a query");
        name_paths(&mut statement);
        assert_eq!(statement.to_string(), expected);
    }

    #[test]
    fn paths_are_named_after_their_last_key() {
        check("SELECT a.b.c, d FROM t", "SELECT a.b.c AS c, d FROM t");
        check("SELECT a['b'], count(*) FROM t", r#"SELECT a['b'] AS "b", count(*) FROM t"#);
        check("SELECT a.b, c.b, e.f FROM t", "SELECT a.b, c.b, e.f AS f FROM t");
        check("SELECT a.b, x AS b FROM t", "SELECT a.b, x AS b FROM t");
        check("SELECT a.b, * FROM t", "SELECT a.b, * FROM t");
        check("SELECT a.b FROM t UNION ALL SELECT c.d FROM t", "SELECT a.b AS b FROM t UNION ALL SELECT c.d FROM t");
        check("SELECT a[1] FROM t", "SELECT a[1] FROM t");
        check("SELECT a[1].b.c FROM t WHERE t.a[2].b = 1", "SELECT a[1]['b']['c'] AS c FROM t WHERE t.a[2]['b'] = 1");
    }
}
