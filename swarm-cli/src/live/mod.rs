//! A run while it goes on: redrawn lines on a terminal, one line for each transition elsewhere.

mod lines;
mod screen;
mod terminal;
mod tests_view;

use crate::{
    console::{Console, Liveness},
    follow::TestsNews,
    model::Run,
};
use lines::Lines;
use proto::Timestamp;
use std::sync::Arc;
use terminal::Terminal;

/// Shows a run as it goes on.
pub trait Live: Send {
    /// The run is like this now. Called for every change, and a few times a second without one.
    fn update(&mut self, run: &Run, now: Timestamp);

    /// Something has become of tests.
    fn tests(&mut self, news: &TestsNews);

    /// Something to say beside it.
    fn note(&mut self, line: &str);

    /// Nothing more will come: leaves the screen to what follows.
    fn finish(&mut self);
}

/// The one that fits the console.
pub fn on(console: &Arc<Console>) -> Box<dyn Live> {
    match console.liveness() {
        Liveness::Redrawn => Box::new(Terminal::new(console.note_paint())),
        Liveness::Appended => Box::new(Lines::new(Arc::clone(console))),
    }
}
