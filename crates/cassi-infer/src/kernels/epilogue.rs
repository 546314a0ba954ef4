//! What follows a sum: scale, shift, shortcut, activation, tail. [`Epilogue`] says it, [`Finish`] has the numbers in
//! the order in which the kernels take them.

use std::ops::Range;

/// What happens to a sum `s` of output channel `c`: `v = scale_c·s + shift_c` rounded once, shortcut, activation, tail.
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

impl Epilogue {
    /// Of these channels alone.
    pub fn part(&self, channels: Range<usize>) -> Self {
        let part = |numbers: &Vec<f32>| numbers[channels.clone()].to_vec();
        let activation = match &self.activation {
            Activation::PRelu { slope, after } => {
                Activation::PRelu { slope: part(slope), after: part(after) }
            }
            same => same.clone(),
        };
        let tail = match &self.tail {
            Tail::RPRelu { before, slope, after } => {
                Tail::RPRelu { before: part(before), slope: part(slope), after: part(after) }
            }
            Tail::AffineHardTanh { scale, shift } => {
                Tail::AffineHardTanh { scale: part(scale), shift: part(shift) }
            }
            same => same.clone(),
        };
        let (scale, shift) = (part(&self.scale), part(&self.shift));
        Self { scale, shift, activation, tail, ..*self }
    }
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

/// An epilogue made ready for the kernels.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Finish {
    pub(super) epilogue: Epilogue,
    pub(super) form: Form,
    /// For all forms but `Steps`, a channel's scale, shift, slope and summand of the activation; summand before, slope
    /// and summand after of the tail; and a zero. Together they fill half a cache line.
    pub(super) channels: Vec<[f32; 8]>,
    /// For those with a PReLU, what a channel's activation is for each number of differing bits, if
    /// [`Finish::tabulate`] was asked for it.
    pub(super) activations: Vec<[f32; 32]>,
}

/// Forms that have a pass of their own: those that BiSRNet uses, and no epilogue at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Form {
    /// Everything else, step by step.
    #[default]
    Steps,
    /// `scale·s + shift`
    Affine,
    /// `prelu(scale·s + shift) + after + shortcut`
    Prelu,
    /// The same, averaged with what the output holds.
    PreluAverage,
    /// The same without averaging, and an `RPRelu` tail.
    PreluTail,
}

impl Finish {
    /// Of an epilogue.
    pub fn new(epilogue: Epilogue) -> Self {
        let e = &epilogue;
        let form = match (&e.activation, e.shortcut, &e.tail, e.average) {
            (Activation::Identity, Shortcut::None, Tail::None, false) => Form::Affine,
            (Activation::PRelu { .. }, Shortcut::After, Tail::None, false) => Form::Prelu,
            (Activation::PRelu { .. }, Shortcut::After, Tail::None, true) => Form::PreluAverage,
            (Activation::PRelu { .. }, Shortcut::After, Tail::RPRelu { .. }, false) => Form::PreluTail,
            _ => Form::Steps,
        };
        let channel = |c: usize| {
            let mut numbers = [0.0; 8];
            (numbers[0], numbers[1]) = (e.scale[c], e.shift[c]);
            if let Activation::PRelu { slope, after } = &e.activation {
                (numbers[2], numbers[3]) = (slope[c], after[c]);
            }
            if let Tail::RPRelu { before, slope, after } = &e.tail {
                (numbers[4], numbers[5], numbers[6]) = (before[c], slope[c], after[c]);
            }
            numbers
        };
        let channels = (0..e.scale.len()).map(channel).collect();
        Self { epilogue, form, channels, activations: vec![] }
    }

    /// Tabulates the activations of sums of `terms` products, if they are few enough and the form has an activation.
    pub fn tabulate(mut self, terms: usize) -> Self {
        if terms < 32 && [Form::Prelu, Form::PreluAverage, Form::PreluTail].contains(&self.form) {
            let row = |numbers: &[f32; 8]| {
                std::array::from_fn(|count| activation::<Fused>(terms as f32 - 2.0 * count as f32, numbers))
            };
            self.activations = self.channels.iter().map(row).collect();
        }
        self
    }
}

/// How a kernel multiplies and adds: two ways to the same bits.
pub(super) trait MultiplyAdd {
    /// `a·b + c`, rounded once.
    fn multiply_add(a: f32, b: f32, c: f32) -> f32;
}

/// By the instruction, where the code is compiled for one (elsewhere a call of the C library).
pub(super) struct Fused;

impl MultiplyAdd for Fused {
    #[inline(always)]
    fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}

/// By f64: the product is exact, the sum is rounded to odd, and so the rounding to f32 decides alone (Boldo and
/// Melquiond, "Emulation of a FMA and correctly rounded sums", IEEE Transactions on Computers 57(4), 2008).
pub(super) struct ByDoubles;

impl MultiplyAdd for ByDoubles {
    #[inline(always)]
    fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
        let (product, c) = (f64::from(a) * f64::from(b), f64::from(c));
        let sum = product + c;
        // What the rounding of the sum lost, exactly (Knuth).
        let part = sum - product;
        let lost = (product - (sum - part)) + (c - part);
        let bits = sum.to_bits();
        let outwards = (lost > 0.0) == (sum > 0.0);
        let to_odd = u64::from(lost != 0.0) & !bits & 1;
        f64::from_bits(if outwards { bits + to_odd } else { bits - to_odd }) as f32
    }
}

/// What the activation makes of a sum. Nothing but scale and shift is fused: where a slope is next to nothing, signs further
/// on hang on the last bits.
#[inline(always)]
pub(super) fn activation<M: MultiplyAdd>(sum: f32, [scale, shift, slope, after, ..]: &[f32; 8]) -> f32 {
    prelu(M::multiply_add(sum, *scale, *shift), *slope) + after
}

/// What the tail makes of a value.
#[inline(always)]
pub(super) fn tail(v: f32, [.., before, slope, after, _]: &[f32; 8]) -> f32 {
    prelu(v + before, *slope) + after
}

#[inline(always)]
pub(super) fn prelu(v: f32, slope: f32) -> f32 {
    // A choice of two values, not of two paths: loops over this are vectorised.
    let scaled = v * slope;
    if v > 0.0 { v } else { scaled }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 5000, ..ProptestConfig::default() })]

        /// Over all magnitudes, where the summands meet at any distance, and where they nearly cancel.
        #[test]
        fn multiply_add_by_doubles_is_the_fused_one(
            a in any::<f32>(), b in any::<f32>(), c in any::<f32>(), gap in -70i32..70, nudge in -2i64..=2,
        ) {
            let product = f64::from(a) * f64::from(b);
            let meets = (product * f64::from(gap).exp2()) as f32;
            let cancels = f32::from_bits((-product as f32).to_bits().wrapping_add_signed(nudge as i32));
            let tie = 1.0 + f32::EPSILON;
            for (a, b, c) in [(a, b, c), (a, b, meets), (a, b, cancels), (tie, tie, c), (tie, tie, -c.abs())] {
                if (a * b).is_finite() && c.is_finite() {
                    let (found, fused) = (ByDoubles::multiply_add(a, b, c), Fused::multiply_add(a, b, c));
                    prop_assert_eq!(found.to_bits(), fused.to_bits(), "{} · {} + {}", a, b, c);
                }
            }
        }
    }
}
