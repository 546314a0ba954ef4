//! The networks: which bodies they are made of, what they take, and how one image is run through them.

use std::sync::Mutex;

use cassi_core::{NamedTensors, ShapeError, shear};
use ndarray::{Array3, ArrayView3};

use super::body::{Body, BodyImages, convolve, pack_conv};
use super::image::{Image, reflected};
use super::kernels::{After, Kernel, best};
use super::loader::{Loader, WeightsError};
use super::mask::{MaskInput, MaskShift};
use super::matrix::{Packed, padded_vector};
use super::precision::{Precision, PrecisionError};

/// The four networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// MST-S: blocks [2, 2, 2].
    MstS,
    /// MST-M: blocks [2, 4, 4].
    MstM,
    /// MST-L: blocks [4, 7, 5].
    MstL,
    /// MST++: three bodies of blocks [1, 1, 1].
    MstPp,
}

impl Variant {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::MstS, Self::MstM, Self::MstL, Self::MstPp];

    /// The published name, e.g. `mst-s`.
    pub fn name(self) -> &'static str {
        match self {
            Self::MstS => "mst-s",
            Self::MstM => "mst-m",
            Self::MstL => "mst-l",
            Self::MstPp => "mst-pp",
        }
    }

    /// The network of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|variant| variant.name() == name)
    }

    /// Blocks of each level and of the bottleneck.
    fn blocks(self) -> &'static [usize] {
        match self {
            Self::MstS => &[2, 2, 2],
            Self::MstM => &[2, 4, 4],
            Self::MstL => &[4, 7, 5],
            Self::MstPp => &[1, 1, 1],
        }
    }
}

/// What a network takes beside its features.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// The simulated benchmark: un-sheared snapshot and mask.
    Standard,
    /// The real instrument: windows of the snapshot, no mask.
    TsaReal,
}

/// A trained MST or MST++, ready to run.
#[derive(Debug, Clone)]
pub struct MstNetwork {
    variant: Variant,
    layout: Layout,
    bands: usize,
    step: usize,
    fusion: Option<Fusion>,
    /// MST++ only: the convolutions around its bodies.
    around: Option<[Packed; 2]>,
    bodies: Vec<Body>,
    precision: Precision,
    kernel: &'static Kernel,
}

/// The layer that brings the inputs together.
#[derive(Debug, Clone)]
struct Fusion {
    weights: Packed,
    bias: Option<Vec<f32>>,
    side: usize,
}

/// What a network makes of a mask, once for many snapshots.
#[derive(Debug, Clone)]
pub struct PreparedMask {
    rows: usize,
    columns: usize,
    /// MST: features of every block. MST++: one image, the mask itself. None for the real instrument.
    images: Vec<Image>,
}

/// Memory of a network, kept between calls: nothing is allocated after the first call on images of one size.
#[derive(Debug, Default)]
pub struct Workspace {
    input: Image,
    fused: Image,
    shallow: Image,
    ping: Image,
    pong: Image,
    images: BodyImages,
    scratch: Scratch,
}

/// Small memory of the passes.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) buffers: Buffers,
    pub(crate) grams: Vec<f64>,
    pub(crate) mix: Option<Packed>,
}

impl Scratch {
    /// The matrix that attention folds into, of this width.
    pub(crate) fn mix_for(&mut self, channels: usize) -> &mut Packed {
        if self.mix.as_ref().is_none_or(|mix| mix.segment_channels() != [channels]) {
            self.mix = Some(Packed::new(channels, vec![channels], |_, _, _| 0.0));
        }
        self.mix.as_mut().expect("made above")
    }
}

/// One buffer for each thread.
#[derive(Debug)]
pub(crate) struct Buffers(Vec<Mutex<Vec<f32>>>);

impl Default for Buffers {
    fn default() -> Self {
        Self((0..=rayon::current_num_threads()).map(|_| Mutex::default()).collect())
    }
}

impl Buffers {
    /// Lends the buffer of this thread.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut Vec<f32>) -> R) -> R {
        let index = rayon::current_thread_index().map_or(0, |index| index + 1) % self.0.len();
        // A poisoned buffer holds no state that matters: every pass writes what it reads.
        work(&mut self.0[index].lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl MstNetwork {
    /// Reads the weights of `variant` for cameras of `step` columns a band; `bands` is 28 in the benchmark, and the
    /// width of the network equals it, as in the published code.
    ///
    /// # Errors
    /// If names or shapes are not those of the official checkpoint of this network, all of them named.
    pub fn from_tensors(
        tensors: &NamedTensors,
        variant: Variant,
        layout: Layout,
        bands: usize,
        step: usize,
    ) -> Result<Self, WeightsError> {
        let mut loader = Loader::new(tensors);
        let network = Self::read(&mut loader, variant, layout, bands, step);
        let place = if layout == Layout::Standard { "standard" } else { "tsa-real" };
        loader.finish(&format!("{} for instrument {place}", variant.name()))?;
        Ok(network)
    }

    /// Names and shapes of the tensors that a network reads, in the order in which it reads them.
    pub fn expected_tensors(variant: Variant, layout: Layout, bands: usize) -> Vec<(String, Vec<usize>)> {
        let nothing = NamedTensors::new();
        let mut loader = Loader::new(&nothing);
        Self::read(&mut loader, variant, layout, bands, 0);
        loader.expected()
    }

    fn read(loader: &mut Loader<'_>, variant: Variant, layout: Layout, bands: usize, step: usize) -> Self {
        let plus = variant == Variant::MstPp;
        let masked = !plus && layout == Layout::Standard;
        let mut fusion = None;
        let mut around = None;
        if plus {
            let inputs = if layout == Layout::Standard { 2 } else { 1 };
            let weights = loader.take("fution.weight", &[bands, inputs * bands, 1, 1]);
            let bias = loader.take("fution.bias", &[bands]);
            let weights = Packed::new(bands, vec![bands; inputs], |o, segment, i| {
                weights[(o * inputs + segment) * bands + i]
            });
            fusion = Some(Fusion { weights, bias: Some(padded_vector(&bias)), side: 1 });
            around = Some(
                ["conv_in.weight", "conv_out.weight"]
                    .map(|name| pack_conv(bands, bands, 3, &loader.take(name, &[bands, bands, 3, 3]))),
            );
        } else if layout == Layout::TsaReal {
            let weights = loader.take("fution.weight", &[bands, bands, 3, 3]);
            fusion = Some(Fusion { weights: pack_conv(bands, bands, 3, &weights), bias: None, side: 3 });
        }
        let bodies = (0..if plus { 3 } else { 1 })
            .map(|n| {
                let prefix = if plus { format!("body.{n}.") } else { String::new() };
                Body::load(loader, &prefix, bands, bands, variant.blocks(), masked, !plus)
            })
            .collect();
        let kernel = best(Precision::F32).expect("any CPU has f32");
        Self { variant, layout, bands, step, fusion, around, bodies, precision: Precision::F32, kernel }
    }

    /// The same network with its products in `precision`; [`Precision::F32`] is what a new one has.
    ///
    /// # Errors
    /// If this CPU has no instructions for it.
    pub fn with_precision(self, precision: Precision) -> Result<Self, PrecisionError> {
        let kernel = best(precision).ok_or(PrecisionError)?;
        Ok(Self { precision, kernel, ..self })
    }

    /// What its products are computed in.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Which network this is.
    pub fn variant(&self) -> Variant {
        self.variant
    }

    /// What it takes.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Number of bands.
    pub fn bands(&self) -> usize {
        self.bands
    }

    /// The name of the kernel that this CPU runs the network on, e.g. `avx2`.
    pub fn kernel_name(&self) -> &'static str {
        self.kernel.name
    }

    /// Rows and columns are padded to a multiple of this.
    fn multiple(&self) -> usize {
        if self.variant == Variant::MstPp { 8 } else { 1 << self.bodies[0].stages() }
    }

    fn padded_size(&self, rows: usize, columns: usize) -> Result<[usize; 2], ShapeError> {
        let size = [rows, columns].map(|n| n.next_multiple_of(self.multiple()));
        // Reflection needs as many pixels as it adds, and one more.
        if size[0] >= 2 * rows.max(1) || size[1] >= 2 * columns.max(1) {
            return Err(ShapeError {
                what: "network input",
                found: vec![self.bands, rows, columns],
                expected: format!("at least {0} rows and columns", self.multiple() / 2 + 1),
                axes: "(band, row, column)",
            });
        }
        Ok(size)
    }

    /// What the network needs of a mask for images of `rows` x `columns`; for the real instrument nothing, and
    /// `mask` is `None`.
    ///
    /// # Errors
    /// If the mask has another size, or a form that this network does not take.
    pub fn prepare_mask(
        &self,
        mask: Option<MaskInput<'_>>,
        rows: usize,
        columns: usize,
        shift: MaskShift,
    ) -> Result<PreparedMask, ShapeError> {
        let [height, width] = self.padded_size(rows, columns)?;
        let prepared = |images| PreparedMask { rows, columns, images };
        if self.layout == Layout::TsaReal {
            return Ok(prepared(Vec::new()));
        }
        let frame = columns + self.step * (self.bands - 1);
        let wrong = |found: Vec<usize>, expected: String| ShapeError {
            what: "mask",
            found,
            expected,
            axes: "(row, column) or (band, row, column)",
        };
        let reflect = |value: &dyn Fn(usize, usize, usize) -> f32| {
            Array3::from_shape_fn((self.bands, height, width), |(b, r, c)| {
                value(b, reflected(r, rows), reflected(c, columns))
            })
        };
        let plain = match mask {
            Some(MaskInput::Plain(plane)) if plane.dim() == (rows, columns) => {
                reflect(&|_, r, c| plane[[r, c]])
            }
            Some(MaskInput::Bands(cube)) if cube.dim() == (self.bands, rows, columns) => {
                reflect(&|b, r, c| cube[[b, r, c]])
            }
            Some(MaskInput::Sheared(cube)) => {
                let expected = [self.bands, rows, frame];
                if cube.shape() != expected
                    || [rows, columns] != [height, width]
                    || self.variant == Variant::MstPp
                {
                    let note =
                        format!("{expected:?} for MST on sizes that are a multiple of {}", self.multiple());
                    return Err(wrong(cube.shape().to_vec(), note));
                }
                return self.mst_mask(cube, columns, shift).map(prepared);
            }
            Some(MaskInput::Plain(plane)) => {
                return Err(wrong(plane.shape().to_vec(), format!("[{rows}, {columns}]")));
            }
            Some(MaskInput::Bands(cube)) => {
                return Err(wrong(cube.shape().to_vec(), format!("[{}, {rows}, {columns}]", self.bands)));
            }
            None => return Err(wrong(Vec::new(), format!("[{rows}, {columns}]: this network takes a mask"))),
        };
        if self.variant == Variant::MstPp {
            let mut image = Image::default();
            image.load_reflected(plain.view(), height, width);
            return Ok(prepared(vec![image]));
        }
        self.mst_mask(shear::shear(plain.view(), self.step).view(), width, shift).map(prepared)
    }

    fn mst_mask(
        &self,
        sheared: ArrayView3<'_, f32>,
        columns: usize,
        shift: MaskShift,
    ) -> Result<Vec<Image>, ShapeError> {
        let (_, rows, frame) = sheared.dim();
        let mut image = Image::default();
        image.load_reflected(sheared, rows, frame);
        let buffers = Buffers::default();
        self.bodies[0].mask_features(self.kernel, image, columns, self.step, shift, &buffers).map_err(
            |expected| ShapeError {
                what: "mask",
                found: sheared.shape().to_vec(),
                expected,
                axes: "(band, row, sheared column)",
            },
        )
    }

    /// Runs one image: features `[band, row, column]` (the un-sheared snapshot, or the windows of a real one) to a
    /// cube of the same shape.
    ///
    /// # Errors
    /// If the features are not of the shape that the mask was prepared for.
    pub fn run(
        &self,
        features: ArrayView3<'_, f32>,
        mask: &PreparedMask,
        workspace: &mut Workspace,
    ) -> Result<Array3<f32>, ShapeError> {
        self.run_on(self.kernel, features, mask, workspace)
    }

    /// [`Self::run`] on a kernel of one's choice.
    pub(crate) fn run_on(
        &self,
        kernel: &Kernel,
        features: ArrayView3<'_, f32>,
        mask: &PreparedMask,
        workspace: &mut Workspace,
    ) -> Result<Array3<f32>, ShapeError> {
        let (_, rows, columns) = features.dim();
        if features.dim() != (self.bands, mask.rows, mask.columns) {
            return Err(ShapeError {
                what: "network input",
                found: features.shape().to_vec(),
                expected: format!("[{}, {}, {}]", self.bands, mask.rows, mask.columns),
                axes: "(band, row, column)",
            });
        }
        let [height, width] = self.padded_size(rows, columns)?;
        let Workspace { input, fused, shallow, ping, pong, images, scratch } = workspace;
        input.load_reflected(features, height, width);
        let mut x = &*input;
        if let Some(fusion) = &self.fusion {
            let mut inputs = vec![input.view()];
            if self.layout == Layout::Standard {
                inputs.push(mask.images[0].view());
            }
            let (bias, side) = (fusion.bias.as_deref(), fusion.side);
            convolve(
                kernel,
                &inputs,
                &fusion.weights,
                bias,
                side,
                1,
                side / 2,
                After::Nothing,
                fused,
                &scratch.buffers,
            );
            x = fused;
        }
        let Some([conv_in, conv_out]) = &self.around else {
            self.bodies[0].run(kernel, x, &mask.images, images, scratch, ping);
            return Ok(ping.to_bands(self.bands, rows, columns));
        };
        convolve(kernel, &[x.view()], conv_in, None, 3, 1, 1, After::Nothing, shallow, &scratch.buffers);
        self.bodies[0].run(kernel, shallow, &[], images, scratch, ping);
        for body in &self.bodies[1..] {
            body.run(kernel, ping, &[], images, scratch, pong);
            std::mem::swap(ping, pong);
        }
        pong.resize(height, width, self.bands);
        pong.data.copy_from_slice(&shallow.data);
        convolve(kernel, &[ping.view()], conv_out, None, 3, 1, 1, After::Add, pong, &scratch.buffers);
        Ok(pong.to_bands(self.bands, rows, columns))
    }
}

#[cfg(test)]
mod tests {
    use cassi_core::{Tensor, random::Stream};

    use super::super::kernels::KERNELS;
    use super::*;

    fn random_network(variant: Variant) -> MstNetwork {
        let mut stream = Stream::new(1, "test/weights", 0);
        let tensors: NamedTensors = MstNetwork::expected_tensors(variant, Layout::Standard, 28)
            .into_iter()
            .map(|(name, shape)| {
                let fan_in: usize = shape.iter().skip(1).product();
                let data = (0..shape.iter().product::<usize>())
                    .map(|_| (stream.normal() / (fan_in.max(1) as f64).sqrt()) as f32)
                    .collect();
                (name, Tensor::new(shape, data).unwrap())
            })
            .collect();
        MstNetwork::from_tensors(&tensors, variant, Layout::Standard, 28, 2).unwrap()
    }

    #[test]
    fn every_kernel_equals_portable() {
        let portable = KERNELS.last().expect("portable stands last");
        assert_eq!(portable.name, "portable");
        for variant in [Variant::MstS, Variant::MstPp] {
            let network = random_network(variant);
            // Sizes that leave tails of rows, of tiles of 64 columns and of blocks of 6 pixels.
            for (rows, columns) in [(8, 8), (19, 70), (33, 41)] {
                let mut stream = Stream::new(2, "test/input", (rows * columns) as u64);
                let x = Array3::from_shape_fn((28, rows, columns), |_| stream.uniform() as f32);
                let mask = ndarray::Array2::from_shape_fn((rows, columns), |_| stream.uniform() as f32);
                let plain = Some(MaskInput::Plain(mask.view()));
                let prepared = network.prepare_mask(plain, rows, columns, MaskShift::Level).unwrap();
                let run =
                    |kernel| network.run_on(kernel, x.view(), &prepared, &mut Workspace::default()).unwrap();
                let expected = run(portable);
                let largest = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
                for kernel in KERNELS {
                    if !(kernel.available)() {
                        assert_ne!(std::env::var("CASSI_REQUIRE_ISA").as_deref(), Ok(kernel.name));
                        continue;
                    }
                    // Fused multiply-adds round once instead of twice; the goldens move by the same 1e-5.
                    for (a, b) in run(kernel).iter().zip(&expected) {
                        assert!((a - b).abs() <= 1e-5 * largest, "{}: {a} against {b}", kernel.name);
                    }
                }
            }
        }
    }
}
