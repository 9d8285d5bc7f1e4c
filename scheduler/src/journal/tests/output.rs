//! Which bytes of a report are new.

use super::{attempt, chunk};
use crate::journal::output::{Accepted, MARKER, accept};
use bytes::Bytes;
use proto::limits::MAX_OUTPUT_PER_ATTEMPT;

fn took(size: u64, offset: u64, text: &str) -> Accepted {
    accept(attempt(1), size, offset, &Bytes::copy_from_slice(text.as_bytes()))
}

#[test]
fn repeated_output_is_not_doubled_and_a_gap_is_refused() {
    let fresh = took(0, 0, "abc");
    assert_eq!(
        (fresh.chunks, fresh.size, fresh.received, fresh.complete),
        (vec![chunk(1, 0, "abc")], 3, 3, true)
    );
    let repeated = took(3, 0, "abc");
    assert_eq!((repeated.chunks, repeated.size, repeated.received, repeated.complete), (vec![], 3, 3, true));
    let overlapping = took(3, 1, "bcde");
    assert_eq!((overlapping.chunks, overlapping.size), (vec![chunk(1, 3, "de")], 5));
    let beyond = took(3, 4, "e");
    assert_eq!((beyond.chunks, beyond.size, beyond.received, beyond.complete), (vec![], 3, 3, false));
    let nothing = took(3, 3, "");
    assert_eq!((nothing.chunks, nothing.size, nothing.received, nothing.complete), (vec![], 3, 3, true));
}

#[test]
fn a_long_report_is_kept_in_chunks_that_fit_a_message() {
    let chunk = proto::limits::STREAM_CHUNK;
    let bytes = Bytes::from(vec![7; 3 * chunk + 5]);
    let accepted = accept(attempt(1), 10, 0, &bytes);
    let kept: Vec<_> = accepted.chunks.iter().map(|chunk| (chunk.offset, chunk.bytes.len())).collect();
    let at = |number: usize| 10 + (number * chunk) as u64;
    assert_eq!(kept, [(at(0), chunk), (at(1), chunk), (at(2), chunk - 5)]);
    assert_eq!((accepted.size, accepted.received), (bytes.len() as u64, bytes.len() as u64));
}

#[test]
fn output_beyond_the_limit_is_acknowledged_marked_and_dropped() {
    let most = MAX_OUTPUT_PER_ATTEMPT;
    let full = took(most - 2, most - 2, "abcd");
    let kept = [&b"ab"[..], MARKER].concat();
    assert_eq!(full.chunks[0].bytes, kept);
    assert_eq!((full.size, full.received, full.complete), (most + MARKER.len() as u64, most + 2, true));
    let later = took(full.size, most + 2, "efgh");
    assert_eq!((later.chunks, later.size, later.received), (vec![], full.size, most + 6));
    let exact = took(most - 1, most - 1, "a");
    assert_eq!((exact.size, exact.received), (most, most));
    assert_eq!(took(most, most, "b").chunks[0].bytes, MARKER);
}
