//! The stream of `basalt generate` into a Kafka topic.
//!
//! In: operations. Out: records, keyed by `_id`, so that the operations of one document keep their order; the header
//! `basalt-operation` says what each does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, Message};

use crate::generate::Operation;

/// How long the brokers may take for what was sent.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);

/// Counts the records that were not delivered.
#[derive(Clone, Default)]
struct Deliveries(Arc<AtomicU64>);

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, record)) = result {
            tracing::warn!(%error, topic = record.topic(), "a record was not delivered");
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Sends records to a topic.
pub(crate) struct TopicSender {
    topic: String,
    producer: ThreadedProducer<Deliveries>,
    failed: Deliveries,
}

impl TopicSender {
    /// Makes the client; nothing is asked yet.
    pub(crate) fn new(brokers: &str, topic: &str) -> Result<Self> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("enable.idempotence", "true").set("linger.ms", "5");
        let failed = Deliveries::default();
        let producer = ThreadedProducer::from_config_and_context(&config, failed.clone()).context("--brokers")?;
        Ok(Self { topic: topic.into(), producer, failed })
    }

    /// Hands operations to the client, which sends them when it can; returns the bytes of their values. Waits where too many
    /// are on their way.
    pub(crate) async fn send(&self, operations: &[Operation]) -> Result<u64> {
        let mut bytes = 0;
        for operation in operations {
            let (id, kind, value) = match operation {
                Operation::Upsert { id, document } => (id, "upsert", Some(document)),
                Operation::Patch { id, patch } => (id, "patch", Some(patch)),
                Operation::Delete { id } => (id, "delete", None),
            };
            let headers = OwnedHeaders::new().insert(Header { key: "basalt-operation", value: Some(kind) });
            let mut record = BaseRecord::to(&self.topic).key(id).headers(headers);
            if let Some(value) = value {
                bytes += value.len() as u64;
                record = record.payload(value);
            }
            while let Err((error, again)) = self.producer.send(record) {
                if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                    bail!("the topic {} takes no records: {error}", self.topic);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
                record = again;
            }
        }
        Ok(bytes)
    }

    /// Waits until everything sent was delivered; returns how many records were not.
    pub(crate) fn finish(&self) -> Result<u64> {
        self.producer.flush(FLUSH_TIMEOUT).with_context(|| format!("the topic {}", self.topic))?;
        Ok(self.failed.0.load(Ordering::Relaxed))
    }
}
