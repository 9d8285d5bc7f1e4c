//! What a bot is told: a TOML file with flags laid over it.

mod flags;

pub use flags::Flags;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, time::Duration};

/// The commented sample configuration, which holds the defaults.
pub const SAMPLE: &str = include_str!("../sample.toml");

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
    /// Directory of the executables that are called at certain moments; none without it.
    pub hooks: Option<PathBuf>,
    /// How long each of them may take.
    #[serde(with = "humantime_serde")]
    pub hook_timeout: Duration,
    /// How often the bot looks at its host and calls `get-dimensions` and `get-state`.
    #[serde(with = "humantime_serde")]
    pub check_interval: Duration,
    /// With less free disk the bot takes no work; 0: whatever is free.
    pub min_free_disk: ByteSize,
    /// With a clock that is further from the scheduler's the bot takes no work; 0: whatever it says.
    #[serde(with = "humantime_serde")]
    pub max_clock_skew: Duration,
    /// After so many attempts in a row that failed by its own fault the bot takes no work for a while; 0: never.
    pub max_failures: u32,
    /// How long that is the first time.
    #[serde(with = "humantime_serde")]
    pub retry_after: Duration,
    /// Memory that one attempt may use.
    pub memory_limit: Option<ByteSize>,
    /// Processes and threads that one attempt may have.
    pub pids_limit: Option<u64>,
    /// Processors that one attempt may use.
    pub cpu_limit: Option<f64>,
    /// What commands are shut in.
    pub sandbox: SandboxKind,
    /// Whether commands in the sandbox reach the network.
    pub sandbox_network: bool,
    /// Ends when there was nothing to do for so long.
    #[serde(with = "humantime_serde")]
    pub exit_when_idle: Option<Duration>,
    /// Whether the bot becomes the program that the scheduler names.
    pub update: bool,
    /// Whether this is a bot on trial: it ends when its first call was answered. See [`crate::TRIAL`].
    #[serde(skip)]
    pub trial: bool,
    /// The program that has [`crate::SUPERVISE`] as a subcommand and puts every command under supervision. Without it,
    /// as in tests that run a bot inside their own process, a process that a command detached *and* whose environment
    /// it wiped is not found.
    #[serde(skip)]
    pub supervisor: Option<PathBuf>,
}

/// What commands can be shut in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum SandboxKind {
    /// Nothing: they do what the bot's user may.
    None,
    /// The program `bwrap`: the host read-only, the bot's directory hidden, no network.
    Bubblewrap,
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
            hooks: None,
            hook_timeout: Duration::from_secs(30),
            check_interval: Duration::from_secs(60),
            min_free_disk: ByteSize::mib(512),
            max_clock_skew: Duration::from_secs(5 * 60),
            max_failures: 5,
            retry_after: Duration::from_secs(60),
            memory_limit: None,
            pids_limit: None,
            cpu_limit: None,
            sandbox: SandboxKind::None,
            sandbox_network: false,
            exit_when_idle: None,
            update: true,
            trial: false,
            supervisor: None,
        }
    }
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
            hooks: Some("h".into()),
            hook_timeout: Some("8s".into()),
            check_interval: Some("9s".into()),
            min_free_disk: Some(ByteSize::mib(10)),
            max_clock_skew: Some("11s".into()),
            max_failures: Some(12),
            retry_after: Some("13s".into()),
            exit_when_idle: Some("14s".into()),
            memory_limit: Some(ByteSize::gib(15)),
            pids_limit: Some(16),
            cpu_limit: Some(1.7),
            sandbox: Some(SandboxKind::Bubblewrap),
            sandbox_network: Some(true),
            update: Some(false),
        };
        let config: Config = runtime::config::load(None, &flags).unwrap();
        assert_eq!((config.slots, config.cache_size), (4, ByteSize::mib(5)));
        assert_eq!((config.cache_max_items, config.cache_min_free_space), (6, ByteSize::mib(7)));
        assert_eq!(config.cache_max_age, Duration::from_secs(8 * 3600));
        assert_eq!(config.drain_timeout, Duration::from_secs(7));
        assert_eq!(config.dimension, ["pool=x"]);
        let s = Duration::from_secs;
        assert_eq!((config.hooks, config.hook_timeout), (Some("h".into()), s(8)));
        assert_eq!((config.check_interval, config.min_free_disk), (s(9), ByteSize::mib(10)));
        assert_eq!((config.max_clock_skew, config.max_failures), (s(11), 12));
        assert_eq!((config.retry_after, config.exit_when_idle), (s(13), Some(s(14))));
        assert_eq!((config.memory_limit, config.pids_limit), (Some(ByteSize::gib(15)), Some(16)));
        assert_eq!(config.cpu_limit, Some(1.7));
        assert_eq!((config.sandbox, config.sandbox_network), (SandboxKind::Bubblewrap, true));
        assert!(!config.update);
        assert_eq!(runtime::config::load::<Config>(None, &Flags::default()).unwrap(), Config::default());
    }
}
