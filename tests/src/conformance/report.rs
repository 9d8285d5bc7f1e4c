//! What the rules came to.

use super::Rule;
use serde::Serialize;
use std::fmt;

/// Whether a rule holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Verdict {
    /// It does.
    Pass,
    /// It does not.
    Fail {
        /// What the rule asks for.
        expected: String,
        /// What the server did.
        seen: String,
    },
    /// It does not concern this server.
    Skip {
        /// Which of its capabilities says so.
        reason: String,
    },
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "PASS",
            Self::Fail { .. } => "FAIL",
            Self::Skip { .. } => "SKIP",
        })
    }
}

/// All verdicts about one server, in the form that `--json` prints. Later versions only gain keys.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    version: u32,
    server: String,
    instance: String,
    passed: usize,
    failed: usize,
    skipped: usize,
    rules: Vec<Line>,
}

#[derive(Clone, Debug, Serialize)]
struct Line {
    id: &'static str,
    rule: &'static str,
    source: &'static str,
    #[serde(flatten)]
    verdict: Verdict,
}

impl Report {
    pub(super) fn new(server: &str, instance: &str) -> Self {
        let (server, instance) = (server.to_owned(), instance.to_owned());
        Self { version: 1, server, instance, passed: 0, failed: 0, skipped: 0, rules: Vec::new() }
    }

    pub(super) fn add(&mut self, rule: &'static Rule, verdict: Verdict) {
        match verdict {
            Verdict::Pass => self.passed += 1,
            Verdict::Fail { .. } => self.failed += 1,
            Verdict::Skip { .. } => self.skipped += 1,
        }
        let Rule { id, says, source, .. } = rule;
        self.rules.push(Line { id, rule: says, source, verdict });
    }

    /// Rules that do not hold.
    pub fn failed(&self) -> usize {
        self.failed
    }

    /// Rules that hold.
    pub fn passed(&self) -> usize {
        self.passed
    }

    /// Ids of the rules that were not asked about, with the reason of each.
    pub fn skips(&self) -> impl Iterator<Item = (&str, &str)> {
        self.rules.iter().filter_map(|line| match &line.verdict {
            Verdict::Skip { reason } => Some((line.id, reason.as_str())),
            Verdict::Pass | Verdict::Fail { .. } => None,
        })
    }

    /// What is told of one rule on a terminal.
    pub fn describe(rule: &Rule, verdict: &Verdict) -> String {
        let line = format!("{verdict}  {:<34} {}", rule.id, rule.says);
        match verdict {
            Verdict::Pass => line,
            Verdict::Fail { expected, seen } => {
                format!(
                    "{line}\n        source:   {}\n        expected: {expected}\n        seen:     {seen}",
                    rule.source
                )
            }
            Verdict::Skip { reason } => format!("{line}\n        because:  {reason}"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passed, failed, skipped, .. } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}
