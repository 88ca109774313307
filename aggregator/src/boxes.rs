//! Geography as ranges: what is near a place, or inside a shape, lies in a box around it.
//!
//! In: a logical plan. Out: the same, where conditions on the places of an object or of two fields also say between which longitudes and
//! latitudes these are: leaves find such ranges by terms and block statistics, and look at the places of few rows.
//!
//! ```text
//! st_within_distance(at, 'POINT(13.4 52.5)', 500)  →  … AND at.lon BETWEEN 13.39 AND 13.41 AND at.lat BETWEEN 52.49 AND 52.51
//! ```

use basalt_common::geography::functions::{CONTAINS, POINT, WITHIN_BOX, WITHIN_DISTANCE};
use basalt_common::geography::{Bounds, Shape, coordinates};
use basalt_common::sql_type::is_dynamic;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::functions::core::expr_ext::FieldAccessor;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, ExprSchemable, Filter, LogicalPlan, lit};

/// Adds ranges to the conditions of a plan that are about places.
///
/// # Errors
/// The plan cannot be rewritten.
pub fn add_boxes(plan: LogicalPlan) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::Filter(filter) = node else { return Ok(Transformed::no(node)) };
        let schema = filter.input.schema();
        let ranges = split_conjunction(&filter.predicate).into_iter().flat_map(|condition| ranges(condition, schema));
        match ranges.reduce(Expr::and) {
            None => Ok(Transformed::no(LogicalPlan::Filter(filter))),
            Some(ranges) => {
                let predicate = filter.predicate.and(ranges);
                Ok(Transformed::yes(LogicalPlan::Filter(Filter::try_new(predicate, filter.input)?)))
            }
        }
    });
    Ok(rewritten?.data)
}

/// What a condition says of a longitude and a latitude.
fn ranges(condition: &Expr, schema: &DFSchema) -> Vec<Expr> {
    let bounded = || -> Option<(Bounds, Expr, Expr)> {
        let Expr::ScalarFunction(function) = condition else { return None };
        let (place, bounds) = match (function.name(), function.args.as_slice()) {
            (WITHIN_DISTANCE, [a, b, metres]) => {
                let (place, center) = shape(b).map(|center| (a, center)).or_else(|| Some((b, shape(a)?)))?;
                (place, center.bounds_within(number(metres)?)?)
            }
            (CONTAINS, [outer, place]) => (place, shape(outer)?.bounds()?),
            (WITHIN_BOX, [place, west, south, east, north]) => {
                let longitudes = Some((number(west)?, number(east)?)).filter(|(west, east)| west <= east);
                (place, Bounds { longitudes, latitudes: (number(south)?, number(north)?) })
            }
            _ => return None,
        };
        let (longitude, latitude) = parts(place, schema)?;
        Some((bounds, longitude, latitude))
    };
    let Some((Bounds { longitudes, latitudes }, longitude, latitude)) = bounded() else { return Vec::new() };
    let between = |value: Expr, (least, most): (f64, f64)| value.between(lit(least), lit(most));
    let of_longitude = longitudes.map(|bounds| between(longitude, bounds));
    of_longitude.into_iter().chain([between(latitude, latitudes)]).collect()
}

/// The longitude and the latitude of a point, as expressions that read no more.
fn parts(place: &Expr, schema: &DFSchema) -> Option<(Expr, Expr)> {
    if let Expr::ScalarFunction(function) = place
        && let (POINT, [longitude, latitude]) = (function.name(), function.args.as_slice())
    {
        return Some((longitude.clone(), latitude.clone()));
    }
    let (_, field) = place.to_field(schema).ok()?;
    let DataType::Struct(children) = field.data_type() else { return None };
    let (longitude, latitude) = coordinates(children).filter(|_| !is_dynamic(&field))?;
    Some((place.clone().field(longitude), place.clone().field(latitude)))
}

/// The shape that a constant is.
fn shape(expression: &Expr) -> Option<Shape> {
    match expression {
        Expr::Literal(value, _) => Shape::from_text(value.try_as_str().flatten()?),
        Expr::ScalarFunction(function) => match (function.name(), function.args.as_slice()) {
            (POINT, [longitude, latitude]) => Shape::point(number(longitude)?, number(latitude)?),
            _ => None,
        },
        _ => None,
    }
}

fn number(expression: &Expr) -> Option<f64> {
    match expression {
        Expr::Literal(value, _) => match value.cast_to(&DataType::Float64).ok()? {
            ScalarValue::Float64(number) => number,
            _ => None,
        },
        Expr::Negative(inner) => Some(-number(inner)?),
        _ => None,
    }
}
