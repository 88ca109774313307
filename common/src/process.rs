//! What every role's process does at its start and its end.
//!
//! In: a configuration file, the operating system's randomness and signals. Out: typed settings, seeds, the moment to stop.

use std::fs::{File, read_to_string};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use url::Url;

/// How much a role says, in a configuration: `error`, `warn`, `info`, `debug` or `trace`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct LogLevel(pub tracing::Level);

impl Default for LogLevel {
    fn default() -> Self {
        Self(tracing::Level::INFO)
    }
}

impl TryFrom<String> for LogLevel {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let level = text.parse().map(Self);
        level.map_err(|_| format!("{text:?} is no level of the log; there are error, warn, info, debug and trace"))
    }
}

/// Where another role's process listens, in a configuration: `http://HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct NodeAddress(pub Url);

impl TryFrom<String> for NodeAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match Url::parse(&text) {
            Ok(url) if url.scheme() == "http" && url.has_host() => Ok(Self(url)),
            Ok(_) => Err(format!("{text:?} is not an address like http://127.0.0.1:8090")),
            Err(cause) => Err(format!("{text:?} is not an address like http://127.0.0.1:8090: {cause}")),
        }
    }
}

/// A configuration that cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration {} cannot be read: {cause}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// It is not what the role takes; unknown settings are refused.
    #[error("the configuration {} is wrong: {cause}", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Where and why.
        cause: Box<toml::de::Error>,
    },
}

/// Reads a role's configuration, TOML.
///
/// # Errors
/// The file cannot be read, or is something else.
pub fn read_config<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let text = read_to_string(path).map_err(|cause| ConfigError::File { path: path.into(), cause })?;
    toml::from_str(&text).map_err(|cause| ConfigError::Content { path: path.into(), cause: Box::new(cause) })
}

/// A number that no other process has: what the seeds of this one are made of.
///
/// # Errors
/// The operating system has no randomness.
pub fn seed() -> io::Result<u64> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Ready when the process is told to stop, by SIGTERM or from its terminal.
pub async fn stopped() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
