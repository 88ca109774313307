//! A run: values for some rows of one field of one segment.
//!
//! In: rows and values, once. Out: both; which of its values match a predicate. What is asked of a run again and again is made when it is
//! asked for: the least and the greatest value at once, the order of all values where they were evaluated one by one before so often
//! that sorting them costs no more.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use basalt_common::columns::TypedColumns;
use basalt_common::value::Type;
use datafusion::arrow::array::{Array, AsArray, DictionaryArray, StringDictionaryBuilder};
use datafusion::arrow::datatypes::UInt32Type;

use super::order::{Order, bounds_of};
use crate::column::{Datum, Predicate};

/// Fewer values are evaluated as fast.
const ORDERED_MIN: usize = 16;

/// Values are put in order when they were asked for so often: about what that costs is paid then. A filter asks twice.
const ORDERED_AFTER: u32 = 8;

/// Strings are numbered where each is there so many times in the mean.
const REPEATED: usize = 4;

/// Values for some rows; an absent one hides the segment's.
#[derive(Debug)]
pub struct Run {
    /// INVARIANT: strictly ascending, as many as there are values; checked in [`Run::new`].
    rows: Vec<u32>,
    values: TypedColumns,
    /// What they take: asked for all runs of a shard with every batch.
    bytes: usize,
    /// By type, the least and the greatest value, if that can be told.
    bounds: OnceLock<OfTypes<(Datum<'static>, Datum<'static>)>>,
    /// By type, the order of the values, if they have one.
    orders: OnceLock<OfTypes<Order>>,
    /// How often they were asked for.
    asked: AtomicU32,
    /// The strings, numbered, if few of them differ.
    strings: OnceLock<Option<DictionaryArray<UInt32Type>>>,
}

type OfTypes<T> = Vec<(Type, Option<T>)>;

impl Clone for Run {
    /// What is made when it is asked for is not copied.
    fn clone(&self) -> Self {
        Self::of(self.rows.clone(), self.values.clone(), self.bytes)
    }
}

impl Run {
    /// Makes a run.
    ///
    /// # Panics
    /// The rows are not strictly ascending, or not as many as the values.
    pub fn new(rows: Vec<u32>, values: TypedColumns) -> Self {
        assert_eq!(rows.len(), values.rows(), "a run has a value for each row");
        assert!(rows.windows(2).all(|pair| pair[0] < pair[1]), "rows of a run are ascending");
        let bytes = rows.len() * size_of::<u32>() + values.bytes();
        Self::of(rows, values, bytes)
    }

    fn of(rows: Vec<u32>, values: TypedColumns, bytes: usize) -> Self {
        let asked = AtomicU32::new(0);
        Self { rows, values, bytes, bounds: OnceLock::new(), orders: OnceLock::new(), asked, strings: OnceLock::new() }
    }

    /// Whether any of its values of a type may be one that a predicate lets through: the run's zone map.
    pub fn may_match(&self, of: Type, predicate: &Predicate<'_>) -> bool {
        let bounds = self.bounds.get_or_init(|| {
            let columns = self.values.columns().iter();
            columns.map(|(of, array)| (*of, bounds_of(array))).collect()
        });
        match bounds.iter().find(|(own, _)| *own == of) {
            None => false,
            Some((_, None)) => true,
            Some((_, Some((least, greatest)))) => predicate.meets(least, greatest),
        }
    }

    /// The places of the values of a type that a predicate lets through, in parts, by value; nothing where each has to be evaluated.
    pub fn find(&self, of: Type, predicate: &Predicate<'_>) -> Option<Vec<&[u32]>> {
        let is_early = || self.orders.get().is_none() && self.asked.fetch_add(1, Ordering::Relaxed) < ORDERED_AFTER;
        if self.rows.len() < ORDERED_MIN || is_early() {
            return None;
        }
        let orders = self.orders.get_or_init(|| {
            let columns = self.values.columns().iter();
            columns.map(|(of, array)| (*of, Order::of(array))).collect()
        });
        match orders.iter().find(|(own, _)| *own == of) {
            None => Some(Vec::new()),
            Some((_, order)) => order.as_ref()?.find(predicate),
        }
    }

    /// Its strings, each different one with a number, where most are there several times.
    pub fn strings(&self) -> Option<&DictionaryArray<UInt32Type>> {
        let numbered = || {
            let strings = self.values.column(Type::String)?.as_string::<i32>();
            let (most, mut numbered) = (strings.len() / REPEATED, StringDictionaryBuilder::<UInt32Type>::new());
            for string in strings {
                match string {
                    Some(string) if numbered.append(string).ok()? as usize >= most => return None,
                    Some(_) => {}
                    None => numbered.append_null(),
                }
            }
            Some(numbered.finish())
        };
        self.strings.get_or_init(numbered).as_ref()
    }

    /// The rows, ascending.
    pub fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// The values, one a row.
    pub fn values(&self) -> &TypedColumns {
        &self.values
    }

    /// Bytes of memory that it takes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Both runs as one; where both have a row, the newer has it.
    pub(super) fn merge(older: &Self, newer: &Self) -> Self {
        let mut rows = Vec::with_capacity(older.rows.len() + newer.rows.len());
        let mut from = Vec::with_capacity(rows.capacity());
        let (mut o, mut n) = (0, 0);
        while o < older.rows.len() || n < newer.rows.len() {
            let (old, new) = (older.rows.get(o), newer.rows.get(n));
            let take_new = old.is_none_or(|old| new.is_some_and(|new| new <= old));
            if take_new {
                rows.push(newer.rows[n]);
                from.push((1, n));
                o += usize::from(old == new);
                n += 1;
            } else {
                rows.push(older.rows[o]);
                from.push((0, o));
                o += 1;
            }
        }
        Self::new(rows, TypedColumns::interleave(&[&older.values, &newer.values], &from))
    }
}
