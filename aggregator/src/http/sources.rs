//! Sources of collections: made, removed, paused, and how they are.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use basalt_common::calls::{SourceState, SourceStatus};
use basalt_common::catalog::{Command, KafkaProperties, Source, SourceSettings, SourceStart};
use basalt_common::failure::{Failure, FailureKind};
use serde::{Deserialize, Serialize};

use super::reply::Refused;
use super::{Shared, body};
use crate::aggregator::Aggregator;
use crate::sql::nearest;

/// What a new source is to be. What the contract has and this server does not is refused by name, not ignored.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateSource {
    name: String,
    #[serde(rename = "type")]
    of: String,
    brokers: String,
    topic: String,
    #[serde(default = "json")]
    format: String,
    #[serde(default = "earliest")]
    start: SourceStart,
    #[serde(default)]
    properties: BTreeMap<String, String>,
}

fn json() -> String {
    "json".into()
}

fn earliest() -> SourceStart {
    SourceStart::Earliest
}

#[derive(Debug, Serialize)]
pub(super) struct SourceBody {
    name: String,
    #[serde(rename = "type")]
    of: &'static str,
    brokers: String,
    topic: String,
    format: &'static str,
    start: SourceStart,
    /// Their names: values may be secrets.
    properties: Vec<String>,
    #[serde(flatten)]
    status: SourceStatus,
}

#[derive(Debug, Serialize)]
pub(super) struct Listed {
    sources: Vec<SourceBody>,
}

type CollectionPath = Path<(String, String)>;
type SourcePath = Path<(String, String, String)>;

pub(super) async fn sources(
    State(aggregator): Shared,
    Path((workspace, collection)): CollectionPath,
) -> Result<Json<Listed>, Refused> {
    let collection = aggregator.collection(&workspace, &collection)?;
    let state = aggregator.catalog.state();
    let mut sources = Vec::new();
    for source in state.sources().filter(|source| source.collection == collection.id) {
        sources.push(describe(&aggregator, source).await);
    }
    Ok(Json(Listed { sources }))
}

pub(super) async fn create(
    State(aggregator): Shared,
    Path((workspace, collection)): CollectionPath,
    request: Request,
) -> Result<(StatusCode, Json<SourceBody>), Refused> {
    let asked: CreateSource = body::read_json(request, aggregator.config.body_bytes_max).await?;
    let one_of = |what: &str, given: &str, known: &str| match given == known {
        true => Ok(()),
        false => Err(Failure::invalid(format!("a source's {what} is {known} in this version, not {given:?}"))),
    };
    one_of("type", &asked.of, "kafka")?;
    one_of("format", &asked.format, "json")?;
    let properties = KafkaProperties::new(asked.properties).map_err(Failure::invalid)?;
    let collection = aggregator.collection_to_write(&workspace, &collection).await?;
    let CreateSource { name, brokers, topic, start, .. } = asked;
    let settings = SourceSettings::Kafka { brokers, topic, start, properties };
    let command = Command::CreateSource { collection: collection.id.0, name: name.clone(), settings };
    aggregator.propose(command).await?;
    let source = find(&aggregator, &(workspace, collection.name.clone(), name))?;
    Ok((StatusCode::CREATED, Json(describe(&aggregator, &source).await)))
}

pub(super) async fn source(State(aggregator): Shared, Path(path): SourcePath) -> Result<Json<SourceBody>, Refused> {
    let source = find(&aggregator, &path)?;
    Ok(Json(describe(&aggregator, &source).await))
}

pub(super) async fn delete(
    State(aggregator): Shared,
    Path(path): SourcePath,
) -> Result<Json<serde_json::Value>, Refused> {
    let source = find(&aggregator, &path)?;
    aggregator.propose(Command::DropSource { id: source.id.0 }).await?;
    Ok(Json(serde_json::json!({ "deleted": source.name })))
}

pub(super) async fn pause(aggregator: Shared, path: SourcePath) -> Result<Json<SourceBody>, Refused> {
    set_paused(aggregator, path, true).await
}

pub(super) async fn resume(aggregator: Shared, path: SourcePath) -> Result<Json<SourceBody>, Refused> {
    set_paused(aggregator, path, false).await
}

async fn set_paused(
    State(aggregator): Shared,
    Path(path): SourcePath,
    paused: bool,
) -> Result<Json<SourceBody>, Refused> {
    let id = find(&aggregator, &path)?.id.0;
    aggregator.propose(Command::PauseSource { id, paused }).await?;
    let source = find(&aggregator, &path)?;
    Ok(Json(describe(&aggregator, &source).await))
}

fn find(
    aggregator: &Aggregator,
    (workspace, collection, name): &(String, String, String),
) -> Result<std::sync::Arc<Source>, Failure> {
    let collection = aggregator.collection(workspace, collection)?;
    let state = aggregator.catalog.state();
    state.find_source(collection.id, name).cloned().ok_or_else(|| {
        let message = format!("there is no source {name} of {}", collection.full_name());
        let mut failure = Failure::new(FailureKind::NotFound, message);
        let known = state.sources().filter(|source| source.collection == collection.id);
        let near = nearest(name, known.map(|source| source.name.as_str()));
        failure.hint = near.map(|near| format!("did you mean {near}?"));
        failure
    })
}

/// A source, and how it is, as far as its tailer can be reached.
async fn describe(aggregator: &Aggregator, source: &Source) -> SourceBody {
    let version = aggregator.catalog.state().version();
    let status = aggregator.sources.source_status(source.id, version).await.unwrap_or_else(|failure| SourceStatus {
        state: SourceState::Failed,
        reason: Some(failure.message),
        ..SourceStatus::default()
    });
    let SourceSettings::Kafka { brokers, topic, start, properties } = &source.settings;
    SourceBody {
        name: source.name.clone(),
        of: "kafka",
        brokers: brokers.clone(),
        topic: topic.clone(),
        format: "json",
        start: *start,
        properties: properties.names().cloned().collect(),
        status,
    }
}
