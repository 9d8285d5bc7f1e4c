//! What was handed to a connection and has not left: a client that asks and does not read must not keep it for ever.

use axum::body::{Body, Bytes};
use http_body_util::BodyExt as _;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The pieces of answers that one connection still has.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    round: u64,
    /// How many there are of each round.
    pieces: BTreeMap<u64, usize>,
}

/// A piece of an answer, counted as long as it is in memory.
struct Held {
    bytes: Bytes,
    round: u64,
    outgoing: Arc<Outgoing>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.outgoing.state();
        if let Some(count) = state.pieces.get_mut(&self.round) {
            *count -= 1;
            if *count == 0 {
                state.pieces.remove(&self.round);
            }
        }
    }
}

impl Outgoing {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The body, whose pieces are counted.
    pub(super) fn count(self: Arc<Self>, body: Body) -> Body {
        Body::new(body.map_frame(move |frame| frame.map_data(|bytes| self.hold(bytes))))
    }

    fn hold(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        let mut state = self.state();
        let round = state.round;
        *state.pieces.entry(round).or_default() += 1;
        drop(state);
        Bytes::from_owner(Held { bytes, round, outgoing: Arc::clone(self) })
    }

    /// Ends a round. Whether a piece has been there for all of it: the client does not read.
    pub(super) fn end_round(&self) -> bool {
        let mut state = self.state();
        let stalled = state.pieces.first_key_value().is_some_and(|(oldest, _)| *oldest < state.round);
        state.round += 1;
        stalled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_stalled_when_a_piece_was_there_for_a_whole_round() {
        let outgoing = Arc::new(Outgoing::default());
        let first = outgoing.hold(Bytes::from_static(b"abc"));
        assert_eq!(first, "abc");
        assert!(!outgoing.end_round(), "it may have come just now");
        let second = outgoing.hold(Bytes::from_static(b"def"));
        let part = first.slice(1..);
        drop(first);
        assert!(outgoing.end_round(), "a part of it is still there");
        drop(part);
        assert!(outgoing.end_round(), "the second one, too");
        drop(second);
        assert!(!outgoing.end_round());
    }
}
