//! The command line of `scheduler`.

use clap::{Args, Parser};
use runtime::{Exit, config::ConfigError};
use scheduler::StartError;
use serde::Serialize;
use std::{io::Write as _, net::SocketAddr, path::PathBuf, time::Duration};

/// Gives the shards of runs to whatever bots ask for work.
#[derive(Parser, Debug)]
#[command(version, after_help = runtime::exit::HELP)]
pub(crate) struct Flags {
    /// Read the configuration from this TOML file; flags win over it.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print a commented configuration file with all defaults, and exit.
    #[arg(long)]
    pub(crate) print_config: bool,
    #[command(flatten)]
    pub(crate) keys: Keys,
}

/// The keys of the configuration, as flags.
#[derive(Args, Debug, Serialize)]
pub(crate) struct Keys {
    /// Where clients and bots connect [default: 127.0.0.1:8990]; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    listen: Option<SocketAddr>,
    /// Where the journal lives [default: scheduler-data].
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<PathBuf>,
    /// Keep the journal in this PostgreSQL database instead, as `postgres://USER@HOST/DATABASE`: several schedulers may
    /// have it, of which one serves while the others stand by.
    #[arg(long, value_name = "URL", env = "ISOSWARM_JOURNAL", hide_env_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    journal: Option<String>,
    /// PEM file of the certificate chain.
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_cert: Option<PathBuf>,
    /// PEM file of the private key.
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_key: Option<PathBuf>,
    /// Serve other machines in plain text.
    #[arg(long, num_args = 0, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    insecure: Option<bool>,
    /// How long a bot may be silent before its shards go to other bots [default: 30s].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    #[serde(skip_serializing_if = "Option::is_none", with = "humantime_serde")]
    lease_ttl: Option<Duration>,
    /// How long shards stay pending when their step does not say [default: 1h].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    #[serde(skip_serializing_if = "Option::is_none", with = "humantime_serde")]
    expiration: Option<Duration>,
    /// How long shards wait while no bot fits them, unless their step waits for one [default: 10m].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    #[serde(skip_serializing_if = "Option::is_none", with = "humantime_serde")]
    no_resource_after: Option<Duration>,
    /// How long a command may take when its step does not say, or a test whose step shares them out [default: 1h].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    #[serde(skip_serializing_if = "Option::is_none", with = "humantime_serde")]
    hard_timeout: Option<Duration>,
    /// Time between TERM and KILL when a step does not say [default: 30s].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    #[serde(skip_serializing_if = "Option::is_none", with = "humantime_serde")]
    grace: Option<Duration>,
    /// Attempts of a shard whose bots are lost, when its step does not say [default: 3].
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_attempts: Option<u32>,
    /// Delete runs that have ended for so long [default: never].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    #[serde(skip_serializing_if = "Option::is_none", with = "humantime_serde")]
    retain_for: Option<Duration>,
    /// The file with the key that secrets are sealed with in the journal; made when it is not there [default: the
    /// journal's name with `.key` behind it].
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_key: Option<PathBuf>,
    /// Refuse runs with a sooner priority, 0 to 255, lower is sooner [default: 0].
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    soonest_priority: Option<u8>,
    /// The CAS that has the outputs of shards: with it, idempotent shards end with earlier successes.
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    cas: Option<String>,
    /// PEM file of the certificates to trust when the CAS or the journal's server speaks TLS.
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_cert: Option<PathBuf>,
    /// PLATFORM=sha256:HEX/SIZE: the program that bots of a platform should run; may be repeated.
    #[arg(long, value_name = "PLATFORM=DIGEST")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    bot_program: Vec<String>,
    /// How old a success may be that an idempotent shard ends with [default: 7d].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    #[serde(skip_serializing_if = "Option::is_none", with = "humantime_serde")]
    reuse_for: Option<Duration>,
}

fn duration(text: &str) -> Result<Duration, humantime_serde::re::humantime::DurationError> {
    humantime_serde::re::humantime::parse_duration(text)
}

/// One line on stdout. Whoever closed it does not want to know.
pub(crate) fn say(line: &str) {
    let mut stdout = std::io::stdout();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// What the shell is told of an error that ended the program.
pub(crate) fn exit_code(error: &anyhow::Error) -> Exit {
    if error.is::<ConfigError>() {
        return Exit::Usage;
    }
    error.downcast_ref::<StartError>().map_or(Exit::Internal, StartError::exit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_a_flag() {
        let flags = Flags::parse_from([
            "scheduler",
            "--listen=127.0.0.1:0",
            "--data=d",
            "--journal=postgres://h/j",
            "--tls-cert=c",
            "--tls-key=k",
            "--insecure",
            "--lease-ttl=2s",
            "--expiration=3s",
            "--hard-timeout=4s",
            "--grace=5s",
            "--max-attempts=6",
            "--cas=127.0.0.1:1",
            "--ca-cert=ca",
            "--bot-program=linux-x86_64=a",
            "--reuse-for=7s",
            "--retain-for=9s",
            "--secret-key=sk",
            "--soonest-priority=20",
            "--no-resource-after=8s",
        ]);
        let loaded: scheduler::Config = runtime::config::load(None, &flags.keys).unwrap();
        let expected = scheduler::Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            data: "d".into(),
            journal: Some("postgres://h/j".parse().unwrap()),
            tls_cert: Some("c".into()),
            tls_key: Some("k".into()),
            insecure: true,
            lease_ttl: Duration::from_secs(2),
            expiration: Duration::from_secs(3),
            hard_timeout: Duration::from_secs(4),
            grace: Duration::from_secs(5),
            max_attempts: 6,
            secret_key: Some("sk".into()),
            retain_for: Some(Duration::from_secs(9)),
            soonest_priority: 20,
            cas: Some("127.0.0.1:1".into()),
            ca_cert: Some("ca".into()),
            bot_program: vec!["linux-x86_64=a".into()],
            reuse_for: Duration::from_secs(7),
            pools: std::collections::BTreeMap::new(),
            no_resource_after: Duration::from_secs(8),
        };
        assert_eq!(loaded, expected);
    }
}
