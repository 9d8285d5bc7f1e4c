//! What `cas-server` can be told, in a file or by flags.

use crate::{
    KeyPrefix,
    engine::{Compression, EngineOptions},
};
use bytesize::ByteSize;
use clap::Args;
use serde::{Deserialize, Serialize};
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

/// The commented sample file that `--print-config` prints.
pub const SAMPLE: &str = include_str!("cas-server.toml");

/// The configuration of a server.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where to listen. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The directory that holds the store.
    pub data: PathBuf,
    /// Bytes on disk to stay below.
    pub max_size: ByteSize,
    /// Bytes to leave free on the file system.
    pub min_free: ByteSize,
    /// How long blobs are safe from eviction after their last use.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
    /// Bytes that pins may keep from eviction; half of `max_size` when it is not given.
    pub pin_quota: Option<ByteSize>,
    /// Bytes of uploads and batches, and of answers, in memory at a time.
    pub max_memory: ByteSize,
    /// Take over HTTP only results of actions that are some.
    pub http_ac_validation: bool,
    /// HTTP paths below which clients keep bytes under keys of their own choice.
    pub http_keys: Vec<KeyPrefix>,
    /// Give results of actions only when all their blobs are there.
    pub check_completeness: bool,
    /// Take blobs named by MD5.
    pub md5: bool,
    /// Bytes of the largest blob that is taken. `None`: `max_size` less one segment.
    pub max_blob_size: Option<ByteSize>,
    /// How blobs are stored that get smaller by it.
    pub compress: Compression,
    /// How long what came of an upload that was cut off is kept.
    #[serde(with = "humantime_serde")]
    pub keep_uploads: Duration,
    /// PEM file of the certificate chain.
    pub tls_cert: Option<PathBuf>,
    /// PEM file of the private key.
    pub tls_key: Option<PathBuf>,
    /// Serve other machines in plain text.
    pub insecure: bool,
}

impl Default for Config {
    fn default() -> Self {
        let engine = EngineOptions::default();
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8980)),
            data: PathBuf::from("cas-data"),
            max_size: ByteSize(engine.max_bytes),
            min_free: ByteSize(engine.min_free),
            lease: engine.lease,
            pin_quota: engine.pin_quota.map(ByteSize),
            max_memory: ByteSize(engine.max_memory),
            http_ac_validation: true,
            http_keys: KeyPrefix::defaults(),
            check_completeness: true,
            md5: engine.md5,
            max_blob_size: None,
            compress: engine.compress,
            keep_uploads: engine.keep_uploads,
            tls_cert: None,
            tls_key: None,
            insecure: false,
        }
    }
}

impl Config {
    /// What of it concerns the engine.
    pub(crate) fn engine_options(&self) -> EngineOptions {
        let engine = EngineOptions::default();
        EngineOptions {
            max_bytes: self.max_size.as_u64(),
            min_free: self.min_free.as_u64(),
            lease: self.lease,
            pin_quota: self.pin_quota.map(|quota| quota.as_u64()),
            max_memory: self.max_memory.as_u64(),
            max_blob: self.max_blob_size.map(|size| size.as_u64()),
            compress: self.compress,
            keep_uploads: self.keep_uploads,
            md5: self.md5,
            // It is added to the lease: short ones stay short.
            touch_interval: engine.touch_interval.min(self.lease / 4),
            ..engine
        }
    }
}

/// Flags that lie over the configuration file.
#[derive(Clone, Debug, Default, Args, Serialize)]
pub struct Flags {
    /// Where to listen [default: 127.0.0.1:8980]; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    listen: Option<SocketAddr>,
    /// Directory that holds the store [default: cas-data].
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<PathBuf>,
    /// Bytes on disk to stay below, for instance 100GiB [default: 20GiB].
    #[arg(long, value_name = "BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_size: Option<String>,
    /// Bytes to leave free on the file system [default: 128MiB].
    #[arg(long, value_name = "BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    min_free: Option<String>,
    /// How long blobs are safe from eviction after their last use [default: 1h].
    #[arg(long, value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<String>,
    /// Bytes that pins may keep from eviction [default: half of --max-size].
    #[arg(long, value_name = "BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pin_quota: Option<String>,
    /// Bytes of uploads, batches and answers in memory at a time [default: 256MiB].
    #[arg(long, value_name = "BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_memory: Option<String>,
    /// Take over HTTP only results of actions that are some; ccache with layout=bazel puts other bytes [default: true].
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    http_ac_validation: Option<bool>,
    /// HTTP paths below which clients keep bytes under any keys [default: /kv,/sccache,/ccache]
    #[arg(long, value_name = "PATHS", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Option::is_none")]
    http_keys: Option<Vec<KeyPrefix>>,
    /// Give results of actions only when all their blobs are there [default: true].
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    check_completeness: Option<bool>,
    /// Take blobs named by MD5, which is broken: whoever wants to makes two blobs of one name.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    md5: Option<bool>,
    /// Bytes of the largest blob that is taken [default: max-size less one segment].
    #[arg(long, value_name = "BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_blob_size: Option<String>,
    /// How blobs are stored that get smaller by it [default: off].
    #[arg(long, value_name = "HOW")]
    #[serde(skip_serializing_if = "Option::is_none")]
    compress: Option<Compression>,
    /// How long what came of an upload that was cut off is kept [default: 24h].
    #[arg(long, value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_uploads: Option<String>,
    /// Serve TLS with this certificate chain (PEM).
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM).
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_key: Option<PathBuf>,
    /// Serve other machines in plain text: anybody who reaches the port can read and write.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    insecure: Option<bool>,
}

impl Flags {
    /// The data directory alone.
    pub fn data(data: Option<PathBuf>) -> Self {
        Self { data, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_file_says_the_defaults() {
        assert_eq!(toml::from_str::<Config>(SAMPLE).unwrap(), Config::default());
        let uncommented =
            SAMPLE.replace("#tls", "tls").replace("#pin", "pin").replace("#max_blob", "max_blob");
        let all: toml::Table = toml::from_str(&uncommented).unwrap();
        assert_eq!(all.len(), 17, "every key is in the sample file");
        toml::from_str::<Config>(&uncommented).unwrap();
    }

    #[test]
    fn flags_are_keys() {
        let flags = Flags {
            listen: Some("127.0.0.1:1".parse().unwrap()),
            max_size: Some("1GiB".into()),
            lease: Some("1h 5m".into()),
            insecure: Some(true),
            ..Flags::default()
        };
        let config: Config = runtime::config::load(None, &flags).unwrap();
        assert_eq!((config.max_size, config.lease), (ByteSize::gib(1), Duration::from_secs(3900)));
        assert!(config.insecure);
        let wrong = Flags { max_size: Some("much".into()), ..Flags::default() };
        let error = runtime::config::load::<Config>(None, &wrong).unwrap_err().to_string();
        assert!(error.contains("max_size"), "{error}");
    }
}
