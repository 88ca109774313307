//! Oracle (b), for filters: whatever way a segment's rows are chosen, they are the same rows.
//!
//! Random operations go into two shards: one that is flushed, reads its files and is made again from them now and then, and one
//! that stays in memory. Random filters are then answered on the files by every access path, forced and chosen, on the same files
//! value by value (as one condition that no test of a column stands for), and in memory; of each, the first rows by some column are
//! also looked for by walking terms. Two fields have an index of their words; scores of texts are the same from it and from the texts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use basalt_common::batch::{Batch, BatchBuilder};
use basalt_common::calls::QueryId;
use basalt_common::id::CollectionId;
use basalt_common::indexing::{IndexSettings, Indexing, TextSettings};
use basalt_common::patch::PatchOperation;
use basalt_common::position::LogPosition;
use basalt_common::random::SeededRandom;
use basalt_common::scan::{AccessPath, ScanColumn, ScanFilter, ScanScore, ScanStep, ScanTarget, ScanTop, ShardScan};
use basalt_common::schema::Schema;
use basalt_common::text::{Analyzer, Statistics};
use basalt_common::value::{FieldPath, Type, Value};
use basalt_harness::operations::{Operation, Operations, is_tested, seed_of_round};
use basalt_leaf::apply::Outcome;
use basalt_leaf::arrow::Rows;
use basalt_leaf::indexes::Indexes;
use basalt_leaf::policy::MergePolicy;
use basalt_leaf::select::{Selector, Top};
use basalt_leaf::shard::{Shard, Snapshot};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, make_comparator, new_empty_array};
use datafusion::arrow::compute::{SortOptions, concat};
use datafusion::arrow::datatypes::{DataType, Field, Float64Type};
use datafusion::common::ScalarValue;
use datafusion::physical_expr::expressions::{CaseExpr, Column, InListExpr, Literal};

use crate::aggregates;
use crate::disk::{Disk, Kept};
use crate::drawn::{Expression, Filters, place};
use crate::model::{add, through_the_log};

/// The `_id`s of the rows that pass, and the ways they were found: by the one that is forced, where a segment has it.
fn passing(
    snapshot: &Snapshot,
    schema: &Schema,
    filter: &ScanFilter,
    path: Option<AccessPath>,
) -> Result<(BTreeSet<String>, BTreeSet<AccessPath>)> {
    let selector = Selector::new(filter, schema)?;
    let (mut ids, mut paths) = (BTreeSet::new(), BTreeSet::new());
    for version in snapshot.segments() {
        let (rows, rest, by) = selector.candidates(version, path)?;
        if version.segment().rows() > 0 {
            paths.insert(by);
        }
        let rows = selector.pass(&rest, version, schema, rows)?;
        for id in version.ids(&rows)?.iter().flatten() {
            ensure!(ids.insert(id.to_string()), "{id} passes twice");
        }
    }
    Ok((ids, paths))
}

/// What a scan of one column is asked for that wants its first rows only.
fn top_scan(filters: &mut Filters) -> ShardScan {
    let column = filters.random.below(filters.columns.len() as u64) as usize;
    let (descending, nulls_first) = (filters.random.chance(1, 2), filters.random.chance(1, 4));
    let rows = 1 + filters.random.below(12) as usize;
    let path = filters.random.chance(1, 2).then_some(AccessPath::IndexFilter);
    let target = ScanTarget {
        query: QueryId(0),
        collection: CollectionId(1),
        name: "c".into(),
        fence: None,
        path,
        analyze: false,
        expired: None,
    };
    ShardScan {
        target: Arc::new(target),
        shard: 0,
        schema: Arc::clone(&filters.schema),
        columns: Arc::clone(&filters.columns),
        filter: None,
        dynamic: None,
        limit: None,
        top: Some(ScanTop { column, descending, nulls_first, rows }),
    }
}

/// The `_id`s and the column's values of all rows that pass; those alone that a walk of terms gives, where one can.
fn ordered(
    snapshot: &Snapshot,
    schema: &Schema,
    filter: &ScanFilter,
    scan: &ShardScan,
    walked: Option<&mut u64>,
) -> Result<(Vec<String>, ArrayRef)> {
    let (selector, top) = (Selector::new(filter, schema)?, Top::new(scan, schema));
    let column = scan.top.context("it wants the first rows")?.column;
    let (mut ids, mut arrays, mut count) = (Vec::new(), Vec::new(), 0);
    for version in snapshot.segments() {
        let told = match top.as_ref().filter(|_| walked.is_some()) {
            Some(top) => top.candidates(version, Some(&selector), schema)?,
            None => None,
        };
        count += u64::from(told.is_some());
        let rows = match told {
            Some(rows) => rows,
            None => selector.pass(&selector.all(), version, schema, version.live())?,
        };
        ids.extend(version.ids(&rows)?.iter().flatten().map(String::from));
        let rows = Rows { version, schema, rows: &rows };
        arrays.push(rows.column(&scan.columns[column], scan.schema.field(column))?);
    }
    if let Some(walked) = walked {
        *walked += count;
    }
    let empty = new_empty_array(scan.schema.field(column).data_type());
    let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).chain([empty.as_ref()]).collect();
    Ok((ids, concat(&arrays)?))
}

/// Every row that is among the first, or as good as the last of these, is given.
fn check_top(
    files: &Snapshot,
    memory: &Snapshot,
    schema: &Schema,
    filter: &ScanFilter,
    scan: &ShardScan,
) -> Result<u64> {
    let mut walked = 0;
    let (given, _) = ordered(files, schema, filter, scan, Some(&mut walked))?;
    let given: BTreeSet<String> = given.into_iter().collect();
    let (all, values) = ordered(memory, schema, filter, scan, None)?;
    ensure!(given.iter().all(|id| all.contains(id)), "a row is given that does not pass");
    let top = scan.top.context("it wants the first rows")?;
    let options = SortOptions { descending: top.descending, nulls_first: top.nulls_first };
    let compare = make_comparator(&values, &values, options)?;
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by(|a, b| compare(*a, *b));
    let last = order.get(top.rows.min(all.len()).wrapping_sub(1)).copied();
    for row in order.iter().take_while(|row| last.is_some_and(|last| compare(**row, last).is_le())) {
        ensure!(given.contains(&all[*row]), "{} is not given, but is among the first: {top:?}", all[*row]);
    }
    Ok(walked)
}

/// Some `_id`s, and the predicate that names them.
fn by_ids(filters: &mut Filters, ids: u64) -> Result<(Vec<String>, Expression)> {
    let named = (0..1 + filters.random.below(4)).map(|_| format!("doc-{}", filters.random.below(ids + 5)));
    let named: Vec<String> = named.collect();
    let constant = |id: &String| Arc::new(Literal::new(ScalarValue::Utf8(Some(id.clone())))) as Expression;
    let column: Expression = Arc::new(Column::new("_id", 0));
    let list = InListExpr::try_new(column, named.iter().map(constant).collect(), false, &filters.schema)?;
    Ok((named, Arc::new(list)))
}

/// Rows that the keys tell are those that a filter by `_id` finds, in a snapshot of now or of before. Whether the keys told.
fn check_located(shard: &Shard, snapshot: &Snapshot, schema: &Schema, filters: &mut Filters, ids: u64) -> Result<bool> {
    let (named, predicate) = by_ids(filters, ids)?;
    let filter = filters.filter(predicate);
    let mut known = Selector::new(&filter, schema)?.ids().context("the filter names ids")?;
    known.sort();
    let mut sorted = named.clone();
    sorted.sort();
    ensure!(known == sorted, "{known:?} of {named:?}");
    let Some(located) = shard.locate(&named, snapshot)? else { return Ok(false) };
    let mut found = BTreeSet::new();
    for version in snapshot.segments() {
        for row in located.get(&version.segment().id()).into_iter().flatten() {
            ensure!(version.is_live(*row), "row {row} is dead");
            found.insert(version.segment().id_of(*row)?.into_owned());
        }
    }
    let (expected, _) = passing(snapshot, schema, &filter, None)?;
    ensure!(found == expected, "{named:?}: {found:?} by keys, {expected:?} by the filter");
    Ok(true)
}

/// The score of every document by the texts of a field, by its `_id`.
fn scores(snapshot: &Snapshot, schema: &Schema, score: &ScanColumn) -> Result<BTreeMap<String, f64>> {
    let wanted = Field::new("score", DataType::Float64, true);
    let mut all = BTreeMap::new();
    for version in snapshot.segments() {
        let rows = version.live();
        let scores = Rows { version, schema, rows: &rows }.column(score, &wanted)?;
        let scores = scores.as_primitive::<Float64Type>().values();
        all.extend(version.ids(&rows)?.iter().flatten().map(String::from).zip(scores.iter().copied()));
    }
    Ok(all)
}

/// Scores do not depend on where texts lie. Whether there were any.
fn check_scores(files: &Snapshot, memory: &Snapshot, schema: &Schema, filters: &mut Filters) -> Result<bool> {
    let (call, path) = (filters.call(), *filters.random.pick(&["a", "tags"]));
    let Some(field) = schema.find(&[path.into()]) else { return Ok(false) };
    let texts = ScanColumn::Field { field, below: vec![ScanStep::Kind(Type::String)] };
    let statistics = Statistics { texts: 100, words: 250, found: vec![7, 30, 2] };
    let score = ScanColumn::Score(Arc::new(ScanScore { texts, call, statistics }));
    let (found, expected) = (scores(files, schema, &score)?, scores(memory, schema, &score)?);
    let same = |(id, score): (&String, &f64)| found.get(id).is_some_and(|found| (found - score).abs() < 1e-5);
    ensure!(found.len() == expected.len() && expected.iter().all(same), "{score:?}: {found:?}, not {expected:?}");
    Ok(expected.values().any(|score| *score > 0.0))
}

/// The predicate as one condition that is evaluated row by row.
fn opaque(predicate: &Expression) -> Result<Expression> {
    let value = |value| Arc::new(Literal::new(ScalarValue::Boolean(Some(value)))) as Expression;
    Ok(Arc::new(CaseExpr::try_new(None, vec![(Arc::clone(predicate), value(true))], Some(value(false)))?))
}

/// A coordinate: of whole degrees some are ints.
fn coordinate(random: &mut SeededRandom) -> Value {
    match place(random) {
        0.0 if random.chance(1, 3) => Value::Float(-0.0),
        whole if whole.fract() == 0.0 && random.chance(1, 2) => Value::Int(whole as i64),
        place => Value::Float(place),
    }
}

/// Puts documents somewhere, or moves them along one coordinate.
fn place_some(operation: &mut Operation, random: &mut SeededRandom) {
    match operation {
        Operation::Upsert(document) if random.chance(2, 3) => {
            for name in ["lon", "lat"] {
                document.insert(name.into(), coordinate(random));
            }
        }
        Operation::Patch { operations, .. } if random.chance(1, 3) => {
            let path = vec![(*random.pick(&["lon", "lat"])).to_string()];
            *operations = vec![match random.below(8) {
                0 => PatchOperation::Remove { path },
                _ => PatchOperation::Add { path, value: coordinate(random) },
            }];
        }
        _ => {}
    }
}

/// Gives in how many segments the first rows were found by walking terms.
fn run(seed: u64, ids: u64, count: u64, policy: MergePolicy) -> Result<u64> {
    let mut operations = Operations::without_indices(seed, ids);
    let mut disk = Disk::new(seed, if seed.is_multiple_of(2) { Kept::Elsewhere } else { Kept::Memory })?;
    let text = [("a", Analyzer::default()), ("tags", "english".parse()?)];
    let text = text.map(|(path, analyzer)| (path.to_string(), TextSettings { analyzer })).into();
    let settings = IndexSettings { text, unindexed: ["b".to_string()].into() };
    let indexing = Indexing::new(&settings, |path| path.parse::<FieldPath>())?;
    let lazy = MergePolicy { segments_per_tier: 1_000, dead_share_max: 2.0, ..MergePolicy::default() };
    let (mut files, mut memory, mut schema) = (Shard::new(policy.clone()), Shard::new(lazy), Schema::default());
    let mut log: Vec<(Batch, Vec<Outcome>)> = Vec::new();
    let (mut done, mut asked, mut passed, mut walked, mut aggregated, mut scored) =
        (0, 0_u64, 0_u64, 0_u64, 0_u64, 0_u64);
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut taken: BTreeMap<(Option<AccessPath>, AccessPath), u64> = BTreeMap::new();
    let (mut before, mut located) = (files.newest().pin(), (0, 0));
    while done < count {
        let mut builder = BatchBuilder::default();
        for _ in 0..operations.batch_size() {
            let (id, mut operation) = operations.draw();
            place_some(&mut operation, &mut disk.random);
            add(&mut builder, &mut schema, &id, &operation)?;
            done += 1;
        }
        let batch = through_the_log(builder, &schema, None)?;
        disk.indexes = Indexes::new(Arc::new(schema.clone()), indexing.clone());
        let position = LogPosition(log.len() as u64);
        let outcomes = files.apply(position, &batch, &schema)?;
        memory.apply(position, &batch, &schema)?;
        log.push((batch, outcomes));
        if disk.random.chance(1, 3) {
            disk.merge(&mut files)?;
        }
        if disk.random.chance(1, 8) {
            disk.flush(&mut files)?;
        }
        if disk.random.chance(1, 60) {
            drop(files);
            files = disk.reopen(&log, policy.clone(), &schema)?;
            // Snapshots end with their process: numbers of segments made since the last flush are given anew.
            before = files.newest().pin();
        }
        if !disk.random.chance(1, 12) {
            continue;
        }
        let mut filters = Filters::new(disk.random.next_u64(), &schema);
        let (in_files, in_memory) = (files.newest().pin(), memory.newest().pin());
        for _ in 0..30 {
            let predicate = filters.draw()?;
            let what = || format!("{predicate} after {done} operations");
            let filter = filters.filter(Arc::clone(&predicate));
            let (expected, _) = passing(&in_memory, &schema, &filter, None)?;
            let (evaluated, _) = passing(&in_files, &schema, &filters.filter(opaque(&predicate)?), None)?;
            ensure!(evaluated == expected, "{}: evaluated in files and in memory differ", what());
            for path in [None].into_iter().chain(AccessPath::ALL.map(Some)) {
                let (found, by) = passing(&in_files, &schema, &filter, path)?;
                ensure!(found == expected, "{} by {path:?}: {found:?}, expected {expected:?}", what());
                by.into_iter().for_each(|by| *taken.entry((path, by)).or_default() += 1);
            }
            let scan = top_scan(&mut filters);
            walked += check_top(&in_files, &in_memory, &schema, &filter, &scan).with_context(what)?;
            if asked.is_multiple_of(3) {
                let check = aggregates::check(&in_files, &in_memory, &schema, &mut filters, &filter);
                aggregated += u64::from(runtime.block_on(check).with_context(what)?);
            }
            scored += u64::from(check_scores(&in_files, &in_memory, &schema, &mut filters)?);
            asked += 1;
            passed += u64::from(!expected.is_empty());
            located.0 += u64::from(check_located(&files, &in_files, &schema, &mut filters, ids)?);
            located.1 += u64::from(check_located(&files, &before, &schema, &mut filters, ids)?);
        }
        before = in_files;
    }
    println!("seed {seed}: {asked} filters, {passed} let rows through; {:?}; segments by path: {taken:?}", disk.done);
    println!("by keys: {} of now, {} of before", located.0, located.1);
    let by = |forced, path| taken.get(&(forced, path)).copied().unwrap_or_default();
    for path in [AccessPath::IndexFilter, AccessPath::ColumnScan] {
        ensure!(is_tested(by(Some(path), path) * 4 > asked), "{path} was hardly taken");
    }
    ensure!(is_tested(by(None, AccessPath::IndexFilter) > 0), "the index is never chosen");
    println!("first rows by walking terms: {walked} segments; aggregates that the leaf would make: {aggregated}");
    ensure!(is_tested(scored * 4 > asked), "hardly anything was scored");
    ensure!(is_tested(aggregated > 10), "hardly anything was aggregated by encoded keys");
    ensure!(is_tested(passed * 4 > asked && disk.done.reopens > 1), "hardly anything was tested");
    ensure!(located.0 == asked, "keys tell of now: {located:?}");
    ensure!(is_tested(located.1 < asked), "keys tell always of before: {located:?}");
    Ok(walked)
}

#[test]
fn filters_choose_the_same_rows_everywhere() -> Result<()> {
    let mut walked = 0;
    for (seed, ids, policy) in [
        (1, 500, MergePolicy { fold_rows_min: 4, ..MergePolicy::default() }),
        (2, 60, MergePolicy { segments_per_tier: 2, inline_rows_max: 0, ..MergePolicy::default() }),
        (3, 3_000, MergePolicy { segments_per_tier: 64, dead_share_max: 2.0, ..MergePolicy::default() }),
    ] {
        let seed = seed_of_round(seed);
        walked += run(seed, ids, 12_000, policy.clone())
            .with_context(|| format!("seed {seed}, {ids} documents, {policy:?}"))?;
    }
    ensure!(is_tested(walked > 100), "terms were hardly ever walked");
    Ok(())
}
