//! What becomes of tests while their run goes on, asked for again and again beside the watch.

use crate::{
    model::{OutcomeCounts, Run, TestResult},
    remote::{Scheduler, TestsOrder},
};
use futures::{FutureExt as _, future::LocalBoxFuture};
use proto::RunId;
use std::time::Duration;
use tokio::sync::mpsc;

/// Between two questions when nothing has changed.
const PAUSE: Duration = Duration::from_millis(500);

/// Pages that wait to be shown; no more are asked for meanwhile.
const PAGES: usize = 4;

/// What has changed in the tests of a step.
#[derive(Clone, Debug)]
pub struct TestsNews {
    /// Which step.
    pub step: u32,
    /// Tests that have changed, as they are now.
    pub results: Vec<TestResult>,
    /// Of the whole step; `None` until its tests are listed.
    pub counts: Option<OutcomeCounts>,
}

/// Asks as long as it is waited for; what was asked for and not waited for goes on the next time.
#[derive(Default)]
pub(super) struct Feed {
    news: Option<mpsc::Receiver<TestsNews>>,
    asking: Option<LocalBoxFuture<'static, ()>>,
}

impl Feed {
    /// Begins to ask, unless it has or there is nothing to ask about.
    pub(super) fn begin(&mut self, scheduler: &Scheduler, run: &Run) {
        let steps: Vec<u32> = run.steps_with_tests().map(|(step, _)| step).collect();
        if self.news.is_none() && !steps.is_empty() {
            let (sender, receiver) = mpsc::channel(PAGES);
            self.asking = Some(ask(scheduler.clone(), run.id, steps, sender).boxed_local());
            self.news = Some(receiver);
        }
    }

    /// What comes next; never, when nothing does.
    pub(super) async fn next(&mut self) -> TestsNews {
        if let Some(news) = &mut self.news {
            loop {
                let next = match &mut self.asking {
                    Some(asking) => tokio::select! {
                        biased;
                        next = news.recv() => next,
                        () = asking => {
                            self.asking = None;
                            continue;
                        }
                    },
                    None => news.recv().await,
                };
                match next {
                    Some(next) => return next,
                    None => break,
                }
            }
        }
        std::future::pending().await
    }
}

async fn ask(scheduler: Scheduler, run: RunId, steps: Vec<u32>, news: mpsc::Sender<TestsNews>) {
    let mut asked: Vec<(u32, String)> = steps.into_iter().map(|step| (step, String::new())).collect();
    while !asked.is_empty() {
        let mut changed = false;
        let mut going_on = Vec::new();
        for (step, token) in asked {
            let page = match scheduler.tests(run, step, TestsOrder::Changes, &token).await {
                Ok(page) => page,
                // That the scheduler is away is told by whoever watches.
                Err(error) if error.is_transient() => {
                    going_on.push((step, token));
                    continue;
                }
                Err(error) => {
                    tracing::warn!(%error, step, "cannot ask what becomes of tests");
                    continue;
                }
            };
            changed |= !page.results.is_empty();
            if !page.ended || !page.results.is_empty() {
                going_on.push((step, if page.next.is_empty() { token } else { page.next }));
            }
            let told = TestsNews { step, results: page.results, counts: page.counts };
            if news.send(told).await.is_err() {
                return;
            }
        }
        asked = going_on;
        if !changed {
            scheduler.clock().sleep(PAUSE).await;
        }
    }
}
