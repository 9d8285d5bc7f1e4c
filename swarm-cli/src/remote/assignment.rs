//! What a bot is told to do for a shard, for another program of ours.

use super::{CallError, decode};
use crate::{
    model::{self, Driver},
    selection::Selection,
};
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

    /// As an encoded `isoswarm.v1.Assignment` of a command that nobody grants tests to: with what selects some of them, more
    /// words, and a secret.
    pub fn encode(&self, selection: Selection, words: &[String], secret: Option<&Secret>) -> Vec<u8> {
        let wire = self.selected(selection, words);
        v1::Assignment { secret: secret.map(Into::into), ..wire }.encode_to_vec()
    }

    /// The same, to be read by people and programs.
    pub fn shown(&self, selection: Selection, words: &[String]) -> Result<model::Assignment, CallError> {
        Ok(decode::assignment(self.selected(selection, words))?)
    }

    fn selected(&self, selection: Selection, words: &[String]) -> v1::Assignment {
        let mut wire = v1::Assignment { tests: None, ..self.wire.clone() };
        for (name, value) in selection.environment {
            wire.environment.retain(|variable| variable.name != name);
            wire.environment.push(v1::EnvironmentVariable { name, value });
        }
        wire.extra_args.extend(selection.words);
        wire.extra_args.extend_from_slice(words);
        wire
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selection::select;

    #[test]
    fn what_is_reproduced_is_the_command_with_one_test_selected_and_nobody_to_grant_it() {
        let order = v1::TestsOrder { driver: v1::TestDriver::Opaque.into(), partitions: 4 };
        let variable = v1::EnvironmentVariable { name: "SHARD_INDEX".into(), value: "0".into() };
        let wire = v1::Assignment {
            extra_args: vec!["-v".into()],
            environment: vec![variable],
            tests: Some(order),
            ..v1::Assignment::default()
        };
        let answer = v1::GetAssignmentResponse { assignment: Some(wire), has_secret: false };
        let told = Assignment::new(answer).unwrap();
        let driver = told.driver.unwrap();
        let encoded = told.encode(select(driver, "3/4").unwrap(), &["-x".into()], None);
        let wire = v1::Assignment::decode(&encoded[..]).unwrap();
        assert_eq!((wire.tests, wire.extra_args), (None, vec!["-v".to_owned(), "-x".to_owned()]));
        let indices: Vec<_> = wire.environment.iter().filter(|one| one.name == "SHARD_INDEX").collect();
        assert_eq!((indices.len(), indices[0].value.as_str()), (1, "3"));
    }
}
