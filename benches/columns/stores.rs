//! The same table as encoded columns and as Arrow's file format, each read from a memory map.

use std::fs::File;
use std::ops::Bound;
use std::sync::Arc;

use basalt_leaf::column::{Column, Datum, Predicate, encode};
use bytes::Bytes;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::array::{
    Array, ArrayRef, BooleanArray, Date32Array, Int64Array, RecordBatch, StringArray, UInt32Array,
};
use datafusion::arrow::buffer::Buffer;
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::arrow::datatypes::{Date32Type, Float64Type, Int64Type};
use datafusion::arrow::ipc::convert::fb_to_schema;
use datafusion::arrow::ipc::reader::{FileDecoder, read_footer_length};
use datafusion::arrow::ipc::root_as_footer;
use datafusion::arrow::ipc::writer::FileWriter;

/// Rows read at a time in a scan.
const BATCH_ROWS: usize = 1 << 13;

/// One way to keep a table.
pub(crate) trait Store {
    fn take(&self, columns: &[usize], rows: &[u32]) -> Vec<ArrayRef>;
    /// The rows of three columns where another is within a range.
    fn filter(&self, column: usize, low: i64, high: i64, columns: &[usize]) -> Vec<ArrayRef>;
    fn sum(&self, column: usize) -> i128;
    /// Reads a column to arrays and gives the number of its rows.
    fn read(&self, column: usize) -> usize;
    /// How many rows equal a string.
    fn count_equal(&self, column: usize, text: &str) -> usize;
}

fn map(name: &str, bytes: &[u8]) -> Bytes {
    let path = std::env::temp_dir().join(format!("basalt-columns-{}-{name}", std::process::id()));
    std::fs::write(&path, bytes).expect("a file can be written");
    let file = File::open(&path).expect("it was written");
    // SAFETY: nobody else knows the file, and nothing writes to it.
    let map = unsafe { memmap2::Mmap::map(&file) }.expect("it can be mapped");
    std::fs::remove_file(&path).expect("it is there until it is unmapped");
    Bytes::from_owner(map)
}

/// Our columns.
pub(crate) struct Columns {
    pub(crate) places: Vec<Bytes>,
    types: Vec<DataType>,
    rows: u64,
    columns: Vec<Column>,
}

impl Columns {
    pub(crate) fn encode(batch: &RecordBatch) -> (Vec<u8>, Vec<usize>) {
        let (mut out, mut starts) = (Vec::new(), Vec::new());
        for column in batch.columns() {
            out.resize(out.len().next_multiple_of(64), 0);
            starts.push(out.len());
            encode(column.as_ref(), &mut out).expect("a storage type");
        }
        starts.push(out.len());
        (out, starts)
    }

    pub(crate) fn open(batch: &RecordBatch) -> Self {
        let types: Vec<DataType> = batch.columns().iter().map(|column| column.data_type().clone()).collect();
        let mut places = Vec::new();
        let (mut whole, mut starts) = (Vec::new(), Vec::new());
        for column in batch.columns() {
            whole.resize(usize::next_multiple_of(whole.len(), 64), 0);
            let start = whole.len();
            encode(column.as_ref(), &mut whole).expect("a storage type");
            starts.push(start..whole.len());
        }
        let mapped = map("columns", &whole);
        places.extend(starts.into_iter().map(|place| mapped.slice(place)));
        let rows = batch.num_rows() as u64;
        let columns = (0..places.len()).map(|column| Self::reopened(&places, &types, rows, column)).collect();
        Self { places, types, rows, columns }
    }

    fn reopened(places: &[Bytes], types: &[DataType], rows: u64, column: usize) -> Column {
        Column::open(places[column].clone(), &types[column], rows).expect("what was encoded")
    }

    /// As `take`, with columns that are opened first.
    pub(crate) fn open_and_take(&self, columns: &[usize], rows: &[u32]) -> Vec<ArrayRef> {
        let open = |column: &usize| Self::reopened(&self.places, &self.types, self.rows, *column);
        columns.iter().map(|column| open(column).take(rows).expect("rows")).collect()
    }
}

/// The rows whose bits are set.
fn rows_of(bits: &[u64]) -> Vec<u32> {
    let mut rows = Vec::new();
    for (index, word) in bits.iter().enumerate() {
        let mut word = *word;
        while word != 0 {
            rows.push(index as u32 * 64 + word.trailing_zeros());
            word &= word - 1;
        }
    }
    rows
}

impl Store for Columns {
    fn take(&self, columns: &[usize], rows: &[u32]) -> Vec<ArrayRef> {
        columns.iter().map(|column| self.columns[*column].take(rows).expect("rows")).collect()
    }

    fn filter(&self, column: usize, low: i64, high: i64, columns: &[usize]) -> Vec<ArrayRef> {
        let mut bits = vec![u64::MAX; self.rows.div_ceil(64) as usize];
        let predicate = Predicate::Within(Bound::Included(Datum::Int(low)), Bound::Included(Datum::Int(high)));
        self.columns[column].select(0..self.rows, &predicate, &mut bits).expect("integers");
        self.take(columns, &rows_of(&bits))
    }

    fn sum(&self, column: usize) -> i128 {
        self.columns[column].sum(0..self.rows, None).expect("integers")
    }

    fn read(&self, column: usize) -> usize {
        let batches = (0..self.rows).step_by(BATCH_ROWS);
        let end = |start: u64| self.rows.min(start + BATCH_ROWS as u64);
        batches.map(|start| self.columns[column].read(start..end(start)).expect("rows").len()).sum()
    }

    fn count_equal(&self, column: usize, text: &str) -> usize {
        let mut bits = vec![u64::MAX; self.rows.div_ceil(64) as usize];
        let predicate = Predicate::equal(Datum::String(text.into()));
        self.columns[column].select(0..self.rows, &predicate, &mut bits).expect("strings");
        bits.iter().map(|word| word.count_ones() as usize).sum()
    }
}

/// Arrow's arrays from a file, in place.
pub(crate) struct Ipc {
    pub(crate) bytes: usize,
    batch: RecordBatch,
}

impl Ipc {
    pub(crate) fn open(batch: &RecordBatch) -> Self {
        let mut out = Vec::new();
        let mut writer = FileWriter::try_new(&mut out, &batch.schema()).expect("a schema");
        writer.write(batch).expect("a batch of it");
        writer.finish().expect("memory is written to");
        drop(writer);
        let bytes = out.len();
        let buffer = Buffer::from(map("arrow", &out));
        let trailer = bytes - 10;
        let length = read_footer_length(buffer[trailer..].try_into().expect("ten bytes")).expect("a footer");
        let footer = root_as_footer(&buffer[trailer - length..trailer]).expect("a footer");
        let schema: SchemaRef = Arc::new(fb_to_schema(footer.schema().expect("a schema")));
        let decoder = FileDecoder::new(schema, footer.version());
        let block = footer.recordBatches().expect("batches").get(0);
        let length = block.bodyLength() as usize + block.metaDataLength() as usize;
        let data = buffer.slice_with_length(block.offset() as usize, length);
        let batch = decoder.read_record_batch(block, &data).expect("a batch").expect("one of rows");
        Self { bytes, batch }
    }
}

fn between(array: &ArrayRef, low: i64, high: i64) -> BooleanArray {
    use datafusion::arrow::array::Scalar;
    use datafusion::arrow::compute::kernels::cmp::{gt_eq, lt_eq};
    let bounds: [ArrayRef; 2] = match array.data_type() {
        DataType::Date32 => [low, high].map(|end| Arc::new(Date32Array::from(vec![end as i32])) as ArrayRef),
        _ => [low, high].map(|end| Arc::new(Int64Array::from(vec![end])) as ArrayRef),
    };
    let above = gt_eq(array, &Scalar::new(Arc::clone(&bounds[0]))).expect("one type");
    let below = lt_eq(array, &Scalar::new(Arc::clone(&bounds[1]))).expect("one type");
    BooleanArray::new(above.values() & below.values(), None)
}

fn count_equal(array: &ArrayRef, text: &str) -> usize {
    let scalar = StringArray::new_scalar(text);
    datafusion::arrow::compute::kernels::cmp::eq(array, &scalar).expect("strings").true_count()
}

fn sum(array: &ArrayRef) -> i128 {
    match array.data_type() {
        DataType::Date32 => array.as_primitive::<Date32Type>().values().iter().map(|value| i128::from(*value)).sum(),
        DataType::Float64 => array.as_primitive::<Float64Type>().values().iter().sum::<f64>() as i128,
        _ => {
            array.as_primitive::<Int64Type>().values().iter().fold(0_i64, |sum, value| sum.wrapping_add(*value)).into()
        }
    }
}

impl Store for Ipc {
    fn take(&self, columns: &[usize], rows: &[u32]) -> Vec<ArrayRef> {
        let rows = UInt32Array::from(rows.to_vec());
        columns.iter().map(|column| take(self.batch.column(*column), &rows, None).expect("rows")).collect()
    }

    fn filter(&self, column: usize, low: i64, high: i64, columns: &[usize]) -> Vec<ArrayRef> {
        let rows: Vec<u32> = between(self.batch.column(column), low, high).values().set_indices_u32().collect();
        self.take(columns, &rows)
    }

    fn sum(&self, column: usize) -> i128 {
        sum(self.batch.column(column))
    }

    fn read(&self, column: usize) -> usize {
        self.batch.column(column).len()
    }

    fn count_equal(&self, column: usize, text: &str) -> usize {
        count_equal(self.batch.column(column), text)
    }
}
