//! Convolutions on packed bits and on floats, and the element-wise work between them, for one chunk of a row.
//!
//! Pixels lie in vector lanes: every buffer is planar, `[channel][pixel]`, and a call treats 32 or 64 neighbouring
//! pixels of one row. Binary activations have two forms.
//!
//! * By fours: byte `[group][pixel]` holds the signs of channels `4·group .. 4·group + 4` in its low four bits (bit
//!   set: positive), and the byte [`OUTSIDE`] stands for a pixel beyond the border, whose contribution is zero. Four
//!   ternary weights are one of 81 codes, and each code owns a table of the 16 possible dot products: a convolution is
//!   one table look-up (a byte shuffle) and one addition for each four channels. Exact zeros among the activations
//!   (`sign(0) = 0`) need a second plane of bits, the negatives: with tables of ±1 sums `T`, a ternary sum is
//!   `(T(positive) − T(negative)) / 2`. Without zeros the second plane is the complement of the first and is not
//!   looked at.
//! * In words: word `[word][pixel]` holds the signs of 32 channels, a second plane the bits that are not zero. A sum
//!   is `n − 2·popcount(activation xor weight)`, n being the number of channels, or where zeros or pixels beyond the
//!   border are near, the number of bits of the second plane, which masks the difference too. For dense layers whose
//!   weights have no zeros.
//!
//! Which form a dense layer takes is the kernels' choice ([`Kernel::words`]); grouped layers are packed by fours.
//!
//! `portable` is the specification. Integer sums are the same on every path; so is every float operation (scale and
//! shift round once everywhere) outside [`Kernel::conv_float`], where only some paths fuse products with sums.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod epilogue;
mod portable;
mod rows;

pub use epilogue::{Activation, Epilogue, Finish, Shortcut, Tail};
pub use rows::Rows;

/// The packed byte of a pixel outside the frame (a shuffle index with its top bit set gives zero).
pub const OUTSIDE: u8 = 0x80;

/// Products of one tile of the full-precision convolutions, four along columns times four along rows.
pub const PHASES: usize = 16;

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

/// Floats whose signs are taken: positive where `x > above`, negative unless `x > below`, zero
/// between the two. Values are finite, and no threshold is −0.
pub struct Pack<'a> {
    /// `[channel][stride]`, first pixel of the chunk at index 0.
    pub input: &'a [f32],
    /// Floats from one channel to the next.
    pub stride: usize,
    /// Upper threshold a channel; their number, a multiple of 4, is the number of channels.
    pub above: &'a [f32],
    /// Lower threshold a channel.
    pub below: &'a [f32],
    /// No difference `above − below` is greater, so a value that lies farther below its `above` is not zero.
    pub widest: f32,
    /// Pixels, 32 or 64.
    pub pixels: usize,
}

impl Pack<'_> {
    /// What [`Pack::widest`] is for these thresholds.
    pub fn widest(above: &[f32], below: &[f32]) -> f32 {
        let width = |(above, below): (&f32, &f32)| if above > below { above - below } else { 0.0 };
        above.iter().zip(below).map(width).fold(0.0, f32::max)
    }
}

/// A convolution of signs packed by fours with ternary weights.
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
    /// Output channels, a multiple of 4.
    pub outputs: usize,
    /// Pixels, 32 or 64.
    pub pixels: usize,
}

/// A dense convolution of signs packed in words with binary weights.
pub struct WordConv<'a> {
    /// Plane of positives, words `word_stride` apart.
    pub positive: &'a [u32],
    /// Plane of what is not zero, in the same places, where some activation is zero or lies beyond the border.
    pub nonzero: Option<&'a [u32]>,
    /// The taps of the filter that lie in the frame: place of the chunk's first pixel in word 0, and the tap's number.
    pub taps: &'a [(usize, usize)],
    /// Words from one 32 channels to the next.
    pub word_stride: usize,
    /// Input channels.
    pub channels: usize,
    /// Signs of the weights `[output / 4][tap][word][output % 4]` (bit set: positive, channel 0 lowest).
    pub weights: &'a [u32],
    /// Output channels, a multiple of 4.
    pub outputs: usize,
    /// Pixels, 32 or 64.
    pub pixels: usize,
}

impl WordConv<'_> {
    /// Words a pixel.
    pub fn words(&self) -> usize {
        self.channels.div_ceil(32)
    }

    /// Checks that everything read lies in the slices; kernels without bounds checks rely on it.
    fn check(&self) {
        let words = self.words();
        let place = self.taps.iter().map(|t| t.0).max().unwrap_or(0);
        let tap = self.taps.iter().map(|t| t.1).max().unwrap_or(0);
        let reach = place + (words - 1) * self.word_stride + self.pixels;
        assert!(self.pixels == 32 || self.pixels == CHUNK);
        assert!(reach <= self.positive.len() && self.nonzero.is_none_or(|n| reach <= n.len()));
        assert!((tap + 1) * words * self.outputs <= self.weights.len());
        assert!(self.weights.len().is_multiple_of(words * self.outputs));
    }
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

/// Where results go, and what is added to them.
pub struct Target<'a> {
    /// Shortcut `[channel][shortcut_stride]`, if the epilogue takes one.
    pub shortcut: Option<(&'a [f32], usize)>,
    /// `[channel][addend_stride]`, added to the finished results.
    pub addend: Option<(&'a [f32], usize)>,
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
    /// Whether dense layers are better packed in words.
    pub words: bool,
    /// Packs signs by fours into `positive[group·group_stride + pixel]`; returns whether a value was exactly zero.
    pub pack: fn(&Pack<'_>, positive: &mut [u8], group_stride: usize) -> bool,
    /// Packs signs in words into `positive` and `nonzero[word·word_stride + pixel]`; returns whether a value was
    /// exactly zero.
    pub pack_words: fn(&Pack<'_>, positive: &mut [u32], nonzero: &mut [u32], word_stride: usize) -> bool,
    /// Signs packed by fours to finished outputs.
    pub conv_bits: fn(&BitConv<'_>, &Finish, &mut Target<'_>),
    /// Signs packed in words to finished outputs.
    pub conv_words: fn(&WordConv<'_>, &Finish, &mut Target<'_>),
    /// Floats to finished outputs.
    pub conv_float: fn(&FloatConv<'_>, &Finish, &mut Target<'_>),
    /// Everything element-wise between convolutions.
    pub rows: Rows,
}

/// All of them, best first.
#[cfg(target_arch = "x86_64")]
pub static KERNELS: &[Kernel] = &[avx512::KERNEL, avx2::KERNEL, portable::KERNEL];
/// All of them, best first.
#[cfg(not(target_arch = "x86_64"))]
pub static KERNELS: &[Kernel] = &[portable::KERNEL];

/// The best one that this CPU can run, or one below it that the environment variable `CASSI_ISA` names.
pub fn best() -> &'static Kernel {
    static BEST: std::sync::OnceLock<&'static Kernel> = std::sync::OnceLock::new();
    BEST.get_or_init(|| {
        let wanted = std::env::var("CASSI_ISA").ok();
        let first = KERNELS.iter().position(|k| Some(k.name) == wanted.as_deref()).unwrap_or(0);
        best_of(|kernel| KERNELS[first..].iter().any(|k| k.name == kernel.name) && (kernel.available)())
    })
}

/// The best one that can be run; `portable` always can.
pub fn best_of(available: impl Fn(&Kernel) -> bool) -> &'static Kernel {
    KERNELS.iter().find(|k| available(k)).or(KERNELS.last()).expect("portable is there")
}

/// The one of that name, if there is one and this CPU can run it.
pub fn named(name: &str) -> Option<&'static Kernel> {
    KERNELS.iter().find(|k| k.name == name && (k.available)())
}

/// Plane of negatives, for chunks in which [`Kernel::pack`] met a zero.
pub fn pack_negatives(pack: &Pack<'_>, negative: &mut [u8], group_stride: usize) {
    for (group, below) in pack.below.chunks_exact(4).enumerate() {
        let plane = &mut negative[group * group_stride..][..pack.pixels];
        for (pixel, byte) in plane.iter_mut().enumerate() {
            *byte = (0..4).fold(0, |bits, i| {
                bits | u8::from(pack.input[(4 * group + i) * pack.stride + pixel] <= below[i]) << i
            });
        }
    }
}
