//! The adapter to [`cassi_core::Reconstructor`]: from snapshot and mask to the network's input by the instrument's
//! convention, and back to a cube.

use std::sync::Mutex;
use std::time::Instant;

use cassi_core::{
    Control, Cube, Family, InputConvention, MethodCard, Observer, Problem, Progress, ReconstructError,
    Reconstruction, Reconstructor, ShapeError,
};
use ndarray::Array3;

use super::net::BANDS;
use super::{BinaryNetwork, Input, Layout, Workspace};

/// A network as a method. Calls share one workspace, so they run one after the other (each on all threads of the
/// current rayon pool).
///
/// For a sequence of snapshots keep one `BinaryReconstructor` and call [`Reconstructor::reconstruct`] for each: from the
/// second snapshot of a size on, the only large allocation is the cube that is returned (and the simulated snapshot for
/// the residual, where the problem has an operator). The workspace is planned anew when size or thread count change.
/// Whoever wants to keep the cube's memory too calls [`BinaryNetwork::run`] with a [`Workspace`] of their own.
#[derive(Debug)]
pub struct BinaryReconstructor {
    network: BinaryNetwork,
    card: MethodCard,
    workspace: Mutex<Buffers>,
}

#[derive(Debug, Default)]
struct Buffers {
    workspace: Workspace,
    input: Vec<f32>,
}

impl BinaryReconstructor {
    /// Wraps a network; `weights` says whose weights they are (name and SHA-256).
    pub fn new(network: BinaryNetwork, weights: Option<String>) -> Self {
        let method = network.method();
        let card = MethodCard {
            name: method.name(),
            family: Family::BinaryNetwork,
            summary: method.summary(),
            source: method.source(),
            parameters: vec![],
            weights,
        };
        Self { network, card, workspace: Mutex::default() }
    }

    /// The network inside.
    pub fn network(&self) -> &BinaryNetwork {
        &self.network
    }
}

impl Reconstructor for BinaryReconstructor {
    fn describe(&self) -> &MethodCard {
        &self.card
    }

    fn reconstruct(
        &self,
        problem: &Problem<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Reconstruction, ReconstructError> {
        let (rows, columns) = self.check(problem)?;
        let mut buffers = self.workspace.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Buffers { workspace, input } = &mut *buffers;
        let mut cube = Array3::zeros((BANDS, rows, columns));
        let start = Instant::now();
        input.clear();
        let snapshot = problem.snapshot.as_slice();
        let prepared = match problem.instrument.network_input {
            InputConvention::Unsheared { gain } => {
                let sheared = problem.snapshot.columns();
                for band in 0..BANDS {
                    let window = problem.instrument.step() * band;
                    for row in snapshot.chunks_exact(sheared) {
                        input.extend(row[window..window + columns].iter().map(|y| y / BANDS as f32 * gain));
                    }
                }
                let mask = problem.require_mask(self.card.name)?.as_slice();
                Input::Standard { features: input, mask, rows, columns }
            }
            InputConvention::Normalised { peak } => {
                let largest = snapshot.iter().fold(0f32, |m, y| m.max(y.clamp(0.0, 1.0)));
                let largest = if largest > 0.0 { largest } else { 1.0 };
                input.extend(snapshot.iter().map(|y| y.clamp(0.0, 1.0) / largest * peak));
                Input::Real { snapshot: input, rows, columns }
            }
        };
        let values = cube.as_slice_mut().expect("C order");
        self.network.run(prepared, workspace, values).map_err(|e| ReconstructError::Other(e.to_string()))?;
        if matches!(prepared, Input::Real { .. }) {
            values.iter_mut().for_each(|v| *v = v.clamp(0.0, 1.0));
        }
        let elapsed = start.elapsed();
        drop(buffers);
        let residual = problem.operator.map(|operator| {
            let mut y = vec![0.0; snapshot.len()];
            operator.forward(cube.as_slice().expect("C order"), &mut y);
            let norm = |values: &mut dyn Iterator<Item = f32>| {
                values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt()
            };
            let misfit = norm(&mut y.iter().zip(snapshot).map(|(a, b)| b - a));
            misfit / norm(&mut snapshot.iter().copied()).max(f64::MIN_POSITIVE)
        });
        let cube = Cube::new(cube, problem.instrument.wavelengths_nm.clone())?;
        let progress = Progress {
            iteration: 1,
            iterations: 1,
            residual,
            objective: None,
            change: None,
            estimate: Some(cube.view()),
        };
        // There is no further step to stop.
        let (Control::Continue | Control::Stop) = observer.observe(&progress);
        Ok(Reconstruction {
            cube,
            standard_deviation: None,
            samples: vec![],
            trace: vec![],
            iterations: 1,
            residual,
            elapsed,
            notes: vec![],
        })
    }
}

impl BinaryReconstructor {
    /// Whether the problem is one for this network; rows and columns of the scene.
    fn check(&self, problem: &Problem<'_>) -> Result<(usize, usize), ReconstructError> {
        let instrument = problem.instrument;
        let fits = matches!(
            (instrument.network_input, self.network.layout()),
            (InputConvention::Unsheared { .. }, Layout::Standard)
                | (InputConvention::Normalised { .. }, Layout::TsaReal)
        );
        if !fits
            || instrument.bands() != BANDS
            || (self.network.layout() == Layout::TsaReal && instrument.step() != 2)
        {
            return Err(ReconstructError::Other(format!(
                "these {} weights are for instruments like `{}` ({BANDS} bands, step 2), and `{}` is another kind",
                self.card.name,
                self.network.layout(),
                instrument.name
            )));
        }
        if let Some(([row, column], value)) = problem.snapshot.first_not_finite() {
            return Err(ReconstructError::NotFinite { row, column, value });
        }
        let [rows, sheared] = problem.snapshot.shape();
        let columns =
            cassi_core::shear::unsheared_columns(sheared, BANDS, instrument.step()).ok_or_else(|| {
                ShapeError {
                    what: "snapshot",
                    found: vec![rows, sheared],
                    expected: format!("more than {} columns", instrument.step() * (BANDS - 1)),
                    axes: "(row, column)",
                }
            })?;
        if self.network.layout() == Layout::Standard {
            let mask = problem.require_mask(self.card.name)?;
            if mask.shape() != [rows, columns] {
                return Err(ReconstructError::Shape(ShapeError {
                    what: "mask",
                    found: mask.shape().to_vec(),
                    expected: format!("[{rows}, {columns}]"),
                    axes: "(row, column)",
                }));
            }
        }
        Ok((rows, columns))
    }
}
