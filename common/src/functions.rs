//! SQL functions over documents, which every node that plans or runs queries must have.
//!
//! In: columns as [`sql_type`](crate::sql_type) makes them. Out: functions to register.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray};
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use crate::sql_type::is_dynamic;
use crate::value::Type;
use crate::{bounded, geography, text};

/// All functions.
pub fn all() -> Vec<Arc<ScalarUDF>> {
    let mut all = bounded::all();
    all.extend(text::functions::all());
    all.extend(geography::functions::all());
    all.push(Arc::new(ScalarUDF::from(TypeOf { signature: Signature::any(1, Volatility::Immutable) })));
    all
}

/// `typeof(x)`: the name of the type of each value, `null` where there is none.
#[derive(Debug, PartialEq, Eq, Hash)]
struct TypeOf {
    signature: Signature,
}

impl ScalarUDFImpl for TypeOf {
    fn name(&self) -> &str {
        "typeof"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let values = arguments.args[0].to_array(arguments.number_rows)?;
        Ok(ColumnarValue::Array(type_names(&values, &arguments.arg_fields[0])))
    }
}

fn type_names(values: &ArrayRef, field: &Field) -> ArrayRef {
    let null = Type::Null.name();
    if !is_dynamic(field) {
        let name = type_name(field.data_type());
        let names = (0..values.len()).map(|row| Some(if values.is_null(row) { null } else { name }));
        return Arc::new(names.collect::<StringArray>());
    }
    let kinds = values.as_struct();
    let name = |row: usize| {
        let there = kinds.columns().iter().position(|kind| kind.is_valid(row));
        Some(there.map_or(null, |index| kinds.fields()[index].name().as_str()))
    };
    Arc::new((0..values.len()).map(name).collect::<StringArray>())
}

fn type_name(of: &DataType) -> &'static str {
    let known = match of {
        DataType::Null => Type::Null,
        DataType::Boolean => Type::Bool,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Type::String,
        DataType::Timestamp(..) => Type::Timestamp,
        DataType::Date32 | DataType::Date64 => Type::Date,
        DataType::Time32(_) | DataType::Time64(_) => Type::Time,
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => Type::Array,
        DataType::Struct(_) | DataType::Map(..) => Type::Object,
        DataType::Interval(_) | DataType::Duration(_) => return "interval",
        other if other.is_integer() => Type::Int,
        other if other.is_floating() => Type::Float,
        other if other.is_decimal() => Type::Decimal,
        _ => Type::Bytes,
    };
    known.name()
}
