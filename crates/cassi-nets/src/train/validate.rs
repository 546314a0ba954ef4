//! Judging a network on fixed scenes through a fixed mask, without noise.

use cassi_core::card::CardScores;
use cassi_core::metrics::Scores;
use cassi_core::{Cube, InputConvention, InstrumentDescription, Mask, NoiseLevel};
use cassi_optics::mask::fit_to;
use tch::{Device, Kind, Tensor};

use super::data::{NamedScene, cube_tensor, mask_tensor};
use super::first::First;
use crate::arch::layers::{shear, unshear_snapshot};
use crate::arch::{MaskForm, Network};

/// A scene's figures.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SceneScore {
    /// The scene.
    pub name: String,
    /// In all conventions, the estimate not clamped.
    pub scores: CardScores,
}

/// Mean over scenes.
pub fn mean(scores: &[SceneScore]) -> CardScores {
    CardScores::mean(scores.iter().map(|scene| &scene.scores))
}

/// What a network takes of a scene seen through a mask without noise: features and mask, for a batch of one.
///
/// With a solver to start from, features are its estimate. Networks for the real instrument take the snapshot clipped to
/// [0, 1], divided by its maximum, times the peak; their estimate is in that scale, too, so the truth has to be scaled
/// alike: the third value is that factor.
pub fn network_input(
    cube: &Cube,
    mask: &Mask,
    instrument: &InstrumentDescription,
    form: MaskForm,
    first: Option<&First>,
    device: Device,
) -> (Tensor, Option<Tensor>, f64) {
    let (mask, _) = fit_to(mask, cube.rows(), cube.columns());
    let plane = mask_tensor(&mask).to_device(device);
    let truth = cube_tensor(cube).to_device(device);
    let (bands, step) = (cube.bands() as i64, instrument.step() as i64);
    let repeated = plane.expand([1, bands, cube.rows() as i64, cube.columns() as i64], false);
    let sheared = shear(&(truth.unsqueeze(0) * &repeated), step);
    let snapshot = sheared.sum_dim_intlist(1, false, Kind::Float);
    let (features, factor) = match (first, instrument.network_input) {
        (Some(first), _) => {
            let mask = plane.view([1, 1, cube.rows() as i64, -1]);
            (first.estimates(&snapshot, &mask, &[NoiseLevel::Known(0.0)]), 1.0)
        }
        (None, InputConvention::Unsheared { gain }) => {
            (unshear_snapshot(&(snapshot / bands as f64 * f64::from(gain)), bands, step), 1.0)
        }
        (None, InputConvention::Normalised { peak }) => {
            // In training the network sees 1.2 · 2 / bands times the sum.
            let largest = snapshot.max().double_value(&[]).max(1e-12);
            let factor = f64::from(peak) / largest;
            (snapshot * factor, factor * bands as f64 / 2.4)
        }
    };
    let mask = match form {
        MaskForm::None => None,
        MaskForm::Plain => Some(repeated.contiguous()),
        MaskForm::Sheared => Some(shear(&repeated, step)),
    };
    (features, mask, factor)
}

/// Scores of all scenes, by way of the `first` solver's estimates if the network refines them; `seen` gets every truth
/// and estimate `[band, row, column]` on the CPU.
pub fn validate(
    network: &dyn Network,
    scenes: &[NamedScene],
    mask: &Mask,
    instrument: &InstrumentDescription,
    first: Option<&First>,
    device: Device,
    mut seen: impl FnMut(usize, &Tensor, &Tensor),
) -> Vec<SceneScore> {
    let score = |(i, scene): (usize, &NamedScene)| {
        tch::no_grad(|| {
            let (features, mask, factor) =
                network_input(&scene.cube, mask, instrument, network.mask_form(), first, device);
            let estimate = network.forward(&features, mask.as_ref(), false).squeeze_dim(0) / factor;
            let estimate = estimate.to_kind(Kind::Float).to_device(Device::Cpu);
            let truth = cube_tensor(&scene.cube);
            seen(i, &truth, &estimate);
            let mut cube = scene.cube.clone();
            estimate.copy_data(cube.as_mut_slice(), estimate.numel());
            let scores = Scores::compute(&scene.cube, &cube).expect("of one shape");
            SceneScore { name: scene.name.clone(), scores: CardScores::from(&scores) }
        })
    };
    scenes.iter().enumerate().map(score).collect()
}
