//! What was handed to a connection and has not left: a client that asks and does not read must not keep it for ever.

use axum::body::{Body, Bytes};
use http_body_util::BodyExt as _;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A slow link with many streams sends a piece of each of them in turn; longer than this many rounds no piece takes.
const MOST_ROUNDS: u64 = 10;

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
    /// One has left in this round.
    left: bool,
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
        state.left = true;
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

    /// Ends a round. Whether the client does not read: pieces have been there for all of it and none has left, or one has
    /// been there for [`MOST_ROUNDS`], however many others left.
    pub(super) fn end_round(&self) -> bool {
        let mut state = self.state();
        let oldest = state.pieces.first_key_value().map(|(round, _)| *round);
        let older = |rounds| oldest.is_some_and(|oldest| oldest + rounds <= state.round);
        let stalled = (older(1) && !state.left) || older(MOST_ROUNDS);
        state.round += 1;
        state.left = false;
        stalled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_stalled_when_nothing_leaves_for_a_whole_round() {
        let outgoing = Arc::new(Outgoing::default());
        let first = outgoing.hold(Bytes::from_static(b"abc"));
        assert_eq!(first, "abc");
        assert!(!outgoing.end_round(), "it may have come just now");
        let second = outgoing.hold(Bytes::from_static(b"def"));
        let part = first.slice(1..);
        drop(first);
        assert!(outgoing.end_round(), "a part of it is still there");
        drop(part);
        assert!(!outgoing.end_round(), "it reads, if slowly");
        assert!(outgoing.end_round(), "the second one is still there");
        drop(second);
        assert!(!outgoing.end_round());
        assert!(!outgoing.end_round(), "it has all");
    }

    #[test]
    fn a_piece_that_stays_for_many_rounds_stalls_its_connection_whatever_else_leaves() {
        let outgoing = Arc::new(Outgoing::default());
        let stuck = outgoing.hold(Bytes::from_static(b"stuck"));
        let stalled = (0..=MOST_ROUNDS).map(|_| {
            drop(outgoing.hold(Bytes::from_static(b"others")));
            outgoing.end_round()
        });
        assert_eq!(stalled.collect::<Vec<_>>().iter().filter(|stalled| **stalled).count(), 1);
        drop(stuck);
    }
}
