//! Functions whose results, or whose work, may be far larger than their arguments, with a bound on that.
//!
//! In: DataFusion's functions. Out: the same, which refuse a call before it is made whose results would take more than
//! [`RESULT_BYTES_MAX`], whose texts are too long to be compared letter by letter, or whose regular expression is too large: these are
//! made in one piece, with no way to count them against a query's memory or to end them in time.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use datafusion::arrow::compute::{cast, kernels::length::length};
use datafusion::arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::common::{Result, exec_err};
use datafusion::functions::{regex as regexes, string, unicode};
use datafusion::functions_nested::{range, repeat, resize};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use regex::RegexBuilder;

/// What one call may make, of all rows of a batch.
pub const RESULT_BYTES_MAX: u128 = 256 << 20;

/// The most pairs of letters that one call compares: a few seconds.
const PAIRS_MAX: u128 = 1 << 30;

/// The most bytes that a regular expression is compiled to. Each letter of a text may cost a step for every few of them.
const REGEX_BYTES_MAX: usize = 512 << 10;

/// The longest regular expression, in bytes: even to look how large one is takes seconds of a hundred thousand alternatives.
const REGEX_TEXT_MAX: usize = 16 << 10;

/// Shorter expressions that repeat nothing so many times are small.
const REGEX_SMALL: usize = 256;

/// What an element of an array takes at least.
const ELEMENT_BYTES: u128 = 8;

/// What a function's result or its work follows from.
#[derive(Debug, Clone, Copy)]
enum Growth {
    /// The first, so often as the second says.
    Times,
    /// So much as the second says.
    Long,
    /// The third, wherever the second is in the first.
    Replaced,
    /// From the first to the second, by the third.
    Steps,
    /// Each letter of the first is compared with each of the second.
    Pairs,
    /// The second is a regular expression.
    Regex,
}

/// The functions, to be registered in place of DataFusion's own.
pub fn all() -> Vec<Arc<ScalarUDF>> {
    let bounded = [
        (string::repeat(), Growth::Times),
        (repeat::array_repeat_udf(), Growth::Times),
        (unicode::lpad(), Growth::Long),
        (unicode::rpad(), Growth::Long),
        (resize::array_resize_udf(), Growth::Long),
        (string::replace(), Growth::Replaced),
        (range::range_udf(), Growth::Steps),
        (range::gen_series_udf(), Growth::Steps),
        (string::levenshtein(), Growth::Pairs),
        (regexes::regexp_count(), Growth::Regex),
        (regexes::regexp_instr(), Growth::Regex),
        (regexes::regexp_like(), Growth::Regex),
        (regexes::regexp_match(), Growth::Regex),
        (regexes::regexp_replace(), Growth::Regex),
    ];
    let of = |(function, growth): (Arc<ScalarUDF>, Growth)| {
        Arc::new(ScalarUDF::from(Bounded { function: Arc::clone(function.inner()), growth }))
    };
    bounded.into_iter().map(of).collect()
}

#[derive(Debug)]
struct Bounded {
    function: Arc<dyn ScalarUDFImpl>,
    growth: Growth,
}

impl PartialEq for Bounded {
    fn eq(&self, other: &Self) -> bool {
        self.function.name() == other.function.name()
    }
}

impl Eq for Bounded {}

impl Hash for Bounded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.name().hash(state);
    }
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn aliases(&self) -> &[String] {
        self.function.aliases()
    }

    fn signature(&self) -> &Signature {
        self.function.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.function.return_type(types)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.function.return_field_from_args(arguments)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.function.coerce_types(types)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.function.documentation()
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (name, much) = (self.function.name(), self.growth.of(&arguments)?);
        match self.growth {
            Growth::Pairs if much > PAIRS_MAX => {
                return exec_err!(
                    "{name}() would compare {much} pairs of letters at once, and {PAIRS_MAX} are allowed"
                );
            }
            Growth::Regex => check_expressions(name, &arguments)?,
            _ if much > RESULT_BYTES_MAX => {
                return exec_err!("{name}() would make {much} bytes at once, and {RESULT_BYTES_MAX} are allowed");
            }
            _ => {}
        }
        self.function.invoke_with_args(arguments)
    }
}

impl Growth {
    /// About what a call makes or does, if it is much: bytes, or pairs.
    fn of(self, arguments: &ScalarFunctionArgs) -> Result<u128> {
        // Constants are one row, however many rows there are.
        let constant = arguments.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { arguments.number_rows };
        let array = |index: usize| match arguments.args.get(index) {
            Some(argument) => argument.to_array(rows).map(Some),
            None => Ok(None),
        };
        let numbers = |index: usize| array(index).map(|array| array.as_ref().and_then(numbers));
        let sizes = |index: usize| array(index).map(|array| array.as_ref().map(sizes));
        let sum = |of: &dyn Fn(usize) -> u128| (0..rows).map(of).fold(0_u128, u128::saturating_add);
        let at = |numbers: &Int64Array, row: usize| if numbers.is_valid(row) { numbers.value(row) } else { 0 };
        let positive = |number: i64| u128::from(number.max(0).unsigned_abs());
        Ok(match self {
            Self::Times => match (sizes(0)?, numbers(1)?) {
                (Some(sizes), Some(times)) => sum(&|row| sizes[row].saturating_mul(positive(at(&times, row)))),
                _ => 0,
            },
            Self::Long => match numbers(1)? {
                Some(lengths) => sum(&|row| positive(at(&lengths, row)).saturating_mul(ELEMENT_BYTES)),
                None => 0,
            },
            Self::Replaced => match (sizes(0)?, sizes(1)?, sizes(2)?) {
                (Some(texts), Some(from), Some(to)) => sum(&|row| {
                    let places = texts[row] / from[row].max(1) + 1;
                    texts[row].saturating_add(places.saturating_mul(to[row]))
                }),
                _ => 0,
            },
            Self::Steps => match (numbers(0)?, numbers(1)?, numbers(2)?) {
                (Some(ends), None, _) => sum(&|row| positive(at(&ends, row)).saturating_mul(ELEMENT_BYTES)),
                (Some(starts), Some(ends), steps) => sum(&|row| {
                    let step = steps.as_ref().map_or(1, |steps| at(steps, row).unsigned_abs().max(1));
                    let way = at(&ends, row).abs_diff(at(&starts, row)) / step;
                    u128::from(way).saturating_mul(ELEMENT_BYTES)
                }),
                _ => 0,
            },
            Self::Pairs => match (sizes(0)?, sizes(1)?) {
                (Some(first), Some(second)) => sum(&|row| first[row].saturating_mul(second[row])),
                _ => 0,
            },
            Self::Regex => 0,
        })
    }
}

/// Refuses regular expressions that are too large. What is none is left to the function, which says what is wrong with it.
fn check_expressions(name: &str, arguments: &ScalarFunctionArgs) -> Result<()> {
    let check = |expression: &str| {
        if expression.len() > REGEX_TEXT_MAX {
            return exec_err!(
                "the regular expression of {name}() has {} bytes, and {REGEX_TEXT_MAX} are allowed",
                expression.len()
            );
        }
        match RegexBuilder::new(expression).size_limit(REGEX_BYTES_MAX).build() {
            Err(regex::Error::CompiledTooBig(_)) => exec_err!(
                "the regular expression of {name}() is too large: it is compiled to more than {REGEX_BYTES_MAX} bytes"
            ),
            _ => Ok(()),
        }
    };
    let is_large = |expression: &&str| expression.len() > REGEX_SMALL || expression.contains('{');
    match arguments.args.get(1) {
        Some(ColumnarValue::Scalar(scalar)) => scalar.try_as_str().flatten().filter(is_large).map_or(Ok(()), check),
        Some(ColumnarValue::Array(array)) => {
            let texts = cast(array, &DataType::Utf8)?;
            let mut large: Vec<&str> = texts.as_string::<i32>().iter().flatten().filter(is_large).collect();
            large.sort_unstable();
            large.dedup();
            large.into_iter().try_for_each(check)
        }
        None => Ok(()),
    }
}

/// Counts, if they are some.
fn numbers(array: &ArrayRef) -> Option<Int64Array> {
    let is_number = array.data_type().is_integer() || matches!(array.data_type(), DataType::Null);
    let counts = cast(array, &DataType::Int64).ok().filter(|_| is_number)?;
    Some(counts.as_primitive::<Int64Type>().clone())
}

/// What each value takes: the bytes of a text, or its share of an array.
fn sizes(array: &ArrayRef) -> Vec<u128> {
    let lengths = length(array.as_ref()).ok().and_then(|lengths| numbers(&lengths));
    match lengths.filter(|_| array.data_type().is_string()) {
        Some(lengths) => lengths.iter().map(|length| u128::from(length.unwrap_or(0).unsigned_abs())).collect(),
        None => {
            let each = (array.get_buffer_memory_size() / array.len().max(1)) as u128;
            vec![each.max(ELEMENT_BYTES); array.len()]
        }
    }
}
