//! The solver whose estimate a network refines (`gap-tv+mst-s`), in the place of the snapshot.
//!
//! It runs on the CPU, a sample a thread, whatever device the network is on.

use cassi_core::{
    InstrumentDescription, Mask, NoiseLevel, Problem, Reconstructor, Silent, Snapshot, refinement,
};
use cassi_optics::SdCassi;
use cassi_solvers::GapTv;
use ndarray::Array2;
use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

use super::TrainError;

/// A solver and the instrument whose snapshots it gets.
pub struct First {
    solver: GapTv,
    instrument: InstrumentDescription,
}

impl First {
    /// The solver of a method, if it has one.
    ///
    /// # Errors
    /// If the solver is another than `gap-tv`.
    pub fn of(method: &str, instrument: &InstrumentDescription) -> Result<Option<Self>, TrainError> {
        match refinement(method) {
            (None, _) => Ok(None),
            (Some("gap-tv"), _) => {
                Ok(Some(Self { solver: GapTv::default(), instrument: instrument.clone() }))
            }
            (Some(other), _) => Err(TrainError::Config {
                origin: format!("method `{method}`"),
                reason: format!("no solver `{other}` to start from; it is `gap-tv`"),
            }),
        }
    }

    /// Estimates `[n, band, row, column]` of snapshots `[n, row, sheared column]` through masks `[n or 1, 1, row,
    /// column]`, with `noise` of each snapshot, on the device of the snapshots.
    ///
    /// # Panics
    /// If a snapshot or a mask holds a number that is not finite.
    pub fn estimates(&self, snapshots: &Tensor, masks: &Tensor, noise: &[NoiseLevel]) -> Tensor {
        let [snapshots_here, masks] =
            [snapshots, masks].map(|t| t.to_device(Device::Cpu).to_kind(Kind::Float));
        let (n, rows, sheared) = snapshots_here.size3().expect("[n, row, sheared column]");
        let (_, _, _, columns) = masks.size4().expect("[n, 1, row, column]");
        let plane = |t: &Tensor, rows: i64, columns: i64| {
            let mut values = Array2::zeros((rows as usize, columns as usize));
            let flat = values.as_slice_mut().expect("in C order");
            t.contiguous().copy_data(flat, flat.len());
            values
        };
        let problems: Vec<(Snapshot, Mask)> = (0..n)
            .map(|i| {
                let mask = masks.select(0, i.min(masks.size()[0] - 1));
                let snapshot = plane(&snapshots_here.select(0, i), rows, sheared);
                let snapshot = Snapshot::new(snapshot).expect("a snapshot has pixels");
                (snapshot, Mask::new(plane(&mask, rows, columns)).expect("a mask has pixels"))
            })
            .collect();
        let (bands, step) = (self.instrument.bands(), self.instrument.step());
        let estimates: Vec<Vec<f32>> = problems
            .par_iter()
            .zip(noise)
            .map(|((snapshot, mask), &noise)| {
                let operator = SdCassi::new(mask, bands, step);
                let problem = Problem {
                    snapshot,
                    instrument: &self.instrument,
                    operator: Some(&operator),
                    mask: Some(mask),
                    noise,
                    warm_start: None,
                };
                let result = self.solver.reconstruct(&problem, &mut Silent);
                result.expect("snapshots of the instrument that are finite").cube.as_slice().to_vec()
            })
            .collect();
        let stacked: Vec<Tensor> = estimates.iter().map(|estimate| Tensor::from_slice(estimate)).collect();
        Tensor::stack(&stacked, 0).view([n, bands as i64, rows, columns]).to_device(snapshots.device())
    }
}
