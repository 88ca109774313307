//! The registry: which topic is whose, so that one that was deleted and made again is told from the first.
//!
//! In come collections with the ids of their topics; out comes, for each collection, what was recorded first. It is a
//! topic of its own, `<prefix>.meta`, with one partition that is never truncated; its id is the incarnation of the log.
//! Two processes that create the same collection at once both append, and both go by the first record.
//!
//! ```text
//! record := version collection shards topic
//! version    u8       1
//! collection u32, LE
//! shards     u16, LE  partitions of the topic
//! topic      16 bytes the topic's id, most significant byte first
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::super::{LogCursor, LogError, LogIncarnation};
use super::cursor::KafkaCursor;
use super::shared::Shared;
use crate::id::{CollectionId, ShardId};

/// The number under which the log keeps the registry's own topic; no collection may have it.
pub(super) const REGISTRY: CollectionId = CollectionId(u32::MAX);

/// The registry's only partition.
pub(super) const REGISTRY_SHARD: ShardId = ShardId { collection: REGISTRY, shard: 0 };

const VERSION: u8 = 1;

/// What is recorded of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) collection: CollectionId,
    pub(super) shards: u16,
    /// The id of its topic.
    pub(super) id: LogIncarnation,
}

impl Entry {
    fn encode(self) -> Bytes {
        let mut record = vec![VERSION];
        record.extend(self.collection.0.to_le_bytes());
        record.extend(self.shards.to_le_bytes());
        record.extend(self.id.0.to_be_bytes());
        record.into()
    }

    /// Reads a record; none if it is of no version that this code knows.
    fn decode(record: &[u8]) -> Option<Entry> {
        let (version, record) = record.split_first()?;
        let (collection, record) = record.split_first_chunk()?;
        let (shards, record) = record.split_first_chunk()?;
        let id: [u8; 16] = record.try_into().ok()?;
        let collection = CollectionId(u32::from_le_bytes(*collection));
        let entry =
            Entry { collection, shards: u16::from_le_bytes(*shards), id: LogIncarnation(u128::from_be_bytes(id)) };
        (*version == VERSION).then_some(entry)
    }
}

/// What this process has read of the registry.
#[derive(Debug, Default)]
pub(super) struct Registry {
    read: tokio::sync::Mutex<Read>,
}

#[derive(Debug, Default)]
struct Read {
    /// The position up to which it was read.
    position: u64,
    entries: HashMap<CollectionId, Entry>,
}

impl Registry {
    /// Returns what is recorded of a collection.
    ///
    /// # Errors
    ///
    /// Those of reading, and [`LogError::Refused`] for a record of a later version.
    pub(super) async fn find(&self, shared: &Arc<Shared>, collection: CollectionId) -> Result<Option<Entry>, LogError> {
        let timeout = shared.config.request_timeout;
        let Ok(mut read) = tokio::time::timeout(timeout, self.read.lock()).await else {
            let cause = format!("those who ask before it got no answer within {timeout:?}");
            return Err(shared.context().unavailable("read the registry", &shared.topic(REGISTRY).name, &cause));
        };
        if let Some(entry) = read.entries.get(&collection) {
            return Ok(Some(*entry));
        }
        let topic = shared.topic(REGISTRY);
        let mut cursor = KafkaCursor::new(shared, &topic, REGISTRY_SHARD, read.position).await?;
        while let Some((position, record)) = cursor.try_next().await? {
            let Some(entry) = Entry::decode(&record) else {
                let cause = format!("the record at {position} is of a format that this version does not read");
                return Err(LogError::Refused { action: "read the registry", object: topic.name.clone(), cause });
            };
            read.entries.entry(entry.collection).or_insert(entry);
            read.position = position.0 + 1;
        }
        Ok(read.entries.get(&collection).copied())
    }

    /// Records a collection, unless it was before; returns what holds.
    ///
    /// # Errors
    ///
    /// Those of appending and of [`Registry::find`]. Recording again is harmless.
    pub(super) async fn record(&self, shared: &Arc<Shared>, entry: Entry) -> Result<Entry, LogError> {
        shared.append(REGISTRY_SHARD, entry.encode()).await?;
        let unread = || {
            let (topic, cause) = (&shared.topic(REGISTRY).name, "a record was acknowledged and is not there");
            shared.context().unavailable("read the registry", topic, cause)
        };
        self.find(shared, entry.collection).await?.ok_or_else(unread)
    }
}

#[cfg(test)]
mod tests {
    use super::{CollectionId, Entry, LogIncarnation};

    #[test]
    fn the_format_stays() {
        let entry = Entry { collection: CollectionId(0x0102_0304), shards: 0x0506, id: LogIncarnation(0x0a0b_0c0d) };
        let record = [1, 4, 3, 2, 1, 6, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 11, 12, 13];
        assert_eq!(entry.encode().as_ref(), record);
        assert_eq!(Entry::decode(&record), Some(entry));
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        let record = Entry { collection: CollectionId(1), shards: 2, id: LogIncarnation(3) }.encode();
        for length in 0..record.len() {
            assert_eq!(Entry::decode(&record[..length]), None);
        }
        assert_eq!(Entry::decode(&[&record[..], &[0]].concat()), None);
        assert_eq!(Entry::decode(&[&[2], &record[1..]].concat()), None);
    }
}
