//! Counter-based random numbers: the same (seed, purpose, index) gives the same numbers, whatever ran before and on
//! whichever thread.
//!
//! A [`Stream`] is ChaCha8 keyed by the seed and a hash of the purpose, on the stream numbered `index`. Draw one
//! stream per item (a scene, a detector row, a training sample) and nothing depends on the order of the work.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Binomial, Distribution, StandardNormal};

/// A reproducible stream of random numbers. It is a [`rand::Rng`], so every distribution of `rand_distr` works on
/// it.
#[derive(Debug, Clone)]
pub struct Stream(ChaCha8Rng);

/// FNV-1a, 64 bits: stable over versions and platforms, which `std`'s hasher does not promise.
pub fn fnv1a(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Stream {
    /// The stream of item `index` for one purpose, e.g. `Stream::new(7, "noise", row)`.
    pub fn new(seed: u64, purpose: &str, index: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&fnv1a(purpose).to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(index);
        Self(rng)
    }

    /// Uniform in [0, 1), with 53 random bits.
    pub fn uniform(&mut self) -> f64 {
        (rand::Rng::next_u64(&mut self.0) >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in [low, high).
    pub fn uniform_in(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Uniform in 0..n.
    ///
    /// # Panics
    /// If `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        assert!(n > 0, "a choice among none");
        // The bias is below n / 2^64: of no consequence for any n that fits into memory.
        ((u128::from(rand::Rng::next_u64(&mut self.0)) * n as u128) >> 64) as usize
    }

    /// Whether an event of this probability happens.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// Standard normal.
    pub fn normal(&mut self) -> f64 {
        StandardNormal.sample(&mut self.0)
    }

    /// Number of successes in `trials` of probability `p`.
    ///
    /// # Panics
    /// If `p` is not in [0, 1].
    pub fn binomial(&mut self, trials: u64, p: f64) -> u64 {
        Binomial::new(trials, p).expect("a probability").sample(&mut self.0)
    }

    /// A random permutation of 0..n (Fisher-Yates).
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, self.below(i + 1));
        }
        order
    }
}

impl rand::TryRng for Stream {
    type Error = std::convert::Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(rand::Rng::next_u32(&mut self.0))
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(rand::Rng::next_u64(&mut self.0))
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        rand::Rng::fill_bytes(&mut self.0, bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_reproducible_and_apart() {
        let draw = |seed, purpose, index| Stream::new(seed, purpose, index).uniform();
        assert_eq!(draw(1, "noise", 2), draw(1, "noise", 2));
        assert_ne!(draw(1, "noise", 2), draw(1, "noise", 3));
        assert_ne!(draw(1, "noise", 2), draw(1, "mask", 2));
        assert_ne!(draw(1, "noise", 2), draw(2, "noise", 2));
    }

    #[test]
    fn first_numbers_never_change() {
        // A file made with a seed today must come out the same tomorrow.
        let mut stream = Stream::new(0, "test", 0);
        let got: Vec<u64> = (0..2).map(|_| (stream.uniform() * (1u64 << 53) as f64) as u64).collect();
        assert_eq!(got, FIRST);
    }
    const FIRST: [u64; 2] = [5680919908863098, 5698435922757576];

    #[test]
    fn moments() {
        let mut stream = Stream::new(3, "moments", 0);
        let n = 200_000;
        let (mut sum, mut squares, mut counts) = (0.0, 0.0, 0.0);
        for _ in 0..n {
            let v = stream.normal();
            sum += v;
            squares += v * v;
            counts += stream.binomial(10, 0.4) as f64;
        }
        let n = f64::from(n);
        // Five standard errors of each estimate.
        assert!((sum / n).abs() < 5.0 / n.sqrt());
        assert!((squares / n - 1.0).abs() < 5.0 * (2.0 / n).sqrt());
        assert!((counts / n - 4.0).abs() < 5.0 * (2.4 / n).sqrt());
    }
}
