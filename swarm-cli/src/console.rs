//! Where text goes: results to stdout, progress and complaints to stderr. The only place that writes to either.

use crate::display::{Page, Paint};
use std::{
    io::{self, IsTerminal, Write as _},
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};
use terminal_size::terminal_size_of;

/// What is known of the terminal, or of what stands in its place.
#[derive(Debug)]
pub struct Console {
    out: Paint,
    err: Paint,
    live: Liveness,
    /// Nothing more can be written to stdout: its reader has left, or worse.
    closed: AtomicBool,
    /// What was worse.
    failure: OnceLock<io::Error>,
    /// Stdout is for a document: results go to stderr.
    reserved: AtomicBool,
}

/// Whether lines on stderr may be redrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// It is a terminal.
    Redrawn,
    /// It is a pipe or a file: what is written stays.
    Appended,
}

impl Console {
    /// Looks at stdout, stderr and the environment (`NO_COLOR`, `TERM`).
    pub fn detect() -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let plain = dumb || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let paint = |terminal: bool| if terminal && !plain { Paint::Colored } else { Paint::Plain };
        let live = if io::stderr().is_terminal() && !dumb { Liveness::Redrawn } else { Liveness::Appended };
        Self {
            out: paint(io::stdout().is_terminal()),
            err: paint(io::stderr().is_terminal()),
            live,
            closed: AtomicBool::new(false),
            failure: OnceLock::new(),
            reserved: AtomicBool::new(false),
        }
    }

    /// How to paint results for people.
    pub fn paint(&self) -> Paint {
        if self.reserved.load(Ordering::Relaxed) { self.err } else { self.out }
    }

    /// How to lay out results for people. What goes to a file is as wide as it is.
    pub fn page(&self) -> Page {
        let size = match self.reserved.load(Ordering::Relaxed) {
            true => terminal_size_of(io::stderr()),
            false => terminal_size_of(io::stdout()),
        };
        Page { paint: self.paint(), width: size.map(|(width, _)| usize::from(width.0)) }
    }

    /// How to paint what goes to stderr.
    pub fn note_paint(&self) -> Paint {
        self.err
    }

    /// Whether lines on stderr may be redrawn.
    pub fn liveness(&self) -> Liveness {
        self.live
    }

    /// Keeps stdout for [`Console::document`]: results for people go to stderr from now on.
    pub fn reserve_stdout(&self) {
        self.reserved.store(true, Ordering::Relaxed);
    }

    /// Writes a result for programs.
    pub fn document(&self, text: impl AsRef<str>) {
        self.print_bytes(text.as_ref().as_bytes());
    }

    /// Writes a result for people.
    pub fn print(&self, text: impl AsRef<str>) {
        let text = text.as_ref();
        if self.reserved.load(Ordering::Relaxed) {
            self.note(text.strip_suffix('\n').unwrap_or(text));
        } else {
            self.print_bytes(text.as_bytes());
        }
    }

    /// Writes a result that need not be text. When nobody reads it any more the rest is dropped: the exit code still
    /// tells how it went.
    pub fn print_bytes(&self, bytes: &[u8]) {
        if self.is_closed() {
            return;
        }
        let mut stdout = io::stdout().lock();
        if let Err(error) = stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            self.closed.store(true, Ordering::Relaxed);
            if error.kind() != io::ErrorKind::BrokenPipe {
                // The first one says it all.
                let _ = self.failure.set(error);
            }
        }
    }

    /// Why results were lost, unless it was their reader who left.
    pub fn failure(&self) -> Option<&io::Error> {
        self.failure.get()
    }

    /// Whether nobody reads stdout any more.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Writes a line of progress or a complaint.
    pub fn note(&self, line: impl AsRef<str>) {
        let mut stderr = io::stderr().lock();
        // Nobody is left to tell when stderr is gone.
        let _ = stderr.write_all(line.as_ref().as_bytes()).and_then(|()| stderr.write_all(b"\n"));
    }

    /// Writes an error with its causes.
    pub fn complain(&self, error: &anyhow::Error) {
        let label = self.err.red("error");
        // An outer message often ends with its cause already.
        let mut text = String::new();
        for cause in error.chain().map(ToString::to_string) {
            if !text.contains(&cause) {
                text.push_str(if text.is_empty() { "" } else { ": " });
                text.push_str(&cause);
            }
        }
        self.note(format!("{label}: {text}"));
    }
}
