//! A real Kafka broker in a process of its own.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use basalt_common::process::seed;
use basalt_common::random::SeededRandom;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tempfile::TempDir;

use crate::workspace;

/// A broker; stopped when dropped.
#[derive(Debug)]
pub struct Broker {
    data: TempDir,
    port: u16,
}

fn script() -> PathBuf {
    workspace().join("tests/services/kafka.sh")
}

/// A port that is free now, with the one behind it: below those that systems give to outgoing connections, which could take
/// it before a server does.
///
/// # Errors
/// There is none.
pub fn free_ports() -> Result<u16> {
    let mut random = SeededRandom::new(seed()?);
    for _ in 0..100 {
        let port = 20_000 + 2 * random.below(6_000) as u16;
        if [port, port + 1].iter().all(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()) {
            return Ok(port);
        }
    }
    bail!("no two ports beside each other are free")
}

impl Broker {
    /// Installs Kafka if it is not there, and starts a broker on free ports.
    ///
    /// # Errors
    /// It does not start; why is on the standard error.
    pub fn start() -> Result<Self> {
        let data = tempfile::tempdir()?;
        // Another process may take a port between the look and the start.
        for _ in 0..5 {
            let port = free_ports()?;
            let started = Command::new(script()).arg("up").arg(data.path()).arg(port.to_string()).status();
            if started.context("the script that starts Kafka cannot be run")?.success() {
                return Ok(Self { data, port });
            }
        }
        bail!("no Kafka broker starts")
    }

    /// Its address.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.address());
        config
    }

    /// Makes a topic.
    ///
    /// # Errors
    /// The broker does not.
    pub async fn create_topic(&self, name: &str, partitions: i32) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let made = admin.create_topics([&topic], &AdminOptions::new()).await?;
        made.into_iter().try_for_each(|made| made.map(drop).map_err(|(name, code)| anyhow!("{name}: {code}")))
    }

    /// Deletes a topic; returns when the broker knows it no more.
    ///
    /// # Errors
    /// The broker does not.
    pub async fn delete_topic(&self, name: &str) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
        let deleted = admin.delete_topics(&[name], &options).await?;
        deleted.into_iter().try_for_each(|deleted| deleted.map(drop).map_err(|(name, code)| anyhow!("{name}: {code}")))
    }

    /// A way to put records into topics.
    ///
    /// # Errors
    /// There can be no client.
    pub fn records(&self) -> Result<Records> {
        Ok(Records(self.client().set("enable.idempotence", "true").create()?))
    }
}

/// Puts records into topics.
pub struct Records(BaseProducer);

impl Records {
    /// Puts one there, sooner or later; what it does is in a header, unless that is an upsert.
    ///
    /// # Errors
    /// The client does not take it.
    pub fn put(&self, topic: &str, key: &str, value: &str, operation: Option<&str>) -> Result<()> {
        let header = operation.map(|operation| ("basalt-operation", operation));
        self.put_with(topic, key, value, header.as_slice())
    }

    /// Puts one there with headers, sooner or later.
    ///
    /// # Errors
    /// The client does not take it.
    pub fn put_with(&self, topic: &str, key: &str, value: &str, headers: &[(&str, &str)]) -> Result<()> {
        let insert = |all: OwnedHeaders, (key, value): &(&str, &str)| all.insert(Header { key, value: Some(*value) });
        let headers = headers.iter().fold(OwnedHeaders::new(), insert);
        let record = BaseRecord::to(topic).key(key).payload(value).headers(headers);
        self.0.send(record).map_err(|(error, _)| error)?;
        self.0.poll(Duration::ZERO);
        Ok(())
    }

    /// Waits until all are there.
    ///
    /// # Errors
    /// They are not, in time.
    pub fn flush(&self) -> Result<()> {
        Ok(self.0.flush(Duration::from_secs(60))?)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // A broker that has ended already is what is wanted.
        let _ = Command::new(script()).arg("down").arg(self.data.path()).status();
    }
}
