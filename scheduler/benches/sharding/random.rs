//! Seeded numbers.

use runtime::{Entropy as _, SeededEntropy};

pub(crate) struct Random(SeededEntropy);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(SeededEntropy::new(seed))
    }

    /// In [0, 1).
    pub(crate) fn uniform(&self) -> f64 {
        (self.0.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Of mean 0 and deviation 1 (Box and Muller 1958).
    pub(crate) fn normal(&self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Below `most`.
    pub(crate) fn below(&self, most: usize) -> usize {
        (self.uniform() * most as f64) as usize
    }
}
