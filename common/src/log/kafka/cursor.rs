//! The way out: one shard's records in order, then those to come.
//!
//! In come fetched records; out come the same, after a check that each is the one that is due. It owns its place in the
//! shard. Fetching is left to `readers`; what an end of the log means to a shard is left to the leaf.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::Message;
use tokio::sync::watch;

use super::super::{LogCursor, LogError, LogRecord};
use super::brokers::Bounds;
use super::client::code;
use super::readers::Lease;
use super::shared::{Life, Shared};
use super::topic::Topic;
use crate::id::ShardId;
use crate::position::LogPosition;

/// What reading does, in errors.
const READ: &str = "read on in topic";

/// How a cursor is.
enum State {
    Reading,
    /// librdkafka told of this instead of a record; what it means is not known yet.
    Stuck(RDKafkaErrorCode),
    /// Nothing more will come.
    Failed(LogError),
}

/// A cursor over one shard of a Kafka log.
pub(super) struct KafkaCursor {
    shared: Arc<Shared>,
    topic: Arc<Topic>,
    shard: ShardId,
    /// The position of the next record.
    due: u64,
    /// An end of the shard that was seen.
    end: u64,
    lease: Lease,
    state: State,
    stops: watch::Receiver<Option<LogError>>,
    life: watch::Receiver<Life>,
}

impl KafkaCursor {
    /// Places a cursor at `from`.
    ///
    /// # Errors
    ///
    /// [`LogError::Truncated`] and [`LogError::PastEnd`]; [`LogError::NoSuchShard`], [`LogError::MissingTopic`],
    /// [`LogError::OtherIncarnation`]; [`LogError::Unavailable`] and [`LogError::Refused`].
    pub(super) async fn new(
        shared: &Arc<Shared>,
        topic: &Arc<Topic>,
        shard: ShardId,
        from: u64,
    ) -> Result<KafkaCursor, LogError> {
        let bounds = shared.verified_bounds(topic, shard).await?;
        within(shard, from, bounds)?;
        let (stops, life) = (topic.stops(), shared.life());
        let lease = shared.readers.lease(topic, shard.shard, from).await?;
        let (shared, topic) = (Arc::clone(shared), Arc::clone(topic));
        Ok(KafkaCursor { shared, topic, shard, due: from, end: bounds.end, lease, state: State::Reading, stops, life })
    }

    /// Takes the next record if it was fetched.
    fn take(&mut self) -> Result<Option<LogRecord>, LogError> {
        let Some(fetched) = self.lease.fetched() else {
            return Ok(None);
        };
        let message = match fetched {
            Ok(message) => message,
            Err(error) => {
                self.state = State::Stuck(code(&error).unwrap_or(RDKafkaErrorCode::Unknown));
                return Ok(None);
            }
        };
        let found = u64::try_from(message.offset()).unwrap_or(u64::MAX);
        if found != self.due {
            let (due, found, topic) = (LogPosition(self.due), LogPosition(found), self.topic.name.clone());
            drop(message);
            return Err(self.fail(LogError::Gap { topic, shard: self.shard, due, found }));
        }
        let record = Bytes::copy_from_slice(message.payload().unwrap_or_default());
        drop(message);
        self.due += 1;
        Ok(Some((LogPosition(found), record)))
    }

    /// Returns why there will be no more records, if so.
    async fn fate(&mut self) -> Result<(), LogError> {
        self.topic.opened()?;
        match &self.state {
            State::Reading => Ok(()),
            State::Failed(error) => Err(error.clone()),
            State::Stuck(code) => {
                // Stays stuck if the brokers do not answer, or if this is dropped, and is asked again.
                let code = *code;
                let bounds = self.shared.verified_bounds(&self.topic, self.shard).await?;
                if let Err(error) = within(self.shard, self.due, bounds) {
                    return Err(self.fail(error));
                }
                // A broker that has just come up may not know the topic yet; librdkafka goes on once it does.
                if code == RDKafkaErrorCode::UnknownTopicOrPartition {
                    self.state = State::Reading;
                    return Ok(());
                }
                Err(self.fail(self.shared.context().failure_of(READ, &self.topic.name, code)))
            }
        }
    }

    fn fail(&mut self, error: LogError) -> LogError {
        self.state = State::Failed(error.clone());
        error
    }

    /// Waits until there may be something to take or to tell.
    async fn wait(&mut self) {
        // Both senders live in what the cursor holds, so neither can fail.
        tokio::select! {
            biased;
            () = self.lease.arrival() => {}
            _ = self.stops.changed() => {}
            _ = self.life.changed() => {}
        }
    }
}

/// Checks that a record at `position` can be read, now or later.
fn within(shard: ShardId, position: u64, bounds: Bounds) -> Result<(), LogError> {
    let asked = LogPosition(position);
    if position < bounds.start {
        return Err(LogError::Truncated { shard, asked, start: LogPosition(bounds.start) });
    }
    if position > bounds.end {
        return Err(LogError::PastEnd { shard, asked, end: LogPosition(bounds.end) });
    }
    Ok(())
}

#[async_trait]
impl LogCursor for KafkaCursor {
    async fn next(&mut self) -> Result<Option<LogRecord>, LogError> {
        loop {
            self.fate().await?;
            if let Some(record) = self.take()? {
                return Ok(Some(record));
            }
            if *self.life.borrow_and_update() == Life::Closed {
                return self.try_next().await;
            }
            if matches!(self.state, State::Reading) {
                self.wait().await;
            }
        }
    }

    async fn try_next(&mut self) -> Result<Option<LogRecord>, LogError> {
        let deadline = tokio::time::Instant::now() + self.shared.config.request_timeout;
        loop {
            self.fate().await?;
            if let Some(record) = self.take()? {
                return Ok(Some(record));
            }
            if !matches!(self.state, State::Reading) {
                continue;
            }
            if self.due >= self.end {
                let bounds = self.shared.bounds(&self.topic, self.shard).await?;
                if let Err(error) = within(self.shard, self.due, bounds) {
                    return Err(self.fail(error));
                }
                self.end = bounds.end;
                if self.due == self.end {
                    return Ok(None);
                }
            }
            if tokio::time::timeout_at(deadline, self.wait()).await.is_err() {
                return Err(self.shared.context().unavailable(
                    READ,
                    &self.topic.name,
                    "a record that is there did not come",
                ));
            }
        }
    }
}
