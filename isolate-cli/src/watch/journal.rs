//! What changed, and since when that is known. Pure.

use std::collections::HashMap;

/// Paths that changed, each with when it did last. Time is counted in questions.
#[derive(Debug)]
pub(super) struct Journal {
    /// Tells this journal's tokens from others'.
    name: String,
    /// Of what changes now.
    now: u64,
    /// All that changed later is known.
    since: u64,
    changed: HashMap<String, u64>,
    /// As many paths as are kept.
    most: usize,
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// What to ask with next time.
    pub(super) token: String,
    /// What changed, in no order. `None`: it may be anything.
    pub(super) paths: Option<Vec<String>>,
}

impl Journal {
    /// Knows nothing of what was before.
    pub(super) fn new(name: String, most: usize) -> Self {
        Self { name, now: 1, since: 1, changed: HashMap::new(), most }
    }

    /// This path changed, or what is below it; the empty one is everything.
    pub(super) fn changed(&mut self, path: &str) {
        if path.is_empty() {
            return self.everything();
        }
        if let Some(when) = self.changed.get_mut(path) {
            *when = self.now;
        } else if self.changed.len() < self.most {
            self.changed.insert(path.to_owned(), self.now);
        } else {
            self.everything();
        }
    }

    /// Anything may have changed.
    pub(super) fn everything(&mut self) {
        self.changed = HashMap::new();
        self.since = self.now;
    }

    /// What changed since a token was given, by this journal or any other.
    pub(super) fn since(&mut self, token: Option<&str>) -> Told {
        let known = token.and_then(|token| self.time_of(token)).filter(|then| *then >= self.since);
        let paths = known.map(|then| {
            let later = self.changed.iter().filter(|(_, when)| **when > then);
            later.map(|(path, _)| path.clone()).collect()
        });
        let token = format!("{}:{}", self.name, self.now);
        self.now += 1;
        Told { token, paths }
    }

    /// How many paths are kept.
    pub(super) fn len(&self) -> usize {
        self.changed.len()
    }

    fn time_of(&self, token: &str) -> Option<u64> {
        let (name, number) = token.rsplit_once(':')?;
        let number = number.parse().ok()?;
        (name == self.name && number < self.now).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn paths(told: &Told) -> Option<BTreeSet<&str>> {
        told.paths.as_ref().map(|paths| paths.iter().map(String::as_str).collect())
    }

    #[test]
    fn each_token_is_answered_with_what_changed_after_it() {
        let mut journal = Journal::new("j".into(), 10);
        journal.changed("before");
        let first = journal.since(None);
        assert_eq!(first.paths, None);
        assert_eq!(paths(&journal.since(Some(&first.token))), Some([].into()));
        journal.changed("a");
        journal.changed("b");
        let second = journal.since(Some(&first.token));
        assert_eq!(paths(&second), Some(["a", "b"].into()));
        journal.changed("a");
        // Several may ask, each as often as it likes.
        assert_eq!(paths(&journal.since(Some(&second.token))), Some(["a"].into()));
        assert_eq!(paths(&journal.since(Some(&second.token))), Some(["a"].into()));
        assert_eq!(paths(&journal.since(Some(&first.token))), Some(["a", "b"].into()));
    }

    #[test]
    fn a_token_that_says_nothing_is_answered_with_everything() {
        let mut journal = Journal::new("j".into(), 10);
        let token = journal.since(None).token;
        for strange in ["", "j", "j:", "j:x", "k:1", "j:2", "j:99", "j:-1", ":1"] {
            let mut journal = Journal::new("j".into(), 10);
            journal.since(None);
            assert_eq!(journal.since(Some(strange)).paths, None, "{strange}");
        }
        assert!(journal.since(Some(&token)).paths.is_some());
        assert_eq!(Journal::new("other".into(), 10).since(Some(&token)).paths, None);
    }

    #[test]
    fn more_than_is_kept_is_everything_and_what_comes_after_it_is_told_again() {
        let mut journal = Journal::new("j".into(), 3);
        let token = journal.since(None).token;
        ["a", "b", "c", "c"].iter().for_each(|path| journal.changed(path));
        assert_eq!(paths(&journal.since(Some(&token))), Some(["a", "b", "c"].into()));
        journal.changed("d");
        let after = journal.since(Some(&token));
        assert_eq!((after.paths.as_ref(), journal.len()), (None, 0));
        journal.changed("e");
        assert_eq!(paths(&journal.since(Some(&after.token))), Some(["e"].into()));
        journal.changed("");
        assert_eq!(journal.since(Some(&after.token)).paths, None);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Changed(u8),
        Everything,
        Asked(usize),
    }

    proptest! {
        #[test]
        fn nothing_that_changed_after_a_token_is_ever_left_out(
            steps in prop::collection::vec(prop_oneof![
                6 => (0..12u8).prop_map(Step::Changed),
                1 => Just(Step::Everything),
                3 => (0..9usize).prop_map(Step::Asked),
            ], 0..60),
            most in 1..12usize,
        ) {
            let mut journal = Journal::new("j".into(), most);
            // Tokens, with what changed since each of them.
            let mut tokens: Vec<(String, BTreeSet<u8>, bool)> = Vec::new();
            for step in steps {
                match step {
                    Step::Changed(path) => {
                        journal.changed(&path.to_string());
                        tokens.iter_mut().for_each(|(_, changed, _)| { changed.insert(path); });
                    }
                    Step::Everything => {
                        journal.everything();
                        tokens.iter_mut().for_each(|(_, _, everything)| *everything = true);
                    }
                    Step::Asked(which) => {
                        let asked = tokens.get(which).cloned();
                        let told = journal.since(asked.as_ref().map(|(token, ..)| token.as_str()));
                        if let (Some(paths), Some((_, changed, everything))) = (&told.paths, &asked) {
                            prop_assert!(!everything);
                            let told: BTreeSet<u8> = paths.iter().map(|path| path.parse().unwrap()).collect();
                            prop_assert_eq!(&told, changed);
                        }
                        prop_assert!(told.paths.is_none() || asked.is_some());
                        tokens.push((told.token, BTreeSet::new(), false));
                    }
                }
                prop_assert!(journal.len() <= most);
            }
        }
    }
}
