//! What a bot is told: a TOML file with flags laid over it.

use bytesize::ByteSize;
use clap::Args;
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, time::Duration};

/// The commented sample configuration, which holds the defaults.
pub const SAMPLE: &str = include_str!("sample.toml");

/// Configuration of a bot.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// The scheduler to ask for work; with commas between them, it and those that stand by for it.
    pub scheduler: String,
    /// The CAS that inputs come from and outputs go to.
    pub cas: String,
    /// PEM file of the certificates to trust, when the servers speak TLS.
    pub ca_cert: Option<PathBuf>,
    /// The bot's name, unique among the scheduler's bots. The host's name when not given.
    pub id: Option<String>,
    /// Directory of the cache and of the attempts' work directories. One bot at a time.
    pub data: PathBuf,
    /// How many attempts run at once.
    pub slots: u32,
    /// Byte budget of the input cache.
    pub cache_size: ByteSize,
    /// Most blobs in the input cache.
    pub cache_max_items: u64,
    /// What input cache and named caches leave free on the disk, as far as they can.
    pub cache_min_free_space: ByteSize,
    /// How long both keep what nobody uses.
    #[serde(with = "humantime_serde")]
    pub cache_max_age: Duration,
    /// `KEY=VALUE`. A key given here replaces what the bot found out about its host.
    pub dimension: Vec<String>,
    /// How long attempts may go on after the first request to stop.
    #[serde(with = "humantime_serde")]
    pub drain_timeout: Duration,
    /// The program that has [`crate::SUPERVISE`] as a subcommand and puts every command under supervision. Without it,
    /// as in tests that run a bot inside their own process, a process that a command detached *and* whose environment
    /// it wiped is not found.
    #[serde(skip)]
    pub supervisor: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            scheduler: "http://127.0.0.1:8990".into(),
            cas: "http://127.0.0.1:8980".into(),
            ca_cert: None,
            id: None,
            data: "isoswarm-bot".into(),
            slots: 1,
            cache_size: ByteSize::gib(20),
            cache_max_items: 2_000_000,
            cache_min_free_space: ByteSize::gib(2),
            cache_max_age: Duration::from_secs(21 * 24 * 60 * 60),
            dimension: Vec::new(),
            drain_timeout: Duration::from_secs(5 * 60),
            supervisor: None,
        }
    }
}

/// The keys of [`Config`] as flags.
#[derive(Args, Clone, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Flags {
    /// The scheduler to ask for work [default: http://127.0.0.1:8990]; give those that stand by for it, too: URL,URL
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<String>,
    /// The CAS for inputs and outputs [default: http://127.0.0.1:8980]
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cas: Option<String>,
    /// Certificates to trust (PEM), when the servers speak TLS
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_cert: Option<PathBuf>,
    /// The bot's name, unique among the scheduler's bots [default: the host's name]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Directory of the cache and of the work directories [default: isoswarm-bot]
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    /// How many attempts run at once [default: 1]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slots: Option<u32>,
    /// Byte budget of the input cache [default: 20GiB]
    #[arg(long, value_name = "SIZE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_size: Option<ByteSize>,
    /// Most blobs in the input cache [default: 2000000]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_max_items: Option<u64>,
    /// What the caches leave free on the disk, as far as they can [default: 2GiB]
    #[arg(long, value_name = "SIZE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_min_free_space: Option<ByteSize>,
    /// How long the caches keep what nobody uses [default: 21days]
    #[arg(long, value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_max_age: Option<String>,
    /// A dimension of the bot; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dimension: Vec<String>,
    /// How long attempts may go on after the first TERM [default: 5m]
    #[arg(long, value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_timeout: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_file_parses_and_holds_the_defaults() {
        assert_eq!(toml::from_str::<Config>(SAMPLE).unwrap(), Config::default());
        // Every commented-out key is a valid one, too.
        let all: String =
            SAMPLE.lines().map(|line| line.strip_prefix("#= ").unwrap_or(line).to_owned() + "\n").collect();
        let config = toml::from_str::<Config>(&all).unwrap();
        assert!(config.ca_cert.is_some() && config.id.is_some() && !config.dimension.is_empty());
    }

    #[test]
    fn every_flag_is_a_key() {
        let flags = Flags {
            scheduler: Some("http://a:1".into()),
            cas: Some("http://b:2".into()),
            ca_cert: Some("ca.pem".into()),
            id: Some("b1".into()),
            data: Some("d".into()),
            slots: Some(4),
            cache_size: Some(ByteSize::mib(5)),
            cache_max_items: Some(6),
            cache_min_free_space: Some(ByteSize::mib(7)),
            cache_max_age: Some("8h".into()),
            dimension: vec!["pool=x".into()],
            drain_timeout: Some("7s".into()),
        };
        let config: Config = runtime::config::load(None, &flags).unwrap();
        assert_eq!((config.slots, config.cache_size), (4, ByteSize::mib(5)));
        assert_eq!((config.cache_max_items, config.cache_min_free_space), (6, ByteSize::mib(7)));
        assert_eq!(config.cache_max_age, Duration::from_secs(8 * 3600));
        assert_eq!(config.drain_timeout, Duration::from_secs(7));
        assert_eq!(config.dimension, ["pool=x"]);
        assert_eq!(runtime::config::load::<Config>(None, &Flags::default()).unwrap(), Config::default());
    }
}
