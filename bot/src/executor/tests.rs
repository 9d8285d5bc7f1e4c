//! Commands as they are, run as children of the test's own process; `tests/supervisor.rs` has those under supervision.

use super::*;
use crate::{
    attempt::{CommandExit, Timeouts},
    spool::Spool,
};
use runtime::SystemClock;
use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::sync::watch;

async fn eventually(condition: impl Fn() -> bool) {
    let clock = SystemClock::shared();
    let mut left = 2000;
    while !condition() {
        assert!(left > 0, "it does not come true");
        left -= 1;
        clock.sleep(Duration::from_millis(10)).await;
    }
}

struct Bench {
    dir: TempDir,
    spool: Arc<Spool>,
    interruption: watch::Sender<Interruption>,
    timeouts: Timeouts,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::create(&dir.path().join("output"), SystemClock::shared(), Arc::default()).unwrap();
        let timeouts = Timeouts { hard: Duration::from_secs(60), io: None, grace: Duration::from_secs(30) };
        Self { dir, spool: Arc::new(spool), interruption: watch::Sender::default(), timeouts }
    }

    async fn run(&self, script: &str) -> Result<Execution, ExecuteError> {
        self.run_program("/bin/sh".as_ref(), &["-c", script]).await
    }

    async fn run_program(&self, program: &Path, arguments: &[&str]) -> Result<Execution, ExecuteError> {
        let marker = self.dir.path().to_str().unwrap().to_owned();
        let path = std::env::var("PATH").unwrap();
        let command = Command {
            program: program.to_owned(),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            environment: BTreeMap::from([("PATH".into(), path), (MARKER.to_owned(), marker)]),
            directory: self.dir.path().to_owned(),
            ..Command::default()
        };
        let executor = Executor::plain(None, SystemClock::shared());
        let mut interrupted = self.interruption.subscribe();
        let run = executor.run(&command, self.timeouts, &self.spool, &mut interrupted);
        tokio::time::timeout(Duration::from_secs(50), run).await.expect("it ends in time")
    }

    fn output(&self) -> String {
        String::from_utf8(self.spool.read(0..self.spool.len())).unwrap()
    }

    fn left(&self) -> usize {
        processes::look(self.dir.path(), None).unwrap().marked.len()
    }

    async fn output_contains(&self, text: &str) {
        eventually(|| self.output().contains(text)).await;
    }
}

#[tokio::test]
async fn exit_codes_and_signals_are_told_apart() {
    let bench = Bench::new();
    let ended = bench.run("exit 3").await.unwrap();
    assert_eq!((ended.exit, ended.cause, ended.leaked), (CommandExit::Code(3), Cause::Itself, 0));
    let ended = bench.run("kill -SEGV $$").await.unwrap();
    assert_eq!((ended.exit, ended.exit.code()), (CommandExit::Signal(11), 139));
}

#[tokio::test]
async fn stdout_and_stderr_are_one_stream_in_order_and_stdin_is_empty() {
    let bench = Bench::new();
    bench.run("for i in 1 2 3; do echo out$i; echo err$i >&2; done; cat; echo end").await.unwrap();
    assert_eq!(bench.output(), "out1\nerr1\nout2\nerr2\nout3\nerr3\nend\n");
}

#[tokio::test]
async fn the_environment_and_directory_are_those_of_the_command() {
    let bench = Bench::new();
    bench.run("pwd; env | grep -v -e ^PWD= -e ^PATH= -e ^_= -e ^SHLVL= -e ^OLDPWD=").await.unwrap();
    let dir = bench.dir.path().display();
    assert_eq!(bench.output(), format!("{dir}\n{MARKER}={dir}\n"));
}

#[tokio::test]
async fn much_output_comes_through_whole() {
    let bench = Bench::new();
    bench.run("head -c 50000000 /dev/zero | tr '\\0' x; echo end").await.unwrap();
    assert_eq!(bench.spool.len(), 50_000_004);
    assert_eq!(bench.spool.read(49_999_999..50_000_004), b"xend\n");
}

#[tokio::test]
async fn a_command_that_is_not_there_or_not_executable_is_not_the_bots_fault() {
    let bench = Bench::new();
    std::fs::write(bench.dir.path().join("plain"), "x").unwrap();
    for program in ["/no/such/program", "no-such-program-anywhere"] {
        let error = bench.run_program(program.as_ref(), &[]).await.unwrap_err();
        assert!(matches!(&error, ExecuteError::NotStarted { .. }) && error.to_string().contains(program));
    }
    let error = bench.run_program(&bench.dir.path().join("plain"), &[]).await.unwrap_err();
    assert!(matches!(error, ExecuteError::NotStarted { .. }), "{error}");
    assert!(error.to_string().ends_with(": make it executable and archive again"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_still_open_for_writing_elsewhere_is_waited_for() {
    let bench = Bench::new();
    let program = bench.dir.path().join("program");
    std::fs::copy("/bin/true", &program).unwrap();
    let open = std::fs::File::options().append(true).open(&program).unwrap();
    let close = async {
        SystemClock::shared().sleep(Duration::from_millis(100)).await;
        drop(open);
    };
    // Starting blocks the thread that it is called on.
    let closing = std::thread::spawn(|| tokio::runtime::Runtime::new().unwrap().block_on(close));
    let ended = bench.run_program(&program, &[]).await.unwrap();
    assert_eq!(ended.exit, CommandExit::Code(0));
    closing.join().unwrap();
}

#[tokio::test]
async fn a_command_that_ignores_term_is_killed_after_its_grace() {
    let mut bench = Bench::new();
    bench.timeouts = Timeouts { hard: Duration::from_secs(3), io: None, grace: Duration::from_millis(200) };
    let ended = bench.run("trap '' TERM; echo up; while :; do sleep 0.05; done").await.unwrap();
    assert_eq!((ended.exit, ended.cause), (CommandExit::Signal(9), Cause::HardTimeout));
    assert!(ended.took >= Duration::from_millis(3200));
    assert_eq!((bench.output().as_str(), bench.left()), ("up\n", 0));
}

#[tokio::test]
async fn silence_is_ended_and_talk_is_not() {
    let mut bench = Bench::new();
    bench.timeouts.io = Some(Duration::from_secs(3));
    let talk = bench.run("for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.5; done").await.unwrap();
    assert_eq!((talk.exit, talk.cause), (CommandExit::Code(0), Cause::Itself));
    let silence = bench.run("echo last words; exec sleep 60").await.unwrap();
    assert_eq!((silence.exit, silence.cause), (CommandExit::Signal(15), Cause::IoTimeout));
    assert!(bench.output().ends_with("last words\n"));
}

#[tokio::test]
async fn a_kill_asks_first_and_hears_the_last_words() {
    let bench = Bench::new();
    let kill = async {
        bench.output_contains("up").await;
        bench.interruption.send_replace(Interruption::Kill);
    };
    let script = "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.05; done";
    let (ended, ()) = tokio::join!(bench.run(script), kill);
    let ended = ended.unwrap();
    assert_eq!((ended.exit, ended.cause), (CommandExit::Code(7), Cause::Interrupted));
    assert!(bench.output().ends_with("bye\n"), "{}", bench.output());
}

#[tokio::test]
async fn processes_left_behind_are_gone_and_do_not_hold_up_the_end() {
    for script in [
        "sleep 600 & echo left",
        "nohup sleep 600 >/dev/null 2>&1 & echo left",
        "setsid sleep 600 & echo left",
        "setsid sh -c 'sleep 600 & sleep 601 & wait' & sleep 0.1; echo left",
    ] {
        let bench = Bench::new();
        let ended = bench.run(script).await.unwrap();
        assert_eq!((ended.exit, ended.cause), (CommandExit::Code(0), Cause::Itself), "{script}");
        assert!(ended.leaked >= 1, "{script}");
        assert_eq!((bench.output().as_str(), bench.left()), ("left\n", 0), "{script}");
    }
}

#[tokio::test]
async fn a_run_that_is_dropped_leaves_nothing() {
    let bench = Bench::new();
    tokio::select! {
        _ = bench.run("setsid sleep 600 & sleep 0.1; echo up; sleep 600") => unreachable!(),
        () = bench.output_contains("up") => {}
    }
    eventually(|| bench.left() == 0).await;
}
