//! When a running command is to be signalled. Pure.

use super::Interruption;
use crate::attempt::Timeouts;
use std::time::Duration;

/// Longest that a killed command may take to be gone.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// By itself.
    Itself,
    /// The hard timeout had passed.
    HardTimeout,
    /// Its output was silent for too long.
    IoTimeout,
    /// It was interrupted from outside.
    Interrupted,
}

/// What to do to the command now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Terminate,
    Kill,
    /// It was killed and is still there.
    GiveUp,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Running,
    Terminated { kill_at: Duration },
    Killed { give_up_at: Duration },
}

/// Watches over one command.
#[derive(Debug)]
pub(super) struct Watch {
    timeouts: Timeouts,
    started: Duration,
    phase: Phase,
    cause: Cause,
}

impl Watch {
    /// The command was started at `now`.
    pub(super) fn new(timeouts: Timeouts, now: Duration) -> Self {
        Self { timeouts, started: now, phase: Phase::Running, cause: Cause::Itself }
    }

    /// Why the command ended, if it ended now.
    pub(super) fn cause(&self) -> Cause {
        self.cause
    }

    /// When to look again at the latest, given when output came last.
    pub(super) fn wake(&self, latest_output: Duration) -> Duration {
        match self.phase {
            Phase::Running => {
                let hard = self.started + self.timeouts.hard;
                self.timeouts.io.map_or(hard, |io| hard.min(latest_output + io))
            }
            Phase::Terminated { kill_at } => kill_at,
            Phase::Killed { give_up_at } => give_up_at,
        }
    }

    /// What to do at `now`. Asked again until there is nothing.
    pub(super) fn step(
        &mut self,
        now: Duration,
        latest_output: Duration,
        interruption: Interruption,
    ) -> Option<Step> {
        let abandoned = interruption == Interruption::Abandon;
        match self.phase {
            Phase::Running => {
                self.cause = self.reason(now, latest_output, interruption)?;
                self.phase = Phase::Terminated { kill_at: now + self.timeouts.grace };
                Some(Step::Terminate)
            }
            Phase::Terminated { kill_at } => (now >= kill_at || abandoned).then(|| {
                self.phase = Phase::Killed { give_up_at: now + PATIENCE };
                Step::Kill
            }),
            Phase::Killed { give_up_at } => (now >= give_up_at).then_some(Step::GiveUp),
        }
    }

    fn reason(&self, now: Duration, latest_output: Duration, interruption: Interruption) -> Option<Cause> {
        if interruption != Interruption::None {
            return Some(Cause::Interrupted);
        }
        if now >= self.started + self.timeouts.hard {
            return Some(Cause::HardTimeout);
        }
        let silent = self.timeouts.io.is_some_and(|io| now >= latest_output + io);
        silent.then_some(Cause::IoTimeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn watch() -> Watch {
        Watch::new(Timeouts { hard: s(100), io: Some(s(10)), grace: s(5) }, s(1000))
    }

    #[test]
    fn silence_and_length_end_a_command_with_term_grace_kill() {
        let mut watch = watch();
        assert_eq!(watch.wake(s(1000)), s(1010));
        assert_eq!(watch.step(s(1009), s(1000), Interruption::None), None);
        assert_eq!(watch.step(s(1015), s(1006), Interruption::None), None, "it spoke meanwhile");
        assert_eq!(watch.wake(s(1095)), s(1100));
        assert_eq!(watch.step(s(1100), s(1095), Interruption::None), Some(Step::Terminate));
        assert_eq!(watch.cause(), Cause::HardTimeout);
        assert_eq!(watch.wake(s(1100)), s(1105));
        assert_eq!(watch.step(s(1104), s(1100), Interruption::Kill), None, "grace is not cut short");
        assert_eq!(watch.step(s(1105), s(1104), Interruption::None), Some(Step::Kill));
        assert_eq!(watch.step(s(1119), s(1104), Interruption::None), None);
        assert_eq!(watch.step(s(1120), s(1104), Interruption::None), Some(Step::GiveUp));
    }

    #[test]
    fn an_interruption_is_told_apart_from_a_timeout() {
        let mut killed = watch();
        assert_eq!(killed.step(s(1001), s(1000), Interruption::Kill), Some(Step::Terminate));
        assert_eq!(killed.cause(), Cause::Interrupted);
        let mut silent = watch();
        assert_eq!(silent.step(s(1010), s(1000), Interruption::None), Some(Step::Terminate));
        assert_eq!(silent.cause(), Cause::IoTimeout);
    }

    #[test]
    fn an_abandoned_command_gets_no_grace() {
        let mut watch = watch();
        assert_eq!(watch.step(s(1001), s(1000), Interruption::Abandon), Some(Step::Terminate));
        assert_eq!(watch.step(s(1001), s(1000), Interruption::Abandon), Some(Step::Kill));
        assert_eq!(watch.step(s(1001), s(1000), Interruption::Abandon), None);
    }
}
