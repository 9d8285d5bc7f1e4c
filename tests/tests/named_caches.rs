//! Directories that bots keep between runs, through real processes.

use std::fs;
use tests::{System, eventually};

#[tokio::test]
async fn a_named_cache_comes_back_in_the_next_run_and_draws_runs_to_its_bot() {
    let system = System::start(2).await;
    fs::write(system.path().join("input"), "x").unwrap();
    let script = "cat home/deps/log 2>/dev/null; echo \"$SWARM_BOT_ID was here\" >> home/deps/log";
    let archived = system.run("isolate", ["archive", "input", "--", "sh", "-c", script]).await.expect(0);
    let digest = archived.stdout.split_whitespace().next().unwrap().to_owned();
    let triggered = async |more: &[&str]| {
        let base = ["trigger", &digest, "--named-cache", "deps_of_x=home/deps"];
        let triggered = system.run("swarm", base.iter().chain(more)).await.expect(0);
        let id = triggered.stdout.split_whitespace().next().unwrap().to_owned();
        let run = system.wait_for(&id, |run| run.ended.is_some()).await;
        let attempt = run.shards[0].attempts[0].clone();
        assert_eq!(attempt.result.unwrap().exit_code, Some(0));
        (attempt.bot_id, system.output(&run.shards[0].id).await)
    };
    let (bot, output) = triggered(&[]).await;
    assert_eq!(output, "", "nobody was there before");
    // Both bots fit, but only one has it.
    for times in 1..4 {
        let (again, output) = triggered(&["--dimension", "caches=deps_of_x"]).await;
        assert_eq!((&again, output), (&bot, format!("{bot} was here\n").repeat(times)));
    }
    eventually("the bots to be listed with their caches", || async {
        let bots = system.run("swarm", ["bots", "--json"]).await.expect(0).stdout;
        (bots.matches("deps_of_x").count() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn named_caches_that_cannot_be_are_refused_by_name() {
    let system = System::start(0).await;
    let digest = format!("blake3:{}/12", "0".repeat(64));
    let caches = |one: &str, other: &str| {
        let flags = ["trigger", &digest, "--named-cache", one, "--named-cache", other];
        flags.map(str::to_owned)
    };
    let refused = system.run("swarm", caches("a=x", "b=x/y")).await.expect(2);
    assert!(refused.stderr.contains("the caches a and b cannot be at x and x/y"), "{}", refused.stderr);
    let refused = system.run("swarm", caches("a=x", "Caps=y")).await.expect(2);
    assert!(refused.stderr.contains("1 to 128 characters of a-z 0-9 _"), "{}", refused.stderr);
}
