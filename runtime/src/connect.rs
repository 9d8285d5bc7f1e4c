//! Addresses of our servers, and channels to them.

mod failover;

pub use failover::Failover;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

/// Why a server cannot even be tried.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not an address.
    #[error("`{given}` is not a server address: write HOST:PORT, http://HOST:PORT or https://HOST:PORT")]
    Address {
        /// What was given.
        given: String,
    },
    /// The CA certificates cannot be read.
    #[error("cannot read CA certificates from {}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// TLS without certificates to trust.
    #[error("{address} speaks TLS: name the certificates to trust with --ca-cert FILE")]
    NoCertificates {
        /// The server.
        address: String,
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

/// A channel to a gRPC server that connects when it is first used and again when it was cut. The address is
/// `HOST:PORT`, `http://…`, `grpc://…`, or with TLS `https://…`, `grpcs://…` and `ca_cert` a PEM file.
pub fn channel(address: &str, ca_cert: Option<&Path>) -> Result<Channel, ConnectError> {
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
    let endpoint = if tls { endpoint.tls_config(tls_config(address, ca_cert)?) } else { Ok(endpoint) };
    let endpoint = endpoint.map_err(|source| ConnectError::Tls { address: address.to_owned(), source })?;
    Ok(endpoint.connect_lazy())
}

fn tls_config(address: &str, ca_cert: Option<&Path>) -> Result<ClientTlsConfig, ConnectError> {
    let path = ca_cert.ok_or_else(|| ConnectError::NoCertificates { address: address.to_owned() })?;
    let pem =
        std::fs::read(path).map_err(|source| ConnectError::Certificates { path: path.to_owned(), source })?;
    Ok(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)))
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
        assert!(matches!(channel("https://a:1", None), Err(ConnectError::NoCertificates { .. })));
    }
}
