//! What a person at a terminal sees: the program behind a real pseudo-terminal, made by `script` of util-linux, and what
//! it writes put on a screen.

use crate::fake::{FakeScheduler, State, eventually, input, swarm};
use std::process::Stdio;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, ChildStdin, ChildStdout},
};

const WIDTH: usize = 60;
const HEIGHT: usize = 12;

/// A terminal, as far as is written to it. Rows are counted from the first ever.
#[derive(Default)]
struct Screen {
    rows: Vec<Vec<char>>,
    row: usize,
    column: usize,
    hidden_cursor: bool,
    /// An escape sequence, or a character, that is not whole yet.
    rest: Vec<u8>,
}

impl Screen {
    fn write(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let text = match std::str::from_utf8(&self.rest) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&self.rest[..error.valid_up_to()]).unwrap(),
        };
        let (mut left, whole) = (text, text.len());
        let mut commands = Vec::new();
        while let Some(first) = left.chars().next() {
            let end = match first {
                '\u{1b}' => left.char_indices().skip(2).find(|(_, c)| ('@'..='~').contains(c)),
                _ => Some((0, first)),
            };
            let Some((at, last)) = end else { break };
            let (command, rest) = left.split_at(at + last.len_utf8());
            commands.push(command.to_owned());
            left = rest;
        }
        self.rest.drain(..whole - left.len());
        commands.iter().for_each(|command| self.obey(command));
    }

    fn obey(&mut self, command: &str) {
        let number = || command[2..command.len() - 1].parse::<usize>().unwrap_or(1);
        match command.chars().last().unwrap() {
            'A' if command.len() > 1 => self.row = self.row.saturating_sub(number()).max(self.top()),
            'B' if command.len() > 1 => self.row += number(),
            'C' if command.len() > 1 => self.column += number(),
            'D' if command.len() > 1 => self.column = self.column.saturating_sub(number()),
            'K' if command.len() > 1 => {
                assert_eq!(command, "\u{1b}[2K");
                self.line().clear();
            }
            // Colours.
            'm' if command.len() > 1 => {}
            'l' | 'h' if command.len() > 1 => self.hidden_cursor = command == "\u{1b}[?25l",
            '\r' => self.column = 0,
            '\n' => self.row += 1,
            c => {
                assert!(command.len() == c.len_utf8() && !c.is_control(), "{command:?}");
                if self.column == WIDTH {
                    (self.row, self.column) = (self.row + 1, 0);
                }
                let column = self.column;
                let line = self.line();
                line.resize(line.len().max(column + 1), ' ');
                line[column] = c;
                self.column += 1;
            }
        }
        self.line();
    }

    fn line(&mut self) -> &mut Vec<char> {
        self.rows.resize(self.rows.len().max(self.row + 1), Vec::new());
        &mut self.rows[self.row]
    }

    /// The first row that is not scrolled away.
    fn top(&self) -> usize {
        self.rows.len().saturating_sub(HEIGHT)
    }

    /// All that there is, scrolled away or not.
    fn text(&self) -> String {
        let line = |row: &Vec<char>| row.iter().collect::<String>().trim_end().to_owned() + "\n";
        self.rows.iter().map(line).collect()
    }
}

/// A program at a terminal.
struct Terminal {
    child: Child,
    keys: ChildStdin,
    output: ChildStdout,
    screen: Screen,
}

impl Terminal {
    fn start(scheduler: &FakeScheduler, args: &[&str]) -> Self {
        let program = env!("CARGO_BIN_EXE_swarm");
        let line = format!("stty cols {WIDTH} rows {HEIGHT}; exec {program} {}", args.join(" "));
        // Its environment is what the program is to have.
        let base = swarm(&[]);
        let mut command = tokio::process::Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).env_clear().kill_on_drop(true);
        let variables = base.as_std().get_envs().filter_map(|(name, value)| Some((name, value?)));
        command.envs(variables).env("ISOSWARM_SCHEDULER", scheduler.url());
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("TERM", "xterm");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (keys, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, keys, output, screen: Screen::default() }
    }

    /// Reads until the screen is as it should be.
    async fn until(&mut self, what: &str, condition: impl Fn(&str) -> bool) -> String {
        let reading = async {
            let mut bytes = [0; 4096];
            loop {
                let text = self.screen.text();
                if condition(&text) {
                    return text;
                }
                let read = self.output.read(&mut bytes).await.unwrap();
                assert!(read > 0, "it ended without {what}:\n{text}");
                self.screen.write(&bytes[..read]);
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), reading).await.expect(what)
    }

    /// The screen at the end, and the exit code.
    async fn end(mut self) -> (String, i32) {
        let mut rest = Vec::new();
        self.output.read_to_end(&mut rest).await.unwrap();
        self.screen.write(&rest);
        assert!(!self.screen.hidden_cursor && self.screen.rest.is_empty());
        (self.screen.text(), self.child.wait().await.unwrap().code().unwrap())
    }
}

/// Asserts that the screen has one row for each of these shards, and none that is wrapped.
fn assert_rows(text: &str, shards: std::ops::Range<u32>) {
    for shard in shards {
        let of = |line: &&str| line.split_whitespace().next() == Some(&shard.to_string());
        assert_eq!(text.lines().filter(of).count(), 1, "shard {shard}:\n{text}");
    }
}

#[tokio::test]
async fn shards_are_redrawn_in_place_and_give_way_to_the_result() {
    let state = State::new(3);
    let scheduler = FakeScheduler::start(&state).await;
    let mut terminal = Terminal::start(&scheduler, &["run", &input().to_string(), "--shards", "3"]);
    let pending = terminal.until("what waits", |text| text.contains("3 pending")).await;
    assert_rows(&pending, 0..3);
    state.start_all();
    let running = terminal.until("what runs", |text| text.contains("3 running")).await;
    assert_rows(&running, 0..3);
    assert!(["bot-0", "bot-1", "bot-2"].iter().all(|bot| running.contains(bot)), "{running}");
    assert!(!running.contains("3 pending"), "it is the same place:\n{running}");
    state.end_all(&[0, 0, 3]);
    let (text, code) = terminal.end().await;
    assert_eq!(code, 1, "{text}");
    assert!(!text.contains("running") && !text.contains("pending"), "{text}");
    assert_rows(&text, 0..3);
    assert!(text.contains("FAILED run 1hf7yat000007 in 1m 05s"), "{text}");
}

#[tokio::test]
async fn more_shards_than_there_are_rows_leave_nothing_behind() {
    let state = State::new(40);
    let scheduler = FakeScheduler::start(&state).await;
    let mut terminal = Terminal::start(&scheduler, &["run", &input().to_string(), "--shards", "40"]);
    state.start_all();
    let running = terminal.until("what runs", |text| text.contains("40 running")).await;
    assert!(running.lines().count() <= HEIGHT, "nothing is scrolled away:\n{running}");
    assert!(running.contains("more running"), "{running}");
    for size in 1..30 {
        state.print(&"x".repeat(size));
    }
    state.end_all(&[0; 40]);
    let (text, code) = terminal.end().await;
    assert_eq!(code, 0, "{text}");
    assert!(!text.contains("running"), "{text}");
    assert!(text.contains("PASSED run 1hf7yat000007"), "{text}");
}

#[tokio::test]
async fn ctrl_c_leaves_the_screen_in_order() {
    let state = State::new(2);
    state.start_all();
    let scheduler = FakeScheduler::start(&state).await;
    let mut terminal = Terminal::start(&scheduler, &["run", &input().to_string(), "--shards", "2"]);
    eventually("a watcher", || state.watchers() == 1).await;
    terminal.until("what runs", |text| text.contains("2 running")).await;
    terminal.keys.write_all(b"\x03").await.unwrap();
    let (text, code) = terminal.end().await;
    assert_eq!(code, 130, "{text}");
    assert!(text.contains("run 1hf7yat000007 is canceled"), "{text}");
    let leftovers = text.lines().filter(|line| line.contains("bot-") && line.contains("running"));
    assert_eq!(leftovers.count(), 0, "{text}");
    assert!(state.cancels.lock().unwrap()[0].kill_running);
}
