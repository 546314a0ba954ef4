//! Every kernel against a naive float convolution and against the portable one.

use cassi_infer::kernels::{
    Activation, BitConv, CHUNK, Epilogue, Finish, FloatConv, KERNELS, Kernel, LayerNorm, OUTSIDE, PHASES,
    Pack, Shortcut, Tail, Target, WordConv, best_of, named, pack_negatives, weight_code,
};
use proptest::prelude::*;

/// Kernels that this CPU can run; a missing one that CASSI_REQUIRE_ISA names is a failure.
fn kernels() -> Vec<&'static Kernel> {
    let required = std::env::var("CASSI_REQUIRE_ISA").ok();
    if let Some(name) = &required {
        assert!(KERNELS.iter().any(|k| k.name == name), "CASSI_REQUIRE_ISA={name} is no kernel");
    }
    let (here, missing): (Vec<_>, Vec<_>) = KERNELS.iter().partition(|k| (k.available)());
    for kernel in missing {
        assert_ne!(required.as_deref(), Some(kernel.name), "this CPU has no {}", kernel.name);
        eprintln!("skipped: this CPU has no {}", kernel.name);
    }
    here
}

/// A row of three source rows, pixels around them, weights.
#[derive(Debug, Clone)]
struct Case {
    channels: usize,
    outputs: usize,
    side: usize,
    grouped: bool,
    width: usize,
    /// Which of the three source rows lie inside the frame (all for 1x1).
    inside: [bool; 3],
    /// `[row][channel][width]`, −1, 0 or 1.
    activations: Vec<f32>,
    /// `[output][channel seen][tap]`; a third of the cases has no zeros at all, a third zero activations only.
    weights: Vec<i8>,
}

fn case() -> impl Strategy<Value = Case> {
    let shape =
        (1usize..=28, 1usize..=7, prop::bool::ANY, prop::bool::ANY, 1usize..=64, 0usize..3, 0usize..3);
    (shape, any::<u64>()).prop_map(|((groups, blocks, side3, grouped, width, border, zeros), seed)| {
        let side = if side3 { 3 } else { 1 };
        let channels = 4 * groups;
        let outputs = if grouped { channels } else { 4 * blocks };
        let seen = if grouped { 4 } else { channels };
        let inside = match (side, border) {
            (1, _) => [false, true, false],
            (_, 0) => [false, true, true],
            (_, 1) => [true, true, false],
            _ => [true; 3],
        };
        let mut state = seed | 1;
        let mut draw = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state >> 33
        };
        let mut ternary = |zero: bool| match draw() % if zero { 9 } else { 8 } {
            8 => 0,
            d => 2 * (d as i8 % 2) - 1,
        };
        let activations = (0..3 * channels * width).map(|_| f32::from(ternary(zeros > 0))).collect();
        let weights = (0..outputs * seen * side * side).map(|_| ternary(zeros > 1)).collect();
        Case { channels, outputs, side, grouped, width, inside, activations, weights }
    })
}

impl Case {
    fn seen(&self) -> usize {
        if self.grouped { 4 } else { self.channels }
    }

    /// Zero-padded convolution as it is defined.
    fn naive(&self) -> Vec<f32> {
        let (seen, taps) = (self.seen(), self.side * self.side);
        let mut sums = vec![0.0; self.outputs * self.width];
        for output in 0..self.outputs {
            for column in 0..self.width {
                for input in 0..seen {
                    for tap in 0..taps {
                        let (dy, dx) = if self.side == 3 { (tap / 3, tap as isize % 3 - 1) } else { (1, 0) };
                        let at = column as isize + dx;
                        if !self.inside[dy] || at < 0 || at >= self.width as isize {
                            continue;
                        }
                        let channel = if self.grouped { output / 4 * 4 + input } else { input };
                        let x = self.activations[(dy * self.channels + channel) * self.width + at as usize];
                        sums[output * self.width + column] +=
                            x * f32::from(self.weights[(output * seen + input) * taps + tap]);
                    }
                }
            }
        }
        sums
    }

    fn pixels(&self) -> usize {
        self.width.next_multiple_of(32)
    }

    /// Weights in the kernels' order, four outputs together.
    fn blocks(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        let (seen, taps, outputs) = (self.seen(), self.side * self.side, self.outputs);
        (0..outputs)
            .step_by(4)
            .flat_map(move |b| (0..taps).flat_map(move |t| (0..seen).map(move |i| (b, t, i))))
    }

    fn weight(&self, output: usize, tap: usize, input: usize) -> i8 {
        self.weights[(output * self.seen() + input) * self.side * self.side + tap]
    }

    fn rows(&self) -> Vec<usize> {
        (0..self.side * self.side).map(|tap| if self.side == 3 { tap / 3 } else { 1 }).collect()
    }

    fn on_bits(&self, kernel: &Kernel) -> Vec<f32> {
        let stride = 32 + self.pixels() + 32;
        let slot = stride * self.channels / 4;
        let mut positive = vec![OUTSIDE; 3 * slot];
        let mut negative = positive.clone();
        let mut zero = false;
        let thresholds = [0f32, 0f32.next_down()].map(|t| vec![t; self.channels]);
        for row in (0..3).filter(|&r| self.inside[r]) {
            let input = self.row(row);
            let pack = self.pack(&input, &thresholds);
            zero |= (kernel.pack)(&pack, &mut positive[row * slot + 32..], stride);
            pack_negatives(&pack, &mut negative[row * slot + 32..], stride);
            for group in 0..self.channels / 4 {
                let right = row * slot + group * stride + 32;
                positive[right + self.width..right + self.pixels()].fill(OUTSIDE);
                negative[right + self.width..right + self.pixels()].fill(OUTSIDE);
            }
        }
        assert_eq!(zero, self.has_zeros(), "{} says whether there are zeros", kernel.name);
        let dx = |tap: usize| if self.side == 3 { tap as isize % 3 - 1 } else { 0 };
        let taps: Vec<usize> = self
            .rows()
            .into_iter()
            .enumerate()
            .map(|(tap, row)| (row * slot + 32).strict_add_signed(dx(tap)))
            .collect();
        let codes: Vec<u8> = self
            .blocks()
            .filter(|(_, _, input)| input % 4 == 0)
            .flat_map(|(block, tap, input)| {
                (block..block + 4)
                    .map(move |o| weight_code(std::array::from_fn(|i| self.weight(o, tap, input + i))))
            })
            .collect();
        let conv = BitConv {
            positive: &positive,
            negative: zero.then_some(&negative[..]),
            taps: &taps,
            group_stride: stride,
            groups: self.channels / 4,
            grouped: self.grouped,
            codes: &codes,
            outputs: self.outputs,
            pixels: self.pixels(),
        };
        self.collect(|finish, target| (kernel.conv_bits)(&conv, finish, target))
    }

    /// Row `row` with ones right of it, `[channel][CHUNK]`.
    fn row(&self, row: usize) -> Vec<f32> {
        self.activations[row * self.channels * self.width..][..self.channels * self.width]
            .chunks_exact(self.width)
            .flat_map(|c| c.iter().copied().chain(std::iter::repeat_n(1.0, CHUNK - self.width)))
            .collect()
    }

    fn pack<'a>(&self, input: &'a [f32], thresholds: &'a [Vec<f32>; 2]) -> Pack<'a> {
        let [above, below] = thresholds;
        let widest = Pack::widest(above, below);
        Pack { input, stride: CHUNK, above, below, widest, pixels: self.pixels() }
    }

    fn has_zeros(&self) -> bool {
        let row =
            |r: usize| &self.activations[r * self.channels * self.width..][..self.channels * self.width];
        (0..3).filter(|&r| self.inside[r]).any(|r| row(r).contains(&0.0))
    }

    /// `None` where the form does not apply: groups, or weights with zeros.
    fn on_words(&self, kernel: &Kernel) -> Option<Vec<f32>> {
        if self.grouped || self.weights.contains(&0) {
            return None;
        }
        let words = self.channels.div_ceil(32);
        let stride = 16 + self.pixels() + 16;
        let slot = stride * words;
        let mut positive = vec![0; 3 * slot];
        let mut nonzero = vec![0; 3 * slot];
        let thresholds = [0f32, 0f32.next_down()].map(|t| vec![t; self.channels]);
        let mut zero = false;
        for row in (0..3).filter(|&r| self.inside[r]) {
            let place = row * slot + 16;
            let input = self.row(row);
            let pack = self.pack(&input, &thresholds);
            zero |= (kernel.pack_words)(&pack, &mut positive[place..], &mut nonzero[place..], stride);
            for word in 0..words {
                let right = place + word * stride;
                nonzero[right + self.width..right + self.pixels()].fill(0);
            }
        }
        assert_eq!(zero, self.has_zeros(), "{} says whether there are zeros", kernel.name);
        let dx = |tap: usize| if self.side == 3 { tap as isize % 3 - 1 } else { 0 };
        let taps: Vec<(usize, usize)> = self
            .rows()
            .into_iter()
            .enumerate()
            .filter(|&(_, row)| self.inside[row])
            .map(|(tap, row)| ((row * slot + 16).strict_add_signed(dx(tap)), tap))
            .collect();
        let mut weights = vec![];
        for block in (0..self.outputs).step_by(4) {
            for tap in 0..self.side * self.side {
                for first in (0..self.channels).step_by(32) {
                    for output in block..block + 4 {
                        let inputs = first..(first + 32).min(self.channels);
                        let word = inputs.rev().fold(0u32, |word, input| {
                            word << 1 | u32::from(self.weight(output, tap, input) > 0)
                        });
                        weights.push(word);
                    }
                }
            }
        }
        let conv = WordConv {
            positive: &positive,
            nonzero: (zero || self.side == 3).then_some(&nonzero[..]),
            taps: &taps,
            word_stride: stride,
            channels: self.channels,
            weights: &weights,
            outputs: self.outputs,
            pixels: self.pixels(),
        };
        Some(self.collect(|finish, target| (kernel.conv_words)(&conv, finish, target)))
    }

    fn on_floats(&self, kernel: &Kernel) -> Vec<f32> {
        let stride = 8 + self.pixels() + 8;
        let slot = stride * self.channels;
        let mut input = vec![0.0; 3 * slot];
        for row in (0..3).filter(|&r| self.inside[r]) {
            for channel in 0..self.channels {
                input[row * slot + channel * stride + 8..][..self.width].copy_from_slice(
                    &self.activations[(row * self.channels + channel) * self.width..][..self.width],
                );
            }
        }
        let dx = |tap: usize| if self.side == 3 { tap as isize % 3 - 1 } else { 0 };
        let taps: Vec<usize> = self
            .rows()
            .into_iter()
            .enumerate()
            .map(|(tap, row)| (row * slot + 8).strict_add_signed(dx(tap)))
            .collect();
        let weights: Vec<f32> = self
            .blocks()
            .flat_map(|(block, tap, input)| {
                (block..block + 4).map(move |o| f32::from(self.weight(o, tap, input)))
            })
            .collect();
        let conv = FloatConv {
            input: &input,
            taps: &taps,
            channel_stride: stride,
            channels: self.channels,
            grouped: self.grouped,
            weights: &weights,
            outputs: self.outputs,
            pixels: self.pixels(),
        };
        self.collect(|finish, target| (kernel.conv_float)(&conv, finish, target))
    }

    fn collect(&self, run: impl Fn(&Finish, &mut Target<'_>)) -> Vec<f32> {
        let epilogue = Epilogue {
            scale: vec![1.0; self.outputs],
            shift: vec![0.0; self.outputs],
            ..Epilogue::default()
        };
        let mut output = vec![f32::NAN; self.outputs * CHUNK];
        let mut target = Target { shortcut: None, addend: None, output: &mut output, stride: CHUNK };
        run(&Finish::new(epilogue.clone()), &mut target);
        output.chunks_exact(CHUNK).flat_map(|c| c[..self.width].to_vec()).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    /// Bits, ternary bits and floats give the integers of the definition, on every path.
    #[test]
    fn every_kernel_equals_the_naive_convolution(case in case()) {
        let expected = case.naive();
        for kernel in kernels() {
            prop_assert_eq!(&case.on_bits(kernel), &expected, "{} by fours", kernel.name);
            if let Some(found) = case.on_words(kernel) {
                prop_assert_eq!(&found, &expected, "{} in words", kernel.name);
            }
            // Sums of ±1 stay far below 2^24, so floats are exact too.
            prop_assert_eq!(&case.on_floats(kernel), &expected, "{} floats", kernel.name);
        }
    }
}

/// 224 channels, 9 taps: sums of ±2016, which would overflow 8 bits sixteen times over.
#[test]
fn the_largest_sums_do_not_overflow() {
    for (x, weight) in [(1.0, 1), (-1.0, 1), (1.0, -1)] {
        let case = Case {
            channels: 224,
            outputs: 4,
            side: 3,
            grouped: false,
            width: 64,
            inside: [true; 3],
            activations: vec![x; 3 * 224 * 64],
            weights: vec![weight; 4 * 224 * 9],
        };
        let expected = case.naive();
        assert_eq!(expected[5].abs(), 2016.0);
        for kernel in kernels() {
            assert_eq!(case.on_bits(kernel), expected, "{}", kernel.name);
            assert_eq!(case.on_words(kernel).unwrap(), expected, "{}", kernel.name);
            let mut with_zero = case.clone();
            with_zero.activations[64 * 224] = 0.0;
            assert_eq!(with_zero.on_bits(kernel), with_zero.naive(), "{}", kernel.name);
            assert_eq!(with_zero.on_words(kernel).unwrap(), with_zero.naive(), "{}", kernel.name);
        }
    }
}

/// Epilogues of every kind give the same bits on every path.
#[test]
fn every_epilogue_equals_portable() {
    let ramp = |scale: f32| -> Vec<f32> { (0..4).map(|c| scale * (c as f32 - 1.3)).collect() };
    let activations = [
        Activation::Identity,
        Activation::Relu,
        Activation::HardTanh,
        Activation::PRelu { slope: ramp(0.3), after: ramp(0.2) },
    ];
    let tails = [
        Tail::None,
        Tail::Gelu,
        Tail::RPRelu { before: ramp(0.1), slope: ramp(-0.4), after: ramp(0.7) },
        Tail::AffineHardTanh { scale: ramp(0.9), shift: ramp(0.1) },
    ];
    let input: Vec<f32> = (0..4 * CHUNK).map(|i| ((i * 37 % 101) as f32 - 50.0) / 17.0).collect();
    let weights: Vec<f32> = (0..16).map(|i| [1.0, -1.0, 0.0][i % 3]).collect();
    let mut compared = 0;
    for activation in &activations {
        for tail in &tails {
            for shortcut in [Shortcut::None, Shortcut::Before, Shortcut::After] {
                for average in [false, true] {
                    let epilogue = Epilogue {
                        scale: ramp(0.8),
                        shift: ramp(-0.3),
                        shortcut,
                        activation: activation.clone(),
                        tail: tail.clone(),
                        average,
                    };
                    let sign: Vec<f32> = input.iter().map(|v| v.signum()).collect();
                    let results: Vec<Vec<u32>> = kernels()
                        .iter()
                        .map(|kernel| {
                            let conv = FloatConv {
                                input: &sign,
                                taps: &[0],
                                channel_stride: CHUNK,
                                channels: 4,
                                grouped: false,
                                weights: &weights,
                                outputs: 4,
                                pixels: CHUNK,
                            };
                            let mut output: Vec<f32> = input.iter().map(|v| v * 0.5).collect();
                            let mut target = Target {
                                shortcut: Some((&input, CHUNK)),
                                addend: average.then_some((&input, CHUNK)),
                                output: &mut output,
                                stride: CHUNK,
                            };
                            (kernel.conv_float)(&conv, &Finish::new(epilogue.clone()), &mut target);
                            output.iter().map(|v| v.to_bits()).collect()
                        })
                        .collect();
                    assert!(results.iter().all(|r| r == results.last().unwrap()), "{epilogue:?}");
                    compared += 1;
                }
            }
        }
    }
    assert_eq!(compared, 96);
}

#[test]
fn layer_norm_and_signs() {
    let channels = 28;
    let input: Vec<f32> = (0..channels * CHUNK).map(|i| ((i * 53 % 211) as f32 - 100.0) / 31.0).collect();
    let gain: Vec<f32> = (0..channels).map(|c| 1.0 + 0.01 * c as f32).collect();
    let bias: Vec<f32> = (0..channels).map(|c| 0.1 - 0.02 * c as f32).collect();
    for kernel in kernels() {
        let mut output = vec![0.0; channels * CHUNK];
        let norm = LayerNorm { input: &input, stride: CHUNK, gain: &gain, bias: &bias, pixels: CHUNK };
        (kernel.rows.layer_norm)(&norm, &mut output, CHUNK);
        for pixel in 0..CHUNK {
            let x = |c: usize| f64::from(input[c * CHUNK + pixel]);
            let mean = (0..channels).map(x).sum::<f64>() / channels as f64;
            let variance = (0..channels).map(|c| (x(c) - mean).powi(2)).sum::<f64>() / channels as f64;
            for c in 0..channels {
                let expected =
                    (x(c) - mean) / (variance + 1e-5).sqrt() * f64::from(gain[c]) + f64::from(bias[c]);
                // A handful of f32 roundings of numbers below 4.
                assert!((f64::from(output[c * CHUNK + pixel]) - expected).abs() < 3e-6, "{}", kernel.name);
            }
        }
    }
    let pack = Pack {
        input: &[-0.5, 0.0, 0.5, 1.0],
        stride: 1,
        above: &[0.0, 0.0, 0.75, 0.5],
        below: &[-0.1, -0.1, 0.25, 0.4],
        widest: 0.5,
        pixels: 1,
    };
    for kernel in kernels() {
        let mut output = [9.0; 4];
        (kernel.rows.signs)(&pack, &mut output, 1);
        assert_eq!(output, [-1.0, 0.0, 0.0, 1.0], "{}", kernel.name);
    }
}

fn portable() -> &'static Kernel {
    named("portable").expect("portable always runs")
}

/// The passes between convolutions give the same bits on every path.
#[test]
fn row_passes_equal_portable() {
    let channels = 4;
    let value = |i: usize| ((i * 53 % 211) as f32 - 100.0) / 31.0;
    for width in [1, 2, 7, 31, 64, 100] {
        let stride = width + 5;
        let row = |first: usize| (0..2 * channels * stride).map(|i| value(i + first)).collect::<Vec<f32>>();
        let (a, b, c, d) = (row(0), row(77), row(5), row(131));
        let all = |kernel: &Kernel| {
            let mut results = vec![vec![0.0; channels * stride]; 7];
            let [averaged, doubled, added, phases, r0, r1, r2] = &mut results[..] else { unreachable!() };
            (kernel.rows.average)([&a, &b], 2 * stride, averaged, stride, width);
            doubled.resize(channels * 2 * stride, 0.0);
            let half = channels * stride;
            let mut blend = vec![0.0; width];
            (kernel.rows.double)([&a[..half], &b[..half]], stride, doubled, 2 * stride, width, &mut blend);
            (kernel.rows.add)(added, &a);
            let rows = [&a, &b, &c, &d].map(|row| &row[3..][..2 * width + 2]);
            phases.resize(PHASES * width, 0.0);
            (kernel.rows.transform)(&rows, phases, width);
            // Rows may be cut short, and one is not wanted at all.
            let mut cut = [&mut r0[..2 * width], &mut r1[..2 * width - 1]];
            (kernel.rows.combine)(phases, width, Some(&[&a, &b]), &mut cut);
            let mut last: [&mut [f32]; 2] = [&mut [], &mut r2[..2 * width]];
            (kernel.rows.combine)(phases, width, None, &mut last);
            results.concat().iter().map(|v| v.to_bits()).collect::<Vec<u32>>()
        };
        let expected = all(portable());
        for kernel in kernels() {
            assert_eq!(all(kernel), expected, "{} width {width}", kernel.name);
        }
    }
}

/// Thresholds that differ from channel to channel, infinite ones and intervals of zeros among them.
#[test]
fn packing_equals_portable() {
    let channels = 56;
    let input: Vec<f32> = (0..channels * CHUNK).map(|i| ((i * 53 % 211) as f32 - 100.0) / 31.0).collect();
    let above: Vec<f32> = (0..channels)
        .map(|c| match c % 7 {
            0 => f32::NEG_INFINITY,
            1 => f32::INFINITY,
            _ => input[c * CHUNK + c],
        })
        .collect();
    for interval in [None, Some(0.0), Some(1e-7), Some(0.4)] {
        let lower = |&a: &f32| interval.map_or(a, |interval| (a - interval).min(a.next_down()));
        let below: Vec<f32> = above.iter().map(lower).collect();
        let widest = Pack::widest(&above, &below);
        let pack = Pack { input: &input, stride: CHUNK, above: &above, below: &below, widest, pixels: CHUNK };
        let mut floats = vec![0.0; channels * CHUNK];
        (portable().rows.signs)(&pack, &mut floats, CHUNK);
        let sign = |c: usize, pixel: usize| floats[c * CHUNK + pixel];
        for kernel in kernels() {
            let mut bytes = vec![0; channels / 4 * CHUNK];
            let mut negative = bytes.clone();
            let (mut positive, mut nonzero) = (vec![0; 2 * CHUNK], vec![0; 2 * CHUNK]);
            let zeros = [
                (kernel.pack)(&pack, &mut bytes, CHUNK),
                (kernel.pack_words)(&pack, &mut positive, &mut nonzero, CHUNK),
            ];
            assert_eq!(zeros, [interval.is_some(); 2], "{}", kernel.name);
            pack_negatives(&pack, &mut negative, CHUNK);
            let mut found = vec![f32::NAN; channels * CHUNK];
            (kernel.rows.signs)(&pack, &mut found, CHUNK);
            assert_eq!(found, floats, "{}", kernel.name);
            for c in 0..channels {
                for pixel in 0..CHUNK {
                    let bit = |byte: u8| byte >> (c % 4) & 1 == 1;
                    let at = c / 4 * CHUNK + pixel;
                    assert_eq!(bit(bytes[at]), sign(c, pixel) > 0.0, "{}", kernel.name);
                    assert_eq!(bit(negative[at]), sign(c, pixel) < 0.0);
                    let bit = |words: &[u32]| words[c / 32 * CHUNK + pixel] >> (c % 32) & 1 == 1;
                    assert_eq!(bit(&positive), sign(c, pixel) > 0.0, "{}", kernel.name);
                    assert_eq!(bit(&nonzero), sign(c, pixel) != 0.0, "{}", kernel.name);
                }
            }
        }
    }
}

/// Where an instruction set is missing the next best one is taken, down to plain Rust.
#[test]
fn missing_instruction_sets_fall_back() {
    let without = |missing: &[&str]| best_of(|kernel| !missing.contains(&kernel.name)).name;
    let names: Vec<&str> = KERNELS.iter().map(|k| k.name).collect();
    for (i, name) in names.iter().enumerate() {
        assert_eq!(without(&names[..i]), *name);
    }
    assert_eq!(without(&names), "portable", "a CPU that can do nothing still runs");
}
