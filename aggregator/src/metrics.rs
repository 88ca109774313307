//! What an aggregator counts.
//!
//! In: a recorder, given by whoever starts the process. Out: handles to counters and histograms under their names.

use std::sync::Arc;

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

const METADATA: Metadata<'static> = Metadata::new("basalt", Level::INFO, None);

/// Seconds by which answers are counted: from half a millisecond to the longest a query may take.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 10.0, 60.0];

/// An aggregator's counters.
pub struct Metrics {
    /// Queries that were answered.
    pub queries_answered: Counter,
    /// Queries that failed.
    pub queries_failed: Counter,
    /// How long answered queries took.
    pub query_seconds: Histogram,
    /// Queries that run, those too whose authors wait no more.
    pub queries_running: Gauge,
    /// Rows that queries scanned.
    pub rows_scanned: Counter,
    /// Operations accepted.
    pub operations_accepted: Counter,
    /// Operations refused.
    pub operations_failed: Counter,
    /// Bytes of bodies of writes.
    pub write_bytes: Counter,
    /// How long writes took until they were durable.
    pub write_seconds: Histogram,
    recorder: Arc<PrometheusRecorder>,
}

impl Default for Metrics {
    fn default() -> Self {
        let builder = PrometheusBuilder::new().set_buckets(&SECONDS).expect("there are buckets");
        let recorder = Arc::new(builder.build_recorder());
        let counter = |name: &'static str| recorder.register_counter(&Key::from_name(name), &METADATA);
        let labelled = |name: &'static str, result: &'static str| {
            recorder.register_counter(&Key::from_parts(name, vec![Label::new("result", result)]), &METADATA)
        };
        let histogram = |name: &'static str| recorder.register_histogram(&Key::from_name(name), &METADATA);
        Self {
            queries_answered: labelled("basalt_aggregator_queries_total", "answered"),
            queries_failed: labelled("basalt_aggregator_queries_total", "failed"),
            queries_running: recorder.register_gauge(&Key::from_name("basalt_aggregator_queries_running"), &METADATA),
            query_seconds: histogram("basalt_aggregator_query_seconds"),
            rows_scanned: counter("basalt_aggregator_rows_scanned_total"),
            operations_accepted: labelled("basalt_aggregator_operations_total", "accepted"),
            operations_failed: labelled("basalt_aggregator_operations_total", "failed"),
            write_bytes: counter("basalt_aggregator_write_bytes_total"),
            write_seconds: histogram("basalt_aggregator_write_seconds"),
            recorder,
        }
    }
}

impl Metrics {
    /// Sets a gauge of a collection.
    pub fn set(&self, name: &'static str, collection: &str, value: f64) {
        let key = Key::from_parts(name, vec![Label::new("collection", collection.to_string())]);
        self.recorder.register_gauge(&key, &METADATA).set(value);
    }

    /// All of it, as Prometheus reads it.
    pub fn render(&self) -> String {
        let handle: PrometheusHandle = self.recorder.handle();
        handle.run_upkeep();
        handle.render()
    }
}
