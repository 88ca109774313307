//! A real Kafka broker in a process of its own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

/// A broker; stopped when dropped.
#[derive(Debug)]
pub struct Broker {
    data: TempDir,
    port: u16,
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../services/kafka.sh")
}

/// A port that is free now, with the one behind it.
///
/// # Errors
/// There is none.
pub fn free_ports() -> Result<u16> {
    for _ in 0..100 {
        let first = TcpListener::bind("127.0.0.1:0")?;
        let port = first.local_addr()?.port();
        if let Some(next) = port.checked_add(1)
            && TcpListener::bind(("127.0.0.1", next)).is_ok()
        {
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
}

impl Drop for Broker {
    fn drop(&mut self) {
        // A broker that has ended already is what is wanted.
        let _ = Command::new(script()).arg("down").arg(self.data.path()).status();
    }
}
