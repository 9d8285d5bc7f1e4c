//! Addresses of our servers, and channels to them.

mod failover;

pub use failover::Failover;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// Why a server cannot even be tried.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not an address.
    #[error("`{given}` is not a server address: write HOST:PORT, http://HOST:PORT or https://HOST:PORT")]
    Address {
        /// What was given.
        given: String,
    },
    /// Certificates or a key cannot be read.
    #[error("cannot read {what} from {}", path.display())]
    Certificates {
        /// Which of them.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// TLS could not be set up.
    #[error("cannot set up TLS for {address}")]
    Tls {
        /// The server.
        address: String,
        /// Why.
        source: tonic::transport::Error,
    },
}

/// Waits at most this long for a connection to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that swallows what it is given is noticed after twice this time, well within the life of a lease.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Bytes in one frame that either side takes: of 16 KiB each, which is the least, blobs take many calls of the kernel.
pub(crate) const MAX_FRAME: u32 = 256 * 1024;

/// What a client trusts and shows where TLS is spoken. All are PEM files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tls<'a> {
    /// Certificates of authorities that are trusted. None: those that this machine trusts.
    pub ca_cert: Option<&'a Path>,
    /// The client's own certificate, and its key.
    pub client: Option<(&'a Path, &'a Path)>,
}

/// The same as [`secured`] by a client that shows no certificate of its own.
pub fn channel(address: &str, ca_cert: Option<&Path>) -> Result<Channel, ConnectError> {
    secured(address, Tls { ca_cert, client: None })
}

/// A channel to a gRPC server that connects when it is first used and again when it was cut. The address is
/// `HOST:PORT`, `http://…`, `grpc://…`, or with TLS `https://…`, `grpcs://…`.
pub fn secured(address: &str, trust: Tls<'_>) -> Result<Channel, ConnectError> {
    let invalid = || ConnectError::Address { given: address.to_owned() };
    let (tls, authority) = match address.split_once("://") {
        Some(("http" | "grpc", rest)) => (false, rest),
        Some(("https" | "grpcs", rest)) => (true, rest),
        Some(_) => return Err(invalid()),
        None => (false, address),
    };
    let authority = authority.trim_end_matches('/');
    if authority.is_empty() || authority.contains('/') || !authority.contains(':') {
        return Err(invalid());
    }
    let scheme = if tls { "https" } else { "http" };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{authority}")).map_err(|_| invalid())?;
    let endpoint = endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .tcp_keepalive(Some(Duration::from_secs(30)))
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .initial_stream_window_size(4 * 1024 * 1024)
        .initial_connection_window_size(16 * 1024 * 1024)
        .max_frame_size(MAX_FRAME);
    let endpoint = if tls { endpoint.tls_config(tls_config(trust)?) } else { Ok(endpoint) };
    let endpoint = endpoint.map_err(|source| ConnectError::Tls { address: address.to_owned(), source })?;
    Ok(endpoint.connect_lazy())
}

fn tls_config(tls: Tls<'_>) -> Result<ClientTlsConfig, ConnectError> {
    let read = |what, path: &Path| {
        std::fs::read(path).map_err(|source| ConnectError::Certificates {
            what,
            path: path.to_owned(),
            source,
        })
    };
    let config = ClientTlsConfig::new();
    let config = match tls.ca_cert {
        Some(path) => config.ca_certificate(Certificate::from_pem(read("CA certificates", path)?)),
        None => config.with_native_roots(),
    };
    let Some((certificate, key)) = tls.client else { return Ok(config) };
    let certificate = read("the client's certificate", certificate)?;
    Ok(config.identity(Identity::from_pem(certificate, read("the client's key", key)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_that_make_no_sense_are_refused() {
        for good in ["127.0.0.1:1", "http://localhost:80", "grpc://[::1]:9000/"] {
            assert!(channel(good, None).is_ok(), "{good}");
        }
        for bad in ["", "localhost", "ftp://a:1", "http://", "a:1/path", "a b:1"] {
            assert!(matches!(channel(bad, None), Err(ConnectError::Address { .. })), "{bad}");
        }
        let missing = Some(Path::new("/there/is/none"));
        assert!(matches!(channel("https://a:1", missing), Err(ConnectError::Certificates { .. })));
    }
}
