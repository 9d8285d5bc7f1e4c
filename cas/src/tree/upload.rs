//! What is missing goes up: one question, then only what the answer names.

use super::{Error, LastManifest, Source, Sources};
use crate::{
    BlobStore, ByteStream, Monitor, Progress,
    batches::{self, Split},
    blocking::{blocking, file_stream},
    patch,
};
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use proto::{Digest, limits};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    ops::AddAssign,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

/// Batches, and streams, in flight. Bounds the memory: a batch is at most [`limits::MAX_BATCH_BYTES`].
const IN_FLIGHT: usize = 4;

/// How often one large file is sent before the upload fails.
const STREAM_TRIES: u32 = 10;

/// What an upload came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uploaded {
    /// Blobs that were sent.
    pub uploaded_blobs: u64,
    /// Their bytes; of one that went as a patch, those of the patch.
    pub uploaded_bytes: u64,
    /// Blobs that the store had.
    pub present_blobs: u64,
    /// Their bytes.
    pub present_bytes: u64,
}

impl Uploaded {
    /// When of `digests` the store lacks `missing`, and gets them.
    pub(super) fn planned(digests: &[Digest], missing: &[Digest]) -> Self {
        let sum = |digests: &[Digest]| digests.iter().map(Digest::size).sum::<u64>();
        let (uploaded_blobs, uploaded_bytes) = (missing.len() as u64, sum(missing));
        Self {
            uploaded_blobs,
            uploaded_bytes,
            present_blobs: digests.len() as u64 - uploaded_blobs,
            present_bytes: sum(digests) - uploaded_bytes,
        }
    }
}

impl AddAssign for Uploaded {
    fn add_assign(&mut self, other: Self) {
        self.uploaded_blobs += other.uploaded_blobs;
        self.uploaded_bytes += other.uploaded_bytes;
        self.present_blobs += other.present_blobs;
        self.present_bytes += other.present_bytes;
    }
}

/// The store has taken these blobs.
pub(super) fn accepted(digests: &[Digest], monitor: &dyn Monitor) {
    let bytes = digests.iter().map(Digest::size).sum();
    monitor.progress(Progress::Uploaded { files: digests.len() as u64, bytes });
}

/// Sends what the store does not have. Exactly one `find_missing` when nothing is missing and nothing fails.
pub async fn upload(
    store: &dyn BlobStore,
    sources: &Sources,
    monitor: &dyn Monitor,
) -> Result<Uploaded, Error> {
    let digests: Vec<Digest> = sources.digests().collect();
    let missing = store.find_missing(&digests).await?;
    let mut uploaded = Uploaded::planned(&digests, &missing);
    monitor.progress(Progress::Present { files: uploaded.present_blobs, bytes: uploaded.present_bytes });
    let (manifests, missing): (Vec<Digest>, Vec<Digest>) =
        missing.into_iter().partition(|digest| sources.manifest(*digest).is_some());
    write_all(store, sources, missing, monitor).await?;
    uploaded.uploaded_bytes -= write_manifests(store, sources, manifests, monitor).await?;
    Ok(uploaded)
}

/// Small ones in batches, large ones as streams.
async fn write_all(
    store: &dyn BlobStore,
    sources: &Sources,
    digests: Vec<Digest>,
    monitor: &dyn Monitor,
) -> Result<(), Error> {
    let Split { batches, large } = batches::split(digests, |digest| *digest);
    let batches = stream::iter(batches).map(|(_, batch)| write_batch(store, sources, batch, monitor));
    batches.buffer_unordered(IN_FLIGHT).try_collect::<()>().await?;
    let large = stream::iter(large).map(|digest| write_large(store, sources, digest, monitor));
    large.buffer_unordered(IN_FLIGHT).try_collect::<()>().await
}

/// Sends manifests, as patches where that can be, and keeps the last one of each root for the next. How many bytes were spared.
async fn write_manifests(
    store: &dyn BlobStore,
    sources: &Sources,
    manifests: Vec<Digest>,
    monitor: &dyn Monitor,
) -> Result<u64, Error> {
    let (mut spared, mut whole, mut refused) = (0, Vec::new(), false);
    // One after the other: each may be in memory with the one before it.
    for digest in manifests {
        let Some((manifest, last)) = sources.manifest(digest).filter(|_| !refused) else {
            whole.push(digest);
            continue;
        };
        match write_patched(store, &last, digest, &manifest).await? {
            Patched::Sent(sent) => {
                accepted(&[digest], monitor);
                keep(last, digest, manifest).await;
                spared += digest.size() - sent;
            }
            Patched::NoBase => whole.push(digest),
            Patched::Refused => {
                whole.push(digest);
                refused = true;
            }
        }
    }
    let last = whole.iter().filter_map(|digest| sources.manifest(*digest).map(|(_, last)| (last, *digest)));
    let kept: BTreeMap<LastManifest, Digest> = last.collect();
    let keeping = async {
        for (last, digest) in kept {
            if let Some((manifest, _)) = sources.manifest(digest) {
                keep(last, digest, manifest).await;
            }
        }
    };
    // Kept while they go up: if they do not get there, the next ones find no base.
    futures::join!(write_all(store, sources, whole, monitor), keeping).0?;
    Ok(spared)
}

/// What became of the attempt to send a manifest as a patch.
enum Patched {
    /// It is there. So many bytes were sent.
    Sent(u64),
    /// There is none to make it of, as far as is known.
    NoBase,
    /// The store takes no patches, or cannot be asked.
    Refused,
}

/// Sends what makes a manifest of the last one.
async fn write_patched(
    store: &dyn BlobStore,
    last: &LastManifest,
    digest: Digest,
    manifest: &Bytes,
) -> Result<Patched, Error> {
    let (last, manifest) = (last.clone(), manifest.clone());
    let compare = move || {
        let made = last.read().filter(|(base, _)| *base != digest);
        Ok::<_, Error>(made.and_then(|(base, old)| Some((base, patch::make(&old, &manifest)?))))
    };
    let Some((base, patch)) = blocking(compare).await? else { return Ok(Patched::NoBase) };
    let sent = patch.len() as u64;
    let Err(error) = store.write_patch(base, digest, patch).await else { return Ok(Patched::Sent(sent)) };
    tracing::debug!(%digest, %base, %error, "the manifest does not go up as a patch");
    Ok(if matches!(error, crate::Error::NotFound { .. }) { Patched::NoBase } else { Patched::Refused })
}

/// Without it the next manifest goes up whole.
async fn keep(last: LastManifest, digest: Digest, manifest: Bytes) {
    if let Err(error) = blocking(move || last.save(digest, &manifest)).await {
        tracing::warn!(%error, "cannot keep the manifest for the next one");
    }
}

fn source(sources: &Sources, digest: Digest) -> Result<&Source, Error> {
    let unknown =
        || crate::Error::Internal { reason: format!("the store asks for {digest}, which is not ours") };
    Ok(sources.get(digest).ok_or_else(unknown)?)
}

async fn write_batch(
    store: &dyn BlobStore,
    sources: &Sources,
    digests: Vec<Digest>,
    monitor: &dyn Monitor,
) -> Result<(), Error> {
    let found = digests.iter().map(|digest| Ok((*digest, source(sources, *digest)?.clone())));
    let found: Vec<(Digest, Source)> = found.collect::<Result<_, Error>>()?;
    let load = move || {
        let blobs = found.into_iter().map(|(digest, source)| Ok((digest, load(digest, source)?)));
        blobs.collect::<Result<Vec<(Digest, Bytes)>, Error>>()
    };
    let blobs = blocking(load).await?;
    let outcomes = store.write_batch(blobs).await?;
    for (digest, outcome) in digests.iter().zip(outcomes) {
        if let Err(error) = outcome {
            return Err(refused(sources, *digest, error).await);
        }
    }
    accepted(&digests, monitor);
    Ok(())
}

/// A whole small file. One that is longer or shorter than it was is not read to its end.
fn load(digest: Digest, source: Source) -> Result<Bytes, Error> {
    let path = match source {
        Source::Bytes(bytes) => return Ok(bytes),
        Source::File { root, path } => root.join(path.as_path()),
    };
    let file = open(&path, digest)?;
    let mut bytes = Vec::with_capacity(usize::try_from(digest.size()).unwrap_or(0));
    file.take(digest.size()).read_to_end(&mut bytes).map_err(|error| Error::io(&path, error))?;
    if bytes.len() as u64 != digest.size() {
        return Err(Error::Changed { path });
    }
    Ok(bytes.into())
}

fn open(path: &Path, digest: Digest) -> Result<File, Error> {
    let changed = || Error::Changed { path: path.to_owned() };
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(changed()),
        opened => opened.map_err(|error| Error::io(path, error))?,
    };
    let metadata = file.metadata().map_err(|error| Error::io(path, error))?;
    if metadata.len() == digest.size() && metadata.is_file() { Ok(file) } else { Err(changed()) }
}

/// A large blob. When the connection breaks, what did not arrive is sent again. In between the store is asked whether the
/// blob arrived after all: a store that retries waits there until the other side is back.
async fn write_large(
    store: &dyn BlobStore,
    sources: &Sources,
    digest: Digest,
    monitor: &dyn Monitor,
) -> Result<(), Error> {
    let source = source(sources, digest)?;
    let reached = AtomicU64::new(0);
    let reopen = |offset| {
        reached.fetch_max(offset, Ordering::Relaxed);
        open_at(source.clone(), digest, offset).boxed()
    };
    let (mut tries, mut before) = (1, 0);
    loop {
        let outcome = store.write_from(digest, &reopen).await;
        let reached = reached.load(Ordering::Relaxed);
        if reached > before {
            // It comes forward: it may take as many more tries.
            (tries, before) = (1, reached);
        }
        match outcome {
            Ok(()) => break,
            Err(error) if error.is_transient() && tries < STREAM_TRIES => {
                tracing::debug!(%digest, %error, tries, "upload broke off");
                tries += 1;
                if store.find_missing(&[digest]).await?.is_empty() {
                    break;
                }
            }
            Err(error) => return Err(refused(sources, digest, error).await),
        }
    }
    accepted(&[digest], monitor);
    Ok(())
}

/// The bytes of a blob from an offset on. A file that is not as long as it was counts as one that ends too early.
async fn open_at(source: Source, digest: Digest, offset: u64) -> crate::Result<ByteStream> {
    let path = match source {
        Source::Bytes(bytes) => {
            let rest = bytes.slice(usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len())..);
            return Ok(stream::iter([Ok(rest)]).boxed());
        }
        Source::File { root, path } => root.join(path.as_path()),
    };
    let opened = path.clone();
    let open = move || match open(&opened, digest) {
        Ok(mut file) => {
            file.seek(SeekFrom::Start(offset)).map_err(|error| crate::Error::io(&opened, error))?;
            Ok(file)
        }
        Err(Error::Store(error)) => Err(error),
        Err(_) => Err(crate::Error::io(&opened, io::ErrorKind::UnexpectedEof.into())),
    };
    let file = blocking(open).await?;
    Ok(file_stream(path, file, digest.size().saturating_sub(offset)))
}

/// When the store refuses a blob, its file may have changed since it was hashed: the error should name it.
async fn refused(sources: &Sources, digest: Digest, error: crate::Error) -> Error {
    let suspicious = match &error {
        crate::Error::Mismatch { .. } | crate::Error::Invalid { .. } => true,
        crate::Error::Io { source, .. } => source.kind() == std::io::ErrorKind::UnexpectedEof,
        _ => false,
    };
    let Some(Source::File { root, path }) = sources.get(digest).filter(|_| suspicious) else {
        return error.into();
    };
    let path = root.join(path.as_path());
    let is_same = {
        let path = path.clone();
        blocking(move || Ok::<_, crate::Error>(is_same(&path, digest).unwrap_or(false))).await
    };
    match is_same {
        Ok(false) => Error::Changed { path },
        _ => error.into(),
    }
}

fn is_same(path: &Path, digest: Digest) -> std::io::Result<bool> {
    let mut file = File::open(path)?;
    let mut hasher = digest.function().hasher();
    let mut buffer = vec![0; limits::STREAM_CHUNK];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish() == digest),
            count => hasher.update(&buffer[..count]),
        }
    }
}
