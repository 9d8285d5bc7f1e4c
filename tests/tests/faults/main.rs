//! Every driver with its real runner, bots and a scheduler: whatever a test does, and whoever is killed meanwhile, each
//! test has the verdict that it deserves, under its name.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests may, also in their helpers")]

mod suites;

use runtime::{Clock as _, SystemClock};
use serde_json::Value;
use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};
use suites::{Suite, TESTS};
use swarm_cli::model::Driver;
use tests::{Finished, System, eventually};
use tokio::{process::Command, task::JoinSet};

/// A system with the suite of one driver, and the gate that its test `waits` waits for.
struct Stage {
    system: System,
    suite: Suite,
    digest: String,
    gate: PathBuf,
}

impl Stage {
    async fn new(driver: Driver) -> Self {
        let system = System::start(2).await;
        let suite = Suite(driver);
        let digest = suite.archived(&system).await;
        let gate = system.path().join("gate");
        Self { system, suite, digest, gate }
    }

    /// `swarm run` with a report in `report.json`.
    fn run(&self, args: &[&str]) -> Command {
        let mut command = self.system.command("swarm");
        command.args(["run", &self.digest, "--name", "suite", "--json", "report.json"]);
        command.args(self.suite.flags()).args(["--env", &format!("GATE={}", self.gate.display())]).args(args);
        command
    }

    /// Lets `waits` pass.
    fn open_the_gate(&self) {
        fs::write(&self.gate, "").unwrap();
    }

    /// As soon as `waits` runs: on which bot it does.
    async fn waiting(&self) -> usize {
        let told = self.gate.with_extension("open");
        let place =
            eventually("the test that waits to run", || async { fs::read_to_string(&told).ok() }).await;
        let number = place.split("/bot-").nth(1).and_then(|rest| rest.split('/').next());
        number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no bot in {place}"))
    }

    /// What became of each test, by the driver's name for it.
    fn outcomes(&self) -> BTreeMap<String, String> {
        let text = fs::read_to_string(self.system.path().join("report.json")).unwrap();
        let report: Value = serde_json::from_str(&text).unwrap();
        let tests = report["tests"].as_array().unwrap().iter();
        let told =
            |test: &Value| (test["id"].as_str().unwrap().into(), test["outcome"].as_str().unwrap().into());
        let outcomes: BTreeMap<String, String> = tests.clone().map(told).collect();
        assert_eq!(outcomes.len(), tests.len(), "one verdict each: {text}");
        outcomes
    }

    /// `passed`, but for those that are named.
    fn expected(&self, others: &[(&str, &str)]) -> BTreeMap<String, String> {
        let outcome =
            |name: &str| others.iter().find(|(other, _)| *other == name).map_or("passed", |(_, it)| it);
        TESTS.iter().enumerate().map(|(at, name)| (self.suite.id(at), outcome(name).to_owned())).collect()
    }
}

/// A failure, an abort, an exit with code 0 in the middle and a test that hangs.
async fn each_fault_is_its_tests_own(driver: Driver) {
    let stage = Stage::new(driver).await;
    stage.open_the_gate();
    let args = ["--env", "FAULTS=1", "--retries", "0", "--test-timeout", "5s"];
    let run = Finished::of(&mut stage.run(&args)).await.expect(1);
    let faults = [("fails", "failed"), ("aborts", "crashed"), ("exits", "crashed"), ("hangs", "timed_out")];
    assert_eq!(stage.outcomes(), stage.expected(&faults), "{}", run.stderr);
}

/// A command at work beside the test.
fn begun(mut command: Command) -> JoinSet<Finished> {
    let mut run = JoinSet::new();
    run.spawn(async move { Finished::of(&mut command).await });
    run
}

/// `kill -9` of the bot while the test runs: another one has it, and all that this one had besides.
async fn a_bot_dies(driver: Driver) {
    let mut stage = Stage::new(driver).await;
    let mut run = begun(stage.run(&[]));
    let bot = stage.waiting().await;
    stage.system.kill_bot(bot).await;
    stage.open_the_gate();
    let run = run.join_next().await.unwrap().unwrap().expect(0);
    assert_eq!(stage.outcomes(), stage.expected(&[]), "{}", run.stderr);
}

/// `kill -9` of scheduler and CAS while the test runs: it ends while nobody can be told, and what it left goes nowhere.
/// Then both come back, and connections break again and again.
async fn servers_die(driver: Driver) {
    let mut stage = Stage::new(driver).await;
    let (mut run, clock) = (begun(stage.run(&["--output-dir", "outputs"])), SystemClock::new());
    stage.waiting().await;
    stage.system.kill_scheduler().await;
    stage.system.kill_cas().await;
    stage.open_the_gate();
    stage.system.restart_scheduler().await;
    stage.system.restart_cas().await;
    let run = loop {
        tokio::select! {
            run = run.join_next() => break run.unwrap().unwrap().expect(0),
            () = clock.sleep(CUT_EACH) => stage.system.scheduler_proxy.cut(),
        }
    };
    assert_eq!(stage.outcomes(), stage.expected(&[]), "{}", run.stderr);
    assert!(stage.system.path().join("outputs").exists(), "logs are there: {}", run.stderr);
}

/// Often enough that answers get lost, seldom enough that some arrive.
const CUT_EACH: Duration = Duration::from_millis(300);

macro_rules! of_each_driver {
    ($($module:ident: $driver:ident)*) => {$(
        mod $module {
            use super::Driver::$driver as DRIVER;

            #[tokio::test(flavor = "multi_thread")]
            async fn each_fault_is_its_tests_own() {
                super::each_fault_is_its_tests_own(DRIVER).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn a_bot_dies() {
                super::a_bot_dies(DRIVER).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn servers_die() {
                super::servers_die(DRIVER).await;
            }
        }
    )*};
}
of_each_driver!(gtest: Gtest libtest: Libtest pytest: Pytest ctest: Ctest bazel: Bazel opaque: Opaque);
