//! One call to the scheduler: the plan with its output read from the spools, bounded in time.

use super::attempts::Attempts;
use crate::{
    attempt::Lease,
    causes::explain,
    remote::{Accepting, Answer, HeldAttempt, Scheduler, Statement, Word},
    spool::Spool,
    synchronize::{Plan, Report},
};
use bytes::Bytes;
use futures::future::BoxFuture;
use std::{error::Error as _, sync::Arc, time::Duration};
use tonic::{Code, Status};

/// Longest that an answer may take beyond the time that the scheduler was asked to hold it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// Longest that a bot that goes tries to say so.
pub(super) const FAREWELL: Duration = Duration::from_secs(2);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// Try again.
    #[error("{0}")]
    Failed(String),
    /// The scheduler will never take this.
    #[error("{reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// Another process has taken the bot's name over.
    #[error("{reason}")]
    Replaced {
        /// In the scheduler's words.
        reason: String,
    },
}

/// A call that has ended: what it told, and what came back.
pub(super) struct Ended {
    pub(super) plan: Plan,
    pub(super) state: String,
    pub(super) answer: Result<Answer, CallError>,
}

/// A call in flight. Dropping it cuts it off.
pub(super) struct Call {
    plan: Plan,
    /// Of the host, if the call tells it.
    state: String,
    answer: BoxFuture<'static, Result<Answer, CallError>>,
}

impl Call {
    /// Begins a call that tells `plan`.
    pub(super) fn begin(scheduler: &Scheduler, plan: Plan, attempts: &Attempts, word: Word) -> Self {
        let reports = plan.reports.iter();
        let reports: Vec<_> = reports.map(|report| (report.clone(), attempts.spool(report.lease))).collect();
        let (scheduler, accepting, wait) = (scheduler.clone(), plan.accepting, plan.wait);
        let caches = attempts.caches();
        let state = word.state.clone();
        let answer = Box::pin(async move {
            let read = tokio::task::spawn_blocking(move || {
                let held: Vec<HeldAttempt> = reports.into_iter().map(read).collect();
                (held, caches.names())
            });
            let (held, caches) = read.await.map_err(failed)?;
            // Without them the bot still works.
            let caches = caches.unwrap_or_default();
            let statement = Statement { accepting, word, held, returned: Vec::new(), caches, wait };
            bounded(wait + PATIENCE, &scheduler, statement).await
        });
        Self { plan, state, answer }
    }

    /// Whether it only waits for work.
    pub(super) fn is_idle(&self) -> bool {
        self.plan.is_idle()
    }

    /// Ends when the call in `slot` has ended, and takes it out. Never, when there is none.
    pub(super) async fn ended(slot: &mut Option<Self>) -> Ended {
        let answer = match slot {
            Some(call) => (&mut call.answer).await,
            None => std::future::pending().await,
        };
        match slot.take() {
            Some(Self { plan, state, .. }) => Ended { plan, state, answer },
            None => std::future::pending().await,
        }
    }
}

/// Says that nothing is held any more and nothing wanted, and gives these leases back.
pub(super) async fn farewell(
    scheduler: &Scheduler,
    word: Word,
    returned: Vec<Lease>,
) -> Result<Answer, CallError> {
    let (held, caches) = (Vec::new(), Vec::new());
    let (accepting, wait) = (Accepting::Nothing, Duration::ZERO);
    let statement = Statement { accepting, word, held, returned, caches, wait };
    bounded(FAREWELL, scheduler, statement).await
}

async fn bounded(limit: Duration, scheduler: &Scheduler, statement: Statement) -> Result<Answer, CallError> {
    match tokio::time::timeout(limit, scheduler.synchronize(statement)).await {
        Err(_) => Err(CallError::Failed(format!("no answer within {limit:?}"))),
        Ok(Err(status)) if status.code() == Code::FailedPrecondition => {
            Err(CallError::Replaced { reason: status.message().to_owned() })
        }
        Ok(Err(status)) if status.code() == Code::InvalidArgument => {
            Err(CallError::Refused { reason: told(&status) })
        }
        Ok(answer) => answer.map_err(|status| CallError::Failed(told(&status))),
    }
}

/// What a status tells people: its message, and what is at the bottom of it.
fn told(status: &Status) -> String {
    let causes = std::iter::successors(status.source(), |&cause| cause.source());
    match causes.last().map(ToString::to_string) {
        Some(cause) if !status.message().contains(&cause) => format!("{}: {cause}", status.message()),
        _ if status.message().is_empty() => status.code().to_string(),
        _ => status.message().to_owned(),
    }
}

fn failed(error: impl std::error::Error) -> CallError {
    CallError::Failed(explain(&error))
}

fn read((report, spool): (Report, Option<Arc<Spool>>)) -> HeldAttempt {
    let Report { lease, output, result, tests } = report;
    let output_offset = output.start;
    let output = spool.map(|spool| spool.read(output)).unwrap_or_default();
    HeldAttempt { lease, output_offset, output: Bytes::from(output), result, tests }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_told_by_its_message_and_its_first_cause() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let mut status = Status::unavailable("tcp connect error");
        status.set_source(Arc::new(refused));
        assert_eq!(told(&status), "tcp connect error: connection refused");
        assert_eq!(told(&Status::unavailable("")), Code::Unavailable.to_string());
        assert_eq!(told(&Status::internal("no room")), "no room");
    }
}
