//! Convolutions on packed bits and on floats, and the element-wise work between them, for one chunk of a row.
//!
//! Pixels lie in vector lanes: every buffer is planar, `[channel][pixel]`, and a call treats 32 or 64 neighbouring
//! pixels of one row. A binary activation is packed by fours: byte `[group][pixel]` holds the signs of channels
//! `4·group .. 4·group + 4` in its low four bits (bit set: positive), and the byte [`OUTSIDE`] stands for a pixel
//! beyond the border, whose contribution is zero. Four ternary weights are one of 81 codes, and each code owns a
//! table of the 16 possible dot products: a convolution is one table look-up and one addition for each four
//! channels. That is the nibble-shuffle popcount with the XNOR folded into its table.
//!
//! Exact zeros among the activations (`sign(0) = 0`) need a second plane of bits, the negatives: with tables of
//! ±1 sums `T`, a ternary sum is `(T(positive) − T(negative)) / 2`. Without zeros the second plane is the
//! complement of the first and is not looked at.
//!
//! `portable` is the specification. Integer sums are the same on every path; so is every float operation outside
//! [`Kernel::conv_float`], where fused multiply-adds round once instead of twice.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

/// The packed byte of a pixel outside the frame (a shuffle index with its top bit set gives zero).
pub const OUTSIDE: u8 = 0x80;

/// Pixels that one call treats at most.
pub const CHUNK: usize = 64;

/// Dot products of four ternary weights with four signs: `TABLES[code][nibble]`, code by [`weight_code`].
pub static TABLES: [[i8; 16]; 81] = tables();

const fn tables() -> [[i8; 16]; 81] {
    let mut tables = [[0; 16]; 81];
    let mut code = 0;
    while code < 81 {
        let weights = [code % 3, code / 3 % 3, code / 9 % 3, code / 27];
        let mut nibble = 0;
        while nibble < 16 {
            let mut channel = 0;
            while channel < 4 {
                let sign = if nibble >> channel & 1 == 1 { 1 } else { -1 };
                tables[code][nibble] += (weights[channel] as i8 - 1) * sign;
                channel += 1;
            }
            nibble += 1;
        }
        code += 1;
    }
    tables
}

/// The code of four weights in {−1, 0, 1}: `Σ (w_i + 1) 3^i`, below 81.
pub fn weight_code(weights: [i8; 4]) -> u8 {
    weights.iter().rev().fold(0, |code, &w| 3 * code + (w + 1) as u8)
}

/// Signs of `k_c·x + b_c`, to be packed.
pub struct Pack<'a> {
    /// `[channel][stride]`, first pixel of the chunk at index 0.
    pub input: &'a [f32],
    /// Floats from one channel to the next.
    pub stride: usize,
    /// Factor a channel; their number, a multiple of 4, is the number of channels.
    pub factor: &'a [f32],
    /// Summand a channel.
    pub summand: &'a [f32],
    /// Bytes from one group of four channels to the next in the packed planes.
    pub group_stride: usize,
    /// Pixels, 32 or 64.
    pub pixels: usize,
}

/// A convolution of packed signs with ternary weights.
pub struct BitConv<'a> {
    /// Plane of positives, groups `group_stride` bytes apart.
    pub positive: &'a [u8],
    /// Plane of negatives in the same places, where some activation is exactly zero.
    pub negative: Option<&'a [u8]>,
    /// For each tap of the filter, the place of the chunk's first pixel in group 0.
    pub taps: &'a [usize],
    /// Bytes from one group to the next.
    pub group_stride: usize,
    /// Groups of four input channels.
    pub groups: usize,
    /// Whether outputs `4j .. 4j + 4` see group `j` only (else all groups).
    pub grouped: bool,
    /// Weight codes `[output / 4][tap][group seen][output % 4]`.
    pub codes: &'a [u8],
    /// For 1x1 layers that see all channels and have no zero weights, their signs again, 32 a word
    /// `[output][word]` (set: positive, channel 0 lowest); empty otherwise.
    pub signs: &'a [u32],
    /// Output channels, a multiple of 4.
    pub outputs: usize,
    /// Pixels, 32 or 64.
    pub pixels: usize,
}

/// A convolution of floats.
pub struct FloatConv<'a> {
    /// Planes of activations, `channel_stride` floats apart.
    pub input: &'a [f32],
    /// For each tap of the filter, the place of the chunk's first pixel in channel 0.
    pub taps: &'a [usize],
    /// Floats from one channel to the next.
    pub channel_stride: usize,
    /// Input channels.
    pub channels: usize,
    /// Whether outputs `4j .. 4j + 4` see channels `4j .. 4j + 4` only (else all channels).
    pub grouped: bool,
    /// Weights `[output / 4][tap][channel seen][output % 4]`.
    pub weights: &'a [f32],
    /// Output channels, a multiple of 4.
    pub outputs: usize,
    /// Pixels, 32 or 64.
    pub pixels: usize,
}

/// What happens to a sum `s` of output channel `c`: `v = scale_c·s + shift_c`, shortcut, activation, tail.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Epilogue {
    /// Factor a channel.
    pub scale: Vec<f32>,
    /// Summand a channel.
    pub shift: Vec<f32>,
    /// Where the shortcut is added.
    pub shortcut: Shortcut,
    /// The activation.
    pub activation: Activation,
    /// What follows, after the shortcut.
    pub tail: Tail,
    /// Whether the result is averaged with what the output holds.
    pub average: bool,
}

/// Place of the shortcut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shortcut {
    /// None.
    #[default]
    None,
    /// Before the activation.
    Before,
    /// After the activation.
    After,
}

/// Activations with their parameters, one a channel.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Activation {
    /// `v`
    #[default]
    Identity,
    /// `max(v, 0)`
    Relu,
    /// `min(max(v, −1), 1)`
    HardTanh,
    /// `(v if v > 0 else slope·v) + after`
    PRelu {
        /// Factor of negative values.
        slope: Vec<f32>,
        /// Summand afterwards.
        after: Vec<f32>,
    },
}

/// What follows a layer before its result is stored.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Tail {
    /// Nothing.
    #[default]
    None,
    /// The error-function form of the Gaussian linear unit.
    Gelu,
    /// `prelu(v + before) + after`
    RPRelu {
        /// Summand before.
        before: Vec<f32>,
        /// Factor of negative values.
        slope: Vec<f32>,
        /// Summand afterwards.
        after: Vec<f32>,
    },
    /// `hardtanh(scale·v + shift)`
    AffineHardTanh {
        /// Factor.
        scale: Vec<f32>,
        /// Summand.
        shift: Vec<f32>,
    },
}

/// Where results go, and the shortcut that is added to them.
pub struct Target<'a> {
    /// Shortcut `[channel][shortcut_stride]`, if the epilogue takes one.
    pub shortcut: Option<(&'a [f32], usize)>,
    /// Results `[channel][stride]`.
    pub output: &'a mut [f32],
    /// Floats from one channel to the next.
    pub stride: usize,
}

/// Layer normalisation over channels, pixel by pixel.
pub struct LayerNorm<'a> {
    /// `[channel][stride]`.
    pub input: &'a [f32],
    /// Floats from one channel to the next in the input.
    pub stride: usize,
    /// Factor a channel.
    pub gain: &'a [f32],
    /// Summand a channel.
    pub bias: &'a [f32],
    /// Pixels, 32 or 64.
    pub pixels: usize,
}

/// One implementation of everything.
pub struct Kernel {
    /// Its name, as `CASSI_REQUIRE_ISA` takes it.
    pub name: &'static str,
    /// Whether this CPU can run it.
    pub available: fn() -> bool,
    /// Packs signs into `positive[group·group_stride + pixel]`; returns whether a value was exactly zero.
    pub pack: fn(&Pack<'_>, positive: &mut [u8]) -> bool,
    /// Packed signs to finished outputs.
    pub conv_bits: fn(&BitConv<'_>, &Epilogue, Target<'_>),
    /// Floats to finished outputs.
    pub conv_float: fn(&FloatConv<'_>, &Epilogue, Target<'_>),
    /// `output[channel][output_stride]`.
    pub layer_norm: fn(&LayerNorm<'_>, output: &mut [f32], output_stride: usize),
}

/// All of them, best first.
#[cfg(target_arch = "x86_64")]
pub static KERNELS: &[Kernel] = &[avx512::KERNEL, avx2::KERNEL, portable::KERNEL];
/// All of them, best first.
#[cfg(not(target_arch = "x86_64"))]
pub static KERNELS: &[Kernel] = &[portable::KERNEL];

/// The best one that this CPU can run.
pub fn best() -> &'static Kernel {
    static BEST: std::sync::OnceLock<&'static Kernel> = std::sync::OnceLock::new();
    BEST.get_or_init(|| KERNELS.iter().find(|k| (k.available)()).expect("portable always runs"))
}

/// The one of that name, if there is one and this CPU can run it.
pub fn named(name: &str) -> Option<&'static Kernel> {
    KERNELS.iter().find(|k| k.name == name && (k.available)())
}

/// Plane of negatives: packs the signs of `−(k_c·x + b_c)`, for chunks in which [`Kernel::pack`] met a zero.
pub fn pack_negatives(pack: &Pack<'_>, negative: &mut [u8]) {
    for (group, (factor, summand)) in
        pack.factor.chunks_exact(4).zip(pack.summand.chunks_exact(4)).enumerate()
    {
        let plane = &mut negative[group * pack.group_stride..][..pack.pixels];
        for (pixel, byte) in plane.iter_mut().enumerate() {
            *byte = (0..4).fold(0, |bits, i| {
                let v = pack.input[(4 * group + i) * pack.stride + pixel] * factor[i] + summand[i];
                bits | u8::from(v < 0.0) << i
            });
        }
    }
}

/// Signs as floats −1, 0, 1 (the float engine's operand): `output[channel·output_stride + pixel]`.
pub fn signs(pack: &Pack<'_>, output: &mut [f32], output_stride: usize) {
    for (channel, (&k, &b)) in pack.factor.iter().zip(pack.summand).enumerate() {
        let from = &pack.input[channel * pack.stride..][..pack.pixels];
        for (o, &x) in output[channel * output_stride..][..pack.pixels].iter_mut().zip(from) {
            let v = x * k + b;
            *o = f32::from(i8::from(v > 0.0) - i8::from(v < 0.0));
        }
    }
}
