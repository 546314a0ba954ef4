//! What follows a sum: scale, shift, shortcut, activation, tail. [`Epilogue`] says it, [`Finish`] has the numbers in
//! the order in which the kernels take them.

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
                std::array::from_fn(|count| activation(terms as f32 - 2.0 * count as f32, numbers))
            };
            self.activations = self.channels.iter().map(row).collect();
        }
        self
    }
}

/// What the activation makes of a sum. No product is fused with a sum: where a slope is next to nothing, signs further
/// on hang on the last bits.
#[inline(always)]
pub(super) fn activation(sum: f32, [scale, shift, slope, after, ..]: &[f32; 8]) -> f32 {
    prelu(sum * scale + shift, *slope) + after
}

/// What the tail makes of a value.
#[inline(always)]
pub(super) fn tail(v: f32, [.., before, slope, after, _]: &[f32; 8]) -> f32 {
    prelu(v + before, *slope) + after
}

#[inline(always)]
pub(super) fn prelu(v: f32, slope: f32) -> f32 {
    if v > 0.0 { v } else { v * slope }
}
