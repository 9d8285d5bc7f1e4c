//! Where a PostgreSQL server is, and as whom to go there.

use crate::journal::Place;
use serde::Deserialize;
use std::{fmt, str::FromStr};
use tokio_postgres::config::{Host, SslMode};

/// Not a URL of a PostgreSQL database.
#[derive(Debug, thiserror::Error)]
pub enum PostgresUrlError {
    /// It begins as something else. It is not quoted: there may be a password in it.
    #[error("this is no URL of a PostgreSQL database: write postgres://USER@HOST/DATABASE")]
    Scheme,
    /// Something in it cannot be understood.
    #[error("this URL of a PostgreSQL database cannot be used: {reason}")]
    Malformed {
        /// What.
        reason: String,
    },
}

/// The URL of a PostgreSQL database, `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=require`, as PostgreSQL's own
/// programs take it. Never shown with its password.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PostgresUrl {
    config: tokio_postgres::Config,
}

impl PostgresUrl {
    pub(super) fn config(&self) -> &tokio_postgres::Config {
        &self.config
    }

    /// Nothing may go to the server in plain text.
    pub(crate) fn needs_tls(&self) -> bool {
        self.config.get_ssl_mode() == SslMode::Require
    }

    /// How messages name it.
    pub(crate) fn place(&self) -> Place {
        Place::at_url(self)
    }
}

impl FromStr for PostgresUrl {
    type Err = PostgresUrlError;

    fn from_str(text: &str) -> Result<Self, PostgresUrlError> {
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(PostgresUrlError::Scheme);
        }
        let config: tokio_postgres::Config = text
            .parse()
            .map_err(|error| PostgresUrlError::Malformed { reason: super::session::chain(&error) })?;
        if config.get_hosts().is_empty() {
            return Err(PostgresUrlError::Malformed { reason: "it names no host".into() });
        }
        Ok(Self { config })
    }
}

impl TryFrom<String> for PostgresUrl {
    type Error = PostgresUrlError;

    fn try_from(text: String) -> Result<Self, PostgresUrlError> {
        text.parse()
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let database = self.config.get_dbname().or(self.config.get_user()).unwrap_or_default();
        let ports = self.config.get_ports();
        let mut hosts = Vec::new();
        let mut directory = None;
        for (number, host) in self.config.get_hosts().iter().enumerate() {
            match (host, ports.get(number).or(ports.first())) {
                (Host::Tcp(name), None) => hosts.push(name.clone()),
                (Host::Tcp(name), Some(port)) => hosts.push(format!("{name}:{port}")),
                (Host::Unix(path), _) => directory = Some(path),
            }
        }
        write!(f, "postgres://{}/{database}", hosts.join(","))?;
        directory.map_or(Ok(()), |path| write!(f, "?host={}", path.display()))
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_shown_without_user_and_password() {
        for (given, shown) in [
            ("postgres://ann:secret@db.example:5433/swarm", "postgres://db.example:5433/swarm"),
            ("postgresql://ann:secret@db/swarm?sslmode=require", "postgres://db:5432/swarm"),
            ("postgres://ann:secret@a:1,b:2/swarm", "postgres://a:1,b:2/swarm"),
            (
                "postgres:///swarm?host=/run/postgresql&password=secret",
                "postgres:///swarm?host=/run/postgresql",
            ),
        ] {
            let url: PostgresUrl = given.parse().unwrap();
            assert_eq!(url.to_string(), shown);
            assert!(!format!("{url:?}").contains("secret"));
        }
    }

    #[test]
    fn what_is_none_is_refused_without_quoting_it() {
        for bad in [
            "mysql://ann:secret@db/swarm",
            "host=db password=secret",
            "postgres://ann:secret@db/swarm?sslmode=sometimes",
            "postgres://ann:secret@db:port/swarm",
            "postgres:///swarm?password=secret",
        ] {
            let error = bad.parse::<PostgresUrl>().unwrap_err().to_string();
            assert!(error.contains("PostgreSQL") && !error.contains("secret"), "{error}");
        }
    }
}
