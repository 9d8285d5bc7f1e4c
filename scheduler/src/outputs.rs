//! Whether what shards left in the CAS is still there. Asks by digest, and never sees a blob.

use futures::StreamExt as _;
use proto::{
    Digest,
    v1::{self, pins_client::PinsClient},
};
use runtime::connect::{ConnectError, channel};
use std::{collections::BTreeSet, path::Path, time::Duration};
use tonic::{Code, transport::Channel};

/// Who waits for the answer has 20 s; what is not known to be there by then is run.
const PATIENCE: Duration = Duration::from_secs(8);

/// The CAS looks at so many closures at a time.
const CONCURRENCY: usize = 2;

/// Outputs that one call asks about.
const MOST: usize = 1000;

/// Outputs that were found are kept for this long: whoever hears of them comes to fetch them.
const KEPT_FOR: prost_types::Duration = prost_types::Duration { seconds: 300, nanos: 0 };

/// The CAS that has the outputs, if the scheduler was told of it.
#[derive(Clone, Debug)]
pub(crate) struct Outputs(Option<PinsClient<Channel>>);

impl Outputs {
    /// At this address, connected to when it is first asked.
    pub(crate) fn new(cas: Option<&str>, ca_cert: Option<&Path>) -> Result<Self, ConnectError> {
        let pins = cas.map(|cas| channel(cas, ca_cert).map(PinsClient::new)).transpose()?;
        Ok(Self(pins))
    }

    /// Those of `wanted`, `.isolated` manifests all, that the CAS has with everything in them. What it cannot say in
    /// time, or at all, is left out.
    pub(crate) async fn whole(&self, wanted: BTreeSet<Digest>) -> BTreeSet<Digest> {
        let mut whole = BTreeSet::new();
        let Some(pins) = &self.0 else { return whole };
        let asked = wanted.into_iter().take(MOST).map(|outputs| is_whole(pins.clone(), outputs));
        let mut found = futures::stream::iter(asked).buffer_unordered(CONCURRENCY);
        let collect = async {
            while let Some(outputs) = found.next().await {
                whole.extend(outputs);
            }
        };
        if tokio::time::timeout(PATIENCE, collect).await.is_err() {
            tracing::warn!("the CAS took too long over outputs: some idempotent shards run again");
        }
        whole
    }
}

/// A pin is granted for a closure that is whole, and holds it. Its name is that of the outputs: whoever comes second
/// lets it live on.
async fn is_whole(mut pins: PinsClient<Channel>, outputs: Digest) -> Option<Digest> {
    let request = v1::CreatePinRequest {
        name: format!("swarm-outputs-{}", outputs.hex()),
        root: Some(outputs.into()),
        kind: v1::PinKind::Isolated.into(),
        lifetime: Some(KEPT_FOR),
    };
    // Somebody else is at this very pin: the third time it is there.
    for _ in 0..3 {
        match pins.create_pin(request.clone()).await {
            Ok(_) => return Some(outputs),
            Err(status) if status.code() == Code::Aborted => tokio::task::yield_now().await,
            Err(status) => {
                tracing::info!(%outputs, reason = status.message(), "outputs cannot be reused");
                return None;
            }
        }
    }
    None
}
