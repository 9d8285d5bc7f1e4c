//! Runs hooks, under the supervision of commands.

use super::{Answer, Hook, HooksError, call, find};
use crate::{
    attempt::{CommandExit, Timeouts},
    causes::explain,
    executor::{Cause, Command, Executor, Files, Interruption, MARKER},
    spool::Spool,
};
use runtime::Clock;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::watch;

/// Longest answer.
const MOST_ANSWER: u64 = 64 * 1024;

/// What of the end of a hook's stderr is told.
const TOLD: u64 = 512;

/// What it reads, what it answers, and its stderr.
const FILES: [&str; 3] = ["hook-in", "hook-out", "hook-log"];

/// Between TERM and KILL.
const GRACE: Duration = Duration::from_secs(2);

/// The hooks of a bot. Without any, every call is answered at once.
#[derive(Debug)]
pub(crate) struct Hooks {
    files: BTreeMap<Hook, PathBuf>,
    executor: Executor,
    timeout: Duration,
    clock: Arc<dyn Clock>,
    bot: String,
}

impl Hooks {
    /// Those in `dir`, each of which may take `timeout`.
    pub(crate) fn open(
        dir: Option<&Path>,
        executor: Executor,
        timeout: Duration,
        bot: String,
    ) -> Result<Self, HooksError> {
        let files = dir.map(find).transpose()?.unwrap_or_default();
        let clock = Arc::clone(&executor.clock);
        Ok(Self { files, executor, timeout, clock, bot })
    }

    /// Whether there is such a hook.
    pub(crate) fn has(&self, hook: Hook) -> bool {
        self.files.contains_key(&hook)
    }

    /// Calls a hook, if there is one, with the directory of an attempt for its files and as its own. Says in words why
    /// it has failed.
    pub(crate) async fn run(&self, hook: Hook, more: Value, place: &Path) -> Result<Answer, String> {
        let Some(program) = self.files.get(&hook) else { return Ok(Answer::default()) };
        let failed = |why: String| format!("hook {} failed: {why}", hook.name());
        let call = call(hook, &self.bot, more);
        let answer = self.answer(program, &call, place).await.map_err(failed)?;
        if answer.quarantined.is_empty() || hook == Hook::GetState {
            return Ok(answer);
        }
        Err(format!("hook {} says: {}", hook.name(), answer.quarantined))
    }

    async fn answer(&self, program: &Path, call: &Value, place: &Path) -> Result<Answer, String> {
        let words = |error: io::Error| error.to_string();
        let [stdin, stdout, log] = FILES.map(|name| place.join(name));
        // A command may have put something there.
        FILES.iter().try_for_each(|name| cas::remove(place, name.as_ref())).map_err(words)?;
        let _files = Removed([stdin.clone(), stdout.clone(), log.clone()]);
        let made = [&stdin, &stdout].map(File::create_new);
        let [Ok(mut input), Ok(_)] = made else {
            return Err(format!("cannot make files in {}", place.display()));
        };
        input.write_all(call.to_string().as_bytes()).map_err(words)?;
        let spool = Spool::create(&log, Arc::clone(&self.clock), Arc::default()).map_err(words)?;
        let spool = Arc::new(spool);
        let command = Command {
            program: program.to_owned(),
            arguments: Vec::new(),
            environment: self.environment(place),
            directory: place.to_owned(),
            files: Some(Files { stdin: Some(stdin), stdout: stdout.clone() }),
            ..Command::default()
        };
        let timeouts = Timeouts { hard: self.timeout, io: None, grace: GRACE };
        // A hook is not cut short: whoever stops waits for its end.
        let (_interruption, mut interrupted) = watch::channel(Interruption::None);
        let ended = self.executor.run(&command, timeouts, &spool, &mut interrupted).await;
        let ended = ended.map_err(|error| explain(&error))?;
        let said = last_words(&spool);
        if !said.is_empty() {
            tracing::info!(hook = %program.display(), said, "a hook says");
        }
        let with = |why: String| if said.is_empty() { why } else { format!("{why}: {said}") };
        match (ended.cause, ended.exit) {
            (Cause::HardTimeout, _) => Err(with(format!("it took longer than {:?}", self.timeout))),
            (_, CommandExit::Signal(signal)) => Err(with(format!("signal {signal}"))),
            (_, CommandExit::Code(0)) => {
                let mut printed = Vec::new();
                let file = File::open(&stdout).map_err(words)?;
                file.take(MOST_ANSWER + 1).read_to_end(&mut printed).map_err(words)?;
                if printed.len() as u64 > MOST_ANSWER {
                    return Err(format!("its answer is longer than {MOST_ANSWER} bytes"));
                }
                Answer::parse(&printed)
            }
            (_, CommandExit::Code(code)) => Err(with(format!("exit code {code}"))),
        }
    }

    fn environment(&self, place: &Path) -> BTreeMap<String, String> {
        let place = place.to_string_lossy().into_owned();
        let own = ["PATH", "LANG", "HOME", "USER", "TMPDIR"];
        let own = own.into_iter().filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)));
        let more = [("SWARM_BOT_ID", self.bot.clone()), (MARKER, place)];
        own.chain(more.map(|(name, value)| (name.to_owned(), value))).collect()
    }
}

/// The end of what a hook has written to stderr, on one line.
fn last_words(spool: &Spool) -> String {
    let end = spool.len();
    let bytes = spool.read(end.saturating_sub(TOLD)..end);
    String::from_utf8_lossy(&bytes).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Files that go when this does.
struct Removed([PathBuf; 3]);

impl Drop for Removed {
    fn drop(&mut self) {
        for path in &self.0 {
            // Not made, or gone with the attempt's directory.
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::SystemClock;
    use serde_json::json;
    use std::os::unix::fs::PermissionsExt as _;

    struct Bench {
        dir: tempfile::TempDir,
        place: tempfile::TempDir,
    }

    impl Bench {
        fn new(hook: Hook, script: &str) -> Self {
            let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let path = dir.path().join(hook.name());
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            Self { dir, place }
        }

        async fn run(&self, hook: Hook) -> Result<Answer, String> {
            self.run_within(hook, Duration::from_secs(30)).await
        }

        async fn run_within(&self, hook: Hook, timeout: Duration) -> Result<Answer, String> {
            let executor = Executor::plain(None, SystemClock::shared());
            let hooks = Hooks::open(Some(self.dir.path()), executor, timeout, "b1".into()).unwrap();
            let answer = hooks.run(hook, json!({ "shard": "s" }), self.place.path()).await;
            assert_eq!(fs::read_dir(self.place.path()).unwrap().count(), 0, "nothing of it stays");
            answer
        }
    }

    #[tokio::test]
    async fn a_hook_reads_its_call_and_what_it_prints_is_its_answer() {
        let script = r#"read -r call; echo "heard $call" >&2; case $call in *'"shard":"s"'*) echo '{"state": {"it": "'"$SWARM_BOT_ID"'"}}';; esac"#;
        let bench = Bench::new(Hook::GetState, script);
        assert_eq!(bench.run(Hook::GetState).await.unwrap().state["it"], "b1");
        assert_eq!(bench.run(Hook::OnIdle).await, Ok(Answer::default()), "there is none");
    }

    #[tokio::test]
    async fn a_failure_is_told_with_its_last_words() {
        let failure =
            async |script| Bench::new(Hook::BeforeTask, script).run(Hook::BeforeTask).await.unwrap_err();
        assert_eq!(
            failure("echo no device >&2; exit 3").await,
            "hook before-task failed: exit code 3: no device"
        );
        assert_eq!(failure("kill -9 $$").await, "hook before-task failed: signal 9");
        let slow = Bench::new(Hook::BeforeTask, "sleep 60");
        let told = slow.run_within(Hook::BeforeTask, Duration::from_secs(1)).await.unwrap_err();
        assert_eq!(told, "hook before-task failed: it took longer than 1s");
        assert!(failure("echo hello").await.contains("its stdout is no answer"));
        assert!(failure("head -c 70000 /dev/zero").await.contains("longer than 65536 bytes"));
        assert_eq!(failure("echo '{\"quarantined\": \"hot\"}'").await, "hook before-task says: hot");
    }

    #[tokio::test]
    async fn what_a_command_has_planted_is_replaced_and_never_followed() {
        let bench = Bench::new(Hook::AfterTask, "cat >&2; echo '{}'");
        let victim = bench.dir.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        for name in ["hook-in", "hook-out"] {
            std::os::unix::fs::symlink(&victim, bench.place.path().join(name)).unwrap();
        }
        fs::create_dir_all(bench.place.path().join("hook-log/deep")).unwrap();
        bench.run(Hook::AfterTask).await.unwrap();
        assert_eq!(fs::read_to_string(victim).unwrap(), "precious");
    }

    #[tokio::test]
    async fn what_a_hook_leaves_running_is_gone() {
        let bench = Bench::new(Hook::OnIdle, "setsid sleep 300.25 & sleep 0.1");
        bench.run(Hook::OnIdle).await.unwrap();
        assert_eq!(crate::executor::kill_marked_below(bench.place.path(), Duration::ZERO).unwrap(), 0);
    }
}
