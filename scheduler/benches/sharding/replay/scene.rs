//! One trace on so many bots in one mode: without history, with it, on unequal bots; and with one that dies.

use super::stage::{Play, Stage};
use crate::{fleet::Fleet, parts::OVERHEAD, trace::Trace};
use proto::v1;
use scheduler::sharding::Mode;
use std::time::Duration;

/// Which of the fleets that are drawn.
const SEED: u64 = 0;

/// See the module.
pub(super) struct Scene<'a> {
    pub(super) trace: &'a Trace,
    pub(super) size: usize,
    pub(super) mode: Mode,
    /// So many times as fast as on a real host.
    pub(super) scale: f64,
}

/// What it came to.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// As `KINDS` names them.
    pub(super) runs: [Ratios; super::KINDS.len()],
    pub(super) killed: Vec<Killed>,
    pub(super) counts: Vec<v1::TestCounts>,
}

/// Of one run: its makespan over the lower bound, what it cost over its test seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ratios {
    pub(super) ratio: f64,
    pub(super) paid: f64,
    pub(super) doubled: f64,
}

/// Of a run in which a bot died: its makespan over the undisturbed one, and seconds until others had its tests, if it had
/// any.
#[derive(Clone, Copy, Debug)]
pub(super) struct Killed {
    pub(super) ratio: f64,
    pub(super) moved: Option<f64>,
}

/// Bots of unequal speed, that come one after the other.
pub(super) fn unequal(size: usize) -> Fleet {
    Fleet::unequal(size, false, SEED)
}

impl Scene<'_> {
    pub(super) async fn play(&self) -> Told {
        let mut stage = Stage::open(self.scale).await;
        let mut told = Told::default();
        self.warm_up(&mut stage).await;
        let cold = self.run(&mut stage, &mut told.counts, "cold", &Fleet::ideal(self.size)).await;
        for suite in ["warm", "unequal"] {
            stage.learn(&Play::history(self.trace, suite)).await;
        }
        let warm = self.run(&mut stage, &mut told.counts, "warm", &Fleet::ideal(self.size)).await;
        let unequal = self.run(&mut stage, &mut told.counts, "unequal", &unequal(self.size)).await;
        told.runs = [cold, warm, unequal];
        stage.close().await;
        told
    }

    /// Other tests, by which the scheduler learns what a dispatch costs here.
    async fn warm_up(&self, stage: &mut Stage) {
        let mut play = Play::of(self.trace, "warm-up", self.mode, OVERHEAD);
        let test = |number| (format!("t{number}"), Duration::from_millis(500));
        play.tests = (0..self.size * 20).map(test).collect();
        let _bots = stage.bots(&play, &Fleet::ideal(self.size));
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
        let play = Play::of(self.trace, suite, self.mode, OVERHEAD);
        stage.settle().await;
        let bots = stage.bots(&play, fleet);
        // Those that are there from the beginning wait for work when it comes.
        if fleet.bots.iter().all(|bot| bot.arrives == 0.0) {
            stage.settle().await;
        }
        let began = bots.log.now();
        let run = stage.trigger(&play, self.size).await;
        counts.push(self.checked(stage.ended(&run).await));
        let figures = bots.log.figures(began, None);
        let bound = fleet.lower_bound(self.trace.total(), self.trace.longest());
        Ratios {
            ratio: figures.makespan / bound,
            paid: figures.paid / self.trace.total(),
            doubled: figures.doubled / self.trace.total(),
        }
    }

    /// A run of its own scheduler with history, in which some bot dies at some time, as the simulator draws them.
    /// `undisturbed` is the makespan without that, in seconds.
    pub(super) async fn death(&self, seed: u64, undisturbed: f64) -> (Killed, v1::TestCounts) {
        let mut stage = Stage::open(self.scale).await;
        self.warm_up(&mut stage).await;
        stage.learn(&Play::history(self.trace, "killed")).await;
        let play = Play::of(self.trace, "killed", self.mode, OVERHEAD);
        let fleet = Fleet::ideal(self.size).killed(undisturbed, seed);
        stage.settle().await;
        let bots = stage.bots(&play, &fleet);
        stage.settle().await;
        let began = bots.log.now();
        let run = stage.trigger(&play, self.size).await;
        let (bot, after) = fleet.death().unwrap();
        let death = async {
            stage.sleep(Duration::from_secs_f64(after)).await;
            bots.handles[bot].abort();
            (bots.log.now(), bots.log.held(bot))
        };
        let ((died, held), of_run) = futures::join!(death, stage.ended(&run));
        let ratio = bots.log.figures(began, Some((bot, died))).makespan / undisturbed;
        let moved = (!held.is_empty())
            .then(|| bots.log.moved(&held, bot, died).expect("others have run its tests").as_secs_f64());
        stage.close().await;
        (Killed { ratio, moved }, self.checked(of_run))
    }

    /// Everything that was listed has passed.
    fn checked(&self, of_run: v1::TestCounts) -> v1::TestCounts {
        assert_eq!((of_run.listed, of_run.passed), (self.trace.truth.len() as u32, of_run.listed));
        of_run
    }
}
