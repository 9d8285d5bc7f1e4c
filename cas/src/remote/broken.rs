//! Names of uploads that broke off, by which the server knows what came of them.

use proto::Digest;
use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};
use uuid::Uuid;

/// Names that are remembered. Beyond that the oldest is forgotten, and that upload starts over.
const MOST: usize = 1024;

/// The names, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Broken(Mutex<VecDeque<(Digest, Uuid)>>);

impl Broken {
    /// The name of an upload of this blob that broke off, for one who goes on with it.
    pub(super) fn take(&self, digest: Digest) -> Option<Uuid> {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = names.iter().position(|(known, _)| *known == digest)?;
        names.remove(at).map(|(_, upload)| upload)
    }

    /// This one broke off.
    pub(super) fn keep(&self, digest: Digest, upload: Uuid) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() == MOST {
            names.pop_front();
        }
        names.push_back((digest, upload));
    }
}
