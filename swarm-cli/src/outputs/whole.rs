//! All that shards left as one tree, by one digest.

use super::{CONCURRENCY, TEST_LOGS, directory_names, logs_directory, read_manifest, results};
use crate::model::Run;
use anyhow::Context as _;
use cas::{BlobStore, BlobStoreExt as _, isolated::Isolated};
use futures::{StreamExt as _, TryStreamExt as _};
use proto::{Digest, RelPath};

/// Puts a manifest into the store of what [`download`](super::download) lays out, and in the same places: `STEP-INDEX/…` for each
/// shard, `STEP-test-logs/…` for the logs of tests that were shared out. `None`: nobody has left anything.
pub async fn whole(store: &dyn BlobStore, run: &Run) -> anyhow::Result<Option<Digest>> {
    let all: Vec<_> = results(run).filter_map(|shard| Some((shard.id, shard.result()?.outputs?))).collect();
    let Some((_, first)) = all.first() else { return Ok(None) };
    let mut tree = Isolated::new(first.function());
    let read = futures::stream::iter(&all).map(|(id, outputs)| async move {
        let read = read_manifest(store, *outputs).await;
        read.map(|isolated| (*id, isolated)).with_context(|| format!("cannot read the outputs of shard {id}"))
    });
    let names = directory_names(run);
    let mut read = read.buffered(CONCURRENCY);
    while let Some((id, isolated)) = read.try_next().await? {
        let Some(name) = names.get(&id) else { continue };
        if isolated.function != tree.function {
            let (one, other) = (isolated.function.name(), tree.function.name());
            anyhow::bail!("shards have named their outputs by {one} and by {other}");
        }
        let logs = logs_directory(run, id, name);
        for (path, entry) in isolated.files {
            let log = path.as_str().strip_prefix(TEST_LOGS).and_then(|rest| rest.strip_prefix('/'));
            let place = match logs.as_ref().zip(log) {
                Some((logs, rest)) => format!("{logs}/{rest}"),
                None => format!("{name}/{path}"),
            };
            let mut place = RelPath::new(&place).with_context(|| format!("{path} of shard {id}"))?;
            if tree.files.contains_key(&place) {
                place = RelPath::new(&format!("{place}.{}", id.index))?;
            }
            tree.files.insert(place, entry);
        }
    }
    Ok(Some(store.put(tree.function, tree.to_bytes().into()).await?))
}
