//! One connection to a PostgreSQL server, used by threads that may block.

use super::url::PostgresUrl;
use crate::journal::{JournalError, Place};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use std::{error::Error as _, path::Path, sync::Arc, time::Duration};
use tokio::{runtime::Handle, task::JoinSet, time::timeout};
use tokio_postgres::{
    Client, Error, NoTls,
    config::SslMode,
    error::{DbError, SqlState},
};
use tokio_postgres_rustls::MakeRustlsConnect;

/// The server answers within this time, or the connection is given up.
const DEADLINE: Duration = Duration::from_secs(10);

/// What the session is told first. Statements end on the server, too, when nobody waits for them any more; a transaction
/// that a paused scheduler has open ends before anybody's patience. Everything is looked up by its key, also before the
/// server has statistics. What is acknowledged is on disk whatever the database's default is.
const SETTINGS: &str = "
    SET statement_timeout = '10s';
    SET idle_in_transaction_session_timeout = '2s';
    SET enable_seqscan = off;
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// Closed when dropped.
#[derive(Debug)]
pub(super) struct Session {
    client: Client,
    place: Place,
    runtime: Handle,
    _connection: JoinSet<()>,
}

impl Session {
    /// Connects, with TLS where the URL wants it; `ca_cert` has the certificates to trust.
    pub(super) fn open(url: &PostgresUrl, ca_cert: Option<&Path>) -> Result<Self, JournalError> {
        let place = url.place();
        let runtime = Handle::current();
        let mut config = url.config().clone();
        config
            .connect_timeout(DEADLINE / 2)
            .tcp_user_timeout(DEADLINE)
            .application_name("isoswarm scheduler");
        let tls = match ca_cert.filter(|_| url.needs_tls()) {
            Some(path) => {
                Some(tls(path).map_err(|reason| JournalError::Refused { place: place.clone(), reason })?)
            }
            None => {
                config.ssl_mode(SslMode::Disable);
                None
            }
        };
        let mut connection = JoinSet::new();
        let connecting = async {
            let client = match tls {
                Some(tls) => {
                    let (client, driver) = config.connect(tls).await?;
                    connection.spawn(async { drop(driver.await) });
                    client
                }
                None => {
                    let (client, driver) = config.connect(NoTls).await?;
                    connection.spawn(async { drop(driver.await) });
                    client
                }
            };
            client.batch_execute(SETTINGS).await?;
            Ok(client)
        };
        match runtime.block_on(async { timeout(DEADLINE, connecting).await }) {
            Ok(Ok(client)) => Ok(Self { client, place, runtime, _connection: connection }),
            Ok(Err(error)) => Err(of_connecting(place, &error)),
            Err(_) => Err(JournalError::Unreachable { place, reason: "no answer in time".into() }),
        }
    }

    /// Blocks until what it asks of the server is answered.
    pub(super) fn wait<T>(
        &self,
        asked: impl AsyncFnOnce(&Client) -> Result<T, Error>,
    ) -> Result<T, JournalError> {
        let answer = self.runtime.block_on(async { timeout(DEADLINE, asked(&self.client)).await });
        self.judge(answer)
    }

    /// Like [`Self::wait`], for transactions.
    pub(super) fn wait_mut<T>(
        &mut self,
        asked: impl AsyncFnOnce(&mut Client) -> Result<T, Error>,
    ) -> Result<T, JournalError> {
        let client = &mut self.client;
        let answer = self.runtime.block_on(async { timeout(DEADLINE, asked(client)).await });
        self.judge(answer)
    }

    fn judge<T, E>(&self, answer: Result<Result<T, Error>, E>) -> Result<T, JournalError> {
        let place = self.place.clone();
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if error.code() == Some(&SqlState::DISK_FULL) => {
                Err(JournalError::NoSpace { place })
            }
            Ok(Err(error)) if error.code().is_none() => {
                Err(JournalError::Unreachable { place, reason: chain(&error) })
            }
            Ok(Err(error)) => Err(JournalError::Store { place, reason: chain(&error) }),
            Err(_) => Err(JournalError::Unreachable { place, reason: "no answer in time".into() }),
        }
    }
}

/// A server that starts or is full may do better soon. One that refuses us does not.
fn of_connecting(place: Place, error: &Error) -> JournalError {
    let reason = chain(error);
    let later = [SqlState::CANNOT_CONNECT_NOW, SqlState::TOO_MANY_CONNECTIONS, SqlState::ADMIN_SHUTDOWN];
    match error.code() {
        Some(code) if !later.contains(code) => JournalError::Refused { place, reason },
        _ => JournalError::Unreachable { place, reason },
    }
}

/// An error with its causes: on its own it says `db error` or `error connecting to server`.
pub(super) fn chain(error: &Error) -> String {
    if let Some(error) = error.as_db_error() {
        return of_server(error);
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

fn of_server(error: &DbError) -> String {
    let more = error.hint().or(error.detail()).map(|more| format!(" ({more})")).unwrap_or_default();
    format!("{}{more}", error.message())
}

fn tls(ca_cert: &Path) -> Result<MakeRustlsConnect, String> {
    let unusable =
        |problem: String| format!("cannot use the certificates in {}: {problem}", ca_cert.display());
    let mut roots = rustls::RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(ca_cert).map_err(|error| unusable(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(unusable("there are none".into()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}
