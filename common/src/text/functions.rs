//! Searching as SQL functions: `search`, `match_phrase` and `prefix`, and what `score()` comes down to.
//!
//! In: a column of texts, or of arrays of texts, and constants. Out: a boolean, or a score, for each row; NULL where there is no text. A
//! leaf that has an index of the column's words asks that instead ([`TextCall::of`]).

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility, lit,
};
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};

use serde::{Deserialize, Serialize};

use super::{Analyzer, Kind, Matcher, Scorer, Statistics, TextQuery};

/// The name of what `score()` becomes.
pub const SCORE: &str = "text_score";

/// All functions of this module.
pub fn all() -> Vec<Arc<ScalarUDF>> {
    let matches = Kind::ALL.into_iter().map(|kind| Arc::new(Matches::function(kind)));
    matches.chain([Arc::new(TextScore::function())]).collect()
}

/// How well a text matches a query, as an expression.
pub fn score(text: Expr, call: &TextCall, statistics: &Statistics) -> Expr {
    let TextCall { kind, query, analyzer } = call;
    let constants = [query.as_str(), kind.name(), analyzer.name()].map(lit);
    let arguments = [text].into_iter().chain(constants).chain([lit(statistics.to_string())]);
    TextScore::function().call(arguments.collect())
}

/// The constants of a call: what is looked for, whatever it is looked for in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TextCall {
    /// How the query is read.
    pub kind: Kind,
    /// Its text.
    pub query: String,
    /// How words are made.
    pub analyzer: Analyzer,
}

impl TextCall {
    /// What a function of this module that looks for matches was called with, behind the texts.
    ///
    /// # Errors
    /// The constants are none, or there is no such analyser.
    pub fn new(kind: Kind, constants: &[Option<&ScalarValue>]) -> Result<Self> {
        let text =
            |index: usize| constants.get(index).copied().flatten().and_then(|value| value.try_as_str().flatten());
        let Some(query) = text(0) else { return plan_err!("{}() looks for a constant text", kind.name()) };
        let analyzer = match (constants.len(), text(1)) {
            (0..=1, _) => Analyzer::default(),
            (_, Some(name)) => name.parse().map_err(|error| DataFusionError::Plan(format!("{error}")))?,
            (_, None) => return plan_err!("the analyzer of {}() is a constant text", kind.name()),
        };
        Ok(Self { kind, query: query.into(), analyzer })
    }

    /// The call that an expression is, and the expression of its texts, if it is one.
    pub fn of(expression: &Arc<dyn PhysicalExpr>) -> Option<(&Arc<dyn PhysicalExpr>, Self)> {
        let call = ScalarFunctionExpr::try_downcast_func::<Matches>(expression.as_ref())?;
        let function: &Matches = call.fun().inner().downcast_ref()?;
        let (texts, constants) = call.args().split_first()?;
        Some((texts, Self::new(function.kind, &values(constants)).ok()?))
    }

    /// The same for a call that scores, with its statistics.
    pub fn of_score(expression: &Arc<dyn PhysicalExpr>) -> Option<(&Arc<dyn PhysicalExpr>, Self, Statistics)> {
        let call = ScalarFunctionExpr::try_downcast_func::<TextScore>(expression.as_ref())?;
        let (texts, constants) = call.args().split_first()?;
        let (call, statistics) = score_constants(&values(constants)).ok()?;
        Some((texts, call, statistics))
    }

    /// The query.
    ///
    /// # Errors
    /// It is too long.
    pub fn query(&self) -> Result<TextQuery> {
        let query = TextQuery::new(self.kind, &self.query, self.analyzer);
        query.map_err(|error| DataFusionError::Plan(error.to_string()))
    }
}

fn values(expressions: &[Arc<dyn PhysicalExpr>]) -> Vec<Option<&ScalarValue>> {
    expressions.iter().map(|expression| expression.downcast_ref::<Literal>().map(Literal::value)).collect()
}

fn scalars(arguments: &[ColumnarValue]) -> Vec<Option<&ScalarValue>> {
    fn scalar(argument: &ColumnarValue) -> Option<&ScalarValue> {
        match argument {
            ColumnarValue::Scalar(value) => Some(value),
            ColumnarValue::Array(_) => None,
        }
    }
    arguments.iter().map(scalar).collect()
}

fn score_constants(constants: &[Option<&ScalarValue>]) -> Result<(TextCall, Statistics)> {
    let text = |index: usize| constants.get(index).copied().flatten().and_then(|value| value.try_as_str().flatten());
    let kind = Kind::ALL.into_iter().find(|kind| Some(kind.name()) == text(1));
    match (kind, text(3).map(str::parse)) {
        (Some(kind), Some(Ok(statistics))) => Ok((TextCall::new(kind, &[constants[0], constants[2]])?, statistics)),
        _ => plan_err!("{SCORE}() is not called directly: say score()"),
    }
}

/// Whether values of a type are texts, or arrays of texts.
fn are_texts(of: &DataType) -> bool {
    match of {
        DataType::Null | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, value) => are_texts(value),
        DataType::List(item) | DataType::LargeList(item) => item.data_type().is_string() || item.data_type().is_null(),
        _ => false,
    }
}

/// Texts, row by row.
enum Texts {
    Each(StringArray),
    Lists(ArrayRef),
}

impl Texts {
    fn new(values: &ArrayRef) -> Result<Self> {
        match values.data_type() {
            DataType::List(_) => Ok(Self::Lists(Arc::clone(values))),
            DataType::LargeList(item) => Ok(Self::Lists(cast(values, &DataType::List(Arc::clone(item)))?)),
            _ => Ok(Self::Each(cast(values, &DataType::Utf8)?.as_string().clone())),
        }
    }

    /// Gives a row's texts to the matcher; false where there is nothing.
    fn give(&self, row: usize, matcher: &mut Matcher) -> Result<bool> {
        matcher.clear();
        match self {
            Self::Each(texts) if texts.is_null(row) => return Ok(false),
            Self::Each(texts) => matcher.add(texts.value(row)),
            Self::Lists(lists) if lists.is_null(row) => return Ok(false),
            Self::Lists(lists) => {
                let items = cast(&lists.as_list::<i32>().value(row), &DataType::Utf8)?;
                items.as_string::<i32>().iter().flatten().for_each(|text| matcher.add(text));
            }
        }
        Ok(true)
    }
}

/// `search(text, query)`, `match_phrase(text, phrase)`, `prefix(text, beginning)`, each with the name of an analyser behind it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Matches {
    kind: Kind,
    signature: Signature,
}

impl Matches {
    fn function(kind: Kind) -> ScalarUDF {
        let signature = TypeSignature::OneOf(vec![TypeSignature::Any(2), TypeSignature::Any(3)]);
        ScalarUDF::from(Self { kind, signature: Signature::new(signature, Volatility::Immutable) })
    }
}

impl ScalarUDFImpl for Matches {
    fn name(&self) -> &str {
        self.kind.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match are_texts(&arguments[0]) {
            true => Ok(DataType::Boolean),
            false => plan_err!("{}() looks into texts, not into values of type {}", self.name(), arguments[0]),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (texts, constants) = arguments.args.split_at(1);
        let call = TextCall::new(self.kind, &scalars(constants))?;
        let rows = texts[0].to_array(arguments.number_rows)?;
        let (texts, mut matcher) = (Texts::new(&rows)?, Matcher::new(call.query()?));
        let matches = (0..rows.len()).map(|row| Ok(texts.give(row, &mut matcher)?.then(|| matcher.matches())));
        let matches: Result<BooleanArray> = matches.collect();
        Ok(ColumnarValue::Array(Arc::new(matches?)))
    }
}

/// `text_score(text, query, kind, analyzer, statistics)`, of which the last two are added when a query is planned.
#[derive(Debug, PartialEq, Eq, Hash)]
struct TextScore {
    signature: Signature,
}

impl TextScore {
    fn function() -> ScalarUDF {
        let counts = TypeSignature::OneOf((3..=5).map(TypeSignature::Any).collect());
        ScalarUDF::from(Self { signature: Signature::new(counts, Volatility::Immutable) })
    }
}

impl ScalarUDFImpl for TextScore {
    fn name(&self) -> &str {
        SCORE
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match are_texts(&arguments[0]) {
            true => Ok(DataType::Float64),
            false => exec_err!("{SCORE}() is of texts"),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (texts, constants) = arguments.args.split_at(1);
        let (call, statistics) = score_constants(&scalars(constants))?;
        let texts = texts[0].to_array(arguments.number_rows)?;
        Ok(ColumnarValue::Array(Arc::new(scores(&texts, &call.query()?, &statistics)?)))
    }
}

/// The score of each row: zero where there is no text.
///
/// # Errors
/// They are no texts.
pub fn scores(texts: &ArrayRef, query: &TextQuery, statistics: &Statistics) -> Result<Float64Array> {
    let (rows, mut matcher) = (texts.len(), Matcher::new(query.clone()));
    let (texts, scorer) = (Texts::new(texts)?, Scorer::new(query, statistics));
    let score = |row| {
        texts.give(row, &mut matcher)?;
        Ok(Some(scorer.score(matcher.places(), matcher.length()).into()))
    };
    (0..rows).map(score).collect()
}

/// What is known of texts: how many there are, how long they are, and in how many the units of a query occur.
///
/// # Errors
/// They are no texts.
pub fn statistics(texts: &ArrayRef, query: &TextQuery) -> Result<Statistics> {
    let (rows, mut matcher) = (texts.len(), Matcher::new(query.clone()));
    let (texts, mut all) = (Texts::new(texts)?, Statistics::default());
    all.found.resize(query.units.len(), 0);
    for row in 0..rows {
        if texts.give(row, &mut matcher)? {
            all.texts += 1;
            all.words += u64::from(matcher.length());
            all.found
                .iter_mut()
                .zip(matcher.places())
                .for_each(|(found, places)| *found += u64::from(!places.is_empty()));
        }
    }
    Ok(all)
}
