//! Geography as SQL functions.
//!
//! In: places, as [`geography`](super) has them, and numbers. Out: booleans, metres, degrees, texts; NULL where a row has no place. A
//! constant that is no place is an error.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, StringArray, StructArray};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Float64Type};
use datafusion::common::{Result, exec_err, internal_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use geo::{Contains, Intersects};
use wkt::ToWkt;

use super::reader::Places;
use super::{Bounds, Shape, is_place};

/// All functions of this module.
pub fn all() -> Vec<Arc<ScalarUDF>> {
    let function = |function: Function| {
        let signature = Signature::any(function.places() + function.numbers(), Volatility::Immutable);
        Arc::new(ScalarUDF::from(Geography { function, signature }))
    };
    Function::ALL.into_iter().map(function).collect()
}

/// What is asked of places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Function {
    Point,
    Distance,
    WithinDistance,
    Contains,
    Intersects,
    WithinBox,
    X,
    Y,
    AsText,
}

/// A point: an object of its longitude and latitude.
pub const POINT: &str = "st_point";

/// Whether two points are at most so far from each other.
pub const WITHIN_DISTANCE: &str = "st_within_distance";

/// Whether one shape is inside another.
pub const CONTAINS: &str = "st_contains";

/// Whether a point is between longitudes and latitudes.
pub const WITHIN_BOX: &str = "st_within_box";

impl Function {
    const ALL: [Self; 9] = [
        Self::Point,
        Self::Distance,
        Self::WithinDistance,
        Self::Contains,
        Self::Intersects,
        Self::WithinBox,
        Self::X,
        Self::Y,
        Self::AsText,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Point => POINT,
            Self::Distance => "st_distance",
            Self::WithinDistance => WITHIN_DISTANCE,
            Self::Contains => CONTAINS,
            Self::Intersects => "st_intersects",
            Self::WithinBox => WITHIN_BOX,
            Self::X => "st_x",
            Self::Y => "st_y",
            Self::AsText => "st_astext",
        }
    }

    /// How many places it takes.
    fn places(self) -> usize {
        match self {
            Self::Point => 0,
            Self::WithinBox | Self::X | Self::Y | Self::AsText => 1,
            Self::Distance | Self::WithinDistance | Self::Contains | Self::Intersects => 2,
        }
    }

    /// How many numbers it takes behind them.
    fn numbers(self) -> usize {
        match self {
            Self::Point => 2,
            Self::WithinDistance => 1,
            Self::WithinBox => 4,
            _ => 0,
        }
    }

    fn returns(self) -> DataType {
        match self {
            Self::Point => DataType::Struct(point_fields()),
            Self::Distance | Self::X | Self::Y => DataType::Float64,
            Self::WithinDistance | Self::Contains | Self::Intersects | Self::WithinBox => DataType::Boolean,
            Self::AsText => DataType::Utf8,
        }
    }
}

fn point_fields() -> Fields {
    ["lon", "lat"].map(|name| Field::new(name, DataType::Float64, true)).into_iter().collect::<Vec<_>>().into()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Geography {
    function: Function,
    signature: Signature,
}

/// The arguments of a call: constants are read once.
struct Arguments {
    places: Vec<Argument<Places, Shape>>,
    numbers: Vec<Argument<Float64Array, f64>>,
}

enum Argument<E, C> {
    Each(E),
    Constant(Option<C>),
}

impl Arguments {
    fn new(function: Function, arguments: &ScalarFunctionArgs) -> Result<Self> {
        let (places, numbers) = arguments.args.split_at(function.places());
        let place = |(value, field): (&ColumnarValue, &FieldRef)| match value {
            ColumnarValue::Array(values) => Ok(Argument::Each(Places::new(values, field)?)),
            ColumnarValue::Scalar(constant) => {
                let place = Places::new(&constant.to_array()?, field)?.get(0);
                match place.is_none() && !constant.is_null() {
                    true => exec_err!("{}(): {constant} is no place", function.name()),
                    false => Ok(Argument::Constant(place)),
                }
            }
        };
        let number = |value: &ColumnarValue| {
            let values = cast(&value.to_array(1)?, &DataType::Float64)?;
            let values = values.as_primitive::<Float64Type>().clone();
            Ok(match value {
                ColumnarValue::Array(_) => Argument::Each(values),
                ColumnarValue::Scalar(_) => Argument::Constant(values.iter().next().flatten()),
            })
        };
        Ok(Self {
            places: places.iter().zip(&arguments.arg_fields).map(place).collect::<Result<_>>()?,
            numbers: numbers.iter().map(number).collect::<Result<_>>()?,
        })
    }

    fn number(&self, index: usize, row: usize) -> Option<f64> {
        match &self.numbers[index] {
            Argument::Each(values) => values.is_valid(row).then(|| values.value(row)),
            Argument::Constant(value) => *value,
        }
    }

    /// What a function says of the place in a row.
    fn of_one<T>(&self, row: usize, ask: impl FnOnce(&Shape) -> Option<T>) -> Option<T> {
        match &self.places[0] {
            Argument::Each(places) => ask(&places.get(row)?),
            Argument::Constant(place) => ask(place.as_ref()?),
        }
    }

    /// What a function says of the two places in a row.
    fn of_two<T>(&self, row: usize, ask: impl FnOnce(&Shape, &Shape) -> Option<T>) -> Option<T> {
        self.of_one(row, |first| match &self.places[1] {
            Argument::Each(places) => ask(first, &places.get(row)?),
            Argument::Constant(place) => ask(first, place.as_ref()?),
        })
    }
}

impl ScalarUDFImpl for Geography {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        internal_err!("return_field_from_args tells")
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let (places, numbers) = arguments.arg_fields.split_at(self.function.places());
        if let Some(other) = places.iter().find(|field| !is_place(field)) {
            return plan_err!("{}() is of places, and {} is none: a {}", self.name(), other.name(), other.data_type());
        }
        let is_number = |of: &DataType| of.is_numeric() || of.is_null();
        if let Some(other) = numbers.iter().find(|field| !is_number(field.data_type())) {
            return plan_err!("{}() takes numbers, and {} is a {}", self.name(), other.name(), other.data_type());
        }
        Ok(Arc::new(Field::new(self.name(), self.function.returns(), true)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let given = Arguments::new(self.function, &arguments)?;
        let rows = 0..arguments.number_rows;
        let number = |ask: &dyn Fn(usize) -> Option<f64>| Arc::new(rows.clone().map(ask).collect::<Float64Array>());
        let truth = |ask: &dyn Fn(usize) -> Option<bool>| Arc::new(rows.clone().map(ask).collect::<BooleanArray>());
        let result: ArrayRef = match self.function {
            Function::Point => Arc::new(points(&given, arguments.number_rows)),
            Function::Distance => number(&|row| given.of_two(row, Shape::distance)),
            Function::WithinDistance => {
                truth(&|row| Some(given.of_two(row, Shape::distance)? <= given.number(0, row)?))
            }
            Function::Contains => truth(&|row| given.of_two(row, |a, b| Some(a.0.contains(&b.0)))),
            Function::Intersects => truth(&|row| given.of_two(row, |a, b| Some(a.0.intersects(&b.0)))),
            Function::WithinBox => truth(&|row| {
                let bound = |index| given.number(index, row);
                let bounds = Bounds { longitudes: Some((bound(0)?, bound(2)?)), latitudes: (bound(1)?, bound(3)?) };
                given.of_one(row, Shape::as_point).map(|(longitude, latitude)| bounds.holds(longitude, latitude))
            }),
            Function::X => number(&|row| given.of_one(row, Shape::as_point).map(|(x, _)| x)),
            Function::Y => number(&|row| given.of_one(row, Shape::as_point).map(|(_, y)| y)),
            Function::AsText => {
                Arc::new(rows.map(|row| given.of_one(row, |place| Some(place.0.wkt_string()))).collect::<StringArray>())
            }
        };
        Ok(ColumnarValue::Array(result))
    }
}

fn points(given: &Arguments, rows: usize) -> StructArray {
    let point = |row| Shape::point(given.number(0, row)?, given.number(1, row)?)?.as_point();
    let points: Vec<Option<(f64, f64)>> = (0..rows).map(point).collect();
    let of = |each: fn(&(f64, f64)) -> f64| {
        Arc::new(points.iter().map(|point| point.as_ref().map(each)).collect::<Float64Array>()) as ArrayRef
    };
    let there: NullBuffer = points.iter().map(Option::is_some).collect::<Vec<_>>().into();
    StructArray::new(point_fields(), vec![of(|point| point.0), of(|point| point.1)], Some(there))
}
