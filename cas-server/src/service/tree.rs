//! Directories below a root, as the Remote Execution API keeps them: one message each, children by digest.

use super::digest::Named;
use cas::{BlobStore, Error, status::to_status};
use futures::{Stream, stream};
use prost::Message as _;
use proto::{Digest, limits, reapi};
use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};
use tonic::Status;

/// Most levels below each other. Hashes make no cycles, but chains of any length.
const MAX_DEPTH: usize = 1024;

/// Most different directories in one walk.
const MAX_DIRECTORIES: usize = 200_000;

/// Most bytes of directories in one walk.
const MAX_BYTES: u64 = 1 << 30;

/// Bytes of directories that one step reads, and of a page.
const STEP_BYTES: u64 = 2 << 20;

/// Why a walk ends early.
#[derive(Debug, thiserror::Error)]
pub(super) enum WalkError {
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] Error),
    /// A blob that should be a directory is none.
    #[error("{digest} is no Directory: {reason}")]
    Malformed { digest: Digest, reason: String },
    /// More than is walked in one call.
    #[error("the tree has more than {limit}")]
    TooLarge { limit: String },
}

impl From<WalkError> for Status {
    fn from(error: WalkError) -> Self {
        match error {
            WalkError::Store(error) => to_status(&error),
            WalkError::Malformed { .. } => Status::invalid_argument(error.to_string()),
            WalkError::TooLarge { .. } => Status::resource_exhausted(error.to_string()),
        }
    }
}

/// Goes through all directories below roots, each once, parents before their children.
#[derive(Debug)]
pub(super) struct Walk {
    named: Named,
    level: VecDeque<Digest>,
    below: VecDeque<Digest>,
    depth: usize,
    seen: HashSet<Digest>,
    bytes: u64,
}

impl Walk {
    /// That begins at `root`, whose children are of the same function.
    pub(super) fn new(root: Digest) -> Self {
        let mut walk = Self {
            named: Named::of(root.function()),
            level: VecDeque::new(),
            below: VecDeque::new(),
            depth: 0,
            seen: HashSet::new(),
            bytes: 0,
        };
        walk.add(root);
        walk
    }

    /// One more root.
    pub(super) fn add(&mut self, root: Digest) {
        if self.seen.insert(root) {
            self.level.push_back(root);
        }
    }

    /// The next directories, `None` for each that the store does not have. An empty list: there are no more.
    pub(super) async fn step(
        &mut self,
        store: &dyn BlobStore,
    ) -> Result<Vec<Option<reapi::Directory>>, WalkError> {
        let digests = self.take()?;
        let blobs = store.read_batch(&digests).await?;
        let mut visited = Vec::with_capacity(digests.len());
        for (digest, blob) in digests.into_iter().zip(blobs) {
            let directory = match blob {
                Ok(bytes) => Some(self.parse(digest, &bytes)?),
                Err(Error::NotFound { .. }) => None,
                Err(error) => return Err(error.into()),
            };
            visited.push(directory);
        }
        Ok(visited)
    }

    /// What one step reads.
    fn take(&mut self) -> Result<Vec<Digest>, WalkError> {
        if self.level.is_empty() {
            std::mem::swap(&mut self.level, &mut self.below);
            self.depth += 1;
        }
        if self.depth > MAX_DEPTH {
            return Err(WalkError::TooLarge { limit: format!("{MAX_DEPTH} levels") });
        }
        let (mut digests, mut bytes) = (Vec::new(), 0);
        while let Some(digest) = self.level.front() {
            if digest.size() > limits::MAX_BATCH_BYTES {
                let reason = format!("it is larger than {} bytes", limits::MAX_BATCH_BYTES);
                return Err(WalkError::Malformed { digest: *digest, reason });
            }
            bytes += digest.size();
            if !digests.is_empty() && (bytes > STEP_BYTES || digests.len() == limits::MAX_BATCH_BLOBS) {
                break;
            }
            self.bytes += digest.size();
            digests.extend(self.level.pop_front());
        }
        if self.bytes > MAX_BYTES {
            return Err(WalkError::TooLarge { limit: format!("{MAX_BYTES} bytes of directories") });
        }
        Ok(digests)
    }

    fn parse(&mut self, digest: Digest, bytes: &[u8]) -> Result<reapi::Directory, WalkError> {
        let malformed = |reason: String| WalkError::Malformed { digest, reason };
        let directory = reapi::Directory::decode(bytes).map_err(|error| malformed(error.to_string()))?;
        for node in &directory.directories {
            let child =
                self.named.required(node.digest.as_ref()).map_err(|error| malformed(error.to_string()))?;
            if self.seen.insert(child) {
                self.below.push_back(child);
            }
        }
        if self.seen.len() > MAX_DIRECTORIES {
            return Err(WalkError::TooLarge { limit: format!("{MAX_DIRECTORIES} directories") });
        }
        Ok(directory)
    }
}

/// The pages of one `GetTree`.
#[derive(Debug)]
struct Pages {
    store: Arc<dyn BlobStore>,
    walk: Walk,
    /// Directories that are still to be left out: they were on pages before.
    skip: usize,
    /// Directories on all pages so far, and on those that were left out.
    passed: usize,
    most: usize,
    ready: VecDeque<reapi::Directory>,
    ended: bool,
}

/// Answers a `GetTree`. A page token is the number of directories on the pages before: the walk over unchanged blobs
/// always takes the same way.
pub(super) async fn pages(
    store: Arc<dyn BlobStore>,
    request: &reapi::GetTreeRequest,
) -> Result<impl Stream<Item = Result<reapi::GetTreeResponse, Status>> + use<>, Status> {
    let invalid = |reason: String| Status::invalid_argument(reason);
    let named = Named::parse(request.digest_function).map_err(|error| invalid(error.to_string()))?;
    let root = named.required(request.root_digest.as_ref()).map_err(|error| invalid(error.to_string()))?;
    let negative = |_| invalid("page_size is negative".into());
    let most = usize::try_from(request.page_size).map_err(negative)?;
    let skip = match request.page_token.as_str() {
        "" => 0,
        token => token.parse().map_err(|_| invalid(format!("`{token}` is not a page token")))?,
    };
    let most = if most == 0 { usize::MAX } else { most };
    let walk = Walk::new(root);
    let mut pages = Pages { store, walk, skip, passed: 0, most, ready: VecDeque::new(), ended: false };
    // A root that is missing is an error of the call, and not of the stream.
    let first = pages.walk.step(&*pages.store).await?;
    if first.iter().any(Option::is_none) {
        return Err(to_status(&Error::NotFound { digest: root }));
    }
    pages.take(first);
    Ok(stream::try_unfold(Some(pages), |pages| async move {
        let Some(mut pages) = pages else { return Ok(None) };
        let page = pages.next().await?;
        let more = !page.next_page_token.is_empty();
        Ok(Some((page, more.then_some(pages))))
    }))
}

impl Pages {
    fn take(&mut self, visited: Vec<Option<reapi::Directory>>) {
        self.ended = visited.is_empty();
        for directory in visited.into_iter().flatten() {
            if self.skip > 0 {
                self.skip -= 1;
                self.passed += 1;
            } else {
                self.ready.push_back(directory);
            }
        }
    }

    /// One page; the last one has no token.
    async fn next(&mut self) -> Result<reapi::GetTreeResponse, WalkError> {
        let mut page = reapi::GetTreeResponse::default();
        let mut bytes = 0;
        loop {
            // One directory more than fits tells that there is another page.
            while self.ready.is_empty() && !self.ended {
                let visited = self.walk.step(&*self.store).await?;
                self.take(visited);
            }
            let Some(directory) = self.ready.front() else { return Ok(page) };
            bytes += directory.encoded_len() as u64 + 8;
            let full = page.directories.len() == self.most || bytes > STEP_BYTES;
            if full && !page.directories.is_empty() {
                page.next_page_token = self.passed.to_string();
                return Ok(page);
            }
            page.directories.extend(self.ready.pop_front());
            self.passed += 1;
        }
    }
}
