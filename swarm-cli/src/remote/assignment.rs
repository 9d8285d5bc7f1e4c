//! What a bot is told to do for a shard, for another program of ours.

use super::{CallError, decode};
use crate::model::{self, Driver};
use prost::Message as _;
use proto::{Secret, v1};

/// What a bot is told to do for a shard, without the run's secret.
#[derive(Clone, Debug)]
pub struct Assignment {
    wire: v1::Assignment,
    /// The run has one.
    pub has_secret: bool,
    /// What knows the tests, if the step shares them out.
    pub driver: Option<Driver>,
}

impl Assignment {
    pub(super) fn new(answer: v1::GetAssignmentResponse) -> Result<Self, CallError> {
        let wire = answer.assignment.unwrap_or_default();
        let driver = wire.tests.as_ref().map(|order| decode::driver(order.driver())).transpose()?;
        Ok(Self { wire, has_secret: answer.has_secret, driver })
    }

    /// As an encoded `isoswarm.v1.Assignment`, with more words and a secret.
    pub fn encode(&self, words: &[String], secret: Option<&Secret>) -> Vec<u8> {
        v1::Assignment { secret: secret.map(Into::into), ..self.with(words) }.encode_to_vec()
    }

    /// The same, to be read by people and programs.
    pub fn shown(&self, words: &[String]) -> Result<model::Assignment, CallError> {
        Ok(decode::assignment(self.with(words))?)
    }

    fn with(&self, words: &[String]) -> v1::Assignment {
        let mut wire = self.wire.clone();
        wire.extra_args.extend_from_slice(words);
        wire
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reproduced_is_what_a_worker_was_told_with_more_words() {
        let order = v1::TestsOrder { driver: v1::TestDriver::Opaque.into(), partitions: 4 };
        let wire =
            v1::Assignment { extra_args: vec!["-v".into()], tests: Some(order), ..v1::Assignment::default() };
        let answer = v1::GetAssignmentResponse { assignment: Some(wire), has_secret: false };
        let told = Assignment::new(answer).unwrap();
        assert_eq!(told.driver, Some(Driver::Opaque));
        let wire = v1::Assignment::decode(&told.encode(&["-x".into()], None)[..]).unwrap();
        assert_eq!((wire.tests, wire.extra_args), (Some(order), vec!["-v".to_owned(), "-x".to_owned()]));
    }
}
