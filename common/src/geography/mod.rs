//! Places on the earth: what values are such, and boxes around them.
//!
//! In: values of documents and constants of queries. Out: shapes, with longitude as x and latitude as y, in degrees. A place is
//!
//! ```text
//! 'POINT(13.4 52.5)', 'POLYGON((…))'          well-known text
//! {"lon": 13.4, "lat": 52.5}                  an object with a longitude and a latitude, by any of their usual names
//! {"type": "Point", "coordinates": [13.4, 52.5]}, {"type": "Polygon", "coordinates": [[[…], …]]}      GeoJSON
//! [13.4, 52.5]                                an array of the two, in GeoJSON's order
//! ```
//!
//! Distances are along great circles of a sphere, in metres; edges of polygons are straight lines between degrees, and do not cross the
//! antimeridian. What SQL calls all this is [`functions`]' affair.

pub mod functions;
mod reader;
#[cfg(test)]
mod tests;

use geo::{BoundingRect, CoordsIter, Distance, Geometry, Haversine, Point};
use wkt::TryFromWkt;

pub use reader::{coordinates, coordinates_of, is_place};

/// A shape whose coordinates are degrees.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape(Geometry<f64>);

/// All places between two longitudes and two latitudes, in degrees, edges included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// The westernmost and easternmost longitude; none where all are within. From west to east: over the antimeridian the first
    /// is the greater.
    pub longitudes: Option<(f64, f64)>,
    /// The southernmost and the northernmost latitude.
    pub latitudes: (f64, f64),
}

/// What a box is larger than it must be, in degrees: a tenth of a millimetre, far beyond what rounding does.
const MARGIN: f64 = 1e-9;

impl Shape {
    /// A point, if there is one of that longitude and latitude.
    pub fn point(longitude: f64, latitude: f64) -> Option<Self> {
        let is_there = longitude.abs() <= 180.0 && latitude.abs() <= 90.0;
        is_there.then(|| Self(Point::new(longitude, latitude).into()))
    }

    /// A shape of coordinates, if all of them are on the earth.
    fn checked(geometry: Geometry<f64>) -> Option<Self> {
        let is_there = geometry.coords_iter().all(|place| place.x.abs() <= 180.0 && place.y.abs() <= 90.0);
        is_there.then_some(Self(geometry))
    }

    /// What well-known text says.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::checked(Geometry::try_from_wkt_str(text).ok()?)
    }

    /// Its longitude and latitude, if it is a point.
    pub fn as_point(&self) -> Option<(f64, f64)> {
        match self.0 {
            Geometry::Point(point) => Some((point.x(), point.y())),
            _ => None,
        }
    }

    /// How far two points are from each other, in metres.
    pub fn distance(&self, other: &Self) -> Option<f64> {
        let ((x, y), (to_x, to_y)) = (self.as_point()?, other.as_point()?);
        Some(Haversine.distance(Point::new(x, y), Point::new(to_x, to_y)))
    }

    /// The box around it.
    pub fn bounds(&self) -> Option<Bounds> {
        let rect = self.0.bounding_rect()?;
        let (least, most) = (rect.min(), rect.max());
        Some(Bounds { longitudes: Some((least.x, most.x)), latitudes: (least.y, most.y) })
    }

    /// A box around all points at most so far, in metres, from this one.
    pub fn bounds_within(&self, metres: f64) -> Option<Bounds> {
        let (longitude, latitude) = self.as_point()?;
        let angle = metres.max(0.0) / Haversine.radius();
        let height = angle.to_degrees() + MARGIN;
        let latitudes = ((latitude - height).max(-90.0), (latitude + height).min(90.0));
        // Over a pole every longitude is within.
        let sine = angle.sin() / latitude.to_radians().cos();
        let holds_a_pole = latitudes.0 <= -90.0 || latitudes.1 >= 90.0 || sine >= 1.0;
        let width = sine.min(1.0).asin().to_degrees() + MARGIN;
        let (west, east) = (longitude - width, longitude + width);
        let is_plain = !holds_a_pole && west >= -180.0 && east <= 180.0;
        Some(Bounds { longitudes: is_plain.then_some((west, east)), latitudes })
    }
}

impl Bounds {
    /// Whether a place is within.
    pub fn holds(&self, longitude: f64, latitude: f64) -> bool {
        let (south, north) = self.latitudes;
        let between = match self.longitudes {
            None => true,
            Some((west, east)) if west <= east => west <= longitude && longitude <= east,
            Some((west, east)) => longitude >= west || longitude <= east,
        };
        between && south <= latitude && latitude <= north
    }
}
