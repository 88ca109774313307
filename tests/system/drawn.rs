//! Filters, drawn at random, for the oracles of filters and of aggregates.

use std::sync::Arc;

use anyhow::{Context, Result};
use basalt_common::functions;
use basalt_common::random::SeededRandom;
use basalt_common::scan::{ScanColumn, ScanFilter, ScanStep};
use basalt_common::schema::Schema;
use basalt_common::text::functions::TextCall;
use basalt_common::text::{Analyzer, Kind};
use basalt_common::value::Type;
use datafusion::arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use datafusion::common::ScalarValue;
use datafusion::functions_nested::array_has::{array_has_any_udf, array_has_udf};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, Column, InListExpr, LikeExpr, Literal, NotExpr, is_not_null, is_null,
};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};

/// Fields as the filters see them: path, type among those it has, Arrow type.
const FIELDS: [(&[&str], Option<Type>, DataType); 11] = [
    (&["lon"], None, DataType::Float64),
    (&["lat"], None, DataType::Float64),
    (&["n"], None, DataType::Int64),
    (&["n"], None, DataType::Float64),
    (&["n"], Some(Type::Float), DataType::Float64),
    (&["a"], None, DataType::Utf8),
    (&["a"], Some(Type::Int), DataType::Int64),
    (&["b"], None, DataType::Boolean),
    (&["a", "n"], None, DataType::Int64),
    (&["tags"], Some(Type::String), DataType::Utf8),
    (&["nobody"], None, DataType::Int64),
];

pub(crate) type Expression = Arc<dyn PhysicalExpr>;

fn list() -> Arc<Field> {
    let item = Field::new("item", DataType::Utf8, true);
    Arc::new(Field::new("arrays", DataType::List(Arc::new(item)), true))
}

/// Draws filters over the `_id` and the fields that are known.
pub(crate) struct Filters {
    pub(crate) random: SeededRandom,
    pub(crate) schema: Arc<ArrowSchema>,
    pub(crate) columns: Arc<[ScanColumn]>,
    /// A column of arrays, behind the others in filters.
    arrays: Option<ScanColumn>,
}

impl Filters {
    pub(crate) fn new(seed: u64, schema: &Schema) -> Self {
        let mut fields = vec![Field::new("_id", DataType::Utf8, false)];
        let mut columns = vec![ScanColumn::Id];
        for (path, kind, of) in FIELDS {
            let path: Vec<String> = path.iter().map(ToString::to_string).collect();
            if let Some(field) = schema.find(&path) {
                fields.push(Field::new(path.join("."), of, true));
                let below = kind.map(ScanStep::Kind).into_iter().collect();
                columns.push(ScanColumn::Field { field, below });
            }
        }
        let arrays = schema.find(&["tags".into()]).map(ScanColumn::field);
        let (random, schema) = (SeededRandom::new(seed), Arc::new(ArrowSchema::new(fields)));
        Self { random, schema, columns: columns.into(), arrays }
    }

    fn constant(&mut self, of: &DataType) -> Expression {
        let number = self.random.below(1_000) as i64 - 500;
        let value = match of {
            DataType::Int64 => ScalarValue::Int64(Some(if number == 0 { i64::MAX - 3 } else { number })),
            DataType::Float64 if self.random.chance(1, 8) => {
                let extremes = [-0.0, 0.0, f64::NAN, f64::INFINITY, -f64::INFINITY, 2_f64.powi(63), -(2_f64.powi(63))];
                ScalarValue::Float64(Some(*self.random.pick(&extremes)))
            }
            DataType::Float64 => ScalarValue::Float64(Some(number as f64 / 8.0)),
            DataType::Boolean => ScalarValue::Boolean(Some(number > 0)),
            _ if number < 0 => ScalarValue::Utf8(Some(format!("doc-{}", -number))),
            _ => ScalarValue::Utf8(Some(format!("text {}", number % 20))),
        };
        Arc::new(Literal::new(value))
    }

    /// A search of a column of strings.
    fn search(&mut self, column: Expression) -> Result<Expression> {
        let TextCall { kind, query, analyzer } = self.call();
        let text = |text: &str| Arc::new(Literal::new(ScalarValue::Utf8(Some(text.into())))) as Expression;
        let search = functions::all().into_iter().find(|function| function.name() == kind.name());
        let arguments = vec![column, text(&query), text(analyzer.name())];
        let search = search.context("it is a function")?;
        Ok(Arc::new(ScalarFunctionExpr::try_new(search, arguments, &self.schema, Arc::default())?))
    }

    pub(crate) fn call(&mut self) -> TextCall {
        let queries = [
            "text 1",
            "text -7",
            "1 OR doc",
            "tex*",
            "\"text 5\"",
            "doc -\"doc 3\"",
            "Text \"text 1*\"",
            "-3",
            "!",
            "none",
        ];
        let kind = *self.random.pick(&Kind::ALL);
        let query = match kind {
            Kind::Search => (*self.random.pick(&queries)).to_string(),
            Kind::Phrase | Kind::Prefix => format!("text {}", self.random.below(20)),
        };
        let english = "english".parse().expect("there is one");
        TextCall { kind, query, analyzer: if self.random.chance(1, 2) { english } else { Analyzer::default() } }
    }

    fn condition(&mut self) -> Result<Expression> {
        if self.arrays.is_some() && self.random.chance(1, 10) {
            return self.member();
        }
        let index = self.random.below(self.columns.len() as u64) as usize;
        let field = self.schema.field(index).clone();
        let column: Expression = Arc::new(Column::new(field.name(), index));
        let constant = self.constant(field.data_type());
        let operators = [Operator::Eq, Operator::NotEq, Operator::Lt, Operator::LtEq, Operator::Gt, Operator::GtEq];
        Ok(match (self.random.below(8), field.data_type()) {
            (0, _) => is_not_null(column)?,
            (1, _) => is_null(column)?,
            // Short sets, as planners write them: one comparison or another.
            (2, _) if self.random.chance(1, 3) => {
                let equal = |one| Arc::new(BinaryExpr::new(Arc::clone(&column), Operator::Eq, one)) as Expression;
                let either = |a, b| Arc::new(BinaryExpr::new(a, Operator::Or, b)) as Expression;
                let all = (0..1 + self.random.below(2)).map(|_| self.constant(field.data_type())).collect::<Vec<_>>();
                all.into_iter().fold(equal(constant), |chain, one| either(chain, equal(one)))
            }
            (2, _) => {
                let mut list: Vec<Expression> = (0..4).map(|_| self.constant(field.data_type())).collect();
                if self.random.chance(1, 8) {
                    list[0] = Arc::new(Literal::new(ScalarValue::try_from(field.data_type())?));
                }
                Arc::new(InListExpr::try_new(column, list, self.random.chance(1, 4), &self.schema)?)
            }
            (3, DataType::Utf8) => {
                let patterns =
                    ["text 1%", "text%", "%1", "doc-1%", "text _", "%", "%ext%", "%tex%2%", "%EXT%", "_ext 1_"];
                let pattern = (*self.random.pick(&patterns)).to_string();
                let pattern = Arc::new(Literal::new(ScalarValue::Utf8(Some(pattern))));
                Arc::new(LikeExpr::new(self.random.chance(1, 4), false, column, pattern))
            }
            (3 | 4, DataType::Boolean) => column,
            (5, DataType::Boolean) => Arc::new(NotExpr::new(column)),
            (4 | 5, DataType::Utf8) => self.search(column)?,
            (6, _) => Arc::new(BinaryExpr::new(constant, *self.random.pick(&operators), column)),
            _ => Arc::new(BinaryExpr::new(column, *self.random.pick(&operators), constant)),
        })
    }

    /// A box, as far as there are places: two ranges.
    fn within_box(&mut self) -> Option<Expression> {
        let mut range = |name: &str| {
            let index = self.schema.index_of(name).ok()?;
            let column: Expression = Arc::new(Column::new(name, index));
            let least = place(&mut self.random);
            let most = least + self.random.below(64) as f64 / 16.0;
            let compared = |operator, value| {
                let value = Arc::new(Literal::new(ScalarValue::Float64(Some(value))));
                Arc::new(BinaryExpr::new(Arc::clone(&column), operator, value)) as Expression
            };
            let (above, below) = (compared(Operator::GtEq, least), compared(Operator::Lt, most));
            Some(Arc::new(BinaryExpr::new(above, Operator::And, below)) as Expression)
        };
        let (longitudes, latitudes) = (range("lon")?, range("lat")?);
        Some(Arc::new(BinaryExpr::new(longitudes, Operator::And, latitudes)))
    }

    pub(crate) fn draw(&mut self) -> Result<Expression> {
        let within = if self.random.chance(1, 5) { self.within_box() } else { None };
        let mut predicate = match within {
            Some(within) => within,
            None => self.condition()?,
        };
        for _ in 0..self.random.below(3) {
            let operator = if self.random.chance(1, 4) { Operator::Or } else { Operator::And };
            predicate = Arc::new(BinaryExpr::new(predicate, operator, self.condition()?));
        }
        Ok(predicate)
    }

    pub(crate) fn filter(&self, predicate: Expression) -> ScanFilter {
        let arrays = self.arrays.iter().map(|column| (list(), column.clone()));
        let all = self.schema.fields().iter().cloned().zip(self.columns.iter().cloned()).chain(arrays);
        let (fields, columns): (Vec<Arc<Field>>, Vec<ScanColumn>) = all.unzip();
        ScanFilter { schema: Arc::new(ArrowSchema::new(fields)), columns: columns.into(), predicate }
    }

    /// A search of a column of arrays.
    fn member(&mut self) -> Result<Expression> {
        let arrays: Expression = Arc::new(Column::new("arrays", self.columns.len()));
        let item = |random: &mut SeededRandom| ScalarValue::Utf8(Some(format!("text {}", random.below(20))));
        let (function, sought) = match self.random.chance(1, 2) {
            true => (array_has_udf(), item(&mut self.random)),
            false => {
                let items = [item(&mut self.random), item(&mut self.random)];
                (array_has_any_udf(), ScalarValue::List(ScalarValue::new_list_nullable(&items, &DataType::Utf8)))
            }
        };
        let fields = self.filter(Arc::clone(&arrays)).schema;
        let arguments = vec![arrays, Arc::new(Literal::new(sought)) as Expression];
        Ok(Arc::new(ScalarFunctionExpr::try_new(function, arguments, &fields, Arc::default())?))
    }
}

/// A coordinate: most lie close together.
pub(crate) fn place(random: &mut SeededRandom) -> f64 {
    match random.below(12) {
        0 => *random.pick(&[-180.0, 0.0, 90.0, 1e9, f64::INFINITY]),
        _ => 13.0 + random.below(160) as f64 / 16.0,
    }
}
