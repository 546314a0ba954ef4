//! MST and MST++ as a [`Reconstructor`]: from snapshot and mask to the network's input, and back to a cube.

use std::sync::Mutex;
use std::time::Instant;

use cassi_core::{
    Cube, Family, InputConvention, MethodCard, Observer, Problem, Progress, ReconstructError, Reconstruction,
    Reconstructor, ShapeError, Silent,
};
use ndarray::{ArrayView3, ShapeBuilder};

use super::{Layout, MaskInput, MaskShift, MstNetwork, PreparedMask, Variant, Workspace};

/// A network with its memory and the features of the last mask.
pub struct MstReconstructor {
    network: MstNetwork,
    card: MethodCard,
    /// Whose estimate the network takes in the place of the un-sheared snapshot.
    first: Option<Box<dyn Reconstructor>>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    workspace: Workspace,
    scaled: Vec<f32>,
    /// The last mask's values and what the network made of them.
    mask: Option<(Vec<f32>, [usize; 2], PreparedMask)>,
}

impl MstReconstructor {
    /// Wraps a network; `weights` names its weights and their hash.
    pub fn new(network: MstNetwork, weights: Option<String>) -> Self {
        let (summary, source) = match network.variant() {
            Variant::MstPp => (
                "MST++, three stages of spectral-wise transformer, on fused float kernels",
                "Cai, Lin, Lin, Wang, Zhang, Pfister, Timofte, Van Gool, CVPRW 2022",
            ),
            _ => (
                "mask-guided spectral-wise transformer, on fused float kernels",
                "Cai, Lin, Hu, Wang, Yuan, Zhang, Timofte, Van Gool, CVPR 2022",
            ),
        };
        let name = network.variant().name();
        let card =
            MethodCard { name, family: Family::Network, summary, source, parameters: Vec::new(), weights };
        Self { network, card, first: None, kept: Mutex::default() }
    }

    /// The same network on estimates of another method, which it was trained to refine, under the name of both.
    pub fn refining(self, first: Box<dyn Reconstructor>, name: &'static str, summary: &'static str) -> Self {
        let card = MethodCard { name, summary, ..self.card };
        Self { card, first: Some(first), ..self }
    }

    /// Rows and columns of the scene, if the network is for such snapshots.
    fn scene(&self, problem: &Problem<'_>) -> Result<[usize; 2], ReconstructError> {
        let instrument = problem.instrument;
        let bands = instrument.bands();
        if bands != self.network.bands() {
            return Err(ReconstructError::Other(format!(
                "{} has weights for {} bands, and instrument `{}` has {bands}; pass weights trained for it with --weights",
                self.card.name,
                self.network.bands(),
                instrument.name
            )));
        }
        instrument.scene_shape(problem.snapshot.shape()).ok_or_else(|| {
            ReconstructError::Shape(ShapeError {
                what: "snapshot",
                found: problem.snapshot.shape().to_vec(),
                expected: format!("more than {} columns", instrument.step() * (bands - 1)),
                axes: "(row, column)",
            })
        })
    }

    /// Scales a snapshot as the network's input wants it.
    fn scale(&self, problem: &Problem<'_>, scaled: &mut Vec<f32>) -> Result<(), ReconstructError> {
        let instrument = problem.instrument;
        let snapshot = problem.snapshot.as_slice();
        scaled.clear();
        match (instrument.network_input, self.network.layout()) {
            (InputConvention::Unsheared { gain }, Layout::Standard) => {
                let bands = instrument.bands() as f32;
                scaled.extend(snapshot.iter().map(|y| y / bands * gain));
            }
            (InputConvention::Normalised { peak }, Layout::TsaReal) => {
                let largest = snapshot.iter().fold(0f32, |m, v| m.max(v.clamp(0.0, 1.0)));
                let largest = if largest > 0.0 { largest } else { 1.0 };
                scaled.extend(snapshot.iter().map(|y| y.clamp(0.0, 1.0) / largest * peak));
            }
            _ => {
                return Err(ReconstructError::Other(format!(
                    "{}: these weights are for another kind of input than instrument `{}` gives; pass others with --weights",
                    self.card.name, instrument.name
                )));
            }
        }
        Ok(())
    }
}

impl Reconstructor for MstReconstructor {
    fn describe(&self) -> &MethodCard {
        &self.card
    }

    fn reconstruct(
        &self,
        problem: &Problem<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Reconstruction, ReconstructError> {
        if let Some(([row, column], value)) = problem.snapshot.first_not_finite() {
            return Err(ReconstructError::NotFinite { row, column, value });
        }
        let mut kept = self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Kept { workspace, scaled, mask: cached } = &mut *kept;
        let start = Instant::now();
        let [rows, columns] = self.scene(problem)?;
        let mut first = match &self.first {
            Some(first) => Some(first.reconstruct(problem, &mut Silent)?),
            None => {
                self.scale(problem, scaled)?;
                None
            }
        };
        let mask = match self.network.layout() {
            Layout::Standard => Some(problem.require_mask(self.card.name)?),
            Layout::TsaReal => None,
        };
        let values = mask.map_or(&[][..], |mask| mask.as_slice());
        let fits = |(kept, size, _): &(Vec<f32>, [usize; 2], PreparedMask)| {
            kept == values && *size == [rows, columns]
        };
        if !cached.as_ref().is_some_and(fits) {
            let input = mask.map(|mask| MaskInput::Plain(mask.view()));
            let prepared = self.network.prepare_mask(input, rows, columns, MaskShift::Level)?;
            *cached = Some((values.to_vec(), [rows, columns], prepared));
        }
        let (_, _, prepared) = cached.as_ref().expect("made above");
        let mut data = match &mut first {
            Some(first) => {
                let scale = problem.instrument.estimate_scale(problem.snapshot);
                first.cube.as_mut_slice().iter_mut().for_each(|v| *v *= scale);
                let mut refined = self.network.run(first.cube.view(), prepared, workspace)?;
                refined.mapv_inplace(|v| v / scale);
                refined
            }
            None => {
                // Window b of the snapshot starts at column b · step: a matter of strides, not of copies.
                let (bands, step) = (self.network.bands(), problem.instrument.step());
                let strides = (step, problem.snapshot.shape()[1], 1);
                let windows = ArrayView3::from_shape((bands, rows, columns).strides(strides), &scaled[..])
                    .expect("the windows lie in the snapshot");
                self.network.run(windows, prepared, workspace)?
            }
        };
        if self.network.layout() == Layout::TsaReal {
            data.mapv_inplace(|v| v.clamp(0.0, 1.0));
        }
        let elapsed = start.elapsed();
        let cube = Cube::new(data, problem.instrument.wavelengths_nm.clone())?;
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
