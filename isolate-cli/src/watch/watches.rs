//! Which directory each of the kernel's watches is of. Pure.
//!
//! A watch is of the directory itself, whatever it is called: one that is found under another name has the watch that it had.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::Arc,
};

/// Watches by number and by path from the root, which is empty.
#[derive(Debug, Default)]
pub(super) struct Watches {
    paths: HashMap<i32, Arc<str>>,
    numbers: BTreeMap<Arc<str>, i32>,
}

impl Watches {
    /// This watch is of the directory at `path`, and no longer of where it was before, which is given; nor is another one.
    pub(super) fn put(&mut self, number: i32, path: &str) -> Option<Arc<str>> {
        let path: Arc<str> = path.into();
        let before = self.paths.insert(number, Arc::clone(&path)).filter(|before| *before != path);
        if let Some(before) = &before {
            self.forget(before, number);
        }
        self.numbers.insert(path, number);
        before
    }

    pub(super) fn path(&self, number: i32) -> Option<&Arc<str>> {
        self.paths.get(&number)
    }

    /// The kernel has ended this one.
    pub(super) fn ended(&mut self, number: i32) {
        if let Some(path) = self.paths.remove(&number) {
            self.forget(&path, number);
        }
    }

    /// Takes out those of `path` and of what is below it, for the kernel to end them.
    pub(super) fn take_below(&mut self, path: &str) -> Vec<i32> {
        let below = format!("{path}/");
        let is_below = |(place, _): &(&Arc<str>, &i32)| place.starts_with(&*below);
        let from = (Bound::Included(&*below), Bound::Unbounded);
        let taken = self.numbers.range::<str, _>(from).take_while(is_below).map(|(_, number)| *number);
        let taken: Vec<i32> = self.numbers.get(path).copied().into_iter().chain(taken).collect();
        taken.iter().for_each(|number| self.ended(*number));
        taken
    }

    pub(super) fn len(&self) -> usize {
        self.paths.len()
    }

    fn forget(&mut self, path: &str, number: i32) {
        if self.numbers.get(path) == Some(&number) {
            self.numbers.remove(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(all: &[(i32, &str)]) -> Watches {
        let mut watches = Watches::default();
        all.iter().for_each(|(number, path)| assert_eq!(watches.put(*number, path), None));
        watches
    }

    fn path(watches: &Watches, number: i32) -> Option<&str> {
        watches.path(number).map(|path| &**path)
    }

    #[test]
    fn what_is_below_a_directory_goes_with_it_and_what_is_called_alike_stays() {
        let mut watches = of(&[(1, ""), (2, "a"), (3, "a/b"), (4, "a/b/c"), (5, "a!"), (6, "ab"), (7, "a0")]);
        assert_eq!(watches.take_below("a"), [2, 3, 4]);
        assert!(watches.take_below("a").is_empty());
        assert_eq!((watches.len(), path(&watches, 3), path(&watches, 5)), (4, None, Some("a!")));
    }

    #[test]
    fn a_directory_that_is_found_elsewhere_keeps_its_watch_and_its_old_place_is_free() {
        let mut watches = of(&[(1, ""), (2, "a"), (3, "a/b")]);
        assert_eq!(watches.put(2, "n/a").as_deref(), Some("a"));
        assert_eq!(watches.put(2, "n/a"), None);
        watches.put(3, "n/a/b");
        assert!(watches.take_below("a").is_empty());
        watches.put(9, "a");
        assert_eq!((path(&watches, 2), path(&watches, 9)), (Some("n/a"), Some("a")));
        assert_eq!(watches.take_below("n"), [2, 3]);
    }

    #[test]
    fn a_watch_that_ends_takes_none_that_came_in_its_place() {
        let mut watches = of(&[(1, ""), (2, "a")]);
        // Another directory was renamed over it.
        watches.put(3, "a");
        watches.ended(2);
        assert_eq!((path(&watches, 3), watches.len()), (Some("a"), 2));
        assert_eq!(watches.take_below("a"), [3]);
        watches.ended(77);
    }
}
