//! What the log, its cursors and its watch have in common: the clients, the topics, and how a topic is opened.
//!
//! In come collections and shards; out come opened topics, positions and bounds that were checked against what this
//! process knows. It owns the clients and the list of topics. The interface is left to the log.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

use super::super::{LogError, LogIncarnation};
use super::KafkaLogConfig;
use super::brokers::{Bounds, Brokers};
use super::client::Context;
use super::producer::{APPEND, Outcome, Producer};
use super::readers::Readers;
use super::registry::Registry;
use super::settings;
use super::topic::{Opened, Topic};
use crate::id::{CollectionId, ShardId};

/// How often a topic that was just made is looked for: brokers learn of it one after another.
const APPEARANCE_INTERVAL: Duration = Duration::from_millis(20);

/// How a log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Life {
    Open,
    /// No append is let in any more; earlier ones are on their way.
    Closing,
    /// The fate of every append is known, or was waited for in vain.
    Closed,
}

/// The parts of a log.
pub(super) struct Shared {
    pub(super) config: KafkaLogConfig,
    pub(super) brokers: Brokers,
    pub(super) producer: Producer,
    pub(super) readers: Readers,
    pub(super) registry: Registry,
    topics: Mutex<HashMap<CollectionId, Arc<Topic>>>,
    life: watch::Sender<Life>,
}

impl Shared {
    /// Makes the clients; asks nothing. Blocks for as long as making threads takes.
    pub(super) fn new(config: KafkaLogConfig) -> Result<Shared, LogError> {
        let context = Context::default();
        let brokers = Brokers::new(&config, &context)?;
        let producer = Producer::new(&config, &context)?;
        let readers = Readers::new(&config, &context);
        let (topics, life) = (Mutex::default(), watch::Sender::new(Life::Open));
        Ok(Shared { config, brokers, producer, readers, registry: Registry::default(), topics, life })
    }

    /// Returns what clients say and fail with.
    pub(super) fn context(&self) -> &Context {
        self.brokers.context()
    }

    /// Returns a place to wait for the log's end.
    pub(super) fn life(&self) -> watch::Receiver<Life> {
        self.life.subscribe()
    }

    /// Moves the log towards its end.
    pub(super) fn advance(&self, life: Life) {
        self.life.send_if_modified(|now| std::mem::replace(now, life.max(*now)) < life);
    }

    /// Returns the topic of a collection, whether or not there is one. Does not wait.
    pub(super) fn topic(&self, collection: CollectionId) -> Arc<Topic> {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let topic = topics.entry(collection).or_insert_with(|| Arc::new(Topic::new(&self.config, collection)));
        Arc::clone(topic)
    }

    /// Returns all topics that were asked for.
    pub(super) fn topics(&self) -> Vec<Arc<Topic>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Returns what is known of a topic; at the first time, checks that it is the one recorded, and fit to be a log.
    ///
    /// # Errors
    ///
    /// [`LogError::MissingTopic`], [`LogError::OtherIncarnation`], [`LogError::TopicSetting`], why the topic was stopped,
    /// and those of asking the brokers.
    pub(super) async fn open<'t>(self: &Arc<Self>, topic: &'t Topic) -> Result<&'t Opened, LogError> {
        if let Some(opened) = topic.opened()? {
            return Ok(opened);
        }
        // Boxed, as reading the registry opens the registry's topic, which is open already.
        let recorded = Box::pin(self.registry.find(self, topic.collection)).await?;
        let Some(recorded) = recorded else {
            return Err(LogError::MissingTopic { collection: topic.collection, topic: topic.name.clone() });
        };
        self.verify(topic, recorded.id).await?;
        let record_bytes_max = self.check(topic, recorded.shards).await?;
        topic.open(Opened::new(recorded.id, recorded.shards, record_bytes_max))
    }

    /// Makes a topic if it is not there, checks that it is fit to be a log, and returns its id and its largest record.
    ///
    /// # Errors
    ///
    /// [`LogError::TopicSetting`], and those of asking the brokers.
    pub(super) async fn make(&self, topic: &Topic, shards: u16) -> Result<(LogIncarnation, u64), LogError> {
        if self.id(topic).await?.is_none() {
            let brokers = self.brokers.shape(&topic.name).await?.brokers;
            let replicas = brokers.clamp(1, usize::from(self.config.replicas));
            let settings = settings::settings_of_new(replicas, self.config.record_bytes_max);
            self.brokers.create_topic(&topic.name, shards, replicas, &settings).await?;
        }
        let id = self.appearance(topic).await?;
        Ok((id, self.check(topic, shards).await?))
    }

    /// Waits until the brokers show a topic, and returns its id.
    async fn appearance(&self, topic: &Topic) -> Result<LogIncarnation, LogError> {
        let deadline = Instant::now() + self.config.request_timeout;
        loop {
            let partitions = self.brokers.shape(&topic.name).await?.partitions;
            match self.id(topic).await? {
                Some(id) if partitions > 0 => return Ok(LogIncarnation(id)),
                _ if Instant::now() < deadline => tokio::time::sleep(APPEARANCE_INTERVAL).await,
                _ => return Err(self.context().unavailable("create topic", &topic.name, "the brokers do not show it")),
            }
        }
    }

    /// Returns a topic's id now; none if there is no such topic.
    pub(super) async fn id(&self, topic: &Topic) -> Result<Option<u128>, LogError> {
        Ok(self.brokers.topic_ids(vec![topic.name.clone()]).await?.pop().flatten())
    }

    /// Checks that a topic is still the one that it was; if not, it is stopped.
    async fn verify(&self, topic: &Topic, own: LogIncarnation) -> Result<(), LogError> {
        topic.compare(own, self.id(topic).await?)
    }

    async fn check(&self, topic: &Topic, shards: u16) -> Result<u64, LogError> {
        let shape = self.brokers.shape(&topic.name).await?;
        let (batch_bytes_max, record_bytes_max) = (self.config.batch_bytes_max, self.config.record_bytes_max);
        settings::check(&topic.name, &shape, shards, batch_bytes_max, record_bytes_max)
    }

    /// Returns a shard's bounds now.
    ///
    /// # Errors
    ///
    /// [`LogError::NoSuchShard`], [`LogError::LostRecords`] if it ends below what was acknowledged, those of
    /// [`Shared::open`] and of asking the brokers.
    pub(super) async fn bounds(self: &Arc<Self>, topic: &Topic, shard: ShardId) -> Result<Bounds, LogError> {
        let opened = self.open(topic).await?;
        in_range(topic, opened, shard)?;
        let acknowledged_end = opened.acknowledged_end(shard.shard);
        let bounds = self.brokers.bounds(&topic.name, shard.shard).await?;
        match bounds.end < acknowledged_end {
            true => Err(topic.lost(shard, bounds.end, acknowledged_end)),
            false => Ok(bounds),
        }
    }

    /// As [`Shared::bounds`], of a topic that was just found to be the log's still: for what must not be mistaken.
    pub(super) async fn verified_bounds(self: &Arc<Self>, topic: &Topic, shard: ShardId) -> Result<Bounds, LogError> {
        let own = self.open(topic).await?.id;
        self.verify(topic, own).await?;
        self.bounds(topic, shard).await
    }

    /// Appends a record; the order is that of the first polls.
    ///
    /// # Errors
    ///
    /// Those of [`super::super::ShardLog::append`].
    pub(super) async fn append(self: &Arc<Self>, shard: ShardId, record: Bytes) -> Outcome {
        let topic = self.topic(shard.collection);
        let timeout = self.config.append_timeout;
        match tokio::time::timeout(timeout, self.enter(&topic, shard, record)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let cause = format!("not acknowledged within {timeout:?}");
                Err(self.context().unavailable(APPEND, &topic.name, &cause))
            }
        }
    }

    async fn enter(self: &Arc<Self>, topic: &Arc<Topic>, shard: ShardId, record: Bytes) -> Outcome {
        let answered = {
            // Unconstrained, as a task that has used up its turn would otherwise not get its place in the queue.
            let _first = tokio::task::unconstrained(topic.entrance.lock()).await;
            if *self.life.borrow() != Life::Open {
                return Err(LogError::Closed);
            }
            let opened = self.open(topic).await?;
            in_range(topic, opened, shard)?;
            let (bytes, bytes_max) = (record.len() as u64, opened.record_bytes_max);
            if bytes > bytes_max {
                return Err(LogError::RecordTooLarge { shard, bytes, bytes_max });
            }
            let room = self.producer.room(bytes).await;
            self.producer.restore().await?;
            self.producer.send(topic, shard, &record, room)?
        };
        drop(record);
        match answered.await {
            Ok(outcome) => outcome,
            Err(_) => Err(self.context().unavailable(APPEND, &topic.name, "the producer has ended")),
        }
    }

    /// Compares the ids of all topics in use with those that they had; see `watch`.
    pub(super) async fn compare_all(&self) {
        let opened = |topic: Arc<Topic>| {
            let own = topic.opened().ok()??.id;
            Some((topic, own))
        };
        let topics: Vec<_> = self.topics().into_iter().filter_map(opened).collect();
        let names = topics.iter().map(|(topic, _)| topic.name.clone()).collect();
        let ids = match self.brokers.topic_ids(names).await {
            Ok(ids) => ids,
            Err(error) => return tracing::warn!(%error, "the topics could not be compared with those of the log"),
        };
        for ((topic, own), found) in topics.iter().zip(ids) {
            if let Err(error) = topic.compare(*own, found) {
                tracing::error!(%error, collection = topic.collection.0, "a topic is not the log's any more");
            }
        }
    }
}

fn in_range(topic: &Topic, opened: &Opened, shard: ShardId) -> Result<(), LogError> {
    match shard.shard < opened.shards {
        true => Ok(()),
        false => Err(LogError::NoSuchShard { shard, topic: topic.name.clone(), shards: opened.shards }),
    }
}
