//! One test of a suite, handed out to a worker by somebody who is no scheduler.

use crate::{
    attempt::{AttemptResult, Ending},
    suite::{Batch, TestReport, TestToRun, TestVerdict, TestsCommand, TestsLine, TestsNews},
};
use runtime::Exit;
use std::time::Duration;
use tokio::sync::mpsc;

/// What a worker tells that nobody has read yet.
const NEWS: usize = 16;

/// See the module.
#[derive(Debug)]
pub(super) struct OneTest {
    name: String,
    news: mpsc::Receiver<TestsNews>,
    /// Kept, so that the worker does not take us for gone.
    _commands: mpsc::Sender<TestsCommand>,
}

impl OneTest {
    /// The test `name`, for so long at most, and the worker's end of it.
    pub(super) fn grant(name: &str, timeout: Duration) -> (Self, TestsLine) {
        let test = TestToRun { index: 0, name: name.to_owned(), timeout };
        let orders = [TestsCommand::Batch(Batch { number: 1, tests: vec![test] }), TestsCommand::Complete];
        let (commands, taken) = mpsc::channel(orders.len());
        for order in orders {
            commands.try_send(order).expect("there is room for both");
        }
        let (tell, news) = mpsc::channel(NEWS);
        (Self { name: name.to_owned(), news, _commands: commands }, TestsLine { commands: taken, news: tell })
    }

    /// What becomes of the test, once the worker has nothing more to tell.
    pub(super) async fn report(&mut self) -> Option<TestReport> {
        let mut last = None;
        while let Some(news) = self.news.recv().await {
            if let TestsNews::Finished(report) = news {
                last = Some(report);
            }
        }
        last
    }

    /// How it went, and in words.
    pub(super) fn judge(&self, report: Option<TestReport>, result: &AttemptResult) -> (Exit, String) {
        let name = &self.name;
        let Some(report) = report.filter(|_| result.ending == Ending::Completed) else {
            return (super::exit_of(result), result.message.clone());
        };
        let (exit, verdict) = match report.verdict {
            TestVerdict::Passed => (Exit::Success, "passed".to_owned()),
            TestVerdict::Skipped => (Exit::Success, "skipped".to_owned()),
            TestVerdict::Failed => (Exit::TestsFailed, "failed".to_owned()),
            TestVerdict::Crashed { how } => (Exit::TestsFailed, format!("crashed: {how}")),
            TestVerdict::TimedOut => (Exit::TestsFailed, "timed out".to_owned()),
            TestVerdict::Infrastructure => (Exit::Incomplete, "could not be run to its end".to_owned()),
            TestVerdict::Unknown => (Exit::NotFound, "is not there".to_owned()),
        };
        let why = [report.message, result.message.clone()].join("\n");
        (exit, format!("{name} {verdict}\n{why}").trim_end().to_owned())
    }
}
