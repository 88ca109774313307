//! [`ScanCodec`]: how a [`ShardScanExec`] crosses processes; a [`ShardAggregateExec`] is its input, and nothing more, a
//! [`TimedJoinExec`] its join and the microseconds that are left.
//!
//! In and out: protobuf, inside DataFusion's encoding of physical plans. The layout and the task list do not cross: they
//! serve planning, which is over by then.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::{conjunction, split_conjunction};
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{
    PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf::{self, physical_expr_node::ExprType};
use prost::Message;
use url::Url;

use super::{
    AccessPath, ScanColumn, ScanFilter, ScanScore, ScanStep, ScanTarget, ScanTop, ShardAggregateExec, ShardPlace,
    ShardScanExec,
};
use crate::calls::QueryId;
use crate::fence::Fence;
use crate::id::{CollectionId, FieldId};
use crate::in_time::TimedJoinExec;
use crate::retention::Expired;
use crate::value::Type;

/// No plan has more columns between its operators than so many: a bound on what is made of a number that came.
const WIDTH_MAX: usize = 1 << 16;

/// Encodes and decodes the plan nodes of this crate.
#[derive(Debug, Clone, Copy)]
pub struct ScanCodec;

#[derive(Clone, PartialEq, Message)]
struct ScanMessage {
    #[prost(string, tag = "1")]
    collection: String,
    #[prost(message, optional, tag = "2")]
    schema: Option<protobuf::Schema>,
    #[prost(message, repeated, tag = "3")]
    places: Vec<PlaceMessage>,
    #[prost(uint64, tag = "4")]
    partitions: u64,
    #[prost(uint64, optional, tag = "5")]
    limit: Option<u64>,
    #[prost(message, repeated, tag = "6")]
    columns: Vec<ColumnMessage>,
    #[prost(bytes, tag = "7")]
    query: Vec<u8>,
    #[prost(uint32, tag = "8")]
    collection_id: u32,
    #[prost(string, optional, tag = "9")]
    fence: Option<String>,
    #[prost(message, optional, tag = "10")]
    filter: Option<FilterMessage>,
    #[prost(message, optional, tag = "11")]
    top: Option<TopMessage>,
    #[prost(string, optional, tag = "12")]
    path: Option<String>,
    #[prost(bool, tag = "13")]
    analyze: bool,
    #[prost(message, optional, tag = "14")]
    expired: Option<ExpiredMessage>,
    #[prost(message, optional, tag = "15")]
    dynamic: Option<DynamicMessage>,
}

/// Predicates that operators of the plan make while it runs, all over the same columns.
#[derive(Clone, PartialEq, Message)]
struct DynamicMessage {
    #[prost(message, optional, tag = "1")]
    schema: Option<protobuf::Schema>,
    #[prost(message, repeated, tag = "2")]
    columns: Vec<ColumnMessage>,
    #[prost(message, repeated, tag = "3")]
    predicates: Vec<protobuf::PhysicalExprNode>,
}

#[derive(Clone, PartialEq, Message)]
struct ExpiredMessage {
    #[prost(uint32, tag = "1")]
    field: u32,
    #[prost(int64, tag = "2")]
    below: i64,
}

#[derive(Clone, PartialEq, Message)]
struct TopMessage {
    #[prost(uint64, tag = "1")]
    column: u64,
    #[prost(bool, tag = "2")]
    descending: bool,
    #[prost(bool, tag = "3")]
    nulls_first: bool,
    #[prost(uint64, tag = "4")]
    rows: u64,
}

#[derive(Clone, PartialEq, Message)]
struct FilterMessage {
    #[prost(message, optional, tag = "1")]
    schema: Option<protobuf::Schema>,
    #[prost(message, repeated, tag = "2")]
    columns: Vec<ColumnMessage>,
    #[prost(message, optional, tag = "3")]
    predicate: Option<protobuf::PhysicalExprNode>,
}

/// A column: no field where it is the `_id`.
#[derive(Clone, PartialEq, Message)]
struct ColumnMessage {
    #[prost(uint32, optional, tag = "1")]
    field: Option<u32>,
    #[prost(message, repeated, tag = "2")]
    below: Vec<StepMessage>,
    #[prost(message, optional, boxed, tag = "3")]
    score: Option<Box<ScoreMessage>>,
}

/// Scores of texts: the call and the statistics as JSON.
#[derive(Clone, PartialEq, Message)]
struct ScoreMessage {
    #[prost(message, optional, boxed, tag = "1")]
    texts: Option<Box<ColumnMessage>>,
    #[prost(string, tag = "2")]
    call: String,
    #[prost(string, tag = "3")]
    statistics: String,
}

/// A step: a key, or else the code of a type.
#[derive(Clone, PartialEq, Message)]
struct StepMessage {
    #[prost(string, optional, tag = "1")]
    key: Option<String>,
    #[prost(uint32, tag = "2")]
    kind: u32,
}

#[derive(Clone, PartialEq, Message)]
struct PlaceMessage {
    #[prost(uint32, tag = "1")]
    shard: u32,
    #[prost(string, tag = "2")]
    node: String,
}

fn encode_column(column: &ScanColumn) -> ColumnMessage {
    let step = |step: &ScanStep| match step {
        ScanStep::Key(key) => StepMessage { key: Some(key.clone()), kind: 0 },
        ScanStep::Kind(of) => StepMessage { key: None, kind: of.code().into() },
    };
    match column {
        ScanColumn::Id => ColumnMessage { field: None, below: Vec::new(), score: None },
        ScanColumn::Field { field, below } => {
            ColumnMessage { field: Some(field.0), below: below.iter().map(step).collect(), score: None }
        }
        ScanColumn::Score(score) => {
            let score = ScoreMessage {
                texts: Some(Box::new(encode_column(&score.texts))),
                call: serde_json::to_string(&score.call).expect("a call is plain data"),
                statistics: score.statistics.to_string(),
            };
            ColumnMessage { field: None, below: Vec::new(), score: Some(Box::new(score)) }
        }
    }
}

fn decode_column(message: ColumnMessage) -> Result<ScanColumn> {
    let step = |step: StepMessage| match (step.key, u8::try_from(step.kind).ok().and_then(Type::from_code)) {
        (Some(key), _) => Ok(ScanStep::Key(key)),
        (None, Some(of)) => Ok(ScanStep::Kind(of)),
        (None, None) => internal_err!("a scan came with the unknown type {}", step.kind),
    };
    if let Some(score) = message.score {
        return decode_score(*score);
    }
    match message.field {
        None => Ok(ScanColumn::Id),
        Some(field) => {
            let below = message.below.into_iter().map(step).collect::<Result<_>>()?;
            Ok(ScanColumn::Field { field: FieldId(field), below })
        }
    }
}

fn decode_score(message: ScoreMessage) -> Result<ScanColumn> {
    let ScoreMessage { texts, call, statistics } = message;
    let (Some(texts), Ok(call), Ok(statistics)) = (texts, serde_json::from_str(&call), statistics.parse()) else {
        return internal_err!("a scan came with a score that cannot be read");
    };
    Ok(ScanColumn::Score(Arc::new(ScanScore { texts: decode_column(*texts)?, call, statistics })))
}

fn encode(scan: &ShardScanExec, converter: &dyn PhysicalProtoConverterExtension) -> Result<ScanMessage> {
    let filter = |filter: &Arc<ScanFilter>| -> Result<FilterMessage> {
        Ok(FilterMessage {
            schema: Some(filter.schema.as_ref().try_into()?),
            columns: filter.columns.iter().map(encode_column).collect(),
            predicate: Some(converter.physical_expr_to_proto(&filter.predicate, &ScanCodec)?),
        })
    };
    let places = scan.places().iter().map(|place| PlaceMessage { shard: place.shard, node: place.node.to_string() });
    Ok(ScanMessage {
        collection: scan.target().name.to_string(),
        schema: Some(scan.schema().as_ref().try_into()?),
        places: places.collect(),
        partitions: scan.properties().partitioning.partition_count() as u64,
        limit: scan.limit().map(|limit| limit as u64),
        columns: scan.columns().iter().map(encode_column).collect(),
        query: scan.target().query.0.to_le_bytes().to_vec(),
        collection_id: scan.target().collection.0,
        fence: scan.target().fence.as_ref().map(Fence::to_text),
        filter: scan.filter().map(filter).transpose()?,
        top: scan.top().map(encode_top),
        path: scan.target().path.map(|path| path.name().into()),
        analyze: scan.target().analyze,
        expired: scan.target().expired.map(|expired| ExpiredMessage { field: expired.field.0, below: expired.below }),
        dynamic: scan.dynamic().map(|dynamic| encode_dynamic(dynamic, converter)).transpose()?.flatten(),
    })
}

fn encode_top(top: ScanTop) -> TopMessage {
    let ScanTop { column, descending, nulls_first, rows } = top;
    TopMessage { column: column as u64, descending, nulls_first, rows: rows as u64 }
}

fn decode_top(message: TopMessage, schema: &Schema) -> Result<ScanTop> {
    let TopMessage { column, descending, nulls_first, rows } = message;
    match column as usize {
        column if column < schema.fields().len() => {
            Ok(ScanTop { column, descending, nulls_first, rows: rows as usize })
        }
        _ => internal_err!("a scan came with an order by column {column}, which it does not have"),
    }
}

fn decode_filter(
    message: FilterMessage,
    context: &TaskContext,
    converter: &dyn PhysicalProtoConverterExtension,
) -> Result<ScanFilter> {
    let (Some(schema), Some(predicate)) = (message.schema, message.predicate) else {
        return internal_err!("a filter came without its predicate");
    };
    let schema: Schema = (&schema).try_into()?;
    let columns: Vec<ScanColumn> = message.columns.into_iter().map(decode_column).collect::<Result<_>>()?;
    if columns.len() != schema.fields().len() {
        return internal_err!("a filter came without its columns");
    }
    let context = PhysicalPlanDecodeContext::new(context, &ScanCodec);
    let predicate = converter.proto_to_physical_expr(&predicate, &schema, &context)?;
    Ok(ScanFilter { schema: Arc::new(schema), columns: columns.into(), predicate })
}

/// A dynamic filter; none where one of its predicates is made of anything but columns: a scan does without.
fn encode_dynamic(
    filter: &ScanFilter,
    converter: &dyn PhysicalProtoConverterExtension,
) -> Result<Option<DynamicMessage>> {
    let mut predicates = Vec::new();
    for part in split_conjunction(&filter.predicate) {
        let node = converter.physical_expr_to_proto(part, &ScanCodec)?;
        if renamed(&node).is_none() {
            return Ok(None);
        }
        predicates.push(node);
    }
    let columns = filter.columns.iter().map(encode_column).collect();
    Ok(Some(DynamicMessage { schema: Some(filter.schema.as_ref().try_into()?), columns, predicates }))
}

/// The columns that a dynamic predicate had where it was made, each with the one that it has here.
fn renamed(node: &protobuf::PhysicalExprNode) -> Option<Vec<(usize, usize)>> {
    let Some(ExprType::DynamicFilter(dynamic)) = &node.expr_type else { return None };
    let column = |node: &protobuf::PhysicalExprNode| match &node.expr_type {
        Some(ExprType::Column(column)) => Some(column.index as usize),
        _ => None,
    };
    let pairs = dynamic.children.iter().zip(&dynamic.remapped_children);
    let pairs: Vec<_> = pairs.map(|(there, here)| Some((column(there)?, column(here)?))).collect::<Option<_>>()?;
    (pairs.len() == dynamic.children.len()).then_some(pairs)
}

fn decode_dynamic(
    message: DynamicMessage,
    context: &TaskContext,
    converter: &dyn PhysicalProtoConverterExtension,
) -> Result<ScanFilter> {
    let Some(schema) = message.schema else { return internal_err!("a dynamic filter came without its schema") };
    let schema: Schema = (&schema).try_into()?;
    let columns: Vec<ScanColumn> = message.columns.into_iter().map(decode_column).collect::<Result<_>>()?;
    if columns.len() != schema.fields().len() {
        return internal_err!("a dynamic filter came without its columns");
    }
    let context = PhysicalPlanDecodeContext::new(context, &ScanCodec);
    let mut predicates = Vec::with_capacity(message.predicates.len());
    for node in &message.predicates {
        // What it says now is said of the columns that it had where it was made: they are there too, for reading it.
        let pairs =
            renamed(node).filter(|pairs| pairs.iter().all(|(there, here)| *there < WIDTH_MAX && *here < columns.len()));
        let Some(pairs) = pairs else {
            return internal_err!("a dynamic filter came with columns that it does not have");
        };
        let width = pairs.iter().map(|(there, _)| there + 1).fold(columns.len(), usize::max);
        let mut fields: Vec<Field> =
            (0..width).map(|index| Field::new(index.to_string(), DataType::Null, true)).collect();
        for (there, here) in pairs {
            fields[there] = schema.field(here).clone();
        }
        predicates.push(converter.proto_to_physical_expr(node, &Schema::new(fields), &context)?);
    }
    Ok(ScanFilter { schema: Arc::new(schema), columns: columns.into(), predicate: conjunction(predicates) })
}

fn decode(
    message: ScanMessage,
    context: &TaskContext,
    converter: &dyn PhysicalProtoConverterExtension,
) -> Result<ShardScanExec> {
    let Some(schema) = message.schema else {
        return internal_err!("a scan of {} came without its schema", message.collection);
    };
    let schema: Schema = (&schema).try_into()?;
    let place = |place: PlaceMessage| match Url::parse(&place.node) {
        Ok(node) => Ok(ShardPlace { shard: place.shard, node }),
        Err(error) => internal_err!("shard {} came with the address {:?}: {error}", place.shard, place.node),
    };
    let places: Vec<ShardPlace> = message.places.into_iter().map(place).collect::<Result<_>>()?;
    let columns: Vec<ScanColumn> = message.columns.into_iter().map(decode_column).collect::<Result<_>>()?;
    let (Ok(query), true) = (message.query.try_into(), columns.len() == schema.fields().len()) else {
        return internal_err!("a scan of {} came without its query or its columns", message.collection);
    };
    let top = message.top.map(|top| decode_top(top, &schema)).transpose()?;
    let path = message.path.map(|name| match AccessPath::from_name(&name) {
        Some(path) => Ok(path),
        None => internal_err!("a scan came with the unknown access path {name}"),
    });
    let fence = message.fence.map(|text| Fence::from_text(&text)).transpose();
    let target = ScanTarget {
        query: QueryId(u128::from_le_bytes(query)),
        collection: CollectionId(message.collection_id),
        name: message.collection.into(),
        fence: fence.map_err(|error| DataFusionError::External(Box::new(error)))?,
        path: path.transpose()?,
        analyze: message.analyze,
        expired: message.expired.map(|expired| Expired { field: FieldId(expired.field), below: expired.below }),
    };
    let all = ShardScanExec::new(Arc::new(target), Arc::new(schema), columns.into(), Arc::from([]));
    let partitions = (message.partitions as usize).max(1);
    let filter = message.filter.map(|filter| decode_filter(filter, context, converter)).transpose()?;
    let dynamic = message.dynamic.map(|dynamic| decode_dynamic(dynamic, context, converter)).transpose()?;
    let scan =
        all.over(places.into(), partitions).with_filter(filter.map(Arc::new)).with_dynamic(dynamic.map(Arc::new));
    Ok(scan.with_limit(message.limit.map(|limit| limit as usize)).with_top(top))
}

impl PhysicalExtensionCodec for ScanCodec {
    fn try_decode(
        &self,
        buffer: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (inputs, buffer.try_into()) {
            ([join], Ok(left)) => return Ok(Arc::new(TimedJoinExec::decode(left, join)?)),
            ([partial], Err(_)) => return Ok(Arc::new(ShardAggregateExec::try_new(Arc::clone(partial))?)),
            _ => {}
        }
        let message = ScanMessage::decode(buffer).map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(Arc::new(decode(message, context, converter)?))
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buffer: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        if node.is::<ShardAggregateExec>() {
            return Ok(());
        }
        if let Some(join) = node.downcast_ref::<TimedJoinExec>() {
            buffer.extend(join.encode());
            return Ok(());
        }
        let Some(scan) = node.downcast_ref::<ShardScanExec>() else {
            return internal_err!("the plan node {} cannot be sent to another process", node.name());
        };
        encode(scan, converter)?.encode(buffer).map_err(|error| DataFusionError::External(Box::new(error)))
    }
}
