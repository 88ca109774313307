//! What all librdkafka clients of the log share: where their messages go, what their errors mean, and where they end.
//!
//! In come librdkafka's errors and log lines; out go [`LogError`]s and trace events. Making and using the clients is left
//! to `brokers`, `producer` and `readers`.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::super::LogError;

/// Takes what librdkafka says; its clones share what they heard.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// The last thing that a client said about its connections: most often the reason why something timed out.
    heard: Arc<Mutex<Option<String>>>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => tracing::warn!(facility, message, "librdkafka"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => tracing::info!(facility, message, "librdkafka"),
            RDKafkaLogLevel::Debug => tracing::debug!(facility, message, "librdkafka"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "Kafka client");
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
    }
}

impl ConsumerContext for Context {}

impl Context {
    /// The last thing that a client said about its connections.
    pub fn heard(&self) -> Option<String> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Turns a failure into an error: [`LogError::Refused`] if nothing was done and asking again is futile, else
    /// [`LogError::Unavailable`].
    pub(super) fn failure(&self, action: &'static str, object: &str, error: &KafkaError) -> LogError {
        match code(error) {
            Some(code) => self.failure_of(action, object, code),
            None => LogError::Refused { action, object: object.to_owned(), cause: error.to_string() },
        }
    }

    /// As [`Context::failure`], of a code.
    pub(super) fn failure_of(&self, action: &'static str, object: &str, code: RDKafkaErrorCode) -> LogError {
        match is_refusal(code) {
            true => LogError::Refused { action, object: object.to_owned(), cause: code.to_string() },
            false => self.unavailable(action, object, &code.to_string()),
        }
    }

    /// Makes a [`LogError::Unavailable`] that also says what was last heard of the brokers.
    pub(super) fn unavailable(&self, action: &'static str, object: &str, cause: &str) -> LogError {
        let cause = match self.heard() {
            Some(reason) => format!("{cause} (last error heard of the brokers: {reason})"),
            None => cause.to_owned(),
        };
        LogError::Unavailable { action, object: object.to_owned(), cause }
    }
}

/// Returns the code in an error; `rdkafka_error_code` forgets that of administration.
pub(super) fn code(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    match error {
        KafkaError::AdminOp(code) => Some(*code),
        // The client went away while it was asked.
        KafkaError::Canceled => Some(RDKafkaErrorCode::OperationTimedOut),
        error => error.rdkafka_error_code(),
    }
}

/// Whether a code says that nothing was done and never will be.
fn is_refusal(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::SaslAuthenticationFailed
            | Code::Authentication
            | Code::SecurityDisabled
            | Code::InvalidTopic
            | Code::InvalidConfig
            | Code::InvalidPartitions
            | Code::InvalidReplicationFactor
            | Code::InvalidRequest
            | Code::InvalidRequiredAcks
            | Code::InvalidRecord
            | Code::PolicyViolation
            | Code::UnsupportedVersion
            | Code::UnsupportedFeature
            | Code::UnsupportedForMessageFormat
            | Code::InvalidArgument
    )
}

/// A client whose end takes time, for it waits for its threads: it ends on a thread of its own, wherever it is dropped.
#[derive(Debug)]
pub(super) struct EndsElsewhere<C: Send + 'static>(Option<C>);

impl<C: Send + 'static> EndsElsewhere<C> {
    /// Takes charge of a client.
    pub(super) fn new(client: C) -> EndsElsewhere<C> {
        EndsElsewhere(Some(client))
    }
}

impl<C: Send + 'static> Deref for EndsElsewhere<C> {
    type Target = C;

    fn deref(&self) -> &C {
        self.0.as_ref().expect("only drop takes it")
    }
}

impl<C: Send + 'static> Drop for EndsElsewhere<C> {
    fn drop(&mut self) {
        let client = self.0.take();
        let thread = std::thread::Builder::new().name("basalt-kafka-end".to_owned());
        // A machine that has no thread left ends the client here.
        let _ = thread.spawn(move || drop(client));
    }
}

#[cfg(test)]
mod tests {
    use super::{Context, KafkaError, LogError, RDKafkaErrorCode};

    #[test]
    fn an_error_says_whether_asking_again_may_help() {
        let context = Context::default();
        let ask = |error: KafkaError| context.failure("do it to", "topic basalt.c1", &error);
        let refused = ask(KafkaError::AdminOp(RDKafkaErrorCode::TopicAuthorizationFailed));
        assert!(matches!(refused, LogError::Refused { .. }), "{refused}");
        let refused = ask(KafkaError::AdminOpCreation("no such option".to_owned()));
        assert!(matches!(refused, LogError::Refused { .. }), "{refused}");
        let away = ask(KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut));
        assert!(matches!(away, LogError::Unavailable { .. }), "{away}");
        let unknown = ask(KafkaError::MessageProduction(RDKafkaErrorCode::Unknown));
        assert!(matches!(unknown, LogError::Unavailable { .. }), "{unknown}");
    }

    #[test]
    fn an_error_tells_what_was_heard_of_the_brokers() {
        let context = Context::default();
        let reason = "127.0.0.1:9: connection refused";
        rdkafka::ClientContext::error(&context.clone(), KafkaError::Canceled, reason);
        let error = context.unavailable("ask", "topic basalt.c1", "timed out");
        assert!(error.to_string().contains(reason), "{error}");
    }
}
