//! Medians, percentiles and lines of a table.

use std::time::Duration;

/// The middle of several measurements.
pub(crate) fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all[all.len() / 2]
}

/// The value below which `percent` of all lie.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

/// One line: what, how long, and how that compares.
pub(crate) fn line(what: &str, took: Duration, note: &str) {
    println!("{what:<58} {:>9.1} ms  {note}", took.as_secs_f64() * 1000.0);
}

/// How many times as long as the baseline.
pub(crate) fn ratio(took: Duration, baseline: Duration, name: &str) -> String {
    format!("{:.2} x {name}", took.as_secs_f64() / baseline.as_secs_f64())
}
