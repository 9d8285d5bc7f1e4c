//! The process between a bot and a command, as the bot uses it: nothing of a command survives its end, its kill, or the
//! death of the bot, however it has detached.
#![expect(clippy::panic, clippy::unwrap_used, reason = "tests may, also in their helpers")]

use runtime::SystemClock;
use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _, Write as _},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    thread,
    time::Duration,
};

/// A supervisor with a command, and the test in the place of the bot.
struct Supervised {
    child: Child,
    bot: Option<ChildStdin>,
    output: io::PipeReader,
}

impl Supervised {
    fn start(script: &str) -> Self {
        Self::start_program("/bin/sh", &["-c", script])
    }

    fn start_program(program: &str, arguments: &[&str]) -> Self {
        Self::start_into(program, arguments, None)
    }

    /// With stdout going to a file.
    fn start_into(program: &str, arguments: &[&str], stdout: Option<&Path>) -> Self {
        let (output, writer) = io::pipe().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_bot"))
            .arg(bot::SUPERVISE)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(writer)
            .spawn()
            .unwrap();
        let mut bot = child.stdin.take().unwrap();
        let environment = BTreeMap::from([("PATH", std::env::var("PATH").unwrap())]);
        let order = serde_json::json!({
            "program": program, "arguments": arguments, "environment": environment, "directory": "/",
            "files": stdout.map(|stdout| serde_json::json!({ "stdout": stdout })),
        });
        writeln!(bot, "{order}").unwrap();
        Self { child, bot: Some(bot), output }
    }

    fn say(&mut self, byte: u8) {
        self.bot.as_mut().unwrap().write_all(&[byte]).unwrap();
    }

    /// Reads output until `text` has come.
    fn hear(&mut self, text: &str) {
        let mut heard = String::new();
        while !heard.contains(text) {
            let mut byte = [0];
            assert_eq!(self.output.read(&mut byte).unwrap(), 1, "it ended after {heard:?}");
            heard.push(byte[0] as char);
        }
    }

    /// The verdict, after the supervisor has ended.
    fn verdict(mut self) -> serde_json::Value {
        let mut verdict = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut verdict).unwrap();
        assert!(self.child.wait().unwrap().success());
        serde_json::from_str(&verdict).unwrap()
    }
}

/// Live processes with `mark` among their arguments.
fn alive(mark: &str) -> usize {
    let marked = |pid: &str| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|&byte| byte == 0).any(|argument| argument == mark.as_bytes())
    };
    let names =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    names.filter(|name| name.parse::<u32>().is_ok() && marked(name)).count()
}

fn eventually(condition: impl Fn() -> bool) {
    let clock = SystemClock::shared();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let waiting = async {
        for _ in 0..2000 {
            if condition() {
                return;
            }
            clock.sleep(Duration::from_millis(5)).await;
        }
        panic!("it does not come true");
    };
    runtime.block_on(waiting);
}

/// An argument for `sleep` that no other test and no other run uses.
fn mark(number: u32) -> String {
    format!("{}.{number}", 1_000_000 + std::process::id())
}

/// A script that leaves `mark` running in every way that a process can get away.
fn detaching(mark: &str) -> String {
    format!(
        "sleep {mark} & setsid sleep {mark} & env -i sleep {mark} &
        setsid env -i sh -c '(sleep {mark} &) ; setsid sleep {mark} & exec sleep {mark}' >/dev/null 2>&1 </dev/null &
        while [ $(grep -l -a -z -x {mark} /proc/[0-9]*/cmdline 2>/dev/null | wc -l) -lt 6 ]; do sleep 0.01; done
        echo up;"
    )
}

#[test]
fn the_end_of_a_command_is_told_as_it_was() {
    let ended = Supervised::start("exit 3").verdict();
    assert_eq!(ended.to_string(), r#"{"ended":{"exit":{"code":3},"leaked":0,"stuck":0}}"#);
    let ended = Supervised::start("kill -SEGV $$").verdict();
    assert_eq!(ended["ended"]["exit"]["signal"], 11);
    let missing = Supervised::start_program("/no/such/program", &[]).verdict();
    assert_eq!(missing.to_string(), r#"{"not-started":2}"#);
}

#[test]
fn what_a_command_leaves_is_gone_before_its_end_is_told() {
    let mark = mark(1);
    let ended = Supervised::start(&detaching(&mark)).verdict();
    assert_eq!(ended["ended"]["exit"]["code"], 0);
    assert!(ended["ended"]["leaked"].as_u64().unwrap() >= 6, "{ended}");
    assert_eq!(alive(&mark), 0);
}

#[test]
fn the_death_of_the_bot_ends_everything() {
    let mark = mark(2);
    let script = format!("trap '' TERM HUP INT; {} while :; do sleep 0.05; done", detaching(&mark));
    let mut supervised = Supervised::start(&script);
    supervised.hear("up");
    assert!(alive(&mark) >= 6);
    // As the kernel does when the bot is killed: all that it held is closed.
    drop(supervised.bot.take());
    drop(supervised.child.stdout.take());
    supervised.child.wait().unwrap();
    eventually(|| alive(&mark) == 0);
}

#[test]
fn the_death_of_the_bot_before_the_order_is_complete_starts_nothing() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_bot"))
        .arg(bot::SUPERVISE)
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(br#"{"program":"/bin/sle"#).unwrap();
    assert!(!child.wait().unwrap().success());
}

#[test]
fn a_request_to_end_reaches_the_command_and_leaves_it_time() {
    let mut supervised =
        Supervised::start("trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.05; done");
    supervised.hear("up");
    supervised.say(b't');
    supervised.hear("bye");
    assert_eq!(supervised.verdict()["ended"]["exit"]["code"], 7);
}

#[test]
fn a_kill_ends_everything_at_once() {
    let mark = mark(3);
    let script = format!("trap '' TERM; {} while :; do sleep 0.05; done", detaching(&mark));
    let mut supervised = Supervised::start(&script);
    supervised.hear("up");
    supervised.say(b't');
    supervised.say(b'k');
    assert_eq!(supervised.verdict()["ended"]["exit"]["signal"], 9);
    assert_eq!(alive(&mark), 0);
}

#[test]
fn processes_that_breed_are_ended_too() {
    let mark = mark(4);
    let script = format!("breed() {{ sleep {mark} & breed & sleep 0.02; }}; breed & sleep 0.3");
    let mut supervised = Supervised::start(&script);
    // Nobody reads less than all of the output.
    let mut output = supervised.output.try_clone().unwrap();
    let reading = thread::spawn(move || io::copy(&mut output, &mut io::sink()).unwrap());
    let ended = {
        let mut verdict = String::new();
        supervised.child.stdout.take().unwrap().read_to_string(&mut verdict).unwrap();
        verdict
    };
    supervised.child.wait().unwrap();
    reading.join().unwrap();
    assert!(ended.contains(r#""stuck":0"#), "{ended}");
    assert_eq!(alive(&mark), 0);
}

#[test]
fn stdout_may_go_to_a_file_and_stderr_alone_is_output() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("stdout");
    let mut supervised = Supervised::start_into("/bin/sh", &["-c", "echo out; echo err >&2"], Some(&file));
    supervised.hear("err\n");
    let verdict = supervised.verdict();
    assert_eq!(verdict["ended"]["exit"], serde_json::json!({ "code": 0 }), "{verdict}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "out\n");
}
