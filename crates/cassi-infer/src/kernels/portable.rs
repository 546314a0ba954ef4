//! The specification, in plain Rust, with no word of the instruction set. The wide kernels compile the element-wise
//! functions of this module again for their instruction set, so their roundings are the same.

use super::{
    Activation, BitConv, CHUNK, Epilogue, FloatConv, Kernel, LayerNorm, OUTSIDE, Pack, Shortcut, TABLES,
    Tail, Target,
};

pub(super) const KERNEL: Kernel =
    Kernel { name: "portable", available: || true, pack, conv_bits, conv_float, layer_norm };

fn pack(pack: &Pack<'_>, positive: &mut [u8]) -> bool {
    let mut zero = false;
    for (group, (factor, summand)) in
        pack.factor.chunks_exact(4).zip(pack.summand.chunks_exact(4)).enumerate()
    {
        let plane = &mut positive[group * pack.group_stride..][..pack.pixels];
        plane.fill(0);
        for i in 0..4 {
            let input = &pack.input[(4 * group + i) * pack.stride..][..pack.pixels];
            for (byte, &x) in plane.iter_mut().zip(input) {
                let v = x * factor[i] + summand[i];
                *byte |= u8::from(v > 0.0) << i;
                zero |= v == 0.0;
            }
        }
    }
    zero
}

fn conv_bits(conv: &BitConv<'_>, epilogue: &Epilogue, mut target: Target<'_>) {
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
            finish(&sums[..conv.pixels], epilogue, 4 * block + i, &mut target);
        }
    }
}

fn conv_float(conv: &FloatConv<'_>, epilogue: &Epilogue, mut target: Target<'_>) {
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
            finish(&sums[..conv.pixels], epilogue, 4 * block + i, &mut target);
        }
    }
}

fn layer_norm(norm: &LayerNorm<'_>, output: &mut [f32], output_stride: usize) {
    layer_norm_inline(norm, output, output_stride);
}

/// Two passes over 32 pixels at a time, variance with divisor n, ε = 1e-5.
#[inline(always)]
pub(super) fn layer_norm_inline(norm: &LayerNorm<'_>, output: &mut [f32], output_stride: usize) {
    const WIDTH: usize = 32;
    let channels = norm.gain.len();
    let share = 1.0 / channels as f32;
    for start in (0..norm.pixels).step_by(WIDTH) {
        let mut mean = [0f32; WIDTH];
        for c in 0..channels {
            let x: &[f32; WIDTH] =
                norm.input[c * norm.stride + start..][..WIDTH].try_into().expect("WIDTH floats");
            (0..WIDTH).for_each(|i| mean[i] += x[i]);
        }
        mean.iter_mut().for_each(|m| *m *= share);
        let mut inverse = [0f32; WIDTH];
        for c in 0..channels {
            let x: &[f32; WIDTH] =
                norm.input[c * norm.stride + start..][..WIDTH].try_into().expect("WIDTH floats");
            (0..WIDTH).for_each(|i| inverse[i] += (x[i] - mean[i]) * (x[i] - mean[i]));
        }
        inverse.iter_mut().for_each(|v| *v = 1.0 / (*v * share + 1e-5).sqrt());
        for c in 0..channels {
            let x: &[f32; WIDTH] =
                norm.input[c * norm.stride + start..][..WIDTH].try_into().expect("WIDTH floats");
            let out: &mut [f32; WIDTH] =
                (&mut output[c * output_stride + start..][..WIDTH]).try_into().expect("WIDTH floats");
            let (gain, bias) = (norm.gain[c], norm.bias[c]);
            (0..WIDTH).for_each(|i| out[i] = (x[i] - mean[i]) * inverse[i] * gain + bias);
        }
    }
}

#[inline(always)]
fn prelu(v: f32, slope: f32) -> f32 {
    if v > 0.0 { v } else { v * slope }
}

/// Turns the sums of one output channel into its results. The forms that BiSRNet uses are one pass each.
#[inline(always)]
pub(super) fn finish<S: Copy + Into<f32>>(sums: &[S], e: &Epilogue, channel: usize, target: &mut Target<'_>) {
    let n = sums.len();
    let out = &mut target.output[channel * target.stride..][..n];
    let (scale, shift) = (e.scale[channel], e.shift[channel]);
    let affine = |s: S| s.into() * scale + shift;
    let shortcut = match e.shortcut {
        Shortcut::None => None,
        _ => target.shortcut.map(|(data, stride)| &data[channel * stride..][..n]),
    };
    match (&e.activation, e.shortcut, shortcut, &e.tail, e.average) {
        (Activation::PRelu { slope, after }, Shortcut::After, Some(r), Tail::None, false) => {
            let (slope, after) = (slope[channel], after[channel]);
            for i in 0..n {
                out[i] = prelu(affine(sums[i]), slope) + after + r[i];
            }
        }
        (Activation::PRelu { slope, after }, Shortcut::After, Some(r), Tail::None, true) => {
            let (slope, after) = (slope[channel], after[channel]);
            for i in 0..n {
                out[i] = (out[i] + (prelu(affine(sums[i]), slope) + after + r[i])) * 0.5;
            }
        }
        (
            Activation::PRelu { slope, after },
            Shortcut::After,
            Some(r),
            Tail::RPRelu { before: before2, slope: slope2, after: after2 },
            false,
        ) => {
            let (slope, after) = (slope[channel], after[channel]);
            let (before2, slope2, after2) = (before2[channel], slope2[channel], after2[channel]);
            for i in 0..n {
                let v = prelu(affine(sums[i]), slope) + after + r[i];
                out[i] = prelu(v + before2, slope2) + after2;
            }
        }
        _ => finish_in_steps(sums, e, channel, shortcut, out),
    }
}

#[inline(always)]
fn finish_in_steps<S: Copy + Into<f32>>(
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
        values[i] = sums[i].into() * scale + shift;
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
