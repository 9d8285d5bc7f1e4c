//! The terminal behind stderr, as indicatif draws on it.

use indicatif::TermLike;
use std::{
    io::{self, Write as _},
    sync::{Mutex, PoisonError},
};
use terminal_size::terminal_size_of;

/// Columns and rows.
pub(super) fn size() -> (u16, u16) {
    terminal_size_of(io::stderr()).map_or((80, 24), |(width, height)| (width.0, height.0))
}

/// Gathers a drawing and writes it at once. The cursor rests at the start of the last line: at its end, what the
/// terminal echoes of Ctrl-C would wrap, and the next drawing would miss by a line.
#[derive(Debug, Default)]
pub(super) struct Screen {
    drawn: Mutex<String>,
}

impl Screen {
    fn push(&self, text: &str) -> io::Result<()> {
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
        Ok(())
    }

    /// A cursor movement.
    fn turn(&self, by: usize, letter: char) -> io::Result<()> {
        if by == 0 { Ok(()) } else { self.push(&format!("\u{1b}[{by}{letter}")) }
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        size().0
    }

    fn height(&self) -> u16 {
        size().1
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.turn(n, 'A')
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.turn(n, 'B')
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.turn(n, 'C')
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.turn(n, 'D')
    }

    fn write_line(&self, s: &str) -> io::Result<()> {
        self.push(s)?;
        self.push("\n")
    }

    fn write_str(&self, s: &str) -> io::Result<()> {
        self.push(s)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.push("\r\u{1b}[2K")
    }

    fn flush(&self) -> io::Result<()> {
        let drawn = std::mem::take(&mut *self.drawn.lock().unwrap_or_else(PoisonError::into_inner));
        let mut stderr = io::stderr().lock();
        stderr.write_all(drawn.as_bytes())?;
        stderr.write_all(b"\r")
    }
}
