//! What the scheduler wants, as far as it makes sense.

use super::{Answer, Desired, Wish, assignment, positive, suite};
use crate::attempt::{Assignment, Lease};
use proto::{Digest, Timestamp, v1};
use std::time::Duration;

/// Used when the scheduler does not say when to call again.
const DEFAULT_CALL_AGAIN: Duration = Duration::from_secs(5);

pub(super) fn answer(response: v1::SynchronizeResponse) -> Answer {
    let call_again = response.call_again.and_then(positive).unwrap_or(DEFAULT_CALL_AGAIN);
    let known = |wire: v1::DesiredAttempt| {
        let lease = wire.lease.as_ref().and_then(lease);
        if lease.is_none() {
            tracing::warn!(lease = ?wire.lease, "an attempt with a lease that makes no sense is ignored");
        }
        let tests = wire.tests.map(suite::grant);
        let mut assignment = assignment(wire.assignment.unwrap_or_default());
        if let (Ok(Assignment { tests: Some(order), .. }), Some(grant)) = (&mut assignment, &tests) {
            order.list = grant.list;
        }
        Some(Desired {
            lease: lease?,
            assignment,
            wish: if wire.kill { Wish::Kill } else { Wish::Run },
            output_received: wire.output_received,
            tests,
        })
    };
    let program = response.program.as_ref().map(Digest::try_from).transpose();
    let program = program.unwrap_or_else(|error| {
        tracing::warn!(%error, "the scheduler names a program that is none");
        None
    });
    Answer {
        desired: response.desired.into_iter().filter_map(known).collect(),
        call_again,
        terminate: response.terminate,
        now: response.now.as_ref().map(Timestamp::from),
        program,
    }
}

fn lease(wire: &v1::LeaseRef) -> Option<Lease> {
    Some(Lease { shard: wire.shard_id.parse().ok()?, attempt: wire.attempt, token: wire.token })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_sense_is_an_answer_without_work() {
        let lease = v1::LeaseRef { shard_id: "no shard".into(), attempt: 1, token: 1 };
        let desired = vec![
            v1::DesiredAttempt::default(),
            v1::DesiredAttempt { lease: Some(lease), ..Default::default() },
        ];
        let negative = prost_types::Duration { seconds: -1, nanos: 0 };
        let parsed =
            answer(v1::SynchronizeResponse { desired, call_again: Some(negative), ..Default::default() });
        assert!(parsed.desired.is_empty());
        assert_eq!(parsed.call_again, DEFAULT_CALL_AGAIN);
    }

    #[test]
    fn a_worker_lists_the_tests_if_they_are_not_known() {
        let lease = v1::LeaseRef { shard_id: "0000000000007/0/1".into(), attempt: 1, token: 1 };
        let tests = v1::TestsOrder { driver: v1::TestDriver::Pytest.into(), partitions: 0 };
        let input = Some(proto::DigestFunction::Blake3.digest(b"x").into());
        let assignment = v1::Assignment { input, tests: Some(tests), ..Default::default() };
        let grant = |list| v1::TestsGrant { list, reports_taken: 3, ..Default::default() };
        for grant in [None, Some(grant(false)), Some(grant(true))] {
            let desired = v1::DesiredAttempt {
                lease: Some(lease.clone()),
                assignment: Some(assignment.clone()),
                tests: grant.clone(),
                ..Default::default()
            };
            let parsed = answer(v1::SynchronizeResponse { desired: vec![desired], ..Default::default() })
                .desired
                .remove(0);
            let list = grant.as_ref().is_some_and(|grant| grant.list);
            assert_eq!(parsed.assignment.unwrap().tests.unwrap().list, list);
            assert_eq!(parsed.tests.map(|tests| tests.reports_taken), grant.map(|_| 3));
        }
    }
}
