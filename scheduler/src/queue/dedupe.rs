//! Shards that need not be run, because the same has succeeded before.
//!
//! Only successes of steps that are declared idempotent count, and only those that were run: what was deduped itself
//! leads to the one that was. Whether the outputs of a success are still there is not known here: who triggers finds out
//! between [`Queue::reusable`] and the event. Steps that wait for others cannot be idempotent (`wire::earlier`): what makes
//! them up is known when those have ended, and nobody asks the CAS then.

use super::{
    apply::Queue,
    policy::FanOut,
    spec::{RunSpec, SealedSecret, StepSpec},
};
use proto::{Digest, DigestFunction, RunId, ShardId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// What makes up the result of a shard, as a hash. Names, expiration and attempts are no part of it. In memory
/// only: it may be made up differently by the next version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Properties(Digest);

/// A shard of a run to come, and the success that it can end with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reuse {
    pub(crate) step: u32,
    pub(crate) index: u32,
    pub(crate) from: ShardId,
    /// What must still be in the CAS.
    pub(crate) outputs: Option<Digest>,
}

/// What the shards of a step have in common at one slice.
pub(super) struct Likeness<'a> {
    fan_out: &'a FanOut,
    common: Digest,
}

impl<'a> Likeness<'a> {
    pub(super) fn of(step: &'a StepSpec, slice: u8, secret: Option<&SealedSecret>) -> Self {
        let mut fields = Fields::of_command(step);
        fields.list(step.slice(slice).requirements.iter().map(ToString::to_string));
        let outputs: BTreeSet<&str> = step.outputs.iter().map(|path| path.as_str()).collect();
        fields.list(outputs);
        let caches: BTreeSet<String> = step.named_caches.iter().map(ToString::to_string).collect();
        fields.list(caches);
        let timeouts = [Some(step.timeouts.hard), step.timeouts.io, Some(step.timeouts.grace)];
        fields.list(timeouts.map(|time| format!("{time:?}")));
        fields.list(secret.map(|secret| secret.fingerprint));
        Self { fan_out: &step.fan_out, common: DigestFunction::Blake3.digest(&fields.0) }
    }

    /// What tells the shard of this index apart from others, and its number among those that this does not tell apart. A
    /// shard with items is what it is by these, wherever they stood in the list.
    pub(super) fn key(&self, index: u32) -> (Properties, u32) {
        let mut fields = Fields(Vec::new());
        fields.list([self.common.to_string()]);
        let index = match self.fan_out {
            FanOut::Items(items) => {
                fields.list(items.of(index).iter().map(|item| item.as_bytes()));
                0
            }
            FanOut::Shards(_) | FanOut::Tests(_) | FanOut::EachBot(_) => {
                fields.0.extend_from_slice(&self.fan_out.shards().to_be_bytes());
                index
            }
        };
        (Properties(DigestFunction::Blake3.digest(&fields.0)), index)
    }
}

/// What makes up the listing of a step's tests, and what they are run on, as a hash. In memory only, like [`Properties`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ListingKey(Digest);

impl ListingKey {
    /// None when the step shares out no tests, or when what earlier steps have left may have some.
    pub(super) fn of(step: &StepSpec) -> Option<Self> {
        let policy = step.fan_out.tests().filter(|_| step.includes.is_empty())?;
        let mut fields = Fields::of_command(step);
        // Other bots may have other tests.
        for slice in (0..step.slices()).map(|slice| step.slice(slice)) {
            fields.list(slice.requirements.iter().map(ToString::to_string));
        }
        fields.list([format!("{:?}", policy.driver), policy.parts().to_string()]);
        Some(Self(DigestFunction::Blake3.digest(&fields.0)))
    }

    /// The same as a number, for many to be kept.
    pub(super) fn number(self) -> u64 {
        let bytes = self.0.hash().iter().take(8);
        bytes.fold(0, |number, byte| (number << 8) | u64::from(*byte))
    }
}

/// Lists of texts, each with its length before it, so that no two differ and look alike.
struct Fields(Vec<u8>);

impl Fields {
    /// What is run, and with which variables.
    fn of_command(step: &StepSpec) -> Self {
        let mut fields = Self(Vec::new());
        fields.list(step.input.map(|input| input.to_string()));
        fields.list(&step.command);
        fields.list(&step.extra_args);
        // A later setting of a variable replaces an earlier one: their order counts.
        fields.list(step.environment.iter().flat_map(|(name, value)| [name, value]));
        fields.list(step.environment_prefixes.iter().map(ToString::to_string));
        fields
    }

    fn list<T: AsRef<[u8]>>(&mut self, texts: impl IntoIterator<Item = T>) {
        let mut count = 0u64;
        for text in texts {
            let text = text.as_ref();
            self.0.extend_from_slice(&(text.len() as u64).to_be_bytes());
            self.0.extend_from_slice(text);
            count += 1;
        }
        // No text is that long.
        self.0.extend_from_slice(&(u64::MAX - count).to_be_bytes());
    }
}

impl Queue {
    /// The shards of a run to come that could end with an earlier success.
    pub(crate) fn reusable(&self, spec: &RunSpec, now: Timestamp) -> Vec<Reuse> {
        let mut reuses = BTreeMap::new();
        for (number, step) in (0u32..).zip(&spec.steps).filter(|(_, step)| step.idempotent) {
            // The success of an earlier slice goes before that of a later one.
            for slice in 0..step.slices() {
                let likeness = Likeness::of(step, slice, spec.secret.as_ref());
                for (index, from) in self.successes(&likeness) {
                    let Some(outputs) = self.reused_outputs(from, now) else { continue };
                    let reuse = Reuse { step: number, index, from, outputs };
                    reuses.entry((number, index)).or_insert(reuse);
                }
            }
        }
        reuses.into_values().collect()
    }

    /// Shards of a step and those that have succeeded before as what these are.
    fn successes(&self, likeness: &Likeness<'_>) -> Vec<(u32, ShardId)> {
        let known = &self.state.successes;
        match likeness.fan_out {
            FanOut::Items(items) if !known.is_empty() => {
                let of = |index| Some((index, *known.get(&likeness.key(index))?));
                (0..items.shards()).filter_map(of).collect()
            }
            FanOut::Items(_) => Vec::new(),
            FanOut::Shards(_) | FanOut::Tests(_) | FanOut::EachBot(_) => {
                let (properties, _) = likeness.key(0);
                let found = known.range((properties, 0)..=(properties, u32::MAX));
                found.map(|((_, index), from)| (*index, *from)).collect()
            }
        }
    }

    /// The outputs of a success, unless it is too old.
    fn reused_outputs(&self, from: ShardId, now: Timestamp) -> Option<Option<Digest>> {
        let success = self.shard(from)?;
        let fresh = now.since(success.ended?) <= self.tuning.reuse_for;
        fresh.then(|| success.result().and_then(|result| result.outputs))
    }

    /// How many shards of a run have ended with an earlier success.
    pub(crate) fn deduped(&self, run: RunId) -> usize {
        let shards = self.run(run).into_iter().flat_map(|run| run.shards());
        shards.filter(|(_, shard)| shard.reused.is_some()).count()
    }
}
