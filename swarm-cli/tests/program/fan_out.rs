//! Items and bots that a step is cut by, against a scheduler that says what the test tells it to.

use crate::fake::{FakeScheduler, State, input, told};
use proto::v1::{self, fan_out::Policy, fan_out::items::Cut};
use std::process::{Output, Stdio};
use tokio::io::AsyncWriteExt as _;

/// What `swarm trigger DIGEST ARGS` says, with this on its stdin.
async fn trigger(scheduler: &FakeScheduler, args: &[&str], stdin: &str) -> Output {
    let digest = input().to_string();
    let args = [&["trigger", &digest], args].concat();
    let mut command = scheduler.swarm(&args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    // One that refuses its flags reads nothing.
    let _ = pipe.write_all(stdin.as_bytes()).await;
    drop(pipe);
    child.wait_with_output().await.unwrap()
}

#[tokio::test]
async fn items_and_bots_reach_the_scheduler() {
    let state = State::new(1);
    let scheduler = FakeScheduler::start(&state).await;
    let policy = async |args: &[&str], stdin: &str| {
        let output = trigger(&scheduler, args, stdin).await;
        assert!(output.status.success(), "{}", told(&output));
        let trigger = state.triggers.lock().unwrap().pop().unwrap();
        trigger.run.unwrap().steps[0].fan_out.clone().unwrap().policy.unwrap()
    };
    let items = |items: &[&str], cut| {
        let items = items.iter().map(ToString::to_string).collect();
        Policy::Items(v1::fan_out::Items { items, cut: Some(cut), count: 0 })
    };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("items");
    std::fs::write(&file, "a\nb c\nd\n").unwrap();
    let path = file.to_str().unwrap();
    assert_eq!(
        policy(&["--items", path, "--per-shard", "2"], "").await,
        items(&["a", "b c", "d"], Cut::PerShard(2))
    );
    assert_eq!(policy(&["--items", "-", "--shards", "5"], "x\ny").await, items(&["x", "y"], Cut::Shards(5)));
    let each = |seen_within| Policy::EachBot(v1::fan_out::EachBot { seen_within, bot_ids: vec![] });
    assert_eq!(policy(&["--each-bot"], "").await, each(None));
    let day = std::time::Duration::from_secs(24 * 3600).try_into().unwrap();
    assert_eq!(policy(&["--each-bot", "--seen-within", "1d"], "").await, each(Some(day)));
}

#[tokio::test]
async fn flags_that_do_not_go_together_are_refused() {
    let state = State::new(1);
    let scheduler = FakeScheduler::start(&state).await;
    let refusals: [(&[&str], &str); 9] = [
        (&["--items", "-"], "say how many of the --items a shard gets with --per-shard N"),
        (&["--items", "/nowhere", "--per-shard", "1"], "cannot read the items in /nowhere"),
        (&["--items", "-", "--per-shard", "1", "--secret-file", "-"], "cannot both come from stdin"),
        (&["--items", "-", "--per-shard", "1", "--shards", "2"], "cannot be used with"),
        (&["--per-shard", "1"], "--items"),
        (&["--items", "-", "--per-shard", "1", "--driver", "gtest"], "cannot be used with"),
        (&["--each-bot", "--shards", "2"], "cannot be used with"),
        (&["--seen-within", "7d"], "--each-bot"),
        (&["--file", "run.toml", "--each-bot"], "cannot be used with"),
    ];
    for (args, expected) in refusals {
        let output = trigger(&scheduler, args, "a\n").await;
        assert_eq!(output.status.code(), Some(2), "{}", told(&output));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(expected), "{args:?}: {stderr}");
    }
    assert!(state.triggers.lock().unwrap().is_empty());
}
