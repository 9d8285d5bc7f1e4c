//! Where stores are put together.

use crate::{
    BlobStore,
    layers::{Patience, Retrying, Verified},
    remote::RemoteStore,
};
use runtime::{Clock, Entropy, connect::ConnectError};
use std::{path::Path, sync::Arc};

/// The store at `address` (`HOST:PORT`, `http://…` or `https://…` with the certificates to trust in `ca_cert`), which is
/// first spoken to when it is first used. Passing failures are tried again, every byte is verified.
pub fn connect(
    address: &str,
    ca_cert: Option<&Path>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> Result<Arc<dyn BlobStore>, ConnectError> {
    let channel = runtime::connect::channel(address, ca_cert)?;
    let remote = RemoteStore::with_entropy(channel, "", entropy.clone());
    Ok(Arc::new(Verified::new(Retrying::new(remote, Patience::default(), clock, entropy))))
}
