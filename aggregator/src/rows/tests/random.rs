//! Random batches read back by another JSON reader.

use serde_json::{Value, json};

use super::*;
use datafusion::arrow::datatypes::*;

/// Numbers that look random, the same in every run (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One in four is none.
    fn some<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (!self.next().is_multiple_of(4)).then(|| make(self))
    }

    fn integer(&mut self) -> i64 {
        let bits = self.next() % 64;
        self.next().cast_signed() >> bits
    }

    fn string(&mut self) -> String {
        let letters: Vec<char> = "abcdefgh \"\\/\n\u{1}é🌙".chars().collect();
        (0..self.next() % 40).map(|_| letters[self.next() as usize % letters.len()]).collect()
    }
}

#[test]
fn random_rows_read_back_the_same() {
    let numbers = &mut Numbers(7);
    for rows in [0usize, 1, 3, 200] {
        let integers: Vec<Option<i64>> = (0..rows).map(|_| numbers.some(Numbers::integer)).collect();
        let strings: Vec<Option<String>> = (0..rows).map(|_| numbers.some(Numbers::string)).collect();
        // Few digits, which any reader reads exactly.
        let floats: Vec<Option<f64>> =
            (0..rows).map(|_| numbers.some(|numbers| (numbers.next() as i32) as f64 / 64.0)).collect();
        let lists: Vec<Option<Vec<Option<i64>>>> = (0..rows)
            .map(|_| numbers.some(|numbers| (0..numbers.next() % 5).map(|_| numbers.some(Numbers::integer)).collect()))
            .collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(integers.clone())),
            Arc::new(StringArray::from(strings.clone())),
            Arc::new(Float64Array::from(floats.clone())),
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists.clone())),
        ];
        let names = ["i", "s\"", "f", "l"];
        let fields =
            names.iter().zip(&columns).map(|(name, column)| Field::new(*name, column.data_type().clone(), true));
        let batch = batch_of(fields.collect(), columns);
        let expected: Vec<Value> = (0..rows)
            .map(|row| json!({"i": integers[row], "s\"": strings[row], "f": floats[row], "l": lists[row]}))
            .collect();
        for start in [0, rows / 3, rows] {
            let text =
                format!("[{}]", json_of(&batch.slice(start, rows - start), JsonStyle::default(), Separator::Comma));
            assert_eq!(serde_json::from_str::<Vec<Value>>(&text).unwrap(), expected[start..]);
        }
    }
}

#[test]
fn random_floats_read_back_the_same() {
    let numbers = &mut Numbers(11);
    let wide = (0..10_000).map(|_| f64::from_bits(numbers.next()));
    let floats: Vec<f64> = wide.filter(|float| float.is_finite()).collect();
    let integers = (0..1_000).map(|shift| ((numbers.next() >> (shift % 64)).cast_signed()) as f64);
    let floats: Vec<f64> = floats.into_iter().chain(integers).collect();
    let batch =
        batch_of(vec![Field::new("f", DataType::Float64, true)], vec![Arc::new(Float64Array::from(floats.clone()))]);
    for (line, float) in json_of(&batch, ARRAYS, Separator::Newline).lines().zip(floats) {
        assert_eq!(line, format!("[{float:?}]"));
        assert_eq!(line[1..line.len() - 1].parse::<f64>().unwrap().to_bits(), float.to_bits());
    }
}
