//! The Kafka log: the shard logs of a cluster, in Apache Kafka.
//!
//! In come records of many shards, concurrently, from many processes; out come durable positions, and the records again.
//! A collection is a topic, a shard is a partition, a record is a message without key, and its position is its offset.
//! It owns the topics of its prefix. What a node does when the brokers are away, or a topic was replaced, is left to it.
//!
//! ```text
//!            entrance, one                queue_bytes_max        <prefix>.meta   which topic is whose
//!            for each topic              ┌──────────┐           ┌──────────────────────────┐
//!  append ──────────────────────────────▶│ producer │──────────▶│ <prefix>.c<collection>   │ partition = shard
//!                 │ first time: open     └──────────┘ acks=all  └──────────────────────────┘
//!                 ▼                                                    │ fetch_bytes_max
//!            ┌──────────┐  registry    truncate: DeleteRecords         ▼
//!            │ topic    │  settings   ┌─────────┐              ┌──────────┐  reader_bytes_max ┌────────┐
//!            │ id       │◀────────────│ brokers │              │ readers  │──────────────────▶│ cursor │──▶ next
//!            └──────────┘  watch      └─────────┘              └──────────┘                   └────────┘
//! ```
//!
//! **Never twice.** The producer is idempotent and retries until a record's fate is known; it never gives one up, for
//! after that librdkafka goes on under a new epoch, under which the brokers cannot tell what they had taken before. An
//! append gives up *waiting* after `append_timeout`: its record may come into the log later.
//!
//! **Never another log.** Kafka names topics, and a name can be given again. So each topic's id is recorded in the
//! registry when its collection is created, and compared when it is opened, at each opening of a reader, before each
//! truncation, and every `identity_check_interval`. Positions that go back or are left out are errors besides. What is
//! not noticed: a topic deleted, made again and filled beyond a reader's position, for that interval; and a registry
//! that was deleted together with all other topics, other than by the incarnation that manifests name.
//!
//! **A start may go back** if all replicas of a partition crash at once: brokers note truncations once a minute. Records
//! come back then; none is lost.
//!
//! **While brokers are away** readers wait, and go on by themselves; whatever else is asked says [`LogError::Unavailable`]
//! in time. The brokers' user needs Create, Describe, DescribeConfigs, Read, Write and Delete on the prefix's topics, and
//! Read on the group of the prefix's name.
//!
//! Modules, in the order of the data: settings; the way in (`topic`, `registry`, `producer`); the brokers (`client`,
//! `topic_id`, `brokers`, `settings`); the way out (`readers`, `cursor`); and what holds them together (`shared`,
//! `watch`).

mod brokers;
mod client;
mod config;
mod cursor;
mod producer;
mod readers;
mod registry;
mod settings;
mod shared;
mod topic;
mod topic_id;
mod watch;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::task::AbortHandle;

use super::{LogError, LogIncarnation, LogReader, ShardLog};
use crate::id::{CollectionId, ShardId};
use crate::position::LogPosition;
use brokers::off_thread;
use cursor::KafkaCursor;
use registry::{Entry, REGISTRY};
use shared::{Life, Shared};
use topic::Opened;

pub use client::Context as KafkaContext;
pub use config::KafkaLogConfig;
pub use topic_id::topic_ids;

/// A [`ShardLog`] in Apache Kafka; see the module for how it works.
///
/// Collections are created with [`KafkaLog::create_collection`] before they are used; any process may do so, any number
/// of times. End it with [`KafkaLog::close`], or lose the answers to appends under way. Dropping it blocks nobody: its
/// clients end on threads of their own.
pub struct KafkaLog {
    shared: Arc<Shared>,
    incarnation: LogIncarnation,
    watch: AbortHandle,
}

impl fmt::Debug for KafkaLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("KafkaLog");
        debug.field("config", &self.shared.config).field("incarnation", &self.incarnation).finish_non_exhaustive()
    }
}

impl KafkaLog {
    /// Opens the log of the configuration's prefix, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// [`LogError::Setting`], [`LogError::Refused`], [`LogError::Unavailable`], and [`LogError::TopicSetting`] if the
    /// registry's topic is not fit.
    pub async fn open(config: KafkaLogConfig) -> Result<KafkaLog, LogError> {
        config.check()?;
        let interval = config.identity_check_interval;
        let shared = Arc::new(off_thread(move || Shared::new(config)).await??);
        let registry = shared.topic(REGISTRY);
        let (incarnation, record_bytes_max) = shared.make(&registry, 1).await?;
        registry.open(Opened::new(incarnation, 1, record_bytes_max))?;
        let watch = tokio::spawn(watch::watch(Arc::downgrade(&shared), interval)).abort_handle();
        Ok(KafkaLog { shared, incarnation, watch })
    }

    /// Creates the topic of a collection, with one partition for each shard, and records it. One that exists is checked.
    ///
    /// # Errors
    ///
    /// [`LogError::TopicSetting`] if a topic of that name is not fit, [`LogError::MissingTopic`] or
    /// [`LogError::OtherIncarnation`] if the one recorded is gone, [`LogError::Setting`] if the collection's number or
    /// shard count cannot be, [`LogError::Unavailable`] and [`LogError::Refused`].
    pub async fn create_collection(&self, collection: CollectionId, shards: u16) -> Result<(), LogError> {
        if collection == REGISTRY {
            let rule = "the log keeps that number to itself";
            return Err(LogError::Setting { setting: "collection", value: u64::from(collection.0), rule });
        }
        if shards == 0 {
            return Err(LogError::Setting { setting: "shards", value: 0, rule: "it must be above 0" });
        }
        let (shared, topic) = (&self.shared, self.shared.topic(collection));
        let recorded = shared.registry.find(shared, collection).await?;
        if let Some(recorded) = recorded {
            topic.compare(recorded.id, shared.id(&topic).await?)?;
        }
        let (id, record_bytes_max) = shared.make(&topic, shards).await?;
        let recorded = match recorded {
            Some(recorded) => recorded,
            None => shared.registry.record(shared, Entry { collection, shards, id }).await?,
        };
        topic.compare(recorded.id, Some(id.0))?;
        if recorded.shards != shards {
            let (topic, found) = (topic.name.clone(), recorded.shards.to_string());
            let rule = format!("it is asked to have {shards}");
            let remedy = "a collection keeps its shard count; replay it into another collection".to_owned();
            return Err(LogError::TopicSetting { topic, setting: "shards", found, rule, remedy });
        }
        topic.open(Opened::new(id, shards, record_bytes_max))?;
        Ok(())
    }

    /// Closes the log: refuses appends from now on, waits for those under way, for as long as `append_timeout`, and then
    /// lets readers read to the end. Closing again changes nothing.
    ///
    /// # Errors
    ///
    /// [`LogError::Unavailable`] if the brokers did not acknowledge all in time.
    pub async fn close(&self) -> Result<(), LogError> {
        self.shared.advance(Life::Closing);
        self.watch.abort();
        // Whoever had entered before has sent its record; the others find the log closing.
        for topic in self.shared.topics() {
            drop(topic.entrance.lock().await);
        }
        let flushed = self.shared.producer.flush(self.shared.config.append_timeout).await;
        self.shared.advance(Life::Closed);
        flushed
    }
}

#[async_trait]
impl ShardLog for KafkaLog {
    async fn append(&self, shard: ShardId, record: Bytes) -> Result<LogPosition, LogError> {
        self.shared.append(shard, record).await
    }

    async fn read(&self, shard: ShardId, from: LogPosition) -> Result<LogReader, LogError> {
        let topic = self.shared.topic(shard.collection);
        Ok(LogReader::new(KafkaCursor::new(&self.shared, &topic, shard, from.0).await?))
    }

    async fn end(&self, shard: ShardId) -> Result<LogPosition, LogError> {
        let topic = self.shared.topic(shard.collection);
        Ok(LogPosition(self.shared.bounds(&topic, shard).await?.end))
    }

    async fn start(&self, shard: ShardId) -> Result<LogPosition, LogError> {
        let topic = self.shared.topic(shard.collection);
        Ok(LogPosition(self.shared.bounds(&topic, shard).await?.start))
    }

    async fn truncate(&self, shard: ShardId, below: LogPosition) -> Result<(), LogError> {
        let topic = self.shared.topic(shard.collection);
        let bounds = self.shared.verified_bounds(&topic, shard).await?;
        if below.0 > bounds.end {
            return Err(LogError::PastEnd { shard, asked: below, end: LogPosition(bounds.end) });
        }
        if below.0 <= bounds.start {
            return Ok(());
        }
        self.shared.brokers.delete_below(&topic.name, shard.shard, below.0).await
    }

    fn incarnation(&self) -> LogIncarnation {
        self.incarnation
    }
}

impl Drop for KafkaLog {
    fn drop(&mut self) {
        self.watch.abort();
    }
}
