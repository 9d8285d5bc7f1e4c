//! A store that no server has open: looked at and checked, never trimmed.

use super::{
    EngineOptions, Explanation, OpenError, directory,
    store::{Opened, prepare},
};
use cas::Result;
use proto::Digest;
use runtime::Clock;
use std::{io, path::Path, sync::Arc};

pub use super::scrub::ScrubReport;

/// A store that is open to no one else. Nothing is evicted or written but what opening and scrubbing take.
#[derive(Debug)]
pub struct Offline(Opened);

impl Offline {
    /// Opens the store in `dir`, which has to be one. Blocks.
    pub fn open(dir: &Path, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        if !directory::is_store(dir) {
            let source = io::Error::new(io::ErrorKind::NotFound, "it holds no store");
            return Err(OpenError::Io { path: dir.to_owned(), source });
        }
        // What the budget is has no bearing on what is there.
        let options = EngineOptions { max_bytes: u64::MAX, min_free: 0, ..EngineOptions::default() };
        prepare(dir, options, clock).map(Self)
    }

    /// What is known about a blob.
    pub fn explain(&self, digest: Digest) -> Result<Explanation> {
        self.0.shared.explain(digest)
    }

    /// Verifies everything at rest and drops what is damaged. `tell` is told of each.
    pub fn scrub(&self, tell: impl FnMut(&str)) -> Result<ScrubReport> {
        let report = self.0.shared.scrub(tell)?;
        self.0.shared.index.sync()?;
        Ok(report)
    }
}
