//! Shards that need not be run, because the same has succeeded before.
//!
//! Only successes of steps that are declared idempotent count, and only those that were run: what was deduped itself
//! leads to the one that was. Whether the outputs of a success are still there is not known here: who triggers finds out
//! between [`Queue::reusable`] and the event. Steps that wait for others cannot be idempotent (`wire::earlier`): what makes
//! them up is known when those have ended, and nobody asks the CAS then.

use super::{
    apply::Queue,
    spec::{RunSpec, SealedSecret, Slice, StepSpec},
};
use proto::{Digest, DigestFunction, RunId, ShardId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// What makes up the result of a step's shards, as a hash. Names, expiration and attempts are no part of it. In memory
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

impl Properties {
    /// Those of any shard of the step at this slice: its index tells it apart from the others.
    pub(super) fn of(step: &StepSpec, slice: &Slice, secret: Option<&SealedSecret>) -> Self {
        let mut fields = Fields::of_command(step);
        fields.list(slice.requirements.iter().map(ToString::to_string));
        let outputs: BTreeSet<&str> = step.outputs.iter().map(|path| path.as_str()).collect();
        fields.list(outputs);
        let caches: BTreeSet<String> = step.named_caches.iter().map(ToString::to_string).collect();
        fields.list(caches);
        let timeouts = [Some(step.timeouts.hard), step.timeouts.io, Some(step.timeouts.grace)];
        fields.list(timeouts.map(|time| format!("{time:?}")));
        fields.list([step.fan_out.shards().to_string()]);
        fields.list(secret.map(|secret| secret.fingerprint));
        Self(DigestFunction::Blake3.digest(&fields.0))
    }
}

/// What makes up the listing of a step's tests, as a hash. In memory only, like [`Properties`].
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
        fields.list([format!("{:?}", policy.driver), policy.partitions.to_string()]);
        Some(Self(DigestFunction::Blake3.digest(&fields.0)))
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
            for slice in (0..step.slices()).map(|slice| step.slice(slice)) {
                let properties = Properties::of(step, slice, spec.secret.as_ref());
                for reuse in self.successes(properties, number, now) {
                    reuses.entry((number, reuse.index)).or_insert(reuse);
                }
            }
        }
        reuses.into_values().collect()
    }

    fn successes(
        &self,
        properties: Properties,
        step: u32,
        now: Timestamp,
    ) -> impl Iterator<Item = Reuse> + use<'_> {
        let found = self.state.successes.range((properties, 0)..=(properties, u32::MAX));
        found.filter_map(move |((_, index), from)| {
            let success = self.shard(*from)?;
            let fresh = now.since(success.ended?) <= self.tuning.reuse_for;
            let outputs = success.result().and_then(|result| result.outputs);
            fresh.then_some(Reuse { step, index: *index, from: *from, outputs })
        })
    }

    /// How many shards of a run have ended with an earlier success.
    pub(crate) fn deduped(&self, run: RunId) -> usize {
        let shards = self.run(run).into_iter().flat_map(|run| run.shards());
        shards.filter(|(_, shard)| shard.reused.is_some()).count()
    }
}
