//! A real S3-compatible object store in a process of its own.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;
use object_store::prefix::PrefixStore;
use tempfile::TempDir;

use crate::broker::free_ports;
use crate::workspace;

const NAME: &str = "basalt";
const KEY: &str = "test";
const SECRET: &str = "testsecret";
const REGION: &str = "us-east-1";

/// A server with one bucket; stopped when dropped.
#[derive(Debug)]
pub struct Bucket {
    data: TempDir,
    port: u16,
}

fn script() -> PathBuf {
    workspace().join("tests/services/s3.sh")
}

impl Bucket {
    /// Builds the server if it is not there, and starts it on a free port.
    ///
    /// # Errors
    /// It does not start; why is on the standard error.
    pub fn start() -> Result<Self> {
        // Another process may take a port between the look and the start.
        for _ in 0..5 {
            let bucket = Self { data: tempfile::tempdir()?, port: free_ports()? };
            if bucket.up()? {
                return Ok(bucket);
            }
        }
        bail!("no S3 server starts")
    }

    fn up(&self) -> Result<bool> {
        let started = Command::new(script()).arg("up").arg(self.data.path()).arg(self.port.to_string()).status();
        Ok(started.context("the script that starts an S3 server cannot be run")?.success())
    }

    /// Stops the server; the objects stay.
    ///
    /// # Errors
    /// It cannot be stopped.
    pub fn stop(&self) -> Result<()> {
        let stopped = Command::new(script()).arg("down").arg(self.data.path()).status()?;
        ensure!(stopped.success(), "the S3 server does not stop");
        Ok(())
    }

    /// Starts it again, with the objects that it had.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_again(&self) -> Result<()> {
        ensure!(self.up()?, "the S3 server does not start again");
        Ok(())
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The URL of what lies below a prefix.
    pub fn url(&self, prefix: &str) -> String {
        format!("s3://{NAME}/{prefix}")
    }

    /// Tells a program where the store is, and who asks.
    pub fn environment(&self, command: &mut Command) {
        command.env("AWS_ENDPOINT_URL", self.endpoint()).env("AWS_REGION", REGION);
        command.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", SECRET);
    }

    /// The objects below a prefix.
    ///
    /// # Errors
    /// There can be no client.
    pub fn objects(&self, prefix: &str) -> Result<Arc<dyn ObjectStore>> {
        let bucket = AmazonS3Builder::new()
            .with_endpoint(self.endpoint())
            .with_allow_http(true)
            .with_region(REGION)
            .with_bucket_name(NAME)
            .with_access_key_id(KEY)
            .with_secret_access_key(SECRET)
            .build()?;
        Ok(Arc::new(PrefixStore::new(bucket, prefix)))
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        // A server that has ended already is what is wanted.
        let _ = Command::new(script()).arg("down").arg(self.data.path()).status();
    }
}
