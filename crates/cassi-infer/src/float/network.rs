//! The networks: which bodies they are made of, what they take, and how one image is run through them.

use cassi_core::{NamedTensors, ShapeError};
use ndarray::{Array3, ArrayView3, ArrayViewMut3};

use super::body::{Body, BodyImages};
use super::engine::{Convolution, Engine, Memory};
use super::image::{Bands, Image, reflected};
use super::kernels::{KERNELS, Kernel, Source, best};
use super::loader::{Loader, WeightsError};
use super::mask::{MaskInput, MaskPyramid, MaskShift, Masks};
use super::matrix::{Packed, padded_vector};
use super::memory::Aligned;
use super::precision::{Precision, PrecisionError};
use super::variant::{Layout, Variant};

/// A trained MST or MST++, ready to run.
#[derive(Debug, Clone)]
pub struct MstNetwork {
    variant: Variant,
    layout: Layout,
    bands: usize,
    step: usize,
    /// The layer before everything else: of MST++ for the benchmark 1x1 over snapshot and mask, of MST for the real
    /// instrument 3x3, of MST++ for the real instrument 1x1.
    first: First,
    /// MST++ only: the convolutions around its bodies.
    around: Option<[Convolution; 2]>,
    bodies: Vec<Body>,
    precision: Precision,
    kernel: &'static Kernel,
}

/// The layer before everything else.
#[derive(Debug, Clone)]
enum First {
    /// MST for the benchmark has none.
    Nothing,
    /// MST for the real instrument.
    Convolution(Convolution),
    /// MST++: 1x1 with a bias, over the features and, for the benchmark, the mask.
    Fusion(Packed, Aligned),
}

/// What a network makes of a mask, once for many snapshots.
#[derive(Debug, Clone)]
pub struct PreparedMask {
    rows: usize,
    columns: usize,
    form: MaskForm,
}

#[derive(Debug, Clone)]
enum MaskForm {
    /// The real instrument has no mask.
    Nothing,
    /// MST++ takes the mask itself, `[band, row, column]` or one plane for all bands.
    Planes(Array3<f32>),
    /// MST: features of every block.
    Features(Vec<Image>),
    /// MST on large images: what features are made from, strip by strip.
    Pyramid(MaskPyramid),
}

/// Mask features of up to this many bytes are kept; larger ones are made again in every run, which costs a quarter of
/// its time and leaves memory to the image.
const KEPT_BYTES: usize = 1 << 30;

/// Memory of a network, kept between calls: nothing is allocated after the first call on images of one size.
#[derive(Debug, Default)]
pub struct Workspace {
    fused: Image,
    shallow: Image,
    deep: Image,
    images: BodyImages,
    memory: Memory,
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
        let mut first = First::Nothing;
        let mut around = None;
        if plus {
            let inputs = if layout == Layout::Standard { 2 } else { 1 };
            let weights = loader.take("fution.weight", &[bands, inputs * bands, 1, 1]);
            let bias = loader.take("fution.bias", &[bands]);
            let weights = Packed::new(bands, &vec![bands; inputs], |o, segment, i| {
                weights[(o * inputs + segment) * bands + i]
            });
            first = First::Fusion(weights, padded_vector(&bias));
            around =
                Some(["conv_in.weight", "conv_out.weight"].map(|name| {
                    Convolution::new(bands, bands, 3, 1, &loader.take(name, &[bands, bands, 3, 3]))
                }));
        } else if layout == Layout::TsaReal {
            let weights = loader.take("fution.weight", &[bands, bands, 3, 3]);
            first = First::Convolution(Convolution::new(bands, bands, 3, 1, &weights));
        }
        let bodies = (0..if plus { 3 } else { 1 })
            .map(|n| {
                let prefix = if plus { format!("body.{n}.") } else { String::new() };
                Body::load(loader, &prefix, bands, bands, variant.blocks(), masked, !plus)
            })
            .collect();
        let kernel = best(Precision::F32).expect("any CPU has f32");
        Self { variant, layout, bands, step, first, around, bodies, precision: Precision::F32, kernel }
    }

    /// The same network with its products in `precision`; [`Precision::F32`] is what a new one has.
    ///
    /// # Errors
    /// If this CPU has no instructions for it.
    pub fn with_precision(self, precision: Precision) -> Result<Self, PrecisionError> {
        let kernel = best(precision).ok_or(PrecisionError)?;
        Ok(Self { precision, kernel, ..self })
    }

    /// The same network on the kernel of this name, and in its precision, if this CPU has it: for tests and benches.
    pub fn with_kernel(self, name: &str) -> Option<Self> {
        let kernel = KERNELS.iter().find(|kernel| kernel.name == name && (kernel.available)())?;
        Some(Self { precision: kernel.precision, kernel, ..self })
    }

    /// Names and precisions of all kernels, best first, whether or not this CPU has them.
    pub fn kernels() -> impl Iterator<Item = (&'static str, Precision)> {
        KERNELS.iter().map(|kernel| (kernel.name, kernel.precision))
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
        self.prepare_mask_on(self.engine(), mask, rows, columns, shift, KEPT_BYTES)
    }

    fn engine(&self) -> Engine {
        Engine { kernel: self.kernel, strip: None }
    }

    /// [`Self::prepare_mask`] on an engine of one's choice, keeping features of up to `kept` bytes.
    fn prepare_mask_on(
        &self,
        engine: Engine,
        mask: Option<MaskInput<'_>>,
        rows: usize,
        columns: usize,
        shift: MaskShift,
        kept: usize,
    ) -> Result<PreparedMask, ShapeError> {
        let size @ [height, width] = self.padded_size(rows, columns)?;
        let prepared = |form| PreparedMask { rows, columns, form };
        if self.layout == Layout::TsaReal {
            return Ok(prepared(MaskForm::Nothing));
        }
        let wrong = |found: &[usize], expected: String| ShapeError {
            what: "mask",
            found: found.to_vec(),
            expected,
            axes: "(row, column) or (band, row, column)",
        };
        let reflect = |planes: ArrayView3<'_, f32>| {
            Array3::from_shape_fn((planes.dim().0, height, width), |(b, r, c)| {
                planes[[b, reflected(r, rows), reflected(c, columns)]]
            })
        };
        let plus = self.variant == Variant::MstPp;
        let frame = columns + self.step * (self.bands - 1);
        let (planes, shear) = match mask {
            Some(MaskInput::Plain(plane)) if plane.dim() == (rows, columns) => {
                (reflect(plane.insert_axis(ndarray::Axis(0))), self.step)
            }
            Some(MaskInput::Bands(cube)) if cube.dim() == (self.bands, rows, columns) => {
                (reflect(cube), self.step)
            }
            Some(MaskInput::Sheared(cube))
                if cube.dim() == (self.bands, rows, frame) && [rows, columns] == size && !plus =>
            {
                (cube.to_owned(), 0)
            }
            Some(MaskInput::Sheared(cube)) => {
                let expected = [self.bands, rows, frame];
                let multiple = self.multiple();
                let note = format!("{expected:?} for MST on sizes that are a multiple of {multiple}");
                return Err(wrong(cube.shape(), note));
            }
            Some(MaskInput::Plain(plane)) => {
                return Err(wrong(plane.shape(), format!("[{rows}, {columns}]")));
            }
            Some(MaskInput::Bands(cube)) => {
                return Err(wrong(cube.shape(), format!("[{}, {rows}, {columns}]", self.bands)));
            }
            None => return Err(wrong(&[], format!("[{rows}, {columns}]: this network takes a mask"))),
        };
        if plus {
            return Ok(prepared(MaskForm::Planes(planes)));
        }
        let body = &self.bodies[0];
        let pyramid = MaskPyramid::new(engine, body, planes, [self.bands, width, self.step, shear], shift)
            .map_err(|expected| ShapeError {
                what: "mask",
                found: vec![self.bands, height, width + self.step * (self.bands - 1)],
                expected,
                axes: "(band, row, sheared column)",
            })?;
        if pyramid.feature_floats(body) * size_of::<f32>() > kept {
            return Ok(prepared(MaskForm::Pyramid(pyramid)));
        }
        Ok(prepared(MaskForm::Features(pyramid.features(engine, body))))
    }

    /// Runs one image: features `[band, row, column]` (the un-sheared snapshot, or the windows of a real one), in any
    /// strides, to a cube of the same shape.
    ///
    /// # Errors
    /// If the features are not of the shape that the mask was prepared for.
    pub fn run(
        &self,
        features: ArrayView3<'_, f32>,
        mask: &PreparedMask,
        workspace: &mut Workspace,
    ) -> Result<Array3<f32>, ShapeError> {
        let mut cube = Array3::zeros(features.dim());
        self.run_into(features, mask, workspace, cube.view_mut())?;
        Ok(cube)
    }

    /// [`Self::run`] into a cube that the caller has.
    ///
    /// # Errors
    /// If features or cube are not of the shape that the mask was prepared for.
    pub fn run_into(
        &self,
        features: ArrayView3<'_, f32>,
        mask: &PreparedMask,
        workspace: &mut Workspace,
        cube: ArrayViewMut3<'_, f32>,
    ) -> Result<(), ShapeError> {
        self.run_on(self.engine(), features, mask, workspace, cube)
    }

    /// [`Self::run_into`] on an engine of one's choice.
    fn run_on(
        &self,
        engine: Engine,
        features: ArrayView3<'_, f32>,
        mask: &PreparedMask,
        workspace: &mut Workspace,
        cube: ArrayViewMut3<'_, f32>,
    ) -> Result<(), ShapeError> {
        let (_, rows, columns) = features.dim();
        for (what, shape) in [("network input", features.shape()), ("network output", cube.shape())] {
            let expected = [self.bands, mask.rows, mask.columns];
            if shape != expected {
                return Err(ShapeError {
                    what,
                    found: shape.to_vec(),
                    expected: format!("{expected:?}"),
                    axes: "(band, row, column)",
                });
            }
        }
        let [height, width] = self.padded_size(rows, columns)?;
        let Workspace { fused, shallow, deep, images, memory } = workspace;
        let input = Bands { view: features.view(), rows: height, columns: width, shear: 0 };
        let masks = match &mask.form {
            MaskForm::Nothing | MaskForm::Planes(_) => Masks::Nothing,
            MaskForm::Features(images) => Masks::Kept(images),
            MaskForm::Pyramid(pyramid) => Masks::Made(pyramid),
        };
        let input = match (&self.first, &mask.form) {
            (First::Nothing, _) => Source::Bands(input),
            (First::Convolution(convolution), _) => {
                convolution.run(engine, Source::Bands(input), fused, &memory.threads);
                Source::Image(fused.view())
            }
            (First::Fusion(weights, bias), MaskForm::Planes(planes)) => {
                let view = planes.broadcast((self.bands, height, width)).expect("one plane, or one a band");
                let mask = Bands { view, ..input };
                Source::Fused { first: input, second: Some(mask), weights, bias }
            }
            (First::Fusion(weights, bias), _) => Source::Fused { first: input, second: None, weights, bias },
        };
        let Some([conv_in, conv_out]) = &self.around else {
            let body = &self.bodies[0];
            let features = body.features(engine, input, masks, images, memory);
            body.mapping.to_cube(engine, features, &input, cube, &memory.threads);
            return Ok(());
        };
        conv_in.run(engine, input, shallow, &memory.threads);
        deep.copy_from(shallow);
        for body in &self.bodies {
            let features = body.features(engine, Source::Image(deep.view()), masks, images, memory);
            body.mapping.add(engine, features, deep, &memory.threads);
        }
        let (deep, shallow) = (Source::Image(deep.view()), Source::Image(shallow.view()));
        conv_out.to_cube(engine, deep, &shallow, cube, &memory.threads);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use cassi_core::{Tensor, random::Stream};

    use super::super::kernels::PORTABLE_BF16;
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

    /// One image through a network on an engine, keeping mask features of up to `kept` bytes.
    fn run(network: &MstNetwork, engine: Engine, rows: usize, columns: usize, kept: usize) -> Array3<f32> {
        let mut stream = Stream::new(2, "test/input", (rows * columns) as u64);
        let x = Array3::from_shape_fn((28, rows, columns), |_| stream.uniform() as f32);
        let mask = ndarray::Array2::from_shape_fn((rows, columns), |_| stream.uniform() as f32);
        let plain = Some(MaskInput::Plain(mask.view()));
        let prepared = network.prepare_mask_on(engine, plain, rows, columns, MaskShift::Level, kept).unwrap();
        assert_eq!(
            matches!(prepared.form, MaskForm::Pyramid(_)),
            kept == 0 && network.variant != Variant::MstPp
        );
        let mut out = Array3::zeros(x.dim());
        network.run_on(engine, x.view(), &prepared, &mut Workspace::default(), out.view_mut()).unwrap();
        out
    }

    fn largest(a: &Array3<f32>) -> f32 {
        a.iter().fold(0f32, |m, v| m.max(v.abs()))
    }

    fn rms(a: &Array3<f32>, b: &Array3<f32>) -> f64 {
        let sum: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        (sum / a.len() as f64).sqrt()
    }

    #[test]
    fn every_kernel_equals_portable() {
        let portable = KERNELS.last().expect("portable stands last");
        assert_eq!(portable.name, "portable");
        for variant in [Variant::MstS, Variant::MstPp] {
            let network = random_network(variant);
            // Sizes that leave tails of rows, of tiles of 64 columns and of blocks of 3, 4, 6, 8 and 12 pixels.
            for (rows, columns) in [(8, 8), (19, 70), (33, 41), (16, 132)] {
                let on = |kernel| run(&network, Engine { kernel, strip: None }, rows, columns, KEPT_BYTES);
                let (single, half) = (on(portable), on(PORTABLE_BF16));
                let cost = rms(&single, &half);
                for kernel in KERNELS {
                    if !(kernel.available)() {
                        assert_ne!(std::env::var("CASSI_REQUIRE_ISA").as_deref(), Ok(kernel.name));
                        continue;
                    }
                    let found = on(kernel);
                    let bound = 1e-5 * largest(&single);
                    if kernel.precision == Precision::F32 {
                        // Fused multiply-adds round once instead of twice; the goldens move by the same 1e-5.
                        for (a, b) in found.iter().zip(&single) {
                            let gap = (a - b).abs();
                            assert!(gap <= bound, "{}: {a} against {b}", kernel.name);
                        }
                    } else {
                        // Last bits of sums tip later roundings to bf16 over, so whole networks agree no better than
                        // bf16 with f32 (single products do: `bf16_products_equal_portable`): the kernel is to be as
                        // far from f32 as the specification is, to the scatter of one image.
                        let gap = rms(&found, &single);
                        assert!(gap < 2.0 * cost, "{}: {gap:.2e} from f32, not {cost:.2e}", kernel.name);
                    }
                }
            }
        }
    }

    #[test]
    fn strips_equal_the_whole() {
        let kernel = best(Precision::F32).expect("any CPU has f32");
        for variant in [Variant::MstS, Variant::MstL, Variant::MstPp] {
            let network = random_network(variant);
            let on = |strip, kept| run(&network, Engine { kernel, strip: Some(strip) }, 60, 84, kept);
            let whole = on(64, KEPT_BYTES);
            let bound = 1e-6 * largest(&whole);
            for strip in [4, 16] {
                let strips = on(strip, KEPT_BYTES);
                // Sums over strips are in f64 and the rest is the same arithmetic: what may differ is the last bit of
                // the attention matrix.
                for (a, b) in strips.iter().zip(&whole) {
                    assert!((a - b).abs() <= bound, "{variant:?} by {strip}: {a} against {b}");
                }
                assert!(on(strip, 0) == strips, "{variant:?}: mask features made strip by strip differ");
            }
        }
    }
}
