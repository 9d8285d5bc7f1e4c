//! Every verb, against a scheduler that says what the test tells it to.

use crate::fake::{FakeScheduler, State, eventually, input, run_id, shard_id, swarm, told};
use proto::v1;
use std::{process::Stdio, time::Duration};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

#[tokio::test]
async fn help_names_the_verbs_and_the_exit_codes() {
    let output = swarm(&["--help"]).output().await.unwrap();
    insta::assert_snapshot!("help", told(&output));
}

#[tokio::test]
async fn a_wrong_command_line_is_refused_with_a_remedy() {
    let digest = input().to_string();
    let wrong: [&[&str]; 9] = [
        &["trigger", "abc"],
        &["trigger", &digest, "--shards", "0"],
        &["trigger", &digest, "-d", "os"],
        &["trigger", &digest, "--hard-timeout", "soon"],
        &["trigger", &digest, "--output", "../out"],
        &["trigger", &digest, "--command"],
        &["show", "1"],
        &["logs", "0000000000000/0"],
        &["runs", "--scheduler", "ftp://host"],
    ];
    let mut all = String::new();
    for args in wrong {
        let output = swarm(args).output().await.unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        all.push_str(&format!("{}\n", stderr.lines().next().unwrap()));
    }
    insta::assert_snapshot!("wrong-command-lines", all);
}

#[tokio::test]
async fn an_unreachable_scheduler_is_told_with_its_address() {
    let output = swarm(&["runs"]).output().await.unwrap();
    insta::assert_snapshot!("unreachable", told(&output));
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let scheduler = FakeScheduler::start(&State::new(1)).await;
    for args in [["show", "0000000000000"], ["show", &shard_id(5).to_string()]] {
        let output = scheduler.swarm(&args).output().await.unwrap();
        assert_eq!(output.status.code(), Some(3), "{}", told(&output));
    }
}

#[tokio::test]
async fn trigger_sends_all_that_was_said() {
    let state = State::new(4);
    let scheduler = FakeScheduler::start(&state).await;
    let digest = input().to_string();
    let args = [
        "trigger",
        &digest,
        "--name",
        "unit",
        "--shards",
        "4",
        "-d",
        "os=linux|mac",
        "-d",
        "pool=ci",
        "--priority",
        "9",
        "--tag",
        "pr:12",
        "--env",
        "A=b=c",
        "--env",
        "UNSET=",
        "--output",
        "out/log.txt",
        "--named-cache",
        "deps=home/deps",
        "--env-prefix",
        "PATH=tools/bin",
        "--idempotent",
        "--wait-for-capacity",
        "--fallback",
        "os=linux,user=a@b,pool=spare@10m",
        "--fallback",
        "pool=x@y",
        "--hard-timeout",
        "10m",
        "--io-timeout",
        "90s",
        "--grace",
        "5s",
        "--expiration",
        "1h",
        "--max-attempts",
        "2",
        "--parent",
        "1hf7yat000007/0/3",
        "--request-id",
        "build-1",
        "--",
        "--gtest_filter=-Slow*",
        "x",
    ];
    let output = scheduler.swarm(&args).output().await.unwrap();
    insta::assert_snapshot!(told(&output), @r"
    exit 0
    --- stdout
    1hf7yat000007
    --- stderr
    ");
    let again = scheduler.swarm(&args).output().await.unwrap();
    assert_eq!(again.stdout, output.stdout);
    assert!(told(&again).contains("this request id has made the run before"));
    let json =
        scheduler.swarm(&["trigger", &digest, "--json", "--command", "--", "true"]).output().await.unwrap();
    assert_eq!(
        String::from_utf8_lossy(&json.stdout),
        "{\"run\":\"1hf7yat000007\",\"shards\":4,\"created\":true,\"deduped\":0}\n"
    );

    let dry = scheduler.swarm(&["trigger", &digest, "--dry-run"]).output().await.unwrap();
    assert!(told(&dry).contains("has made run 1hf7yat000007 before"), "{}", told(&dry));

    let triggers = state.triggers.lock().unwrap();
    assert!(triggers[3].evaluate_only && !triggers[2].evaluate_only);
    insta::assert_debug_snapshot!("trigger", triggers[0]);
    let step = &triggers[2].run.as_ref().unwrap().steps[0];
    assert_eq!((step.command.clone(), step.extra_args.clone()), (vec!["true".to_owned()], vec![]));
    assert_eq!(triggers[2].request_id.len(), 26, "a random one");
}

#[tokio::test]
async fn runs_bots_and_explanations_are_listed() {
    let state = State::new(3);
    state.end_all(&[0, 1, 0]);
    let scheduler = FakeScheduler::start(&state).await;
    let runs = scheduler.swarm(&["runs", "--json"]).output().await.unwrap();
    let runs: serde_json::Value = serde_json::from_slice(&runs.stdout).unwrap();
    assert_eq!(runs["runs"].as_array().unwrap().len(), 2, "pages are followed");
    assert_eq!(runs["runs"][0]["counts"]["succeeded"], 2);
    assert_eq!(runs["next_page"], serde_json::Value::Null);
    let one = scheduler.swarm(&["runs", "-n", "1"]).output().await.unwrap();
    assert!(told(&one).contains("there are more: go on with --page second"), "{}", told(&one));

    let bots = scheduler.swarm(&["bots"]).output().await.unwrap();
    insta::assert_snapshot!(told(&bots), @r"
    exit 0
    --- stdout
    bot    state  busy
    bot-1  alive   1/2
    bot-2  dead    1/2
    --- stderr
    ");
    let explained = scheduler.swarm(&["explain", &run_id().to_string()]).output().await.unwrap();
    insta::assert_snapshot!(told(&explained), @r"
    exit 0
    --- stdout
    no bot fits
      step 0: 2 pending shards (0, 1)
      1 bot kept away by os=plan9: bot-1
    --- stderr
    ");
    let canceled = scheduler.swarm(&["cancel", "--kill", &run_id().to_string()]).output().await.unwrap();
    assert_eq!(
        String::from_utf8_lossy(&canceled.stdout),
        "canceled 2 pending shards, stopping 1 running shard\n"
    );
    assert!(state.cancels.lock().unwrap()[0].kill_running);
}

#[tokio::test]
async fn a_run_and_a_shard_are_shown_in_full() {
    let state = State::new(2);
    state.end_all(&[0, 3]);
    let scheduler = FakeScheduler::start(&state).await;
    let run = scheduler.swarm(&["show", &run_id().to_string()]).output().await.unwrap();
    let shard = scheduler.swarm(&["show", &shard_id(1).to_string()]).output().await.unwrap();
    insta::assert_snapshot!("show", format!("{}{}", told(&run), told(&shard)));
    let json = scheduler.swarm(&["show", "--json", &run_id().to_string()]).output().await.unwrap();
    insta::assert_snapshot!("show-json", String::from_utf8_lossy(&json.stdout));
}

#[tokio::test]
async fn collect_prints_what_failing_shards_printed_and_exits_with_the_verdict() {
    let state = State::new(2);
    state.end_all(&[0, 1]);
    state.print(&(0..300).map(|n| format!("line {n}\n")).collect::<String>());
    let scheduler = FakeScheduler::start(&state).await;
    let dir = tempfile::tempdir().unwrap();
    let junit = dir.path().join("new/junit.xml");
    let args = ["collect", &run_id().to_string(), "--tail", "3", "--junit", junit.to_str().unwrap()];
    let output = scheduler.swarm(&args).output().await.unwrap();
    insta::with_settings!({filters => vec![(dir.path().to_str().unwrap(), "[DIR]")]}, {
        insta::assert_snapshot!("collect", told(&output));
    });
    insta::assert_snapshot!("collect-junit", std::fs::read_to_string(junit).unwrap());
}

#[tokio::test]
async fn a_passed_run_exits_with_success_and_json_has_stdout_to_itself() {
    let state = State::new(2);
    state.end_all(&[0, 0]);
    let scheduler = FakeScheduler::start(&state).await;
    let output = scheduler.swarm(&["collect", &run_id().to_string(), "--json", "-"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["schema_version"], &report["outcome"]), (&1.into(), &"passed".into()));
    assert_eq!(report["totals"]["passed"], 2, "each shard stands for itself where none left a report");
    assert!(String::from_utf8_lossy(&output.stderr).contains("PASSED run"));
}

#[tokio::test]
async fn reports_that_are_wanted_and_cannot_be_read_leave_no_verdict() {
    let state = State::new(1);
    state.end_all(&[0]);
    let outputs: v1::Digest = proto::DigestFunction::Blake3.digest(b"outputs").into();
    state.change(|run| {
        let result = run.shards[0].attempts[0].result.as_mut().unwrap();
        result.outputs = Some(outputs);
    });
    let scheduler = FakeScheduler::start(&state).await;
    let id = run_id().to_string();
    let plain = scheduler.swarm(&["collect", &id]).output().await.unwrap();
    assert_eq!(plain.status.code(), Some(0), "{}", told(&plain));
    let junit = tempfile::NamedTempFile::new().unwrap();
    let wanted =
        scheduler.swarm(&["collect", &id, "--junit", junit.path().to_str().unwrap()]).output().await.unwrap();
    assert_eq!(wanted.status.code(), Some(6), "{}", told(&wanted));
    assert!(told(&wanted).contains("the reports of 1 shard cannot be read"), "{}", told(&wanted));
    assert!(std::fs::read_to_string(junit).unwrap().contains("type=\"missing\""));
}

#[tokio::test]
async fn run_tells_each_transition_and_survives_restarts_of_the_scheduler() {
    let state = State::new(2);
    let scheduler = FakeScheduler::start(&state).await;
    let digest = input().to_string();
    let mut command = scheduler.swarm(&["run", &digest, "--shards", "2"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("a watcher", || state.watchers() == 1).await;
    let address = scheduler.address();
    drop(scheduler);
    eventually("a cut", || state.watchers() == 0).await;
    state.start_all();
    let _scheduler = FakeScheduler::start_at(&state, address).await;
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut stderr = String::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        stderr.push_str(&format!("{line}\n"));
        if line == "[0/2] shard 1 running on bot-1" {
            state.end_all(&[0, 0]);
        }
    }
    let mut output = child.wait_with_output().await.unwrap();
    output.stderr = stderr.into_bytes();
    insta::assert_snapshot!("run", told(&output));
    assert_eq!(state.triggers.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_watch_that_ends_too_early_is_begun_again() {
    let state = State::new(1);
    state.start_all();
    state.end_watches(3);
    let scheduler = FakeScheduler::start(&state).await;
    let id = run_id().to_string();
    let mut command = scheduler.swarm(&["collect", &id]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("watches that end", || state.watches_to_end() == 0).await;
    state.end_all(&[0]);
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
}

#[tokio::test]
async fn a_run_that_takes_too_long_is_left_alone() {
    let state = State::new(1);
    state.start_all();
    let scheduler = FakeScheduler::start(&state).await;
    let output =
        scheduler.swarm(&["collect", &run_id().to_string(), "--timeout", "3s"]).output().await.unwrap();
    insta::assert_snapshot!(told(&output), @r"
    exit 4
    --- stdout
    --- stderr
    [0/1] shard 0 running on bot-0
    error: the run has not ended in time (1 shard: 1 running): it goes on, see `swarm collect 1hf7yat000007`, `swarm cancel --kill 1hf7yat000007`
    ");
    assert!(state.cancels.lock().unwrap().is_empty());
}

#[tokio::test]
async fn logs_come_whole_through_cut_connections() {
    let state = State::new(1);
    state.end_all(&[0]);
    let text: String = (0..1000).map(|n| format!("line {n}\n")).collect();
    state.print(&text);
    for bytes in [1, 17, 4096] {
        state.cut_output_after(bytes);
    }
    let scheduler = FakeScheduler::start(&state).await;
    let output = scheduler.swarm(&["logs", "-f", &shard_id(0).to_string()]).output().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), text);
    assert!(output.status.success());
}

#[tokio::test]
async fn logs_are_followed_from_a_lost_attempt_to_the_next() {
    for args in [vec!["logs", "-f", "1hf7yat000007/0/0"], vec!["logs", "-f", "1hf7yat000007"]] {
        let state = State::new(1);
        state.start_all();
        state.print("begun\n");
        state.lose_all();
        let scheduler = FakeScheduler::start(&state).await;
        let mut command = scheduler.swarm(&args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = [0; 6];
        child.stdout.as_mut().unwrap().read_exact(&mut first).await.unwrap();
        state.end_all(&[0]);
        let output = child.wait_with_output().await.unwrap();
        let printed = [&first[..], &output.stdout].concat();
        let expected = if args[2].contains('/') { "begun\nbegun\n" } else { "0 | begun\n0 | begun\n" };
        assert_eq!(String::from_utf8_lossy(&printed), expected);
        let lost = "attempt 1 of shard 1hf7yat000007/0/0 was lost with its bot; attempt 2 follows";
        assert!(told(&output).contains(lost), "{}", told(&output));
    }
}

#[tokio::test]
async fn logs_as_json_are_a_document_for_each_line() {
    let state = State::new(2);
    state.end_all(&[0, 0]);
    state.print("one\ntwo");
    let scheduler = FakeScheduler::start(&state).await;
    let id = run_id().to_string();
    let shard = shard_id(1).to_string();
    for (args, lines) in [(vec!["logs", "--json", &id], 4), (vec!["logs", "--json", "-f", &shard], 2)] {
        let output = scheduler.swarm(&args).output().await.unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let all: Vec<serde_json::Value> =
            said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(all.len(), lines, "{said}");
        let last = serde_json::json!({"schema_version": 1, "shard": shard, "attempt": 1, "line": "two"});
        assert_eq!(all[lines - 1], last);
    }
}

#[tokio::test]
async fn logs_of_a_run_tell_which_shard_a_line_is_of() {
    let state = State::new(2);
    state.end_all(&[0, 0]);
    state.print("one\ntwo");
    let scheduler = FakeScheduler::start(&state).await;
    let id = run_id().to_string();
    let titled = scheduler.swarm(&["logs", &id]).output().await.unwrap();
    assert_eq!(
        String::from_utf8_lossy(&titled.stdout),
        format!("==> {id}/0/0 <==\none\ntwo\n==> {id}/0/1 <==\none\ntwo\n")
    );
    let followed = scheduler.swarm(&["logs", "-f", &id]).output().await.unwrap();
    let mut lines: Vec<_> = std::str::from_utf8(&followed.stdout).unwrap().lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["0 | one", "0 | two", "1 | one", "1 | two"]);
}

#[tokio::test]
async fn logs_of_a_run_follow_the_shards_that_come_later_too() {
    for json in [false, true] {
        let state = State::new(1);
        state.start_all();
        state.print("one\n");
        let scheduler = FakeScheduler::start(&state).await;
        state.end_watches(2);
        let id = run_id().to_string();
        let args: &[&str] = if json { &["logs", "-f", "--json", &id] } else { &["logs", "-f", &id] };
        let mut child = scheduler.swarm(args).stdout(Stdio::piped()).spawn().unwrap();
        eventually("the watches to have been ended", || state.watches_to_end() == 0).await;
        // A worker waits for a bot, gets one, and says the same as all shards of this scheduler.
        state.add_shard(v1::ShardState::Pending);
        state.start_all();
        state.end_all(&[0, 0]);
        let mut said = String::new();
        child.stdout.take().unwrap().read_to_string(&mut said).await.unwrap();
        let of = |shard: &str| said.lines().any(|line| line.contains(shard) && line.contains("one"));
        let shards = if json {
            [shard_id(0), shard_id(1)].map(|id| id.to_string())
        } else {
            ["0 | ", "1 | "].map(Into::into)
        };
        assert!(shards.iter().all(|shard| of(shard)), "{said}");
        assert!(child.wait().await.unwrap().success());
    }
}

#[tokio::test]
async fn a_reader_that_leaves_ends_the_logs_of_a_run_that_goes_on() {
    let state = State::new(2);
    state.start_all();
    state.print(&"many words\n".repeat(100_000));
    let scheduler = FakeScheduler::start(&state).await;
    let id = run_id().to_string();
    let mut child = scheduler.swarm(&["logs", "-f", &id]).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut first).await.unwrap();
    let status = tokio::time::timeout(Duration::from_secs(20), child.wait()).await.unwrap().unwrap();
    assert!(status.success());
}

#[tokio::test]
async fn logs_go_on_when_the_output_of_a_deduped_shard_is_gone() {
    let state = State::new(3);
    state.end_all(&[0, 0, 0]);
    state.print("one\n");
    state.change(|run| {
        let shard = &mut run.shards[1];
        shard.deduped_result = shard.attempts.pop().and_then(|attempt| attempt.result);
        shard.deduped_from = "1hf7yat000001/0/1".into();
    });
    let scheduler = FakeScheduler::start(&state).await;
    let id = run_id().to_string();
    for (args, lines) in [(vec!["logs", &id], 5), (vec!["logs", "-f", &id], 2)] {
        let output = scheduler.swarm(&args).output().await.unwrap();
        assert!(output.status.success(), "{}", told(&output));
        assert_eq!(output.stdout.split_inclusive(|&byte| byte == b'\n').count(), lines, "{}", told(&output));
        let gone = format!("the output of {id}/0/1 is gone");
        assert!(String::from_utf8_lossy(&output.stderr).contains(&gone), "{}", told(&output));
    }
    let alone = scheduler.swarm(&["logs", &format!("{id}/0/1")]).output().await.unwrap();
    assert!(!alone.status.success(), "{}", told(&alone));
}

#[tokio::test]
async fn a_reader_that_leaves_ends_the_logs() {
    let state = State::new(1);
    state.end_all(&[0]);
    state.print(&"many words\n".repeat(100_000));
    let scheduler = FakeScheduler::start(&state).await;
    let shard = shard_id(0).to_string();
    let mut child = scheduler.swarm(&["logs", &shard]).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut first).await.unwrap();
    let status = tokio::time::timeout(Duration::from_secs(20), child.wait()).await.unwrap().unwrap();
    assert!(status.success());
}

#[tokio::test]
async fn results_that_cannot_be_written_are_no_success() {
    let scheduler = FakeScheduler::start(&State::new(1)).await;
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let child = scheduler.swarm(&["runs"]).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().await.unwrap();
    insta::assert_snapshot!(told(&output), @r"
    exit 5
    --- stdout
    --- stderr
    error: cannot write to stdout: No space left on device (os error 28)
    ");
}

#[tokio::test]
async fn filters_of_lists_reach_the_scheduler_and_pages_are_followed() {
    let state = State::new(1);
    let scheduler = FakeScheduler::start(&state).await;
    let args = ["runs", "--name", "night", "--since", "2023-11-14T22:00:00Z", "--until", "2023-11-15"];
    assert!(scheduler.swarm(&args).output().await.unwrap().status.success());
    let asked = state.lists.lock().unwrap()[0].clone();
    assert_eq!(asked.name, "night");
    assert_eq!(asked.created_after.unwrap().seconds, 1_699_999_200);
    assert_eq!(asked.created_before.unwrap().seconds, 1_700_006_400);

    let bots = scheduler.swarm(&["bots", "--state", "idle", "--state", "dead", "-d", "os=Linux"]);
    let bots = { bots }.output().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&bots.stdout).lines().count(), 3, "both pages: {}", told(&bots));
    let asked = state.bot_lists.lock().unwrap().clone();
    assert_eq!(asked[0].states, [i32::from(v1::BotState::Idle), i32::from(v1::BotState::Dead)]);
    assert_eq!((asked[0].requirements[0].key.as_str(), asked[1].page_token.as_str()), ("os", "bot-1"));
    let one = scheduler.swarm(&["bots", "-n", "1"]).output().await.unwrap();
    assert!(String::from_utf8_lossy(&one.stderr).contains("go on with --page bot-1"), "{}", told(&one));
}

#[tokio::test]
async fn cancel_by_tag_follows_all_pages_and_tells_what_it_did() {
    let state = State::new(1);
    let scheduler = FakeScheduler::start(&state).await;
    let cancel = ["cancel", "--tag", "branch:main", "--user", "ann"];
    let trial = scheduler.swarm(&[&cancel[..], &["--kill", "--dry-run"]].concat()).output().await.unwrap();
    assert_eq!(
        String::from_utf8_lossy(&trial.stdout),
        "would cancel 4 pending shards, stop 2 running shards of 2 runs\n"
    );
    let asked = state.bulk_cancels.lock().unwrap()[0].clone();
    assert!(asked.dry_run && asked.kill_running && asked.user == "ann" && asked.tags == ["branch:main"]);
    let json = scheduler.swarm(&[&cancel[..], &["--json"]].concat()).output().await.unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((json["canceled"].as_u64(), json["dry_run"].as_bool()), (Some(4), Some(false)));
    let neither = scheduler.swarm(&["cancel"]).output().await.unwrap();
    assert_eq!(neither.status.code(), Some(2), "{}", told(&neither));
    assert!(String::from_utf8_lossy(&neither.stderr).contains("--tag"), "{}", told(&neither));
}

#[tokio::test]
async fn orders_to_bots_reach_the_scheduler() {
    let state = State::new(1);
    let scheduler = FakeScheduler::start(&state).await;
    let quarantined =
        scheduler.swarm(&["bot", "quarantine", "b1", "-m", "disk errors"]).output().await.unwrap();
    let said = String::from_utf8_lossy(&quarantined.stdout).into_owned();
    assert_eq!(said, "b1 is quarantined; it still has 1 shard\n", "{}", told(&quarantined));
    for verb in ["drain", "undrain", "terminate"] {
        assert!(scheduler.swarm(&["bot", verb, "b1", "--json"]).output().await.unwrap().status.success());
    }
    let orders = state.orders.lock().unwrap();
    assert_eq!(orders[0].message, "disk errors");
    let orders: Vec<v1::BotOrder> = orders.iter().map(v1::OrderBotRequest::order).collect();
    use v1::BotOrder::{Drain, Quarantine, Terminate, Work};
    assert_eq!(orders, [Quarantine, Drain, Work, Terminate]);
}

#[tokio::test]
async fn a_deletion_whose_answer_was_lost_has_succeeded() {
    let state = State::new(1);
    let scheduler = FakeScheduler::start(&state).await;
    let run = "1hf7yat000001";
    state.lost_deletions.store(1, std::sync::atomic::Ordering::Relaxed);
    let output = scheduler.swarm(&["delete", run]).output().await.unwrap();
    assert!(output.status.success(), "{}", told(&output));
    let again = scheduler.swarm(&["delete", run]).output().await.unwrap();
    assert!(told(&again).contains("there is no run"), "{}", told(&again));
    assert!(!again.status.success(), "{}", told(&again));
}

#[tokio::test]
async fn runs_are_deleted_up_to_the_first_that_cannot_be() {
    let scheduler = FakeScheduler::start(&State::new(1)).await;
    let (live, other) = (run_id().to_string(), "0000000000001");
    let output = scheduler.swarm(&["delete", other, &live, other]).output().await.unwrap();
    insta::assert_snapshot!(told(&output), @r"
    exit 2
    --- stdout
    deleted 1 run
    --- stderr
    error: the scheduler refuses the request: run 1hf7yat000007 has not ended: cancel it first
    ");
    let json = scheduler.swarm(&["delete", other, "--json"]).output().await.unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["deleted"][0], other);
}
