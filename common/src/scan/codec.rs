//! [`ScanCodec`]: how a [`ShardScanExec`] crosses processes.
//!
//! In and out: protobuf, inside DataFusion's encoding of physical plans. The layout and the task list do not cross: they
//! serve planning, which is over by then.

use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use datafusion_proto::protobuf;
use prost::Message;
use url::Url;

use super::{ShardPlace, ShardScanExec};

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
}

#[derive(Clone, PartialEq, Message)]
struct PlaceMessage {
    #[prost(uint32, tag = "1")]
    shard: u32,
    #[prost(string, tag = "2")]
    node: String,
}

fn encode(scan: &ShardScanExec) -> Result<ScanMessage> {
    let places = scan.places().iter().map(|place| PlaceMessage { shard: place.shard, node: place.node.to_string() });
    Ok(ScanMessage {
        collection: scan.collection().to_string(),
        schema: Some(scan.schema().as_ref().try_into()?),
        places: places.collect(),
        partitions: scan.properties().partitioning.partition_count() as u64,
        limit: scan.limit().map(|limit| limit as u64),
    })
}

fn decode(message: ScanMessage) -> Result<ShardScanExec> {
    let Some(schema) = message.schema else {
        return internal_err!("a scan of {} came without its schema", message.collection);
    };
    let schema: Schema = (&schema).try_into()?;
    let place = |place: PlaceMessage| match Url::parse(&place.node) {
        Ok(node) => Ok(ShardPlace { shard: place.shard, node }),
        Err(error) => internal_err!("shard {} came with the address {:?}: {error}", place.shard, place.node),
    };
    let places: Vec<ShardPlace> = message.places.into_iter().map(place).collect::<Result<_>>()?;
    let all = ShardScanExec::new(message.collection.into(), Arc::new(schema), Arc::from([]));
    let partitions = (message.partitions as usize).max(1);
    Ok(all.over(places.into(), partitions).with_limit(message.limit.map(|limit| limit as usize)))
}

impl PhysicalExtensionCodec for ScanCodec {
    fn try_decode(
        &self,
        buffer: &[u8],
        _inputs: &[Arc<dyn ExecutionPlan>],
        _context: &TaskContext,
        _converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let message = ScanMessage::decode(buffer).map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(Arc::new(decode(message)?))
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buffer: &mut Vec<u8>,
        _converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let Some(scan) = node.downcast_ref::<ShardScanExec>() else {
            return internal_err!("the plan node {} cannot be sent to another process", node.name());
        };
        encode(scan)?.encode(buffer).map_err(|error| DataFusionError::External(Box::new(error)))
    }
}
