//! What an attempt may use and reach, with the real kernel. Both need rights that a host may not give: then the bot does not
//! start, and these tests fail with its words.

use super::super::{Bench, ended, scheduler::Tests};
use bytesize::ByteSize;
use proto::v1;
use std::fs;

#[tokio::test]
async fn an_attempt_that_takes_more_memory_than_its_limit_is_told_to_have_run_out_of_it() {
    let bench = Bench::with(|config, _| config.memory_limit = Some(ByteSize::mib(64))).await;
    // The shell outlives its child and ends with a code of its own.
    let token = bench.assign("tail /dev/zero; echo $? ; exit 7").await;
    let other = bench.assign("exit 7").await;
    let (attempt, result) = bench.scheduler.result(token).await;
    assert_eq!(ended(&result), (v1::ShardState::Completed, Some(7)));
    assert!(result.out_of_memory && attempt.text().contains("137"), "{result:?} {}", attempt.text());
    let (_, result) = bench.scheduler.result(other).await;
    assert!(!result.out_of_memory, "a group of its own counts for each");
}

#[tokio::test]
async fn a_runner_that_runs_out_of_memory_before_its_tests_is_to_blame_and_not_the_bot() {
    let bench = Bench::with(|config, _| {
        (config.memory_limit, config.max_failures) = (Some(ByteSize::mib(64)), 2);
    })
    .await;
    let order = v1::TestsOrder { driver: v1::TestDriver::Gtest.into(), partitions: 0 };
    let listing = r#"for a; do [ "$a" = --gtest_list_tests ] && { echo S.; echo "  t"; exit 0; }; done;"#;
    for (list, script) in [("ran none of its 1 tests", listing), ("when it listed its tests", "")] {
        for _ in 0..3 {
            let assignment = bench.assignment(&format!("{script} exec tail /dev/zero")).await;
            let assignment =
                v1::Assignment { extra_args: vec!["program".into()], tests: Some(order), ..assignment };
            let token = bench.scheduler.assign_tests(assignment, Tests::of(1));
            let (_, result) = bench.scheduler.result(token).await;
            assert_eq!(result.state(), v1::ShardState::ClientError, "{}", result.message);
            assert!(result.message.contains(list), "{}", result.message);
            assert!(result.message.contains("out of memory") && result.out_of_memory, "{result:?}");
        }
    }
    assert_eq!(bench.scheduler.said().quarantined, "");
}

#[tokio::test]
async fn an_attempt_has_no_more_processes_than_its_limit_and_the_next_one_has_them_again() {
    let bench = Bench::with(|config, _| config.pids_limit = Some(8)).await;
    for _ in 0..2 {
        let script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 300.5 & done 2>&1; echo not reached";
        let token = bench.assign(script).await;
        let (attempt, result) = bench.scheduler.result(token).await;
        assert_ne!(ended(&result).1, Some(0), "{}", attempt.text());
        assert!(
            attempt.text().contains("fork") && !attempt.text().contains("not reached"),
            "{}",
            attempt.text()
        );
    }
    let token = bench.assign("sleep 0.01 & wait; echo fine").await;
    let (attempt, _) = bench.scheduler.result(token).await;
    assert_eq!(attempt.text(), "fine\n");
}

#[tokio::test]
async fn a_command_in_the_sandbox_writes_only_where_it_should_and_reaches_nobody() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let probe = format!(
        "touch in-work $TMPDIR/t $ISOLATED_OUTDIR/o && echo writes; touch /etc/isoswarm-test /usr/x 2>/dev/null && echo BAD; \
         ls {{data}}/cache 2>/dev/null && echo BAD; kill -0 {pid} 2>/dev/null && echo BAD; \
         (echo > /dev/tcp/127.0.0.1/{port}) 2>/dev/null && echo network; exit 3",
        pid = std::process::id(),
    );
    for network in [false, true] {
        let bench = Bench::with(|config, _| {
            config.sandbox = bot::SandboxKind::Bubblewrap;
            config.sandbox_network = network;
        })
        .await;
        let probe = probe.replace("{data}", &bench.path("data"));
        let token = bench.assign(&format!("exec /bin/bash -c '{probe}'")).await;
        let (attempt, result) = bench.scheduler.result(token).await;
        let expected = if network { "writes\nnetwork\n" } else { "writes\n" };
        assert_eq!((attempt.text().as_str(), ended(&result).1), (expected, Some(3)));
        assert!(result.outputs.is_some() && !fs::exists("/etc/isoswarm-test").unwrap());
    }
}

#[tokio::test]
async fn a_command_in_the_sandbox_is_asked_to_end_and_has_its_grace() {
    let bench = Bench::with(|config, _| config.sandbox = bot::SandboxKind::Bubblewrap).await;
    let token = bench.assign("trap 'echo bye; exit 9' TERM; echo up; while :; do sleep 0.05; done").await;
    bench.scheduler.until(token, |attempt| attempt.output == b"up\n").await;
    bench.scheduler.change(token, |attempt| attempt.kill = true);
    let (attempt, result) = bench.scheduler.result(token).await;
    assert!(attempt.text().ends_with("bye\n"), "{}", attempt.text());
    assert_eq!(ended(&result), (v1::ShardState::Killed, Some(9)));
}
