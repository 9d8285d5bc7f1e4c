//! A command that the kernel kills for lack of memory is told apart from one that crashes.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use proto::v1::ShardState;
use std::{fs, path::Path, process::Stdio};
use tests::{Finished, System, binary};

/// Memory that a bot and what it runs have together.
const LIMIT: &str = "134217728";

/// A cgroup with little memory, of version 1. Removed when dropped.
struct Cgroup(std::path::PathBuf);

impl Cgroup {
    fn new() -> Self {
        let path = Path::new("/sys/fs/cgroup/memory").join(format!("isoswarm-test-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        let cgroup = Self(path);
        // Without swap, so that the limit is one.
        for limit in ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"] {
            fs::write(cgroup.0.join(limit), LIMIT).unwrap();
        }
        cgroup
    }

    /// The words of a shell that enters it and becomes what follows.
    fn enter(&self) -> String {
        format!("echo $$ > {}/cgroup.procs && exec \"$@\"", self.0.display())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Fails as long as a process is in it: its end is awaited before.
        let _ = fs::remove_dir(&self.0);
    }
}

#[tokio::test]
#[ignore = "makes a memory cgroup of version 1: run as root where one is mounted, with --run-ignored all"]
async fn the_kernels_kill_is_told_apart_from_a_crash() {
    let system = System::start(0).await;
    fs::write(system.path().join("input"), "x").unwrap();
    let archive = async |script: &str| {
        let args = ["archive", "input", "--", "sh", "-c", script];
        let archived = system.run("isolate", args).await.expect(0);
        archived.stdout.split_whitespace().next().unwrap().to_owned()
    };
    let trigger = async |script: &str| {
        let digest = archive(script).await;
        system.run("swarm", ["trigger", &digest]).await.expect(0).stdout.trim().to_owned()
    };
    let cgroup = Cgroup::new();
    let (scheduler, cas) = (system.scheduler_proxy.url(), system.cas_proxy.url());
    let data = system.path().join("bot");
    let mut bot = tokio::process::Command::new("sh");
    bot.args(["-c", &cgroup.enter(), "sh"]).arg(binary("bot"));
    bot.args(["--scheduler", &scheduler, "--cas", &cas, "--id", "small", "--data"]).arg(&data);
    let mut bot = bot.stdout(Stdio::null()).kill_on_drop(true).spawn().unwrap();

    for (script, out_of_memory) in [("tail /dev/zero", true), ("kill -9 $$", false)] {
        let run = trigger(script).await;
        let ended = system.wait_for(&run, |run| run.ended.is_some()).await;
        let shard = &ended.shards[0];
        let result = shard.attempts[0].result.as_ref().unwrap();
        assert_eq!(
            (shard.state(), result.exit_code),
            (ShardState::Completed, Some(137)),
            "{script}: {shard:?}"
        );
        assert_eq!(result.out_of_memory, out_of_memory, "{script}: {shard:?}");
        assert_eq!(result.message.contains("out of memory"), out_of_memory, "{script}: {shard:?}");
        let shown: Finished = system.run("swarm", ["show", &run]).await.expect(0);
        assert_eq!(shown.stdout.contains("out of memory"), out_of_memory, "{}", shown.stdout);
    }
    bot.kill().await.unwrap();
    let procs = cgroup.0.join("cgroup.procs");
    tests::eventually("all of the bot to be gone", || async {
        fs::read_to_string(&procs).unwrap().is_empty().then_some(())
    })
    .await;
}
