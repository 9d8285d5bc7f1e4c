//! One scheduler with a journal in a directory of its own, and sleeping bots that come and go.

use super::{hurried::Hurried, log::Log};
use crate::{fleet::Fleet, trace::Trace};
use bot::{Sleeper, Sleeps};
use proto::{
    BotId,
    v1::{self, TestDriver, swarm_client::SwarmClient},
};
use runtime::{Clock, Entropy, SeededEntropy, Shutdown, SystemClock};
use scheduler::sharding::Mode;
use std::{sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::task::{AbortHandle, JoinSet};
use tonic::transport::Channel;

/// Time of the host between two looks at whether a run has ended.
const LOOK_EACH: Duration = Duration::from_millis(50);
/// Bots find the scheduler, and the scheduler notices that others are gone, in this time of the host.
const SETTLE: Duration = Duration::from_millis(500);
/// No run is without news for longer of the host's time, or it hangs: the longest test of all traces takes less.
const LONGEST: Duration = Duration::from_secs(700);

/// What bots sleep, and how a run is called.
#[derive(Clone, Debug)]
pub(super) struct Play {
    pub(super) suite: &'static str,
    pub(super) driver: TestDriver,
    pub(super) tests: Arc<[(String, Duration)]>,
    /// What a runner takes to start.
    pub(super) start: Duration,
    /// Part of their time that tests really sleep.
    pub(super) slept: f64,
}

impl Play {
    /// The tests of a trace.
    pub(super) fn of(trace: &Trace, suite: &'static str, mode: Mode, start: Duration) -> Self {
        let tests = trace.listed.iter().zip(&trace.truth);
        let tests = tests.map(|(test, took)| (test.name.to_string(), *took)).collect();
        let driver = match mode {
            Mode::Pull => TestDriver::Pytest,
            Mode::Process => TestDriver::Gtest,
        };
        Self { suite, driver, tests, start, slept: 1.0 }
    }

    /// An earlier run of it, of which nothing counts but what was known of its tests afterwards. By another driver: what
    /// a dispatch costs is learnt from bots that do take time.
    pub(super) fn history(trace: &Trace, suite: &'static str) -> Self {
        let tests = trace.listed.iter().zip(&trace.history);
        let known = tests.filter_map(|(test, took)| Some((test.name.to_string(), (*took)?)));
        let tests = known.collect();
        Self { suite, driver: TestDriver::Ctest, tests, start: Duration::ZERO, slept: 0.0 }
    }
}

/// Bots of one run, at work until dropped.
pub(super) struct Bots {
    _tasks: JoinSet<()>,
    /// Of each of them, in order.
    pub(super) handles: Vec<AbortHandle>,
    pub(super) log: Log,
}

/// See the module.
pub(super) struct Stage {
    url: String,
    shutdown: Shutdown,
    serving: JoinSet<()>,
    /// Of all that takes part.
    clock: Arc<dyn Clock>,
    host: SystemClock,
    entropy: Arc<dyn Entropy>,
    /// Runs and bots have names of their own.
    names: u32,
    _dir: TempDir,
}

impl Stage {
    /// Whose time runs so many times as fast as the host's.
    pub(super) async fn open(times: f64) -> Self {
        let dir = TempDir::with_prefix("isoswarm-replay-").unwrap();
        let config = scheduler::Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            data: dir.path().join("journal"),
            ..scheduler::Config::default()
        };
        let (clock, host) = (Hurried::shared(times), SystemClock::new());
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(1));
        let running = scheduler::start(config, Arc::clone(&clock), Arc::clone(&entropy)).await.unwrap();
        let (url, shutdown) = (running.url(), Shutdown::new());
        let mut serving = JoinSet::new();
        let served = running.run_until(shutdown.clone());
        serving.spawn(async { served.await.unwrap() });
        Self { url, shutdown, serving, clock, host, entropy, names: 0, _dir: dir }
    }

    pub(super) async fn close(mut self) {
        self.shutdown.request();
        while self.serving.join_next().await.transpose().unwrap().is_some() {}
    }

    /// Bots that nobody has seen before, as a fleet has them.
    pub(super) fn bots(&mut self, play: &Play, fleet: &Fleet) -> Bots {
        self.names += 1;
        let log = Log::new(Arc::clone(&self.clock), fleet.bots.len());
        let mut tasks = JoinSet::new();
        let mut handles = Vec::new();
        for (number, member) in fleet.bots.iter().enumerate() {
            let sleeps = Sleeps {
                tests: Arc::clone(&play.tests),
                pace: 1.0 / member.speed,
                slept: play.slept,
                start: play.start,
                per_batch: play.driver != TestDriver::Pytest,
            };
            let id = BotId::new(&format!("bot-{}-{number}", self.names)).unwrap();
            let (clock, entropy) = (Arc::clone(&self.clock), Arc::clone(&self.entropy));
            let sleeper = Sleeper::new(id, &self.url, sleeps, clock, entropy, log.of_bot(number)).unwrap();
            let (clock, arrives) = (Arc::clone(&self.clock), Duration::from_secs_f64(member.arrives));
            handles.push(tasks.spawn(async move {
                clock.sleep(arrives).await;
                sleeper.run().await;
            }));
        }
        Bots { _tasks: tasks, handles, log }
    }

    /// Begins a run for so many workers; its id.
    pub(super) async fn trigger(&mut self, play: &Play, workers: usize) -> String {
        self.names += 1;
        let name = format!("{}-{}", play.suite, self.names);
        let tests = v1::TestsPolicy {
            driver: play.driver.into(),
            max_workers: workers as u32,
            suite: play.suite.into(),
            ..Default::default()
        };
        let step = v1::StepSpec {
            name: "tests".into(),
            input: Some(proto::DigestFunction::Blake3.digest(name.as_bytes()).into()),
            command: vec!["./tests".into()],
            wait_for_capacity: true,
            fan_out: Some(v1::FanOut { policy: Some(v1::fan_out::Policy::Tests(tests)) }),
            ..Default::default()
        };
        let run =
            v1::RunSpec { name: name.clone(), user: "bench".into(), steps: vec![step], ..Default::default() };
        let request = v1::TriggerRequest { request_id: name, run: Some(run), ..Default::default() };
        self.swarm().trigger(request).await.unwrap().into_inner().run_id
    }

    /// Waits until a run has ended, and says what became of its tests.
    pub(super) async fn ended(&self, run: &str) -> v1::TestCounts {
        let (mut known, mut since) = (None, self.host.elapsed());
        loop {
            let request = v1::GetRequest { run_id: run.into() };
            let run = self.swarm().get(request).await.unwrap().into_inner().run.unwrap();
            let counts = run.tests.first().and_then(|tests| tests.counts);
            if run.ended.is_some() {
                return counts.unwrap();
            }
            if counts != known {
                (known, since) = (counts, self.host.elapsed());
            }
            assert!(self.host.elapsed() - since < LONGEST, "a run hangs: {:?}", run.tests);
            self.host.sleep(LOOK_EACH).await;
        }
    }

    /// Lets a scheduler know what a suite took before.
    pub(super) async fn learn(&mut self, play: &Play) {
        let _bots = self.bots(play, &Fleet::ideal(1));
        let run = self.trigger(play, 1).await;
        self.ended(&run).await;
    }

    pub(super) async fn sleep(&self, duration: Duration) {
        self.clock.sleep(duration).await;
    }

    /// Until those of the run before have hung up, or new bots have found the scheduler.
    pub(super) async fn settle(&self) {
        self.host.sleep(SETTLE).await;
    }

    fn swarm(&self) -> SwarmClient<Channel> {
        SwarmClient::new(runtime::connect::channel(&self.url, None).unwrap())
            .max_decoding_message_size(usize::MAX)
    }
}
