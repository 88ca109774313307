//! Where a store is, as users say it.
//!
//! In: a folder, or the URL of a bucket. Out: the store; one that is elsewhere with a cache of its objects. Credentials come from the
//! environment, as S3's own programs take them.

use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::prefix::PrefixStore;
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use serde::Deserialize;
use thiserror::Error;
use url::Url;

use super::{Store, open_directory};
use crate::cache::Cache;

/// How long a request may take: an object has hundreds of megabytes at most.
const REQUEST_PATIENCE: Duration = Duration::from_secs(300);

/// How long it may take to reach the store.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// How often, and how long, a request is tried again before it fails: queries wait for it. What cannot go on without tries again by
/// itself.
const RETRIES: usize = 4;
const RETRY_PATIENCE: Duration = Duration::from_secs(10);

/// Where a store is: a folder, or `s3://bucket/prefix`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum StoreLocation {
    /// A folder of this machine.
    Folder(PathBuf),
    /// A bucket, and what the names of objects in it begin with.
    Bucket(Url),
}

/// A store cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// This is no place for a store.
    #[error("{0} is no store: give a folder, or s3://bucket/prefix")]
    Location(String),
    /// The folder, or what is said of the bucket, is wrong.
    #[error("the store {location} cannot be opened: {cause}")]
    Store {
        /// Where it is.
        location: String,
        /// Why not.
        #[source]
        cause: object_store::Error,
    },
    /// The cache cannot be opened.
    #[error("the cache in {folder} cannot be opened: {cause}")]
    Cache {
        /// Its folder.
        folder: String,
        /// Why not.
        #[source]
        cause: io::Error,
    },
}

impl FromStr for StoreLocation {
    type Err = OpenError;

    fn from_str(text: &str) -> Result<Self, OpenError> {
        let wrong = || OpenError::Location(text.into());
        if !text.contains("://") {
            return if text.is_empty() { Err(wrong()) } else { Ok(Self::Folder(text.into())) };
        }
        let url = Url::parse(text).map_err(|_| wrong())?;
        let is_bucket = url.scheme() == "s3" && url.has_host() && url.query().is_none() && url.fragment().is_none();
        if is_bucket { Ok(Self::Bucket(url)) } else { Err(wrong()) }
    }
}

impl TryFrom<String> for StoreLocation {
    type Error = OpenError;

    fn try_from(text: String) -> Result<Self, OpenError> {
        text.parse()
    }
}

/// How much of a store elsewhere is kept on this machine, and where.
#[derive(Debug, Clone)]
pub struct CacheSettings {
    /// The folder.
    pub folder: PathBuf,
    /// The most bytes of what can be brought again; what leads from `_id`s to rows comes on top.
    pub bytes_max: u64,
}

impl CacheSettings {
    /// The bytes where nothing is said: the tenth part of a small server's disk.
    pub const BYTES_MAX: u64 = 32 << 30;
}

impl StoreLocation {
    /// Opens the store; one that is elsewhere with a cache.
    ///
    /// # Errors
    /// It is nowhere, or the cache cannot be made. Whether a bucket can be reached shows later.
    pub fn open(&self, cache: &CacheSettings) -> Result<Store, OpenError> {
        let url = match self {
            Self::Folder(folder) => return open_folder(folder),
            Self::Bucket(url) => url,
        };
        let failed = |cause| OpenError::Store { location: url.to_string(), cause };
        let retry = RetryConfig { max_retries: RETRIES, retry_timeout: RETRY_PATIENCE, ..RetryConfig::default() };
        let client = ClientOptions::new()
            .with_timeout(REQUEST_PATIENCE)
            .with_connect_timeout(CONNECT_PATIENCE)
            .with_allow_http(std::env::var("AWS_ENDPOINT_URL").is_ok_and(|endpoint| endpoint.starts_with("http://")));
        let bucket = AmazonS3Builder::from_env()
            .with_bucket_name(url.host_str().unwrap_or_default())
            .with_client_options(client)
            .with_retry(retry)
            .build()
            .map_err(failed)?;
        let objects: Arc<dyn ObjectStore> = Arc::new(PrefixStore::new(bucket, url.path()));
        let opened = Cache::open(&cache.folder, cache.bytes_max, Arc::clone(&objects));
        let folder = || cache.folder.display().to_string();
        let opened = opened.map_err(|cause| OpenError::Cache { folder: folder(), cause })?;
        Ok(Store::cached(objects, Arc::new(opened)))
    }
}

fn open_folder(folder: &Path) -> Result<Store, OpenError> {
    let failed = |cause| OpenError::Store { location: folder.display().to_string(), cause };
    open_directory(folder).map(Store::from).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::StoreLocation;

    #[test]
    fn a_location_is_a_folder_or_a_bucket() {
        let is_bucket = |text: &str| text.parse().map(|location| matches!(location, StoreLocation::Bucket(_))).ok();
        let cases = [
            ("data/store", Some(false)),
            ("/var/lib/basalt", Some(false)),
            ("s3://bucket", Some(true)),
            ("s3://bucket/a/b", Some(true)),
            ("s3:///a", None),
            ("s3://bucket/a?b=c", None),
            ("https://bucket/a", None),
            ("", None),
        ];
        cases.iter().for_each(|(text, expected)| assert_eq!(is_bucket(text), *expected, "{text}"));
    }
}
