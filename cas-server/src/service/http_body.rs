//! Bodies of HTTP requests that are held in memory as a whole, within a bound over all of them.

use super::http::{self, Refusal};
use axum::{
    body::{BodyDataStream, Bytes},
    extract::Request,
    http::{StatusCode, Version, header},
};
use bytes::BytesMut;
use cas::Error;
use std::{sync::Arc, time::Duration};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

/// A body has come by then, with the wait for memory.
const DEADLINE: Duration = Duration::from_secs(300);

/// Memory is counted in KiB.
const UNIT: u64 = 1024;

/// Reads bodies.
#[derive(Clone, Debug)]
pub(super) struct Bodies {
    memory: Arc<Semaphore>,
    units: u64,
}

/// A body, and the room that it takes.
#[derive(Debug)]
pub(super) struct Held {
    bytes: Bytes,
    _memory: OwnedSemaphorePermit,
}

impl Held {
    pub(super) fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }
}

impl Bodies {
    pub(super) fn new(max_memory: u64) -> Self {
        let units = (max_memory / UNIT).clamp(1, u64::from(u32::MAX) >> 4);
        Self { memory: Arc::new(Semaphore::new(usize::try_from(units).unwrap_or(1))), units }
    }

    /// The body of a request that says how long it is, and is not longer than `most` bytes.
    pub(super) async fn whole(&self, request: Request, most: u64) -> Result<Held, Refusal> {
        let (head, body) = request.into_parts();
        let length = head.headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let body = Mutex::new(body.into_data_stream());
        let late = |_| Refusal(StatusCode::REQUEST_TIMEOUT, "the upload takes too long".into());
        let read = tokio::time::timeout(DEADLINE, self.read(length, &body, most)).await;
        let held = read.map_err(late).flatten();
        if held.is_err() && head.version < Version::HTTP_2 && !head.headers.contains_key(header::EXPECT) {
            http::drain(&body).await;
        }
        held
    }

    async fn read(
        &self,
        length: Option<u64>,
        body: &Mutex<BodyDataStream>,
        most: u64,
    ) -> Result<Held, Refusal> {
        let unknown = || Refusal(StatusCode::LENGTH_REQUIRED, "an upload needs its Content-Length".into());
        let length = length.ok_or_else(unknown)?;
        if length > most {
            let reason = format!("{length} bytes are too many: {most} are the most");
            return Err(Refusal(StatusCode::PAYLOAD_TOO_LARGE, reason));
        }
        let units = u32::try_from(length.div_ceil(UNIT).min(self.units)).unwrap_or(u32::MAX);
        let closing = |_| Error::Unavailable { reason: "the server is closing".into() };
        let memory = Arc::clone(&self.memory).acquire_many_owned(units).await.map_err(closing)?;
        let mut bytes = BytesMut::with_capacity(usize::try_from(length).unwrap_or_default());
        let mut body = body.lock().await;
        while let Some(chunk) = http::next(&mut body).await? {
            bytes.extend_from_slice(&chunk);
        }
        // Whoever speaks HTTP for us ends a body that is shorter with an error, and cuts a longer one.
        Ok(Held { bytes: bytes.freeze(), _memory: memory })
    }
}
