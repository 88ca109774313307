//! Puts values in the place of parameters.
//!
//! In: a parsed statement and the values of its parameters. Out: the statement without parameters. They become literals
//! of the tree, never text, so no value can change what the query is.
//!
//! ```text
//! :name, $name     a value by name
//! $1, :1, ?1       a value by number, from 1
//! ?                the next value, in the order of the text
//! ```
//!
//! Every parameter needs a value and every value a parameter: a name misspelt on either side is an error, not a NULL.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Array, Expr, Statement, UnaryOperator, Value, ValueWithSpan, Visit, VisitMut, Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::{Location, Span};

use super::error::{SqlError, SqlErrorKind};
use super::limits::{NESTING_MAX, PARAMETER_VALUES_MAX};
use super::names::nearest;

/// The values given with a query.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Parameters {
    /// None given.
    #[default]
    None,
    /// Values by name.
    Named(BTreeMap<String, Parameter>),
    /// Values in order: the first is `$1`, or the first `?`.
    Positional(Vec<Parameter>),
}

/// One value, as JSON has it.
#[derive(Debug, Clone, PartialEq)]
pub enum Parameter {
    /// No value.
    Null,
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// Any other number, as the text that JSON has.
    Number(String),
    /// Text.
    String(String),
    /// Values in order.
    Array(Vec<Parameter>),
}

/// Replaces the parameters of a statement by their values.
///
/// # Errors
/// A parameter has no value, a value no parameter, or they differ in kind; values are too many or too deep, or one
/// stands where only text, a number or a truth value may. The statement is then half filled, and of no use.
pub fn fill(statement: &mut Statement, parameters: &Parameters) -> Result<(), SqlError> {
    let placeholders = placeholders(statement)?;
    let mut filler = Filler { literals: BTreeMap::new() };
    let mut used = BTreeSet::new();
    let mut values = 0;
    for placeholder in &placeholders {
        let (parameter, key) = value(placeholder, parameters)?;
        values += size(parameter, NESTING_MAX).ok_or_else(|| too_deep(placeholder))?;
        if values > PARAMETER_VALUES_MAX {
            return Err(too_many(placeholder));
        }
        let literal = literal(parameter, placeholder.span).ok_or_else(|| no_number(placeholder))?;
        filler.literals.insert(placeholder.span.start, literal);
        used.insert(key);
    }
    check_all_used(parameters, &used, &placeholders)?;
    match statement.visit(&mut filler) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

/// A parameter where it stands in the text.
struct Placeholder {
    text: String,
    key: Key,
    span: Span,
}

/// What identifies the value of a parameter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Name(String),
    /// From 1.
    Number(usize),
}

/// The parameters of a statement in the order of its text.
fn placeholders(statement: &Statement) -> Result<Vec<Placeholder>, SqlError> {
    let mut collector = Collector(Vec::new());
    // The visitor never breaks.
    let _: ControlFlow<()> = statement.visit(&mut collector);
    collector.0.sort_by_key(|(_, span)| span.start);
    let mut placeholders = Vec::with_capacity(collector.0.len());
    let (mut unnumbered, mut numbered) = (0, false);
    for (text, span) in collector.0 {
        let name = text.strip_prefix([':', '$', '?']).unwrap_or(&text);
        let key = match name.parse() {
            Ok(number) => Key::Number(number),
            Err(_) if name.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty() => Key::Number(usize::MAX),
            Err(_) if text == "?" => {
                unnumbered += 1;
                Key::Number(unnumbered)
            }
            Err(_) => Key::Name(name.to_owned()),
        };
        numbered |= text != "?" && matches!(key, Key::Number(_));
        let placeholder = Placeholder { text, key, span };
        if placeholder.key == Key::Number(0) {
            return Err(placeholder.error(format!("there is no parameter {}: they count from 1", placeholder.text)));
        }
        if unnumbered > 0 && numbered {
            let error = placeholder.error("the query has both `?` and numbered parameters");
            return Err(error.with_hint("write $1, $2, … for all of them"));
        }
        placeholders.push(placeholder);
    }
    Ok(placeholders)
}

struct Collector(Vec<(String, Span)>);

impl Visitor for Collector {
    type Break = ();

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<()> {
        if let Value::Placeholder(text) = &value.value {
            self.0.push((text.clone(), value.span));
        }
        ControlFlow::Continue(())
    }
}

impl Placeholder {
    fn error(&self, message: impl Into<String>) -> SqlError {
        SqlError::new(SqlErrorKind::Parameter, message).at(self.span.start)
    }
}

/// Finds the value of a parameter.
fn value<'a>(placeholder: &Placeholder, parameters: &'a Parameters) -> Result<(&'a Parameter, Key), SqlError> {
    let text = &placeholder.text;
    let found = match (&placeholder.key, parameters) {
        (Key::Name(name), Parameters::Named(values)) => values.get(name),
        (Key::Number(number), Parameters::Positional(values)) => values.get(number - 1),
        // Names in JSON may be digits.
        (Key::Number(number), Parameters::Named(values)) if text != "?" => values.get(&number.to_string()),
        (Key::Number(_), Parameters::Named(_)) => None,
        (Key::Name(_), Parameters::Positional(_)) => {
            let error = placeholder.error(format!("parameter {text} has a name, but the values are given in order"));
            return Err(error.with_hint("give the values by name, as an object"));
        }
        (_, Parameters::None) => return Err(placeholder.error(format!("no value for parameter {text}"))),
    };
    if let Some(parameter) = found {
        return Ok((parameter, placeholder.key.clone()));
    }
    Err(match (&placeholder.key, parameters) {
        (Key::Name(name), Parameters::Named(values)) => {
            let near = nearest(name, values.keys().map(String::as_str));
            let sign = if text.starts_with('$') { '$' } else { ':' };
            let meant = near.map(|name| format!("; did you mean {sign}{name}?")).unwrap_or_default();
            placeholder.error(format!("no value for parameter {text}{meant}"))
        }
        (Key::Number(_), Parameters::Named(_)) => {
            let error = placeholder.error(format!("parameter {text} is numbered, but the values are given by name"));
            error.with_hint("give the values in order, as an array")
        }
        (_, Parameters::Positional(values)) => {
            placeholder.error(format!("no value for parameter {text}: {} given", counted(values.len())))
        }
        (_, _) => placeholder.error(format!("no value for parameter {text}")),
    })
}

fn counted(values: usize) -> String {
    match values {
        1 => "1 value is".to_owned(),
        count => format!("{count} values are"),
    }
}

/// Refuses values that no parameter uses.
fn check_all_used(parameters: &Parameters, used: &BTreeSet<Key>, placeholders: &[Placeholder]) -> Result<(), SqlError> {
    let unused = |message: String| Err(SqlError::new(SqlErrorKind::Parameter, message));
    match parameters {
        Parameters::None => Ok(()),
        Parameters::Named(values) => {
            let is_used = |name: &&String| {
                let number = name.parse().ok().map(Key::Number);
                !used.contains(&Key::Name((*name).clone())) && !number.is_some_and(|number| used.contains(&number))
            };
            let Some(name) = values.keys().find(is_used) else {
                return Ok(());
            };
            let names = placeholders.iter().filter_map(|placeholder| match &placeholder.key {
                Key::Name(name) => Some(name.as_str()),
                Key::Number(_) => None,
            });
            let near = nearest(name, names);
            let meant = near.map(|name| format!("; did you mean :{name}?")).unwrap_or_default();
            unused(format!("the query has no parameter :{name}, but a value is given for it{meant}"))
        }
        Parameters::Positional(values) => match (1..=values.len()).find(|number| !used.contains(&Key::Number(*number)))
        {
            Some(number) => {
                let given = counted(values.len());
                unused(format!("the query has no parameter ${number}, but {given} given"))
            }
            None => Ok(()),
        },
    }
}

/// How many literals a value makes, or none if it has more than `levels` levels of arrays.
fn size(parameter: &Parameter, levels: usize) -> Option<usize> {
    let Parameter::Array(items) = parameter else {
        return Some(1);
    };
    let levels = levels.checked_sub(1)?;
    items.iter().try_fold(1, |total, item| Some(total + size(item, levels)?))
}

fn too_deep(placeholder: &Placeholder) -> SqlError {
    let message = format!("the value of parameter {} has more than {NESTING_MAX} levels of arrays", placeholder.text);
    SqlError::new(SqlErrorKind::TooComplex, message).at(placeholder.span.start)
}

fn too_many(placeholder: &Placeholder) -> SqlError {
    let message = format!("the parameters up to {} have more than {PARAMETER_VALUES_MAX} values", placeholder.text);
    SqlError::new(SqlErrorKind::TooLarge, message).at(placeholder.span.start)
}

fn no_number(placeholder: &Placeholder) -> SqlError {
    placeholder.error(format!("the value of parameter {} holds a number that is not one", placeholder.text))
}

/// The literal for a value, or none if it holds a text for a number that is not one.
fn literal(parameter: &Parameter, span: Span) -> Option<Expr> {
    let value = match parameter {
        Parameter::Null => Value::Null,
        Parameter::Bool(value) => Value::Boolean(*value),
        Parameter::Int(number) => return Some(number_literal(&number.to_string(), span)),
        Parameter::Number(text) => return is_number(text).then(|| number_literal(text, span)),
        Parameter::String(text) => Value::SingleQuotedString(text.clone()),
        Parameter::Array(items) => {
            let elem = items.iter().map(|item| literal(item, span)).collect::<Option<Vec<_>>>()?;
            return Some(Expr::Array(Array { elem, named: true }));
        }
    };
    Some(Expr::Value(value.with_span(span)))
}

/// A number; a negative one is an operator and brackets, so that `1 - :n` and `:n::int` hold together.
fn number_literal(text: &str, span: Span) -> Expr {
    let number = |text: &str| Expr::Value(Value::Number(text.to_owned(), false).with_span(span));
    match text.strip_prefix('-') {
        Some(digits) => {
            let expr = Box::new(number(digits));
            Expr::Nested(Box::new(Expr::UnaryOp { op: UnaryOperator::Minus, expr }))
        }
        None => number(text),
    }
}

/// Whether a text is a number of JSON: `-? digits (. digits)? ([eE] [+-]? digits)?`.
fn is_number(text: &str) -> bool {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    is_digits(whole) && is_digits(fraction) && is_digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))
}

struct Filler {
    /// By where each parameter begins.
    literals: BTreeMap<Location, Expr>,
}

impl VisitorMut for Filler {
    type Break = Box<SqlError>;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        if let Expr::Value(ValueWithSpan { value: Value::Placeholder(_), span }) = expr
            && let Some(literal) = self.literals.get(&span.start)
        {
            *expr = literal.clone();
        }
        ControlFlow::Continue(())
    }

    /// Some places hold a value and no expression: `DATE :day`, `LIKE 'x' ESCAPE :character`.
    fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<Self::Break> {
        let Value::Placeholder(text) = &value.value else {
            return ControlFlow::Continue(());
        };
        match self.literals.get(&value.span.start) {
            Some(Expr::Value(literal)) => {
                *value = literal.clone();
                ControlFlow::Continue(())
            }
            _ => {
                let message = format!("parameter {text} must be text, a truth value or a number from 0 here");
                let error = SqlError::new(SqlErrorKind::Parameter, message).at(value.span.start);
                ControlFlow::Break(Box::new(error))
            }
        }
    }
}
