//! Columns against the arrays that they were made of, and columns whose bytes lie.

use std::collections::HashSet;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Float64Array, Int64Array, StringArray,
    Time64MicrosecondArray, TimestampMicrosecondArray, UInt32Array,
};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::Int64Type;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

mod strings;

/// Values, and which rows have none.
fn rows<V: std::fmt::Debug + Clone + 'static>(
    value: impl Strategy<Value = V> + Clone + 'static,
) -> BoxedStrategy<Vec<Option<V>>> {
    let few = vec(value.clone(), 1..4).prop_flat_map(|few| {
        (vec(proptest::sample::select(few.clone()), 0..300), Just(few)).prop_map(|(drawn, _)| drawn)
    });
    let values = prop_oneof![vec(value, 0..300), few];
    (values, prop_oneof![Just(0_u32), Just(1), Just(6), Just(50), Just(97), Just(100)], any::<u64>())
        .prop_map(|(values, absent_percent, seed)| {
            let mut state = seed | 1;
            let mut draw = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as u32 % 100
            };
            values.into_iter().map(|value| (draw() >= absent_percent).then_some(value)).collect()
        })
        .boxed()
}

fn ints() -> BoxedStrategy<i64> {
    prop_oneof![
        any::<i64>(),
        Just(i64::MIN),
        Just(i64::MAX),
        -3..3_i64,
        (0..300_i64).prop_map(|tens| tens * 10 - 1000),
        (0..100_000_i64).prop_map(|millis| 1_700_000_000_000_000 + millis * 1000),
        (0..20_i64).prop_map(|far| far << 33),
    ]
    .boxed()
}

/// Ints of one kind, so that frames are narrow.
fn int_rows() -> BoxedStrategy<Vec<Option<i64>>> {
    let near = rows(0..200_i64);
    let tens = rows((0..60_000_i64).prop_map(|tens| tens * 10));
    let millis = rows((0..100_000_i64).prop_map(|millis| 1_700_000_000_000_000 + millis * 1000));
    prop_oneof![rows(ints()), near, tens, millis, rows(-70_000..70_000_i64)].boxed()
}

fn float_rows() -> BoxedStrategy<Vec<Option<f64>>> {
    let special =
        [f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.0, f64::MIN_POSITIVE, f64::MAX, 5e-324];
    let prices = (-100_000..1_000_000_i64).prop_map(|cents| cents as f64 / 100.0);
    let narrow = any::<f32>().prop_map(f64::from);
    let mixed = prop_oneof![prices.clone(), any::<f64>(), proptest::sample::select(special.to_vec())];
    prop_oneof![rows(prices), rows(narrow), rows(mixed), rows(1.0..2.0_f64)].boxed()
}

fn text_rows() -> BoxedStrategy<Vec<Option<String>>> {
    let long = "[a-c]{0,40}";
    let message =
        (0..9_u32, any::<u32>()).prop_map(|(a, b)| format!("GET /customers/{a}/orders?after={b} HTTP/1.1 zürich"));
    let wide = proptest::char::range('\u{10fff0}', '\u{10ffff}').prop_map(|wide| String::from(wide).repeat(6));
    prop_oneof![rows(long), rows(message), rows("[ab]?"), rows(prop_oneof![wide, Just(String::new())])].boxed()
}

fn array() -> BoxedStrategy<ArrayRef> {
    let bools = prop_oneof![rows(any::<bool>()), rows(Just(true))];
    let days = rows(prop_oneof![any::<i32>(), 8000..12_000_i32]);
    let bytes = rows(prop_oneof![vec(any::<u8>(), 0..24), vec(Just(0xff_u8), 14..20)]);
    prop_oneof![
        bools.prop_map(|rows| Arc::new(BooleanArray::from(rows)) as ArrayRef),
        int_rows().prop_map(|rows| Arc::new(Int64Array::from(rows)) as ArrayRef),
        int_rows().prop_map(|rows| Arc::new(TimestampMicrosecondArray::from(rows).with_timezone("UTC")) as ArrayRef),
        int_rows().prop_map(|rows| Arc::new(Time64MicrosecondArray::from(rows)) as ArrayRef),
        days.prop_map(|rows| Arc::new(Date32Array::from(rows)) as ArrayRef),
        float_rows().prop_map(|rows| Arc::new(Float64Array::from(rows)) as ArrayRef),
        text_rows().prop_map(|rows| Arc::new(StringArray::from(rows)) as ArrayRef),
        bytes.prop_map(|rows| Arc::new(rows.iter().map(Option::as_deref).collect::<BinaryArray>()) as ArrayRef),
    ]
    .boxed()
}

/// The values of an array, one by one.
fn model(array: &ArrayRef) -> Vec<Option<Datum<'static>>> {
    let integers = || arrow_data_values(array);
    let datum = |row: usize| match Storage::of(array.data_type()).expect("a storage type") {
        Storage::Bool => Datum::Bool(array.as_boolean().value(row)),
        Storage::Float => Datum::Float(array.as_primitive::<datafusion::arrow::array::types::Float64Type>().value(row)),
        Storage::String => Datum::String(Cow::Owned(array.as_string::<i32>().value(row).to_string())),
        Storage::Binary => Datum::Binary(Cow::Owned(array.as_binary::<i32>().value(row).to_vec())),
        Storage::Date => {
            Datum::Int(array.as_primitive::<datafusion::arrow::array::types::Date32Type>().value(row).into())
        }
        Storage::Int | Storage::Timestamp | Storage::Time => Datum::Int(integers().value(row)),
    };
    (0..array.len()).map(|row| array.is_valid(row).then(|| datum(row))).collect()
}

/// An array of 64-bit integers of whichever type as one of ints.
fn arrow_data_values(array: &ArrayRef) -> Int64Array {
    let data = array.to_data().into_builder().data_type(DataType::Int64).build().expect("64-bit integers alike");
    datafusion::arrow::array::make_array(data).as_primitive::<Int64Type>().clone()
}

fn compare(a: &Datum<'_>, b: &Datum<'_>) -> std::cmp::Ordering {
    match (a, b) {
        (Datum::Bool(a), Datum::Bool(b)) => a.cmp(b),
        (Datum::Int(a), Datum::Int(b)) => a.cmp(b),
        (Datum::Float(a), Datum::Float(b)) => a.total_cmp(b),
        (Datum::String(a), Datum::String(b)) => a.as_bytes().cmp(b.as_bytes()),
        (Datum::Binary(a), Datum::Binary(b)) => a.cmp(b),
        _ => panic!("{a:?} and {b:?} are of one column"),
    }
}

fn same(a: &Option<Datum<'_>>, b: &Option<Datum<'_>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => compare(a, b).is_eq(),
        (a, b) => a.is_none() && b.is_none(),
    }
}

fn matches(predicate: &Predicate<'_>, value: &Datum<'_>) -> bool {
    match predicate {
        Predicate::Present => true,
        Predicate::In(set) => set.iter().any(|one| compare(one, value).is_eq()),
        Predicate::Within(low, high) => {
            let above = match low {
                Bound::Included(low) => compare(low, value).is_le(),
                Bound::Excluded(low) => compare(low, value).is_lt(),
                Bound::Unbounded => true,
            };
            let below = match high {
                Bound::Included(high) => compare(value, high).is_le(),
                Bound::Excluded(high) => compare(value, high).is_lt(),
                Bound::Unbounded => true,
            };
            above && below
        }
    }
}

/// Predicates with values that are in the column, and near them.
fn predicates(model: &[Option<Datum<'static>>], picks: &[usize]) -> Vec<Predicate<'static>> {
    let present: Vec<&Datum<'static>> = model.iter().flatten().collect();
    let mut known: Vec<Datum<'static>> = match present.len() {
        0 => return vec![Predicate::Present],
        count => picks.iter().map(|pick| present[pick % count].clone()).collect(),
    };
    let near: Vec<Datum<'static>> = known.iter().map(neighbour).collect();
    known.extend(near);
    let mut all = vec![Predicate::Present, Predicate::In(Vec::new()), Predicate::In(known.clone())];
    for pair in known.windows(2) {
        let (a, b) = (pair[0].clone(), pair[1].clone());
        all.push(Predicate::equal(a.clone()));
        all.push(Predicate::In(vec![b.clone(), a.clone()]));
        all.push(Predicate::Within(Bound::Included(a.clone()), Bound::Excluded(b.clone())));
        all.push(Predicate::Within(Bound::Excluded(a.clone()), Bound::Included(b)));
        all.push(Predicate::Within(Bound::Unbounded, Bound::Excluded(a.clone())));
        all.push(Predicate::Within(Bound::Excluded(a), Bound::Unbounded));
    }
    all
}

fn neighbour(datum: &Datum<'static>) -> Datum<'static> {
    match datum {
        Datum::Bool(value) => Datum::Bool(!value),
        Datum::Int(value) => Datum::Int(value.wrapping_add(1)),
        Datum::Float(value) => Datum::Float(value + 0.001),
        Datum::String(value) => Datum::String(Cow::Owned(format!("{value}a"))),
        Datum::Binary(value) => Datum::Binary(Cow::Owned(value[..value.len() / 2].to_vec())),
    }
}

fn encoded(array: &ArrayRef, block_bits: u8) -> Bytes {
    let mut out = Vec::new();
    encode_in_blocks(array.as_ref(), block_bits, &mut out).expect("a storage type");
    Bytes::from(out)
}

fn open(array: &ArrayRef, bytes: &Bytes) -> Result<Column, ColumnError> {
    Column::open(bytes.clone(), array.data_type(), array.len() as u64)
}

/// A value is its own string, none that is longer or shorter.
fn check_is_string(column: &Column, row: u64, value: Option<&Datum<'_>>) {
    let text = if let Some(Datum::String(text)) = value { text.as_ref() } else { "" };
    let last = text.char_indices().last().map(|(start, _)| &text[..start]);
    let longer = format!("{text}a");
    for other in [Some(text), Some(&longer), last].into_iter().flatten() {
        let expected = value.map(|value| *value == Datum::String(Cow::Borrowed(other)));
        assert_eq!(column.is_string(row, other), Ok(expected), "row {row}: {other:?}");
    }
}

fn check(array: &ArrayRef, block_bits: u8, picks: &[usize]) {
    let bytes = encoded(array, block_bits);
    assert_eq!(bytes, encoded(array, block_bits), "equal arrays have equal bytes");
    let column = open(array, &bytes).expect("what was encoded");
    let (model, length) = (model(array), array.len());
    assert_eq!(column.present(), (length - array.null_count()) as u64);
    for (row, expected) in model.iter().enumerate() {
        let value = column.value(row as u64).expect("a row");
        assert!(same(&value, expected), "row {row}: {value:?} instead of {expected:?}");
        check_is_string(&column, row as u64, expected.as_ref());
    }
    assert!(column.value(length as u64).is_err());
    for pair in picks.windows(2) {
        let (a, b) = (pair[0] % (length + 1), pair[1] % (length + 1));
        let range = a.min(b)..a.max(b);
        let read = column.read(range.start as u64..range.end as u64).expect("rows");
        assert_eq!(&read, &array.slice(range.start, range.len()), "rows {range:?}");
        check_codes(&column, &read, range.start as u64..range.end as u64);
        let aligned = (range.start / 64 * 64) as u64..range.end as u64;
        check_selection(&column, &model, aligned, picks);
    }
    check_selection(&column, &model, 0..length as u64, picks);
    assert_eq!(&column.read(0..length as u64).expect("rows"), array);
    let mut rows: Vec<u32> = picks.iter().filter(|_| length > 0).map(|pick| (pick % length.max(1)) as u32).collect();
    rows.sort_unstable();
    let expected = take(array, &UInt32Array::from(rows.clone()), None).expect("rows of the array");
    assert_eq!(&column.take(&rows).expect("rows"), &expected);
    check_statistics(&column, &model);
    // What does not lie as Arrow wants it is copied.
    let shifted = Bytes::from([&[0], bytes.as_ref()].concat()).slice(1..);
    let shifted = open(array, &shifted).expect("what was encoded");
    assert_eq!(&shifted.read(0..length as u64).expect("rows"), array);
}

fn check_codes(column: &Column, read: &ArrayRef, range: std::ops::Range<u64>) {
    let Some(codes) = column.codes(range).expect("rows") else { return };
    let dictionary = column.dictionary().expect("a good one").expect("it has codes");
    assert_eq!(Some(dictionary.len()), column.distinct());
    assert_eq!(&take(&dictionary, &codes, None).expect("codes of the dictionary"), read);
}

fn check_selection(column: &Column, model: &[Option<Datum<'static>>], rows: std::ops::Range<u64>, picks: &[usize]) {
    let slice = &model[rows.start as usize..rows.end as usize];
    let words = slice.len().div_ceil(64);
    for predicate in predicates(model, picks) {
        let there = model.iter().flatten();
        let ends = there.clone().min_by(|a, b| compare(a, b)).zip(there.clone().max_by(|a, b| compare(a, b)));
        if let Some((least, greatest)) = ends {
            let any = there.clone().any(|value| matches(&predicate, value));
            assert!(predicate.meets(least, greatest) || !any, "{predicate:?} within {least:?} and {greatest:?}");
            let far = predicate.meets(least, least) && !matches(&predicate, least);
            assert!(!far, "{predicate:?} does not match {least:?} alone");
        }
        let mut bits = vec![u64::MAX; words + 1];
        column.select(rows.clone(), &predicate, &mut bits).expect("a predicate of the type");
        let is_set = |row: usize| bits[row / 64] >> (row % 64) & 1 == 1;
        for (row, value) in slice.iter().enumerate() {
            let expected = value.as_ref().is_some_and(|value| matches(&predicate, value));
            assert_eq!(is_set(row), expected, "row {row} of {rows:?}: {value:?} by {predicate:?}");
        }
        assert!((slice.len()..bits.len() * 64).all(|row| !is_set(row)), "bits behind the rows");
        let mut some: Vec<u64> = picks.iter().cycle().take(words).map(|pick| *pick as u64).collect();
        let before = some.clone();
        column.select(rows.clone(), &predicate, &mut some).expect("a predicate of the type");
        assert!(some.iter().zip(&before).zip(&bits).all(|((some, before), bits)| *some == before & bits));
        check_aggregates(column, slice, rows.clone(), &bits);
    }
    check_aggregates(column, slice, rows, &vec![u64::MAX; words]);
}

fn check_aggregates(column: &Column, model: &[Option<Datum<'static>>], rows: std::ops::Range<u64>, bits: &[u64]) {
    let is_set = |row: usize| bits[row / 64] >> (row % 64) & 1 == 1;
    let chosen: Vec<_> = (0..model.len()).filter(|row| is_set(*row)).filter_map(|row| model[row].as_ref()).collect();
    assert_eq!(column.count(rows.clone(), Some(bits)), Ok(chosen.len() as u64));
    let integer = |datum: &&Datum<'_>| match datum {
        Datum::Int(value) => Some(*value),
        Datum::Bool(value) => Some(i64::from(*value)),
        _ => None,
    };
    let Some(integers) = chosen.iter().map(integer).collect::<Option<Vec<i64>>>() else {
        return assert!(column.sum(rows, Some(bits)).is_err());
    };
    if column.is_numbered_for_tests() {
        let sum: i128 = integers.iter().map(|value| i128::from(*value)).sum();
        assert_eq!(column.sum(rows.clone(), Some(bits)), Ok(sum));
        let ends = integers.iter().min().copied().zip(integers.iter().max().copied());
        assert_eq!(column.min_max(rows.clone(), Some(bits)), Ok(ends));
        if chosen.len() == model.iter().flatten().count() {
            assert_eq!(column.sum(rows.clone(), None), Ok(sum));
            assert_eq!(column.min_max(rows.clone(), None), Ok(ends));
            assert_eq!(column.count(rows, None), Ok(chosen.len() as u64));
        }
    }
}

fn check_statistics(column: &Column, model: &[Option<Datum<'static>>]) {
    let comparable = |bound: Datum<'_>, value: &Datum<'static>| match (bound, value) {
        (Datum::Binary(bound), Datum::String(value)) => bound.as_ref().cmp(value.as_bytes()),
        (bound, value) => compare(&bound, value),
    };
    for (block, rows) in model.chunks(column.block_rows().min(1 << 20) as usize).enumerate() {
        let present: Vec<_> = rows.iter().flatten().collect();
        let Some(statistics) = column.statistics(block) else {
            assert!(present.is_empty());
            continue;
        };
        assert_eq!((statistics.rows, statistics.present), (rows.len(), present.len()));
        for value in present {
            let min = statistics.min.clone().expect("a block with values has a least one");
            assert!(comparable(min, value).is_le());
            assert!(statistics.max.clone().is_none_or(|max| comparable(max, value).is_ge()));
        }
    }
}

impl Column {
    fn is_numbered_for_tests(&self) -> bool {
        !matches!(self.storage, Storage::Float | Storage::String | Storage::Binary)
    }
}

/// Asks a column everything: what it says does not matter, only that it says something.
fn ask(array: &ArrayRef, bytes: Bytes, predicates: &[Predicate<'static>]) {
    let rows = array.len() as u64;
    let Ok(column) = open(array, &bytes) else { return };
    let some: Vec<u32> = (0..array.len() as u32).step_by(3).collect();
    let arrays = [column.take(&some), column.read(0..rows), column.read(rows / 3..rows / 2), column.take(&some)];
    for array in arrays.into_iter().flatten() {
        // Above all, strings are text.
        array.to_data().validate_full().expect("an array that was handed out is sound");
    }
    let _ = column.codes(0..rows);
    let _ = column.dictionary();
    let selection = vec![0x5555_ffff_0f0f_3333; array.len().div_ceil(64)];
    for selection in [None, Some(selection.as_slice())] {
        let _ = column.sum(0..rows, selection);
        let _ = column.min_max(0..rows, selection);
        let _ = column.count(0..rows, selection);
    }
    (0..rows).for_each(|row| drop(column.value(row)));
    (0..4).for_each(|block| drop(column.statistics(block)));
    for predicate in predicates {
        let _ = column.select(0..rows, predicate, &mut vec![u64::MAX; array.len().div_ceil(64)]);
    }
}

/// Small columns that together use every encoding and form of presence.
fn samples() -> Vec<ArrayRef> {
    let every = |nth: i64, count: i64| (0..count).map(move |row| (row % nth == 0).then_some(row));
    let text = |row: i64| format!("{} of {row}", ["alpha", "beta", "gamma"][row as usize % 3]);
    vec![
        Arc::new(BooleanArray::from_iter(every(1, 90).map(|row| row.map(|row| row % 3 == 0)))),
        Arc::new(BooleanArray::from_iter(every(2, 90).map(|row| row.map(|_| true)))),
        Arc::new(Int64Array::from_iter(every(2, 130))),
        Arc::new(Int64Array::from_iter(every(40, 400))),
        Arc::new(Int64Array::from_iter(every(1, 70).map(|row| row.map(|row| row * 1000 * row)))),
        Arc::new(Int64Array::from_iter(every(1, 70).map(|row| row.map(|row| (row - 35) << 55)))),
        Arc::new(Date32Array::from_iter(every(3, 200).map(|row| row.map(|row| row as i32 * 999)))),
        Arc::new(Float64Array::from_iter(every(1, 70).map(|row| row.map(|row| row as f64 / 100.0)))),
        Arc::new(Float64Array::from_iter(every(2, 70).map(|row| row.map(|row| (row as f64).sqrt())))),
        Arc::new(Float64Array::from_iter(every(1, 70).map(|row| row.map(|row| f64::from((row as f32).sqrt()))))),
        Arc::new(StringArray::from_iter(every(1, 80).map(|row| row.map(text)))),
        Arc::new(StringArray::from_iter(every(2, 200).map(|row| row.map(|row| text(row % 5))))),
        Arc::new(BinaryArray::from_iter(every(1, 70).map(|row| row.map(|row| vec![0xff_u8; row as usize / 2])))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn columns_are_their_arrays(array in array(), picks in vec(any::<usize>(), 1..6), bits in prop_oneof![Just(6_u8), Just(16)]) {
        check(&array, bits, &picks);
    }

    #[test]
    fn slices_are_columns_too(array in array(), picks in vec(any::<usize>(), 2..4)) {
        let (a, b) = (picks[0] % (array.len() + 1), picks[1] % (array.len() + 1));
        check(&array.slice(a.min(b), a.abs_diff(b)), 6, &picks);
    }

    #[test]
    fn columns_that_lie_are_read_without_panic(
        array in array(),
        lies in vec((any::<usize>(), any::<u8>()), 1..8),
        picks in vec(any::<usize>(), 1..3),
    ) {
        let mut bytes = encoded(&array, 6).to_vec();
        for (at, lie) in lies {
            // Most lies are told in the directory, which is at the end.
            let behind = (at >> 8) % (bytes.len() + 1).min(if at % 2 == 0 { 40 } else { usize::MAX });
            let at = bytes.len() - 1 - behind.min(bytes.len() - 1);
            bytes[at] = lie;
        }
        ask(&array, bytes.into(), &predicates(&model(&array), &picks));
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_survived() {
    for array in samples() {
        let bytes = encoded(&array, 6);
        let predicates = predicates(&model(&array), &[7, 31]);
        for length in 0..bytes.len() {
            ask(&array, bytes.slice(..length), &predicates);
        }
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            ask(&array, bytes.into(), &predicates);
        }
    }
}

/// Enough strings for a symbol table, in blocks of 2^12 rows, one of them full.
fn compressed_sample() -> ArrayRef {
    let message = |row: u32| format!("request {row:06} of customer {} took {} ms", row * 7919 % 1000, row * row % 977);
    Arc::new(StringArray::from_iter((0..6000).map(|row| (row < 5000 || row % 2 == 0).then(|| message(row)))))
}

/// What [`samples`] and [`compressed_sample`] were when the first version was made, a length before each.
const FIXTURE: &[u8] = include_bytes!("fixtures/version_1.bin");

#[test]
fn the_first_version_still_opens() {
    let mut reader = basalt_common::binary::Reader::new(FIXTURE);
    for array in samples().into_iter().chain([compressed_sample()]) {
        let bytes = Bytes::copy_from_slice(reader.bytes().expect("as many columns as samples"));
        let column = open(&array, &bytes).expect("a column of version 1");
        assert_eq!(&column.read(0..array.len() as u64).expect("rows"), &array);
    }
    assert!(reader.is_at_end());
}

#[test]
fn compressed_strings_that_lie_are_read_without_panic() {
    let array = compressed_sample();
    let bytes = encoded(&array, 12);
    assert!(bytes.len() * 3 < array.to_data().get_slice_memory_size().expect("buffers") * 2, "it is compressed");
    check(&array, 12, &[77, 4711, 5_555_555]);
    let predicates = [Predicate::equal(Datum::String("request 000777 of customer 63 took 543 ms".into()))];
    let (table, directory) = (8..8 + 256 * 9, bytes.len() - 80..bytes.len());
    let values = table.end..directory.start;
    for at in table.step_by(37).chain(values.step_by(997)).chain(directory) {
        for flip in [1_u8, 0x80, 0xff] {
            let mut bytes = bytes.to_vec();
            bytes[at] ^= flip;
            ask(&array, bytes.into(), &predicates);
        }
    }
}

#[test]
fn big_blocks_use_every_encoding() {
    let message =
        |row: u64| format!("{row:08x} took {} ms: no route to host, retrying in {} s", row * row % 977, row % 60);
    let rows = 150_000_u64;
    let present = |row: &u64| row * 2_654_435_761 % 97 < 60;
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values((0..rows).map(message))),
        Arc::new(StringArray::from_iter((0..rows).map(|row| present(&row).then(|| message(row % 3000))))),
        Arc::new(Int64Array::from_iter((0..rows as i64).map(|row| (row % 100 == 7).then_some(row * row)))),
        Arc::new(Int64Array::from_iter((0..rows as i64).map(|row| (row % 15_000 == 7).then_some(row)))),
        Arc::new(Float64Array::from_iter((0..rows).map(|row| present(&row).then_some(row as f64 / 8.0)))),
        Arc::new(
            TimestampMicrosecondArray::from_iter_values((0..rows as i64).map(|row| row * 5000)).with_timezone("UTC"),
        ),
    ];
    for array in arrays {
        let picks: Vec<usize> = (0..6).map(|pick| pick * 31_337 + 77).collect();
        check(&array, BLOCK_BITS, &picks);
    }
}

#[test]
fn what_lies_as_arrow_has_it_is_not_copied() {
    let floats: ArrayRef = Arc::new(Float64Array::from_iter_values((1..5000).map(|row| f64::from(row).sqrt())));
    let ints: ArrayRef =
        Arc::new(Int64Array::from_iter_values((1..5000_i64).map(|row| row.wrapping_mul(i64::MAX / 3))));
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..500).map(|row| format!("{row}"))));
    for (array, buffer) in [(floats, 0), (ints, 0), (texts, 1)] {
        let bytes = encoded(&array, BLOCK_BITS);
        let read = open(&array, &bytes).expect("a column").read(100..400).expect("rows").to_data();
        let place = read.buffers()[buffer].as_slice().as_ptr_range();
        let all = bytes.as_ptr_range();
        assert!(all.start <= place.start && place.end <= all.end, "{:?} was copied", array.data_type());
    }
}

#[test]
fn a_field_of_few_rows_costs_little() {
    let array: ArrayRef =
        Arc::new(Int64Array::from_iter((0..1_000_000).map(|row| (row % 100_000 == 5).then_some(row))));
    let bytes = encoded(&array, BLOCK_BITS);
    assert!(bytes.len() < 128, "{} bytes for 10 values", bytes.len());
    assert_eq!(&open(&array, &bytes).expect("a column").read(0..1_000_000).expect("rows"), &array);
    let absent: ArrayRef = Arc::new(Int64Array::new_null(1_000_000));
    assert!(encoded(&absent, BLOCK_BITS).len() < 24);
}

#[test]
fn encodings_are_those_meant() {
    let width = |array: ArrayRef| encoded(&array, BLOCK_BITS).len() as f64 / array.len() as f64;
    let rows = 60_000_i64;
    let micros = Arc::new(Int64Array::from_iter_values((0..rows).map(|row| row * 1_000_000 + 1)));
    assert!(width(micros) < 2.01, "microseconds that are seconds take 2 bytes");
    let prices = Arc::new(Float64Array::from_iter_values((0..rows).map(|row| row as f64 / 100.0)));
    assert!(width(prices) < 2.01, "prices are scaled");
    let fixed = Arc::new(StringArray::from_iter_values((0..rows).map(|row| format!("{:08x}", row * 7919 % rows))));
    assert!(width(fixed) < 8.0, "where strings of one length begin costs nothing");
    let codes: HashSet<i64> = (0..200).collect();
    let repeated = (0..rows).map(|row| format!("customer number {}", row % codes.len() as i64));
    assert!(width(Arc::new(StringArray::from_iter_values(repeated))) < 1.1, "strings that repeat are codes");
}

#[test]
fn what_is_not_known_is_named() {
    let array: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let bytes = encoded(&array, BLOCK_BITS);
    let mut later = bytes.to_vec();
    later[0] = 2;
    let unknown = ColumnError::Unknown { part: "version", code: 2 };
    assert_eq!(open(&array, &later.into()).err(), Some(unknown));
    let mut later = bytes.to_vec();
    let encoding = later.iter().rposition(|byte| *byte == 2).expect("the frame's greatest offset");
    later[encoding - 3] = 77;
    assert_eq!(open(&array, &later.into()).err(), Some(ColumnError::Unknown { part: "encoding", code: 77 }));
    let other = Column::open(bytes, &DataType::Float64, 3).err();
    assert!(matches!(other, Some(ColumnError::OtherType { .. })));
    let column = open(&array, &encoded(&array, BLOCK_BITS)).expect("a column");
    let text = Predicate::equal(Datum::String("1".into()));
    assert!(column.select(0..3, &text, &mut [1]).is_err());
    assert!(encode(&UInt32Array::from(vec![1]), &mut Vec::new()).is_err());
}
