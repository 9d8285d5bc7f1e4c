//! Tests whose failures are known, owned by somebody, and forgiven until a date.

use super::{ListedTest, TestIndex};
use proto::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// Why a test's failures are forgiven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantineEntry {
    /// Who is to mend it.
    pub owner: String,
    /// From then on its failures count again.
    pub until: Timestamp,
}

/// Entries by test name.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Quarantine {
    entries: BTreeMap<String, QuarantineEntry>,
}

impl Quarantine {
    /// Adds a test, or replaces its entry.
    pub fn insert(&mut self, test: String, entry: QuarantineEntry) {
        self.entries.insert(test, entry);
    }

    /// The entry of a test, as long as it holds.
    pub fn entry(&self, test: &str, now: Timestamp) -> Option<&QuarantineEntry> {
        self.entries.get(test).filter(|entry| now < entry.until)
    }

    /// Which of the listed tests are forgiven now. The ledger keeps the answer: a run is judged by the day it was listed.
    pub fn of_listing(&self, listed: &[ListedTest], now: Timestamp) -> BTreeSet<TestIndex> {
        let held = listed.iter().enumerate().filter(|(_, test)| self.entry(&test.name, now).is_some());
        held.map(|(position, _)| TestIndex::of(position)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_ends_by_itself() {
        let mut quarantine = Quarantine::default();
        let until = Timestamp::from_micros(10);
        quarantine.insert("a".into(), QuarantineEntry { owner: "ann".into(), until });
        let listed = ["a", "b"].map(|name| ListedTest {
            name: name.into(),
            group: None,
            exclusive: false,
            disabled: false,
        });
        let at = |micros| quarantine.of_listing(&listed, Timestamp::from_micros(micros));
        assert_eq!(at(9), BTreeSet::from([TestIndex(0)]));
        assert_eq!(at(10), BTreeSet::new());
        assert_eq!(quarantine.entry("a", Timestamp::from_micros(9)).unwrap().owner, "ann");
    }
}
