//! Kafka as a source, through librdkafka: which library this program is linked with, and topics.

mod topic;

use rdkafka::config::ClientConfig;
use rdkafka::util::get_rdkafka_version;

pub use topic::{Life, PartitionReader, Record, Topic, TopicError};

/// The linked librdkafka, its version and the features it was built with: the first question when a broker refuses a client.
///
/// # Errors
/// The library was built without configuration support.
pub fn library() -> Result<String, rdkafka::error::KafkaError> {
    let (_, version) = get_rdkafka_version();
    let features = ClientConfig::new().create_native_config()?.get("builtin.features")?;
    Ok(format!("librdkafka {version} ({features})"))
}
