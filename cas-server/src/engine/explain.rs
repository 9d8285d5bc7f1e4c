//! What the store knows about one blob, for people.

use super::{
    Ending, Engine, Pin,
    codec::{Encoding, Entry, Location},
    evict::disk_len,
    files::Files,
    key::Key,
    shared::Shared,
};
use cas::Result;
use proto::{Digest, DigestFunction, Timestamp};
use std::{
    path::PathBuf,
    sync::{Arc, PoisonError},
    time::UNIX_EPOCH,
};

/// Everything about a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Which one.
    pub digest: Digest,
    /// Whether it is there, and more.
    pub state: State,
    /// Pins that keep it.
    pub pins: Vec<Pin>,
    /// Blobs that are there whose hash has the same digits, under another function or size.
    pub similar: Vec<Digest>,
}

/// Whether a blob is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It is.
    Present {
        /// The file that it is in, relative to the data directory.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// Bytes that it takes.
        bytes_at_rest: u64,
        /// Whether they are compressed.
        compressed: bool,
        /// When the file was last written to: the blob has been in it since then, or for longer.
        since: Option<Timestamp>,
        /// Its last use that was written down.
        touched: Timestamp,
        /// It is not evicted before.
        leased_until: Timestamp,
    },
    /// It is not.
    Missing {
        /// What became of it, if that is known.
        ending: Option<Ending>,
        /// Endings are remembered since then.
        remembered_since: Timestamp,
    },
}

impl Engine {
    /// What is known about a blob. Not a use of it.
    pub async fn explain(&self, digest: Digest) -> Result<Explanation> {
        let shared = Arc::clone(&self.uploader().shared);
        self.uploader().shared.bounds.run(move || shared.explain(digest)).await
    }
}

impl Shared {
    /// Blocks.
    pub(super) fn explain(&self, digest: Digest) -> Result<Explanation> {
        {
            let _presence = self.presence.read().unwrap_or_else(PoisonError::into_inner);
            self.touches.flush(&self.index)?;
        }
        let key = Key::Blob(digest);
        let state = match self.index.get(&[key])?.pop().flatten() {
            Some(entry) => self.present(&key, entry),
            None => State::Missing { ending: self.endings.of(&key), remembered_since: self.endings.since },
        };
        let pinners = self.index.pinners(&key)?;
        let held = self.pins.list(self.clock.now()).into_iter();
        let pins = held.filter(|held| pinners.contains(&held.generation)).map(|held| held.pin).collect();
        let mut similar = Vec::new();
        for function in DigestFunction::ALL {
            if function.hash_len() == digest.hash().len() {
                similar.extend(self.index.find_hash(function, digest.hash())?);
            }
        }
        similar.retain(|found| *found != digest);
        Ok(Explanation { digest, state, pins, similar })
    }

    fn present(&self, key: &Key, Entry { content, location, touched }: Entry) -> State {
        let (path, file, offset) = match location {
            Location::Packed(at, _) => {
                let file = PathBuf::from(format!("segments/{:08x}", at.segment));
                (self.segments.path(at.segment), file, u64::from(at.offset))
            }
            Location::File(at, _) => {
                let file = PathBuf::from("large").join(Files::name(&content, at));
                (self.files.path(&content, at), file, 0)
            }
        };
        let modified = path.metadata().and_then(|data| data.modified()).ok();
        let since = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        State::Present {
            file,
            offset,
            bytes_at_rest: disk_len(key, &content, location),
            compressed: location.encoding() != Encoding::Plain,
            since: since.map(|since| Timestamp::from_micros(0) + since),
            touched,
            leased_until: touched + self.options.protection(),
        }
    }
}
