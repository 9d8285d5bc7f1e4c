//! Randomness as something that is handed in.

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// A source of random bits.
pub trait Entropy: Send + Sync + fmt::Debug + 'static {
    /// 64 random bits.
    fn next(&self) -> u64;
}

impl dyn Entropy {
    /// A random name of 26 characters, for sessions and requests.
    pub fn name(&self) -> String {
        format!("{:013x}{:013x}", self.next() >> 12, self.next() >> 12)
    }

    /// Uniform between zero and `most`: what full-jitter back-off waits.
    pub fn jitter(&self, most: Duration) -> Duration {
        let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX).max(1);
        Duration::from_micros(self.next() % micros)
    }
}

/// The operating system's randomness, stretched by a generator of the process.
#[derive(Clone, Debug)]
pub struct SystemEntropy(SeededEntropy);

impl SystemEntropy {
    /// As a shared [`Entropy`].
    pub fn shared() -> Arc<dyn Entropy> {
        Arc::new(Self(SeededEntropy(Arc::new(Mutex::new(rand::make_rng())))))
    }
}

impl Entropy for SystemEntropy {
    fn next(&self) -> u64 {
        self.0.next()
    }
}

/// The same numbers for the same seed.
#[derive(Clone)]
pub struct SeededEntropy(Arc<Mutex<StdRng>>);

impl SeededEntropy {
    /// Starts the sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }
}

impl fmt::Debug for SeededEntropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SeededEntropy")
    }
}

impl Entropy for SeededEntropy {
    fn next(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next_u64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_names() {
        let name = |seed| (&SeededEntropy::new(seed) as &dyn Entropy).name();
        assert_eq!(name(1), name(1));
        assert_ne!(name(1), name(2));
        assert_eq!(name(1).len(), 26);
    }
}
