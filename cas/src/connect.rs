//! Where stores are put together.

use crate::{
    BlobStore,
    layers::{Patience, Retrying, Verified},
    remote::{Header, Headers, RemoteStore},
};
use runtime::{
    Clock, Entropy,
    connect::{ConnectError, Tls},
};
use std::{path::Path, sync::Arc};

/// Where a store is, and how it wants to be spoken to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Address<'a> {
    /// `HOST:PORT`, `http://…`, `grpc://…`, or with TLS `https://…`, `grpcs://…`.
    pub server: &'a str,
    /// What is trusted and shown where TLS is spoken.
    pub tls: Tls<'a>,
    /// Which of a server's stores, mostly the empty name.
    pub instance: &'a str,
    /// What it wants with each call.
    pub headers: &'a [Header],
}

impl<'a> Address<'a> {
    /// Of a server with one store, which does not ask who calls.
    pub fn open(server: &'a str, ca_cert: Option<&'a Path>) -> Self {
        Self { server, tls: Tls { ca_cert, client: None }, ..Self::default() }
    }
}

/// The store at an address, which is first spoken to when it is first used. Passing failures are tried again, every byte is
/// verified.
pub fn connect(
    address: Address<'_>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> Result<Arc<dyn BlobStore>, ConnectError> {
    let Address { server, tls, instance, headers } = address;
    let channel = runtime::connect::secured(server, tls)?;
    let remote = RemoteStore::with_headers(channel, instance, Headers::new(headers), entropy.clone());
    Ok(Arc::new(Verified::new(Retrying::new(remote, Patience::default(), clock, entropy))))
}
