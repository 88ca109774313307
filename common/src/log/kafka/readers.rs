//! The clients that read, and which partition each reads for whom.
//!
//! In come places to read from; out go leases, each the records of one partition as they are fetched. It owns the
//! clients: one serves all readers of a process, as it asks each broker once for all of its partitions. Only a second
//! reader of the same partition needs a second client, since a client reads a partition at one place only. What the
//! records say is left to `cursor`.
//!
//! ```text
//!            fetch_bytes_max   ┌────────┐  reader_bytes_max
//!  brokers ───────────────────▶│ client │──────────────────▶ lease, partition 0
//!            one fetch for     │        │──────────────────▶ lease, partition 1
//!            all partitions    └────────┘
//! ```

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::Notify;

use super::super::LogError;
use super::KafkaLogConfig;
use super::brokers::off_thread;
use super::client::Context;
use super::topic::Topic;

/// How often a client without readers looks whether the log has gone.
const ATTENDANCE_INTERVAL: Duration = Duration::from_millis(500);

/// Longest that a new reader waits for an earlier one of its partition to go, before it gets a client of its own.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);

/// A partition, by its topic's name and its number.
type Place = (String, i32);

/// What a client does with a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Reading,
    /// Its reader has gone; the client is being told.
    Leaving,
}

/// A client, and the partitions that it has.
struct Native {
    consumer: Arc<BaseConsumer<Context>>,
    places: Mutex<HashMap<Place, Use>>,
    /// The topics whose leaders the client keeps itself informed of.
    topics: Mutex<HashSet<String>>,
    /// Told when a place is free again.
    freed: Notify,
    /// Ends the client's attendant.
    ended: Arc<AtomicBool>,
}

impl Native {
    /// Makes a client and its attendant: a thread that serves its events, and ends it when all have gone.
    fn start(config: &ClientConfig, brokers: &str, context: &Context) -> Result<Native, LogError> {
        let consumer = BaseConsumer::from_config_and_context(config, context.clone());
        let consumer = consumer.map_err(|error| context.failure("make a Kafka consumer for", brokers, &error))?;
        let (consumer, ended) = (Arc::new(consumer), Arc::new(AtomicBool::new(false)));
        let (attended, told) = (Arc::clone(&consumer), Arc::clone(&ended));
        let thread = std::thread::Builder::new().name("basalt-kafka-read".to_owned());
        let attending = thread.spawn(move || {
            while !told.load(Ordering::Acquire) || Arc::strong_count(&attended) > 1 {
                // Errors were logged by the context; a record here is missed by its reader, as a gap.
                if let Some(Ok(message)) = attended.poll(ATTENDANCE_INTERVAL) {
                    use rdkafka::message::Message as _;
                    let (topic, partition, position) = (message.topic(), message.partition(), message.offset());
                    tracing::error!(topic, partition, position, "a record came to no reader");
                }
            }
        });
        match attending {
            Ok(_) => {
                let (places, topics, freed) = Default::default();
                Ok(Native { consumer, places, topics, freed, ended })
            }
            Err(error) => Err(context.unavailable("start a thread to read from", brokers, &error.to_string())),
        }
    }

    fn known(&self, topic: &str) -> bool {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner).contains(topic)
    }

    fn know(&self, topic: &str) {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner).insert(topic.to_owned());
    }

    fn places(&self) -> MutexGuard<'_, HashMap<Place, Use>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
    }
}

/// Gives out leases.
pub(super) struct Readers {
    config: ClientConfig,
    brokers: String,
    context: Context,
    request_timeout: Duration,
    clients: Mutex<Vec<Arc<Native>>>,
    /// Lets those who want a lease in one by one, so that many at once share a client.
    entrance: tokio::sync::Mutex<()>,
}

impl Readers {
    /// Makes no client yet.
    pub(super) fn new(config: &KafkaLogConfig, context: &Context) -> Readers {
        let (brokers, context) = (config.brokers.clone(), context.clone());
        let (clients, entrance) = (Mutex::default(), tokio::sync::Mutex::default());
        let (request_timeout, config) = (config.request_timeout, config.reader_client());
        Readers { config, brokers, context, request_timeout, clients, entrance }
    }

    /// Starts to fetch a partition from `from` on.
    ///
    /// # Errors
    ///
    /// [`LogError::Refused`] or [`LogError::Unavailable`] if there can be no client, or it takes no partition.
    pub(super) async fn lease(&self, topic: &Topic, partition: u16, from: u64) -> Result<Lease, LogError> {
        let place = (topic.name.clone(), i32::from(partition));
        let client = self.claim(&place).await?;
        // From here on, dropping it frees the place, even if nobody waits for what follows.
        let mut lease = Lease { client, place, queue: None, arrived: Arc::new(Notify::new()) };
        let timeout = self.request_timeout;
        let started = off_thread(move || lease.start(from, timeout).map(|()| lease)).await?;
        started.map_err(|error| self.context.failure("read topic", &topic.name, &error))
    }

    /// Returns the number of clients there are.
    #[cfg(test)]
    pub(super) fn clients(&self) -> usize {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Finds a client that does not have the place, or makes one, and gives it the place.
    async fn claim(&self, place: &Place) -> Result<Arc<Native>, LogError> {
        let _first = self.entrance.lock().await;
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for client in &clients {
            let freed = client.freed.notified();
            tokio::pin!(freed);
            // Before the look, so that whatever is freed after it is not missed.
            freed.as_mut().enable();
            let used = client.places().get(place).copied();
            match used {
                Some(Use::Reading) => continue,
                // Another place of the client may be freed first: then this reader gets a client of its own.
                Some(Use::Leaving) => drop(tokio::time::timeout(RELEASE_TIMEOUT, freed).await),
                None => {}
            }
            let mut places = client.places();
            if !places.contains_key(place) {
                places.insert(place.clone(), Use::Reading);
                return Ok(Arc::clone(client));
            }
        }
        let (config, brokers, context) = (self.config.clone(), self.brokers.clone(), self.context.clone());
        let client = Arc::new(off_thread(move || Native::start(&config, &brokers, &context)).await??);
        client.places().insert(place.clone(), Use::Reading);
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&client));
        Ok(client)
    }
}

/// One partition's records, as they are fetched, for one reader.
pub(super) struct Lease {
    client: Arc<Native>,
    place: Place,
    /// None until started.
    queue: Option<PartitionQueue<Context>>,
    arrived: Arc<Notify>,
}

impl Lease {
    /// Returns what was fetched next, if anything was. Does not wait.
    pub(super) fn fetched(&self) -> Option<KafkaResult<BorrowedMessage<'_>>> {
        self.queue.as_ref()?.poll(Duration::ZERO)
    }

    /// Waits until something was fetched after [`Lease::fetched`] last found nothing; may also return for no reason.
    pub(super) async fn arrival(&self) {
        self.arrived.notified().await;
    }

    /// Tells the client to fetch. Blocks for as long as a broker takes to answer.
    fn start(&mut self, from: u64, timeout: Duration) -> KafkaResult<()> {
        let (topic, partition) = &self.place;
        // The queue is split off first, so that no record goes past it.
        let queue = self.client.consumer.split_partition_queue(topic, *partition);
        self.queue = queue.map(|mut queue| {
            let arrived = Arc::clone(&self.arrived);
            queue.set_nonempty_callback(move || arrived.notify_one());
            queue
        });
        // Asked for, a new topic's leaders are known at once; by itself a client looks for new topics once a second.
        if !self.client.known(topic) {
            self.client.consumer.fetch_metadata(Some(topic), timeout)?;
            self.client.know(topic);
        }
        let mut list = TopicPartitionList::with_capacity(1);
        let from = Offset::Offset(i64::try_from(from).expect("the caller has checked it against the end"));
        list.add_partition_offset(topic, *partition, from)?;
        self.client.consumer.incremental_assign(&list)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let (client, place, queue) = (Arc::clone(&self.client), std::mem::take(&mut self.place), self.queue.take());
        if let Some(used) = client.places().get_mut(&place) {
            *used = Use::Leaving;
        }
        let leave = move || {
            let mut list = TopicPartitionList::with_capacity(1);
            list.add_partition(&place.0, place.1);
            // Fails if it was never assigned.
            let _ = client.consumer.incremental_unassign(&list);
            // What was fetched ahead is void now; looking once lets librdkafka free it.
            let _ = queue.as_ref().map(|queue| queue.poll(Duration::ZERO).is_some());
            drop(queue);
            client.places().remove(&place);
            client.freed.notify_waiters();
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(leave)),
            Err(_) => leave(),
        }
    }
}
