//! Files from asynchronous code: the work is done on threads where blocking is fine.

use crate::{ByteStream, Error};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, stream};
use proto::limits;
use std::{
    fs::File,
    io::{self, Read as _},
    path::PathBuf,
};
use tokio::task::spawn_blocking;

/// Runs `work` where blocking is fine.
pub(crate) async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<Error> + Send + 'static,
{
    let ended = |error| Error::Internal { reason: format!("work on a blocking thread did not end: {error}") };
    spawn_blocking(work).await.map_err(ended)?
}

/// The next bytes of a file, at most `rest` of them.
fn chunk(mut file: File, rest: u64) -> io::Result<Option<(Bytes, (File, u64))>> {
    if rest == 0 {
        return Ok(None);
    }
    // Both are small enough for a usize, one of them certainly.
    let want = rest.min(limits::STREAM_CHUNK as u64) as usize;
    let mut bytes = BytesMut::zeroed(want);
    file.read_exact(&mut bytes)?;
    Ok(Some((bytes.freeze(), (file, rest - want as u64))))
}

/// Streams the next `rest` bytes of an open file in chunks, reading on blocking threads.
pub(crate) fn file_stream(path: PathBuf, file: File, rest: u64) -> ByteStream {
    let next = move |(file, rest)| {
        let path = path.clone();
        blocking(move || chunk(file, rest).map_err(|error| Error::io(path, error)))
    };
    stream::try_unfold((file, rest), next).boxed()
}
