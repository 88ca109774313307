//! The shard log of a cluster: a Kafka topic for each collection, made when it is first needed.
//!
//! In: the calls of [`ShardLog`]. Out: the same on the Kafka log, once the collection's topic is there with as many partitions
//! as the catalog says the collection has shards.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;

use crate::catalog::Catalog;
use crate::id::{CollectionId, ShardId};
use crate::log::{KafkaLog, KafkaLogConfig, LogError, LogIncarnation, LogReader, ShardLog};
use crate::position::LogPosition;

/// Where the log is, as a role's configuration says it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaSettings {
    /// The brokers to ask first: `host:port`, with commas between.
    pub brokers: String,
    /// What the names of the log's topics begin with: another one for each cluster that shares the brokers.
    pub prefix: String,
    /// More properties of the client library: security, tuning.
    #[serde(default)]
    pub properties: std::collections::BTreeMap<String, String>,
}

/// A Kafka log that knows the collections.
pub struct CollectionTopics {
    log: KafkaLog,
    catalog: Arc<dyn Catalog>,
    there: Mutex<HashSet<CollectionId>>,
}

impl fmt::Debug for CollectionTopics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CollectionTopics").finish_non_exhaustive()
    }
}

impl CollectionTopics {
    /// Opens the log.
    ///
    /// # Errors
    /// As [`KafkaLog::open`].
    pub async fn open(settings: KafkaSettings, catalog: Arc<dyn Catalog>) -> Result<Self, LogError> {
        let KafkaSettings { brokers, prefix, properties } = settings;
        let config = KafkaLogConfig { brokers, prefix, properties, ..KafkaLogConfig::default() };
        Ok(Self { log: KafkaLog::open(config).await?, catalog, there: Mutex::default() })
    }

    /// Makes the shard's topic if that is not known to be there.
    async fn prepare(&self, shard: ShardId) -> Result<(), LogError> {
        let known = self.there.lock().unwrap_or_else(PoisonError::into_inner).contains(&shard.collection);
        let state = self.catalog.state();
        let Some(collection) = state.collection(shard.collection).filter(|_| !known) else { return Ok(()) };
        self.log.create_collection(collection.id, collection.shards).await?;
        self.there.lock().unwrap_or_else(PoisonError::into_inner).insert(collection.id);
        Ok(())
    }
}

#[async_trait]
impl ShardLog for CollectionTopics {
    async fn append(&self, shard: ShardId, record: Bytes) -> Result<LogPosition, LogError> {
        self.prepare(shard).await?;
        self.log.append(shard, record).await
    }

    async fn read(&self, shard: ShardId, from: LogPosition) -> Result<LogReader, LogError> {
        self.prepare(shard).await?;
        self.log.read(shard, from).await
    }

    async fn end(&self, shard: ShardId) -> Result<LogPosition, LogError> {
        self.prepare(shard).await?;
        self.log.end(shard).await
    }

    async fn start(&self, shard: ShardId) -> Result<LogPosition, LogError> {
        self.prepare(shard).await?;
        self.log.start(shard).await
    }

    async fn truncate(&self, shard: ShardId, below: LogPosition) -> Result<(), LogError> {
        self.prepare(shard).await?;
        self.log.truncate(shard, below).await
    }

    fn incarnation(&self) -> LogIncarnation {
        self.log.incarnation()
    }
}
