//! Names: the relations a query reads, the known name nearest to a wrong one, and where a name stands in the text.
//!
//! In: a parsed statement, or its text. Out: what an error about an unknown collection, field or function needs. Names
//! are as DataFusion compares them: unquoted ones in lower case (ASCII only), quoted ones as they are.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Ident, ObjectName, Query, Select, SetExpr, Spanned, Statement, TableFactor, Visit, Visitor,
};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::tokens;

/// A relation that a query names in FROM or JOIN, or that DESCRIBE or SHOW COLUMNS names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableReference {
    /// The name's parts, such as workspace and collection.
    pub parts: Vec<String>,
    /// The line where it begins, from 1.
    pub line: u64,
    /// The column where it begins, in characters from 1.
    pub column: u64,
}

/// Lists the relations that a statement reads, in the order of the tree: without names that a WITH in scope defines, and
/// without functions, as in `FROM unnest(a)`. A relation named twice is listed twice.
pub fn references(statement: &Statement) -> Vec<TableReference> {
    collect(statement).references
}

/// Counts SELECTs, joins (twice), set operations and pipe operators of a statement; those of a WITH count wherever its
/// name is used, as the planner puts its query there.
pub(super) fn parts(statement: &Statement) -> usize {
    collect(statement).parts
}

fn collect(statement: &Statement) -> Collector {
    let mut collector = Collector::default();
    // The visitor never breaks.
    let _: ControlFlow<()> = statement.visit(&mut collector);
    collector
}

#[derive(Default)]
struct Collector {
    references: Vec<TableReference>,
    /// One for each query that is being visited, the innermost last.
    scopes: Vec<Scope>,
    /// Of the queries that are not part of another.
    parts: usize,
}

/// The names that a query's WITH defines, and what the query is made of.
#[derive(Default)]
struct Scope {
    /// Those defined so far, with the parts of each: it is seen by the definitions after it and by the query's body.
    visible: Vec<(String, usize)>,
    /// The others in order, each with the query that defines it, known by its address.
    pending: VecDeque<(*const Query, String)>,
    /// Whether a definition sees its own name.
    is_recursive: bool,
    parts: usize,
}

impl Visitor for Collector {
    type Break = ();

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<()> {
        match statement {
            Statement::ExplainTable { table_name, .. } => self.add(table_name),
            Statement::ShowColumns { show_options, .. } => {
                let name = show_options.show_in.as_ref().and_then(|clause| clause.parent_name.as_ref());
                name.into_iter().for_each(|name| self.add(name));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if let Some(outer) = self.scopes.last_mut()
            && outer.is_recursive
            && let Some((_, name)) = outer.pending.front().filter(|(definition, _)| std::ptr::eq(*definition, query))
        {
            outer.visible.push((name.clone(), 1));
        }
        let definitions = query.with.iter().flat_map(|with| &with.cte_tables);
        self.scopes.push(Scope {
            visible: Vec::new(),
            pending: definitions.map(|cte| (&raw const *cte.query, normalised(&cte.alias.name))).collect(),
            is_recursive: query.with.as_ref().is_some_and(|with| with.recursive),
            parts: set_operations(&query.body) + query.pipe_operators.len(),
        });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let parts = self.scopes.pop().map_or(0, |scope| scope.parts);
        let Some(outer) = self.scopes.last_mut() else {
            self.parts = self.parts.saturating_add(parts);
            return ControlFlow::Continue(());
        };
        match outer.pending.pop_front_if(|(definition, _)| std::ptr::eq(*definition, query)) {
            Some((_, name)) => outer.visible.push((name, parts)),
            None => outer.parts = outer.parts.saturating_add(parts),
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        let joins = select.from.iter().map(|table| table.joins.len()).sum::<usize>();
        let commas = select.from.len().saturating_sub(1);
        self.count(1 + 2 * (joins + commas));
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, args: None, .. } = factor {
            self.add(name);
        }
        ControlFlow::Continue(())
    }
}

impl Collector {
    fn add(&mut self, name: &ObjectName) {
        let parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident()).map(normalised).collect();
        if let [name] = parts.as_slice()
            && let Some(count) = self.definition(name)
        {
            return self.count(count);
        }
        let start = name.span().start;
        self.references.push(TableReference { parts, line: start.line, column: start.column });
    }

    /// The parts of the innermost definition in scope of a name.
    fn definition(&self, name: &str) -> Option<usize> {
        let mut visible = self.scopes.iter().rev().flat_map(|scope| scope.visible.iter().rev());
        visible.find(|(defined, _)| defined == name).map(|(_, parts)| *parts)
    }

    fn count(&mut self, parts: usize) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.parts = scope.parts.saturating_add(parts);
        }
    }
}

/// How many set operations join SELECTs into one query; a loop, since a long chain of them is deep.
fn set_operations(body: &SetExpr) -> usize {
    let mut count = 0;
    let mut unread = vec![body];
    while let Some(body) = unread.pop() {
        if let SetExpr::SetOperation { left, right, .. } = body {
            count += 1;
            unread.extend([&**left, &**right]);
        }
    }
    count
}

fn normalised(identifier: &Ident) -> String {
    match identifier.quote_style {
        Some(_) => identifier.value.clone(),
        None => identifier.value.to_ascii_lowercase(),
    }
}

/// Finds the known name that a wrong one was probably meant to be: one that differs in case only, or else the one with
/// the fewest letters changed, added, left out or swapped (Damerau-Levenshtein), at most a third of the letters. Of
/// several as near, it is the first in the order of bytes.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = name.to_lowercase();
    let length = wanted.chars().count();
    let threshold = (length / 3).max(1);
    let distance = |candidate: &str| {
        let candidate = candidate.to_lowercase();
        let is_near = candidate.chars().count().abs_diff(length) <= threshold;
        is_near.then(|| strsim::damerau_levenshtein(&wanted, &candidate)).filter(|distance| *distance <= threshold)
    };
    known.filter_map(|candidate| distance(candidate).map(|distance| (distance, candidate))).min().map(|(_, name)| name)
}

/// Finds where a name stands in a text: line and column from 1 of the first identifiers, with dots between them, equal
/// to the parts. A place where they are the whole name is preferred to one where they are part of a longer name.
pub fn locate(sql: &str, name_parts: &[String]) -> Option<(u64, u64)> {
    if name_parts.is_empty() {
        return None;
    }
    let (tokens, _) = tokens::significant(sql);
    let length = name_parts.len() * 2 - 1;
    let is_dot = |index: usize| tokens.get(index).is_some_and(|token| token.token == Token::Period);
    let is_whole = |start: usize| !is_dot(start + length) && !start.checked_sub(1).is_some_and(is_dot);
    let mut places = tokens.windows(length).enumerate().filter(|(_, window)| is_name(window, name_parts));
    let (first, window) = places.next()?;
    let place = match is_whole(first) {
        true => window,
        false => places.find(|(start, _)| is_whole(*start)).map_or(window, |(_, window)| window),
    };
    place.first().map(|token| (token.span.start.line, token.span.start.column))
}

fn is_name(tokens: &[TokenWithSpan], parts: &[String]) -> bool {
    tokens.iter().enumerate().all(|(index, token)| match &token.token {
        Token::Word(word) if index % 2 == 0 => match word.quote_style {
            Some(_) => word.value == parts[index / 2],
            None => word.value == parts[index / 2] || word.value.to_ascii_lowercase() == parts[index / 2],
        },
        token => index % 2 == 1 && *token == Token::Period,
    })
}
