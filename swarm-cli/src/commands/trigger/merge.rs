//! `--merge`: one more step, over what all shards have left.

use crate::{
    failure::Usage,
    model::{After, Demand, FanOut, OutputOf, StepSpec},
};
use proto::{Digest, DigestFunction};

/// What it is called.
const MERGE: &str = "merge";

/// The step that runs over what the shards of `step` have left, on bots like theirs.
pub(super) fn merging(what: &str, step: &StepSpec) -> Result<StepSpec, Usage> {
    // A digest with a slip in it is no script.
    let is_digest = what.split_once(':').is_some_and(|(function, _)| {
        function.parse::<DigestFunction>().is_ok() && !what.contains(char::is_whitespace)
    });
    let input = is_digest.then(|| what.parse().map_err(|error| Usage(format!("--merge {what}: {error}"))));
    let input: Option<Digest> = input.transpose()?;
    let script = || ["/bin/sh", "-c", what].map(str::to_owned).into();
    Ok(StepSpec {
        name: MERGE.into(),
        input,
        command: if input.is_some() { Vec::new() } else { script() },
        extra_args: Vec::new(),
        outputs: Vec::new(),
        named_caches: Vec::new(),
        environment_prefixes: Vec::new(),
        fan_out: FanOut::Shards(1),
        idempotent: false,
        after: vec![After { step: 0, demand: Demand::Ended }],
        includes: vec![OutputOf { step: 0, into: "parts/{index}".parse().expect("it is a path") }],
        ..step.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_is_an_input_or_a_script_and_no_digest_with_a_slip_in_it() {
        let step = crate::testing::run(crate::model::RunState::Pending, vec![]).spec.steps.remove(0);
        let digest = step.input.unwrap().to_string();
        let of_input = merging(&digest, &step).unwrap();
        assert_eq!((of_input.input, of_input.command.len()), (step.input, 0));
        let script = merging("cat parts/*/log | sort", &step).unwrap();
        assert_eq!(script.input, None);
        assert_eq!(script.command, ["/bin/sh", "-c", "cat parts/*/log | sort"]);
        assert_eq!(script.after, [After { step: 0, demand: Demand::Ended }]);
        let slip = merging(&digest[..20], &step).unwrap_err();
        assert!(slip.0.starts_with(&format!("--merge {}: ", &digest[..20])), "{}", slip.0);
    }
}
