//! The tailer's wiring: the ways of writes and of sources to the shard logs.
//!
//! ```text
//! body ──read──▶ items ──grow──▶ fields known to the catalog ──route by hash of _id──▶ a batch a shard ──append──▶ log
//!        └ errors ─────┴ errors (one by one)                   (of at most BATCH_ROWS_MAX)
//! Kafka ──records──▶ items … the same, with the offsets that each batch covers
//! ```
//!
//! Reading and building are CPU work and run off the async threads, at most `parallelism` at once; a request that finds no
//! place waits in its own connection.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use basalt_common::batch::RequestKey;
use basalt_common::calls::{ItemError, ShardWrite, SourceStatus, Sources, WriteReply, WriteRequest, Writes};
use basalt_common::catalog::{Catalog, Collection};
use basalt_common::clock::Clock;
use basalt_common::failure::{Failure, FailureKind};
use basalt_common::id::SourceId;
use basalt_common::leaves::Leaves;
use basalt_common::log::{LogError, ShardLog};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use xxhash_rust::xxh3::xxh3_64;

use crate::batches;
use crate::fields::grow;
use crate::ids::{self, IdMaker};
use crate::items::{Item, Items, read_items};
use crate::shared::{Shared, find, off_the_async_threads};
use crate::sources::SourceReader;
use crate::ticks;

pub use crate::shared::TailerConfig;

/// The longest `Idempotency-Key`.
pub const REQUEST_KEY_BYTES_MAX: usize = 256;

/// Bodies of at most so many bytes are read at once, however many others are being read: that takes less than a millisecond.
const SMALL_BODY_BYTES: usize = 64 << 10;

/// Takes writes and reads sources.
pub struct Tailer {
    shared: Arc<Shared>,
    sources: Arc<SourceReader>,
    _running: JoinSet<()>,
}

impl fmt::Debug for Tailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tailer").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl Tailer {
    /// Makes a tailer, and reads the catalog's sources from now on; `seed`, which should be random, decides the `_id`s it
    /// makes, and tells it from other tailers.
    pub fn new(
        catalog: Arc<dyn Catalog>,
        log: Arc<dyn ShardLog>,
        leaves: Leaves,
        clock: Arc<dyn Clock>,
        seed: u64,
        config: TailerConfig,
    ) -> Self {
        let (ids, readers) = (IdMaker::new(seed), Semaphore::new(config.parallelism));
        let shared = Arc::new(Shared { catalog, log, clock, ids, config, readers });
        let sources = Arc::new(SourceReader::new(Arc::clone(&shared), leaves, seed));
        let mut running = JoinSet::new();
        running.spawn(Arc::clone(&sources).run());
        running.spawn(ticks::run(Arc::clone(&shared)));
        Self { shared, sources, _running: running }
    }
}

#[async_trait]
impl Sources for Tailer {
    async fn source_status(&self, source: SourceId, catalog_version: u64) -> Result<SourceStatus, Failure> {
        self.sources.source_status(source, catalog_version).await
    }
}

#[async_trait]
impl Writes for Tailer {
    async fn write(&self, request: WriteRequest) -> Result<WriteReply, Failure> {
        let shared = &self.shared;
        let key = request_key(&request)?;
        // A few documents do not wait behind bodies that take a hundred times as long.
        let place = match request.body.len() > SMALL_BODY_BYTES {
            true => Some(shared.readers.acquire().await.expect("the semaphore is never closed")),
            false => None,
        };
        let collection = find(&shared.catalog.state(), request.collection)?;
        let now = shared.clock.now_micros();
        let (reading, known, rule) = (Arc::clone(shared), Arc::clone(&collection), key.clone());
        let (kind, format, body) = (request.kind, request.format, request.body.clone());
        let read = move || {
            let mut items = read_items(kind, format, &body, &known, &reading.config.limits)?;
            if let Some(rule) = &known.version {
                items.refuse_future(rule, now);
            }
            let Items { items: good, errors } = &mut items;
            Ok(match grow(&known.schema, good, errors, reading.config.fields_max) {
                Some(_) => Read::New(items),
                // Nothing is to be waited for: where the documents were read they are laid out in batches, too.
                None => Read::Known(Built::of(items, &known, &reading.ids, rule.as_ref(), now)),
            })
        };
        let Built { accepted, errors, records, schema_version } = match off_the_async_threads(read).await?? {
            Read::Known(built) => built,
            Read::New(mut items) => {
                let collection = shared.register(request.collection, &mut items).await?;
                let building = Arc::clone(shared);
                let build = move || Built::of(items, &collection, &building.ids, key.as_ref(), now);
                off_the_async_threads(build).await?
            }
        };
        drop(place);
        let appends = records.into_iter().map(|record| async move {
            let position = shared.log.append(record.shard, record.bytes).await?;
            Ok::<_, LogError>(ShardWrite { shard: record.shard.shard, position: position.0, items: record.items })
        });
        let shards = futures::future::join_all(appends).await.into_iter().collect::<Result<_, _>>();
        let shards = shards.map_err(|error| log_failure(&error))?;
        Ok(WriteReply { accepted, errors, shards, schema_version })
    }
}

/// A request whose items were read.
enum Read {
    /// Some bring fields or types that have to be registered.
    New(Items),
    Known(Built),
}

/// A request's batches.
struct Built {
    accepted: u64,
    errors: Vec<ItemError>,
    records: Vec<batches::Record>,
    schema_version: u64,
}

impl Built {
    /// Names items, whose fields the collection knows, and lays them out in batches.
    fn of(items: Items, collection: &Collection, ids: &IdMaker, key: Option<&RequestKey>, now_micros: i64) -> Self {
        let Items { mut items, mut errors } = items;
        name_items(&mut items, ids, key, now_micros);
        errors.sort_by_key(|error| error.index);
        let (accepted, schema_version) = (items.len() as u64, collection.schema.version());
        Self { accepted, errors, records: batches::of_request(collection, items, key, now_micros), schema_version }
    }
}

fn request_key(request: &WriteRequest) -> Result<Option<RequestKey>, Failure> {
    let Some(key) = &request.request_key else { return Ok(None) };
    if !(1..=REQUEST_KEY_BYTES_MAX).contains(&key.len()) {
        return Err(Failure::invalid(format!("an Idempotency-Key has 1 to {REQUEST_KEY_BYTES_MAX} bytes")));
    }
    Ok(Some(RequestKey { key: key.clone(), body_hash: xxh3_64(&request.body) ^ request.kind as u64 }))
}

/// Gives an `_id` to every document that has none, and an id to every operation that needs one.
fn name_items(items: &mut [Item], ids: &IdMaker, key: Option<&RequestKey>, now_micros: i64) {
    for item in items {
        let named = key.map(|key| ids::of_request(key, item.index));
        item.id.get_or_insert_with(|| named.map_or_else(|| ids.next(now_micros), ids::id_of));
        if let Some(stamp) = &mut item.stamp {
            stamp.operation_id.get_or_insert_with(|| named.unwrap_or_else(|| ids.next_operation()));
        }
    }
}

fn log_failure(error: &LogError) -> Failure {
    let kind = match error {
        LogError::Full { .. } => FailureKind::TooManyRequests,
        LogError::RecordTooLarge { .. } => FailureKind::TooLarge,
        _ => FailureKind::Unavailable,
    };
    let hint = "parts of the request may be in the log; a retry with the same Idempotency-Key does nothing twice";
    Failure::new(kind, error.to_string()).with_hint(hint)
}
