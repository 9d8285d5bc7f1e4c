//! Names of runs, shards, bots and requests.

use crate::decimal;
use std::{fmt, str::FromStr};

/// Why something is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a {kind}: {expected}")]
pub struct IdError {
    /// What was given, shortened.
    pub given: String,
    /// What it was meant to be.
    pub kind: &'static str,
    /// What such an id looks like.
    pub expected: &'static str,
}

fn refuse<T>(given: &str, kind: &'static str, expected: &'static str) -> Result<T, IdError> {
    Err(IdError { given: given.chars().take(80).collect(), kind, expected })
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $max:literal, $allowed:expr, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Checks `text`.
            pub fn new(text: &str) -> Result<Self, IdError> {
                let allowed: fn(u8) -> bool = $allowed;
                if text.is_empty() || text.len() > $max || !text.bytes().all(allowed) {
                    return refuse(text, $kind, $expected);
                }
                Ok(Self(text.into()))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }
    };
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

text_id!(
    /// A bot, for as long as its host keeps the name.
    BotId,
    "bot id",
    128,
    is_name,
    "1 to 128 characters of A-Z a-z 0-9 - _ ."
);
text_id!(
    /// One start of a bot's process.
    SessionId,
    "session id",
    64,
    is_name,
    "1 to 64 characters of A-Z a-z 0-9 - _ ."
);
text_id!(
    /// What makes a trigger idempotent: chosen by the client, one for each run that it wants.
    RequestId,
    "request id",
    128,
    |b| b.is_ascii_graphic(),
    "1 to 128 printable ASCII characters without spaces"
);
text_id!(
    /// A named cache of bots.
    CacheName,
    "name of a cache",
    128,
    |b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_',
    "1 to 128 characters of a-z 0-9 _"
);

/// A run. Ids sort by time of creation and are read aloud without confusion (Crockford base 32).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(u64);

const BASE32: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl RunId {
    /// Characters in the text form: 65 bits hold 64.
    const LEN: usize = 13;

    /// 44 bits of milliseconds since the epoch, then 20 random bits.
    pub fn new(created: crate::Timestamp, random: u32) -> Self {
        let millis = created.as_micros() / 1000;
        Self((millis << 20) | u64::from(random & 0xf_ffff))
    }

    /// The id as a number, in the same order as the text.
    pub fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digit = |i: usize| char::from(BASE32[((self.0 >> (5 * i)) & 31) as usize]);
        (0..Self::LEN).rev().try_for_each(|i| fmt::Write::write_char(f, digit(i)))
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RunId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let expected = "13 characters as `swarm trigger` and `swarm runs` print them";
        let value = text.bytes().try_fold(0u64, |value, byte| {
            let digit = BASE32.iter().position(|&b| b == byte)? as u64;
            value.checked_mul(32)?.checked_add(digit)
        });
        match value {
            Some(value) if text.len() == Self::LEN => Ok(Self(value)),
            _ => refuse(text, "run id", expected),
        }
    }
}

/// A shard: `RUN/STEP/INDEX`, both numbers counted from 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId {
    /// The run that it belongs to.
    pub run: RunId,
    /// The step within the run.
    pub step: u32,
    /// The shard within the step.
    pub index: u32,
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.run, self.step, self.index)
    }
}

impl fmt::Debug for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ShardId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let parts: Vec<&str> = text.split('/').collect();
        if let [run, step, index] = parts[..]
            && let (Ok(run), Some(step), Some(index)) = (run.parse(), decimal(step), decimal(index))
        {
            return Ok(Self { run, step, index });
        }
        refuse(text, "shard id", "RUN/STEP/INDEX as `swarm show RUN` prints them")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;
    use proptest::prelude::*;

    #[test]
    fn bad_ids_are_refused() {
        assert!(BotId::new("").is_err());
        assert!(BotId::new("a b").is_err());
        assert!(BotId::new(&"a".repeat(129)).is_err());
        assert!(RequestId::new("a\n").is_err());
        assert!("zzzzzzzzzzzzz".parse::<RunId>().is_err(), "more than 64 bits");
        assert!("0".parse::<RunId>().is_err());
        for bad in [
            "",
            "0/0/0",
            "0000000000000/00/0",
            "0000000000000/0",
            "0000000000000/0/+1",
            "0000000000000/0/0/0",
        ] {
            assert!(bad.parse::<ShardId>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn run_and_shard_ids_round_trip(ms in 0..1u64 << 44, random: u32, step: u32, index: u32) {
            let run = RunId::new(Timestamp::from_micros(ms * 1000), random);
            prop_assert_eq!(run.to_string().parse::<RunId>().unwrap(), run);
            let shard = ShardId { run, step, index };
            prop_assert_eq!(shard.to_string().parse::<ShardId>().unwrap(), shard);
        }

        #[test]
        fn run_ids_sort_by_time(a in 0..1u64 << 44, b in 0..1u64 << 44, ra: u32, rb: u32) {
            prop_assume!(a < b);
            let id = |ms: u64, r| RunId::new(Timestamp::from_micros(ms * 1000), r);
            prop_assert!(id(a, ra) < id(b, rb));
            prop_assert!(id(a, ra).to_string() < id(b, rb).to_string());
        }
    }
}
