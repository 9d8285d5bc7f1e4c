//! One trace on so many bots in one mode: without history, with it, on unequal bots, with one that dies.

use super::stage::{Play, Stage};
use crate::{fleet::Fleet, parts::OVERHEAD, random::Random, trace::Trace};
use proto::v1;
use scheduler::sharding::Mode;
use std::time::Duration;

/// Which of the fleets that are drawn.
const SEED: u64 = 0;
/// Bots find the scheduler, and the scheduler notices that others are gone, in this time.
const SETTLE: Duration = Duration::from_millis(500);

/// See the module.
pub(super) struct Scene<'a> {
    pub(super) trace: &'a Trace,
    pub(super) size: usize,
    pub(super) mode: Mode,
    pub(super) scale: f64,
}

/// What it came to.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// As `KINDS` names them.
    pub(super) runs: [Ratios; super::KINDS.len()],
    pub(super) killed: Option<Killed>,
    pub(super) counts: Vec<v1::TestCounts>,
}

/// Of one run: its makespan over the lower bound, what it cost over its test seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ratios {
    pub(super) ratio: f64,
    pub(super) paid: f64,
    pub(super) doubled: f64,
}

/// Of a run in which a bot died: its makespan over the undisturbed one, and seconds until others had its tests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Killed {
    pub(super) ratio: f64,
    pub(super) moved: f64,
}

/// Bots of unequal speed, that come one after the other.
pub(super) fn unequal(size: usize) -> Fleet {
    Fleet::unequal(size, false, SEED)
}

impl Scene<'_> {
    pub(super) async fn play(self) -> Told {
        let mut stage = Stage::open().await;
        let mut told = Told::default();
        self.warm_up(&mut stage).await;
        let cold = self.run(&mut stage, &mut told.counts, "cold", &Fleet::ideal(self.size)).await;
        for suite in ["warm", "unequal", "killed"] {
            stage.learn(&Play::history(self.trace, suite, self.scale)).await;
        }
        let warm = self.run(&mut stage, &mut told.counts, "warm", &Fleet::ideal(self.size)).await;
        let unequal = self.run(&mut stage, &mut told.counts, "unequal", &unequal(self.size)).await;
        told.runs = [cold, warm, unequal];
        if self.size == super::REPLAYED[1] {
            told.killed = Some(self.kill(&mut stage, &mut told.counts, warm).await);
        }
        stage.close().await;
        told
    }

    /// Other tests, by which the scheduler learns what a dispatch costs here.
    async fn warm_up(&self, stage: &mut Stage) {
        let mut play = Play::of(self.trace, "warm-up", self.mode, OVERHEAD, self.scale);
        let test = |number| (format!("t{number}"), Duration::from_millis(20));
        play.tests = (0..self.size * 20).map(test).collect();
        let _bots = stage.bots(&play, &Fleet::ideal(self.size), self.scale);
        let run = stage.trigger(&play, self.size).await;
        stage.ended(&run).await;
    }

    async fn run(
        &self,
        stage: &mut Stage,
        counts: &mut Vec<v1::TestCounts>,
        suite: &'static str,
        fleet: &Fleet,
    ) -> Ratios {
        let play = Play::of(self.trace, suite, self.mode, OVERHEAD, self.scale);
        // Those of the run before have hung up by then.
        stage.sleep(SETTLE).await;
        let bots = stage.bots(&play, fleet, self.scale);
        // Those that are there from the beginning wait for work when it comes.
        if fleet.bots.iter().all(|bot| bot.arrives == 0.0) {
            stage.sleep(SETTLE).await;
        }
        let began = bots.log.now();
        let run = stage.trigger(&play, self.size).await;
        self.check(stage.ended(&run).await, counts);
        let figures = bots.log.figures(began, None);
        let bound = fleet.lower_bound(self.trace.total(), self.trace.longest());
        Ratios {
            ratio: figures.makespan * self.scale / bound,
            paid: figures.paid * self.scale / self.trace.total(),
            doubled: figures.doubled * self.scale / self.trace.total(),
        }
    }

    /// Some bot that has tests dies at some time of the first four fifths of a run.
    async fn kill(&self, stage: &mut Stage, counts: &mut Vec<v1::TestCounts>, warm: Ratios) -> Killed {
        let random = Random::new(SEED ^ self.trace.truth.len() as u64);
        let play = Play::of(self.trace, "killed", self.mode, OVERHEAD, self.scale);
        stage.sleep(SETTLE).await;
        let bots = stage.bots(&play, &Fleet::ideal(self.size), self.scale);
        stage.sleep(SETTLE).await;
        let began = bots.log.now();
        let run = stage.trigger(&play, self.size).await;
        let bound = (self.trace.total() / self.size as f64).max(self.trace.longest());
        stage.sleep(Duration::from_secs_f64(bound / self.scale * (0.1 + 0.7 * random.uniform()))).await;
        let first = random.below(self.size);
        let busy = || (first..self.size).chain(0..first).find(|bot| !bots.log.held(*bot).is_empty());
        // On a slow host nobody may have any yet.
        let bot = loop {
            match busy() {
                Some(bot) => break bot,
                None => stage.sleep(Duration::from_millis(20)).await,
            }
        };
        bots.handles[bot].abort();
        let (died, held) = (bots.log.now(), bots.log.held(bot));
        self.check(stage.ended(&run).await, counts);
        let figures = bots.log.figures(began, Some((bot, died)));
        let moved = bots.log.moved(&held, bot, died).expect("others have run its tests");
        let undisturbed = warm.ratio * bound / self.scale;
        Killed { ratio: figures.makespan / undisturbed, moved: moved.as_secs_f64() }
    }

    /// Everything that was listed has passed.
    fn check(&self, of_run: v1::TestCounts, counts: &mut Vec<v1::TestCounts>) {
        assert_eq!((of_run.listed, of_run.passed), (self.trace.truth.len() as u32, of_run.listed));
        counts.push(of_run);
    }
}
