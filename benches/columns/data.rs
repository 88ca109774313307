//! The tables that are measured: TPC-H's lineitem and documents of a log.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::{Field, Schema};
use tpchgen::generators::LineItemGenerator;

/// A table and what is asked of it.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) batch: RecordBatch,
    /// The column of numbers that is filtered to 1 % of rows, and the range that does so.
    pub(crate) filtered: (&'static str, i64, i64),
    /// The columns whose rows are taken.
    pub(crate) taken: [&'static str; 3],
    /// The narrow integers that are summed and read.
    pub(crate) narrow: &'static str,
    /// A column of repeated strings, and one of them.
    pub(crate) equal: (&'static str, &'static str),
    /// A column of strings that do not repeat.
    pub(crate) texts: &'static str,
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let arrays = columns.into_iter().map(|(_, column)| column).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("columns of one length")
}

/// TPC-H lineitem, with decimals as floats.
pub(crate) fn lineitem(scale_factor: f64) -> Table {
    let generator = LineItemGenerator::new(scale_factor, 1, 1);
    let rows: Vec<_> = generator.iter().collect();
    let ints = |get: &dyn Fn(&tpchgen::generators::LineItem<'_>) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(rows.iter().map(get)))
    };
    let cents = |get: &dyn Fn(&tpchgen::generators::LineItem<'_>) -> i64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| get(row) as f64 / 100.0)))
    };
    let days = |get: &dyn Fn(&tpchgen::generators::LineItem<'_>) -> i32| -> ArrayRef {
        Arc::new(Date32Array::from_iter_values(rows.iter().map(get)))
    };
    macro_rules! strings {
        ($field:ident) => {
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.$field))) as ArrayRef
        };
    }
    let batch = batch(vec![
        ("l_orderkey", ints(&|row| row.l_orderkey)),
        ("l_partkey", ints(&|row| row.l_partkey)),
        ("l_suppkey", ints(&|row| row.l_suppkey)),
        ("l_linenumber", ints(&|row| row.l_linenumber.into())),
        ("l_quantity", ints(&|row| row.l_quantity)),
        ("l_extendedprice", cents(&|row| row.l_extendedprice.0)),
        ("l_discount", cents(&|row| row.l_discount.0)),
        ("l_tax", cents(&|row| row.l_tax.0)),
        ("l_returnflag", strings!(l_returnflag)),
        ("l_linestatus", strings!(l_linestatus)),
        ("l_shipdate", days(&|row| row.l_shipdate.to_unix_epoch())),
        ("l_commitdate", days(&|row| row.l_commitdate.to_unix_epoch())),
        ("l_receiptdate", days(&|row| row.l_receiptdate.to_unix_epoch())),
        ("l_shipinstruct", strings!(l_shipinstruct)),
        ("l_shipmode", strings!(l_shipmode)),
        ("l_comment", strings!(l_comment)),
    ]);
    Table {
        name: "lineitem",
        batch,
        filtered: ("l_shipdate", 9000, 9024),
        taken: ["l_partkey", "l_extendedprice", "l_comment"],
        narrow: "l_quantity",
        equal: ("l_shipmode", "AIR"),
        texts: "l_comment",
    }
}

/// A million log documents.
pub(crate) fn documents() -> Table {
    const ROWS: u64 = 1_000_000;
    let mut state = 42_u64;
    let mut draws: Vec<u64> = Vec::new();
    for _ in 0..ROWS {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        draws.push((state ^ (state >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 3);
    }
    let rows = || draws.iter().zip(0_u64..);
    const LEVELS: [&str; 4] = ["INFO", "DEBUG", "WARN", "ERROR"];
    const ACTIONS: [&str; 5] = [
        "fetched profile of",
        "could not reach the cart of",
        "renewed the session of",
        "sent the invoice to",
        "logged out",
    ];
    let message = |(draw, row): (&u64, u64)| {
        let (customer, ms, node) = (draw % 100_000, draw >> 20 & 0x3ff, draw >> 31 & 0x1f);
        format!("{} customer {customer} in {ms} ms on node-{node:02}, request {row:08x}", ACTIONS[(draw % 5) as usize])
    };
    let text =
        |make: &dyn Fn((&u64, u64)) -> String| Arc::new(StringArray::from_iter_values(rows().map(make))) as ArrayRef;
    let batch = batch(vec![
        (
            "id",
            text(&|(draw, row)| format!("{:016x}{:016x}", draw.wrapping_mul(0x9e37_79b9_7f4a_7c15), row ^ draw << 7)),
        ),
        (
            "time",
            Arc::new(
                TimestampMicrosecondArray::from_iter_values(
                    rows().map(|(draw, row)| 1_790_000_000_000_000 + (row * 8 + draw % 64) as i64 * 1000),
                )
                .with_timezone("UTC"),
            ),
        ),
        ("level", text(&|(draw, _)| LEVELS[((draw % 100) as usize).saturating_sub(70) / 10 % 4].into())),
        ("service", text(&|(draw, _)| format!("service-{:03}", (draw >> 7) % 200))),
        (
            "status",
            Arc::new(Int64Array::from_iter_values(
                rows().map(|(draw, _)| [200, 200, 404, 500][(draw >> 9) as usize % 4]),
            )),
        ),
        ("user", Arc::new(Int64Array::from_iter_values(rows().map(|(draw, _)| (draw >> 11) as i64 % 100_000)))),
        (
            "latency_ms",
            Arc::new(Float64Array::from_iter_values(rows().map(|(draw, _)| (draw >> 5 & 0xffff) as f64 / 100.0))),
        ),
        (
            "price",
            Arc::new(Float64Array::from_iter(
                (rows()).map(|(draw, _)| (draw % 3 > 0).then_some((draw >> 13 & 0xf_ffff) as f64 / 100.0)),
            )),
        ),
        ("ratio", Arc::new(Float64Array::from_iter_values(rows().map(|(draw, _)| *draw as f64 / u64::MAX as f64)))),
        ("cached", Arc::new(BooleanArray::from_iter(rows().map(|(draw, _)| Some(draw >> 17 & 3 == 0))))),
        (
            "error_code",
            Arc::new(Int64Array::from_iter(
                rows().map(|(draw, _)| (draw >> 23).is_multiple_of(100).then_some((draw >> 33) as i64 % 40)),
            )),
        ),
        ("message", text(&message)),
    ]);
    Table {
        name: "documents",
        batch,
        filtered: ("user", 5000, 5999),
        taken: ["time", "latency_ms", "message"],
        narrow: "user",
        equal: ("service", "service-042"),
        texts: "message",
    }
}
