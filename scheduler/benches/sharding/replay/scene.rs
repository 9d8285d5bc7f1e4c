//! One trace on so many bots in one mode: without history, with it, on unequal bots, and with one that dies. Each run has a
//! scheduler of its own.

use super::{
    REPLAYED,
    load::{Load, Turns},
    stage::{Play, Stage},
};
use crate::{fleet::Fleet, parts::OVERHEAD, trace::Trace};
use futures::{
    future::{join, join_all},
    join,
};
use proto::v1;
use scheduler::sharding::Mode;
use std::time::Duration;

/// See the module.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) trace: &'a Trace,
    pub(super) size: usize,
    pub(super) mode: Mode,
    pub(super) load: Load,
    pub(super) turns: &'a Turns,
    pub(super) draws: Draws,
}

/// How often a trace is run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draws {
    cold: u64,
    /// Of those that the simulator draws, these are taken: the first one, and how many.
    first: u64,
    unequal: u64,
    pub(super) deaths: u64,
}

impl Draws {
    /// Of this draw of a shape on so many bots. A file is played several times, unless it is long and so takes most of the
    /// replay; of a shape it is the draws that make several.
    pub(super) fn of(same: &[Trace], draw: usize, size: usize) -> Self {
        const LONG: f64 = 20_000.0;
        let [cold, unequal, deaths] = match same {
            [file] if file.total() < LONG => [2, 3, 4],
            [_] => [1, 1, 2],
            _ => [1, 1, 1],
        };
        let deaths = if size == REPLAYED[1] { deaths } else { 0 };
        Self { cold, first: draw as u64, unequal, deaths }
    }

    /// Bots of unequal speed, that come one after the other.
    pub(super) fn unequal(self, size: usize) -> impl Iterator<Item = Fleet> {
        (self.first..self.first + self.unequal).map(move |seed| Fleet::unequal(size, false, seed))
    }

    /// In each of them one bot dies before a run's end.
    pub(super) fn killed(self, size: usize, end: f64) -> impl Iterator<Item = Fleet> {
        (self.first..self.first + self.deaths).map(move |seed| Fleet::ideal(size).killed(end, seed))
    }
}

/// What it came to.
#[derive(Debug)]
pub(super) struct Told {
    /// As `KINDS` names them.
    pub(super) runs: [Vec<Ratios>; super::KINDS.len()],
    pub(super) killed: Vec<Killed>,
    pub(super) counts: Vec<v1::TestCounts>,
}

/// Of one run: its makespan over the lower bound, what it cost over its test seconds.
#[derive(Clone, Copy, Debug)]
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

/// Of one run.
struct Performed {
    makespan: f64,
    ratios: Ratios,
    moved: Option<f64>,
    counts: v1::TestCounts,
}

impl Scene<'_> {
    pub(super) async fn play(&self) -> Told {
        let ideal = || Fleet::ideal(self.size);
        let warm_and_killed = async {
            let warm = self.run("warm", ideal()).await;
            let deaths = self.draws.killed(self.size, warm.makespan);
            let killed = join_all(deaths.map(|fleet| self.run("killed", fleet))).await;
            (warm, killed)
        };
        let cold = join_all((0..self.draws.cold).map(|_| self.run("cold", ideal())));
        let unequal = self.draws.unequal(self.size).map(|fleet| self.run("unequal", fleet));
        let (cold, ((warm, killed), unequal)) = join(cold, join(warm_and_killed, join_all(unequal))).await;
        let undisturbed = warm.makespan;
        let deaths = killed.iter();
        let deaths = deaths
            .map(|killed| Killed { ratio: killed.makespan / undisturbed, moved: killed.moved })
            .collect();
        let runs = [cold, vec![warm], unequal];
        let counts = runs.iter().flatten().chain(&killed).map(|performed| performed.counts).collect();
        let ratios = |performed: Vec<Performed>| performed.iter().map(|performed| performed.ratios).collect();
        Told { runs: runs.map(ratios), killed: deaths, counts }
    }

    async fn run(&self, suite: &'static str, fleet: Fleet) -> Performed {
        self.turns.take(self.load, self.perform(suite, &fleet)).await
    }

    async fn perform(&self, suite: &'static str, fleet: &Fleet) -> Performed {
        let mut stage = Stage::open(self.load.scale).await;
        self.warm_up(&mut stage).await;
        if suite != "cold" {
            stage.learn(&Play::history(self.trace, suite)).await;
        }
        let play = Play::of(self.trace, suite, self.mode, OVERHEAD);
        stage.settle().await;
        let bots = stage.bots(&play, fleet);
        // Those that are there from the beginning wait for work when it comes.
        if fleet.bots.iter().all(|bot| bot.arrives == 0.0) {
            stage.settle().await;
        }
        let began = bots.log.now();
        let run = stage.trigger(&play, self.size).await;
        let death = async {
            let (bot, after) = fleet.death()?;
            stage.sleep(Duration::from_secs_f64(after)).await;
            bots.handles[bot].abort();
            Some((bot, bots.log.now(), bots.log.held(bot)))
        };
        let (death, counts) = join!(death, stage.ended(&run));
        let figures = bots.log.figures(began, death.as_ref().map(|(bot, died, _)| (*bot, *died)));
        let moved = death.filter(|(.., held)| !held.is_empty()).map(|(bot, died, held)| {
            bots.log.moved(&held, bot, died).expect("others have run its tests").as_secs_f64()
        });
        stage.close().await;
        let (bound, total) =
            (fleet.lower_bound(self.trace.total(), self.trace.longest()), self.trace.total());
        let ratios = Ratios {
            ratio: figures.makespan / bound,
            paid: figures.paid / total,
            doubled: figures.doubled / total,
        };
        Performed { makespan: figures.makespan, ratios, moved, counts: self.checked(counts) }
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

    /// Everything that was listed has passed.
    fn checked(&self, of_run: v1::TestCounts) -> v1::TestCounts {
        assert_eq!((of_run.listed, of_run.passed), (self.trace.truth.len() as u32, of_run.listed));
        of_run
    }
}
