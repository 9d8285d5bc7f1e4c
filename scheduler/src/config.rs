//! What a scheduler is told when it starts.

use crate::{
    Pool, PostgresUrl,
    wire::{field::LONGEST, spec::MOST_ATTEMPTS},
};
use serde::Deserialize;
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

/// The commented sample file, with every default in it.
pub const SAMPLE: &str = include_str!("../scheduler.toml");

/// The configuration. The sample file says what each key means.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where clients and bots connect.
    pub listen: SocketAddr,
    /// The journal's directory.
    pub data: PathBuf,
    /// The PostgreSQL database that keeps the journal instead, for several schedulers.
    pub journal: Option<PostgresUrl>,
    /// PEM file of the certificate chain.
    pub tls_cert: Option<PathBuf>,
    /// PEM file of the private key.
    pub tls_key: Option<PathBuf>,
    /// Plain text beyond loopback.
    pub insecure: bool,
    /// How long a bot may be silent before it loses its leases.
    #[serde(with = "humantime_serde")]
    pub lease_ttl: Duration,
    /// How long the shards of a step may stay pending that does not say.
    #[serde(with = "humantime_serde")]
    pub expiration: Duration,
    /// How long shards wait while no bot fits them, unless their step waits for one.
    #[serde(with = "humantime_serde")]
    pub no_resource_after: Duration,
    /// How long a command may take that does not say, or a test where tests are shared out.
    #[serde(with = "humantime_serde")]
    pub hard_timeout: Duration,
    /// Time between TERM and KILL for a step that does not say.
    #[serde(with = "humantime_serde")]
    pub grace: Duration,
    /// Attempts of a shard whose bots are lost, for a step that does not say.
    pub max_attempts: u32,
    /// How long runs stay in history that have ended. `None`: until somebody deletes them.
    #[serde(with = "humantime_serde")]
    pub retain_for: Option<Duration>,
    /// The file with the key that secrets are sealed with in the journal; made when it is not there. `None`: beside the
    /// journal, its name with `.key` behind it.
    pub secret_key: Option<PathBuf>,
    /// The soonest priority that a run may have.
    pub soonest_priority: u8,
    /// The CAS that has the outputs of shards: idempotent shards with outputs are deduped only where it is known.
    pub cas: Option<String>,
    /// PEM file of the certificates to trust when the CAS or the journal's server speaks TLS.
    pub ca_cert: Option<PathBuf>,
    /// `PLATFORM=DIGEST`: the program that bots of a platform should run, a blob in the CAS.
    pub bot_program: Vec<String>,
    /// How old a success may be that an idempotent shard ends with.
    #[serde(with = "humantime_serde")]
    pub reuse_for: Duration,
    /// Order and shares of the shards that ask for `pool=NAME`, by name.
    pub pools: BTreeMap<String, Pool>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8990)),
            data: "scheduler-data".into(),
            journal: None,
            tls_cert: None,
            tls_key: None,
            insecure: false,
            lease_ttl: Duration::from_secs(30),
            expiration: Duration::from_secs(3600),
            no_resource_after: Duration::from_secs(600),
            hard_timeout: Duration::from_secs(3600),
            grace: Duration::from_secs(30),
            max_attempts: 3,
            retain_for: None,
            secret_key: None,
            soonest_priority: 0,
            cas: None,
            ca_cert: None,
            bot_program: Vec::new(),
            reuse_for: Duration::from_secs(7 * 24 * 3600),
            pools: BTreeMap::new(),
        }
    }
}

impl Config {
    /// A sentence on the first value that makes no sense.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        if self.lease_ttl < Duration::from_millis(100) {
            return Err("lease_ttl is shorter than 100ms: no bot can hold a lease that short");
        }
        if self.no_resource_after < self.lease_ttl {
            return Err(
                "no_resource_after is shorter than lease_ttl: bots would be taken for gone between two calls",
            );
        }
        if self.ca_cert.is_none() && self.journal.as_ref().is_some_and(PostgresUrl::needs_tls) {
            return Err("journal has sslmode=require: name the certificates to trust with ca_cert");
        }
        if self.expiration.is_zero() || self.hard_timeout.is_zero() {
            return Err("expiration and hard_timeout must be longer than zero");
        }
        // What steps get from here is read back from the journal, where the bounds of a trigger hold.
        if self.expiration.max(self.hard_timeout).max(self.grace) > LONGEST {
            return Err("expiration, hard_timeout and grace must be at most 30 days");
        }
        if self.max_attempts == 0 || self.max_attempts > MOST_ATTEMPTS {
            return Err("max_attempts must be 1 to 100");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_file_has_the_defaults() {
        assert_eq!(toml::from_str::<Config>(SAMPLE).unwrap(), Config::default());
    }

    #[test]
    fn unknown_keys_are_refused() {
        let error = toml::from_str::<Config>("leas_ttl = \"3s\"").unwrap_err().to_string();
        assert!(error.contains("leas_ttl") && error.contains("lease_ttl"), "{error}");
    }

    #[test]
    fn senseless_values_are_refused() {
        assert_eq!(Config::default().check(), Ok(()));
        assert!(Config { lease_ttl: Duration::ZERO, ..Config::default() }.check().is_err());
        assert!(Config { max_attempts: 0, ..Config::default() }.check().is_err());
        assert!(Config { max_attempts: 101, ..Config::default() }.check().is_err());
        let none = Duration::from_secs(29);
        let error = Config { no_resource_after: none, ..Config::default() }.check().unwrap_err();
        assert!(error.contains("no_resource_after") && error.contains("lease_ttl"), "{error}");
        let encrypted = "postgres://a@b/c?sslmode=require".parse().ok();
        let untrusted = Config { journal: encrypted, ..Config::default() };
        assert!(untrusted.check().unwrap_err().contains("ca_cert"));
        let long = LONGEST + Duration::from_secs(1);
        assert!(Config { expiration: long, ..Config::default() }.check().is_err());
        assert!(Config { hard_timeout: long, ..Config::default() }.check().is_err());
        assert!(Config { grace: long, ..Config::default() }.check().is_err());
    }
}
