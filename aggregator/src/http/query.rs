//! Queries.
//!
//! In: SQL with its parameters, as JSON. Out: rows, in the form that `Accept` names.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use basalt_common::failure::Failure;
use basalt_common::value::json::{JsonLimits, parse_document};
use basalt_common::value::json_write::{JsonStyle as ValueStyle, write_json};
use basalt_common::value::{Object, Value};

use super::documents::read_fence;
use super::reply::Refused;
use super::rows_body::{Form, respond};
use super::{Shared, body};
use crate::query::QueryRequest;
use crate::rows::{JsonStyle, Shape};
use crate::sql::{Parameter, Parameters};

pub(super) async fn query(State(aggregator): Shared, request: Request) -> Result<Response, Refused> {
    let accept = accepted(request.headers())?;
    let body = body::read(request, aggregator.config.body_bytes_max).await?;
    let (request, style) = read_request(&body)?;
    let form = match accept {
        Accepted::Json => Form::Json(style),
        Accepted::Ndjson => Form::Ndjson(style),
        Accepted::Csv => Form::Csv(style),
        Accepted::Arrow => Form::Arrow,
    };
    let started = aggregator.clock.monotonic();
    let sql = request.sql.clone();
    match aggregator.queries.start(request).await {
        Ok(answer) => Ok(respond(Arc::clone(&aggregator), answer, form, started, sql).await?),
        Err(failure) => {
            aggregator.metrics.queries_failed.increment(1);
            Err(failure.into())
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Accepted {
    Json,
    Ndjson,
    Csv,
    Arrow,
}

/// The first form of the `Accept` header that there is.
fn accepted(headers: &HeaderMap) -> Result<Accepted, Failure> {
    let Some(accept) = headers.get(header::ACCEPT) else { return Ok(Accepted::Json) };
    let text = accept.to_str().unwrap_or_default();
    let known = |form: &str| match form.split(';').next().unwrap_or_default().trim() {
        "application/json" | "*/*" | "application/*" | "" => Some(Accepted::Json),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Some(Accepted::Ndjson),
        "text/csv" | "text/*" => Some(Accepted::Csv),
        "application/vnd.apache.arrow.stream" => Some(Accepted::Arrow),
        _ => None,
    };
    text.split(',').find_map(known).ok_or_else(|| {
        Failure::invalid(format!("rows cannot be sent as {text}"))
            .with_hint("accept application/json, application/x-ndjson, text/csv or application/vnd.apache.arrow.stream")
    })
}

/// Reads the body with our own reader of JSON: numbers of parameters stay exact.
fn read_request(body: &[u8]) -> Result<(QueryRequest, JsonStyle), Failure> {
    let limits = JsonLimits { document_bytes_max: usize::MAX, ..JsonLimits::default() };
    let parsed = parse_document(body, &limits);
    let parsed = parsed.map_err(|error| Failure::invalid(format!("the body cannot be read: {error}")))?;
    let Value::Object(mut fields) = parsed else { return Err(Failure::invalid("the body is an object with \"sql\"")) };
    let sql = text(&mut fields, "sql")?.ok_or_else(|| Failure::invalid("\"sql\" is missing"))?;
    let workspace = text(&mut fields, "workspace")?.unwrap_or_else(|| "public".into());
    let fence = text(&mut fields, "fence")?.map(|text| read_fence(&text)).transpose()?;
    let timeout = match fields.remove("timeout_ms") {
        None | Some(Value::Null) => None,
        Some(Value::Int(millis @ 1..)) => Some(Duration::from_millis(millis.unsigned_abs())),
        Some(_) => return Err(Failure::invalid("\"timeout_ms\" is a number of milliseconds above 0")),
    };
    let shape = match text(&mut fields, "rows")?.as_deref() {
        None | Some("objects") => Shape::Objects,
        Some("arrays") => Shape::Arrays,
        Some(other) => return Err(Failure::invalid(format!("\"rows\" is \"objects\" or \"arrays\", not {other:?}"))),
    };
    let big_integers_as_strings = match text(&mut fields, "big_integers")?.as_deref() {
        None | Some("number") => false,
        Some("string") => true,
        Some(other) => {
            return Err(Failure::invalid(format!("\"big_integers\" is \"number\" or \"string\", not {other:?}")));
        }
    };
    let parameters = read_parameters(fields.remove("parameters"))?;
    if let Some(key) = fields.keys().next() {
        let known = ["sql", "parameters", "workspace", "timeout_ms", "fence", "rows", "big_integers"];
        let near = crate::sql::nearest(key, known.into_iter()).map(|near| format!("did you mean {near:?}?"));
        let failure = Failure::invalid(format!("{key:?} is not known here"));
        return Err(Failure { hint: near, ..failure });
    }
    Ok((QueryRequest { sql, parameters, workspace, timeout, fence }, JsonStyle { shape, big_integers_as_strings }))
}

fn text(fields: &mut Object, key: &str) -> Result<Option<String>, Failure> {
    match fields.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(Failure::invalid(format!("{key:?} is a string, not a {}", other.value_type().name()))),
    }
}

fn read_parameters(parameters: Option<Value>) -> Result<Parameters, Failure> {
    match parameters {
        None | Some(Value::Null) => Ok(Parameters::None),
        Some(Value::Array(values)) => {
            Ok(Parameters::Positional(values.into_iter().map(parameter).collect::<Result<_, _>>()?))
        }
        Some(Value::Object(values)) => {
            let named = values.into_iter().map(|(name, value)| Ok((name, parameter(value)?)));
            Ok(Parameters::Named(named.collect::<Result<BTreeMap<_, _>, Failure>>()?))
        }
        Some(_) => Err(Failure::invalid("\"parameters\" is an object of values by name, or an array of values")),
    }
}

fn parameter(value: Value) -> Result<Parameter, Failure> {
    Ok(match value {
        Value::Null => Parameter::Null,
        Value::Bool(value) => Parameter::Bool(value),
        Value::Int(value) => Parameter::Int(value),
        Value::String(value) => Parameter::String(value),
        Value::Array(values) => Parameter::Array(values.into_iter().map(parameter).collect::<Result<_, _>>()?),
        Value::Object(_) => return Err(Failure::invalid("a parameter is a scalar or an array, not an object")),
        number => {
            let mut text = Vec::new();
            write_json(&number, &mut text, ValueStyle::default());
            Parameter::Number(String::from_utf8(text).expect("JSON is written as UTF-8"))
        }
    })
}
