//! A whole bot, its commands under real supervisors, between a scheduler that goes by the protocol and a store in memory.
#![expect(clippy::panic, clippy::unwrap_used, reason = "tests may, also in their helpers")]

mod health;
mod scheduler;
mod workers;

use bot::{Bot, BotError, Config, Finish, Stop};
use bytes::Bytes;
use cas::{BlobStoreExt as _, isolated::Isolated, memory::MemoryStore};
use proto::{DigestFunction, limits, v1};
use runtime::{Clock, SystemClock, SystemEntropy};
use scheduler::Scheduler;
use std::{fs, path::Path, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::task::JoinSet;

const B3: DigestFunction = DigestFunction::Blake3;

struct Bench {
    scheduler: Scheduler,
    store: Arc<MemoryStore>,
    root: TempDir,
    stop: Stop,
    bots: JoinSet<Result<Finish, BotError>>,
    clock: Arc<dyn Clock>,
}

impl Bench {
    async fn new(slots: u32) -> Self {
        Self::with(|config, _| config.slots = slots).await
    }

    /// With what `change` does to the configuration; it is given a directory for files of its own.
    async fn with(change: impl FnOnce(&mut Config, &Path)) -> Self {
        let (scheduler, stop) = (Scheduler::start().await, Stop::default());
        let (root, store) = (tempfile::tempdir().unwrap(), Arc::default());
        let clock = SystemClock::shared();
        let mut bench = Self { scheduler, store, root, stop, bots: JoinSet::new(), clock };
        let mut config = Config {
            scheduler: bench.scheduler.url(),
            id: Some("b1".into()),
            data: bench.root.path().join("data"),
            drain_timeout: Duration::from_secs(20),
            supervisor: Some(env!("CARGO_BIN_EXE_bot").into()),
            ..Config::default()
        };
        change(&mut config, bench.root.path());
        let store = Arc::clone(&bench.store);
        let opened = Bot::open_over(store, config, SystemClock::shared(), SystemEntropy::shared()).await;
        // It says what it needs.
        let bot = opened.unwrap_or_else(|error| panic!("{error}"));
        bench.bots.spawn(bot.run_until(bench.stop.clone()));
        bench
    }

    async fn assignment(&self, script: &str) -> v1::Assignment {
        let manifest =
            Isolated { command: vec!["/bin/sh".into(), "-c".into(), script.into()], ..Isolated::new(B3) };
        let input = self.store.put(B3, manifest.to_bytes().into()).await.unwrap();
        v1::Assignment {
            input: Some(input.into()),
            timeouts: Some(v1::Timeouts::default()),
            ..Default::default()
        }
    }

    async fn assign(&self, script: &str) -> u64 {
        self.scheduler.assign(self.assignment(script).await)
    }

    /// A file of the test's, outside of what the bot knows.
    fn path(&self, name: &str) -> String {
        self.root.path().join(name).to_str().unwrap().to_owned()
    }

    async fn pause(&self, millis: u64) {
        self.clock.sleep(Duration::from_millis(millis)).await;
    }

    async fn eventually(&self, condition: impl Fn() -> bool) {
        for _ in 0..3000 {
            if condition() {
                return;
            }
            self.pause(5).await;
        }
        panic!("it does not come true");
    }

    fn work_is_empty(&self) -> bool {
        fs::read_dir(self.root.path().join("data/work")).unwrap().count() == 0
    }

    async fn ended(&mut self) -> Result<Finish, BotError> {
        let ended = tokio::time::timeout(Duration::from_secs(30), self.bots.join_next()).await;
        ended.expect("it ends in time").unwrap().unwrap()
    }
}

fn is_alive(mark: &str) -> bool {
    let has = |path: &Path| {
        let line = fs::read(path.join("cmdline")).unwrap_or_default();
        line.split(|&byte| byte == 0).any(|argument| argument == mark.as_bytes())
    };
    fs::read_dir("/proc").unwrap().any(|entry| has(&entry.unwrap().path()))
}

fn mark(number: u32) -> String {
    format!("{}.{number}", 2_000_000 + std::process::id())
}

fn ended(result: &v1::AttemptResult) -> (v1::ShardState, Option<i32>) {
    (result.state(), result.exit_code)
}

#[tokio::test]
async fn output_is_told_while_the_command_runs_and_nothing_is_left_when_it_has_ended() {
    let bench = Bench::new(1).await;
    let go = bench.path("go");
    let script = format!(
        "echo first; while [ ! -e {go} ]; do sleep 0.01; done; echo second >&2; echo $ISOLATED_OUTDIR; exit 5"
    );
    let token = bench.assign(&script).await;
    let running = bench.scheduler.until(token, |attempt| attempt.output == b"first\n").await;
    assert_eq!(running.result, None);
    fs::write(&go, "").unwrap();
    let (attempt, result) = bench.scheduler.result(token).await;
    assert_eq!(ended(&result), (v1::ShardState::Completed, Some(5)));
    assert!(attempt.text().starts_with("first\nsecond\n/"), "{}", attempt.text());
    bench.eventually(|| bench.work_is_empty()).await;
}

#[tokio::test]
async fn an_attempt_goes_on_through_a_restart_of_the_scheduler() {
    let mut bench = Bench::new(1).await;
    let starts = bench.path("starts");
    let script = format!(
        "echo x >> {starts}; i=0; while [ $i -lt 300 ]; do echo line$i; i=$((i+1)); sleep 0.01; done"
    );
    let token = bench.assign(&script).await;
    bench.scheduler.until(token, |attempt| attempt.text().contains("line20\n")).await;
    bench.scheduler.restart(Duration::from_millis(500)).await;
    bench.scheduler.until(token, |attempt| attempt.text().contains("line100\n")).await;
    // A scheduler that had not made all of it durable has less than it said.
    bench.scheduler.change(token, |attempt| attempt.output.truncate(attempt.output.len() / 2));
    bench.scheduler.restart(Duration::from_millis(500)).await;
    let (attempt, result) = bench.scheduler.result(token).await;
    assert_eq!(ended(&result), (v1::ShardState::Completed, Some(0)));
    assert_eq!(attempt.text(), (0..300).map(|n| format!("line{n}\n")).collect::<String>());
    assert_eq!(fs::read_to_string(starts).unwrap(), "x\n");
    assert_eq!(bench.scheduler.sessions(), 1);
}

#[tokio::test]
async fn as_many_attempts_run_at_once_as_there_are_slots() {
    let bench = Bench::new(2).await;
    let (one, other) = (bench.path("one"), bench.path("other"));
    let meet = |own: &str, their: &str| {
        format!("touch {own}; while [ ! -e {their} ]; do sleep 0.01; done; echo met")
    };
    let first = bench.assign(&meet(&one, &other)).await;
    bench.eventually(|| Path::new(&one).exists()).await;
    let second = bench.assign(&meet(&other, &one)).await;
    for token in [first, second] {
        assert_eq!(bench.scheduler.result(token).await.0.text(), "met\n");
    }
    // The place of one that has ended is taken by the next.
    let many: Vec<u64> =
        futures::future::join_all((0..6).map(|n| bench.assign(["true", "exit 1"][n % 2]))).await;
    for (n, token) in many.into_iter().enumerate() {
        assert_eq!(bench.scheduler.result(token).await.1.exit_code, Some(n as i32 % 2));
    }
}

#[tokio::test]
async fn an_output_without_end_is_cut_and_costs_no_memory() {
    let bench = Bench::new(1).await;
    let token = bench.assign("head -c 150000000 /dev/zero | tr '\\0' x; echo end").await;
    let (attempt, result) = bench.scheduler.result(token).await;
    assert_eq!(ended(&result), (v1::ShardState::Completed, Some(0)));
    assert_eq!(attempt.output.len() as u64, limits::MAX_OUTPUT_PER_ATTEMPT);
    assert!(attempt.output.ends_with(b"it is too long]\n"));
}

#[tokio::test]
async fn a_kill_is_heard_by_the_command_and_reported_with_its_last_words() {
    let bench = Bench::new(1).await;
    let script = "trap 'echo bye; echo late > $ISOLATED_OUTDIR/late; exit 7' TERM; echo up; while :; do sleep 0.01; done";
    let token = bench.assign(script).await;
    bench.scheduler.until(token, |attempt| attempt.output == b"up\n").await;
    bench.scheduler.change(token, |attempt| attempt.kill = true);
    let (attempt, result) = bench.scheduler.result(token).await;
    assert_eq!(ended(&result), (v1::ShardState::Killed, Some(7)));
    // In between the shell may tell of its own child, which heard it too.
    assert!(attempt.text().starts_with("up\n") && attempt.text().ends_with("bye\n"), "{}", attempt.text());
    let outputs = bench.store.get((&result.outputs.unwrap()).try_into().unwrap()).await.unwrap();
    assert!(String::from_utf8(outputs.to_vec()).unwrap().contains("\"late\""));
}

#[tokio::test]
async fn timeouts_end_commands_that_do_not_listen() {
    let bench = Bench::new(2).await;
    let span = |seconds, millis: i32| Some(prost_types::Duration { seconds, nanos: millis * 1_000_000 });
    let mut assignment = bench.assignment("trap '' TERM; echo up; while :; do sleep 0.05; done").await;
    assignment.timeouts = Some(v1::Timeouts { hard: span(3, 0), io: None, grace: span(0, 200) });
    let hard = bench.scheduler.assign(assignment);
    let mut assignment = bench.assignment("echo up; exec sleep 600").await;
    assignment.timeouts = Some(v1::Timeouts { hard: None, io: span(0, 400), grace: span(0, 900) });
    let io = bench.scheduler.assign(assignment);
    let (_, result) = bench.scheduler.result(hard).await;
    assert_eq!((result.state(), result.signal), (v1::ShardState::TimedOut, Some(9)));
    assert!(result.message.contains("hard timeout"), "{}", result.message);
    let (_, result) = bench.scheduler.result(io).await;
    assert_eq!((result.state(), result.signal), (v1::ShardState::TimedOut, Some(15)));
    assert!(result.message.contains("I/O timeout"), "{}", result.message);
}

#[tokio::test]
async fn an_attempt_that_is_no_longer_wanted_is_gone_with_all_that_it_started() {
    let bench = Bench::new(1).await;
    let mark = mark(1);
    let script = format!("(setsid env -i sleep {mark} &) ; sleep 0.1; echo up; trap '' TERM; sleep {mark}");
    let token = bench.assign(&script).await;
    bench.scheduler.until(token, |attempt| attempt.output == b"up\n").await;
    bench.scheduler.change(token, |attempt| attempt.dropped = true);
    bench.eventually(|| !is_alive(&mark) && bench.work_is_empty()).await;
    // And the bot goes on.
    let next = bench.assign("echo next").await;
    assert_eq!(bench.scheduler.result(next).await.0.text(), "next\n");
}

#[tokio::test]
async fn a_bot_that_drains_finishes_what_it_has_and_takes_nothing_new() {
    let mut bench = Bench::new(2).await;
    let go = bench.path("go");
    let token = bench.assign(&format!("echo up; while [ ! -e {go} ]; do sleep 0.01; done; echo done")).await;
    bench.scheduler.until(token, |attempt| attempt.output == b"up\n").await;
    bench.stop.drain.request();
    bench.eventually(|| bench.scheduler.knows_of_drain()).await;
    let late = bench.assign("echo late").await;
    fs::write(&go, "").unwrap();
    bench.ended().await.unwrap();
    assert_eq!(bench.scheduler.attempt(token).text(), "up\ndone\n");
    assert_eq!(ended(&bench.scheduler.result(token).await.1), (v1::ShardState::Completed, Some(0)));
    assert_eq!(bench.scheduler.attempt(late).session, None);
    assert!(bench.work_is_empty());
}

#[tokio::test]
async fn a_bot_that_is_told_to_end_finishes_what_it_has() {
    let mut bench = Bench::new(2).await;
    let go = bench.path("go");
    let token = bench.assign(&format!("echo up; while [ ! -e {go} ]; do sleep 0.01; done; echo done")).await;
    bench.scheduler.until(token, |attempt| attempt.output == b"up\n").await;
    bench.scheduler.terminate();
    bench.eventually(|| bench.scheduler.knows_of_drain()).await;
    fs::write(&go, "").unwrap();
    bench.ended().await.unwrap();
    assert_eq!(ended(&bench.scheduler.result(token).await.1), (v1::ShardState::Completed, Some(0)));
}

#[tokio::test]
async fn a_bot_goes_on_when_the_program_that_it_was_to_become_is_withdrawn() {
    let mut bench = Bench::with(|config, _| (config.update, config.slots) = (true, 2)).await;
    let go = bench.path("go");
    let token = bench.assign(&format!("echo up; while [ ! -e {go} ]; do sleep 0.01; done")).await;
    bench.scheduler.until(token, |attempt| attempt.output == b"up\n").await;
    let program = bench.store.put(DigestFunction::Sha256, Bytes::from_static(b"another")).await.unwrap();
    bench.scheduler.name_program(Some(program));
    bench.eventually(|| bench.scheduler.knows_of_drain()).await;
    bench.scheduler.name_program(None);
    let next = bench.assign("echo next").await;
    assert_eq!(bench.scheduler.result(next).await.0.text(), "next\n");
    // Whoever is to end does so as the program that it is.
    bench.scheduler.name_program(Some(program));
    bench.eventually(|| bench.scheduler.knows_of_drain()).await;
    bench.scheduler.terminate();
    bench.pause(300).await;
    fs::write(&go, "").unwrap();
    assert_eq!(bench.ended().await.unwrap(), Finish::Stopped);
    assert_eq!(ended(&bench.scheduler.result(token).await.1), (v1::ShardState::Completed, Some(0)));
}

#[tokio::test]
async fn a_bot_that_must_stop_leaves_nothing_and_gives_its_leases_up() {
    let mut bench = Bench::new(1).await;
    let mark = mark(2);
    let token = bench.assign(&format!("trap '' TERM; setsid sleep {mark} & echo up; sleep {mark}")).await;
    bench.scheduler.until(token, |attempt| attempt.output == b"up\n").await;
    bench.stop.now.request();
    bench.ended().await.unwrap();
    assert!(!is_alive(&mark) && bench.work_is_empty());
    let attempt = bench.scheduler.attempt(token);
    assert!(attempt.dropped && attempt.result.is_none());
    assert_eq!(bench.scheduler.sessions(), 2);
    assert_eq!(bench.scheduler.returned(), [token], "given back, not lost");
}

#[tokio::test]
async fn a_bot_whose_name_was_taken_over_stops_and_says_so() {
    let mut bench = Bench::new(1).await;
    let mark = mark(3);
    let token = bench.assign(&format!("echo up; sleep {mark}")).await;
    bench.scheduler.until(token, |attempt| attempt.output == b"up\n").await;
    bench.scheduler.take_over("b1").await;
    let error = bench.ended().await.unwrap_err();
    assert!(error.to_string().contains("--id"), "{error}");
    assert_eq!(error.exit(), runtime::Exit::Usage);
    assert!(!is_alive(&mark) && bench.work_is_empty());
}

#[tokio::test]
async fn what_cannot_be_run_is_the_clients_error_with_a_remedy() {
    let bench = Bench::new(1).await;
    let manifest = Isolated { command: vec!["./missing".into()], ..Isolated::new(B3) };
    let input = bench.store.put(B3, manifest.to_bytes().into()).await.unwrap();
    let gone = B3.digest(b"gone");
    for (input, words) in [(input, "is it among the files"), (gone, "archive the inputs again")] {
        let assignment = v1::Assignment { input: Some(input.into()), ..Default::default() };
        let (_, result) = bench.scheduler.result(bench.scheduler.assign(assignment)).await;
        assert_eq!(result.state(), v1::ShardState::ClientError);
        assert!(result.message.contains(words), "{}", result.message);
    }
    let nonsense = bench.store.put(B3, Bytes::from_static(b"{}")).await.unwrap();
    let assignment = v1::Assignment { input: Some(nonsense.into()), ..Default::default() };
    let (_, result) = bench.scheduler.result(bench.scheduler.assign(assignment)).await;
    assert_eq!(result.state(), v1::ShardState::ClientError, "{}", result.message);
}

#[tokio::test]
async fn a_bot_without_work_calls_seldom() {
    let bench = Bench::new(1).await;
    bench.eventually(|| bench.scheduler.calls() >= 2).await;
    let before = bench.scheduler.calls();
    bench.pause(2000).await;
    assert!(bench.scheduler.calls() <= before + 1);
}
