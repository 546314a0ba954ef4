//! The specification, in plain Rust, with no word of the instruction set. The wide kernels compile the element-wise
//! functions of this module again for their instruction set, so their roundings are the same.

use super::{
    Activation, BitConv, CHUNK, Epilogue, Finish, FloatConv, Kernel, OUTSIDE, Pack, Shortcut, TABLES, Tail,
    Target, WordConv,
    epilogue::{self, ByDoubles, Form, MultiplyAdd, prelu},
    rows,
};

pub(super) const KERNEL: Kernel = Kernel {
    name: "portable",
    available: || true,
    words: true,
    pack,
    pack_words: pack_words_inline,
    conv_bits,
    conv_words: conv_words_inline::<Epilogues>,
    conv_float,
    rows: rows::PORTABLE,
};

/// How this path multiplies and adds: the baseline of 64-bit ARM has the instruction, that of x86 has not.
#[cfg(any(target_feature = "fma", target_arch = "aarch64"))]
type Epilogues = epilogue::Fused;
/// How this path multiplies and adds: the baseline of 64-bit ARM has the instruction, that of x86 has not.
#[cfg(not(any(target_feature = "fma", target_arch = "aarch64")))]
type Epilogues = ByDoubles;

fn pack(pack: &Pack<'_>, positive: &mut [u8], group_stride: usize) -> bool {
    let mut zero = false;
    for (group, (above, below)) in pack.above.chunks_exact(4).zip(pack.below.chunks_exact(4)).enumerate() {
        let plane = &mut positive[group * group_stride..][..pack.pixels];
        plane.fill(0);
        for i in 0..4 {
            let input = &pack.input[(4 * group + i) * pack.stride..][..pack.pixels];
            for (byte, &x) in plane.iter_mut().zip(input) {
                *byte |= u8::from(x > above[i]) << i;
                zero |= (x > below[i]) & (x <= above[i]);
            }
        }
    }
    zero
}

#[inline(always)]
pub(super) fn pack_words_inline(
    pack: &Pack<'_>,
    positive: &mut [u32],
    nonzero: &mut [u32],
    word_stride: usize,
) -> bool {
    let mut zero = false;
    for (word, (above, below)) in pack.above.chunks(32).zip(pack.below.chunks(32)).enumerate() {
        let positive = &mut positive[word * word_stride..][..pack.pixels];
        let nonzero = &mut nonzero[word * word_stride..][..pack.pixels];
        positive.fill(0);
        nonzero.fill(0);
        for (i, (&above, &below)) in above.iter().zip(below).enumerate() {
            let input = &pack.input[(32 * word + i) * pack.stride..][..pack.pixels];
            for ((p, n), &x) in positive.iter_mut().zip(nonzero.iter_mut()).zip(input) {
                let is_zero = (x > below) & (x <= above);
                *p |= u32::from(x > above) << i;
                *n |= u32::from(!is_zero) << i;
                zero |= is_zero;
            }
        }
    }
    zero
}

#[inline(always)]
pub(super) fn conv_words_inline<M: MultiplyAdd>(
    conv: &WordConv<'_>,
    finish: &Finish,
    target: &mut Target<'_>,
) {
    conv.check();
    let words = conv.words();
    let mut total = [(conv.channels * conv.taps.len()) as u32; CHUNK];
    if let Some(nonzero) = conv.nonzero {
        total.fill(0);
        for (tap, _) in conv.taps {
            for word in 0..words {
                let mask = &nonzero[tap + word * conv.word_stride..][..conv.pixels];
                total.iter_mut().zip(mask).for_each(|(t, m)| *t += m.count_ones());
            }
        }
    }
    let taps = conv.weights.len() / (words * conv.outputs);
    for (block, weights) in conv.weights.chunks_exact(4 * words * taps).enumerate() {
        let mut counts = [[0u32; CHUNK]; 4];
        for &(place, tap) in conv.taps {
            for word in 0..words {
                let place = place + word * conv.word_stride;
                let positive = &conv.positive[place..][..conv.pixels];
                let weights = &weights[(tap * words + word) * 4..][..4];
                for (counts, weight) in counts.iter_mut().zip(weights) {
                    match conv.nonzero {
                        None => {
                            counts.iter_mut().zip(positive).for_each(|(c, p)| *c += (p ^ weight).count_ones())
                        }
                        Some(nonzero) => counts
                            .iter_mut()
                            .zip(positive.iter().zip(&nonzero[place..]))
                            .for_each(|(c, (p, n))| *c += ((p ^ weight) & n).count_ones()),
                    }
                }
            }
        }
        for (i, counts) in counts.iter().enumerate() {
            let mut sums = [0i16; CHUNK];
            sums.iter_mut()
                .zip(total.iter().zip(counts))
                .for_each(|(s, (&t, &c))| *s = t as i16 - 2 * c as i16);
            finish_row::<_, M>(&sums[..conv.pixels], finish, 4 * block + i, target);
        }
    }
}

fn conv_bits(conv: &BitConv<'_>, finish: &Finish, target: &mut Target<'_>) {
    let seen = if conv.grouped { 1 } else { conv.groups };
    let mut sums = [[0i16; CHUNK]; 4];
    for (block, codes) in conv.codes.chunks_exact(4 * seen * conv.taps.len()).enumerate() {
        sums.iter_mut().for_each(|s| s.fill(0));
        let first = if conv.grouped { block } else { 0 };
        let places =
            conv.taps.iter().flat_map(|&tap| (first..first + seen).map(move |g| tap + g * conv.group_stride));
        for (place, codes) in places.zip(codes.chunks_exact(4)) {
            for (sums, &code) in sums.iter_mut().zip(codes) {
                let table = &TABLES[code as usize];
                let lookup =
                    |byte: u8| if byte & OUTSIDE != 0 { 0 } else { i16::from(table[byte as usize & 15]) };
                match conv.negative {
                    None => {
                        let bytes = &conv.positive[place..place + conv.pixels];
                        sums.iter_mut().zip(bytes).for_each(|(s, &p)| *s += lookup(p));
                    }
                    Some(negative) => {
                        let bytes = conv.positive[place..].iter().zip(&negative[place..]);
                        sums.iter_mut()
                            .zip(bytes)
                            .take(conv.pixels)
                            .for_each(|(s, (&p, &n))| *s += lookup(p) - lookup(n));
                    }
                }
            }
        }
        for (i, sums) in sums.iter_mut().enumerate() {
            if conv.negative.is_some() {
                sums.iter_mut().for_each(|s| *s /= 2);
            }
            finish_row::<_, Epilogues>(&sums[..conv.pixels], finish, 4 * block + i, target);
        }
    }
}

fn conv_float(conv: &FloatConv<'_>, finish: &Finish, target: &mut Target<'_>) {
    let seen = if conv.grouped { 4 } else { conv.channels };
    let mut sums = [[0f32; CHUNK]; 4];
    for (block, weights) in conv.weights.chunks_exact(4 * seen * conv.taps.len()).enumerate() {
        sums.iter_mut().for_each(|s| s.fill(0.0));
        let first = if conv.grouped { 4 * block } else { 0 };
        let places = conv
            .taps
            .iter()
            .flat_map(|&tap| (first..first + seen).map(move |c| tap + c * conv.channel_stride));
        for (place, weights) in places.zip(weights.chunks_exact(4)) {
            let input = &conv.input[place..place + conv.pixels];
            for (sums, &w) in sums.iter_mut().zip(weights) {
                sums.iter_mut().zip(input).for_each(|(s, &x)| *s += w * x);
            }
        }
        for (i, sums) in sums.iter().enumerate() {
            finish_row::<_, Epilogues>(&sums[..conv.pixels], finish, 4 * block + i, target);
        }
    }
}

/// Turns the sums of one output channel into its results.
#[inline(always)]
pub(super) fn finish_row<S: Copy + Into<f32>, M: MultiplyAdd>(
    sums: &[S],
    finish: &Finish,
    channel: usize,
    target: &mut Target<'_>,
) {
    let n = sums.len();
    let out = &mut target.output[channel * target.stride..][..n];
    let shortcut = match finish.epilogue.shortcut {
        Shortcut::None => None,
        _ => target.shortcut.map(|(data, stride)| &data[channel * stride..][..n]),
    };
    // By value: the compiler then knows that no result overwrites them, and vectorises the loops.
    let numbers = finish.channels[channel];
    let unit = |s: S, r: f32| epilogue::activation::<M>(s.into(), &numbers) + r;
    match (finish.form, shortcut) {
        (Form::Affine, _) => {
            for i in 0..n {
                out[i] = M::multiply_add(sums[i].into(), numbers[0], numbers[1]);
            }
        }
        (Form::Prelu, Some(r)) => {
            for i in 0..n {
                out[i] = unit(sums[i], r[i]);
            }
        }
        (Form::PreluAverage, Some(r)) => {
            for i in 0..n {
                out[i] = (out[i] + unit(sums[i], r[i])) * 0.5;
            }
        }
        (Form::PreluTail, Some(r)) => {
            for i in 0..n {
                out[i] = epilogue::tail(unit(sums[i], r[i]), &numbers);
            }
        }
        _ => finish_in_steps::<_, M>(sums, &finish.epilogue, channel, shortcut, out),
    }
    if let Some((addend, stride)) = target.addend {
        out.iter_mut().zip(&addend[channel * stride..]).for_each(|(o, a)| *o += a);
    }
}

#[inline(always)]
fn finish_in_steps<S: Copy + Into<f32>, M: MultiplyAdd>(
    sums: &[S],
    e: &Epilogue,
    channel: usize,
    shortcut: Option<&[f32]>,
    out: &mut [f32],
) {
    let n = sums.len();
    let mut values = [0f32; CHUNK];
    let values = &mut values[..n];
    let (scale, shift) = (e.scale[channel], e.shift[channel]);
    for i in 0..n {
        values[i] = M::multiply_add(sums[i].into(), scale, shift);
    }
    let add = |values: &mut [f32]| {
        let shortcut = shortcut.expect("a shortcut for an epilogue that adds one");
        values.iter_mut().zip(shortcut).for_each(|(v, &r)| *v += r);
    };
    if e.shortcut == Shortcut::Before {
        add(values);
    }
    match &e.activation {
        Activation::Identity => {}
        Activation::Relu => values.iter_mut().for_each(|v| *v = v.max(0.0)),
        Activation::HardTanh => values.iter_mut().for_each(|v| *v = v.clamp(-1.0, 1.0)),
        Activation::PRelu { slope, after } => {
            let (slope, after) = (slope[channel], after[channel]);
            values.iter_mut().for_each(|v| *v = prelu(*v, slope) + after);
        }
    }
    if e.shortcut == Shortcut::After {
        add(values);
    }
    match &e.tail {
        Tail::None => {}
        Tail::Gelu => values.iter_mut().for_each(|v| *v = gelu(*v)),
        Tail::RPRelu { before, slope, after } => {
            let (before, slope, after) = (before[channel], slope[channel], after[channel]);
            values.iter_mut().for_each(|v| *v = prelu(*v + before, slope) + after);
        }
        Tail::AffineHardTanh { scale, shift } => {
            let (scale, shift) = (scale[channel], shift[channel]);
            values.iter_mut().for_each(|v| *v = (*v * scale + shift).clamp(-1.0, 1.0));
        }
    }
    if e.average {
        out.iter_mut().zip(&*values).for_each(|(o, &v)| *o = (*o + v) * 0.5);
    } else {
        out.copy_from_slice(values);
    }
}

/// `x Φ(x)`, exactly zero where 1 + erf(x/√2) is zero in f32, as in float32 references.
#[inline(always)]
fn gelu(x: f32) -> f32 {
    x * 0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// The error function by its rational minimax form on [−4, 4] (a few units in the last place); ±1 from 3.92 on,
/// where the nearest f32 is ±1.
#[inline(always)]
pub(super) fn erf(x: f32) -> f32 {
    let z = x.clamp(-4.0, 4.0);
    let z2 = z * z;
    let numerator = [
        -2.726_142_3e-10,
        2.770_681_4e-8,
        -2.101_024e-6,
        -5.692_506_3e-5,
        -7.349_906_4e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ];
    let denominator = [-1.456_607_2e-5, -2.133_740_6e-4, -1.682_827e-3, -7.373_329_3e-3, -1.426_473_9e-2];
    let horner = |c: &[f32]| c.iter().fold(0.0, |sum, &c| sum * z2 + c);
    let value = z * horner(&numerator) / horner(&denominator);
    if x >= 3.92 {
        1.0
    } else if x <= -3.92 {
        -1.0
    } else {
        value
    }
}
