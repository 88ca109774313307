//! A column with what runs lay over it.
//!
//! In: a column of some rows, what each run lays over which of them, the oldest first. Out: a column, of which most is copied as it
//! lies.

use std::sync::Arc;

use basalt_common::columns::TypedColumns;
use basalt_common::value::Type;
use datafusion::arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanBufferBuilder, PrimitiveArray};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{
    Date32Type, Float64Type, Int64Type, Time64MicrosecondType, TimestampMicrosecondType,
};

use super::{Run, both};

/// Strings of which less than one in so many is laid over are copied at once from one of these to the next.
const FEW: usize = 16;

/// What a run lays over some rows.
pub(super) struct Laid<'r> {
    values: &'r TypedColumns,
    /// Places among the rows, ascending.
    pub(super) places: Vec<u32>,
    /// The place in the run of what is laid over each.
    from: Vec<u32>,
}

impl<'r> Laid<'r> {
    pub(super) fn of(run: &'r Run, rows: &[u32]) -> Self {
        let (mut places, mut from) = (Vec::new(), Vec::new());
        both(rows, run.rows(), |place, index| {
            places.push(place as u32);
            from.push(index as u32);
        });
        Self { values: run.values(), places, from }
    }
}

/// A column with what runs lay over it, the oldest first.
pub(super) fn lay(base: TypedColumns, laid: &[Laid<'_>]) -> TypedColumns {
    if let Some(numbers) = lay_numbers(&base, laid) {
        return numbers;
    }
    if laid.iter().map(|laid| laid.places.len()).sum::<usize>() < base.rows() / FEW {
        let lay = |base: TypedColumns, laid: &Laid<'_>| {
            base.with_rows(&laid.places, &laid.values.take(&laid.from.clone().into()))
        };
        return laid.iter().fold(base, lay);
    }
    let mut from: Vec<(usize, usize)> = (0..base.rows()).map(|row| (0, row)).collect();
    for (part, laid) in (1..).zip(laid) {
        laid.places.iter().zip(&laid.from).for_each(|(place, index)| from[*place as usize] = (part, *index as usize));
    }
    let parts: Vec<&TypedColumns> = std::iter::once(&base).chain(laid.iter().map(|laid| laid.values)).collect();
    TypedColumns::interleave(&parts, &from)
}

/// As [`lay`], where all values are of one type, and each takes as many bytes.
fn lay_numbers(base: &TypedColumns, laid: &[Laid<'_>]) -> Option<TypedColumns> {
    let only = |columns: &TypedColumns| match columns.columns() {
        [(of, array)] => Some((*of, ArrayRef::clone(array))),
        _ => None,
    };
    let (of, array) = only(base)?;
    let runs = laid.iter().map(|laid| only(laid.values).filter(|(own, _)| *own == of).map(|(_, array)| (array, laid)));
    let runs: Vec<(ArrayRef, &Laid<'_>)> = runs.collect::<Option<_>>()?;
    let put = match of {
        Type::Int => put::<Int64Type>,
        Type::Float => put::<Float64Type>,
        Type::Timestamp => put::<TimestampMicrosecondType>,
        Type::Date => put::<Date32Type>,
        Type::Time => put::<Time64MicrosecondType>,
        _ => return None,
    };
    let mixed = put(&array, &runs);
    let columns = if mixed.null_count() < mixed.len() { vec![(of, mixed)] } else { Vec::new() };
    Some(TypedColumns::new(base.rows(), columns))
}

/// Puts numbers of runs over those of a column.
fn put<T: ArrowPrimitiveType>(base: &ArrayRef, runs: &[(ArrayRef, &Laid<'_>)]) -> ArrayRef {
    let base = base.as_primitive::<T>();
    let mut values = base.values().to_vec();
    let has_nulls = base.null_count() > 0 || runs.iter().any(|(array, _)| array.null_count() > 0);
    let mut valid = BooleanBufferBuilder::new(0);
    if has_nulls {
        match base.nulls() {
            Some(nulls) => valid.append_buffer(nulls.inner()),
            None => valid.append_n(values.len(), true),
        }
    }
    for (array, laid) in runs {
        let array = array.as_primitive::<T>();
        for (place, index) in laid.places.iter().zip(&laid.from) {
            values[*place as usize] = array.value(*index as usize);
            if has_nulls {
                valid.set_bit(*place as usize, array.is_valid(*index as usize));
            }
        }
    }
    let nulls = has_nulls.then(|| NullBuffer::new(valid.finish()));
    Arc::new(PrimitiveArray::<T>::new(values.into(), nulls).with_data_type(base.data_type().clone()))
}
