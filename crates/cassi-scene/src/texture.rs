//! Patterns on surfaces: how much of a material's second spectrum shows at a point.

use cassi_core::random::Stream;

use crate::noise;

/// A pattern in the object's own coordinates. Lengths in units of the scene (256 on its short side).
#[derive(Debug, Clone)]
pub(crate) enum Pattern {
    Plain,
    /// Clouds, marble, stains: size and contrast.
    Clouds(f32, f32),
    /// Period, share of the second colour, waviness.
    Stripes(f32, f32, f32),
    /// Side of a square.
    Checks(f32),
    /// Distance and radius of dots.
    Dots(f32, f32),
    /// Growth rings or wood grain: period.
    Rings(f32),
    /// Woven threads: period.
    Weave(f32),
    /// Veins of a leaf: distance.
    Veins(f32),
}

/// A pattern with fine grain over it.
#[derive(Debug, Clone)]
pub(crate) struct Texture {
    pub(crate) pattern: Pattern,
    /// Strength of the fine grain in the shading, e.g. 0.05.
    pub(crate) grain: f32,
    pub(crate) seed: u32,
}

/// 0 below -half, 1 above half, straight between: an edge one `width` wide.
fn ramp(x: f32, width: f32) -> f32 {
    (0.5 + x / width).clamp(0.0, 1.0)
}

impl Texture {
    /// Draws a pattern with a size that suits an object of radius `radius`.
    pub(crate) fn draw(random: &mut Stream, radius: f32) -> Self {
        let size = (f64::from(radius) * random.uniform_in(0.12, 0.6)).clamp(3.0, 40.0) as f32;
        let pattern = match random.uniform() {
            p if p < 0.34 => Pattern::Plain,
            p if p < 0.62 => Pattern::Clouds(2.0 * size, random.uniform_in(0.3, 1.2) as f32),
            p if p < 0.74 => Pattern::Stripes(
                size,
                random.uniform_in(0.25, 0.6) as f32,
                random.uniform_in(0.0, 0.4) as f32,
            ),
            p if p < 0.81 => Pattern::Checks(size),
            p if p < 0.89 => Pattern::Dots(1.3 * size, random.uniform_in(0.25, 0.45) as f32 * size),
            p if p < 0.94 => Pattern::Rings(size),
            _ => Pattern::Weave((0.4 * size).max(3.0)),
        };
        Self::new(pattern, random.uniform_in(0.0, 0.12) as f32, random)
    }

    pub(crate) fn new(pattern: Pattern, grain: f32, random: &mut Stream) -> Self {
        Self { pattern, grain, seed: random.below(1 << 32) as u32 }
    }

    /// Share of the second spectrum and factor of the shading at (x, y); `soft` is the width of sharp transitions.
    pub(crate) fn at(&self, x: f32, y: f32, soft: f32) -> (f32, f32) {
        let seed = self.seed;
        let grain = if self.grain > 0.0 {
            1.0 + self.grain
                * (noise::value(x * 0.45, y * 0.45, seed ^ 77) + noise::value(x * 0.19, y * 0.19, seed ^ 78))
        } else {
            1.0
        };
        let (share, shade) = match self.pattern {
            Pattern::Plain => (0.5 + 0.2 * noise::value(x / 30.0, y / 30.0, seed), 1.0),
            Pattern::Clouds(size, contrast) => {
                ((0.5 + contrast * noise::fractal(x / size, y / size, 5, seed)).clamp(0.0, 1.0), 1.0)
            }
            Pattern::Stripes(period, share, wave) => {
                let bend = if wave > 0.0 {
                    wave * period * noise::value(x / (3.0 * period), y / (3.0 * period), seed)
                } else {
                    0.0
                };
                let place = ((y + bend) / period).rem_euclid(1.0);
                (ramp((0.5 * share - (place - 0.5).abs()) * period, soft), 1.0)
            }
            Pattern::Checks(side) => {
                let wave = |v: f32| {
                    let place = (v / (2.0 * side)).rem_euclid(1.0);
                    2.0 * ramp((0.25 - (place - 0.5).abs()) * 2.0 * side, soft) - 1.0
                };
                (0.5 + 0.5 * wave(x) * wave(y), 1.0)
            }
            Pattern::Dots(distance, radius) => {
                let row = (y / distance).floor();
                let shifted = x + 0.5 * distance * row.rem_euclid(2.0);
                let offset = |v: f32| (v / distance).rem_euclid(1.0) - 0.5;
                (ramp(radius - distance * offset(shifted).hypot(offset(y)), soft), 1.0)
            }
            Pattern::Rings(period) => {
                let bend = noise::fractal(x / (6.0 * period), y / (1.5 * period), 3, seed);
                (0.5 + 0.5 * (std::f32::consts::TAU * (y / period + 1.2 * bend)).sin(), 1.0)
            }
            Pattern::Weave(period) => {
                let (u, v) = (x / period, y / period);
                let over = (u.floor() + v.floor()).rem_euclid(2.0) < 1.0;
                let across = if over { v } else { u };
                let round = 1.0 - (2.0 * (across.rem_euclid(1.0) - 0.5)).powi(2);
                let yarn = noise::value(x / 9.0, y / 9.0, seed);
                ((if over { 0.15 } else { 0.85 }) + 0.15 * yarn, 0.62 + 0.38 * round)
            }
            Pattern::Veins(distance) => {
                let middle = ramp(0.7 - y.abs(), soft.max(0.8));
                let side = ((x - 0.8 * y.abs()) / distance).rem_euclid(1.0) - 0.5;
                let vein = 0.6 * ramp(0.4 - side.abs() * distance, soft.max(0.8));
                let stain = 0.25 + 0.25 * noise::fractal(x / 14.0, y / 14.0, 3, seed);
                (middle.max(vein).max(stain), 1.0)
            }
        };
        (share, shade * grain)
    }
}
