//! A topic that is read: its life, its bounds, and the records of its partitions.
//!
//! In: brokers and a name. Out: records in the order of their offsets, partition by partition, from any offset on. Partitions
//! are assigned, never subscribed to, and nothing is committed: where to go on is in the shards. What a record means is left
//! to `items`.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use basalt_common::catalog::KafkaProperties;
use basalt_common::log::{KafkaContext, topic_ids};
use bytes::Bytes;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use thiserror::Error;
use tokio::sync::Notify;

/// Longest that a question to the brokers takes.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a client that nobody reads from any more looks whether it may end.
const ATTENDANCE_INTERVAL: Duration = Duration::from_millis(200);

/// The most records that are taken at once.
const RECORDS_MAX: usize = 8192;

/// The most bytes of records that are taken at once, unless a single one is larger.
const BYTES_MAX: usize = 8 << 20;

/// The header that says what a record does; an upsert, without it.
const OPERATION_HEADER: &str = "basalt-operation";

/// The header that says the version of a delete, in a collection with versions.
const VERSION_HEADER: &str = "basalt-version";

/// A topic cannot be read.
#[derive(Debug, Error)]
pub enum TopicError {
    /// There is no such topic.
    #[error("there is no topic {0}; make it, or correct the name")]
    Missing(String),
    /// The brokers did not do it.
    #[error("failed to {action} topic {topic}: {cause}")]
    Kafka {
        /// What failed.
        action: &'static str,
        /// On which topic.
        topic: String,
        /// How.
        cause: String,
    },
}

/// One life of a topic: one that is deleted and made again has another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// The topic's id.
    pub incarnation: u128,
    /// How many partitions it has.
    pub partitions: u32,
}

/// A record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Its place in its partition.
    pub offset: u64,
    /// When it was written, in microseconds since 1970, if that is known.
    pub written_micros: Option<i64>,
    /// What it does.
    pub operation: Option<String>,
    /// Its version, where a header says one.
    pub version: Option<String>,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value; none in a tombstone.
    pub value: Option<Bytes>,
}

impl Record {
    fn read(message: &BorrowedMessage<'_>) -> Self {
        let header = |name: &str| {
            let header = message.headers()?.iter().find(|header| header.key == name)?;
            header.value.map(|text| String::from_utf8_lossy(text).into_owned())
        };
        Self {
            offset: u64::try_from(message.offset()).unwrap_or_default(),
            written_micros: message.timestamp().to_millis().map(|millis| millis.saturating_mul(1000)),
            operation: header(OPERATION_HEADER),
            version: header(VERSION_HEADER),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(Bytes::copy_from_slice),
        }
    }

    fn bytes(&self) -> usize {
        self.key.as_ref().map_or(0, Vec::len) + self.value.as_ref().map_or(0, Bytes::len)
    }
}

/// A topic.
pub struct Topic {
    name: String,
    context: KafkaContext,
    consumer: Arc<BaseConsumer<KafkaContext>>,
    ended: Arc<AtomicBool>,
}

impl Topic {
    /// Makes the client; asks nothing.
    ///
    /// # Errors
    /// librdkafka does not take the brokers or a property, or there is no thread left.
    pub fn open(brokers: &str, name: &str, properties: &KafkaProperties) -> Result<Self, TopicError> {
        let mut config = ClientConfig::new();
        for (name, value) in properties.iter() {
            config.set(name, value);
        }
        config.set("bootstrap.servers", brokers).set("client.id", "basalt-source").set("group.id", "basalt-source");
        config.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
        config.set("isolation.level", "read_committed").set("auto.offset.reset", "error").set("check.crcs", "true");
        config.set("allow.auto.create.topics", "false").set("fetch.wait.max.ms", "50");
        config.set("fetch.queue.backoff.ms", "2").set("queued.max.messages.kbytes", "16384");
        config.set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "1000");
        let context = KafkaContext::default();
        let failed = |cause: String| TopicError::Kafka { action: "make a client for", topic: name.into(), cause };
        let consumer = BaseConsumer::from_config_and_context(&config, context.clone());
        let (consumer, ended) =
            (consumer.map_err(|error| failed(error.to_string()))?, Arc::new(AtomicBool::new(false)));
        let consumer = Arc::new(consumer);
        let (attended, told) = (Arc::clone(&consumer), Arc::clone(&ended));
        let thread = std::thread::Builder::new().name("basalt-source".to_owned()).spawn(move || {
            // Ends last, since the end of a client blocks.
            while !told.load(Ordering::Acquire) || Arc::strong_count(&attended) > 1 {
                // Serves the client's events; records go to the queues of their partitions.
                drop(attended.poll(ATTENDANCE_INTERVAL));
            }
        });
        thread.map_err(|error| failed(error.to_string()))?;
        Ok(Self { name: name.into(), context, consumer, ended })
    }

    /// What the topic is now.
    ///
    /// # Errors
    /// There is none, or the brokers do not answer.
    pub async fn life(&self) -> Result<Life, TopicError> {
        let name = self.name.clone();
        let asked = move |consumer: &BaseConsumer<KafkaContext>| {
            let ids = topic_ids(consumer.client(), std::slice::from_ref(&name), REQUEST_TIMEOUT)?;
            let metadata = consumer.fetch_metadata(Some(&name), REQUEST_TIMEOUT)?;
            let partitions = metadata.topics().iter().find(|topic| topic.name() == name);
            Ok((ids.first().copied().flatten(), partitions.map_or(0, |topic| topic.partitions().len())))
        };
        match self.ask("find", asked).await? {
            (Some(incarnation), partitions @ 1..) => Ok(Life { incarnation, partitions: partitions as u32 }),
            _ => Err(TopicError::Missing(self.name.clone())),
        }
    }

    /// The offset of a partition's oldest record, and the one that its next will have.
    ///
    /// # Errors
    /// The brokers do not answer.
    pub async fn bounds(&self, partition: u32) -> Result<(u64, u64), TopicError> {
        let name = self.name.clone();
        let asked = move |consumer: &BaseConsumer<KafkaContext>| {
            consumer.fetch_watermarks(&name, partition as i32, REQUEST_TIMEOUT)
        };
        let (start, end) = self.ask("find the bounds of", asked).await?;
        Ok((start.max(0) as u64, end.max(0) as u64))
    }

    /// The offset of a partition's first record at or after a time, or its end.
    ///
    /// # Errors
    /// The brokers do not answer.
    pub async fn offset_at(&self, partition: u32, micros: i64) -> Result<u64, TopicError> {
        let name = self.name.clone();
        let asked = move |consumer: &BaseConsumer<KafkaContext>| {
            let mut wanted = TopicPartitionList::new();
            // Rounded up: no record before the time.
            let millis = Offset::Offset(micros.div_euclid(1000) + i64::from(micros.rem_euclid(1000) > 0));
            wanted.add_partition_offset(&name, partition as i32, millis)?;
            let found = consumer.offsets_for_times(wanted, REQUEST_TIMEOUT)?;
            Ok(found.elements().first().map(|element| element.offset()))
        };
        match self.ask("find a time in", asked).await? {
            Some(Offset::Offset(offset)) if offset >= 0 => Ok(offset as u64),
            _ => Ok(self.bounds(partition).await?.1),
        }
    }

    /// Reads a partition from an offset on. One reader a partition.
    ///
    /// # Errors
    /// The brokers do not answer.
    pub async fn read(self: &Arc<Self>, partition: u32, from: u64) -> Result<PartitionReader, TopicError> {
        let arrived = Arc::new(Notify::new());
        let queue = self.consumer.split_partition_queue(&self.name, partition as i32);
        let mut queue = queue.ok_or_else(|| TopicError::Missing(self.name.clone()))?;
        let notified = Arc::clone(&arrived);
        queue.set_nonempty_callback(move || notified.notify_one());
        let name = self.name.clone();
        let asked = move |consumer: &BaseConsumer<KafkaContext>| {
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(&name, partition as i32, Offset::Offset(from as i64))?;
            consumer.incremental_assign(&list)
        };
        self.ask("read", asked).await?;
        Ok(PartitionReader { topic: Arc::clone(self), queue, arrived })
    }

    /// Asks the brokers, off the async threads.
    async fn ask<T: Send + 'static>(
        &self,
        action: &'static str,
        asked: impl FnOnce(&BaseConsumer<KafkaContext>) -> KafkaResult<T> + Send + 'static,
    ) -> Result<T, TopicError> {
        let consumer = Arc::clone(&self.consumer);
        let answer = tokio::task::spawn_blocking(move || asked(&consumer)).await;
        let answer = answer.unwrap_or(Err(KafkaError::Canceled));
        answer.map_err(|error| self.failure(action, &error))
    }

    fn failure(&self, action: &'static str, error: &KafkaError) -> TopicError {
        let cause = match self.context.heard() {
            Some(heard) => format!("{error} (last error heard of the brokers: {heard})"),
            None => error.to_string(),
        };
        TopicError::Kafka { action, topic: self.name.clone(), cause }
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
    }
}

/// The records of one partition, as they come.
pub struct PartitionReader {
    topic: Arc<Topic>,
    queue: PartitionQueue<KafkaContext>,
    arrived: Arc<Notify>,
}

impl PartitionReader {
    /// The next records: waits for one, and takes what is there behind it, up to [`RECORDS_MAX`] and [`BYTES_MAX`].
    ///
    /// # Errors
    /// The partition cannot be read on.
    pub async fn records(&mut self) -> Result<Vec<Record>, TopicError> {
        let mut records = Vec::new();
        let mut bytes = 0;
        loop {
            // A message that was fetched holds its client, so it may not be held while waiting.
            while self.take(&mut records, &mut bytes)?.is_continue() {}
            if !records.is_empty() {
                return Ok(records);
            }
            self.arrived.notified().await;
        }
    }

    fn take(&self, records: &mut Vec<Record>, bytes: &mut usize) -> Result<ControlFlow<()>, TopicError> {
        let full = records.len() == RECORDS_MAX || *bytes >= BYTES_MAX;
        let Some(message) = (if full { None } else { self.queue.poll(Duration::ZERO) }) else {
            return Ok(ControlFlow::Break(()));
        };
        let message = message.map_err(|error| self.topic.failure("read on in", &error))?;
        let record = Record::read(&message);
        *bytes += record.bytes();
        records.push(record);
        Ok(ControlFlow::Continue(()))
    }
}

#[cfg(test)]
mod tests {
    use super::{KafkaProperties, Topic};

    fn open(properties: &[(&str, &str)]) -> Result<(), String> {
        let properties = properties.iter().map(|(name, value)| ((*name).to_string(), (*value).to_string())).collect();
        let properties = KafkaProperties::new(properties)?;
        Topic::open("127.0.0.1:9", "t", &properties).map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn librdkafka_takes_secured_connections() {
        let user = [("sasl.username", "u"), ("sasl.password", "p")];
        let by = |protocol, mechanism| {
            [&user[..], &[("security.protocol", protocol), ("sasl.mechanism", mechanism)]].concat()
        };
        for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
            assert_eq!(open(&by("SASL_SSL", mechanism)), Ok(()), "{mechanism}");
        }
        let refused = open(&[("security.protocol", "SECRET")]).expect_err("there is no such protocol");
        assert!(refused.contains("security.protocol"), "{refused}");
    }
}
