//! A query's rows as the body of a reply.
//!
//! In: a query that runs. Out: a response. The first megabyte is made before the status is sent, so that most failures have
//! a status of their own; a longer answer streams, and one that fails later ends with the failure where its form has a
//! place for it, and unfinished where it has none.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use basalt_common::failure::{Failure, FailureKind};
use bytes::Bytes;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::arrow::record_batch::RecordBatch;
use futures::{StreamExt, TryStreamExt};
use http_body_util::StreamBody;
use serde::Serialize;

use super::reply::{ErrorBody, Refused};
use crate::aggregator::Aggregator;
use crate::failures::from_datafusion;
use crate::query::{Answer, timed_out};
use crate::rows::{JsonStyle, ResultColumn, RowWriter, RowsError, Separator};

type Frame = http_body::Frame<Bytes>;

/// Bytes made before the status is sent.
const HELD_BYTES: usize = 1 << 20;

/// Bytes of one piece of a streamed body.
const PIECE_BYTES: usize = 64 << 10;

/// The trailer that says why a binary answer ended unfinished.
const ERROR_TRAILER: HeaderName = HeaderName::from_static("basalt-error");

/// How rows are sent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    Json(JsonStyle),
    Ndjson(JsonStyle),
    Csv(JsonStyle),
    Arrow,
}

impl Form {
    fn content_type(self) -> &'static str {
        match self {
            Self::Json(_) => "application/json",
            Self::Ndjson(_) => "application/x-ndjson",
            Self::Csv(_) => "text/csv; charset=utf-8",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }
}

#[derive(Debug, Serialize)]
struct Column<'c> {
    name: &'c str,
    #[serde(rename = "type")]
    column_type: &'static str,
}

#[derive(Debug, Serialize)]
struct Statistics {
    elapsed_ms: f64,
    rows_scanned: u64,
    shards: usize,
}

/// Answers with the rows of a query.
pub(super) async fn respond(
    aggregator: Arc<Aggregator>,
    answer: Answer,
    form: Form,
    started: Duration,
    sql: String,
) -> Result<Response, Refused> {
    let id = answer.id;
    let mut rows = Rows::new(aggregator, answer, form, started, sql)?;
    let mut held = Vec::new();
    while held.len() < HELD_BYTES {
        match rows.next().await {
            Ok(Some(piece)) => held.extend_from_slice(&piece),
            Ok(None) => return Ok(response(form, &id.to_string(), Body::from(held))),
            Err(failure) => return Err(Refused(failure)),
        }
    }
    let rest = futures::stream::unfold(Some(rows), move |rows| async move {
        let mut rows = rows?;
        match rows.next().await {
            Ok(Some(piece)) => Some((Ok(Frame::data(piece)), Some(rows))),
            Ok(None) => None,
            Err(failure) => Some((unfinished(form, failure, id), None)),
        }
    });
    let first = futures::stream::once(async move { Ok(Frame::data(Bytes::from(held))) });
    let mut response = response(form, &id.to_string(), Body::new(StreamBody::new(first.chain(rest))));
    if matches!(form, Form::Arrow) {
        response.headers_mut().insert(header::TRAILER, HeaderValue::from_static("basalt-error"));
    }
    Ok(response)
}

fn response(form: Form, query: &str, body: Body) -> Response {
    let headers = [(header::CONTENT_TYPE.as_str(), form.content_type()), ("basalt-query-id", query)];
    (headers, body).into_response()
}

/// How an answer ends that failed after its status was sent.
fn unfinished(form: Form, failure: Failure, query: basalt_common::calls::QueryId) -> Result<Frame, axum::Error> {
    match form {
        Form::Ndjson(_) => {
            let mut line = serde_json::to_vec(&ErrorBody::new(failure, Some(query))).expect("a failure is plain data");
            line.push(b'\n');
            Ok(Frame::data(line.into()))
        }
        Form::Arrow => {
            let text = failure.to_string().replace(|letter: char| !(' '..='~').contains(&letter), " ");
            let value = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("the query failed"));
            Ok(Frame::trailers(HeaderMap::from_iter([(ERROR_TRAILER, value)])))
        }
        Form::Json(_) | Form::Csv(_) => Err(axum::Error::new(failure)),
    }
}

/// The pieces of a body.
struct Rows {
    aggregator: Arc<Aggregator>,
    /// None when the last row was sent.
    answer: Option<Answer>,
    form: Form,
    started: Duration,
    sql: String,
    writer: RowWriter,
    arrow: Option<StreamWriter<Vec<u8>>>,
    first: bool,
    opened: bool,
}

impl Rows {
    fn new(
        aggregator: Arc<Aggregator>,
        answer: Answer,
        form: Form,
        started: Duration,
        sql: String,
    ) -> Result<Self, Failure> {
        let style = match form {
            Form::Json(style) | Form::Ndjson(style) | Form::Csv(style) => style,
            Form::Arrow => JsonStyle::default(),
        };
        let arrow = match form {
            Form::Arrow => Some(StreamWriter::try_new(Vec::new(), &answer.schema).map_err(internal)?),
            _ => None,
        };
        let writer = RowWriter::try_new(&answer.schema, style).map_err(|error| Failure::invalid(error.to_string()))?;
        let (answer, first, opened) = (Some(answer), true, false);
        Ok(Self { aggregator, answer, form, started, sql, writer, arrow, first, opened })
    }

    /// The next piece, or none at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let mut piece = Vec::new();
        if !std::mem::replace(&mut self.opened, true) {
            self.open(&mut piece);
        }
        while piece.len() < PIECE_BYTES {
            let Some(answer) = &mut self.answer else { break };
            match next_batch(&self.aggregator, answer, &self.sql, self.started).await {
                Ok(Some(batch)) => self.write(&batch, &mut piece)?,
                Ok(None) => self.close(&mut piece).await?,
                Err(failure) => {
                    self.aggregator.metrics.queries_failed.increment(1);
                    self.answer = None;
                    return Err(failure);
                }
            }
        }
        Ok((!piece.is_empty()).then(|| piece.into()))
    }

    fn open(&self, piece: &mut Vec<u8>) {
        match self.form {
            Form::Json(_) => {
                let column = |column: &ResultColumn| (column.name.clone(), column.column_type);
                let columns: Vec<_> = self.writer.columns().iter().map(column).collect();
                let columns: Vec<Column<'_>> =
                    columns.iter().map(|(name, column_type)| Column { name, column_type }).collect();
                piece.extend_from_slice(br#"{"columns":"#);
                put_json(piece, &columns);
                piece.extend_from_slice(br#","rows":["#);
            }
            Form::Csv(_) => self.writer.write_csv_header(piece),
            Form::Ndjson(_) | Form::Arrow => {}
        }
    }

    fn write(&mut self, batch: &RecordBatch, piece: &mut Vec<u8>) -> Result<(), Failure> {
        let unwritable = |error: RowsError| Failure::new(FailureKind::Internal, error.to_string());
        match self.form {
            Form::Json(_) => {
                self.writer.write_rows(batch, Separator::Comma, &mut self.first, piece).map_err(unwritable)
            }
            Form::Ndjson(_) => {
                self.writer.write_rows(batch, Separator::Newline, &mut self.first, piece).map_err(unwritable)
            }
            Form::Csv(_) => self.writer.write_csv_rows(batch, piece).map_err(unwritable),
            Form::Arrow => {
                let writer = self.arrow.as_mut().expect("an Arrow answer has a writer");
                writer.write(batch).map_err(internal)?;
                piece.append(writer.get_mut());
                Ok(())
            }
        }
    }

    /// Ends the query, and the body with what is known only now.
    async fn close(&mut self, piece: &mut Vec<u8>) -> Result<(), Failure> {
        let Some(answer) = self.answer.take() else { return Ok(()) };
        let (id, shards, warnings) = (answer.id, answer.shards, answer.warnings.clone());
        let rows_scanned = answer.end().await;
        let elapsed = self.aggregator.clock.monotonic() - self.started;
        let metrics = &self.aggregator.metrics;
        metrics.queries_answered.increment(1);
        metrics.rows_scanned.increment(rows_scanned);
        metrics.query_seconds.record(elapsed.as_secs_f64());
        if let Some(mut arrow) = self.arrow.take() {
            arrow.finish().map_err(internal)?;
            piece.append(arrow.get_mut());
        }
        if matches!(self.form, Form::Json(_)) {
            let mut warnings = warnings.all();
            if self.writer.non_finite() > 0 {
                warnings.push(format!("{} values are NaN or infinite, and null here", self.writer.non_finite()));
            }
            piece.extend_from_slice(br#"],"warnings":"#);
            put_json(piece, &warnings);
            piece.extend_from_slice(br#","stats":"#);
            let elapsed_ms = elapsed.as_micros() as f64 / 1000.0;
            put_json(piece, &Statistics { elapsed_ms, rows_scanned, shards });
            piece.extend_from_slice(br#","query_id":"#);
            put_json(piece, &id.to_string());
            piece.push(b'}');
        }
        Ok(())
    }
}

async fn next_batch(
    aggregator: &Aggregator,
    answer: &mut Answer,
    sql: &str,
    started: Duration,
) -> Result<Option<RecordBatch>, Failure> {
    let left = answer.deadline.saturating_sub(aggregator.clock.monotonic());
    match tokio::time::timeout(left, answer.rows.try_next()).await {
        Ok(Ok(batch)) => Ok(batch),
        Ok(Err(error)) => Err(from_datafusion(&error, sql)),
        Err(_) => Err(timed_out(answer.deadline.saturating_sub(started))),
    }
}

fn put_json(piece: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(piece, value).expect("it is plain data, and memory takes it");
}

fn internal(error: impl std::fmt::Display) -> Failure {
    Failure::new(FailureKind::Internal, error.to_string())
}
