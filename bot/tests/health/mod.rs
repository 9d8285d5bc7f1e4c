//! What a bot says of its host, its hooks, and when it takes no work.

mod limits;

use super::{Bench, Config, ended};
use proto::v1;
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

/// Writes a hook, and makes the bot use it.
pub(super) fn hook(config: &mut Config, root: &Path, name: &str, script: &str) {
    let dir = root.join("hooks");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join(name), format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    config.hooks = Some(dir);
    config.check_interval = Duration::from_millis(100);
    config.retry_after = Duration::from_millis(300);
}

fn values(said: &v1::SynchronizeRequest, key: &str) -> Vec<String> {
    let found = said.dimensions.iter().find(|dimension| dimension.key == key);
    found.map(|dimension| dimension.values.clone()).unwrap_or_default()
}

#[tokio::test]
async fn hooks_say_dimensions_and_state_and_a_change_is_told_at_once() {
    let bench = Bench::with(|config, root| {
        let device = root.join("device").display().to_string();
        fs::write(&device, "phone").unwrap();
        let script = format!(r#"echo "{{\"dimensions\": {{\"device\": [\"$(cat {device})\"]}}}}""#);
        hook(config, root, "get-dimensions", &script);
        hook(config, root, "get-state", r#"echo '{"state": {"battery": 80}}'"#);
    })
    .await;
    bench.eventually(|| values(&bench.scheduler.said(), "device") == ["phone"]).await;
    let told = bench.scheduler.told();
    assert_eq!(told["battery"], 80);
    assert!(told["disks"].is_object() && told["uptime"].is_number(), "{told}");
    fs::write(bench.path("device"), "tablet").unwrap();
    bench.eventually(|| values(&bench.scheduler.said(), "device") == ["tablet"]).await;
    assert_eq!(bench.scheduler.said().platform, format!("linux-{}", std::env::consts::ARCH));
}

#[tokio::test]
async fn a_hook_that_fails_quarantines_until_it_succeeds() {
    let bench = Bench::with(|config, root| {
        let broken = root.join("broken").display().to_string();
        fs::write(&broken, "").unwrap();
        hook(config, root, "get-state", &format!("[ ! -e {broken} ] || {{ echo no battery >&2; exit 1; }}"));
        let noted = root.join("noted").display().to_string();
        hook(config, root, "on-quarantine", &format!("cat >> {noted}"));
    })
    .await;
    let token = bench.assign("echo ran").await;
    let why = "hook get-state failed: exit code 1: no battery";
    bench.eventually(|| bench.scheduler.said().quarantined == why).await;
    bench.pause(300).await;
    assert_eq!(bench.scheduler.attempt(token).session, None, "it takes nothing");
    let noted = || fs::read_to_string(bench.path("noted")).unwrap_or_default();
    bench.eventually(|| noted().contains(why)).await;
    fs::remove_file(bench.path("broken")).unwrap();
    let (attempt, result) = bench.scheduler.result(token).await;
    assert_eq!((attempt.text().as_str(), ended(&result)), ("ran\n", (v1::ShardState::Completed, Some(0))));
    assert_eq!(bench.scheduler.said().quarantined, "");
    assert_eq!(noted().matches("on-quarantine").count(), 1, "{}", noted());
}

#[tokio::test]
async fn maintenance_is_said_and_ends_by_itself() {
    let bench = Bench::with(|config, root| {
        let maintenance = root.join("maintenance").display().to_string();
        fs::write(&maintenance, "").unwrap();
        let script = format!(r#"[ ! -e {maintenance} ] || echo '{{"maintenance": "new disk"}}'"#);
        hook(config, root, "get-state", &script);
    })
    .await;
    let token = bench.assign("true").await;
    bench.eventually(|| bench.scheduler.said().maintenance == "new disk").await;
    assert_eq!(bench.scheduler.attempt(token).session, None);
    fs::remove_file(bench.path("maintenance")).unwrap();
    bench.scheduler.result(token).await;
}

#[tokio::test]
async fn an_attempt_whose_first_hook_fails_is_not_started_and_the_bot_comes_back_after_a_while() {
    let bench = Bench::with(|config, root| {
        let once = root.join("once").display().to_string();
        hook(config, root, "before-task", &format!("[ -e {once} ] || {{ touch {once}; exit 4; }}"));
    })
    .await;
    let ran = bench.path("ran");
    let token = bench.assign(&format!("touch {ran}")).await;
    let (_, result) = bench.scheduler.result(token).await;
    assert_eq!(ended(&result), (v1::ShardState::InternalError, None));
    assert_eq!(result.message, "not started: hook before-task failed: exit code 4");
    assert!(!Path::new(&ran).exists());
    bench.eventually(|| bench.scheduler.heard_quarantine("before-task")).await;
    let next = bench.assign("true").await;
    let (_, result) = bench.scheduler.result(next).await;
    assert_eq!(ended(&result), (v1::ShardState::Completed, Some(0)));
}

#[tokio::test]
async fn the_result_of_an_attempt_stands_though_its_last_hook_fails() {
    let bench = Bench::with(|config, root| {
        let heard = root.join("heard").display().to_string();
        hook(config, root, "after-task", &format!("cat > {heard}; exit 5"));
    })
    .await;
    let token = bench.assign("echo out; exit 3").await;
    let (attempt, result) = bench.scheduler.result(token).await;
    assert_eq!((attempt.text().as_str(), ended(&result)), ("out\n", (v1::ShardState::Completed, Some(3))));
    let heard: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(bench.path("heard")).unwrap()).unwrap();
    assert_eq!((&heard["ending"], &heard["exit_code"]), (&"completed".into(), &3.into()));
    bench.eventually(|| bench.scheduler.heard_quarantine("after-task failed: exit code 5")).await;
    bench.eventually(|| bench.scheduler.said().quarantined.is_empty()).await;
}

#[tokio::test]
async fn a_clock_that_is_wrong_and_a_disk_that_is_full_keep_a_bot_from_work() {
    let bench = Bench::with(|config, _| {
        config.check_interval = Duration::from_millis(100);
    })
    .await;
    bench.eventually(|| !bench.scheduler.said().platform.is_empty()).await;
    bench.scheduler.be_ahead(Duration::from_secs(600));
    bench.eventually(|| bench.scheduler.said().quarantined.contains("behind the scheduler's")).await;
    let token = bench.assign("true").await;
    bench.pause(200).await;
    assert_eq!(bench.scheduler.attempt(token).session, None);
    bench.scheduler.be_ahead(Duration::ZERO);
    bench.scheduler.result(token).await;

    let full = Bench::with(|config, _| config.min_free_disk = bytesize::ByteSize::pib(1)).await;
    full.eventually(|| full.scheduler.said().quarantined.contains("min-free-disk is 1.0 PiB")).await;
}

#[tokio::test]
async fn failures_of_the_bots_own_in_a_row_quarantine_it_for_a_while() {
    let bench = Bench::with(|config, _| {
        config.max_failures = 2;
        config.retry_after = Duration::from_millis(500);
        config.supervisor = Some("/no/such/supervisor".into());
    })
    .await;
    let tokens = [bench.assign("true").await, bench.assign("true").await, bench.assign("true").await];
    for token in &tokens[..2] {
        let (_, result) = bench.scheduler.result(*token).await;
        assert_eq!(ended(&result), (v1::ShardState::InternalError, None));
    }
    bench.eventually(|| bench.scheduler.heard_quarantine("2 attempts in a row failed")).await;
    bench.scheduler.result(tokens[2]).await;
}

#[tokio::test]
async fn a_bot_without_work_ends_after_its_time_and_tells_its_hooks() {
    let mut bench = Bench::with(|config, root| {
        let said = root.join("said").display().to_string();
        for moment in ["on-startup", "on-idle", "on-shutdown"] {
            hook(config, root, moment, &format!("cat >> {said}"));
        }
        config.exit_when_idle = Some(Duration::from_millis(600));
    })
    .await;
    let token = bench.assign("sleep 1").await;
    bench.scheduler.result(token).await;
    bench.ended().await.unwrap();
    let said = fs::read_to_string(bench.path("said")).unwrap();
    for moment in ["on-startup", "on-idle", "on-shutdown"] {
        assert!(said.contains(&format!(r#""hook":"{moment}""#)), "{said}");
    }
    assert!(said.contains("idle_seconds") && bench.scheduler.knows_of_drain() && bench.work_is_empty());
}
