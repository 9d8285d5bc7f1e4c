//! One test and how it went.

use crate::model::TestResult;
use serde::Serialize;
use std::time::Duration;

/// How a test went. In order: what a duplicate of the same test says later wins over what stands earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Listed, and not meant to run: disabled.
    Disabled,
    /// It chose not to run.
    Skipped,
    /// It ran and is good.
    Passed,
    /// A check failed.
    Failed,
    /// It broke before its checks could tell.
    Errored,
}

impl Status {
    /// Whether the test makes a suite red.
    pub fn is_bad(self) -> bool {
        matches!(self, Self::Failed | Self::Errored)
    }
}

/// What kind of thing went wrong, as JUnit and Surefire tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// A check failed.
    Failure,
    /// Something broke.
    Error,
    /// A check failed at first; the test passed later.
    FlakyFailure,
    /// Something broke at first; the test passed later.
    FlakyError,
    /// A check failed again.
    RerunFailure,
    /// Something broke again.
    RerunError,
}

impl ProblemKind {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Failure, "failure"),
        (Self::Error, "error"),
        (Self::FlakyFailure, "flakyFailure"),
        (Self::FlakyError, "flakyError"),
        (Self::RerunFailure, "rerunFailure"),
        (Self::RerunError, "rerunError"),
    ];

    /// The name of its element.
    pub fn element(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("error", |(_, name)| name)
    }

    /// The kind that this element is.
    pub fn from_element(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, element)| *element == name).map(|(kind, _)| *kind)
    }
}

/// One thing that went wrong in a test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What kind of thing.
    pub kind: ProblemKind,
    /// In a line.
    pub message: String,
    /// An exception's type, most often.
    #[serde(rename = "type")]
    pub type_name: String,
    /// In full.
    pub text: String,
}

/// One test and how it went.
#[derive(Clone, Debug, PartialEq)]
pub struct TestCase {
    /// What the test belongs to: a class, or gtest's suite.
    pub class_name: String,
    /// Its name within it.
    pub name: String,
    /// How it went.
    pub status: Status,
    /// How long it took.
    pub time: Option<Duration>,
    /// When it started, as the framework wrote it: gtest writes local time without a zone.
    pub timestamp: String,
    /// Where it is written.
    pub file: String,
    /// And on which line.
    pub line: Option<u64>,
    /// Why it was skipped; empty otherwise.
    pub skip_message: String,
    /// What went wrong, in order.
    pub problems: Vec<Problem>,
    /// What it recorded, gtest's parameters among it.
    pub properties: Vec<(String, String)>,
    /// What it printed.
    pub system_out: String,
    /// What it complained.
    pub system_err: String,
    /// What the scheduler's ledger has on it, where tests are shared out.
    pub result: Option<Box<TestResult>>,
}

impl TestCase {
    /// A test of which only the name is known, and that it passed.
    pub fn new(class_name: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            class_name: class_name.into(),
            name: name.into(),
            status: Status::Passed,
            time: None,
            timestamp: String::new(),
            file: String::new(),
            line: None,
            skip_message: String::new(),
            problems: Vec::new(),
            properties: Vec::new(),
            system_out: String::new(),
            system_err: String::new(),
            result: None,
        }
    }

    /// A stand-in for results that should be here and are not.
    pub fn broken(class_name: &str, name: &str, type_name: &str, message: String) -> Self {
        let text = String::new();
        let type_name = type_name.to_owned();
        let problem = Problem { kind: ProblemKind::Error, message, type_name, text };
        Self { status: Status::Errored, problems: vec![problem], ..Self::new(class_name, name) }
    }

    /// The command that runs it alone, if it was shared out and failed.
    pub fn reproduce_line(&self) -> Option<&str> {
        let mut properties = self.properties.iter().filter(|_| self.result.is_some());
        properties.find(|(name, _)| name == "reproduce").map(|(_, command)| command.as_str())
    }

    /// `Class.name`.
    pub fn full_name(&self) -> String {
        match (self.class_name.as_str(), self.name.as_str()) {
            ("", name) => name.to_owned(),
            (class, "") => class.to_owned(),
            (class, name) => format!("{class}.{name}"),
        }
    }
}
