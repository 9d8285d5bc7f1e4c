//! What a host must have for its bot to work. Pure.

use bytesize::ByteSize;
use proto::{Timestamp, limits};
use std::{path::Path, time::Duration};

/// See the module. Zero: no limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Free bytes, on the bot's disk and on that of temporary files.
    pub(crate) min_free_disk: u64,
    /// How far the clock may be from the scheduler's.
    pub(crate) max_clock_skew: Duration,
}

impl Limits {
    /// What is wrong with a disk that has so much left.
    pub(super) fn disk(&self, path: &Path, free: u64) -> Option<String> {
        (free < self.min_free_disk).then(|| {
            let (free, least) = (ByteSize::b(free), ByteSize::b(self.min_free_disk));
            format!(
                "only {free} are free on the disk of {}, min-free-disk is {least}: make room",
                path.display()
            )
        })
    }

    /// What is wrong with a clock that says `own` when the scheduler's says `scheduler`.
    pub(super) fn clock(&self, own: Timestamp, scheduler: Timestamp) -> Option<String> {
        let (apart, where_to) = match own.since(scheduler) {
            Duration::ZERO => (scheduler.since(own), "behind"),
            ahead => (ahead, "ahead of"),
        };
        let most = self.max_clock_skew;
        (!most.is_zero() && apart > most).then(|| {
            let apart = Duration::from_secs(apart.as_secs());
            format!("the clock is {apart:?} {where_to} the scheduler's, max-clock-skew is {most:?}: set it")
        })
    }
}

/// Words as the scheduler takes them: one line, not too long.
pub(super) fn one_line(text: &str) -> String {
    let mut line = text.replace(char::is_control, " ");
    if line.len() > limits::MAX_BOT_WORDS {
        const DOTS: &str = "...";
        let end = (0..=limits::MAX_BOT_WORDS - DOTS.len()).rev().find(|end| line.is_char_boundary(*end));
        line.truncate(end.unwrap_or(0));
        line.push_str(DOTS);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { min_free_disk: 1 << 30, max_clock_skew: Duration::from_secs(300) };
    const OFF: Limits = Limits { min_free_disk: 0, max_clock_skew: Duration::ZERO };

    #[test]
    fn a_full_disk_and_a_wrong_clock_are_told_with_the_key_that_says_so() {
        let why = LIMITS.disk(Path::new("/data"), 5 << 20).unwrap();
        assert!(why.contains("on the disk of /data, min-free-disk is 1.0 GiB"), "{why}");
        assert_eq!(LIMITS.disk(Path::new("/data"), 1 << 30), None);
        assert_eq!(OFF.disk(Path::new("/data"), 0), None);
        let at = |seconds: u64| Timestamp::from_micros(seconds * 1_000_000);
        assert_eq!(LIMITS.clock(at(1300), at(1000)), None);
        let ahead = LIMITS.clock(at(1301), at(1000)).unwrap();
        assert_eq!(ahead, "the clock is 301s ahead of the scheduler's, max-clock-skew is 300s: set it");
        assert!(LIMITS.clock(at(1000), at(1301)).unwrap().contains("301s behind the scheduler's"));
        assert_eq!(OFF.clock(at(0), at(1000)), None);
    }

    #[test]
    fn words_become_one_short_line() {
        assert_eq!(one_line("a\nb\tc"), "a b c");
        let long = one_line(&"ü".repeat(1000));
        assert!(long.len() <= limits::MAX_BOT_WORDS && long.ends_with("ü..."), "{}", long.len());
    }
}
