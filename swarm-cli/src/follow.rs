//! Follows a run to its end, through cut connections and restarts of the scheduler.

use crate::{
    live::Live,
    model::Run,
    remote::{CallError, Scheduler, Update},
};
use futures::StreamExt as _;
use proto::RunId;
use std::{pin::pin, time::Duration};

/// How often what is shown is brought up to date while nothing happens.
const TICK: Duration = Duration::from_millis(200);

/// How long a scheduler that was there once may be away.
const ABSENCE: Duration = Duration::from_secs(300);

/// How long one that has not been seen yet may be away.
const FIRST_CONTACT: Duration = Duration::from_secs(5);

/// How following ended.
#[derive(Clone, Debug)]
pub enum Followed {
    /// The run has ended.
    Ended(Run),
    /// Time is up; the run goes on, as it was seen last.
    TimedOut(Option<Run>),
}

/// Follows `run` until it has ended, or for `timeout`.
pub async fn follow(
    scheduler: &Scheduler,
    run: RunId,
    timeout: Option<Duration>,
    live: &mut dyn Live,
) -> Result<Followed, CallError> {
    let mut following = Following {
        scheduler,
        live,
        deadline: timeout.map(|timeout| scheduler.clock().elapsed() + timeout),
        contact: scheduler.clock().elapsed(),
        seen: None,
    };
    let mut tries = 0;
    loop {
        let before = following.contact;
        let lost = match following.session(run).await {
            Ok(Session::Ended(run)) => return Ok(Followed::Ended(run)),
            Ok(Session::TimeIsUp) => return Ok(Followed::TimedOut(following.seen)),
            Ok(Session::Cut) => None,
            Err(error) if error.is_transient() => Some(error),
            Err(error) => return Err(error),
        };
        if following.contact > before {
            tries = 0;
        }
        let away = scheduler.clock().elapsed().saturating_sub(following.contact);
        let patience = if following.seen.is_some() { ABSENCE } else { FIRST_CONTACT };
        if let Some(error) = lost {
            if away >= patience {
                return Err(error);
            }
            // The first two tries again are quick, and most often enough.
            if tries == 2 {
                following.live.note(&format!("{error}; trying again"));
            }
        }
        if following.time_is_up() {
            return Ok(Followed::TimedOut(following.seen));
        }
        scheduler.back_off(tries).await;
        tries += 1;
    }
}

struct Following<'a> {
    scheduler: &'a Scheduler,
    live: &'a mut dyn Live,
    /// On the clock's own time.
    deadline: Option<Duration>,
    /// When the scheduler was heard last.
    contact: Duration,
    seen: Option<Run>,
}

/// How one connection ended.
enum Session {
    Ended(Run),
    TimeIsUp,
    Cut,
}

impl Following<'_> {
    async fn session(&mut self, run: RunId) -> Result<Session, CallError> {
        let mut updates = pin!(self.scheduler.watch(run).await?);
        loop {
            match tokio::time::timeout(TICK, updates.next()).await {
                Ok(Some(update)) => self.take(update?),
                // The scheduler has told everything of a run that has ended.
                Ok(None) => return Ok(self.ended().map_or(Session::Cut, Session::Ended)),
                Err(_) => {}
            }
            if let Some(run) = &self.seen {
                self.live.update(run, self.scheduler.clock().now());
                if run.is_whole() && run.state.is_final() {
                    return Ok(Session::Ended(run.clone()));
                }
            }
            if self.time_is_up() {
                return Ok(Session::TimeIsUp);
            }
        }
    }

    fn ended(&self) -> Option<Run> {
        self.seen.clone().filter(|run| run.state.is_final())
    }

    fn take(&mut self, update: Update) {
        self.contact = self.scheduler.clock().elapsed();
        match (update, &mut self.seen) {
            (Update::Whole(run), seen) => *seen = Some(*run),
            (Update::Changes(changes), Some(run)) => run.apply(changes),
            (Update::Changes(_), None) => tracing::warn!("the scheduler told changes before the run itself"),
        }
    }

    fn time_is_up(&self) -> bool {
        self.deadline.is_some_and(|deadline| self.scheduler.clock().elapsed() >= deadline)
    }
}
