//! How long a collection keeps its documents: for so long behind the event that each tells of.
//!
//! In: settings, values of the field that has a document's event time. Out: what applying and queries must know of the rule, which
//! travels in every batch and every scan: [`Retention`]. Owns what may be an event time. Queries see no document whose time is over by
//! their own clock; applying lets documents go by logged time, in steps, so that every replica lets go of the same at the same position.
//!
//! ```text
//! collection: event_time = at, retention = 64 days          batches logged on day 100.0, 100.5, 101.0
//! {"at": "1970-02-06T12:00:00Z"}  day 36.5                  queries: until day 100.5      applying: with the batch of day 101
//! ```

use serde::{Deserialize, Serialize};

use crate::id::FieldId;
use crate::schema::Schema;
use crate::value::{FieldPath, Value};
use crate::version::read_version;

/// Into so many steps a retention is divided: by so much of it documents may stay longer than they are seen.
const STEPS: u64 = 64;

/// The shortest step: each looks at all segments that have old documents.
const STEP_MICROS_MIN: u64 = 1_000_000;

/// A collection's rule, as its maker gives it and the catalog keeps it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionSettings {
    /// The path of the field that has a document's event time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_time: Option<String>,
    /// How long documents are kept behind it, in microseconds; for ever, without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micros: Option<u64>,
}

impl RetentionSettings {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A collection's rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionRule {
    /// The field.
    pub event_time: FieldPath,
    /// As in [`RetentionSettings`].
    pub micros: Option<u64>,
}

impl RetentionRule {
    /// What applying and queries must know of it; nothing where documents are kept for ever, or none has the field.
    pub fn retention(&self, schema: &Schema) -> Option<Retention> {
        Some(Retention { field: schema.find(self.event_time.keys())?, micros: self.micros? })
    }
}

/// How long documents are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// The field that has a document's event time.
    pub field: FieldId,
    /// How long it is kept behind that, in microseconds.
    pub micros: u64,
}

impl Retention {
    /// The documents that no query sees at a time.
    pub fn expired(self, now_micros: i64) -> Expired {
        Expired { field: self.field, below: now_micros.saturating_sub_unsigned(self.micros) }
    }

    /// The documents that are let go by a batch that was logged at a time.
    pub fn let_go(self, logged_at_micros: i64) -> Expired {
        let step = (self.micros / STEPS).max(STEP_MICROS_MIN);
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        let Expired { field, below } = self.expired(logged_at_micros);
        Expired { field, below: below.div_euclid(step).saturating_mul(step) }
    }
}

/// Documents whose time is over: those whose event time is lower. One without an event time stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expired {
    /// The field that has the event time.
    pub field: FieldId,
    /// In microseconds since 1970.
    pub below: i64,
}

/// The event time that a value is, in microseconds since 1970: a time as RFC 3339 writes it, or a count since 1970. What is counted
/// is told by the size, which tells seconds (below 10^11), milliseconds (10^14), microseconds (10^17) and nanoseconds apart for all times
/// from 1973 to 5138.
pub fn event_time(value: &Value) -> Option<i64> {
    match value {
        Value::Int(count) => Some(event_time_of_count(*count)),
        value => read_version(value).ok(),
    }
}

fn event_time_of_count(count: i64) -> i64 {
    match count.unsigned_abs() {
        0..100_000_000_000 => count * 1_000_000,
        100_000_000_000..100_000_000_000_000 => count * 1_000,
        100_000_000_000_000..100_000_000_000_000_000 => count,
        _ => count / 1_000,
    }
}

#[cfg(test)]
mod tests {
    use super::{FieldId, Retention, Value, event_time};

    const DAY: u64 = 86_400_000_000;

    #[test]
    fn times_are_told_apart() {
        let time = 1_795_000_000_000_000;
        for count in [time / 1_000_000, time / 1_000, time, time * 1_000] {
            assert_eq!(event_time(&Value::Int(count)), Some(time), "{count}");
        }
        assert_eq!(event_time(&Value::Int(-1)), Some(-1_000_000));
        assert_eq!(event_time(&Value::Int(i64::MIN)), Some(i64::MIN / 1_000));
        assert_eq!(event_time(&Value::Timestamp(7)), Some(7));
        assert_eq!(event_time(&Value::String("1970-01-01T01:00:00.5+01:00".into())), Some(500_000));
        for none in [Value::Null, Value::Float(1e12), Value::String("1795000000".into()), Value::Bool(true)] {
            assert_eq!(event_time(&none), None, "{none:?}");
        }
    }

    #[test]
    fn documents_go_in_steps_behind_queries() {
        let retention = Retention { field: FieldId(1), micros: 64 * DAY };
        let days = |days: f64| (days * DAY as f64) as i64;
        for (now, expired, gone) in
            [(100.0, 36.0, 36.0), (100.5, 36.5, 36.0), (101.0, 37.0, 37.0), (10.5, -53.5, -54.0)]
        {
            assert_eq!(retention.expired(days(now)).below, days(expired), "seen on day {now}");
            assert_eq!(retention.let_go(days(now)).below, days(gone), "kept on day {now}");
        }
        let forever = Retention { field: FieldId(1), micros: u64::MAX };
        assert_eq!(forever.expired(days(100.0)).below, i64::MIN);
        assert!(forever.let_go(days(100.0)).below < days(-1e6));
        let short = Retention { field: FieldId(1), micros: 1 };
        assert_eq!(short.let_go(1_999_999).below, 1_000_000);
    }
}
