//! Numbers as people read them.

use proto::Timestamp;
use std::time::Duration;

/// `0.35s`, `12.3s`, `4m 05s`, `2h 03m`, `3d 04h`; whole milliseconds below a tenth of a second.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        _ if duration.is_zero() => "0s".into(),
        0 if duration.as_millis() < 100 => format!("{}ms", duration.as_millis()),
        0 => format!("{:.2}s", duration.as_secs_f64()),
        1..60 => format!("{:.1}s", duration.as_secs_f64()),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {:02}h", seconds / 86400, seconds % 86400 / 3600),
    }
}

/// `0 B`, `812 B`, `1.5 KiB`, `23.1 MiB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // 1023.95 would be shown as 1024.0.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `1 shard`, `2 shards`.
pub fn count(n: impl Into<u64>, noun: &str) -> String {
    match n.into() {
        1 => format!("1 {noun}"),
        n => format!("{n} {noun}s"),
    }
}

/// `A, B and 4 more`: these names of so many.
pub fn some_of(names: &[impl AsRef<str>], all: u64) -> String {
    let shown: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    match all.saturating_sub(shown.len() as u64) {
        0 => shown.join(", "),
        more if shown.is_empty() => count(more, "unnamed one"),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// `just now`, `35s ago`, `3m ago`, `2h ago`, `5d ago`.
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.since(then).as_secs();
    match seconds {
        0..2 => "just now".into(),
        2..60 => format!("{seconds}s ago"),
        60..3600 => format!("{}m ago", seconds / 60),
        3600..86400 => format!("{}h ago", seconds / 3600),
        _ => format!("{}d ago", seconds / 86400),
    }
}

/// The time in UTC, as RFC 3339.
pub fn utc(time: Timestamp) -> String {
    let micros = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::MAX).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_keep_two_units_at_most() {
        let shown = |millis| duration(Duration::from_millis(millis));
        let texts =
            [0, 1, 99, 350, 1000, 12_345, 59_940, 65_000, 3_599_000, 7_400_000, 100_000_000].map(shown);
        let expected =
            ["0s", "1ms", "99ms", "0.35s", "1.0s", "12.3s", "59.9s", "1m 05s", "59m 59s", "2h 03m", "1d 03h"];
        assert_eq!(texts, expected);
    }

    #[test]
    fn sizes_never_show_four_digits_before_the_point() {
        let texts = [0, 1023, 1024, 1536, 1024 * 1024 - 1, 24_222_105, u64::MAX].map(bytes);
        assert_eq!(texts, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "23.1 MiB", "16.0 EiB"]);
    }

    #[test]
    fn times_are_told_from_now_or_in_utc() {
        let now = Timestamp::from_micros(1_700_000_000_000_000);
        let before = |seconds| ago(now - Duration::from_secs(seconds), now);
        assert_eq!(
            [0, 35, 200, 7300, 200_000].map(before),
            ["just now", "35s ago", "3m ago", "2h ago", "2d ago"]
        );
        assert_eq!(utc(now), "2023-11-14T22:13:20Z");
        assert_eq!([count(1u32, "shard"), count(0u32, "shard")], ["1 shard", "0 shards"]);
    }
}
