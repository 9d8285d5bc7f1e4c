//! What shards left in the CAS: their reports, and on demand all of it as directories.

mod whole;

pub use whole::whole;

use crate::{
    failure::Usage,
    model::{Run, Shard},
    report::{ReportFile, ShardReports, parse},
};
use anyhow::Context as _;
use cas::{
    BlobStore, BlobStoreExt as _,
    disk::{DiskCache, DiskCacheOptions},
    isolated::{Entry, Isolated, ReadOnly},
    tree,
};
use futures::{StreamExt as _, TryStreamExt as _};
use proto::{Digest, RelPath, ShardId};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// At most so many shards are looked at at once.
const CONCURRENCY: usize = 8;

/// Larger manifests and reports are told about and left alone.
const MAX_MANIFEST: u64 = 64 * 1024 * 1024;
const MAX_REPORT: u64 = 64 * 1024 * 1024;

/// Most bytes of reports that are read of one shard.
const MAX_REPORTS: u64 = 256 * 1024 * 1024;

/// Reads the reports of all shards that left something, unless the scheduler has kept account of their tests. What cannot be read is part of the answer.
pub async fn reports(store: &dyn BlobStore, run: &Run) -> BTreeMap<ShardId, ShardReports> {
    let gone = OnceLock::new();
    let shards = run.shards.iter().filter(|shard| run.tests_policy(shard.id.step).is_none());
    let read = futures::stream::iter(shards).map(|shard| {
        let gone = &gone;
        async move { (shard.id, shard_reports(store, shard, gone).await) }
    });
    let mut reports = read.buffer_unordered(CONCURRENCY).collect().await;
    drop_repeated(run, &mut reports);
    reports
}

/// What a step says of tests was said before when a step whose outputs it merges says something of tests.
fn drop_repeated(run: &Run, reports: &mut BTreeMap<ShardId, ShardReports>) {
    let told = |step: u32, reports: &BTreeMap<ShardId, ShardReports>| {
        let mut shards = run.shards_of(step).iter().filter_map(|shard| reports.get(&shard.id));
        run.tests_policy(step).is_some() || shards.any(|reports| !reports.files.is_empty())
    };
    let mut tells = BTreeSet::new();
    for (number, step) in (0u32..).zip(&run.spec.steps) {
        if step.merges(&tells) {
            tells.insert(number);
            for shard in run.shards_of(number) {
                reports.insert(shard.id, ShardReports::default());
            }
        } else if told(number, reports) {
            tells.insert(number);
        }
    }
}

/// A store that could not be reached for one shard is not asked about the others: `gone` says why.
async fn shard_reports(store: &dyn BlobStore, shard: &Shard, gone: &OnceLock<String>) -> ShardReports {
    let mut reports = ShardReports::default();
    let Some(manifest) = shard.result().and_then(|result| result.outputs) else { return reports };
    if let Some(reason) = gone.get() {
        reports.unreadable.push(reason.clone());
        return reports;
    }
    if let Err(error) = read_reports(store, manifest, &mut reports).await {
        let reason = error.to_string();
        if matches!(&error, ReadError::Store(error) if error.is_transient()) {
            // Another shard may have said so first.
            let _ = gone.set(reason.clone());
        }
        reports.unreadable.push(reason);
    }
    reports
}

/// Why outputs cannot be read at all.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Store(#[from] cas::Error),
    #[error("their manifest {manifest} is refused: {source}")]
    Manifest { manifest: Digest, source: cas::isolated::IsolatedError },
    #[error("their manifest has {size} bytes")]
    TooLarge { size: u64 },
}

async fn read_reports(
    store: &dyn BlobStore,
    manifest: Digest,
    reports: &mut ShardReports,
) -> Result<(), ReadError> {
    let isolated = read_manifest(store, manifest).await?;
    let mut seen = BTreeSet::new();
    // Each content once.
    let wanted = |path: &RelPath, digest| has_ending(path, "xml") && seen.insert(digest);
    let found = candidates(&isolated, wanted, &mut reports.unreadable);
    for (path, bytes) in read_all(store, found).await? {
        take(path, bytes, reports);
    }
    reports.files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(())
}

/// The files with one of these endings that a shard left, in order of their paths. All of them or none.
pub async fn files(
    store: &dyn BlobStore,
    shard: &Shard,
    endings: &[&str],
) -> anyhow::Result<Vec<(RelPath, bytes::Bytes)>> {
    let Some(manifest) = shard.result().and_then(|result| result.outputs) else { return Ok(Vec::new()) };
    let isolated = read_manifest(store, manifest).await?;
    let mut left_out = Vec::new();
    let wanted = |path: &RelPath, _| endings.iter().any(|ending| has_ending(path, ending));
    let found = candidates(&isolated, wanted, &mut left_out);
    if let Some(reason) = left_out.into_iter().next() {
        anyhow::bail!(reason);
    }
    let read = read_all(store, found).await?.into_iter().map(|(path, bytes)| Ok((path, bytes?)));
    let mut files = read.collect::<cas::Result<Vec<_>>>()?;
    files.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(files)
}

async fn read_manifest(store: &dyn BlobStore, manifest: Digest) -> Result<Isolated, ReadError> {
    if manifest.size() > MAX_MANIFEST {
        return Err(ReadError::TooLarge { size: manifest.size() });
    }
    let bytes = store.get(manifest).await?;
    Isolated::parse(&bytes).map_err(|source| ReadError::Manifest { manifest, source })
}

async fn read_all(
    store: &dyn BlobStore,
    files: Vec<(RelPath, Digest)>,
) -> cas::Result<Vec<(RelPath, cas::Result<bytes::Bytes>)>> {
    let (small, large): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|(_, digest)| digest.size() <= proto::limits::MAX_BATCH_BYTES);
    let digests: Vec<Digest> = small.iter().map(|(_, digest)| *digest).collect();
    let bytes = store.read_batch(&digests).await?;
    let mut read: Vec<_> = small.into_iter().map(|(path, _)| path).zip(bytes).collect();
    for (path, digest) in large {
        read.push((path, store.get(digest).await));
    }
    Ok(read)
}

fn has_ending(path: &RelPath, ending: &str) -> bool {
    path.as_str().to_ascii_lowercase().ends_with(&format!(".{ending}"))
}

fn take(path: RelPath, bytes: cas::Result<bytes::Bytes>, reports: &mut ShardReports) {
    match bytes {
        Ok(bytes) => reports.files.extend(parse(&bytes).map(|parsed| ReportFile { path, parsed })),
        Err(error) => reports.unreadable.push(format!("{path}: {error}")),
    }
}

/// Files that are wanted, of those that are not empty. Says which of them are more than are read.
fn candidates(
    isolated: &Isolated,
    mut wanted: impl FnMut(&RelPath, Digest) -> bool,
    unreadable: &mut Vec<String>,
) -> Vec<(RelPath, Digest)> {
    let mut total = 0;
    let mut candidates = Vec::new();
    for (path, entry) in &isolated.files {
        let Entry::File { digest, .. } = entry else { continue };
        if digest.is_empty() || !wanted(path, *digest) {
            continue;
        }
        if digest.size() > MAX_REPORT || total + digest.size() > MAX_REPORTS {
            unreadable.push(format!("{path}: {} bytes are more than are read", digest.size()));
            continue;
        }
        total += digest.size();
        candidates.push((path.clone(), *digest));
    }
    candidates
}

/// Lays out what every shard left in a directory of its own below `target`, but for what later steps have taken up, and gathers the logs of tests that were shared
/// out in one for each step. Returns how many there are.
pub async fn download(store: &dyn BlobStore, run: &Run, target: &Path) -> anyhow::Result<u64> {
    let failed = || format!("cannot write to {}", target.display());
    std::fs::create_dir_all(target).with_context(failed)?;
    // Beside the outputs, so that they can share its blocks.
    let scratch = tempfile::Builder::new().prefix(".isoswarm-").tempdir_in(target).with_context(failed)?;
    let cache = DiskCache::open(
        scratch.path(),
        DiskCacheOptions { max_bytes: 1 << 50, min_free: 0, ..DiskCacheOptions::default() },
    )?;
    let names = directory_names(run);
    let all = results(run).filter_map(|shard| {
        let outputs = shard.result()?.outputs?;
        Some((target.join(names.get(&shard.id)?), outputs, shard.id))
    });
    let logs: Vec<_> = run.shards.iter().filter_map(|shard| logs_of(run, shard.id, &names, target)).collect();
    let done = futures::stream::iter(all)
        .map(|(directory, outputs, id)| {
            let cache = cache.clone();
            async move {
                lay_out(store, cache, outputs, &directory)
                    .await
                    .with_context(|| format!("cannot download the outputs of shard {id}"))
            }
        })
        .buffer_unordered(CONCURRENCY);
    let laid_out = done.try_fold(0, async |n, ()| Ok(n + 1)).await?;
    tokio::task::spawn_blocking(move || logs.iter().try_for_each(Logs::gather))
        .await?
        .with_context(failed)?;
    Ok(laid_out)
}

/// The shards whose outputs are results: what a later step has made something of is not.
fn results(run: &Run) -> impl Iterator<Item = &Shard> {
    run.shards.iter().filter(|shard| {
        // Whatever becomes of the outputs of workers, the logs of their tests are wanted.
        !run.is_taken_up(shard.id.step) || run.tests_policy(shard.id.step).is_some()
    })
}

/// Where the outputs of workers have the logs of tests, one file each.
const TEST_LOGS: &str = "test-logs";

/// The logs of the tests that one worker ran, and where those of all are gathered.
struct Logs {
    from: PathBuf,
    to: PathBuf,
    /// Of the worker.
    index: u32,
}

fn logs_of(run: &Run, id: ShardId, names: &BTreeMap<ShardId, String>, target: &Path) -> Option<Logs> {
    let name = names.get(&id)?;
    let (from, to) = (target.join(name).join(TEST_LOGS), target.join(logs_directory(run, id, name)?));
    Some(Logs { from, to, index: id.index })
}

/// Where the logs of all workers of a step are gathered, by the name of one of them. `None`: its tests are not shared out.
fn logs_directory(run: &Run, id: ShardId, name: &str) -> Option<String> {
    run.tests_policy(id.step)?;
    Some(format!("{}-{TEST_LOGS}", name.strip_suffix(&format!("-{}", id.index))?))
}

impl Logs {
    /// A test that several workers have run has the worker's number after its name in all but the first.
    fn gather(&self) -> io::Result<()> {
        let mut directories = vec![PathBuf::new()];
        while let Some(below) = directories.pop() {
            let entries = match std::fs::read_dir(self.from.join(&below)) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error),
            };
            std::fs::create_dir_all(self.to.join(&below))?;
            for entry in entries {
                let entry = entry?;
                let path = below.join(entry.file_name());
                if entry.file_type()?.is_dir() {
                    directories.push(path);
                    continue;
                }
                let mut to = self.to.join(&path);
                if to.symlink_metadata().is_ok() {
                    to.as_mut_os_string().push(format!(".{}", self.index));
                }
                std::fs::rename(entry.path(), to)?;
            }
        }
        std::fs::remove_dir_all(&self.from)
    }
}

async fn lay_out(
    store: &dyn BlobStore,
    cache: DiskCache,
    outputs: Digest,
    target: &Path,
) -> anyhow::Result<()> {
    match std::fs::create_dir(target) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(
                Usage(format!("{} is there already: name another directory", target.display())).into()
            );
        }
        Err(error) => return Err(error).with_context(|| format!("cannot make {}", target.display())),
    }
    let filled = fill(store, cache, outputs, target).await;
    if filled.is_err() {
        // A half would be in the way of the next try. What cannot be removed is worth less than why it came about.
        let _ = std::fs::remove_dir_all(target);
    }
    filled
}

async fn fill(store: &dyn BlobStore, cache: DiskCache, outputs: Digest, target: &Path) -> anyhow::Result<()> {
    let mut fetched = tree::fetch(store, &cache, outputs, &cas::Silent).await?;
    // Inputs are protected from the task; outputs belong to whoever asked for them.
    fetched.isolated.read_only = ReadOnly::Writable;
    let target = target.to_owned();
    tokio::task::spawn_blocking(move || tree::materialize(&fetched, &cache, &target)).await??;
    Ok(())
}

/// `STEP-INDEX` for each shard, whatever the steps are called; `STEP-BOT` for those of each bot.
fn directory_names(run: &Run) -> BTreeMap<ShardId, String> {
    let end =
        |shard: &Shard| shard.bot.as_ref().map_or_else(|| shard.id.index.to_string(), ToString::to_string);
    let names = names_with(run, end);
    if names.values().collect::<BTreeSet<_>>().len() == names.len() {
        return names;
    }
    // A bot is called like the end of another step's name.
    names_with(run, |shard| shard.id.index.to_string())
}

fn names_with(run: &Run, end: impl Fn(&Shard) -> String) -> BTreeMap<ShardId, String> {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
    let step = |id: ShardId| {
        run.step_name(id).trim_start_matches('.').chars().map(plain).take(100).collect::<String>()
    };
    let mut steps: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    for shard in &run.shards {
        steps.entry(step(shard.id)).or_default().insert(shard.id.step);
    }
    let name = |shard: &Shard| {
        let (step, end) = (step(shard.id), end(shard));
        match steps.get(&step) {
            Some(same) if same.len() > 1 || step.is_empty() => format!("{step}-{}-{end}", shard.id.step),
            _ => format!("{step}-{end}"),
        }
    };
    run.shards.iter().map(|shard| (shard.id, name(shard))).collect()
}

#[cfg(test)]
mod tests;
