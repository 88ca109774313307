//! Tables made from a seed, whole or by shard.
//!
//! In: a [`Table`]. Out: its rows, the same in every process. All numbers are small integers, in float columns too, so
//! that sums are exact in any order.

use std::sync::Arc;

use basalt_common::calls::QueryId;
use basalt_common::id::CollectionId;
use basalt_common::routing::shard_of;
use basalt_common::scan::ScanTarget;
use datafusion::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringViewArray, UInt32Array};
use datafusion::arrow::compute::take_record_batch;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

/// What the key column `k` holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Key {
    /// 0, 1, 2, …
    Int,
    /// `key-0`, `key-1`, …
    Text,
    /// Integers, every third row null.
    NullableInt,
}

/// A table of `rows` rows: `k` (the shard key; values repeat every `distinct` rows), `grp` (ten values), `v` (float),
/// `n` (int), `pad` (text of `pad_bytes`
/// that does not compress).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Table {
    /// Its name in SQL.
    pub name: String,
    /// The type of its key.
    pub key: Key,
    /// How many rows.
    pub rows: usize,
    /// How many different keys.
    pub distinct: usize,
    /// Bytes of text in each row.
    pub pad_bytes: usize,
    /// How many shards.
    pub shards: u32,
}

impl Table {
    /// The table's columns.
    pub fn schema(&self) -> SchemaRef {
        let key = if self.key == Key::Text { DataType::Utf8View } else { DataType::Int64 };
        Arc::new(Schema::new(vec![
            Field::new("k", key, true),
            Field::new("grp", DataType::Utf8View, true),
            Field::new("v", DataType::Float64, true),
            Field::new("n", DataType::Int64, true),
            Field::new("pad", DataType::Utf8View, true),
        ]))
    }

    /// What scans of it name.
    pub fn target(&self) -> ScanTarget {
        let name = self.name.as_str().into();
        ScanTarget {
            query: QueryId(0),
            collection: CollectionId(1),
            name,
            fence: None,
            path: None,
            analyze: false,
            expired: None,
        }
    }

    fn key_of(&self, row: usize) -> Option<i64> {
        let key = (row % self.distinct) as i64;
        (self.key != Key::NullableInt || !row.is_multiple_of(3)).then_some(key)
    }

    fn shard_of_row(&self, row: usize) -> u32 {
        let text = self.key_of(row).map(|key| key.to_string()).unwrap_or_default();
        shard_of(text.as_bytes(), self.shards)
    }

    /// All rows.
    ///
    /// # Panics
    /// Never: the columns fit the schema.
    pub fn all(&self) -> RecordBatch {
        let keys = (0..self.rows).map(|row| self.key_of(row));
        let k: ArrayRef = match self.key {
            Key::Text => Arc::new(keys.map(|key| key.map(|key| format!("key-{key}"))).collect::<StringViewArray>()),
            Key::Int | Key::NullableInt => Arc::new(keys.collect::<Int64Array>()),
        };
        let grp: StringViewArray = (0..self.rows).map(|row| Some(format!("g{}", row % 10))).collect();
        let v = Float64Array::from_iter_values((0..self.rows).map(|row| ((row * 7919) % 10_007) as f64));
        let n = Int64Array::from_iter_values((0..self.rows).map(|row| ((row * 31) % 1_009) as i64));
        let pad: StringViewArray = (0..self.rows).map(|row| Some(noise(row as u64, self.pad_bytes))).collect();
        RecordBatch::try_new(self.schema(), vec![k, Arc::new(grp), Arc::new(v), Arc::new(n), Arc::new(pad)])
            .expect("the columns are made for this schema")
    }

    /// One shard's rows, in batches of at most 8,192.
    ///
    /// # Panics
    /// Never: the indices are rows of the batch.
    pub fn shard(&self, shard: u32) -> Vec<RecordBatch> {
        let all = self.all();
        let rows: Vec<u32> =
            (0..self.rows).filter(|row| self.shard_of_row(*row) == shard).map(|row| row as u32).collect();
        let taken = |rows: &[u32]| take_record_batch(&all, &UInt32Array::from(rows.to_vec()));
        rows.chunks(8_192).map(|rows| taken(rows).expect("the indices are rows of the batch")).collect()
    }
}

/// Text that does not compress: hexadecimal digits of a splitmix64 sequence.
fn noise(seed: u64, bytes: usize) -> String {
    let digit = |index: u64| {
        let mut mixed =
            seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(index.wrapping_mul(0xBF58_476D_1CE4_E5B9));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0x94D0_49BB_1331_11EB);
        format!("{:016x}", mixed ^ (mixed >> 31))
    };
    let mut text: String = (0..bytes.div_ceil(16) as u64).map(digit).collect();
    text.truncate(bytes);
    text
}
