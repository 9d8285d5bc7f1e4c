//! A point in time as a value.

use std::{
    fmt,
    ops::{Add, Sub},
    time::Duration,
};

/// Microseconds since 1970-01-01T00:00:00Z. Made by a clock at the edge, then passed as `now`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From microseconds since the epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Time since `earlier`; zero when that lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

impl From<Timestamp> for prost_types::Timestamp {
    fn from(time: Timestamp) -> Self {
        Self {
            seconds: (time.0 / 1_000_000).cast_signed(),
            nanos: i32::try_from(time.0 % 1_000_000 * 1000).unwrap_or(0),
        }
    }
}

impl From<&prost_types::Timestamp> for Timestamp {
    /// Times before the epoch become the epoch.
    fn from(wire: &prost_types::Timestamp) -> Self {
        let seconds = u64::try_from(wire.seconds).unwrap_or(0);
        let micros = u64::try_from(wire.nanos / 1000).unwrap_or(0);
        Self(seconds.saturating_mul(1_000_000).saturating_add(micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn wire_round_trip(micros in 0..u64::MAX / 4) {
            let time = Timestamp::from_micros(micros);
            prop_assert_eq!(Timestamp::from(&prost_types::Timestamp::from(time)), time);
        }
    }
}
