//! Sources: where a collection's data comes from, beside writes.
//!
//! In: what a client asked for. Out: settings as they are kept, who reads a source, and from where. Reading is the tailer's.

use std::collections::BTreeMap;
use std::fmt;

use datafusion::arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use serde::{Deserialize, Serialize};

use crate::id::{CollectionId, Epoch, SourceId};
use crate::value::calendar::ShownTimestamp;

/// Where a source that was never read begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SourceStart {
    /// With the oldest record there is.
    Earliest,
    /// With the first record that comes after the source was made.
    Latest,
    /// With the first record at or after a time, in microseconds since 1970.
    At(i64),
}

impl TryFrom<String> for SourceStart {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            time => string_to_timestamp_nanos(time).map(|nanos| Self::At(nanos.div_euclid(1000))).map_err(|_| {
                format!("{text:?} is no start; there are earliest, latest, and times like 2026-01-31T12:00:00Z")
            }),
        }
    }
}

impl fmt::Display for SourceStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Earliest => f.write_str("earliest"),
            Self::Latest => f.write_str("latest"),
            Self::At(micros) => write!(f, "{}", ShownTimestamp(*micros)),
        }
    }
}

impl From<SourceStart> for String {
    fn from(start: SourceStart) -> Self {
        start.to_string()
    }
}

/// What a source may say about its connections, as librdkafka names it: how they are secured, and from where they come. None
/// of it reads a file of the server or loads code.
const KAFKA_PROPERTIES: [&str; 11] = [
    "client.rack",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "ssl.ca.pem",
    "ssl.certificate.pem",
    "ssl.endpoint.identification.algorithm",
    "ssl.key.password",
    "ssl.key.pem",
];

/// More about the connections to Kafka. Shows no values: there are passwords among them.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KafkaProperties(BTreeMap<String, String>);

impl KafkaProperties {
    /// Takes properties by name.
    ///
    /// # Errors
    /// One of them may not be given.
    pub fn new(properties: BTreeMap<String, String>) -> Result<Self, String> {
        match properties.keys().find(|name| !KAFKA_PROPERTIES.contains(&name.as_str())) {
            Some(name) => Err(format!("a source has no property {name:?}; there are {}", KAFKA_PROPERTIES.join(", "))),
            None => Ok(Self(properties)),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// Their names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &String)> {
        self.0.iter()
    }
}

impl fmt::Debug for KafkaProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// What is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum SourceSettings {
    /// A Kafka topic of JSON records.
    Kafka {
        /// The brokers to ask first: `host:port`, with commas between.
        brokers: String,
        /// The topic.
        topic: String,
        /// Where it begins.
        start: SourceStart,
        /// More about the connections.
        #[serde(default, skip_serializing_if = "KafkaProperties::is_empty")]
        properties: KafkaProperties,
    },
}

/// A tailer's claim to be the one that reads a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Higher than those of all earlier claims.
    pub epoch: Epoch,
    /// The number that the tailer drew at its start.
    pub claimant: u64,
}

/// The offsets with which reading began, partition by partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beginning {
    /// The life of the source that they belong to: 32 hexadecimal digits.
    pub incarnation: String,
    /// Of partitions 0, 1, 2, …; one that was not there yet begins with 0.
    pub offsets: Vec<u64>,
}

/// A source of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its number.
    pub id: SourceId,
    /// The collection it feeds.
    pub collection: CollectionId,
    /// Its name, in the collection.
    pub name: String,
    /// What is read.
    pub settings: SourceSettings,
    /// Whether reading rests.
    pub paused: bool,
    /// Who reads it; none until a tailer found it.
    pub claim: Option<Claim>,
    /// Where reading began; none until then.
    pub beginning: Option<Beginning>,
}

#[cfg(test)]
mod tests {
    use super::{KafkaProperties, SourceStart};

    #[test]
    fn properties_are_chosen_and_secret() {
        let of = |name: &str| KafkaProperties::new([(name.to_string(), "hunter2".to_string())].into());
        let shown = format!("{:?}", of("sasl.password").expect("it may be given"));
        assert!(shown.contains("sasl.password") && !shown.contains("hunter2"), "{shown}");
        for name in ["ssl.ca.location", "plugin.library.paths", "sasl.kerberos.kinit.cmd", "group.id", "debug"] {
            assert!(of(name).is_err(), "{name}");
        }
    }

    #[test]
    fn starts_are_written_as_read() {
        for text in ["earliest", "latest", "2026-01-31T12:00:00.000000Z"] {
            let start = SourceStart::try_from(text.to_string()).expect("it is a start");
            assert_eq!(start.to_string(), text);
        }
        assert_eq!(SourceStart::try_from("1970-01-01T00:00:01Z".to_string()), Ok(SourceStart::At(1_000_000)));
        assert!(SourceStart::try_from("soon".to_string()).is_err());
    }
}
