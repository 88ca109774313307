//! Encoded columns beside plain Arrow: sizes, writing, taking rows, filtering, scanning. What Parquet did on the same tables is in
//! `docs/decisions/0004-columns.md`.
//!
//! Medians of several runs in one process, on one core. Run: `make bench`.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark prints what it measures by the clock")]

mod data;
mod stores;

use std::hint::black_box;
use std::time::Instant;

use basalt_leaf::column::{BLOCK_BITS, Column, encode_in_blocks};
use basalt_leaf::terms;
use data::Table;
use datafusion::arrow::array::{Array, RecordBatch};
use stores::{Columns, Ipc, Store};

/// The median time of a run in seconds.
fn median<T>(runs: usize, mut run: impl FnMut() -> T) -> f64 {
    black_box(run());
    let mut times: Vec<f64> = (0..runs)
        .map(|_| {
            let start = Instant::now();
            black_box(run());
            start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[runs / 2]
}

fn plain_bytes(batch: &RecordBatch, column: usize) -> usize {
    batch.column(column).to_data().get_slice_memory_size().expect("buffers")
}

fn sizes(table: &Table) {
    let batch = &table.batch;
    println!("\n{}: {} rows", table.name, batch.num_rows());
    println!("{:<16} {:>11} {:>8}  {:>9}", "column", "plain bytes", "ours", "write MB/s");
    let mut totals = [0_usize; 2];
    for (index, field) in batch.schema().fields().iter().enumerate() {
        let plain = plain_bytes(batch, index);
        let mut out = Vec::new();
        let column = batch.column(index).as_ref();
        let write = median(3, || {
            out.clear();
            encode_in_blocks(column, BLOCK_BITS, &mut out).expect("a storage type");
        });
        totals.iter_mut().zip([plain, out.len()]).for_each(|(total, bytes)| *total += bytes);
        let (share, speed) = (out.len() as f64 / plain as f64, plain as f64 / write / 1e6);
        println!("{:<16} {plain:>11} {share:>8.3}  {speed:>9.0}", field.name());
    }
    let write = median(3, || Columns::encode(batch));
    let (share, speed) = (totals[1] as f64 / totals[0] as f64, totals[0] as f64 / write / 1e6);
    println!("{:<16} {:>11} {share:>8.3}  {speed:>9.0}", "all", totals[0]);
}

/// Terms of all columns that have them: how fast, and how large.
fn terms(table: &Table) {
    let batch = &table.batch;
    println!("\n{:<16} {:>9} {:>9}", "terms of", "ns/value", "bits/row");
    let (mut seconds, mut bytes, mut plain) = (0.0, 0, 0);
    for (index, field) in batch.schema().fields().iter().enumerate() {
        let (array, mut column, mut out) = (batch.column(index), Vec::new(), Vec::new());
        encode_in_blocks(array.as_ref(), BLOCK_BITS, &mut column).expect("a storage type");
        let column = Column::open(column.into(), array.data_type(), array.len() as u64).expect("it was just written");
        let time = median(3, || {
            out.clear();
            terms::encode(array.as_ref(), &column, &mut out).expect("the column is the array's");
        });
        let values = array.len() - array.null_count();
        let (each, bits) = (time / values.max(1) as f64 * 1e9, out.len() as f64 * 8.0 / values.max(1) as f64);
        println!("{:<16} {each:>9.1} {bits:>9.2}", field.name());
        seconds += time;
        bytes += out.len();
        plain += plain_bytes(batch, index);
    }
    let speed = plain as f64 / seconds / 1e6;
    println!("{:<16} {speed:>9.0} MB/s of plain Arrow, {:.3} of its bytes", "all", bytes as f64 / plain as f64);
}

fn rows_drawn(count: usize, rows: usize) -> Vec<u32> {
    let mut state = 7_u64;
    let mut drawn: Vec<u32> = (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) % rows as u64) as u32
        })
        .collect();
    drawn.sort_unstable();
    drawn.dedup();
    drawn
}

fn operations(table: &Table) {
    let batch = &table.batch;
    let index = |name: &str| batch.schema().index_of(name).expect("a column");
    let (ours, ipc) = (Columns::open(batch), Ipc::open(batch));
    let our_bytes: usize = ours.places.iter().map(|place| place.len()).sum();
    println!("\nbytes of the file: ours {our_bytes}, Arrow {}", ipc.bytes);
    println!("{:<34} {:>12} {:>12}", table.name, "ours", "arrow mmap");
    let stores: [&dyn Store; 2] = [&ours, &ipc];
    let rows = batch.num_rows();
    let taken = table.taken.map(index);
    let line = |name: &str, unit: f64, format: &dyn Fn(f64) -> String, run: &dyn Fn(&dyn Store)| {
        let times: Vec<String> = stores
            .iter()
            .map(|store| {
                let slow = median(1, || run(*store)) > 0.05;
                format(median(if slow { 3 } else { 31 }, || run(*store)) * unit)
            })
            .collect();
        println!("{name:<34} {:>12} {:>12}", times[0], times[1]);
    };
    let micros = |time: f64| format!("{time:.1} µs");
    let speed = |time: f64| format!("{:.2} G/s", rows as f64 / time / 1e9);
    let one = [rows as u32 / 2 + 17];
    let hundred = rows_drawn(100, rows);
    line("take 1 row × 3 columns", 1e6, &micros, &|store| drop(black_box(store.take(&taken, &one))));
    line("take 100 rows × 3 columns", 1e6, &micros, &|store| drop(black_box(store.take(&taken, &hundred))));
    let open = median(31, || ours.open_and_take(&taken, &hundred)) * 1e6;
    println!("{:<34} {:>12}", "  and open the columns", micros(open));
    for name in table.taken.into_iter().chain([table.equal.0]) {
        line(&format!("take 100 rows of {name}"), 1e6, &micros, &|store| {
            drop(black_box(store.take(&[index(name)], &hundred)))
        });
    }
    let (filtered, low, high) = table.filtered;
    let found = ours.filter(index(filtered), low, high, &taken)[0].len();
    let name = format!("{filtered} to {:.1} %, take 3 columns", found as f64 * 100.0 / rows as f64);
    line(&name, 1e6, &micros, &|store| drop(black_box(store.filter(index(filtered), low, high, &taken))));
    line(&format!("sum of {}", table.narrow), 1.0, &speed, &|store| _ = black_box(store.sum(index(table.narrow))));
    let (equal, text) = table.equal;
    line(&format!("{equal} = {text}"), 1.0, &speed, &|store| _ = black_box(store.count_equal(index(equal), text)));
    line(&format!("{} = one", table.texts), 1.0, &speed, &|store| {
        _ = black_box(store.count_equal(index(table.texts), text))
    });
    for field in batch.schema().fields() {
        let column = index(field.name());
        line(&format!("read {}", field.name()), 1.0, &speed, &|store| _ = black_box(store.read(column)));
    }
}

fn blocks(table: &Table) {
    println!("\n{} by block size: bytes", table.name);
    for bits in [13, 14, 15, 16] {
        let mut out = Vec::new();
        table
            .batch
            .columns()
            .iter()
            .for_each(|column| encode_in_blocks(column.as_ref(), bits, &mut out).expect("a storage type"));
        println!("  2^{bits} rows: {}", out.len());
    }
}

fn main() {
    let tables = [data::lineitem(0.3), data::documents()];
    for table in &tables {
        sizes(table);
        terms(table);
        blocks(table);
        operations(table);
    }
}
