//! Bots: how fast, since when, until when.

use crate::random::Random;

#[derive(Clone, Debug)]
pub(crate) struct Bot {
    /// Seconds of tests in a second.
    pub(crate) speed: f64,
    /// Seconds after the start.
    pub(crate) arrives: f64,
    pub(crate) dies: Option<f64>,
}

#[derive(Clone, Debug)]
pub(crate) struct Fleet {
    pub(crate) bots: Vec<Bot>,
    /// Whether the planner knows the speeds from earlier runs.
    pub(crate) is_known: bool,
}

impl Fleet {
    /// Equal bots, all there.
    pub(crate) fn ideal(bots: usize) -> Self {
        Self { bots: vec![Bot { speed: 1.0, arrives: 0.0, dies: None }; bots], is_known: false }
    }

    /// Log of the speed of deviation 0.15, one in 64 (at least one) three times slower, all there after 10 s.
    pub(crate) fn unequal(bots: usize, is_known: bool, seed: u64) -> Self {
        let random = Random::new(seed);
        let bot =
            |_| Bot { speed: (0.15 * random.normal()).exp(), arrives: 10.0 * random.uniform(), dies: None };
        let mut fleet = Self { bots: (0..bots).map(bot).collect(), is_known };
        let mut slow = std::collections::BTreeSet::new();
        while slow.len() < (bots / 64).max(1) {
            slow.insert(random.below(bots));
        }
        for position in slow {
            fleet.bots[position].speed /= 3.0;
        }
        fleet
    }

    /// Some bot dies at some time before `end`.
    pub(crate) fn killed(mut self, end: f64, seed: u64) -> Self {
        let random = Random::new(seed);
        let position = random.below(self.bots.len());
        self.bots[position].dies = Some(end * random.uniform());
        self
    }

    /// Which bot dies, and after how many seconds.
    pub(crate) fn death(&self) -> Option<(usize, f64)> {
        self.bots.iter().enumerate().find_map(|(position, bot)| Some((position, bot.dies?)))
    }

    /// No run of these tests can end before.
    pub(crate) fn lower_bound(&self, total: f64, longest: f64) -> f64 {
        let all: f64 = self.bots.iter().map(|bot| bot.speed).sum();
        let fastest = self.bots.iter().map(|bot| bot.speed).fold(0.0, f64::max);
        (total / all).max(longest / fastest)
    }
}
