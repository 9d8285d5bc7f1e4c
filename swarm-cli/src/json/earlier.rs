//! What steps have to do with earlier ones.

use crate::model::{After, Demand, OutputOf};
use serde::Serialize;

/// An earlier step that has to end first.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct AfterJson {
    /// Its place among the steps, from 0.
    pub step: u32,
    /// How it has to end.
    pub condition: Demand,
}

impl From<&After> for AfterJson {
    fn from(after: &After) -> Self {
        Self { step: after.step, condition: after.demand }
    }
}

/// The outputs of all shards of an earlier step.
#[derive(Clone, Debug, Serialize)]
pub struct OutputOfJson<'a> {
    /// Its place among the steps, from 0.
    pub step: u32,
    /// The directory that they are laid out in, in which `{index}` stands for the shard; empty for the root.
    pub into: &'a str,
}

impl<'a> From<&'a OutputOf> for OutputOfJson<'a> {
    fn from(output: &'a OutputOf) -> Self {
        Self { step: output.step, into: output.into.as_str() }
    }
}
