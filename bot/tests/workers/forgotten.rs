//! Workers that the scheduler wants no more, whatever they are at: nothing of them is left, under the real supervisor.

use crate::{Bench, mark, scheduler::Tests};
use proto::v1;
use std::{fs, path::PathBuf};

/// Processes with `mark` among their arguments.
fn alive(mark: &str) -> usize {
    let has = |path: &PathBuf| {
        let line = fs::read(path.join("cmdline")).unwrap_or_default();
        line.split(|&byte| byte == 0).any(|argument| argument == mark.as_bytes())
    };
    fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path()).filter(has).count()
}

/// A program that looks like one of GoogleTest, with two tests, and does `listing`, `starting` and `testing` at these
/// moments.
fn program(listing: &str, starting: &str, testing: &str) -> String {
    format!(
        r#"for argument; do case $argument in
--gtest_list_tests) {listing}
echo S.; echo "  a"; echo "  b"; exit 0;;
esac; done
{starting}
for test in S.a S.b; do echo "[ RUN      ] $test"; {testing}
echo "[       OK ] $test (10 ms)"; done
echo "[==========] tests of 1 test suite ran. (10 ms total)""#
    )
}

#[tokio::test]
async fn no_process_outlives_a_worker_whatever_it_is_at() {
    let bench = Bench::new(1).await;
    for (number, moment, last) in [
        (11, "listing", "exec sleep 600"),
        (12, "starting", "exec sleep 600"),
        (13, "testing", "exec sleep 600"),
        // Nobody takes what it writes any more.
        (14, "testing", "while :; do echo $test and more; done"),
        (15, "testing", "exit 0"),
    ] {
        let mark = mark(number);
        // Three that have got away, in each way that there is, and heed no TERM.
        let detached = format!(
            "trap '' TERM HUP INT; (setsid env -i sleep {mark} &) ; setsid sleep {mark} & \
             env -i sh -c '(sleep {mark} &)'; {last}"
        );
        let act = |now: &str| if now == moment { detached.clone() } else { ":;".to_owned() };
        let script = program(&act("listing"), &act("starting"), &act("testing"));
        let order = v1::TestsOrder { driver: v1::TestDriver::Gtest.into(), partitions: 0 };
        let assignment = bench.assignment(&script).await;
        let extra_args = vec!["program".into()];
        let assignment = v1::Assignment { extra_args, tests: Some(order), ..assignment };
        let token = bench.scheduler.assign_tests(assignment, Tests::of(2));
        if last == "exit 0" {
            // It is about to take the next process, or has it already.
            bench.scheduler.until(token, |attempt| !attempt.tests.batches.is_empty()).await;
        } else {
            bench.eventually(|| alive(&mark) == 3).await;
        }
        bench.scheduler.change(token, |attempt| attempt.dropped = true);
        bench.eventually(|| bench.work_is_empty()).await;
        assert_eq!(alive(&mark), 0, "{moment}, {last}");
    }
    let next = bench.assign("echo next").await;
    assert_eq!(bench.scheduler.result(next).await.0.text(), "next\n");
}
