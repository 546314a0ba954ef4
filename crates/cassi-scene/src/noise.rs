//! Value noise on a hashed lattice: a pure function of place and seed, so any pixel can be computed alone.

/// A number in [-1, 1) for a lattice point.
fn lattice(x: i32, y: i32, seed: u32) -> f32 {
    // Integer finaliser of the murmur3 family.
    let mut h = (x as u32).wrapping_mul(0x85eb_ca6b) ^ (y as u32).wrapping_mul(0xc2b2_ae35) ^ seed;
    h = (h ^ (h >> 16)).wrapping_mul(0x7feb_352d);
    h = (h ^ (h >> 15)).wrapping_mul(0x846c_a68b);
    h ^= h >> 16;
    (h >> 8) as f32 * (2.0 / (1u32 << 24) as f32) - 1.0
}

/// Smooth noise in [-1, 1] with features of size 1.
pub(crate) fn value(x: f32, y: f32, seed: u32) -> f32 {
    let (fx, fy) = (x.floor(), y.floor());
    let (ix, iy) = (fx as i32, fy as i32);
    let ease = |t: f32| t * t * (3.0 - 2.0 * t);
    let (tx, ty) = (ease(x - fx), ease(y - fy));
    let mix = |a: f32, b: f32, t: f32| a + (b - a) * t;
    let upper = mix(lattice(ix, iy, seed), lattice(ix.wrapping_add(1), iy, seed), tx);
    let iy = iy.wrapping_add(1);
    mix(upper, mix(lattice(ix, iy, seed), lattice(ix.wrapping_add(1), iy, seed), tx), ty)
}

/// Noise with `octaves` scales, each half the size and a bit more than half the strength of the one before; about
/// [-1, 1], largest features of size 1.
pub(crate) fn fractal(x: f32, y: f32, octaves: u32, seed: u32) -> f32 {
    let (mut sum, mut strength, mut total, mut scale) = (0.0, 1.0, 0.0, 1.0);
    for octave in 0..octaves {
        sum += strength * value(x * scale, y * scale, seed.wrapping_add(octave.wrapping_mul(0x9e37_79b9)));
        total += strength;
        strength *= 0.55;
        scale *= 2.03;
    }
    1.4 * sum / total
}
