//! Answers that keep their room in memory until they have left.

use crate::engine::blocking::held;
use axum::body::Body;
use http_body_util::BodyExt as _;
use std::sync::Arc;

/// The body, whose bytes keep `room`, also where the server has taken them over to send them.
pub(super) fn holding<T: Send + Sync + 'static>(body: Body, room: T) -> Body {
    let room = Arc::new(room);
    Body::new(body.map_frame(move |frame| frame.map_data(|bytes| held(bytes, Arc::clone(&room)))))
}
