//! Every kernel against a naive float convolution and against the portable one.

use cassi_infer::kernels::{
    Activation, BitConv, CHUNK, Epilogue, FloatConv, KERNELS, Kernel, LayerNorm, OUTSIDE, Pack, Shortcut,
    Tail, Target, pack_negatives, signs, weight_code,
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
    /// `[output][channel seen][tap]`.
    weights: Vec<i8>,
}

fn case() -> impl Strategy<Value = Case> {
    let shape =
        (1usize..=14, 1usize..=7, prop::bool::ANY, prop::bool::ANY, 1usize..=64, 0usize..3, prop::bool::ANY);
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
        // A third of the cases has no zeros at all, which is the fast path.
        let mut ternary = |zero: bool| match draw() % if zero { 9 } else { 8 } {
            8 => 0,
            d => 2 * (d as i8 % 2) - 1,
        };
        let activations = (0..3 * channels * width).map(|_| f32::from(ternary(zeros))).collect();
        let weights = (0..outputs * seen * side * side).map(|_| ternary(zeros)).collect();
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
        let (factor, summand) = (vec![1.0; self.channels], vec![0.0; self.channels]);
        for row in (0..3).filter(|&r| self.inside[r]) {
            let from = self.activations[row * self.channels * self.width..][..self.channels * self.width]
                .chunks_exact(self.width)
                .flat_map(|c| c.iter().copied().chain(std::iter::repeat_n(1.0, CHUNK - self.width)));
            let input: Vec<f32> = from.collect();
            let pack = Pack {
                input: &input,
                stride: CHUNK,
                factor: &factor,
                summand: &summand,
                group_stride: stride,
                pixels: self.pixels(),
            };
            zero |= (kernel.pack)(&pack, &mut positive[row * slot + 32..]);
            pack_negatives(&pack, &mut negative[row * slot + 32..]);
            for group in 0..self.channels / 4 {
                let right = row * slot + group * stride + 32;
                positive[right + self.width..right + self.pixels()].fill(OUTSIDE);
                negative[right + self.width..right + self.pixels()].fill(OUTSIDE);
            }
        }
        let inside = |r: usize| {
            self.activations[r * self.channels * self.width..][..self.channels * self.width].iter()
        };
        let zeros = (0..3).filter(|&r| self.inside[r]).any(|r| inside(r).any(|&x| x == 0.0));
        assert_eq!(zero, zeros, "{} says whether there are zeros", kernel.name);
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
        let words = |row: &[i8]| -> Vec<u32> {
            row.chunks(32).map(|w| w.iter().rev().fold(0, |word, &s| word << 1 | u32::from(s > 0))).collect()
        };
        let countable = self.side == 1 && !self.grouped && !self.weights.contains(&0);
        let signs: Vec<u32> =
            if countable { self.weights.chunks(self.channels).flat_map(words).collect() } else { vec![] };
        let conv = BitConv {
            positive: &positive,
            negative: zero.then_some(&negative[..]),
            taps: &taps,
            group_stride: stride,
            groups: self.channels / 4,
            grouped: self.grouped,
            codes: &codes,
            signs: &signs,
            outputs: self.outputs,
            pixels: self.pixels(),
        };
        self.collect(|epilogue, target| (kernel.conv_bits)(&conv, epilogue, target))
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
        self.collect(|epilogue, target| (kernel.conv_float)(&conv, epilogue, target))
    }

    fn collect(&self, run: impl Fn(&Epilogue, Target<'_>)) -> Vec<f32> {
        let epilogue = Epilogue {
            scale: vec![1.0; self.outputs],
            shift: vec![0.0; self.outputs],
            ..Epilogue::default()
        };
        let mut output = vec![f32::NAN; self.outputs * CHUNK];
        run(&epilogue, Target { shortcut: None, output: &mut output, stride: CHUNK });
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
            prop_assert_eq!(&case.on_bits(kernel), &expected, "{} bits", kernel.name);
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
            let mut with_zero = case.clone();
            with_zero.activations[64 * 224] = 0.0;
            assert_eq!(with_zero.on_bits(kernel), with_zero.naive(), "{}", kernel.name);
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
                            let target = Target {
                                shortcut: Some((&input, CHUNK)),
                                output: &mut output,
                                stride: CHUNK,
                            };
                            (kernel.conv_float)(&conv, &epilogue, target);
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
        (kernel.layer_norm)(&norm, &mut output, CHUNK);
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
        factor: &[1.0, 1.0, -1.0, 2.0],
        summand: &[0.0, 0.0, 0.0, -2.0],
        group_stride: 0,
        pixels: 1,
    };
    let mut output = [9.0; 4];
    signs(&pack, &mut output, 1);
    assert_eq!(output, [-1.0, 0.0, -1.0, 0.0]);
}
