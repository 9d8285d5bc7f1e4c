//! The keys of the configuration on the command line.

use super::SandboxKind;
use bytesize::ByteSize;
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;

/// The keys of [`Config`](super::Config) as flags.
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
    /// Directory of executables that are called at certain moments, see --print-config
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<PathBuf>,
    /// How long each hook may take [default: 30s]
    #[arg(long, value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook_timeout: Option<String>,
    /// How often the bot looks at its host [default: 1m]
    #[arg(long, value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check_interval: Option<String>,
    /// With less free disk it takes no work; 0 turns this off [default: 512MiB]
    #[arg(long, value_name = "SIZE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_free_disk: Option<ByteSize>,
    /// With a clock further from the scheduler's it takes no work; 0s turns this off [default: 5m]
    #[arg(long, value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_clock_skew: Option<String>,
    /// After so many failures in a row by its own fault it takes no work for a while [default: 5]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_failures: Option<u32>,
    /// How long that is the first time [default: 1m]
    #[arg(long, value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<String>,
    /// End when there was nothing to do for so long
    #[arg(long, value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_when_idle: Option<String>,
    /// Memory that one attempt may use, by cgroup
    #[arg(long, value_name = "SIZE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<ByteSize>,
    /// Processes and threads that one attempt may have, by cgroup
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids_limit: Option<u64>,
    /// Processors that one attempt may use, by cgroup: 1.5
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_limit: Option<f64>,
    /// What commands are shut in [default: none]
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxKind>,
    /// Let commands in the sandbox reach the network
    #[arg(long, num_args = 0, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox_network: Option<bool>,
    /// Become the program that the scheduler names [default: true]
    #[arg(long, value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update: Option<bool>,
}
