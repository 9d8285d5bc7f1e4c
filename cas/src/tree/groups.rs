//! Work that several threads take from each other: who has come to something that takes long gives back the rest.

use std::{
    collections::VecDeque,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// Work that nobody has taken yet.
#[derive(Debug)]
pub(super) struct Groups<T> {
    line: Mutex<Line<T>>,
    changed: Condvar,
    stopped: AtomicBool,
}

#[derive(Debug)]
struct Line<T> {
    waiting: VecDeque<T>,
    /// Who may bring more.
    bringing: usize,
}

/// Somebody may bring more until this is dropped.
#[derive(Debug)]
pub(super) struct Bringing<'a, T>(&'a Groups<T>);

impl<T> Default for Groups<T> {
    fn default() -> Self {
        let line = Mutex::new(Line { waiting: VecDeque::new(), bringing: 0 });
        Self { line, changed: Condvar::new(), stopped: AtomicBool::new(false) }
    }
}

impl<T> Groups<T> {
    /// From now on others wait for what the caller puts.
    pub(super) fn bring(&self) -> Bringing<'_, T> {
        self.line().bringing += 1;
        Bringing(self)
    }

    pub(super) fn put(&self, group: T) {
        self.line().waiting.push_back(group);
        self.changed.notify_one();
    }

    /// The next one, while the caller may bring more. Waits as long as others may. `None`: all is done, or is to stop.
    pub(super) fn take(&self) -> Option<(T, Bringing<'_, T>)> {
        let mut line = self.line();
        loop {
            if self.is_stopped() {
                return None;
            }
            if let Some(group) = line.waiting.pop_front() {
                line.bringing += 1;
                return Some((group, Bringing(self)));
            }
            if line.bringing == 0 {
                return None;
            }
            line = self.changed.wait(line).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Nothing more is taken.
    pub(super) fn stop(&self) {
        let _line = self.line();
        self.stopped.store(true, Ordering::Relaxed);
        self.changed.notify_all();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    fn line(&self) -> MutexGuard<'_, Line<T>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for Bringing<'_, T> {
    fn drop(&mut self) {
        let mut line = self.0.line();
        line.bringing -= 1;
        if line.bringing == 0 {
            self.0.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::mpsc, thread};

    #[test]
    fn what_is_given_back_goes_to_who_waits_and_all_end_when_nobody_may_bring_more() {
        let groups = Groups::default();
        let walking = groups.bring();
        groups.put(vec![1, 2, 3]);
        let (group, busy) = groups.take().unwrap();
        drop(walking);
        let (taken, told) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| {
                while let Some((group, _busy)) = groups.take() {
                    taken.send(group).unwrap();
                }
                drop(taken);
            });
            groups.put(group[1..].to_vec());
            assert_eq!(told.recv().unwrap(), [2, 3]);
            drop(busy);
            told.recv().unwrap_err();
        });
    }

    #[test]
    fn who_waits_is_told_to_stop() {
        let groups = Groups::<u8>::default();
        let _walking = groups.bring();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| groups.take().is_none());
            groups.stop();
            assert!(waiting.join().unwrap());
        });
        groups.put(1);
        assert!(groups.take().is_none());
    }
}
