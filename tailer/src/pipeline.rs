//! The tailer's wiring: the way of a write from a client's body to the shard logs.
//!
//! ```text
//! body ──read──▶ items ──grow──▶ fields known to the catalog ──route by hash of _id──▶ a batch a shard ──append──▶ log
//!        └ errors ─────┴ errors (one by one)                   (of at most BATCH_ROWS_MAX)
//! ```
//!
//! Reading and building are CPU work and run off the async threads, at most `parallelism` at once; a request that finds no
//! place waits in its own connection.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use basalt_common::batch::{self, Batch, BatchBuilder, BatchHeader, RequestKey};
use basalt_common::calls::{ShardWrite, WriteReply, WriteRequest, Writes};
use basalt_common::catalog::{Catalog, CatalogError, CatalogState, Collection, Command, Refusal};
use basalt_common::clock::Clock;
use basalt_common::failure::{Failure, FailureKind};
use basalt_common::id::ShardId;
use basalt_common::log::{LogError, ShardLog};
use basalt_common::routing::shard_of;
use basalt_common::value::json::JsonLimits;
use bytes::Bytes;
use tokio::sync::Semaphore;
use xxhash_rust::xxh3::xxh3_64;

use crate::fields::{FIELDS_MAX, grow};
use crate::ids::IdMaker;
use crate::items::{Change, Item, Items, read_items};

/// The most operations of one batch: a bound on what one step of a leaf takes, and on what sparse fields cost in it.
const BATCH_ROWS_MAX: usize = 8192;

/// How often a request looks at the catalog again because others add fields at the same time.
const REGISTER_ATTEMPTS: usize = 8;

/// The longest `Idempotency-Key`.
pub const REQUEST_KEY_BYTES_MAX: usize = 256;

/// What a tailer allows.
#[derive(Debug, Clone, Copy)]
pub struct TailerConfig {
    /// Bounds on single documents.
    pub limits: JsonLimits,
    /// The most fields of a collection.
    pub fields_max: u32,
    /// How many requests are read at once.
    pub parallelism: usize,
}

impl Default for TailerConfig {
    fn default() -> Self {
        Self { limits: JsonLimits::default(), fields_max: FIELDS_MAX, parallelism: 4 }
    }
}

/// Takes writes.
pub struct Tailer {
    catalog: Arc<dyn Catalog>,
    log: Arc<dyn ShardLog>,
    clock: Arc<dyn Clock>,
    ids: Arc<IdMaker>,
    config: TailerConfig,
    readers: Semaphore,
}

impl fmt::Debug for Tailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tailer").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Tailer {
    /// Makes a tailer; `seed`, which should be random, decides the `_id`s it makes.
    pub fn new(
        catalog: Arc<dyn Catalog>,
        log: Arc<dyn ShardLog>,
        clock: Arc<dyn Clock>,
        seed: u64,
        config: TailerConfig,
    ) -> Self {
        let ids = Arc::new(IdMaker::new(seed));
        Self { catalog, log, clock, ids, config, readers: Semaphore::new(config.parallelism) }
    }

    /// The collection with all fields of the items registered.
    async fn register(&self, request: &WriteRequest, items: &mut Items) -> Result<Arc<Collection>, Failure> {
        for _ in 0..REGISTER_ATTEMPTS {
            let collection = find(&self.catalog.state(), request)?;
            let schema = &collection.schema;
            let Some(grown) = grow(schema, &mut items.items, &mut items.errors, self.config.fields_max) else {
                return Ok(collection);
            };
            let (id, fields) = (request.collection.0, grown.grown_since(schema));
            let command = Command::Register { id, fields, fields_max: self.config.fields_max };
            match self.catalog.propose(command).await {
                // Not looked at again: a copy into itself would find more to register each time.
                Ok(state) => return find(&state, request),
                // Others took the last fields meanwhile: which items fit is decided again.
                Err(CatalogError::Refused(Refusal::TooManyFields { .. })) => {}
                Err(error) => return Err(Failure::new(FailureKind::Unavailable, error.to_string())),
            }
        }
        Err(Failure::new(FailureKind::Unavailable, "too many writers add fields at once").with_hint("send it again"))
    }
}

#[async_trait]
impl Writes for Tailer {
    async fn write(&self, request: WriteRequest) -> Result<WriteReply, Failure> {
        let key = request_key(&request)?;
        let place = self.readers.acquire().await.expect("the semaphore is never closed");
        let (kind, format, body, limits) = (request.kind, request.format, request.body.clone(), self.config.limits);
        let mut items = off_the_async_threads(move || read_items(kind, format, &body, &limits)).await??;
        let collection = self.register(&request, &mut items).await?;
        let now = self.clock.now_micros();
        name_documents(&mut items.items, &self.ids, key.as_ref(), now);
        let Items { items, mut errors } = items;
        errors.sort_by_key(|error| error.index);
        let accepted = items.len() as u64;
        let schema_version = collection.schema.version();
        let records = off_the_async_threads(move || build(&collection, items, key.as_ref(), now)).await?;
        drop(place);
        let appends = records.into_iter().map(|record| async move {
            let position = self.log.append(record.shard, record.bytes).await?;
            Ok::<_, LogError>(ShardWrite { shard: record.shard.shard, position: position.0, items: record.items })
        });
        let shards = futures::future::join_all(appends).await.into_iter().collect::<Result<_, _>>();
        let shards = shards.map_err(|error| log_failure(&error))?;
        Ok(WriteReply { accepted, errors, shards, schema_version })
    }
}

fn find(state: &CatalogState, request: &WriteRequest) -> Result<Arc<Collection>, Failure> {
    let found = state.collection(request.collection).cloned();
    found.ok_or_else(|| Failure::new(FailureKind::NotFound, "the collection is not there any more"))
}

fn request_key(request: &WriteRequest) -> Result<Option<RequestKey>, Failure> {
    let Some(key) = &request.request_key else { return Ok(None) };
    if !(1..=REQUEST_KEY_BYTES_MAX).contains(&key.len()) {
        return Err(Failure::invalid(format!("an Idempotency-Key has 1 to {REQUEST_KEY_BYTES_MAX} bytes")));
    }
    Ok(Some(RequestKey { key: key.clone(), body_hash: xxh3_64(&request.body) ^ request.kind as u64 }))
}

/// Gives an `_id` to every document that has none.
fn name_documents(items: &mut [Item], ids: &IdMaker, key: Option<&RequestKey>, now_micros: i64) {
    for item in items.iter_mut().filter(|item| item.id.is_none()) {
        item.id = Some(match key {
            Some(key) => ids.of_request(key, item.index),
            None => ids.next(now_micros),
        });
    }
}

/// A batch for one shard.
struct Record {
    shard: ShardId,
    bytes: Bytes,
    items: Vec<u32>,
}

/// The items in batches, in their order within each shard.
fn build(collection: &Collection, items: Vec<Item>, key: Option<&RequestKey>, now_micros: i64) -> Vec<Record> {
    let mut open: Vec<(BatchBuilder, Vec<u32>)> = Vec::new();
    open.resize_with(collection.shards.into(), Default::default);
    let mut parts = vec![0_usize; collection.shards.into()];
    let mut records = Vec::new();
    let finish = |shard: usize, part: usize, builder: BatchBuilder, items: Vec<u32>| {
        let shard = ShardId { collection: collection.id, shard: shard as u16 };
        let bytes = encode(collection, shard, builder, key.map(|key| key_of_part(key, part)), now_micros);
        Record { shard, bytes, items }
    };
    for item in items {
        let id = item.id.expect("documents were named");
        let shard = shard_of(id.as_bytes(), collection.shards.into()) as usize;
        let (builder, indices) = &mut open[shard];
        let schema = &collection.schema;
        match &item.change {
            Change::Upsert(document) => builder.upsert(schema, &id, document).expect("its fields are registered"),
            Change::Patch { operations, insert } => {
                builder.patch(schema, &id, operations, *insert).expect("its fields are registered");
            }
            Change::Delete => builder.delete(&id),
        }
        indices.push(item.index as u32);
        if builder.len() == BATCH_ROWS_MAX {
            records.push(finish(shard, parts[shard], std::mem::take(builder), std::mem::take(indices)));
            parts[shard] += 1;
        }
    }
    for (shard, (builder, indices)) in open.into_iter().enumerate() {
        if !builder.is_empty() {
            records.push(finish(shard, parts[shard], builder, indices));
        }
    }
    records
}

/// The key of one of a request's batches for a shard: each is applied once.
fn key_of_part(key: &RequestKey, part: usize) -> RequestKey {
    match part {
        0 => key.clone(),
        _ => RequestKey { key: format!("{}#{part}", key.key), body_hash: key.body_hash },
    }
}

fn encode(
    collection: &Collection,
    shard: ShardId,
    builder: BatchBuilder,
    request: Option<RequestKey>,
    logged_at_micros: i64,
) -> Bytes {
    let header = BatchHeader {
        shard,
        routing_epoch: 0,
        schema_version: collection.schema.version(),
        logged_at_micros,
        event_time_micros: None,
        sources: Vec::new(),
        request,
    };
    let mut bytes = Vec::new();
    batch::encode(&Batch { header, operations: builder.finish() }, &mut bytes);
    bytes.into()
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

async fn off_the_async_threads<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Failure::new(FailureKind::Internal, format!("the request could not be read: {error}")))
}
