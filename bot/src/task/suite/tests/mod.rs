//! Real runners with suites that crash, exit, hang and are killed: every test gets the verdict that it deserves, by name,
//! and the rest runs on.

mod ctest;
mod fixture;
mod gtest;
mod libtest;
mod listing;
mod out_of_memory;
mod partitions;
mod pytest;

use super::*;
use crate::{
    executor::{Command, MARKER},
    suite::{Batch, Driver, TestReport, TestVerdict},
};
use runtime::SystemClock;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};
use tempfile::TempDir;
use tokio::sync::mpsc;

/// Longer than any test of the fixtures takes that does not hang.
const PATIENCE: Duration = Duration::from_secs(20);

/// For those that do.
const SHORT: Duration = Duration::from_millis(1500);

/// A place for attempts of one command, and the test in the place of the scheduler.
struct Bench {
    root: TempDir,
    command: Command,
    driver: Driver,
    timeouts: Timeouts,
    /// Tests that hang, which get a short timeout.
    hang: &'static [&'static str],
    /// Who asks for more gets it when all that it had was told.
    late: bool,
    /// An end for lack of memory, though the kernel says nothing of it.
    starved: Option<CommandExit>,
}

/// What an attempt told.
#[derive(Debug)]
struct Told {
    listed: Vec<ListedTest>,
    started: Vec<u32>,
    reports: Vec<TestReport>,
    end: SuiteEnd,
    output: String,
}

impl Told {
    fn report(&self, index: usize) -> &TestReport {
        let of: Vec<_> =
            self.reports.iter().filter(|report| report.index == u32::try_from(index).unwrap()).collect();
        assert_eq!(of.len(), 1, "test {index} has one verdict: {self:#?}");
        of[0]
    }
}

impl Bench {
    fn new(driver: Driver, program: impl Into<PathBuf>, arguments: &[&str]) -> Self {
        let root = tempfile::tempdir().unwrap();
        for name in ["in", "out", "tmp"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        let text = |name: &str| root.path().join(name).to_str().unwrap().to_owned();
        let environment = [
            ("PATH", std::env::var("PATH").unwrap()),
            ("HOME", text("tmp")),
            ("TMPDIR", text("tmp")),
            (MARKER, root.path().to_str().unwrap().to_owned()),
        ];
        let command = Command {
            program: program.into(),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            environment: environment.map(|(name, value)| (name.to_owned(), value)).into(),
            directory: root.path().join("in"),
            ..Command::default()
        };
        let timeouts = Timeouts { hard: Duration::from_secs(100), io: None, grace: Duration::from_secs(2) };
        Self { root, command, driver, timeouts, hang: &[], late: false, starved: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.path("out/test-logs").join(name)).unwrap()
    }

    /// Lists the tests, then runs all that are not disabled.
    async fn run_all(&self) -> Told {
        let mut names = BTreeMap::new();
        self.attempt(true, |listed| {
            let enabled = listed.iter().enumerate().filter(|(_, test)| !test.disabled);
            names.extend(enabled.map(|(index, test)| (index, test.name.clone())));
            vec![std::mem::take(&mut names).into_iter().collect()]
        })
        .await
    }

    /// Runs these batches of tests, which another attempt has listed.
    async fn run(&self, batches: &[&[(usize, &str)]]) -> Told {
        let owned = |(index, name): &(usize, &str)| (*index, (*name).to_owned());
        let batches = batches.iter().map(|batch| batch.iter().map(owned).collect()).collect();
        self.attempt(false, |_| batches).await
    }

    async fn attempt(
        &self,
        list: bool,
        batches: impl FnOnce(&[ListedTest]) -> Vec<Vec<(usize, String)>>,
    ) -> Told {
        let clock = SystemClock::shared();
        let spool = tempfile::tempdir_in(self.root.path()).unwrap();
        let spool = Arc::new(
            Spool::create(&spool.path().join("output"), Arc::clone(&clock), Arc::default()).unwrap(),
        );
        let executor = Executor { starved: self.starved, ..Executor::plain(None, clock) };
        let interruption = watch::Sender::default();
        let mut interrupted = interruption.subscribe();
        let (commands, obeyed) = mpsc::channel(4);
        let (told, mut news) = mpsc::channel(4);
        let order = TestsOrder { driver: self.driver.clone(), list };
        let base = Base {
            command: self.command.clone(),
            input: self.path("in"),
            outputs: self.path("out"),
            own: self.path("tmp/.isoswarm"),
        };
        let limits = Limits {
            executor: &executor,
            spool: &spool,
            timeouts: self.timeouts,
            interrupted: &mut interrupted,
        };
        let run = run(limits, &order, base, TestsLine { commands: obeyed, news: told });
        let schedule = self.schedule(list, batches, commands, &mut news);
        let both = async { tokio::join!(run, schedule) };
        let (end, (listed, started, reports)) =
            tokio::time::timeout(Duration::from_secs(120), both).await.expect("it ends in time");
        let output = String::from_utf8_lossy(&spool.read(0..spool.len())).into_owned();
        Told { listed, started, reports, end, output }
    }

    /// Hands out the batches, one whenever it is asked for one, then lets the attempt end.
    async fn schedule(
        &self,
        list: bool,
        batches: impl FnOnce(&[ListedTest]) -> Vec<Vec<(usize, String)>>,
        commands: mpsc::Sender<TestsCommand>,
        news: &mut mpsc::Receiver<TestsNews>,
    ) -> (Vec<ListedTest>, Vec<u32>, Vec<TestReport>) {
        let (mut listed, mut started, mut reports) = (Vec::new(), Vec::new(), Vec::new());
        if list {
            match news.recv().await {
                Some(TestsNews::Listed(tests)) => listed = tests,
                None => return (listed, started, reports),
                other => panic!("the list comes first: {other:?}"),
            }
        }
        let batches: Vec<_> = batches(&listed).into_iter().map(|batch| self.batch(batch)).collect();
        let mut batches = batches.into_iter();
        let (mut granted, mut hungry) = (0, false);
        while let Some(told) = news.recv().await {
            match told {
                TestsNews::Listed(_) => panic!("there is one list"),
                TestsNews::Started { index, .. } => started.push(index),
                TestsNews::Finished(report) => reports.push(report),
                TestsNews::Hungry => hungry = true,
            }
            if hungry && (!self.late || reports.len() == granted) {
                hungry = false;
                let next = batches.next();
                granted += next.as_ref().map_or(0, |batch| batch.tests.len());
                let _ = commands.send(next.map_or(TestsCommand::Complete, TestsCommand::Batch)).await;
            }
        }
        (listed, started, reports)
    }

    fn batch(&self, tests: Vec<(usize, String)>) -> Batch {
        let test = |(index, name): (usize, String)| {
            let timeout = if self.hang.contains(&name.as_str()) { SHORT } else { PATIENCE };
            TestToRun { index: u32::try_from(index).unwrap(), name, timeout }
        };
        Batch { number: 0, tests: tests.into_iter().map(test).collect() }
    }
}

/// Asserts what became of each test that was listed and not disabled, by name.
fn assert_verdicts(told: &Told, expected: &[(&str, TestVerdict)]) {
    let names: BTreeSet<&str> =
        told.listed.iter().filter(|test| !test.disabled).map(|test| test.name.as_str()).collect();
    assert_eq!(names, expected.iter().map(|(name, _)| *name).collect(), "what is listed");
    for (name, verdict) in expected {
        let index = told.listed.iter().position(|test| test.name == *name).unwrap();
        let report = told.report(index);
        assert_eq!(report.verdict, *verdict, "{name}: {report:?} of {told:#?}");
    }
}

/// What the script of this name in `tests/setup` has seen to, for its one argument.
fn setup(script: &str, name: &str) -> PathBuf {
    let script = runtime::testing::package().join("../tests/setup").join(script);
    let output = std::process::Command::new(script).arg(name).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().into()
}

fn crashed(how: &str) -> TestVerdict {
    TestVerdict::Crashed { how: how.into() }
}
