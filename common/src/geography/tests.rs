//! Boxes hold what they are around, and the functions say what geometry says.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Float64Array, StringArray, StructArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs};
use proptest::prelude::*;

use super::{Shape, functions};

fn invoke(name: &str, arguments: Vec<ColumnarValue>, rows: usize) -> Result<ArrayRef, String> {
    let function = functions::all().into_iter().find(|function| function.name() == name).expect("it is a function");
    let field = |value: &ColumnarValue| Arc::new(Field::new("argument", value.data_type(), true));
    let arg_fields: Vec<FieldRef> = arguments.iter().map(field).collect();
    let constants: Vec<Option<&ScalarValue>> = vec![None; arguments.len()];
    let told = ReturnFieldArgs { arg_fields: &arg_fields, scalar_arguments: &constants };
    let return_field = function.return_field_from_args(told).map_err(|error| error.to_string())?;
    let call = ScalarFunctionArgs {
        args: arguments,
        arg_fields,
        number_rows: rows,
        return_field,
        config_options: Arc::new(ConfigOptions::default()),
    };
    let result = function.invoke_with_args(call).map_err(|error| error.to_string())?;
    result.into_array(rows).map_err(|error| error.to_string())
}

fn text(text: &str) -> ColumnarValue {
    ColumnarValue::Scalar(ScalarValue::Utf8(Some(text.into())))
}

fn number(value: f64) -> ColumnarValue {
    ColumnarValue::Scalar(ScalarValue::Float64(Some(value)))
}

fn places() -> ColumnarValue {
    let longitudes: ArrayRef = Arc::new(Float64Array::from(vec![Some(13.4), Some(2.35), None, Some(500.0)]));
    let latitudes: ArrayRef = Arc::new(Float64Array::from(vec![52.5, 48.85, 1.0, 0.0]));
    let field = |name: &str| Arc::new(Field::new(name, DataType::Float64, true));
    ColumnarValue::Array(Arc::new(StructArray::from(vec![(field("lng"), longitudes), (field("lat"), latitudes)])))
}

#[test]
fn places_are_measured() {
    let metres = invoke("st_distance", vec![places(), text("POINT(13.4 52.5)")], 4).expect("they are places");
    let metres = metres.as_primitive::<Float64Type>();
    let shown: Vec<Option<i64>> = metres.iter().map(|metres| metres.map(|metres| (metres / 1e3) as i64)).collect();
    assert_eq!(
        shown,
        [Some(0), Some(876), None, None],
        "Berlin to Paris; no place without a longitude, or beyond the earth"
    );
    let near =
        invoke("st_within_distance", vec![places(), text("POINT(13 52)"), number(100e3)], 4).expect("it is asked well");
    assert_eq!(near.as_boolean().iter().collect::<Vec<_>>(), [Some(true), Some(false), None, None]);
    let germany = "POLYGON((6 47, 15 47, 15 55, 6 55, 6 47))";
    let inside = invoke("st_contains", vec![text(germany), places()], 4).expect("it is asked well");
    assert_eq!(inside.as_boolean().iter().collect::<Vec<_>>(), [Some(true), Some(false), None, None]);
    let corners = [0.0, 40.0, 20.0, 50.0].map(number);
    let within = invoke("st_within_box", [places()].into_iter().chain(corners).collect(), 4).expect("it is asked well");
    assert_eq!(within.as_boolean().iter().collect::<Vec<_>>(), [Some(false), Some(true), None, None]);
    let texts = ColumnarValue::Array(Arc::new(StringArray::from(vec![Some("POINT(1 2)"), Some("no place"), None])));
    let shown = invoke("st_astext", vec![texts], 3).expect("texts are places");
    assert_eq!(shown.as_string::<i32>().iter().collect::<Vec<_>>(), [Some("POINT(1 2)"), None, None]);
}

#[test]
fn what_is_no_place_is_refused() {
    let error = invoke("st_distance", vec![places(), text("POINT(no)")], 4).expect_err("a constant must be one");
    assert!(error.contains("is no place"), "{error}");
    let error = invoke("st_x", vec![number(5.0)], 1).expect_err("a number is none");
    assert!(error.contains("is of places"), "{error}");
    let error = invoke("st_point", vec![text("1"), number(5.0)], 1).expect_err("a text is no number");
    assert!(error.contains("takes numbers"), "{error}");
}

fn degrees() -> impl Strategy<Value = (f64, f64)> {
    (
        prop_oneof![-180.0..=180.0_f64, Just(180.0), Just(-180.0)],
        prop_oneof![-90.0..=90.0_f64, Just(90.0), Just(-89.999)],
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    /// Points near, as far as asked, and just within the box in each direction.
    #[test]
    fn a_box_holds_all_that_is_within(place in degrees(), step in (-1.0..1.0_f64, -1.0..1.0_f64), scale in 0..8) {
        let width = 200.0 / 10_f64.powi(scale);
        let other = (place.0 + step.0 * width, (place.1 + step.1 * width).clamp(-90.0, 90.0));
        let other = ((other.0 + 540.0).rem_euclid(360.0) - 180.0, other.1);
        let (here, there) = (Shape::point(place.0, place.1).unwrap(), Shape::point(other.0, other.1).unwrap());
        let metres = here.distance(&there).unwrap();
        let bounds = here.bounds_within(metres).unwrap();
        prop_assert!(bounds.holds(other.0, other.1), "{place:?} to {other:?}, {metres} m: {bounds:?}");
    }
}
