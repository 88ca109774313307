//! Oracle (d): operations with versions, shuffled, delayed and doubled, end in the same content.
//!
//! The naive model sorts the operations of each document by their versions and applies them in that order. The shard gets them
//! in the order in which they arrive, some of them twice, each no later than the lateness horizon allows, with flushes and
//! restarts in between. Now and then, and at the end, its documents are the model's of what has arrived; and whatever the order,
//! the fingerprint at the end is the same.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use basalt_common::batch::{Batch, BatchBuilder};
use basalt_common::patch::{self, PatchOperation};
use basalt_common::position::LogPosition;
use basalt_common::random::SeededRandom;
use basalt_common::schema::Schema;
use basalt_common::value::Value;
use basalt_common::version::Horizon;
use basalt_harness::operations::{Model, Operation, Operations, is_tested, seed_of_round};
use basalt_harness::server::{Live, Server};
use basalt_leaf::apply::Outcome;
use basalt_leaf::fingerprint::fingerprint;
use basalt_leaf::policy::MergePolicy;
use basalt_leaf::shard::Shard;
use reqwest::Method;
use serde_json::{Value as Json, json};

use crate::disk::{Disk, Kept};
use crate::model::{add, compare, through_the_log};

/// An operation with its place among those of its document.
#[derive(Debug, Clone)]
struct Versioned {
    id: String,
    version: i64,
    operation_id: u128,
    operation: Operation,
}

impl Versioned {
    /// The rule's order: by version, then deletes, upserts by their content, patches by their bytes and their id.
    fn order(&self) -> (i64, u8, Value, Vec<u8>, u128) {
        let (kind, content, program) = match &self.operation {
            Operation::Delete => (0, Value::Null, Vec::new()),
            Operation::Upsert(document) => (1, Value::Object(document.clone()), Vec::new()),
            Operation::Patch { operations, .. } => {
                let mut program = Vec::new();
                patch::encode(operations, &mut program);
                (2, Value::Null, program)
            }
        };
        (self.version, kind, content, program, self.operation_id)
    }
}

/// Whether an operation is one that collections with versions take.
fn is_taken(operation: &Operation) -> bool {
    let into_array = |path: &[String]| path.iter().any(|key| key == "-");
    let good = |operation: &PatchOperation| match operation {
        PatchOperation::Test { .. } | PatchOperation::Move { .. } | PatchOperation::Copy { .. } => false,
        PatchOperation::Add { path, .. }
        | PatchOperation::Replace { path, .. }
        | PatchOperation::Remove { path }
        | PatchOperation::Increment { path, .. } => !into_array(path),
        PatchOperation::Merge { .. } => true,
    };
    match operation {
        Operation::Patch { operations, .. } => operations.iter().all(good),
        _ => true,
    }
}

/// What one run is made of.
#[derive(Debug, Clone)]
struct Plan {
    seed: u64,
    ids: u64,
    count: u64,
    lateness: Option<u64>,
    policy: MergePolicy,
}

impl Plan {
    /// The operations, three of each version.
    fn operations(&self) -> Vec<Versioned> {
        let mut operations = Operations::without_indices(self.seed, self.ids);
        let mut taken = Vec::new();
        while (taken.len() as u64) < self.count {
            let (id, operation) = operations.draw();
            if is_taken(&operation) {
                let index = taken.len() as i64;
                let operation_id = if matches!(operation, Operation::Patch { .. }) { index as u128 + 1 } else { 0 };
                taken.push(Versioned { id, version: index / 3 - 1_000, operation_id, operation });
            }
        }
        taken
    }

    /// The order of arrival: indices of operations, one in six of them twice, none later than the horizon allows.
    fn arrivals(&self, operations: &[Versioned], random: &mut SeededRandom) -> Vec<usize> {
        let delay_max = self.lateness.unwrap_or(self.count);
        let mut arrivals = Vec::new();
        for (index, operation) in operations.iter().enumerate() {
            for _ in 0..if random.chance(1, 6) { 2 } else { 1 } {
                let arrives = operation.version + random.below(delay_max + 1) as i64;
                arrivals.push((arrives, random.below(u64::MAX), index));
            }
        }
        arrivals.sort_unstable();
        arrivals.into_iter().map(|(_, _, index)| index).collect()
    }

    /// Runs the operations in one order of arrival; returns the fingerprint at the end.
    fn run(&self, operations: &[Versioned], shuffle: u64) -> Result<u128> {
        let mut random = SeededRandom::new(shuffle);
        let arrivals = self.arrivals(operations, &mut random);
        let horizon = Horizon { lateness: self.lateness, unsettled_max: u32::MAX };
        let mut disk = Disk::new(shuffle, Kept::Memory)?;
        let (mut shard, mut schema) = (Shard::new(self.policy.clone()), Schema::default());
        let mut log: Vec<(Batch, Vec<Outcome>)> = Vec::new();
        let mut arrived = BTreeSet::new();
        let (mut doubled, mut unsettled_most, mut compared) = (0, 0, 0);
        let mut rest = &arrivals[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(1 + random.below(200) as usize));
            rest = later;
            let mut builder = BatchBuilder::versioned();
            for index in now {
                let Versioned { id, version, operation_id, operation } = &operations[*index];
                add(&mut builder, &mut schema, id, operation)?;
                builder.version(*version, *operation_id);
            }
            let batch = through_the_log(builder, &schema, Some(horizon))?;
            let position = LogPosition(log.len() as u64);
            let outcomes = shard.apply(position, &batch, &schema)?;
            for (index, outcome) in now.iter().zip(&outcomes) {
                let again = !arrived.insert(*index);
                doubled += u64::from(again);
                let good = *outcome == Outcome::Ignored || !again;
                ensure!(good, "{:?} came again and became {outcome:?}", operations[*index]);
                ensure!(!matches!(outcome, Outcome::TooLate { .. }), "{:?}: {outcome:?}", operations[*index]);
            }
            log.push((batch, outcomes));
            unsettled_most = unsettled_most.max(shard.checkpoint().unsettled.operations());
            if disk.random.chance(1, 5) {
                disk.merge(&mut shard)?;
            }
            if disk.random.chance(1, 40) {
                disk.flush(&mut shard)?;
            }
            if disk.random.chance(1, 200) {
                drop(shard);
                shard = disk.reopen(&log, self.policy.clone(), &schema)?;
            }
            if arrived.len() - compared > operations.len() / 6 || rest.is_empty() {
                compared = arrived.len();
                let expected = model(operations, &arrived);
                compare(&shard, &schema, &expected).with_context(|| format!("after {compared} operations"))?;
            }
        }
        println!("{self:?}, shuffled by {shuffle}: {doubled} came twice, {unsettled_most} were unsettled at once");
        println!("{:?}", disk.done);
        let enough = doubled > 1_000 && disk.done.flushes > 10 && disk.done.reopens > 2;
        ensure!(is_tested(enough), "hardly anything was tested");
        ensure!(self.lateness.is_none_or(|_| unsettled_most < operations.len() / 4), "nothing is ever settled");
        Ok(fingerprint(&shard.newest().pin(), &schema)?)
    }
}

/// The documents that the operations make which have arrived.
fn model(operations: &[Versioned], arrived: &BTreeSet<usize>) -> Model {
    let mut by_document: BTreeMap<&str, Vec<&Versioned>> = BTreeMap::new();
    for index in arrived {
        by_document.entry(&operations[*index].id).or_default().push(&operations[*index]);
    }
    let mut model = Model::default();
    for (id, mut operations) in by_document {
        operations.sort_by_cached_key(|operation| operation.order());
        for operation in operations {
            model.apply(id, &operation.operation);
        }
    }
    model
}

fn check(plan: &Plan) -> Result<()> {
    let plan = &Plan { seed: seed_of_round(plan.seed), ..plan.clone() };
    let operations = plan.operations();
    let fingerprints = [1, 2]
        .map(seed_of_round)
        .map(|shuffle| plan.run(&operations, shuffle).with_context(|| format!("{plan:?}, shuffled by {shuffle}")));
    let [first, second] = fingerprints;
    ensure!(first? == second?, "{plan:?}: two orders have two fingerprints");
    Ok(())
}

#[test]
fn any_order_of_arrival_ends_the_same() -> Result<()> {
    let policy = MergePolicy::default();
    check(&Plan { seed: 1, ids: 300, count: 250_000, lateness: Some(400), policy })
}

#[test]
fn any_order_of_arrival_ends_the_same_however_it_merges() -> Result<()> {
    let eager = MergePolicy { segments_per_tier: 2, inline_rows_max: 0, ..MergePolicy::default() };
    check(&Plan { seed: 2, ids: 40, count: 125_000, lateness: Some(60), policy: eager })?;
    // Without a horizon an operation may come at any time; each document has few.
    let lazy = MergePolicy { segments_per_tier: 64, dead_share_max: 2.0, fold_rows_min: 8, ..MergePolicy::default() };
    check(&Plan { seed: 3, ids: 5_000, count: 125_000, lateness: None, policy: lazy })
}

const COLLECTIONS: &str = "/v1/workspaces/public/collections";

/// Over HTTP: what came of operations that arrive in another order than their versions have, twice, too late, or without one.
#[tokio::test(flavor = "multi_thread")]
async fn clients_see_the_newest_version() -> Result<()> {
    let mut live = Live::start(&[])?;
    let create = async |settings: Json| live.server.json(Method::POST, COLLECTIONS, settings.to_string()).await;
    let (status, reply) =
        create(json!({ "name": "docs", "shards": 1, "version": "at", "lateness": "1 minute" })).await?;
    ensure!(status == 201 && reply["version"] == "at" && reply["lateness"] == 60_000_000, "{status} {reply}");
    for bad in [
        json!({ "name": "x", "version": "" }),
        json!({ "name": "x", "lateness": 1 }),
        json!({ "name": "x", "version": "a", "lateness": "1 month" }),
    ] {
        let (status, reply) = create(bad.clone()).await?;
        ensure!(status == 400, "{bad}: {status} {reply}");
    }
    let became = async |method: Method, body: Json, outcome: &str| -> Result<()> {
        let reply = live.write(method, body.to_string()).await.with_context(|| body.to_string())?;
        let outcomes = reply["outcomes"].as_object().context("it waited")?;
        let found: Vec<_> = outcomes.iter().filter(|(_, count)| **count != 0).collect();
        ensure!(found.len() == 1 && found[0].0 == outcome, "{body} became {outcomes:?}");
        Ok(())
    };
    let minute = |minute: u64, second: u64| format!("2026-01-01T00:{minute:02}:{second:02}Z");
    let grow = |at: &str, operation: &str| {
        let patch = json!([{ "op": "increment", "path": "/n", "value": 1 }]);
        json!([{ "_id": "a", "version": at, "operation_id": operation, "patch": patch }])
    };
    let document = |at: &str, text: &str| json!([{ "_id": "a", "at": at, "text": text }]);
    became(Method::PATCH, grow(&minute(1, 30), "x"), "missing").await?;
    became(Method::POST, document(&minute(1, 20), "second"), "added").await?;
    became(Method::POST, document(&minute(1, 10), "first"), "ignored").await?;
    became(Method::POST, document(&minute(1, 20), "second"), "ignored").await?;
    became(Method::PATCH, grow(&minute(1, 25), "y"), "patched").await?;
    became(Method::PATCH, grow(&minute(1, 30), "x"), "ignored").await?;
    became(Method::DELETE, json!({ "ids": ["a"], "version": minute(1, 15) }), "ignored").await?;
    became(Method::PATCH, json!([{ "_id": "a", "merge": { "text": "third", "at": minute(1, 22) } }]), "patched")
        .await?;
    let shown = json!({ "_id": "a", "at": minute(1, 22), "text": "third", "n": 2 });
    ensure!(live.server.rows("SELECT * FROM docs").await? == [shown]);
    // A restart keeps what may yet change.
    let arguments: [&str; 0] = [];
    live.server.kill()?;
    live.server = Server::start(live.data.path(), &arguments)?;
    let became = async |method: Method, body: Json, outcome: &str| -> Result<()> {
        let reply = live.write(method, body.to_string()).await.with_context(|| body.to_string())?;
        ensure!(reply["outcomes"][outcome] == 1, "{body} became {reply}");
        Ok(())
    };
    became(Method::PATCH, grow(&minute(1, 30), "x"), "ignored").await?;
    became(Method::POST, document(&minute(1, 24), "fourth"), "replaced").await?;
    let shown = json!({ "_id": "a", "at": minute(1, 24), "text": "fourth", "n": 2 });
    ensure!(live.server.rows("SELECT * FROM docs").await? == [shown]);
    became(Method::POST, json!([{ "_id": "b", "at": minute(2, 30) }]), "added").await?;
    became(Method::POST, document(&minute(1, 29), "too late"), "failed").await?;
    became(Method::DELETE, json!({ "ids": ["a"], "version": minute(2, 0) }), "deleted").await?;
    became(Method::POST, document(&minute(1, 59), "dead"), "ignored").await?;
    ensure!(live.server.rows("SELECT _id FROM docs").await? == [json!({ "_id": "b" })]);
    let bodies = [
        (Method::POST, json!([{ "_id": "a" }]), 1),
        (
            Method::PATCH,
            json!([{ "_id": "a", "version": 7, "patch": [{ "op": "test", "path": "/n", "value": 1 }] }]),
            1,
        ),
        (Method::PATCH, json!([{ "_id": "a", "merge": { "n": 1 } }]), 1),
    ];
    for (method, body, failed) in bodies {
        let reply = live.write(method, body.to_string()).await?;
        ensure!(reply["failed"] == failed && reply["accepted"] == 0, "{body}: {reply}");
    }
    Ok(())
}
