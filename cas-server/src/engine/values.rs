//! Values: bytes under a name, that can be replaced and deleted. They share the blobs' log, index, budget and clock.
//!
//! A value at rest is a record of its own kind with the name's key and the BLAKE3 digest of the bytes: small ones are
//! packed, large ones have a file like large blobs. The last record of a name counts. Where a replacement was not
//! acknowledged yet, a death leaves the old value or the new one, whole.

use super::{
    Engine,
    blocking::held,
    codec::{Entry, Location},
    key::{Key, ValueKey, ValueName},
    record::{Form, Header},
    segments::ReadError,
    shared::Shared,
    staging::Staging,
    upload::Uploader,
    writer::Item,
};
use bytes::Bytes;
use cas::{Error, Result};
use proto::DigestFunction;
use std::sync::Arc;

/// No value is larger.
pub const MAX_VALUE_BYTES: u64 = 64 << 20;

/// How often a value may be replaced while it is read.
const ATTEMPTS: usize = 16;

impl Engine {
    /// The value, if there is one. A use of it.
    pub async fn get_value(&self, name: &ValueName) -> Result<Option<Bytes>> {
        let Uploader { shared, .. } = self.uploader();
        let key = ValueKey::from(name);
        let Some(entry) = look_up(shared, key).await? else {
            shared.metrics.looked_up("get_value", 0, 1);
            return Ok(None);
        };
        let room = shared.bounds.answer(entry.content.size()).await?;
        let reader = Arc::clone(shared);
        let value = shared.bounds.run(move || reader.read_value(key, entry)).await?;
        let hits = usize::from(value.is_some());
        shared.metrics.looked_up("get_value", hits, 1 - hits);
        Ok(value.map(|bytes| held(bytes, room)))
    }

    /// Gives the name this value, in place of the one that it had. Durable when it returns.
    pub async fn put_value(&self, name: ValueName, bytes: Bytes) -> Result<()> {
        let uploader = self.uploader();
        let shared = &uploader.shared;
        let size = bytes.len() as u64;
        if size > MAX_VALUE_BYTES {
            let reason = format!("a value of {size} bytes: {MAX_VALUE_BYTES} are the most");
            return Err(Error::Invalid { reason });
        }
        let key = ValueKey::from(&name);
        let memory = shared.bounds.memory(size).await?;
        let hashed = bytes.clone();
        let content = shared.bounds.run(move || Ok(DigestFunction::Blake3.digest(&hashed))).await?;
        if look_up(shared, key).await?.is_some_and(|entry| entry.content == content) {
            return Ok(());
        }
        let _room = shared.room.reserve(size, shared.options.patience).await?;
        let item = if size < shared.options.pack_below {
            Item::Value { key, content, bytes }
        } else {
            let stager = Arc::clone(shared);
            let stage = move || {
                let mut staging = Staging::private(&stager.uploads, content, None)?;
                staging.append(&bytes)?;
                Ok(Item::ValueFile { key, staged: staging.finish()? })
            };
            shared.bounds.run(stage).await?
        };
        uploader.commit(vec![item], memory).await
    }

    /// Deletes the value. Durable when it returns, and whether there was one: of several calls at a time more than one
    /// may say so.
    pub async fn delete_value(&self, name: &ValueName) -> Result<bool> {
        let uploader = self.uploader();
        let key = ValueKey::from(name);
        if look_up(&uploader.shared, key).await?.is_none() {
            return Ok(false);
        }
        let memory = uploader.shared.bounds.memory(0).await?;
        uploader.commit(vec![Item::Deleted { key }], memory).await?;
        Ok(true)
    }
}

async fn look_up(shared: &Arc<Shared>, key: ValueKey) -> Result<Option<Entry>> {
    let looker = Arc::clone(shared);
    shared.bounds.run(move || Ok(looker.look_up(&[key])?.pop().flatten())).await
}

impl Shared {
    /// The value that an entry leads to, or the one that took its place meanwhile. Blocks.
    fn read_value(&self, key: ValueKey, mut entry: Entry) -> Result<Option<Bytes>> {
        for _ in 0..ATTEMPTS {
            match self.read_content(key.into(), entry) {
                Ok(bytes) => return Ok(Some(bytes)),
                Err(ReadError::Io(error)) => return Err(self.disk_failed(Key::from(key).to_string(), error)),
                Err(ReadError::Gone | ReadError::Damaged) => {}
            }
            match self.index.get(&[key])?.pop().flatten() {
                None => return Ok(None),
                // It has not moved: it is damaged.
                Some(now) if now.location == entry.location => {
                    self.drop_damaged(key, entry.location)?;
                    return Ok(None);
                }
                Some(now) => entry = now,
            }
        }
        Err(Error::Unavailable { reason: "the value is replaced faster than it can be read".into() })
    }

    /// All bytes that an entry stands for, verified. Blocks.
    pub(crate) fn read_content(&self, key: Key, entry: Entry) -> Result<Bytes, ReadError> {
        let Entry { content, location, .. } = entry;
        match location {
            Location::Packed(position, encoding) => {
                self.segments.read_record(position, &Header { form: Form::Packed, key, content, encoding })
            }
            Location::File(position, encoding) => {
                self.files.read(&content, position, encoding)?.read(0, content.size())
            }
        }
    }
}
