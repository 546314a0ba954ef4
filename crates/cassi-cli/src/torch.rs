//! The libtorch twins of the networks as methods: the network lives on a thread of its own, because libtorch's tensors
//! belong to one thread at a time, and gets features and masks through a channel.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, Once, PoisonError};
use std::time::Instant;

use anyhow::bail;
use cassi_core::{
    Cube, Family, InstrumentDescription, Mask, MethodCard, NamedTensors, Observer, Problem, Progress,
    ReconstructError, Reconstruction, Reconstructor, ShapeError, Silent, Tensor as HostTensor, refinement,
    shear,
};
use cassi_nets::arch::{Layout, MaskForm, MaskShift, Options, Shape, build};
use cassi_nets::{device, weights};
use ndarray::{Array3, Array4, ArrayView2, ArrayView3, Axis};
use tch::{Device, Kind, Tensor, nn};

use crate::engine::{EngineOptions, Precision};
use crate::registry::Network as Listing;

/// The name of the thread that libtorch runs on.
const THREAD: &str = "libtorch";

/// A network on its thread.
pub(crate) struct TorchNetwork {
    link: Mutex<(Sender<Job>, Receiver<Result<Array3<f32>, String>>)>,
    form: MaskForm,
    layout: Layout,
    /// Rows and columns are padded to a multiple of this.
    multiple: usize,
    name: String,
    device: Device,
}

struct Job {
    /// Features `[1, band, row, column]`, or a snapshot `[1, row, column]`.
    features: HostTensor,
    mask: JobMask,
}

/// The mask of a job, in the form that the network takes.
enum JobMask {
    None,
    /// As in the job before.
    Same,
    New(HostTensor),
}

impl TorchNetwork {
    /// Starts the thread and builds the network of a method on it; `width` is that of the network at full resolution.
    ///
    /// # Errors
    /// A device that is not there, or weights of another network.
    pub(crate) fn start(
        method: &str,
        instrument: &InstrumentDescription,
        width: usize,
        mask_shift: MaskShift,
        tensors: &NamedTensors,
        engine: &EngineOptions,
    ) -> anyhow::Result<Self> {
        quiet_worker();
        // Before anything else of libtorch: it may have to load the CUDA library.
        let device = device::select(engine.device())?;
        let (layout, (_, name)) = (Layout::of(method, instrument), refinement(method));
        let shape = Shape { bands: instrument.bands(), width, step: instrument.step() };
        let options = Options { layout, shape, mask_shift };
        let half = engine.precision() == Precision::Bf16;
        let (jobs, incoming) = channel();
        let (outgoing, answers) = channel();
        let (built, ready) = channel();
        let (architecture, tensors) = (name.to_string(), tensors.clone());
        let threads = rayon::current_num_threads();
        std::thread::Builder::new().name(THREAD.into()).spawn(move || {
            tch::set_num_threads(threads as i32);
            let store = nn::VarStore::new(device);
            let network = build(&architecture, &options, &store.root()).and_then(|network| {
                weights::load(&store, &tensors)?;
                Ok(network)
            });
            let network = match network {
                Ok(network) => network,
                Err(error) => {
                    let _ = built.send(Err(error));
                    return;
                }
            };
            let _ = built.send(Ok(network.mask_form()));
            let kind = if half { Kind::BFloat16 } else { Kind::Float };
            let mut mask: Option<Tensor> = None;
            for job in incoming {
                let Job { features, mask: told } = job;
                let answer = catch_unwind(AssertUnwindSafe(|| {
                    tch::no_grad(|| {
                        let there =
                            |host: &HostTensor| weights::to_torch(host).to_device(device).to_kind(kind);
                        match told {
                            JobMask::None => mask = None,
                            JobMask::Same => {}
                            JobMask::New(host) => mask = Some(there(&host)),
                        }
                        let cube = network.forward(&there(&features), mask.as_ref(), false).squeeze_dim(0);
                        let HostTensor { shape, data } = weights::to_host(&cube);
                        Array3::from_shape_vec((shape[0], shape[1], shape[2]), data).expect("a cube")
                    })
                }));
                if outgoing.send(answer.map_err(message)).is_err() {
                    return;
                }
            }
        })?;
        let Ok(form) = ready.recv() else { bail!("libtorch ended while building {name}") };
        let form = form?;
        let multiple = if matches!(name, "mst-s" | "mst-m" | "mst-l") { 4 } else { 8 };
        Ok(Self { link: Mutex::new((jobs, answers)), form, layout, multiple, name: name.into(), device })
    }

    /// What the network takes.
    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// A plain mask in the form that the network takes.
    fn plain_mask(&self, plane: ArrayView2<'_, f32>, bands: usize, step: usize) -> Option<Array3<f32>> {
        let (rows, columns) = plane.dim();
        let repeated = || plane.broadcast((bands, rows, columns)).expect("repeated along the first axis");
        match self.form {
            MaskForm::None => None,
            MaskForm::Plain => Some(repeated().to_owned()),
            MaskForm::Sheared => Some(shear::shear(repeated(), step)),
        }
    }

    /// A mask `[row, column]`, `[band, row, column]`, or for MST `[band, row, sheared column]`, in the form that the
    /// network takes for images of `columns`.
    ///
    /// # Errors
    /// A rank that is no mask's, a sheared mask for a network that takes none, no mask where one is needed.
    pub(crate) fn mask_from(
        &self,
        mask: Option<ndarray::ArrayViewD<'_, f32>>,
        columns: usize,
        instrument: &InstrumentDescription,
    ) -> anyhow::Result<Option<Array3<f32>>> {
        let (bands, step) = (instrument.bands(), instrument.step());
        if self.form == MaskForm::None {
            return Ok(None);
        }
        let Some(mask) = mask else { bail!("this network takes a mask; pass it with --mask FILE") };
        if let Ok(plane) = mask.view().into_dimensionality() {
            return Ok(self.plain_mask(plane, bands, step));
        }
        let shape = mask.shape().to_vec();
        let frame = columns + step * (bands - 1);
        let stack: ArrayView3<'_, f32> = (mask.into_dimensionality().ok())
            .filter(|stack: &ArrayView3<'_, f32>| stack.dim().0 == bands)
            .ok_or_else(|| anyhow::anyhow!("--mask has shape {shape:?}, expected {bands} bands"))?;
        match (self.form, stack.dim().2) {
            (MaskForm::Plain, width) if width == columns => Ok(Some(stack.to_owned())),
            (MaskForm::Sheared, width) if width == frame => Ok(Some(stack.to_owned())),
            (MaskForm::Sheared, width) if width == columns => Ok(Some(shear::shear(stack, step))),
            _ => bail!("--mask has shape {shape:?}, expected {columns} columns for this network and input"),
        }
    }

    /// Runs one image: features `[band, row, column]`, or for the real instrument a snapshot as `[1, row, column]`.
    ///
    /// # Errors
    /// An image too small to be reflected, or what libtorch says.
    pub(crate) fn run(
        &self,
        features: ArrayView3<'_, f32>,
        mask: Option<Array3<f32>>,
        scene: [usize; 2],
    ) -> Result<Array3<f32>, String> {
        self.send(
            features,
            mask.map_or(JobMask::None, |mask| JobMask::New(host(mask.insert_axis(Axis(0))))),
            scene,
        )
    }

    fn send(
        &self,
        features: ArrayView3<'_, f32>,
        mask: JobMask,
        scene: [usize; 2],
    ) -> Result<Array3<f32>, String> {
        let [rows, columns] = scene;
        // Reflection needs as many pixels as it adds, and one more.
        if scene.iter().any(|&n| n.next_multiple_of(self.multiple) >= 2 * n) {
            let least = self.multiple / 2 + 1;
            return Err(format!(
                "{} cannot pad an image of {rows} x {columns} by reflection; it takes at least {least} x {least}",
                self.name
            ));
        }
        let features = match self.layout {
            Layout::Standard => host(features.insert_axis(Axis(0)).to_owned()),
            Layout::TsaReal => {
                let data = features.iter().copied().collect();
                HostTensor::new(features.shape().to_vec(), data).expect("as long as its shape")
            }
        };
        let link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = || format!("libtorch ended while running {}", self.name);
        link.0.send(Job { features, mask }).map_err(|_| ended())?;
        link.1.recv().map_err(|_| ended())?.map_err(|message| self.explain(&message, rows, columns))
    }

    /// What libtorch said, and what to do where that is known.
    fn explain(&self, message: &str, rows: usize, columns: usize) -> String {
        if message.contains("out of memory") || message.contains("can't allocate memory") {
            // Memory goes with the number of pixels: a quarter of the frame is a safe guess at what fits.
            return format!(
                "{}: {:?} has not enough memory for a frame of {rows} x {columns}; frames of {} x {} should fit, or \
                 use --precision bf16 or --engine native",
                self.name,
                self.device,
                rows.div_ceil(2),
                columns.div_ceil(2)
            );
        }
        let line = message.lines().next().unwrap_or_default();
        format!("{}: libtorch: {line}", self.name)
    }
}

fn host(array: Array4<f32>) -> HostTensor {
    let shape = array.shape().to_vec();
    let data = array.as_standard_layout().into_owned().into_raw_vec_and_offset().0;
    HostTensor::new(shape, data).expect("as long as its shape")
}

fn message(panic: Box<dyn std::any::Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => {
            panic.downcast::<&str>().map_or_else(|_| "unknown failure".into(), |text| text.to_string())
        }
    }
}

/// Panics of the libtorch thread are answers, not messages of their own.
fn quiet_worker() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if std::thread::current().name() != Some(THREAD) {
                usual(info);
            }
        }));
    });
}

/// A network on libtorch as a method.
pub(crate) struct TorchReconstructor {
    network: TorchNetwork,
    card: MethodCard,
    /// Whose estimate the network takes in the place of the un-sheared snapshot.
    first: Option<Box<dyn Reconstructor>>,
    /// The mask that the network has.
    last: Mutex<Option<Mask>>,
}

impl TorchReconstructor {
    /// Wraps a network; `label` names its weights.
    pub(crate) fn new(
        network: TorchNetwork,
        listing: &Listing,
        first: Option<Box<dyn Reconstructor>>,
        label: String,
    ) -> Self {
        let card = MethodCard {
            name: listing.name,
            family: listing.family,
            summary: match listing.family {
                Family::BinaryNetwork => "binarized network, in floats on libtorch",
                _ if first.is_some() => "spectral-wise transformer on a solver's estimate, on libtorch",
                _ => "spectral-wise transformer, on libtorch",
            },
            source: listing.source,
            parameters: Vec::new(),
            weights: Some(label),
        };
        Self { network, card, first, last: Mutex::default() }
    }
}

impl Reconstructor for TorchReconstructor {
    fn describe(&self) -> &MethodCard {
        &self.card
    }

    fn reconstruct(
        &self,
        problem: &Problem<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Reconstruction, ReconstructError> {
        let other = |error: String| ReconstructError::Other(error);
        if let Some(([row, column], value)) = problem.snapshot.first_not_finite() {
            return Err(ReconstructError::NotFinite { row, column, value });
        }
        let instrument = problem.instrument;
        let start = Instant::now();
        let first = match &self.first {
            Some(first) => Some(first.reconstruct(problem, &mut Silent)?),
            None => None,
        };
        let unsheared = || cassi_optics::network_input(problem.snapshot, instrument);
        let scale = if first.is_some() { instrument.estimate_scale(problem.snapshot) } else { 1.0 };
        let features = match &first {
            Some(first) => first.cube.view().mapv(|v| v * scale),
            None => unsheared().map_err(|e| other(e.to_string()))?,
        };
        let scene = instrument.scene_shape(problem.snapshot.shape()).expect("as wide as the input needed");
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let mask = match self.network.form {
            MaskForm::None => JobMask::None,
            _ => {
                let mask = problem.require_mask(self.card.name)?;
                if mask.shape() != scene {
                    let (what, axes) = ("mask", "(row, column)");
                    let found = mask.shape().to_vec();
                    return Err(ShapeError { what, found, expected: format!("{scene:?}"), axes }.into());
                }
                if last.as_ref() == Some(mask) {
                    JobMask::Same
                } else {
                    let formed = self.network.plain_mask(mask.view(), instrument.bands(), instrument.step());
                    *last = Some(mask.clone());
                    JobMask::New(host(formed.expect("this network takes a mask").insert_axis(Axis(0))))
                }
            }
        };
        let answer = self.network.send(features.view(), mask, scene);
        if answer.is_err() {
            // Whether the mask arrived is not known.
            *last = None;
        }
        let mut data = answer.map_err(other)?;
        if self.network.layout == Layout::TsaReal {
            data.mapv_inplace(|v| v.clamp(0.0, 1.0));
        }
        if scale != 1.0 {
            data.mapv_inplace(|v| v / scale);
        }
        let elapsed = start.elapsed();
        let cube = Cube::new(data, instrument.wavelengths_nm.clone())?;
        let residual = problem.operator.map(|operator| {
            let y = problem.snapshot.as_slice();
            let mut again = vec![0.0; y.len()];
            operator.forward(cube.as_slice(), &mut again);
            let gap: f64 = again.iter().zip(y).map(|(a, y)| f64::from(a - y).powi(2)).sum();
            (gap / y.iter().map(|&y| f64::from(y).powi(2)).sum::<f64>().max(f64::MIN_POSITIVE)).sqrt()
        });
        observer.observe(&Progress {
            iteration: 1,
            iterations: 1,
            residual,
            objective: None,
            change: None,
            estimate: Some(cube.view()),
        });
        Ok(Reconstruction {
            cube,
            standard_deviation: None,
            samples: Vec::new(),
            trace: Vec::new(),
            iterations: 1,
            residual,
            elapsed,
            notes: first.map_or_else(Vec::new, |first| first.notes),
        })
    }
}
