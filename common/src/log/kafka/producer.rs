//! The way in: records on their way to the brokers, and the answers to those who wait for them.
//!
//! In come records, in the order in which their topics let them in; out come positions, once the brokers have the
//! records durably. It owns the client that appends, and bounds what is on its way. The order of entering, the caller's
//! deadline and what a topic takes are left to the log.
//!
//! ```text
//!             queue_bytes_max
//!  send ───────────────────────▶ librdkafka ──batches──▶ brokers
//!                                    │  ▲                   │
//!                    delivery thread │  └─────acknowledge───┘
//!                                    ▼
//!                              oneshot, position
//! ```

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::super::LogError;
use super::KafkaLogConfig;
use super::brokers::off_thread;
use super::client::{Context, EndsElsewhere};
use super::topic::Topic;
use crate::id::ShardId;
use crate::position::LogPosition;

/// What a record costs in librdkafka beside its bytes, generously: it bounds the number of small ones.
const RECORD_OVERHEAD_BYTES: u64 = 1024;

/// What happens to a record, once it is known.
pub(super) type Outcome = Result<LogPosition, LogError>;

/// A record on its way.
pub(super) struct Pending {
    topic: Arc<Topic>,
    shard: ShardId,
    /// Nobody listens any more if the caller has gone.
    answer: oneshot::Sender<Outcome>,
    /// Given back when the record's fate is known, whoever listens.
    _room: OwnedSemaphorePermit,
}

/// Hears what became of records.
pub(super) struct Deliveries {
    context: Context,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.context.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.context.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Pending>;

    fn delivery(&self, result: &DeliveryResult<'_>, pending: Box<Pending>) {
        let Pending { topic, shard, answer, _room } = *pending;
        let outcome = match result {
            Ok(message) => match u64::try_from(message.offset()) {
                Ok(position) => topic.acknowledge(shard, position),
                // The brokers had it already when it was sent again, too long ago to know where.
                Err(_) => Err(self.context.unavailable(APPEND, &topic.name, "acknowledged without its position")),
            },
            // Whatever the reason, an earlier try may have come through.
            Err((error, _)) => Err(self.context.unavailable(APPEND, &topic.name, &error.to_string())),
        };
        let _ = answer.send(outcome);
    }
}

/// What an append does, in errors.
pub(super) const APPEND: &str = "append to topic";

type Native = EndsElsewhere<ThreadedProducer<Deliveries>>;

/// Sends records.
pub(super) struct Producer {
    config: ClientConfig,
    brokers: String,
    context: Context,
    /// Replaced if it fails.
    current: Mutex<Arc<Native>>,
    /// The bytes that may still be on their way.
    room: Arc<Semaphore>,
    queue_bytes_max: u64,
}

impl Producer {
    /// Makes the client; nothing is sent yet. Blocks for as long as making threads takes.
    ///
    /// # Errors
    ///
    /// [`LogError::Refused`] if librdkafka does not take the properties.
    pub(super) fn new(config: &KafkaLogConfig, context: &Context) -> Result<Producer, LogError> {
        let (client, queue_bytes_max) = (config.producer_client(), config.queue_bytes_max);
        let current = Mutex::new(start(&client, &config.brokers, context)?);
        let room = Arc::new(Semaphore::new(usize::try_from(queue_bytes_max).expect("it is at most 1 GiB")));
        let (brokers, context) = (config.brokers.clone(), context.clone());
        Ok(Producer { config: client, brokers, context, current, room, queue_bytes_max })
    }

    /// Waits until there is room for a record of `bytes`, first come first served.
    pub(super) async fn room(&self, bytes: u64) -> OwnedSemaphorePermit {
        let share = (bytes + RECORD_OVERHEAD_BYTES).min(self.queue_bytes_max);
        let share = u32::try_from(share).expect("queue_bytes_max is at most 1 GiB");
        Arc::clone(&self.room).acquire_many_owned(share).await.expect("the semaphore is never closed")
    }

    /// Replaces the client if librdkafka has given up, as it cannot tell any more what the brokers have. The old one fails
    /// what it has not settled, as its outcome is unknown.
    ///
    /// # Errors
    ///
    /// [`LogError::Refused`] if there can be no other.
    pub(super) async fn restore(&self) -> Result<(), LogError> {
        let failed = self.current();
        let Some((code, reason)) = failed.client().fatal_error() else {
            return Ok(());
        };
        tracing::warn!(%code, reason, "the Kafka producer gave up and is replaced");
        let (config, brokers, context) = (self.config.clone(), self.brokers.clone(), self.context.clone());
        let new = off_thread(move || start(&config, &brokers, &context)).await??;
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&current, &failed) {
            *current = new;
        }
        Ok(())
    }

    /// Gives a record to librdkafka, which copies it, and returns where its outcome will be told. Does not wait.
    ///
    /// # Errors
    ///
    /// [`LogError::Unavailable`]; the record is not in the log and will not be.
    pub(super) fn send(
        &self,
        topic: &Arc<Topic>,
        shard: ShardId,
        record: &[u8],
        room: OwnedSemaphorePermit,
    ) -> Result<oneshot::Receiver<Outcome>, LogError> {
        let (answer, answered) = oneshot::channel();
        let pending = Box::new(Pending { topic: Arc::clone(topic), shard, answer, _room: room });
        let message = BaseRecord::<(), [u8], _>::with_opaque_to(&topic.name, pending);
        let message = message.partition(i32::from(shard.shard)).payload(record);
        match self.current().send(message) {
            Ok(()) => Ok(answered),
            Err((error, _)) => Err(self.context.unavailable(APPEND, &topic.name, &error.to_string())),
        }
    }

    /// Waits until the fate of everything sent is known.
    ///
    /// # Errors
    ///
    /// [`LogError::Unavailable`] if it is not in time.
    pub(super) async fn flush(&self, timeout: Duration) -> Result<(), LogError> {
        let current = self.current();
        let flushed = off_thread(move || current.flush(timeout)).await?;
        flushed.map_err(|error| self.context.unavailable("flush records to", &self.brokers, &error.to_string()))
    }

    fn current(&self) -> Arc<Native> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes librdkafka give up, as it does when it cannot tell any more what the brokers have.
    #[cfg(test)]
    pub(super) fn fail(&self) {
        let current = self.current();
        let code = rdkafka::bindings::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
        // SAFETY: the client and the reason outlive the call.
        unsafe {
            rdkafka::bindings::rd_kafka_test_fatal_error(current.client().native_ptr(), code, c"test".as_ptr());
        }
    }
}

fn start(config: &ClientConfig, brokers: &str, context: &Context) -> Result<Arc<Native>, LogError> {
    let deliveries = Deliveries { context: context.clone() };
    match ThreadedProducer::from_config_and_context(config, deliveries) {
        Ok(producer) => Ok(Arc::new(EndsElsewhere::new(producer))),
        Err(error) => Err(context.failure("make a Kafka producer for", brokers, &error)),
    }
}
