//! Searching texts in the leaf: by the index of their words and by looking at each, beside DuckDB's LIKE; and what the index costs.
//!
//! Texts of eleven words: nine of a thousand common ones, one that a hundred rows have, one that is the row's own. They lie in ten file
//! segments, read in place from memory as from a mapping. Measured is finding the rows and reading two columns of them; of DuckDB the
//! whole query. `BASALT_BENCH_ROWS` says how many rows. Medians. Run: `make bench`.
#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Result, ensure};
use basalt_common::clock::{Clock, SystemClock};
use basalt_common::columns::TypedColumns;
use basalt_common::functions;
use basalt_common::id::FieldId;
use basalt_common::scan::{AccessPath, ScanColumn, ScanFilter, ScanScore};
use basalt_common::schema::Schema;
use basalt_common::text::functions::TextCall;
use basalt_common::text::{Analyzer, Kind, Statistics};
use basalt_common::value::Type;
use basalt_harness::peers::Peer;
use basalt_harness::selecting::{micros, scan};
use basalt_leaf::arrow::Rows;
use basalt_leaf::file::container::{Container, Kind as ObjectKind};
use basalt_leaf::file::segment;
use basalt_leaf::indexes::Indexes;
use basalt_leaf::scores::statistics;
use basalt_leaf::segment::{Segment, SegmentId, SegmentVersion};
use basalt_leaf::select::Selector;
use basalt_leaf::text;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Float64Type, Schema as ArrowSchema};
use datafusion::common::DFSchema;
use datafusion::prelude::SessionContext;

const ROWS: u64 = 2_000_000;
const SEGMENTS: u64 = 10;

/// What is read of the rows that are found.
const COLUMNS: [FieldId; 2] = [FieldId(1), FieldId(2)];

const COMMON: u64 = 1_000;
const COMMON_WORDS: u64 = 9;

/// What is looked for, as SQL here and for DuckDB.
const QUERIES: [(&str, &str, &str); 8] = [
    ("a word, 1 row", "search(t, 'own4711')", "t LIKE '% own4711'"),
    ("a word, 100 rows", "search(t, 'some471')", "t LIKE '% some471 %'"),
    ("a word, 1 in 112", "search(t, 'w47')", "' ' || t LIKE '% w47 %'"),
    ("two words", "search(t, 'w47 w11')", "' ' || t LIKE '% w47 %' AND ' ' || t LIKE '% w11 %'"),
    (
        "two words or one",
        "search(t, 'w47 w11 OR some471')",
        "(' ' || t LIKE '% w47 %' AND ' ' || t LIKE '% w11 %') OR t LIKE '% some471 %'",
    ),
    ("a phrase", "match_phrase(t, 'w47 w52')", "' ' || t LIKE '% w47 w52 %'"),
    ("a beginning", "prefix(t, 'own4711')", "t LIKE '% own4711%'"),
    ("a word and a range", "search(t, 'w47') AND n < 100000", "' ' || t LIKE '% w47 %' AND n < 100000"),
];

/// A row's text: the same arithmetic as in [`MADE`].
fn text_of(n: u64, rows: u64) -> String {
    let mut text = String::new();
    for place in 0..COMMON_WORDS {
        text += &format!("w{} ", (n * 31 + place * (n % 7 + 5)) * 7_919 % COMMON);
    }
    text + &format!("some{} own{n}", n % (rows / 100))
}

const MADE: &str = "SELECT n, list_aggregate(list_transform(range(9), lambda p: 'w' || ((n * 31 + p * (n % 7 + 5)) * 7919 % 1000) || ' '), \
                    'string_agg', '') || 'some' || (n % ({rows} // 100)) || ' own' || n AS t FROM range({rows}) r(n)";

fn segment_of(id: u64, rows: std::ops::Range<u64>, texts: &StringArray) -> Result<SegmentVersion> {
    let ids = StringArray::from_iter_values(rows.clone().map(|n| n.to_string()));
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.map(|n| n as i64)));
    let columns = [(Type::Int, numbers), (Type::String, Arc::new(texts.clone()) as ArrayRef)];
    let columns = columns
        .into_iter()
        .enumerate()
        .map(|(index, (of, array))| (FieldId(index as u32 + 1), TypedColumns::new(texts.len(), vec![(of, array)])));
    let segment = Segment::new(SegmentId(id), ids, None, columns.collect::<BTreeMap<_, _>>());
    let sealed = segment::encode(&segment, &Indexes::default())?;
    let object = Container::open("segment", ObjectKind::Segment, &sealed.bytes)?;
    Ok(SegmentVersion::new(segment::decode(&object, &sealed.bytes, None)?))
}

/// The best ten rows for a query that one in 112 rows matches.
fn best(versions: &[SegmentVersion], selector: &Selector, schema: &Schema) -> Result<usize> {
    let call = TextCall { kind: Kind::Search, query: "w47".into(), analyzer: Analyzer::default() };
    let mut known = Statistics::default();
    for version in versions {
        known.add(&statistics(version, FieldId(2), &call.query()?)?);
    }
    let score = ScanScore { texts: ScanColumn::field(FieldId(2)), call, statistics: known };
    let (score, wanted) = (ScanColumn::Score(Arc::new(score)), Field::new("score", DataType::Float64, true));
    let mut scores = Vec::new();
    for version in versions {
        let (rows, rest, _) = selector.candidates(version, None)?;
        let rows = selector.pass(&rest, version, schema, rows)?;
        let of_segment = Rows { version, schema, rows: &rows }.column(&score, &wanted)?;
        scores.extend(of_segment.as_primitive::<Float64Type>().values().iter().copied());
    }
    scores.sort_by(|a, b| b.total_cmp(a));
    Ok(scores.len().min(10))
}

fn main() -> Result<()> {
    let rows = std::env::var("BASALT_BENCH_ROWS").ok().map(|rows| rows.parse()).transpose()?.unwrap_or(ROWS);
    let (clock, mut schema) = (SystemClock::default(), Schema::default());
    schema.register(&["n".into()]);
    schema.register(&["t".into()]);
    let (mut versions, mut plain, mut encoded, mut took) = (Vec::new(), 0, 0, 0.0);
    for id in 0..SEGMENTS {
        let of_segment = id * rows / SEGMENTS..(id + 1) * rows / SEGMENTS;
        let texts = StringArray::from_iter_values(of_segment.clone().map(|n| text_of(n, rows)));
        ensure!(text::is_prose(&texts), "it would not be indexed");
        let (mut bytes, started) = (Vec::new(), clock.monotonic());
        text::encode(Analyzer::default(), &texts, &mut bytes)?;
        took += (clock.monotonic() - started).as_secs_f64();
        (plain, encoded) = (plain + texts.value_data().len(), encoded + bytes.len());
        versions.push(segment_of(id, of_segment, &texts)?);
    }
    let ratio = encoded as f64 / plain as f64;
    println!("{rows} texts, {} bytes each, in {SEGMENTS} segments", plain as u64 / rows);
    println!("index of words: {:.1} MB/s of text, {ratio:.2} of its bytes", plain as f64 / 1e6 / took);
    let setup =
        ["SET threads = 2".to_string(), format!("CREATE TABLE texts AS {}", MADE.replace("{rows}", &rows.to_string()))];
    let asked = QUERIES.map(|(_, _, predicate)| format!("SELECT count(n + length(t)) FROM texts WHERE {predicate}"));
    let theirs = Peer::DuckDb.answers(&setup, &asked.each_ref().map(String::as_str), 7)?;
    let fields = vec![Field::new("n", DataType::Int64, true), Field::new("t", DataType::Utf8, true)];
    let arrow = Arc::new(ArrowSchema::new(fields));
    let columns: Arc<[ScanColumn]> = (1..=2).map(|field| ScanColumn::field(FieldId(field))).collect();
    let context = SessionContext::new();
    functions::all().iter().for_each(|function| context.register_udf(function.as_ref().clone()));
    let selector = |predicate: &str| -> Result<Selector> {
        let frame = DFSchema::try_from(Arc::clone(&arrow))?;
        let expression = context.parse_sql_expr(predicate, &frame)?;
        let predicate = context.create_physical_expr(expression, &frame)?;
        let filter = ScanFilter { schema: Arc::clone(&arrow), columns: Arc::clone(&columns), predicate };
        Ok(Selector::new(&filter, &schema)?)
    };
    println!("microseconds\n{:<20} {:>7} {:>10} {:>10} {:>10}", "", "rows", "by words", "by texts", "DuckDB");
    for ((name, predicate, _), theirs) in QUERIES.iter().zip(&theirs) {
        let selector = selector(predicate)?;
        let expected = theirs.rows[0][0].as_u64().unwrap_or_default() as usize;
        let mut times = Vec::new();
        for path in [None, Some(AccessPath::ColumnScan)] {
            let found = scan(&versions, &selector, &schema, path, COLUMNS)?;
            ensure!(found == expected, "{name}: {found} rows, not {expected}");
            times.push(micros(|| scan(&versions, &selector, &schema, path, COLUMNS))?);
        }
        println!("{name:<20} {expected:>7} {:>10.0} {:>10.0} {:>10.0}", times[0], times[1], theirs.millis() * 1e3);
    }
    let selector = selector("search(t, 'w47')")?;
    println!("best 10 of a word that 1 in 112 rows has: {:.0}", micros(|| best(&versions, &selector, &schema))?);
    Ok(())
}
