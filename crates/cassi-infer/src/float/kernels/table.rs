//! The table from which AVX-512 takes GELU: `g(a) = a Φ(−a)`, so that `gelu(x) = max(x, 0) − g(|x|)`.
//!
//! Sixteen intervals of width 3/8 around 0, 3/8, 6/8 and so on, beyond the last of which g is below 2e-8. In each stands
//! the polynomial of degree four through g at the five Chebyshev nodes, in `d = a / (3/8) − index`; it is within 4e-7
//! of g. Computed at compile time.

/// Intervals per unit of |x|.
pub(super) const GELU_SCALE: f32 = 1.0 / WIDTH as f32;
/// The largest argument, in intervals, that rounds to the last of them.
pub(super) const GELU_LAST: f32 = 15.49;
/// `[power][interval]`, one cache line a power.
#[repr(align(64))]
pub(super) struct Table(pub(super) [[f32; 16]; 5]);
pub(super) static GELU: Table = Table(table());

const WIDTH: f64 = 0.375;
/// cos((2 j + 1) π / 10) / 2.
const NODES: [f64; 5] = [
    0.475_528_258_147_576_8,
    0.293_892_626_146_236_6,
    0.0,
    -0.293_892_626_146_236_6,
    -0.475_528_258_147_576_8,
];

/// `a Φ(−a)` by the series `Φ(a) = 1/2 + φ(a) Σ a^(2k + 1) / (2k + 1)!!`, all of whose terms have one sign.
const fn tail(a: f64) -> f64 {
    let (mut power, mut exponential, mut n) = (1.0, 1.0, 1.0);
    while n < 150.0 {
        power *= a * a / 2.0 / n;
        exponential += power;
        n += 1.0;
    }
    let density = 0.398_942_280_401_432_7 / exponential;
    let (mut term, mut sum, mut k) = (a, a, 1.0);
    while k < 150.0 {
        term *= a * a / (2.0 * k + 1.0);
        sum += term;
        k += 1.0;
    }
    a * (0.5 - density * sum)
}

const fn table() -> [[f32; 16]; 5] {
    let mut table = [[0.0; 16]; 5];
    let mut interval = 0;
    while interval < 16 {
        // Newton's divided differences, then the powers of d.
        let mut difference = [0.0; 5];
        let mut j = 0;
        while j < 5 {
            difference[j] = tail((interval as f64 + NODES[j]) * WIDTH);
            j += 1;
        }
        let mut order = 1;
        while order < 5 {
            let mut j = 4;
            while j >= order {
                difference[j] = (difference[j] - difference[j - 1]) / (NODES[j] - NODES[j - order]);
                j -= 1;
            }
            order += 1;
        }
        let mut powers = [0.0; 5];
        let mut k = 5;
        while k > 0 {
            k -= 1;
            let mut p = 4;
            while p > 0 {
                powers[p] = powers[p - 1] - NODES[k] * powers[p];
                p -= 1;
            }
            powers[0] = difference[k] - NODES[k] * powers[0];
        }
        let mut p = 0;
        while p < 5 {
            table[p][interval] = powers[p] as f32;
            p += 1;
        }
        interval += 1;
    }
    table
}
