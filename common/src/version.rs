//! A collection's version rule: which of two operations on a document counts is told by a field, not by their arrival.
//!
//! In: settings, documents. Out: the versions of operations, and what applying must know of the rule, which travels in every
//! batch: [`Horizon`]. Owns what may be a version. What the rule makes of operations is the leaf's part.
//!
//! ```text
//! collection: version = updated_at, lateness = 1 hour
//! {"updated_at": 7}                    7
//! {"updated_at": "1970-01-01T00:00:01Z"}   1000000: an instant counts in microseconds since 1970
//! ```

use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::compute::kernels::cast_utils::string_to_datetime;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::value::{FieldPath, Object, Value};

/// The most operations of a shard that are kept because older ones may still come.
///
/// Beyond it the oldest are settled before their time: the horizon comes nearer, by the log alone.
pub const UNSETTLED_MAX: u32 = 1_000_000;

/// A collection's rule, as its maker gives it and the catalog keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VersionSettings {
    /// The path of the field that has a document's version.
    pub path: String,
    /// How far below the highest version of its shard an operation may be and still count, in the version's unit; without it,
    /// as far as [`UNSETTLED_MAX`] allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lateness: Option<u64>,
    /// How far above the time of writing a version may be, in microseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_future: Option<u64>,
}

/// A collection's rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRule {
    /// The field.
    pub path: FieldPath,
    /// As in [`VersionSettings`].
    pub lateness: Option<u64>,
    /// As in [`VersionSettings`].
    pub max_future: Option<u64>,
}

/// What applying a batch must know of its collection's rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Horizon {
    /// As in [`VersionSettings`].
    pub lateness: Option<u64>,
    /// The most operations of a shard that are kept unsettled.
    pub unsettled_max: u32,
}

/// Why an operation has no version.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum VersionError {
    /// There is none.
    #[error("the collection's version is {0}, and there is no such field")]
    Missing(FieldPath),
    /// It is none.
    #[error("a version is a 64-bit integer or a time as RFC 3339 writes it, not {0}")]
    NotOne(String),
    /// It is further ahead of the time of writing than the collection allows.
    #[error("the version is {ahead} microseconds ahead of now, and max_future is {allowed}")]
    Future {
        /// How far.
        ahead: u64,
        /// How far it may be.
        allowed: u64,
    },
}

impl VersionRule {
    /// What applying must know of it.
    pub fn horizon(&self) -> Horizon {
        Horizon { lateness: self.lateness, unsettled_max: UNSETTLED_MAX }
    }

    /// The version that a document, or what is merged into one, has at the rule's path.
    ///
    /// # Errors
    /// It has none, or one that is none.
    pub fn version_of(&self, document: &Object) -> Result<i64, VersionError> {
        let found = self.path.find_in(document);
        read_version(found.ok_or_else(|| VersionError::Missing(self.path.clone()))?)
    }

    /// Refuses versions that are too far ahead of `now_micros`.
    ///
    /// # Errors
    /// This is one.
    pub fn check_future(&self, version: i64, now_micros: i64) -> Result<(), VersionError> {
        let Some(allowed) = self.max_future else { return Ok(()) };
        match u64::try_from(i128::from(version) - i128::from(now_micros)) {
            Ok(ahead) if ahead > allowed => Err(VersionError::Future { ahead, allowed }),
            _ => Ok(()),
        }
    }
}

/// The version that a value is.
///
/// # Errors
/// It is none.
pub fn read_version(value: &Value) -> Result<i64, VersionError> {
    match value {
        Value::Int(version) | Value::Timestamp(version) => Ok(*version),
        Value::String(text) => {
            let utc: Tz = "+00:00".parse().expect("it is an offset");
            let time = string_to_datetime(&utc, text).map_err(|_| VersionError::NotOne(format!("{text:?}")))?;
            Ok(time.timestamp_micros())
        }
        other => Err(VersionError::NotOne(format!("a {}", other.value_type().name()))),
    }
}

#[cfg(test)]
mod tests {
    use super::{Value, VersionError, VersionRule, read_version};
    use crate::value::Object;

    #[test]
    fn integers_and_times_are_versions() {
        assert_eq!(read_version(&Value::Int(-7)), Ok(-7));
        assert_eq!(read_version(&Value::Timestamp(7)), Ok(7));
        assert_eq!(read_version(&Value::String("1970-01-01T00:00:01.000002Z".into())), Ok(1_000_002));
        assert_eq!(read_version(&Value::String("1970-01-01T01:00:00+01:00".into())), Ok(0));
        for none in [Value::Null, Value::Float(1.0), Value::String("seven".into()), Value::String(String::new())] {
            assert!(matches!(read_version(&none), Err(VersionError::NotOne(_))), "{none:?}");
        }
    }

    #[test]
    fn versions_are_found_and_bounded() {
        let rule = VersionRule { path: "a.v".parse().expect("a path"), lateness: None, max_future: Some(10) };
        let inner = |value| Object::from([("a".into(), Value::Object(Object::from([("v".into(), value)])))]);
        assert_eq!(rule.version_of(&inner(Value::Int(3))), Ok(3));
        assert_eq!(rule.version_of(&Object::new()), Err(VersionError::Missing(rule.path.clone())));
        assert_eq!(rule.check_future(110, 100), Ok(()));
        assert_eq!(rule.check_future(111, 100), Err(VersionError::Future { ahead: 11, allowed: 10 }));
        assert_eq!(rule.check_future(i64::MIN, i64::MAX), Ok(()));
    }
}
