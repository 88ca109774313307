//! A topic of the log, as this process knows it: its name and id, how large it is, how far it is acknowledged, and
//! whether it has turned out not to be the log's any more.
//!
//! It owns the order in which appends enter. Opening a topic is left to the log, sending to `producer`, comparing ids to
//! `watch`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use super::super::{LogError, LogIncarnation};
use super::KafkaLogConfig;
use super::registry::REGISTRY;
use crate::id::{CollectionId, ShardId};
use crate::position::LogPosition;

/// Most bytes that Kafka's batch format adds to a single record without key and headers: 61 of the batch, at most 29 of
/// the record, rounded up.
pub(super) const FRAMING_BYTES_MAX: u64 = 512;

/// What is known of a topic once the brokers were asked.
#[derive(Debug)]
pub(super) struct Opened {
    /// The topic's id.
    pub(super) id: LogIncarnation,
    /// The shards, one partition each.
    pub(super) shards: u16,
    /// The largest record.
    pub(super) record_bytes_max: u64,
    /// For each shard, the position behind the last one that this process saw acknowledged; 0 if none was.
    acknowledged: Vec<AtomicU64>,
}

impl Opened {
    pub(super) fn new(id: LogIncarnation, shards: u16, record_bytes_max: u64) -> Opened {
        let acknowledged = (0..shards).map(|_| AtomicU64::new(0)).collect();
        Opened { id, shards, record_bytes_max, acknowledged }
    }

    /// Returns the position behind the last one of the shard that was acknowledged to this process.
    pub(super) fn acknowledged_end(&self, shard: u16) -> u64 {
        self.acknowledged[usize::from(shard)].load(Ordering::Acquire)
    }
}

/// One topic of the log.
#[derive(Debug)]
pub(super) struct Topic {
    /// Its name.
    pub(super) name: String,
    /// The collection whose shards are its partitions.
    pub(super) collection: CollectionId,
    /// Lets appends in one by one, first come first served, so that none overtakes another while it waits for room.
    pub(super) entrance: tokio::sync::Mutex<()>,
    opened: OnceLock<Opened>,
    /// Why the topic is not used any more. Never taken back: only a restart, after somebody has looked, goes on.
    stopped: watch::Sender<Option<LogError>>,
}

impl Topic {
    /// Makes what is known before anybody asked.
    pub(super) fn new(config: &KafkaLogConfig, collection: CollectionId) -> Topic {
        let name = match collection {
            REGISTRY => config.registry_topic(),
            CollectionId(number) => format!("{}.c{number}", config.prefix),
        };
        let (entrance, opened, stopped) = (tokio::sync::Mutex::default(), OnceLock::new(), watch::Sender::new(None));
        Topic { name, collection, entrance, opened, stopped }
    }

    /// Returns what is known of the topic, if it was opened.
    ///
    /// # Errors
    ///
    /// Why it was stopped.
    pub(super) fn opened(&self) -> Result<Option<&Opened>, LogError> {
        match &*self.stopped.borrow() {
            Some(error) => Err(error.clone()),
            None => Ok(self.opened.get()),
        }
    }

    /// Notes what the brokers said; who comes second changes nothing.
    ///
    /// # Errors
    ///
    /// Why the topic was stopped meanwhile.
    pub(super) fn open(&self, opened: Opened) -> Result<&Opened, LogError> {
        let _ = self.opened.set(opened);
        Ok(self.opened()?.expect("it was set above"))
    }

    /// Stops the topic, for a reason that no repetition mends, and returns the reason: the first, if there are several.
    pub(super) fn stop(&self, reason: LogError) -> LogError {
        let mut first = reason.clone();
        self.stopped.send_if_modified(|stopped| match stopped {
            Some(earlier) => {
                first = earlier.clone();
                false
            }
            None => {
                *stopped = Some(reason);
                true
            }
        });
        first
    }

    /// Returns a place to wait for the topic's stop.
    pub(super) fn stops(&self) -> watch::Receiver<Option<LogError>> {
        self.stopped.subscribe()
    }

    /// Compares the id that the brokers gave with the one that the topic had; another one stops it.
    ///
    /// # Errors
    ///
    /// [`LogError::MissingTopic`] if there is none, which stops nothing: the topic may be on its way.
    /// [`LogError::OtherIncarnation`] if there is another.
    pub(super) fn compare(&self, own: LogIncarnation, found: Option<u128>) -> Result<(), LogError> {
        let topic = self.name.clone();
        match found.map(LogIncarnation) {
            None => Err(LogError::MissingTopic { collection: self.collection, topic }),
            Some(found) if found != own => Err(self.stop(LogError::OtherIncarnation { topic, found, own })),
            Some(_) => Ok(()),
        }
    }

    /// Notes that a record of the shard was acknowledged at `position`.
    ///
    /// # Errors
    ///
    /// [`LogError::LostRecords`] if it lies at or below one acknowledged before, which stops the topic.
    pub(super) fn acknowledge(&self, shard: ShardId, position: u64) -> Result<LogPosition, LogError> {
        let opened = self.opened.get().expect("only an opened topic is sent to");
        let before = opened.acknowledged[usize::from(shard.shard)].fetch_max(position + 1, Ordering::AcqRel);
        match position < before {
            true => Err(self.lost(shard, position, before)),
            false => Ok(LogPosition(position)),
        }
    }

    /// Stops the topic because a shard goes on at `found`, although records up to `acknowledged_end` were acknowledged.
    pub(super) fn lost(&self, shard: ShardId, found: u64, acknowledged_end: u64) -> LogError {
        let (topic, found) = (self.name.clone(), LogPosition(found));
        let acknowledged = LogPosition(acknowledged_end.saturating_sub(1));
        self.stop(LogError::LostRecords { topic, shard, found, acknowledged })
    }
}

#[cfg(test)]
mod tests {
    use super::{CollectionId, KafkaLogConfig, LogError, LogIncarnation, LogPosition, Opened, ShardId, Topic};

    const SHARD: ShardId = ShardId { collection: CollectionId(7), shard: 1 };

    fn topic() -> Topic {
        let topic = Topic::new(&KafkaLogConfig::default(), CollectionId(7));
        topic.open(Opened::new(LogIncarnation(5), 2, 1_000)).unwrap();
        topic
    }

    #[test]
    fn positions_that_go_back_stop_the_topic() {
        let topic = topic();
        assert_eq!(topic.acknowledge(SHARD, 0).unwrap(), LogPosition(0));
        assert_eq!(topic.acknowledge(SHARD, 4).unwrap(), LogPosition(4));
        assert_eq!(topic.opened().unwrap().unwrap().acknowledged_end(1), 5);
        let lost = topic.acknowledge(SHARD, 4).unwrap_err();
        assert!(matches!(lost, LogError::LostRecords { found: LogPosition(4), acknowledged: LogPosition(4), .. }));
        assert!(matches!(topic.opened(), Err(LogError::LostRecords { .. })));
    }

    #[test]
    fn another_id_stops_the_topic_and_a_missing_one_does_not() {
        let topic = topic();
        assert_eq!(topic.name, "basalt.c7");
        topic.compare(LogIncarnation(5), Some(5)).unwrap();
        assert!(matches!(topic.compare(LogIncarnation(5), None), Err(LogError::MissingTopic { .. })));
        topic.opened().unwrap();
        let stops = topic.stops();
        assert!(matches!(topic.compare(LogIncarnation(5), Some(6)), Err(LogError::OtherIncarnation { .. })));
        assert!(stops.has_changed().unwrap());
        let later = LogError::MissingTopic { collection: CollectionId(7), topic: topic.name.clone() };
        assert!(matches!(topic.stop(later), LogError::OtherIncarnation { .. }), "the first reason stays");
    }
}
