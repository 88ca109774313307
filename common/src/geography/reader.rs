//! Places in arrays.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array, ListArray, StringArray, StructArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Fields, Float64Type};
use datafusion::common::Result;
use geo::{Coord, LineString, Polygon};

use super::Shape;
use crate::sql_type::is_dynamic;

const LONGITUDES: [&str; 6] = ["lon", "lng", "long", "longitude", "x", "Longitude"];
const LATITUDES: [&str; 4] = ["lat", "latitude", "y", "Latitude"];

/// What an object has as its longitude and latitude, of what `number` finds by its name.
pub fn coordinates_of<T>(number: impl Fn(&'static str) -> Option<T>) -> Option<(T, T)> {
    Some((LONGITUDES.into_iter().find_map(&number)?, LATITUDES.into_iter().find_map(&number)?))
}

/// The names of an object's longitude and latitude, if it has them.
pub fn coordinates(fields: &Fields) -> Option<(&str, &str)> {
    let is_numeric = |name| fields.iter().any(|field| field.name() == name && field.data_type().is_numeric());
    coordinates_of(|name| is_numeric(name).then_some(name))
}

/// Whether values of a field may be places.
pub fn is_place(field: &Field) -> bool {
    match field.data_type() {
        DataType::Null => true,
        of if of.is_string() => true,
        DataType::Struct(children) if is_dynamic(field) => children.iter().any(|child| is_place(child)),
        DataType::Struct(children) => coordinates(children).is_some() || children.find("coordinates").is_some(),
        DataType::List(item) | DataType::LargeList(item) => item.data_type().is_numeric(),
        _ => false,
    }
}

/// Reads places row by row.
pub(super) enum Places {
    Nothing,
    Texts(StringArray),
    Points {
        longitudes: Float64Array,
        latitudes: Float64Array,
    },
    /// GeoJSON's coordinates of points, or of polygons.
    Arrays(ArrayRef),
    /// Columns of several types, of which one has a value.
    Several(Vec<Self>),
}

impl Places {
    pub(super) fn new(values: &ArrayRef, field: &Field) -> Result<Self> {
        let numbers = |array: &ArrayRef| {
            Ok::<_, datafusion::error::DataFusionError>(cast(array, &DataType::Float64)?.as_primitive().clone())
        };
        match field.data_type() {
            of if of.is_string() => Ok(Self::Texts(cast(values, &DataType::Utf8)?.as_string().clone())),
            DataType::Struct(children) if is_dynamic(field) => {
                let parts = children.iter().zip(values.as_struct().columns()).filter(|(child, _)| is_place(child));
                Ok(Self::Several(parts.map(|(child, values)| Self::new(values, child)).collect::<Result<_>>()?))
            }
            DataType::Struct(children) => match coordinates(children) {
                Some((longitude, latitude)) => {
                    let child = |name| values.as_struct().column_by_name(name).map(numbers).transpose();
                    match (child(longitude)?, child(latitude)?) {
                        (Some(longitudes), Some(latitudes)) => Ok(Self::Points { longitudes, latitudes }),
                        _ => Ok(Self::Nothing),
                    }
                }
                None => Self::geo_json(values.as_struct()),
            },
            DataType::List(_) => Ok(Self::Arrays(Arc::clone(values))),
            _ => Ok(Self::Nothing),
        }
    }

    fn geo_json(objects: &StructArray) -> Result<Self> {
        let at = objects.fields().find("coordinates");
        let Some((at, field)) = at else { return Ok(Self::Nothing) };
        Self::new(objects.column(at), field)
    }

    /// The place of a row; none where there is no value that is one.
    pub(super) fn get(&self, row: usize) -> Option<Shape> {
        match self {
            Self::Nothing => None,
            Self::Texts(texts) => texts.is_valid(row).then(|| Shape::from_text(texts.value(row)))?,
            Self::Points { longitudes, latitudes } => match longitudes.is_valid(row) && latitudes.is_valid(row) {
                true => Shape::point(longitudes.value(row), latitudes.value(row)),
                false => None,
            },
            Self::Arrays(lists) => {
                let lists = lists.as_list::<i32>();
                lists.is_valid(row).then(|| from_arrays(&lists.value(row)))?
            }
            Self::Several(parts) => parts.iter().find_map(|part| part.get(row)),
        }
    }
}

/// A point of two numbers, or a polygon of rings of such.
fn from_arrays(values: &ArrayRef) -> Option<Shape> {
    match values.data_type() {
        of if of.is_numeric() => {
            let place = coord(values)?;
            Shape::point(place.x, place.y)
        }
        DataType::List(_) => {
            let mut rings = each(values.as_list()).map(|ring| {
                let places = ring.as_list_opt::<i32>()?;
                Some(LineString::new(each(places).map(|place| coord(&place)).collect::<Option<Vec<_>>>()?))
            });
            let outer = rings.next()??;
            Shape::checked(Polygon::new(outer, rings.collect::<Option<Vec<_>>>()?).into())
        }
        _ => None,
    }
}

fn each(lists: &ListArray) -> impl Iterator<Item = ArrayRef> + '_ {
    (0..lists.len()).map(|index| lists.value(index))
}

fn coord(values: &ArrayRef) -> Option<Coord<f64>> {
    let numbers = cast(values, &DataType::Float64).ok()?;
    let numbers = numbers.as_primitive::<Float64Type>();
    let is_whole = numbers.len() >= 2 && numbers.null_count() == 0;
    is_whole.then(|| Coord { x: numbers.value(0), y: numbers.value(1) })
}
