//! Pins and explanations as messages.

use crate::engine::{Cause, Ending, Explanation, Pin, PinKind, State};
use proto::v1::{self, blob_explanation as parts};

/// A pin.
pub(super) fn pin(pin: &Pin) -> v1::Pin {
    let kind = match pin.kind {
        PinKind::Isolated => v1::PinKind::Isolated,
        PinKind::Directory => v1::PinKind::Directory,
    };
    v1::Pin {
        name: pin.name.to_string(),
        root: Some(pin.root.into()),
        kind: kind.into(),
        blobs: pin.blobs,
        bytes: pin.bytes,
        created: Some(pin.created.into()),
        expires: Some(pin.expires.into()),
    }
}

/// What is known about a blob.
pub fn explanation(explanation: &Explanation) -> v1::BlobExplanation {
    let state = match &explanation.state {
        State::Present { file, offset, bytes_at_rest, compressed, since, touched, leased_until } => {
            parts::State::Present(parts::Present {
                file: file.display().to_string(),
                offset: *offset,
                bytes_at_rest: *bytes_at_rest,
                compressed: *compressed,
                since: since.map(Into::into),
                touched: Some((*touched).into()),
                leased_until: Some((*leased_until).into()),
            })
        }
        State::Missing { ending, remembered_since } => parts::State::Missing(parts::Missing {
            ending: ending.as_ref().map(self::ending),
            remembered_since: Some((*remembered_since).into()),
        }),
    };
    v1::BlobExplanation {
        digest: Some(explanation.digest.into()),
        state: Some(state),
        pins: explanation.pins.iter().map(pin).collect(),
        similar: explanation.similar.iter().map(|digest| (*digest).into()).collect(),
    }
}

fn ending(ending: &Ending) -> parts::Ending {
    let cause = match ending.cause {
        Cause::Evicted => parts::Cause::Evicted,
        Cause::Damaged => parts::Cause::Damaged,
    };
    parts::Ending { cause: cause.into(), at: Some(ending.at.into()), touched: Some(ending.touched.into()) }
}
