//! Attempts whose tests are handed out one by one.

mod forgotten;

use super::{Bench, ended, health::hook};
use crate::scheduler::Tests;
use bot::SandboxKind;
use proto::v1;
use std::{fs, time::Duration};

/// A program that looks like one of GoogleTest: it has tests `S.0` to `S.N`, and writes down which it runs. `S.7` fails.
fn program(tests: u32, ran: &str) -> String {
    format!(
        r#"for argument; do case $argument in
--gtest_list_tests) echo S.; i=0; while [ $i -lt {tests} ]; do echo "  $i"; i=$((i+1)); done; exit 0;;
--gtest_flagfile=*) filter=$(sed -n 's/^--gtest_filter=//p' "${{argument#*=}}");;
esac; done
for test in $(echo $filter | tr : ' '); do
echo "[ RUN      ] $test"; echo $test >> {ran}; echo of $test; sleep 0.01
case $test in S.7) echo "[  FAILED  ] $test (10 ms)";; *) echo "[       OK ] $test (10 ms)";; esac
done
echo "[==========] tests of 1 test suite ran. (10 ms total)""#
    )
}

impl Bench {
    async fn suite(&self, tests: u32, driver: v1::TestDriver) -> v1::Assignment {
        let assignment = self.assignment(&program(tests, &self.path("ran"))).await;
        let order = v1::TestsOrder { driver: driver.into(), partitions: 0 };
        v1::Assignment { extra_args: vec!["program".into()], tests: Some(order), ..assignment }
    }

    fn ran(&self) -> String {
        fs::read_to_string(self.path("ran")).unwrap_or_default()
    }
}

#[tokio::test]
async fn every_test_is_run_and_reported_once_through_restarts_of_the_scheduler() {
    let mut bench = Bench::new(1).await;
    let assignment = bench.suite(100, v1::TestDriver::Gtest).await;
    let token = bench.scheduler.assign_tests(assignment, Tests::of(15));
    for reports in [10, 60] {
        bench.scheduler.until(token, |attempt| attempt.tests.reports.len() >= reports).await;
        bench.scheduler.restart(Duration::from_millis(300)).await;
    }
    let (attempt, result) = bench.scheduler.result(token).await;
    assert_eq!(result.state(), v1::ShardState::Completed, "{}", result.message);
    let names: String = (0..100).map(|n| format!("S.{n}\n")).collect();
    let tests = attempt.tests;
    let listed: String = tests.listing.unwrap().tests.iter().map(|test| format!("{}\n", test.name)).collect();
    assert_eq!((listed, bench.ran()), (names.clone(), names), "all are listed, each is run once");
    let reported: Vec<u32> = tests.reports.iter().map(|report| report.test).collect();
    assert_eq!(reported, (0..100).collect::<Vec<_>>());
    assert_eq!(tests.batches.len(), 7);
    let bad: Vec<_> =
        tests.reports.iter().filter(|report| report.verdict() != v1::TestVerdict::Passed).collect();
    assert_eq!((bad.len(), bad[0].test, bad[0].verdict()), (1, 7, v1::TestVerdict::Failed));
    assert_eq!(bad[0].output, "of S.7\n");
    bench.eventually(|| bench.work_is_empty()).await;
}

#[tokio::test]
async fn a_worker_calls_for_its_reports_together_and_for_each_batch() {
    let bench = Bench::new(1).await;
    let assignment = bench.suite(200, v1::TestDriver::Gtest).await;
    let (before, began) = (bench.scheduler.calls(), bench.clock.elapsed());
    let token = bench.scheduler.assign_tests(assignment, Tests::of(50));
    let (attempt, _) = bench.scheduler.result(token).await;
    let calls = u128::from(bench.scheduler.calls() - before);
    let took = (bench.clock.elapsed() - began).as_millis();
    assert_eq!(attempt.tests.reports.len(), 200);
    // Reports are gathered for 50 ms, output for 250 ms; each such call is followed by one that waits.
    let (told, batches, others) = (took / 50 + took / 250, attempt.tests.batches.len() as u128, 10);
    assert!(calls <= 2 * (told + batches) + others, "{calls} calls in {took} ms");
}

#[tokio::test]
async fn a_worker_that_is_killed_tells_what_it_has_and_which_test_it_is_at() {
    let bench = Bench::new(1).await;
    let assignment = bench.suite(5000, v1::TestDriver::Gtest).await;
    let token = bench.scheduler.assign_tests(assignment, Tests::of(1000));
    let is_under_way = |attempt: &crate::scheduler::Attempt| {
        attempt.tests.reports.len() > 5 && !attempt.tests.running.is_empty()
    };
    bench.scheduler.until(token, is_under_way).await;
    bench.scheduler.change(token, |attempt| attempt.kill = true);
    let (attempt, result) = bench.scheduler.result(token).await;
    assert_eq!(result.state(), v1::ShardState::Killed);
    let (reports, ran) = (attempt.tests.reports.len(), bench.ran().lines().count());
    assert!((reports..=reports + 1).contains(&ran), "{reports} of {ran}");
    bench.eventually(|| bench.work_is_empty()).await;
}

#[tokio::test]
async fn a_worker_that_is_no_longer_wanted_is_gone() {
    let bench = Bench::new(1).await;
    let assignment = bench.suite(1000, v1::TestDriver::Gtest).await;
    let token = bench.scheduler.assign_tests(assignment, Tests::of(1000));
    bench.scheduler.until(token, |attempt| !attempt.tests.reports.is_empty()).await;
    bench.scheduler.change(token, |attempt| attempt.dropped = true);
    bench.eventually(|| bench.work_is_empty()).await;
    assert!(bench.ran().lines().count() < 1000);
}

#[tokio::test]
async fn tests_of_an_unknown_driver_are_refused_with_a_remedy() {
    let bench = Bench::new(1).await;
    let mut assignment = bench.suite(1, v1::TestDriver::Gtest).await;
    assignment.tests = Some(v1::TestsOrder { driver: 77, partitions: 0 });
    let (_, result) = bench.scheduler.result(bench.scheduler.assign(assignment)).await;
    assert_eq!(ended(&result), (v1::ShardState::ClientError, None));
    assert!(result.message.contains("does not know test driver 77: use a newer bot"), "{}", result.message);
}

#[tokio::test]
async fn a_scheduler_that_grants_without_end_costs_the_attempt_and_not_the_bot() {
    let bench = Bench::new(1).await;
    let assignment = bench.suite(100, v1::TestDriver::Gtest).await;
    let mut tests = Tests::of(1);
    tests.hasty = true;
    let token = bench.scheduler.assign_tests(assignment, tests);
    let (_, result) = bench.scheduler.result(token).await;
    assert_eq!(result.state(), v1::ShardState::InternalError);
    assert!(result.message.contains("more tests than it was asked for"), "{}", result.message);
    let next = bench.assign("echo next").await;
    assert_eq!(bench.scheduler.result(next).await.0.text(), "next\n");
    bench.eventually(|| bench.work_is_empty()).await;
}

#[tokio::test]
async fn a_worker_has_the_hooks_of_one_attempt_around_all_of_its_tests() {
    let bench = Bench::with(|config, root| {
        let path = |name: &str| root.join(name).display().to_string();
        let (heard, ran) = (path("heard"), path("ran"));
        for name in ["before-task", "after-task"] {
            let script = format!(r#"echo "$(cat) tests: $(cat {ran} 2>/dev/null | wc -l)" >> {heard}"#);
            hook(config, root, name, &script);
        }
    })
    .await;
    let assignment = bench.suite(20, v1::TestDriver::Gtest).await;
    let token = bench.scheduler.assign_tests(assignment, Tests::of(5));
    let (attempt, result) = bench.scheduler.result(token).await;
    assert_eq!((result.state(), attempt.tests.reports.len()), (v1::ShardState::Completed, 20));
    let heard = fs::read_to_string(bench.path("heard")).unwrap();
    let [before, after] = heard.lines().collect::<Vec<_>>()[..] else { panic!("{heard}") };
    assert!(before.contains("before-task") && before.ends_with("tests: 0"), "{before}");
    assert!(after.contains("after-task") && after.ends_with("tests: 20"), "{after}");
    assert!(after.contains(r#""ending":"completed""#), "{after}");
}

#[tokio::test]
async fn a_worker_whose_first_hook_fails_runs_no_test() {
    let bench = Bench::with(|config, root| hook(config, root, "before-task", "exit 4")).await;
    let assignment = bench.suite(20, v1::TestDriver::Gtest).await;
    let token = bench.scheduler.assign_tests(assignment, Tests::of(5));
    let (attempt, result) = bench.scheduler.result(token).await;
    assert_eq!(result.message, "not started: hook before-task failed: exit code 4");
    assert!(attempt.tests.listing.is_none() && bench.ran().is_empty());
}

#[tokio::test]
async fn a_worker_in_a_sandbox_runs_its_tests() {
    let bench = Bench::with(|config, _| config.sandbox = SandboxKind::Bubblewrap).await;
    let assignment = bench.assignment(&program(20, "$TMPDIR/ran")).await;
    let order = v1::TestsOrder { driver: v1::TestDriver::Gtest.into(), partitions: 0 };
    let assignment = v1::Assignment { extra_args: vec!["program".into()], tests: Some(order), ..assignment };
    let token = bench.scheduler.assign_tests(assignment, Tests::of(5));
    let (attempt, result) = bench.scheduler.result(token).await;
    assert_eq!(result.state(), v1::ShardState::Completed, "{}", result.message);
    let failed = attempt.tests.reports.iter().filter(|report| report.verdict() == v1::TestVerdict::Failed);
    assert_eq!((attempt.tests.reports.len(), failed.count()), (20, 1));
}

/// Plays the part of the bot's plugin in pytest: asks for each test, and passes it.
const ASKS: &str = r#"
[ -z "$ISOSWARM_PYTEST_LIST" ] || { echo '{"name": "t.py::a"}' > "$ISOSWARM_PYTEST_LIST"; exit; }
exec python3 -c "
import json, os, socket
path = os.environ['ISOSWARM_PYTEST_SOCKET']
os.chdir(os.path.dirname(path))
channel = socket.socket(socket.AF_UNIX)
channel.connect(os.path.basename(path))
answers = channel.makefile('r')
def tell(event, **facts):
    channel.sendall((json.dumps({'event': event, **facts}) + '\n').encode())
while True:
    tell('ready')
    test = json.loads(answers.readline()).get('run')
    if test is None:
        break
    tell('start', id=test)
    tell('finish', id=test, verdict='passed', message='', seconds=0)
tell('done')
"
"#;

#[tokio::test]
async fn a_worker_in_a_sandbox_without_network_is_asked_for_each_test_of_pytest() {
    let bench = Bench::with(|config, _| config.sandbox = SandboxKind::Bubblewrap).await;
    let assignment = bench.assignment(ASKS).await;
    let order = v1::TestsOrder { driver: v1::TestDriver::Pytest.into(), partitions: 0 };
    let assignment = v1::Assignment { tests: Some(order), ..assignment };
    let token = bench.scheduler.assign_tests(assignment, Tests::of(5));
    let (attempt, result) = bench.scheduler.result(token).await;
    assert_eq!(result.state(), v1::ShardState::Completed, "{}", result.message);
    let verdicts: Vec<_> = attempt.tests.reports.iter().map(|report| report.verdict()).collect();
    assert_eq!(verdicts, [v1::TestVerdict::Passed]);
}

#[tokio::test]
async fn a_test_in_a_sandbox_that_a_signal_ends_has_crashed() {
    let bench = Bench::with(|config, _| config.sandbox = SandboxKind::Bubblewrap).await;
    let assignment = bench.assignment("[ $SHARD_INDEX = 0 ] || kill -ABRT $$; exit 3").await;
    let order = v1::TestsOrder { driver: v1::TestDriver::Opaque.into(), partitions: 2 };
    let assignment = v1::Assignment { tests: Some(order), ..assignment };
    let token = bench.scheduler.assign_tests(assignment, Tests::of(5));
    let (attempt, _) = bench.scheduler.result(token).await;
    let verdicts: Vec<_> = attempt.tests.reports.iter().map(|report| report.verdict()).collect();
    assert_eq!(verdicts, [v1::TestVerdict::Failed, v1::TestVerdict::Crashed]);
    assert!(attempt.tests.reports[1].message.contains("SIGABRT"), "{}", attempt.tests.reports[1].message);
}
