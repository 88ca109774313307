//! The settings of the Kafka log: each with its default and the reason for it.
//!
//! In come values from the product's configuration; out go the properties of the three kinds of librdkafka clients that
//! the log runs: one that administers, one that appends, and those that read. Reading a configuration file is left to
//! the product.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};

use super::super::LogError;
use super::topic::FRAMING_BYTES_MAX;

/// What the log's promises rest on, and what has a setting of its own: `properties` may not name it.
const OWNED: [&str; 32] = [
    "acks",
    "allow.auto.create.topics",
    "auto.offset.reset",
    "bootstrap.servers",
    "check.crcs",
    "client.id",
    "default.topic.config",
    "delivery.report.only.error",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "fetch.max.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "group.id",
    "isolation.level",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "message.max.bytes",
    "message.send.max.retries",
    "message.timeout.ms",
    "metadata.broker.list",
    "queue.buffering.max.kbytes",
    "queued.max.messages.kbytes",
    "receive.message.max.bytes",
    "request.required.acks",
    "request.timeout.ms",
    "retries",
    "socket.timeout.ms",
    "transactional.id",
];

/// The settings of a [`super::KafkaLog`]; every queue, buffer and wait it has is bounded by one of them.
#[derive(Clone)]
pub struct KafkaLogConfig {
    /// The brokers to ask first, `host:port`, with commas between. `127.0.0.1:9092`: where a broker of one's own listens.
    pub brokers: String,
    /// What the names of the log's topics begin with: `<prefix>.meta` and `<prefix>.c<collection>`, and the consumer
    /// group `<prefix>`. `basalt`; another one for each cluster that shares the brokers.
    pub prefix: String,
    /// Replicas of a topic that the log creates, or as many as there are brokers, if fewer. 3: with
    /// `min.insync.replicas` of 2, one broker may be away without stopping appends.
    pub replicas: u16,
    /// Longest that a call to the brokers takes, appends aside. 10 s: a leader election takes a few.
    pub request_timeout: Duration,
    /// Longest that an append takes, from its first poll to its answer. 30 s: above a broker's restart, below the
    /// patience of a client.
    pub append_timeout: Duration,
    /// How often the topics in use are compared with those that the log was made with. 10 s: one request for all of them,
    /// and the longest that a reader may follow a topic that was deleted and made again without notice.
    pub identity_check_interval: Duration,
    /// Longest that a broker holds back the answer to a fetch if there is nothing new. 50 ms: also the longest that a
    /// partition waits for a fetch that is under way without it, because it is new or had enough fetched ahead. So a
    /// replay gets `reader_bytes_max` per `fetch_wait`, 160 MiB/s, and an idle process asks each broker 20 times a second.
    pub fetch_wait: Duration,
    /// Most calls to the brokers that hold a thread at once; further ones wait in their callers. 32: enough to keep the
    /// brokers busy, few of the runtime's 512 threads for such.
    pub calls_max: usize,
    /// Largest record. 80 MiB, the local log's, and below the 100 MiB of the brokers' `socket.request.max.bytes`. A topic's
    /// `max.message.bytes` may allow less.
    pub record_bytes_max: u64,
    /// Most bytes of appends that are not acknowledged yet; further ones wait in their callers. 64 MiB, the local log's.
    /// A record larger than this passes alone.
    pub queue_bytes_max: u64,
    /// Most bytes of records sent to a partition at once, unless a single record is larger. 1 MB: the least that a broker
    /// takes by default.
    pub batch_bytes_max: u64,
    /// Most bytes that are fetched ahead of a reader, a fetch's overshoot aside. 8 MiB: see `fetch_wait`; 64 readers
    /// hold at most 512 MiB.
    pub reader_bytes_max: u64,
    /// Most bytes of one fetch from a broker, unless a single record is larger. 16 MiB: a sixth of a second at 1 Gbit/s.
    pub fetch_bytes_max: u64,
    /// More properties of the librdkafka clients: security, compression, tuning. Empty. Those that the log owns are
    /// refused.
    pub properties: BTreeMap<String, String>,
}

/// Shows no value of `properties`: there are passwords among them.
impl fmt::Debug for KafkaLogConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KafkaLogConfig { brokers, prefix, properties, .. } = self;
        let mut debug = f.debug_struct("KafkaLogConfig");
        debug.field("brokers", brokers).field("prefix", prefix);
        debug.field("properties", &properties.keys()).finish_non_exhaustive()
    }
}

impl Default for KafkaLogConfig {
    fn default() -> KafkaLogConfig {
        KafkaLogConfig {
            brokers: "127.0.0.1:9092".to_owned(),
            prefix: "basalt".to_owned(),
            replicas: 3,
            request_timeout: Duration::from_secs(10),
            append_timeout: Duration::from_secs(30),
            identity_check_interval: Duration::from_secs(10),
            fetch_wait: Duration::from_millis(50),
            calls_max: 32,
            record_bytes_max: 80 << 20,
            queue_bytes_max: 64 << 20,
            batch_bytes_max: 1_000_000,
            reader_bytes_max: 8 << 20,
            fetch_bytes_max: 16 << 20,
            properties: BTreeMap::new(),
        }
    }
}

impl KafkaLogConfig {
    /// Checks that the settings fit together.
    ///
    /// # Errors
    ///
    /// [`LogError::Setting`] or [`LogError::Refused`], naming the first setting that does not.
    pub(super) fn check(&self) -> Result<(), LogError> {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (hour, hourly) = (3_600_000, "it must be from 1 ms to 1 h");
        let settings = [
            ("replicas", u64::from(self.replicas), 1, i16::MAX as u64, "it must be from 1 to 32767"),
            ("request_timeout", milliseconds(self.request_timeout), 1, hour, hourly),
            ("append_timeout", milliseconds(self.append_timeout), 1, hour, hourly),
            ("identity_check_interval", milliseconds(self.identity_check_interval), 1, hour, hourly),
            ("fetch_wait", milliseconds(self.fetch_wait), 1, 10_000, "it must be from 1 ms to 10 s"),
            ("calls_max", self.calls_max as u64, 1, 512, "it must be from 1 to 512"),
            ("record_bytes_max", self.record_bytes_max, 1_000_000, 900 << 20, "it must be from 1 MB to 900 MiB"),
            ("queue_bytes_max", self.queue_bytes_max, 1 << 20, 1 << 30, "it must be from 1 MiB to 1 GiB"),
            ("batch_bytes_max", self.batch_bytes_max, 1 << 10, 100 << 20, "it must be from 1 KiB to 100 MiB"),
            ("reader_bytes_max", self.reader_bytes_max, 1 << 20, 1 << 30, "it must be from 1 MiB to 1 GiB"),
            ("fetch_bytes_max", self.fetch_bytes_max, 1 << 20, 512 << 20, "it must be from 1 MiB to 512 MiB"),
        ];
        for (setting, value, min, max, rule) in settings {
            if value < min || value > max {
                return Err(LogError::Setting { setting, value, rule });
            }
        }
        let refused = |object: &str, cause: &str| {
            let (object, cause) = (object.to_owned(), cause.to_owned());
            Err(LogError::Refused { action: "use the setting", object, cause })
        };
        let legal = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
        if self.prefix.is_empty() || self.prefix.len() > 200 || !self.prefix.chars().all(legal) {
            return refused("prefix", "it must be 1 to 200 of the letters A-Z a-z 0-9 . _ -");
        }
        match self.properties.keys().find(|name| OWNED.contains(&name.as_str())) {
            Some(name) => refused(name, "the log sets this property itself"),
            None => Ok(()),
        }
    }

    /// Returns the name of the topic that says which topics belong to the log.
    pub(super) fn registry_topic(&self) -> String {
        format!("{}.meta", self.prefix)
    }

    /// Returns the properties of the client that administers.
    pub(super) fn admin_client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        // The first delays count when a broker comes back, so they are short; TCP_NODELAY is librdkafka's default.
        client.set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "1000");
        client.set("socket.connection.setup.timeout.ms", "5000");
        // A broker that hangs is left after this; a large record on a slow line needs some of it.
        let socket_timeout = self.append_timeout.max(self.request_timeout);
        client.set("socket.timeout.ms", socket_timeout.as_millis().to_string());
        for (name, value) in &self.properties {
            client.set(name, value);
        }
        // What librdkafka says is filtered by its property `debug` and by whoever subscribes to traces.
        client.set_log_level(RDKafkaLogLevel::Debug);
        client.set("bootstrap.servers", &self.brokers).set("client.id", &self.prefix);
        // A topic that a broker makes of its own accord has a retention; only the log makes the log's topics.
        client.set("allow.auto.create.topics", "false");
        client
    }

    /// Returns the properties of the client that appends.
    pub(super) fn producer_client(&self) -> ClientConfig {
        let mut client = self.admin_client();
        client.set("acks", "all").set("enable.idempotence", "true").set("max.in.flight", "5");
        // Records are retried until their fate is known. Were librdkafka to give one up, it would go on with a new epoch
        // and send again what the brokers may have taken under the old one: a record could come twice. The caller's
        // deadline is kept in `shared` instead.
        client.set("message.timeout.ms", "0").set("request.timeout.ms", self.request_timeout.as_millis().to_string());
        // Batches form by themselves while earlier ones are on their way.
        if !self.properties.contains_key("linger.ms") && !self.properties.contains_key("queue.buffering.max.ms") {
            client.set("linger.ms", "0");
        }
        client.set("batch.size", self.batch_bytes_max.to_string());
        client.set("message.max.bytes", (self.record_bytes_max + FRAMING_BYTES_MAX).to_string());
        // Out of reach, as `producer` keeps `queue_bytes_max` itself: librdkafka would refuse instead of waiting.
        client.set("queue.buffering.max.messages", "10000000");
        client.set("queue.buffering.max.kbytes", ((self.queue_bytes_max + self.record_bytes_max) >> 9).to_string());
        client
    }

    /// Returns the properties of a client that reads.
    pub(super) fn reader_client(&self) -> ClientConfig {
        let mut client = self.admin_client();
        // librdkafka assigns partitions in a group only; nothing is ever subscribed or committed in it.
        client
            .set("group.id", &self.prefix)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false");
        client.set("isolation.level", "read_committed").set("auto.offset.reset", "error").set("check.crcs", "true");
        client.set("enable.partition.eof", "false");
        client.set("fetch.wait.max.ms", self.fetch_wait.as_millis().to_string());
        client.set("fetch.error.backoff.ms", "100");
        // How long a partition rests once enough is fetched ahead: a replay waits for this as often as for a fetch.
        client.set("fetch.queue.backoff.ms", "2");
        client.set("queued.max.messages.kbytes", (self.reader_bytes_max >> 10).to_string());
        client.set("max.partition.fetch.bytes", self.reader_bytes_max.min(self.fetch_bytes_max).to_string());
        client.set("fetch.max.bytes", self.fetch_bytes_max.to_string());
        let answer_bytes_max = self.record_bytes_max + self.fetch_bytes_max + (1 << 20);
        client.set("receive.message.max.bytes", answer_bytes_max.to_string());
        client
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, KafkaLogConfig, LogError};

    #[test]
    fn librdkafka_takes_the_properties() {
        let config = KafkaLogConfig::default();
        config.check().unwrap();
        for client in [config.admin_client(), config.producer_client(), config.reader_client()] {
            client.create_native_config().unwrap();
        }
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let refuse = |change: fn(&mut KafkaLogConfig)| {
            let mut config = KafkaLogConfig::default();
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        assert!(refuse(|config| config.replicas = 0).contains("replicas"));
        assert!(refuse(|config| config.request_timeout = Duration::ZERO).contains("request_timeout"));
        assert!(refuse(|config| config.queue_bytes_max = 7).contains("queue_bytes_max"));
        assert!(refuse(|config| config.prefix = "a b".to_owned()).contains("prefix"));
        assert!(refuse(|config| config.prefix = String::new()).contains("prefix"));
    }

    #[test]
    fn properties_may_not_break_what_the_log_promises() {
        let mut config = KafkaLogConfig::default();
        config.properties.insert("compression.codec".to_owned(), "zstd".to_owned());
        config.check().unwrap();
        config.properties.insert("sasl.password".to_owned(), "hunter2".to_owned());
        assert!(!format!("{config:?}").contains("hunter2"), "a password is shown to nobody");
        config.properties.insert("acks".to_owned(), "1".to_owned());
        assert!(matches!(config.check(), Err(LogError::Refused { object, .. }) if object == "acks"));
    }
}
