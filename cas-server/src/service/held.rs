//! Answers that keep their room in memory until they have left.

use crate::engine::blocking::held;
use axum::{body::Body, response::Response};
use http_body_util::BodyExt as _;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// Room of an answer that is made where its body is not known yet: an extension of the response.
#[derive(Clone, Debug)]
pub(super) struct Room(pub(super) Arc<OwnedSemaphorePermit>);

/// The response, whose body keeps the room that it came with.
pub(super) fn keeping_room(mut response: Response) -> Response {
    match response.extensions_mut().remove::<Room>() {
        Some(Room(room)) => response.map(|body| holding(body, room)),
        None => response,
    }
}

/// The body, whose bytes keep `room`, also where the server has taken them over to send them.
pub(super) fn holding<T: Send + Sync + 'static>(body: Body, room: T) -> Body {
    let room = Arc::new(room);
    Body::new(body.map_frame(move |frame| frame.map_data(|bytes| held(bytes, Arc::clone(&room)))))
}
