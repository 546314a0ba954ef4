//! Blue-noise binary masks by void and cluster (Ulichney, SPIE 1913, 1993): move an open pixel from the tightest
//! cluster to the largest void until that changes nothing.
//!
//! All arithmetic is in integers, so the result does not depend on the order of sums or on the CPU.

use cassi_core::{Mask, random::Stream};

use super::from_rows;

/// Squared reach of the neighbourhood weight `(18 − d²)⁴`, close to a Gaussian of standard deviation √(18/8) = 1.5.
const REACH_SQUARED: i32 = 18;
/// Largest offset with a weight above zero.
const REACH: i32 = 4;
/// Side of the tiles whose extremes are kept.
const TILE: usize = 16;

/// A binary mask with `open_fraction` of its pixels open (rounded to whole pixels), spread so that the open ones keep
/// away from each other: little energy at low frequencies. It may be repeated like tiles without a seam.
///
/// # Panics
/// If a side is 0.
pub fn blue_noise(rows: usize, columns: usize, open_fraction: f64, seed: u64) -> Mask {
    let pixels = rows * columns;
    let open = (open_fraction * pixels as f64).round() as usize;
    // The rarer kind is the one that is spread: the pattern of the other follows from it.
    let (count, minority_is_open) = if 2 * open <= pixels { (open, true) } else { (pixels - open, false) };
    let set = spread(rows, columns, count, seed);
    from_rows(rows, columns, |row| {
        set[row * columns..][..columns].iter().map(|&set| f32::from(set == minority_is_open)).collect()
    })
}

fn spread(rows: usize, columns: usize, count: usize, seed: u64) -> Vec<bool> {
    let mut field = Field::new(rows, columns, seed);
    let order = Stream::new(seed, "mask/blue-noise", 0).permutation(rows * columns);
    for &pixel in &order[..count] {
        field.toggle(pixel);
    }
    if count == 0 || count == rows * columns {
        return field.set;
    }
    for tile in 0..field.tightest.len() {
        field.refresh(tile);
    }
    // Each move lowers the sum of pair weights, so this ends.
    loop {
        let cluster = field.tightest.iter().max().expect("at least one tile").1;
        field.toggle_and_refresh(cluster);
        let void = field.emptiest.iter().min().expect("at least one tile").1;
        field.toggle_and_refresh(void);
        if void == cluster {
            return field.set;
        }
    }
}

/// The pattern, and for each pixel the weight of the set pixels around it (edges wrap).
struct Field {
    rows: usize,
    columns: usize,
    set: Vec<bool>,
    weight: Vec<i32>,
    tile_columns: usize,
    /// Per tile, the set pixel of the largest weight.
    tightest: Vec<(i32, usize)>,
    /// Per tile, the clear pixel of the smallest weight.
    emptiest: Vec<(i32, usize)>,
}

impl Field {
    fn new(rows: usize, columns: usize, seed: u64) -> Self {
        // Weights are multiples of 64: what is below decides ties at random instead of from the upper left.
        let mut stream = Stream::new(seed, "mask/blue-noise-ties", 0);
        let weight = (0..rows * columns).map(|_| stream.below(64) as i32).collect();
        let tile_columns = columns.div_ceil(TILE);
        let tiles = rows.div_ceil(TILE) * tile_columns;
        Self {
            rows,
            columns,
            set: vec![false; rows * columns],
            weight,
            tile_columns,
            tightest: vec![(i32::MIN, usize::MAX); tiles],
            emptiest: vec![(i32::MAX, usize::MAX); tiles],
        }
    }

    fn toggle(&mut self, pixel: usize) {
        self.set[pixel] = !self.set[pixel];
        let sign = if self.set[pixel] { 64 } else { -64 };
        let (row, column) = ((pixel / self.columns) as i32, (pixel % self.columns) as i32);
        for dr in -REACH..=REACH {
            let r = (row + dr).rem_euclid(self.rows as i32) as usize;
            for dc in -REACH..=REACH {
                let near = REACH_SQUARED - dr * dr - dc * dc;
                if near > 0 {
                    let c = (column + dc).rem_euclid(self.columns as i32) as usize;
                    self.weight[r * self.columns + c] += sign * near.pow(4);
                }
            }
        }
    }

    fn toggle_and_refresh(&mut self, pixel: usize) {
        self.toggle(pixel);
        let tiles_along = |at: usize, length: usize| {
            let reach = REACH as usize;
            let [low, high] = [(at + length * reach - reach) % length / TILE, (at + reach) % length / TILE];
            // On a side shorter than the reach the ends may wrap past the middle: take its own tile as well.
            [low, at / TILE, high]
        };
        let rows = tiles_along(pixel / self.columns, self.rows);
        let columns = tiles_along(pixel % self.columns, self.columns);
        let mut done = [usize::MAX; 9];
        for (i, (r, c)) in rows.iter().flat_map(|r| columns.map(|c| (r, c))).enumerate() {
            let tile = r * self.tile_columns + c;
            if !done.contains(&tile) {
                done[i] = tile;
                self.refresh(tile);
            }
        }
    }

    fn refresh(&mut self, tile: usize) {
        let (top, left) = (tile / self.tile_columns * TILE, tile % self.tile_columns * TILE);
        let right = (left + TILE).min(self.columns);
        let (mut tightest, mut emptiest) = ((i32::MIN, usize::MAX), (i32::MAX, usize::MAX));
        for row in top..(top + TILE).min(self.rows) {
            for pixel in row * self.columns + left..row * self.columns + right {
                let here = (self.weight[pixel], pixel);
                if self.set[pixel] {
                    tightest = tightest.max(here);
                } else {
                    emptiest = emptiest.min(here);
                }
            }
        }
        // A tile without a set pixel holds (MIN, MAX): it never wins while any other has one.
        self.tightest[tile] = tightest;
        self.emptiest[tile] = emptiest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::bernoulli;

    #[test]
    fn counts_are_exact_at_any_fraction_and_size() {
        for (rows, columns) in [(1, 1), (1, 7), (5, 3), (33, 18), (64, 64)] {
            for fraction in [0.0, 0.1, 0.5, 0.8, 1.0] {
                let mask = blue_noise(rows, columns, fraction, 3);
                let open = mask.as_slice().iter().filter(|&&v| v == 1.0).count();
                assert_eq!(open, (fraction * (rows * columns) as f64).round() as usize);
                assert!(mask.as_slice().iter().all(|&v| v == 0.0 || v == 1.0));
            }
        }
    }

    /// Variance of the means of 8x8 blocks: 0.25 / 64 = 0.0039 for independent pixels, far less where low
    /// frequencies are missing.
    fn block_variance(mask: &Mask) -> f64 {
        let blocks = mask.view();
        let means: Vec<f64> =
            blocks.exact_chunks((8, 8)).into_iter().map(|block| f64::from(block.mean().unwrap())).collect();
        let mean = means.iter().sum::<f64>() / means.len() as f64;
        means.iter().map(|m| (m - mean).powi(2)).sum::<f64>() / means.len() as f64
    }

    #[test]
    fn low_frequencies_are_missing() {
        let (blue, white) =
            (block_variance(&blue_noise(128, 128, 0.5, 1)), block_variance(&bernoulli(128, 128, 0.5, 1)));
        // 256 blocks estimate the white variance to 9 %; boundary pixels alone leave blue noise below a sixth of it.
        assert!(blue < white / 6.0, "blue {blue}, white {white}");
    }

    #[test]
    fn seeds_differ_and_repeat() {
        assert_eq!(blue_noise(32, 48, 0.3, 5), blue_noise(32, 48, 0.3, 5));
        assert_ne!(blue_noise(32, 48, 0.3, 5), blue_noise(32, 48, 0.3, 6));
    }
}
