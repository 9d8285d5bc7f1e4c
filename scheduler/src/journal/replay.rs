//! From records to transitions, and holes where runs were deleted. The same for every journal.

use super::{Damage, Group, Journal, JournalError};
use crate::{
    queue::{Record, Transition},
    wire::record::decode,
};
use proto::RunId;
use std::collections::{BTreeMap, BTreeSet};

/// What is left of a record whose run was deleted. Numbers stay without gaps, so that a record that is missing is
/// noticed. No version of records begins like this.
pub(super) const HOLE: &[u8] = &[0];

/// A group of holes stops growing at this many.
const HOLES: usize = 10_000;

/// Hands every record to `take`, in order, and returns the number of the last one. Stops at the first that is damaged or
/// that `take` refuses.
pub(crate) fn replay<E: ToString>(
    journal: &dyn Journal,
    mut take: impl FnMut(Record) -> Result<(), E>,
) -> Result<u64, JournalError> {
    let mut last = 0;
    journal.scan(&mut |sequence, value| {
        let expected = last + 1;
        let damage = |problem: String| Damage { sequence: expected, problem };
        if sequence != expected {
            return Err(damage("it is missing".into()));
        }
        if value != HOLE {
            let record = decode(value).map_err(|error| damage(error.to_string()))?;
            take(record).map_err(|error| damage(error.to_string()))?;
        }
        last = expected;
        Ok(())
    })?;
    Ok(last)
}

/// Makes holes of the records of these runs, but for those that say that they are deleted. Those of one run at once: after
/// a crash all of them are there, or none. Returns how many there were.
pub(crate) fn punch(journal: &dyn Journal, runs: &BTreeSet<RunId>) -> Result<u64, JournalError> {
    let mut of_runs: BTreeMap<RunId, Vec<u64>> = BTreeMap::new();
    journal.scan(&mut |sequence, value| {
        // All of them were just replayed.
        if let Ok(record) = decode(value)
            && !matches!(record.transition, Transition::RunDeleted { .. })
            && let Some(run) = record.transition.run().filter(|run| runs.contains(run))
        {
            of_runs.entry(run).or_default().push(sequence);
        }
        Ok(())
    })?;
    let punched = of_runs.values().map(|holes| holes.len() as u64).sum();
    let mut group = Group::default();
    for holes in of_runs.into_values() {
        group.holes.extend(holes);
        if group.holes.len() >= HOLES {
            journal.write(&group)?;
            group.holes.clear();
        }
    }
    if !group.holes.is_empty() {
        journal.write(&group)?;
    }
    Ok(punched)
}
