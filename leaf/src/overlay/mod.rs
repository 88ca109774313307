//! Overlays: what patches laid over one field of one segment.
//!
//! In: runs, one for each batch that patched the field. Out: the value laid over a row, or a column with all of them laid
//! over it. An overlay is a stack of immutable runs, the newest on top, merged by size tiers: a log-structured merge of
//! (row → value), so that neither a patch nor a snapshot copies what was there.
//!
//! ```text
//! segment column   10 20 30 40      run 1 (older)  {1: 21, 3: absent}      run 2  {1: 22}
//! what is read     10 22 30  ·
//! ```

/// What runs lay over a column.
mod lay;
/// Where in a run values are, by value.
mod order;
/// What one batch, or several, laid over a field.
mod run;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use basalt_common::columns::TypedColumns;
use basalt_common::value::Value;
use datafusion::arrow::array::UInt32Array;

use lay::Laid;
pub use run::Run;

/// Counts bytes that patches wrote, merges of runs included.
#[derive(Debug, Default)]
pub struct WrittenBytes(AtomicU64);

impl WrittenBytes {
    fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The bytes so far.
    pub fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Tells the places of what is in both of two lists, each strictly ascending, in ascending order.
pub(crate) fn both(a: &[u32], b: &[u32], mut found: impl FnMut(usize, usize)) {
    let (Some(first), Some(last)) = (a.first().max(b.first()), a.last().min(b.last())) else { return };
    let are_ranges = (is_range(a), is_range(b));
    let within = |list: &[u32]| (list.partition_point(|each| each < first), list.partition_point(|each| each <= last));
    let ((a_start, a_end), (b_start, b_end)) = (within(a), within(b));
    let (a, b) = (a.get(a_start..a_end).unwrap_or_default(), b.get(b_start..b_end).unwrap_or_default());
    let mut found = |in_a: usize, in_b: usize| found(a_start + in_a, b_start + in_b);
    match are_ranges {
        (true, _) => b.iter().enumerate().for_each(|(place, each)| found((each - first) as usize, place)),
        (_, true) => a.iter().enumerate().for_each(|(place, each)| found(place, (each - first) as usize)),
        _ if a.len() <= b.len() => search(a, b, found),
        _ => search(b, a, |in_b, in_a| found(in_a, in_b)),
    }
}

/// Whether ascending numbers are all between the first and the last.
fn is_range(ascending: &[u32]) -> bool {
    let (Some(first), Some(last)) = (ascending.first(), ascending.last()) else { return false };
    (last - first) as usize + 1 == ascending.len()
}

/// Looks for each of a few ascending numbers in a longer ascending list; tells both places of those that are there.
fn search(few: &[u32], many: &[u32], mut found: impl FnMut(usize, usize)) {
    let mut at = 0;
    for (index, wanted) in few.iter().enumerate() {
        // What comes next is near, as a rule: twice as far each time, then back.
        let mut reach = 1;
        while at + reach < many.len() && many[at + reach] < *wanted {
            reach *= 2;
        }
        let end = (at + reach + 1).min(many.len());
        at += many[at..end].partition_point(|there| there < wanted);
        if many.get(at) == Some(wanted) {
            found(index, at);
        }
    }
}

/// The runs over one field of one segment.
#[derive(Debug, Clone, Default)]
pub struct Overlay {
    /// INVARIANT: oldest first, each more than twice as long as the next, so there are at most 32.
    runs: Vec<Arc<Run>>,
}

impl Overlay {
    /// An overlay of runs that were one's before.
    ///
    /// # Errors
    /// A run is not more than twice as long as the next.
    pub fn restore(runs: Vec<Run>) -> Result<Self, &'static str> {
        if runs.windows(2).any(|pair| pair[0].rows().len() <= 2 * pair[1].rows().len()) {
            return Err("a run is not more than twice as long as the next");
        }
        Ok(Self { runs: runs.into_iter().map(Arc::new).collect() })
    }

    /// The runs, oldest first.
    pub fn runs(&self) -> &[Arc<Run>] {
        &self.runs
    }

    /// Lays a run on top, and merges it with those below that are not more than twice as long.
    pub fn push(&mut self, run: Run, written: &WrittenBytes) {
        let mut top = run;
        written.add(top.bytes());
        while let Some(below) = self.runs.pop_if(|below| below.rows().len() <= 2 * top.rows().len()) {
            top = Run::merge(&below, &top);
            written.add(top.bytes());
        }
        self.runs.push(Arc::new(top));
    }

    /// What is laid over a row: `None` where nothing is, `Some(None)` where the field was removed.
    pub fn value(&self, row: u32) -> Option<Option<Value>> {
        self.runs.iter().rev().find_map(|run| {
            let index = run.rows().binary_search(&row).ok()?;
            Some(run.values().value(index))
        })
    }

    /// Whether anything is laid over a row.
    pub fn covers(&self, row: u32) -> bool {
        self.runs.iter().any(|run| run.rows().binary_search(&row).is_ok())
    }

    /// Whether a run newer than one of them is laid over a row.
    pub fn covers_behind(&self, run: usize, row: u32) -> bool {
        self.runs[run + 1..].iter().any(|run| run.rows().binary_search(&row).is_ok())
    }

    /// The values of `rows` (ascending), of which `base` has what the segment holds, with the overlay laid over them.
    pub fn lay_over(&self, base: TypedColumns, rows: &UInt32Array) -> TypedColumns {
        let laid: Vec<Laid> = self.runs.iter().map(|run| Laid::of(run, rows.values())).collect();
        let laid: Vec<Laid> = laid.into_iter().filter(|laid| !laid.places.is_empty()).collect();
        if laid.is_empty() { base } else { lay::lay(base, &laid) }
    }

    /// Bytes of memory that the runs take.
    pub fn bytes(&self) -> usize {
        self.runs.iter().map(|run| run.bytes()).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use basalt_common::columns::TypedColumnsBuilder;
    use basalt_common::value::Value;
    use datafusion::arrow::array::UInt32Array;
    use proptest::prelude::*;

    use super::{Overlay, Run, WrittenBytes, both};

    fn value() -> impl Strategy<Value = Option<Value>> {
        prop_oneof![
            any::<i64>().prop_map(|value| Some(Value::Int(value))),
            "[a-c]{0,3}".prop_map(|text| Some(Value::String(text))),
            Just(Some(Value::Null)),
            Just(None),
        ]
    }

    fn run_of(laid: &BTreeMap<u32, Option<Value>>) -> Run {
        let mut values = TypedColumnsBuilder::default();
        laid.values().for_each(|value| values.push_option(value.as_ref()));
        Run::new(laid.keys().copied().collect(), values.finish())
    }

    proptest! {
        /// Places of what two lists share, whichever is longer, and whether one is a range.
        #[test]
        fn both_have_it(
            a in prop::collection::btree_set(0_u32..90, 0..60),
            b in prop::collection::btree_set(0_u32..90, 0..20),
            (start, length) in (0_u32..90, 0_u32..60),
        ) {
            let (a, b): (Vec<u32>, Vec<u32>) = (a.into_iter().collect(), b.into_iter().collect());
            let range: Vec<u32> = (start..start + length).collect();
            for (a, b) in [(&a, &b), (&b, &a), (&a, &range), (&range, &a), (&range, &range)] {
                let mut found = Vec::new();
                both(a, b, |in_a, in_b| found.push((in_a, in_b)));
                let place = |each: &u32| Some((a.binary_search(each).ok()?, b.binary_search(each).ok()?));
                prop_assert_eq!(found, a.iter().filter_map(place).collect::<Vec<_>>());
            }
        }

        /// An overlay is a map of which later runs replace earlier ones, in single reads and over a column.
        #[test]
        fn is_a_map(
            base in prop::collection::vec(value(), 1..200),
            runs in prop::collection::vec(prop::collection::btree_map(0_u32..200, value(), 1..20), 1..9),
        ) {
            let mut column = TypedColumnsBuilder::default();
            base.iter().for_each(|value| column.push_option(value.as_ref()));
            let column = column.finish();
            let (mut overlay, mut expected) = (Overlay::default(), base.clone());
            for run in &runs {
                let run: BTreeMap<_, _> =
                    run.iter().filter(|(row, _)| (**row as usize) < base.len()).map(|(r, v)| (*r, v.clone())).collect();
                if !run.is_empty() {
                    overlay.push(run_of(&run), &WrittenBytes::default());
                }
                run.into_iter().for_each(|(row, value)| expected[row as usize] = value);
            }
            let all = UInt32Array::from_iter_values(0..base.len() as u32);
            let laid = overlay.lay_over(column.clone(), &all);
            for (row, expected) in expected.iter().enumerate() {
                let single = overlay.value(row as u32).unwrap_or_else(|| column.value(row));
                prop_assert_eq!(&single, expected);
                prop_assert_eq!(&laid.value(row), expected);
            }
            let odd = UInt32Array::from_iter_values((0..base.len() as u32).filter(|row| row % 2 == 1));
            let some = overlay.lay_over(column.take(&odd), &odd);
            for (index, row) in odd.values().iter().enumerate() {
                prop_assert_eq!(&some.value(index), &expected[*row as usize]);
            }
            prop_assert!(overlay.runs().len() <= 7, "{} runs over 200 rows", overlay.runs().len());
        }
    }
}
