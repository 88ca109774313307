//! Questions to the brokers, and orders: which topics there are, what they are like, where their records begin and end.
//!
//! In come names and positions; out come answers, each within the `request_timeout`. It owns the client that asks. What
//! the answers mean for the log is left to those who ask; records go through `producer` and `readers`.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::Client;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::super::LogError;
use super::KafkaLogConfig;
use super::client::{Context, EndsElsewhere, code};
use super::settings::TopicShape;
use super::topic_id::topic_ids;

/// How long to wait before asking again for a partition that is on its way to another leader.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// What making a topic does, in errors.
const CREATE: &str = "create topic";

/// The positions of a shard: where its oldest record is, and where its next one will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) start: u64,
    pub(super) end: u64,
}

/// Asks the brokers.
pub(super) struct Brokers {
    admin: Arc<EndsElsewhere<AdminClient<Context>>>,
    context: Context,
    /// The calls that may still be made at once.
    calls: Arc<Semaphore>,
    request_timeout: Duration,
}

impl Brokers {
    /// Makes the client; nothing is asked yet. Blocks for as long as making threads takes.
    ///
    /// # Errors
    ///
    /// [`LogError::Refused`] if librdkafka does not take the properties.
    pub(super) fn new(config: &KafkaLogConfig, context: &Context) -> Result<Brokers, LogError> {
        let admin = AdminClient::from_config_and_context(&config.admin_client(), context.clone());
        let admin = admin.map_err(|error| context.failure("make a Kafka client for", &config.brokers, &error))?;
        let (admin, calls) = (Arc::new(EndsElsewhere::new(admin)), Arc::new(Semaphore::new(config.calls_max)));
        Ok(Brokers { admin, context: context.clone(), calls, request_timeout: config.request_timeout })
    }

    /// Returns what clients say and fail with.
    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    /// Returns the ids of topics, in the order of `topics`; none for one that does not exist.
    pub(super) async fn topic_ids(&self, topics: Vec<String>) -> Result<Vec<Option<u128>>, LogError> {
        let named = topics.join(", ");
        let timeout = self.request_timeout;
        let ids = self.blocking(move |client| topic_ids(client, &topics, timeout)).await?;
        let ids = ids.map_err(|error| self.context.failure("find the topics", &named, &error))?;
        if ids.contains(&Some(0)) {
            let cause = "the brokers give topics no ids; Apache Kafka 2.8 or later does".to_owned();
            return Err(LogError::Refused { action: "identify the topics", object: named, cause });
        }
        Ok(ids)
    }

    /// Makes a topic; one that exists already is left as it is.
    pub(super) async fn create_topic(
        &self,
        topic: &str,
        partitions: u16,
        replicas: usize,
        settings: &[(&'static str, String)],
    ) -> Result<(), LogError> {
        let replicas = TopicReplication::Fixed(i32::try_from(replicas).unwrap_or(i32::MAX));
        let new = NewTopic::new(topic, i32::from(partitions), replicas);
        let new = settings.iter().fold(new, |new, (name, value)| new.set(name, value));
        let options = self.options().operation_timeout(Some(self.request_timeout));
        let made = self.within(CREATE, topic, self.admin.create_topics([&new], &options)).await?;
        match made.into_iter().next() {
            Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(()),
            Some(Err((_, code))) => Err(self.context.failure_of(CREATE, topic, code)),
            None => Err(self.context.unavailable(CREATE, topic, "the brokers' answer is empty")),
        }
    }

    /// Returns what a topic is like; one that does not exist has no partitions and no settings.
    pub(super) async fn shape(&self, topic: &str) -> Result<TopicShape, LogError> {
        let shape = self.metadata(topic).await?;
        if shape.partitions == 0 {
            return Ok(shape);
        }
        let resource = ResourceSpecifier::Topic(topic);
        let action = "read the settings of topic";
        let described = self.within(action, topic, self.admin.describe_configs([&resource], &self.options())).await?;
        let described = match described.into_iter().next() {
            Some(Ok(described)) => described,
            Some(Err(code)) => return Err(self.context.failure_of(action, topic, code)),
            None => return Err(self.context.unavailable(action, topic, "the answer is empty")),
        };
        let settings = described.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect();
        Ok(TopicShape { settings, ..shape })
    }

    /// Asks for the brokers and a topic's partitions.
    async fn metadata(&self, topic: &str) -> Result<TopicShape, LogError> {
        let (name, timeout) = (topic.to_owned(), self.request_timeout);
        let asked = move |client: &Client<Context>| {
            let metadata = client.fetch_metadata(Some(&name), timeout)?;
            let of_topic = metadata.topics().iter().find(|other| other.name() == name);
            let partitions = of_topic.map_or(&[][..], |topic| topic.partitions());
            Ok(TopicShape {
                brokers: metadata.brokers().len(),
                partitions: partitions.len(),
                replicas: partitions.iter().map(|partition| partition.replicas().len()).min().unwrap_or(0),
                settings: Vec::new(),
            })
        };
        let shape = self.blocking(asked).await?;
        shape.map_err(|error| self.context.failure("read the partitions of topic", topic, &error))
    }

    /// Returns where a partition's records begin and end now.
    pub(super) async fn bounds(&self, topic: &str, partition: u16) -> Result<Bounds, LogError> {
        let action = "find the bounds of topic";
        let deadline = Instant::now() + self.request_timeout;
        loop {
            let (name, timeout) = (topic.to_owned(), deadline - Instant::now());
            let asked = move |client: &Client<Context>| client.fetch_watermarks(&name, i32::from(partition), timeout);
            match self.blocking(asked).await? {
                Ok((start, end)) => {
                    let missing = |_| self.context.unavailable(action, topic, "the brokers answer without them");
                    let start = u64::try_from(start).map_err(missing)?;
                    return Ok(Bounds { start, end: u64::try_from(end).map_err(missing)? });
                }
                Err(error) if moves(&error) && Instant::now() + RETRY_INTERVAL < deadline => {
                    tokio::time::sleep(RETRY_INTERVAL).await;
                }
                Err(error) => return Err(self.context.failure(action, topic, &error)),
            }
        }
    }

    /// Deletes a partition's records below `below`.
    pub(super) async fn delete_below(&self, topic: &str, partition: u16, below: u64) -> Result<(), LogError> {
        let action = "truncate topic";
        let mut list = TopicPartitionList::with_capacity(1);
        let below = Offset::Offset(i64::try_from(below).expect("the caller has checked it against the end"));
        let added = list.add_partition_offset(topic, i32::from(partition), below);
        added.map_err(|error| self.context.failure(action, topic, &error))?;
        let deleted = self.admin.delete_records(&list, &self.options());
        drop(list);
        let deleted = self.within(action, topic, deleted).await?;
        let outcome = deleted.elements().first().map(|element| element.error());
        match outcome {
            Some(outcome) => outcome.map_err(|error| self.context.failure(action, topic, &error)),
            None => Err(self.context.unavailable(action, topic, "the brokers' answer is empty")),
        }
    }

    fn options(&self) -> AdminOptions {
        AdminOptions::new().request_timeout(Some(self.request_timeout))
    }

    /// Waits for an administrative answer. librdkafka keeps the timeout itself; the second more lets it say why.
    async fn within<T>(
        &self,
        action: &'static str,
        topic: &str,
        answer: impl Future<Output = KafkaResult<T>>,
    ) -> Result<T, LogError> {
        match tokio::time::timeout(self.request_timeout + Duration::from_secs(1), answer).await {
            Ok(answer) => answer.map_err(|error| self.context.failure(action, topic, &error)),
            Err(_) => Err(self.context.unavailable(action, topic, "timed out")),
        }
    }

    /// Makes a call of the client that blocks, on a thread for such. A call goes on if nobody waits for it any more.
    async fn blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Client<Context>) -> KafkaResult<T> + Send + 'static,
    ) -> Result<KafkaResult<T>, LogError> {
        let (admin, calls) = (Arc::clone(&self.admin), Arc::clone(&self.calls));
        let Ok(turn) = tokio::time::timeout(self.request_timeout, calls.acquire_owned()).await else {
            return Ok(Err(KafkaError::MetadataFetch(RDKafkaErrorCode::TimedOutQueue)));
        };
        let turn = turn.expect("the semaphore is never closed");
        let called = move || {
            let answer = call(admin.inner());
            drop(turn);
            answer
        };
        off_thread(called).await
    }
}

/// Whether an error says that a partition's leader is changing or goes away, or that brokers are still learning of it.
fn moves(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code(error),
        Some(
            Code::NotLeaderForPartition
                | Code::LeaderNotAvailable
                | Code::BrokerNotAvailable
                | Code::ReplicaNotAvailable
                | Code::FencedLeaderEpoch
                | Code::UnknownLeaderEpoch
                | Code::OffsetNotAvailable
                | Code::UnknownTopicOrPartition
                | Code::BrokerTransportFailure
                | Code::DestroyBroker
        )
    )
}

/// Runs what blocks on a thread for such.
///
/// # Errors
///
/// [`LogError::Closed`] if the runtime is shutting down.
pub(super) async fn off_thread<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> Result<T, LogError> {
    match tokio::task::spawn_blocking(call).await {
        Ok(answer) => Ok(answer),
        Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
        Err(_) => Err(LogError::Closed),
    }
}
