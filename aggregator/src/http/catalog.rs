//! Workspaces and collections.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use basalt_common::calls::ShardStatus;
use basalt_common::catalog::{Collection, Command};
use basalt_common::failure::Failure;
use basalt_common::fence::Fence;
use basalt_common::id::FieldId;
use basalt_common::indexing::{IndexSettings, TextSettings};
use basalt_common::retention::RetentionSettings;
use basalt_common::value::Type;
use basalt_common::version::VersionSettings;
use datafusion::arrow::compute::kernels::cast_utils::parse_interval_month_day_nano;
use serde::{Deserialize, Deserializer, Serialize};

use super::reply::Refused;
use super::{Shared, body};
use crate::aggregator::Aggregator;

const MICROS_PER_DAY: i128 = 86_400_000_000;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WorkspaceBody {
    name: String,
    #[serde(default)]
    description: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Listed<T> {
    #[serde(skip_serializing_if = "Option::is_none")]
    workspaces: Option<Vec<T>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    collections: Option<Vec<T>>,
}

pub(super) async fn workspaces(State(aggregator): Shared) -> Json<Listed<WorkspaceBody>> {
    let state = aggregator.catalog.state();
    let listed = state.workspaces().iter();
    let listed = listed
        .map(|(name, workspace)| WorkspaceBody { name: name.clone(), description: workspace.description.clone() });
    Json(Listed { workspaces: Some(listed.collect()), collections: None })
}

pub(super) async fn create_workspace(
    State(aggregator): Shared,
    request: Request,
) -> Result<(StatusCode, Json<WorkspaceBody>), Refused> {
    let asked: WorkspaceBody = body::read_json(request, aggregator.config.body_bytes_max).await?;
    let (name, description) = (asked.name.clone(), asked.description.clone());
    aggregator.propose(Command::CreateWorkspace { name, description }).await?;
    Ok((StatusCode::CREATED, Json(asked)))
}

/// What a new collection is to be. What the contract has and this server does not is refused by name, not ignored.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateCollection {
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    owner: String,
    shards: Option<u16>,
    key: Option<String>,
    version: Option<String>,
    lateness: Option<Span>,
    max_future: Option<Span>,
    #[serde(default)]
    text: BTreeMap<String, TextSettings>,
    #[serde(default)]
    unindexed: BTreeSet<String>,
    event_time: Option<String>,
    retention: Option<Span>,
}

/// A count in the version's unit, or a text like `30 days`, in microseconds then.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Span {
    Count(u64),
    Text(String),
}

impl Span {
    fn count(self, setting: &str) -> Result<u64, Failure> {
        match self {
            Self::Count(count) => Ok(count),
            Self::Text(text) => {
                let not_one = || format!("{setting} is a count or a time like \"30 days\", not {text:?}");
                Self::micros_of(&text).ok_or_else(|| Failure::invalid(not_one()))
            }
        }
    }

    fn micros(self, setting: &str) -> Result<u64, Failure> {
        let not_one = |given: String| Failure::invalid(format!("{setting} is a time like \"30 days\", not {given}"));
        match self {
            Self::Count(count) => Err(not_one(count.to_string())),
            Self::Text(text) => Self::micros_of(&text).ok_or_else(|| not_one(format!("{text:?}"))),
        }
    }

    fn micros_of(text: &str) -> Option<u64> {
        parse_interval_month_day_nano(text).ok().filter(|span| span.months == 0).and_then(|span| {
            u64::try_from(i128::from(span.days) * MICROS_PER_DAY + i128::from(span.nanoseconds / 1_000)).ok()
        })
    }
}

/// A time as [`Span`] reads it.
fn span_text(micros: u64) -> String {
    let units = [
        (86_400_000_000, "days"),
        (3_600_000_000, "hours"),
        (60_000_000, "minutes"),
        (1_000_000, "seconds"),
        (1_000, "milliseconds"),
    ];
    let unit = units.into_iter().find(|(unit, _)| micros.is_multiple_of(*unit));
    let (unit, name) = unit.unwrap_or((1, "microseconds"));
    format!("{} {name}", micros / unit)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DescribeCollection {
    description: Option<String>,
    owner: Option<String>,
    text: Option<BTreeMap<String, TextSettings>>,
    unindexed: Option<BTreeSet<String>>,
    #[serde(default, deserialize_with = "given")]
    event_time: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    retention: Option<Option<Span>>,
}

/// What is given, which may be null.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(value: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(value).map(Some)
}

#[derive(Debug, Serialize)]
pub(super) struct CollectionBody {
    workspace: String,
    name: String,
    description: String,
    owner: String,
    shards: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lateness: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_future: Option<u64>,
    #[serde(flatten)]
    indexing: IndexSettings,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retention: Option<String>,
    documents: u64,
    operations: u64,
    bytes: u64,
    segments: u64,
    lag_batches: u64,
    fence: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<Vec<FieldBody>>,
}

#[derive(Debug, Serialize)]
pub(super) struct FieldBody {
    path: String,
    types: Vec<TypeBody>,
}

#[derive(Debug, Serialize)]
struct TypeBody {
    #[serde(rename = "type")]
    of: &'static str,
    documents: u64,
}

pub(super) async fn collections(
    State(aggregator): Shared,
    Path(workspace): Path<String>,
) -> Result<Json<Listed<CollectionBody>>, Refused> {
    let state = aggregator.catalog.state();
    if !state.workspaces().contains_key(&workspace) {
        aggregator.collection(&workspace, "")?;
    }
    let mut listed = Vec::new();
    for collection in state.collections_of(&workspace) {
        listed.push(describe(&aggregator, collection, false).await?);
    }
    Ok(Json(Listed { workspaces: None, collections: Some(listed) }))
}

pub(super) async fn create_collection(
    State(aggregator): Shared,
    Path(workspace): Path<String>,
    request: Request,
) -> Result<(StatusCode, Json<CollectionBody>), Refused> {
    let asked: CreateCollection = body::read_json(request, aggregator.config.body_bytes_max).await?;
    if asked.version.is_none() && (asked.lateness.is_some() || asked.max_future.is_some()) {
        return Err(Failure::invalid("lateness and max_future are of collections that have a version").into());
    }
    let lateness = asked.lateness.map(|span| span.count("lateness")).transpose()?;
    let max_future = asked.max_future.map(|span| span.count("max_future")).transpose()?;
    let retention = asked.retention.map(|span| span.micros("retention")).transpose()?;
    let command = Command::CreateCollection {
        workspace: workspace.clone(),
        name: asked.name.clone(),
        description: asked.description,
        owner: asked.owner,
        shards: asked.shards.unwrap_or(aggregator.config.shards),
        key: asked.key,
        version: asked.version.map(|path| VersionSettings { path, lateness, max_future }),
        indexing: IndexSettings { text: asked.text, unindexed: asked.unindexed },
        retention: RetentionSettings { event_time: asked.event_time, micros: retention },
    };
    aggregator.propose(command).await?;
    let collection = aggregator.collection(&workspace, &asked.name)?;
    Ok((StatusCode::CREATED, Json(body_of(&collection, &[], false))))
}

pub(super) async fn collection(
    State(aggregator): Shared,
    Path((workspace, name)): Path<(String, String)>,
) -> Result<Json<CollectionBody>, Refused> {
    let collection = aggregator.collection(&workspace, &name)?;
    Ok(Json(describe(&aggregator, &collection, true).await?))
}

pub(super) async fn describe_collection(
    State(aggregator): Shared,
    Path((workspace, name)): Path<(String, String)>,
    request: Request,
) -> Result<Json<CollectionBody>, Refused> {
    let asked: DescribeCollection = body::read_json(request, aggregator.config.body_bytes_max).await?;
    let collection = aggregator.collection(&workspace, &name)?;
    let DescribeCollection { description, owner, text, unindexed, event_time, retention } = asked;
    let indexing = (text.is_some() || unindexed.is_some()).then(|| {
        let before = collection.indexing.settings();
        IndexSettings { text: text.unwrap_or(before.text), unindexed: unindexed.unwrap_or(before.unindexed) }
    });
    let retention = match (event_time, retention) {
        (None, None) => None,
        (event_time, retention) => {
            let rule = collection.retention.as_ref();
            let micros = retention.map(|span| span.map(|span| span.micros("retention")).transpose()).transpose()?;
            Some(RetentionSettings {
                event_time: event_time.unwrap_or_else(|| rule.map(|rule| rule.event_time.to_string())),
                micros: micros.unwrap_or_else(|| rule.and_then(|rule| rule.micros)),
            })
        }
    };
    let id = collection.id.0;
    aggregator.propose(Command::DescribeCollection { id, description, owner, indexing, retention }).await?;
    let collection = aggregator.collection(&workspace, &name)?;
    Ok(Json(describe(&aggregator, &collection, false).await?))
}

pub(super) async fn drop_collection(
    State(aggregator): Shared,
    Path((workspace, name)): Path<(String, String)>,
) -> Result<Json<serde_json::Value>, Refused> {
    let collection = aggregator.collection(&workspace, &name)?;
    aggregator.propose(Command::DropCollection { id: collection.id.0 }).await?;
    Ok(Json(serde_json::json!({ "deleted": collection.full_name() })))
}

async fn describe(aggregator: &Aggregator, collection: &Collection, fields: bool) -> Result<CollectionBody, Failure> {
    let asked = collection
        .shard_ids()
        .map(|shard| async move { aggregator.leaves.owner(shard)?.calls.status(shard, fields).await });
    let shards = futures::future::try_join_all(asked).await?;
    Ok(body_of(collection, &shards, fields))
}

fn body_of(collection: &Collection, shards: &[ShardStatus], fields: bool) -> CollectionBody {
    let sum = |of: fn(&ShardStatus) -> u64| shards.iter().map(of).sum();
    let applied = shards.iter().enumerate().filter(|(_, shard)| shard.applied > 0);
    let fence = Fence {
        collection: collection.id.0,
        schema_version: collection.schema.version(),
        routing_epoch: 0,
        positions: applied.map(|(number, shard)| (number as u16, shard.applied - 1)).collect(),
    };
    CollectionBody {
        workspace: collection.workspace.clone(),
        name: collection.name.clone(),
        description: collection.description.clone(),
        owner: collection.owner.clone(),
        shards: collection.shards,
        key: collection.key.as_ref().map(ToString::to_string),
        version: collection.version.as_ref().map(|rule| rule.path.to_string()),
        lateness: collection.version.as_ref().and_then(|rule| rule.lateness),
        max_future: collection.version.as_ref().and_then(|rule| rule.max_future),
        indexing: collection.indexing.settings(),
        event_time: collection.retention.as_ref().map(|rule| rule.event_time.to_string()),
        retention: collection.retention.as_ref().and_then(|rule| rule.micros).map(span_text),
        documents: sum(|shard| shard.documents),
        operations: sum(|shard| shard.operations),
        bytes: sum(|shard| shard.bytes),
        segments: sum(|shard| shard.segments),
        lag_batches: sum(|shard| shard.log_end - shard.applied),
        fence: fence.to_text(),
        fields: fields.then(|| fields_of(collection, shards)),
    }
}

/// The fields that documents have, by path, with how often each type occurs, about.
fn fields_of(collection: &Collection, shards: &[ShardStatus]) -> Vec<FieldBody> {
    let mut counts: BTreeMap<(u32, u8), u64> = BTreeMap::new();
    for count in shards.iter().flat_map(|shard| &shard.fields) {
        *counts.entry((count.field, count.of)).or_default() += count.documents;
    }
    let schema = &collection.schema;
    let mut fields = Vec::new();
    schema.visit_subtree(FieldId::ROOT, &mut |field| {
        let count = |of: Type| counts.get(&(field.0, of.code())).copied().unwrap_or_default();
        let types = schema.types(field).iter().map(|of| TypeBody { of: of.name(), documents: count(of) });
        let types: Vec<TypeBody> = types.collect();
        if field != FieldId::ROOT && !types.is_empty() {
            fields.push(FieldBody { path: schema.path(field).to_string(), types });
        }
    });
    fields
}
