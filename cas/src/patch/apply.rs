//! A patch that came, and what it makes.

use crate::{ByteStream, Error, Result};
use bytes::{Buf as _, Bytes, BytesMut};
use futures::{StreamExt as _, stream};
use proto::{Digest, limits};

/// A patch that was checked: it makes as many bytes as it should, of as many as there are.
#[derive(Clone, Debug)]
pub struct Patch {
    edits: Edits,
    /// Bytes that it makes.
    size: u64,
}

impl Patch {
    /// The patch that makes `target` of `base`. Takes memory for as much as a patch may be, whatever is in it.
    pub fn parse(patch: &[u8], base: Digest, target: Digest) -> Result<Self> {
        for digest in [base, target] {
            if digest.size() > limits::MAX_MANIFEST_BYTES {
                let most = limits::MAX_MANIFEST_BYTES;
                return Err(invalid(&format!(
                    "{digest} is too large to be patched: {most} bytes are the most"
                )));
            }
        }
        let most = limits::MAX_PATCH_BYTES;
        if patch.len() as u64 > most {
            return Err(invalid(&format!("a patch of {} bytes is above the limit of {most}", patch.len())));
        }
        // Far less than memory is addressed with.
        let content = zstd::bulk::decompress(patch, most as usize);
        let content = content
            .map_err(|error| invalid(&format!("not a patch of up to {most} bytes in zstd: {error}")))?;
        let edits =
            Edits::parse(content.into()).ok_or_else(|| invalid("the patch ends within its numbers"))?;
        edits.check(base.size(), target.size())?;
        Ok(Self { edits, size: target.size() })
    }

    /// The target's bytes. Those of the base are taken as they come; the rest of them stays unread.
    pub fn apply(self, base: ByteStream) -> ByteStream {
        let applying =
            Applying { edits: self.edits, left: self.size, base, chunk: Bytes::new(), open: Edit::default() };
        stream::try_unfold(applying, Applying::next).boxed()
    }
}

/// Copies, then skips, then inserts so many bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Edit {
    copy: u64,
    skip: u64,
    insert: u64,
}

/// Edits that were not made yet, read where they are: a list of them would take many times as much.
#[derive(Clone, Debug)]
struct Edits {
    left: u64,
    copies: Bytes,
    skips: Bytes,
    inserts: Bytes,
    /// To be inserted.
    inserted: Bytes,
}

impl Edits {
    fn parse(mut content: Bytes) -> Option<Self> {
        let left = number(&mut content)?;
        let copies = numbers(&mut content, left)?;
        let skips = numbers(&mut content, left)?;
        let inserts = numbers(&mut content, left)?;
        Some(Self { left, copies, skips, inserts, inserted: content })
    }

    fn next(&mut self) -> Option<Edit> {
        self.left = self.left.checked_sub(1)?;
        let (copy, skip) = (number(&mut self.copies)?, number(&mut self.skips)?);
        Some(Edit { copy, skip, insert: number(&mut self.inserts)? })
    }

    /// Whether they can be made, of a base of `base` bytes, and come to `target` bytes.
    fn check(&self, base: u64, target: u64) -> Result<()> {
        let (mut edits, mut sum) = (self.clone(), Edit::default());
        for _ in 0..self.left {
            let large = || invalid("the patch has a number of more than 64 bits");
            let Edit { copy, skip, insert } = edits.next().ok_or_else(large)?;
            if copy == 0 && skip == 0 && insert == 0 {
                return Err(invalid("the patch has an edit of nothing"));
            }
            sum.copy = sum.copy.saturating_add(copy);
            sum.skip = sum.skip.saturating_add(skip);
            sum.insert = sum.insert.saturating_add(insert);
        }
        let (read, made) = (sum.copy.saturating_add(sum.skip), sum.copy.saturating_add(sum.insert));
        if read > base {
            return Err(invalid(&format!("the patch is of a base of {read} bytes, this one has {base}")));
        }
        if made != target {
            return Err(invalid(&format!("the patch makes {made} bytes, the target has {target}")));
        }
        match self.inserted.len() as u64 {
            given if given == sum.insert => Ok(()),
            given => Err(invalid(&format!("the patch inserts {} bytes and has {given}", sum.insert))),
        }
    }
}

/// Takes a varint of protobuf.
fn number(bytes: &mut Bytes) -> Option<u64> {
    let (mut number, mut shift) = (0u64, 0);
    loop {
        let byte = *bytes.first()?;
        bytes.advance(1);
        let part = u64::from(byte & 0x7f);
        number |= part.checked_shl(shift).filter(|shifted| shifted >> shift == part)?;
        if byte < 0x80 {
            return Some(number);
        }
        shift += 7;
    }
}

/// Takes so many varints, as they are.
fn numbers(bytes: &mut Bytes, count: u64) -> Option<Bytes> {
    // No more than the bytes, each of which ends one at most.
    let last = usize::try_from(count).ok()?.checked_sub(1);
    let Some(last) = last else { return Some(Bytes::new()) };
    let (end, _) = bytes.iter().enumerate().filter(|(_, byte)| **byte < 0x80).nth(last)?;
    Some(bytes.split_to(end + 1))
}

/// A target on its way.
struct Applying {
    edits: Edits,
    /// Bytes of the target that have not gone out yet.
    left: u64,
    base: ByteStream,
    /// Came of the base and was not used yet.
    chunk: Bytes,
    /// What is left of the edit that is being made.
    open: Edit,
}

impl Applying {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>> {
        let step = self.left.min(limits::STREAM_CHUNK as u64);
        if step == 0 {
            return Ok(None);
        }
        // At most a step.
        let mut out = BytesMut::with_capacity(step as usize);
        loop {
            let rest = step - out.len() as u64;
            if rest == 0 {
                self.left -= step;
                return Ok(Some((out.freeze(), self)));
            }
            if self.open.copy > 0 {
                let piece = self.of_base(self.open.copy.min(rest)).await?;
                self.open.copy -= piece.len() as u64;
                out.extend_from_slice(&piece);
            } else if self.open.skip > 0 {
                self.open.skip -= self.of_base(self.open.skip).await?.len() as u64;
            } else if self.open.insert > 0 {
                let count = self.open.insert.min(rest);
                self.open.insert -= count;
                // As long as all that is inserted, as was checked.
                out.extend_from_slice(&self.edits.inserted.split_to(count as usize));
            } else {
                let ended = || Error::Internal { reason: "the patch ended before what it makes".into() };
                self.open = self.edits.next().ok_or_else(ended)?;
            }
        }
    }

    /// The next bytes of the base: at least one, at most `most`.
    async fn of_base(&mut self, most: u64) -> Result<Bytes> {
        while self.chunk.is_empty() {
            let ended = || Error::Internal { reason: "the base of a patch ended before its time".into() };
            self.chunk = self.base.next().await.ok_or_else(ended)??;
        }
        let count = usize::try_from(most).unwrap_or(usize::MAX).min(self.chunk.len());
        Ok(self.chunk.split_to(count))
    }
}

fn invalid(reason: &str) -> Error {
    Error::Invalid { reason: reason.to_owned() }
}
