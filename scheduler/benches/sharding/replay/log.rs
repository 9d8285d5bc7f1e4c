//! What bots did when, and what it amounts to.

use crate::engine::SILENT;
use bot::Slept;
use runtime::Clock;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

/// When, which bot, what.
type Entry = (Duration, usize, Slept);

#[derive(Clone, Debug)]
pub(super) struct Log {
    clock: Arc<dyn Clock>,
    bots: usize,
    entries: Arc<Mutex<Vec<Entry>>>,
}

/// What a run took, in seconds of the replay.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    /// From the trigger to the last first end of a test.
    pub(super) makespan: f64,
    /// Between a bot's lease and the moment at which it is let go.
    pub(super) paid: f64,
    /// Spent on tests that another bot has ended first.
    pub(super) doubled: f64,
}

/// When one of so many bots, other than a dead one, was free first, from some time on: one that has no lease is.
fn free(entries: &[Entry], bots: usize, dead: usize, from: Duration) -> Option<Duration> {
    let mut held: BTreeMap<usize, BTreeSet<u32>> =
        (0..bots).filter(|bot| *bot != dead).map(|bot| (bot, BTreeSet::new())).collect();
    let is_free = |held: &BTreeMap<usize, BTreeSet<u32>>| held.values().any(BTreeSet::is_empty);
    for (at, bot, slept) in entries.iter().filter(|(_, bot, _)| *bot != dead) {
        if *at > from && is_free(&held) {
            return Some(from);
        }
        let of_bot = held.entry(*bot).or_default();
        match slept {
            Slept::Granted(test) => drop(of_bot.insert(*test)),
            Slept::Ended(test) => drop(of_bot.remove(test)),
            Slept::Leased | Slept::Begun(_) | Slept::Released => {}
        }
        if *at > from && of_bot.is_empty() {
            return Some(*at);
        }
    }
    None
}

impl Log {
    pub(super) fn new(clock: Arc<dyn Clock>, bots: usize) -> Self {
        Self { clock, bots, entries: Arc::default() }
    }

    pub(super) fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Takes down what one bot does.
    pub(super) fn of_bot(&self, bot: usize) -> impl FnMut(Slept) + Send + 'static {
        let Self { clock, entries, .. } = self.clone();
        move |slept| entries.lock().unwrap().push((clock.elapsed(), bot, slept))
    }

    /// What a bot was granted and has not ended.
    pub(super) fn held(&self, bot: usize) -> BTreeSet<u32> {
        let mut held = BTreeSet::new();
        for (_, of, slept) in self.entries.lock().unwrap().iter() {
            match slept {
                Slept::Granted(test) if *of == bot => held.insert(*test),
                Slept::Ended(test) if *of == bot => held.remove(test),
                _ => false,
            };
        }
        held
    }

    /// How long after `died` the last of these tests was granted to another bot, without the time in which all others were
    /// busy. None when one never was.
    pub(super) fn moved(&self, tests: &BTreeSet<u32>, bot: usize, died: Duration) -> Option<Duration> {
        let entries = self.entries.lock().unwrap();
        let mut granted: BTreeMap<u32, Duration> = BTreeMap::new();
        for (at, _, slept) in entries.iter().filter(|(_, of, _)| *of != bot) {
            if let Slept::Granted(test) = slept
                && tests.contains(test)
            {
                granted.entry(*test).or_insert(*at);
            }
        }
        if granted.len() != tests.len() {
            return None;
        }
        let mut times: Vec<Duration> = granted.into_values().filter(|at| *at > died).collect();
        times.sort_unstable();
        // That it is dead is known after a while; then who is free next has them.
        let mut known = died + SILENT;
        let mut moved = if times.is_empty() { Duration::ZERO } else { SILENT };
        for at in times {
            if at <= died + SILENT {
                moved = at - died;
                continue;
            }
            moved += at.saturating_sub(free(&entries, self.bots, bot, known).unwrap_or(known));
            known = at;
        }
        Some(moved)
    }

    /// Since `began`. `dead` is a bot that died.
    pub(super) fn figures(&self, began: Duration, dead: Option<(usize, Duration)>) -> Figures {
        let entries = self.entries.lock().unwrap();
        let mut first: BTreeMap<u32, (Duration, usize)> = BTreeMap::new();
        for (at, bot, slept) in entries.iter() {
            if let Slept::Ended(test) = slept {
                first.entry(*test).or_insert((*at, *bot));
            }
        }
        let end = first.values().map(|(at, _)| *at).max().unwrap_or(began);
        let until = |bot: usize, at: Duration| {
            let died = dead.filter(|(dead, _)| *dead == bot).map_or(end, |(_, died)| died);
            at.min(end).min(died)
        };
        let (mut leased, mut begun) = (BTreeMap::new(), BTreeMap::new());
        let (mut paid, mut doubled) = (Duration::ZERO, Duration::ZERO);
        let twice = |bot: usize, test: u32| first.get(&test).is_some_and(|(_, by)| *by != bot);
        for (at, bot, slept) in entries.iter() {
            match slept {
                Slept::Leased => drop(leased.insert(*bot, *at)),
                Slept::Released => {
                    let since = leased.remove(bot);
                    paid += since.map_or(Duration::ZERO, |since| until(*bot, *at).saturating_sub(since));
                }
                Slept::Begun(test) => drop(begun.insert((*bot, *test), *at)),
                Slept::Ended(test) => {
                    let since = begun.remove(&(*bot, *test)).filter(|_| twice(*bot, *test));
                    doubled += since.map_or(Duration::ZERO, |since| until(*bot, *at).saturating_sub(since));
                }
                Slept::Granted(_) => {}
            }
        }
        for (bot, since) in leased {
            paid += until(bot, end).saturating_sub(since);
        }
        // What was still running a second time; what a dead bot ran is lost, not doubled.
        for ((bot, test), since) in begun {
            if twice(bot, test) && dead.is_none_or(|(dead, _)| dead != bot) {
                doubled += until(bot, end).saturating_sub(since);
            }
        }
        Figures {
            makespan: end.saturating_sub(began).as_secs_f64(),
            paid: paid.as_secs_f64(),
            doubled: doubled.as_secs_f64(),
        }
    }
}
