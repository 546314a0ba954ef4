//! The card that travels with a network's weights: what they are for, where they come from, how good they are.
//!
//! Plain data; files are the business of others. A card lies beside its weights as `NAME.toml`.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::metrics::Scores;
use crate::{InputConvention, InstrumentDescription};

/// What has to be known of weights before they are used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightsCard {
    /// Their name, e.g. `mst-s`.
    pub name: String,
    /// The method they belong to, e.g. `mst-s`.
    pub method: String,
    /// Bands of the cube.
    pub bands: usize,
    /// Channels at full resolution.
    pub width: usize,
    /// Columns of dispersion per band.
    pub columns_per_band: usize,
    /// The instrument they were trained for.
    pub instrument: String,
    /// SHA-256 of the weights file, in lower-case hexadecimal.
    pub sha256: String,
    /// Terms of use.
    pub licence: String,
    /// Which masks they are for.
    pub mask: MaskPolicy,
    /// What the network takes.
    pub network_input: InputConvention,
    /// What not to expect of them, for those who use them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<String>,
    /// How they were made, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<CardTraining>,
    /// How good they are on the fixed validation set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<CardMetrics>,
}

/// What weights and their use disagree on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the card says {what} {stated}, but {found}")]
pub struct CardMismatch {
    /// Which entry of the card, e.g. `SHA-256`.
    pub what: &'static str,
    /// What the card says.
    pub stated: String,
    /// What was met, as a clause, e.g. "the file has 1a2b...".
    pub found: String,
}

impl WeightsCard {
    /// Whether these weights serve snapshots of an instrument: the same bands, dispersion and network input, under the
    /// name that the card gives or under another for the same wavelengths. `named` is the instrument that is known by
    /// the card's name, where one is.
    ///
    /// # Errors
    /// What differs first, with both values.
    pub fn check_instrument(
        &self,
        instrument: &InstrumentDescription,
        named: Option<&InstrumentDescription>,
    ) -> Result<(), CardMismatch> {
        let mismatch = |what, stated: String, found: String| {
            let found = format!("instrument `{}` has {found}", instrument.name);
            Err(CardMismatch { what, stated, found })
        };
        let same_light = named.is_some_and(|named| named.wavelengths_nm == instrument.wavelengths_nm);
        if self.instrument != instrument.name && !same_light {
            let found = format!("the snapshot is of instrument `{}`", instrument.name);
            return Err(CardMismatch { what: "instrument", stated: format!("`{}`", self.instrument), found });
        }
        if self.network_input != instrument.network_input {
            let [stated, found] = [self.network_input, instrument.network_input].map(in_words);
            return mismatch("network input", format!("{stated} (instrument `{}`)", self.instrument), found);
        }
        if self.bands != instrument.bands() {
            return mismatch("bands", self.bands.to_string(), instrument.bands().to_string());
        }
        if self.columns_per_band != instrument.step() {
            let [stated, found] = [self.columns_per_band, instrument.step()].map(|step| step.to_string());
            return mismatch("columns per band", stated, found);
        }
        Ok(())
    }

    /// Whether the file that the card lies beside is the one it speaks of.
    ///
    /// # Errors
    /// Both hashes, if they differ.
    pub fn check_sha256(&self, found: &str) -> Result<(), CardMismatch> {
        if self.sha256.eq_ignore_ascii_case(found) {
            return Ok(());
        }
        let found = format!("the file has {found}");
        Err(CardMismatch { what: "SHA-256", stated: self.sha256.clone(), found })
    }

    /// Whether the weights are those of a method.
    ///
    /// # Errors
    /// Both names, if they differ.
    pub fn check_method(&self, asked: &str) -> Result<(), CardMismatch> {
        if self.method == asked {
            return Ok(());
        }
        let stated = format!("`{}`", self.method);
        Err(CardMismatch { what: "method", stated, found: format!("`{asked}` was asked for") })
    }
}

/// Which masks weights are for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum MaskPolicy {
    /// Trained over many: any mask of the instrument's scale.
    Any,
    /// One mask alone, by the SHA-256 of its values (`f32`, little-endian, row by row).
    Only(String),
}

fn in_words(input: InputConvention) -> String {
    match input {
        InputConvention::Unsheared { gain } => format!("un-sheared snapshot, gain {gain}"),
        InputConvention::Normalised { peak } => format!("normalised snapshot, peak {peak}"),
    }
}

impl fmt::Display for MaskPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any mask"),
            Self::Only(sha256) => write!(f, "the mask {} alone", sha256.chars().take(12).collect::<String>()),
        }
    }
}

/// How weights were made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardTraining {
    /// Scenes they were trained on.
    pub data: Vec<String>,
    /// The command.
    pub command: String,
    /// Its seed.
    pub seed: u64,
    /// Optimiser steps up to these weights.
    pub steps: u64,
    /// Samples seen.
    pub samples: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// Table of the run, loss, rate and validation over steps: a file beside the card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// On what, e.g. `cpu, 2 threads`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Version of the program.
    pub version: String,
}

/// Scores on the fixed validation set, seen through one mask.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardMetrics {
    /// SHA-256 of the mask used.
    pub mask_sha256: String,
    /// The noise of the snapshots, e.g. `binomial:0.4,2048`; absent where they have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise: Option<String>,
    /// Mean over the scenes.
    pub mean: CardScores,
    /// Scene by scene.
    pub scenes: BTreeMap<String, CardScores>,
}

impl CardMetrics {
    /// The scores of scenes without noise and their mean, to a thousandth of a decibel and of a degree and a hundred-thousandth of an
    /// SSIM.
    pub fn new(mask_sha256: String, scenes: BTreeMap<String, CardScores>) -> Self {
        let mean = CardScores::mean(scenes.values()).rounded();
        let scenes = scenes.into_iter().map(|(name, scores)| (name, scores.rounded())).collect();
        Self { mask_sha256, noise: None, mean, scenes }
    }
}

/// PSNR (dB) and SSIM in the three conventions of [`crate::metrics`], and the spectral angle in degrees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardScores {
    /// [`Scores::psnr_unit_peak`].
    pub psnr_unit_peak: f64,
    /// [`Scores::psnr_mst`].
    pub psnr_mst: f64,
    /// [`Scores::psnr_matlab`].
    pub psnr_matlab: f64,
    /// [`Scores::ssim_unit_peak`].
    pub ssim_unit_peak: f64,
    /// [`Scores::ssim_mst`].
    pub ssim_mst: f64,
    /// [`Scores::ssim_matlab`].
    pub ssim_matlab: f64,
    /// [`Scores::sam_deg`].
    pub sam_deg: f64,
}

impl CardScores {
    /// Figure by figure; zeros for no scores at all.
    pub fn mean<'a>(scores: impl Iterator<Item = &'a Self>) -> Self {
        let (mut sum, mut count) = (Self::default(), 0.0);
        for score in scores {
            let mut own = *score;
            sum.figures_mut().into_iter().zip(own.figures_mut()).for_each(|(sum, own)| *sum += *own);
            count += 1.0;
        }
        sum.figures_mut().into_iter().for_each(|total| *total /= f64::max(count, 1.0));
        sum
    }

    fn rounded(self) -> Self {
        let round = |value: f64, unit: f64| (value * unit).round() / unit;
        Self {
            psnr_unit_peak: round(self.psnr_unit_peak, 1e3),
            psnr_mst: round(self.psnr_mst, 1e3),
            psnr_matlab: round(self.psnr_matlab, 1e3),
            ssim_unit_peak: round(self.ssim_unit_peak, 1e5),
            ssim_mst: round(self.ssim_mst, 1e5),
            ssim_matlab: round(self.ssim_matlab, 1e5),
            sam_deg: round(self.sam_deg, 1e3),
        }
    }

    fn figures_mut(&mut self) -> [&mut f64; 7] {
        let Self { psnr_unit_peak, psnr_mst, psnr_matlab, ssim_unit_peak, ssim_mst, ssim_matlab, sam_deg } =
            self;
        [psnr_unit_peak, psnr_mst, psnr_matlab, ssim_unit_peak, ssim_mst, ssim_matlab, sam_deg]
    }
}

impl From<&Scores> for CardScores {
    fn from(scores: &Scores) -> Self {
        Self {
            psnr_unit_peak: scores.psnr_unit_peak,
            psnr_mst: scores.psnr_mst,
            psnr_matlab: scores.psnr_matlab,
            ssim_unit_peak: scores.ssim_unit_peak,
            ssim_mst: scores.ssim_mst,
            ssim_matlab: scores.ssim_matlab,
            sam_deg: scores.sam_deg,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Camera, Dispersion, SceneSize, Wavelengths};

    fn instrument(name: &str) -> InstrumentDescription {
        InstrumentDescription {
            name: name.into(),
            summary: String::new(),
            scene: SceneSize { rows: 256, columns: 256 },
            wavelengths_nm: Wavelengths::benchmark(),
            dispersion: Dispersion { columns_per_band: 2 },
            default_mask: None,
            camera: Camera::default(),
            network_input: InputConvention::Unsheared { gain: 2.0 },
        }
    }

    fn card() -> WeightsCard {
        WeightsCard {
            name: "mst-s".into(),
            method: "mst-s".into(),
            bands: 28,
            width: 28,
            columns_per_band: 2,
            instrument: "standard".into(),
            sha256: "ab".repeat(32),
            licence: "MIT".into(),
            mask: MaskPolicy::Any,
            network_input: InputConvention::Unsheared { gain: 2.0 },
            limits: None,
            training: None,
            metrics: None,
        }
    }

    #[test]
    fn a_card_serves_its_instrument_and_one_of_the_same_light() {
        let (own, mine) = (instrument("standard"), instrument("mine"));
        card().check_instrument(&own, None).unwrap();
        card().check_instrument(&mine, Some(&own)).unwrap();
        let error = card().check_instrument(&mine, None).unwrap_err().to_string();
        assert!(error.contains("`standard`") && error.contains("`mine`"), "{error}");
        let mut wider = instrument("standard");
        wider.dispersion.columns_per_band = 3;
        let error = card().check_instrument(&wider, None).unwrap_err().to_string();
        assert!(error.contains("columns per band 2") && error.contains("has 3"), "{error}");
        let mut real = instrument("standard");
        real.network_input = InputConvention::Normalised { peak: 0.8 };
        let error = card().check_instrument(&real, None).unwrap_err().to_string();
        assert!(error.contains("gain 2") && error.contains("peak 0.8"), "{error}");
    }

    #[test]
    fn hash_and_method_are_told_both_ways() {
        card().check_sha256(&"AB".repeat(32)).unwrap();
        let error = card().check_sha256("0123").unwrap_err().to_string();
        assert!(error.contains("abab") && error.contains("0123"), "{error}");
        let error = card().check_method("mst-l").unwrap_err().to_string();
        assert!(error.contains("`mst-s`") && error.contains("`mst-l`"), "{error}");
    }

    #[test]
    fn means_are_taken_figure_by_figure() {
        let score = |v: f64| CardScores { psnr_unit_peak: v, ssim_mst: v / 100.0, ..CardScores::default() };
        let scenes = BTreeMap::from([("a".to_string(), score(20.0)), ("b".to_string(), score(30.00002))]);
        let metrics = CardMetrics::new("00".into(), scenes);
        assert_eq!(
            metrics.mean,
            CardScores { psnr_unit_peak: 25.0, ssim_mst: 0.25, ..CardScores::default() }
        );
        assert_eq!(CardScores::mean([].iter()), CardScores::default());
    }
}
