//! Scenes and masks, packed once and kept in the memory of the training device.

use std::path::{Path, PathBuf};

use cassi_core::{Cube, InstrumentDescription, Mask, random::Stream};
use cassi_io::{ReadOptions, Source};
use cassi_optics::mask::{Grey, MaskRecipe, shipped, shipped_names};
use tch::{Device, Kind, Tensor};

use super::config::{DataSource, MaskSource, Storage, expand};
use super::{Event, TrainError};

/// A scene by name.
pub struct NamedScene {
    /// File name without its extension.
    pub name: String,
    /// On the instrument's wavelengths.
    pub cube: Cube,
}

/// Reads the cubes of a folder (in the order of their names) or a single one, on the instrument's wavelengths.
///
/// # Errors
/// If there is none, or one cannot be read.
pub fn read_scenes(path: &str, instrument: &InstrumentDescription) -> Result<Vec<NamedScene>, TrainError> {
    let path = expand(path)?;
    let folder = Path::new(&path);
    let files: Vec<PathBuf> = if folder.is_dir() {
        let mut files = cassi_io::list_folder(folder)?;
        files.retain(|f| {
            let extension = f.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
            ["h5", "hdf5", "mat", "npy", "npz"].contains(&extension.as_str())
        });
        files
    } else {
        vec![folder.into()]
    };
    if files.is_empty() {
        return Err(TrainError::Data {
            path,
            reason: "no cubes (.h5, .mat, .npy, .npz) in this folder".into(),
        });
    }
    files
        .into_iter()
        .map(|file| {
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let loaded = cassi_io::read_cube(&Source::from(file), &ReadOptions::default())?;
            Ok(NamedScene { name, cube: loaded.value.resample(&instrument.wavelengths_nm) })
        })
        .collect()
}

/// A mask from a file, or a shipped one by name.
///
/// # Errors
/// If there is neither.
pub fn read_mask(path: &str) -> Result<Mask, TrainError> {
    if shipped_names().any(|name| name == path) {
        return Ok(shipped(path)?);
    }
    Ok(cassi_io::read_plain_mask(&Source::parse(&expand(path)?))?.value)
}

/// A cube as a tensor `[band, row, column]` on the CPU.
pub fn cube_tensor(cube: &Cube) -> Tensor {
    let shape: Vec<i64> = cube.shape().iter().map(|&length| length as i64).collect();
    Tensor::from_slice(cube.as_slice()).view(&shape[..])
}

/// A mask as a tensor `[row, column]` on the CPU.
pub fn mask_tensor(mask: &Mask) -> Tensor {
    Tensor::from_slice(mask.as_slice()).view([mask.rows() as i64, mask.columns() as i64])
}

/// Things of several sources, each drawn with its source's probability.
#[derive(Debug)]
pub(crate) struct Pool {
    /// Tensors of every source, and the probability that a draw is at or before it.
    sources: Vec<(f64, Vec<Tensor>)>,
}

impl Pool {
    fn new(sources: Vec<(f64, Vec<Tensor>)>) -> Self {
        let total: f64 = sources.iter().map(|(weight, _)| weight).sum();
        let mut sum = 0.0;
        let sources = sources.into_iter().filter(|(weight, _)| *weight > 0.0).map(|(weight, tensors)| {
            sum += weight / total;
            (sum, tensors)
        });
        Self { sources: sources.collect() }
    }

    pub(crate) fn draw(&self, stream: &mut Stream) -> &Tensor {
        let at = stream.uniform();
        let (_, tensors) =
            self.sources.iter().find(|(upto, _)| at < *upto).or(self.sources.last()).expect("a source");
        &tensors[stream.below(tensors.len())]
    }

    pub(crate) fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.sources.iter().flat_map(|(_, tensors)| tensors)
    }

    pub(crate) fn len(&self) -> usize {
        self.tensors().count()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.tensors().map(|t| t.numel() * t.kind().elt_size_in_bytes()).sum()
    }
}

/// All scenes `[band, row, column]` of a training on its device.
pub(crate) fn scenes(
    sources: &[DataSource],
    instrument: &InstrumentDescription,
    storage: Storage,
    device: Device,
    sample: [usize; 2],
    events: &mut dyn FnMut(Event),
) -> Result<Pool, TrainError> {
    let kind = match storage {
        Storage::F32 => Kind::Float,
        Storage::F16 => Kind::Half,
    };
    let mut pools = Vec::new();
    for source in sources {
        let mut tensors = Vec::new();
        for scene in read_scenes(&source.path, instrument)? {
            let [_, rows, columns] = scene.cube.shape();
            if rows < sample[0] || columns < sample[1] {
                let reason = format!(
                    "`{}` has {rows} x {columns} pixels, fewer than the samples ({} x {})",
                    scene.name, sample[0], sample[1]
                );
                return Err(TrainError::Data { path: source.path.clone(), reason });
            }
            let mut tensor = cube_tensor(&scene.cube);
            if source.normalise {
                tensor = &tensor / tensor.max().clamp_min(1e-6);
            }
            tensors.push(tensor.to_kind(kind).to_device(device));
        }
        events(Event::Note(format!("{}: {} scenes", source.path, tensors.len())));
        pools.push((source.weight, tensors));
    }
    let pool = Pool::new(pools);
    let megabytes = pool.bytes() as f64 / 1e6;
    events(Event::Note(format!("{} scenes, {megabytes:.0} MB on the device", pool.len())));
    Ok(pool)
}

/// Side of the masks that are made; samples take windows of them.
const MADE_SIDE: usize = 320;

/// All masks `[row, column]` of a training on its device. Masks smaller than `smallest` are repeated like tiles.
pub(crate) fn masks(
    sources: &[MaskSource],
    seed: u64,
    device: Device,
    smallest: usize,
) -> Result<Pool, TrainError> {
    let side = MADE_SIDE.max(smallest);
    let mut pools = Vec::new();
    for (number, source) in sources.iter().enumerate() {
        let mut stream = Stream::new(seed, "train/masks", number as u64);
        let mut made = Vec::new();
        match source {
            MaskSource::Given { path, .. } => {
                let mask = read_mask(path)?;
                let (rows, columns) = (mask.rows().max(smallest), mask.columns().max(smallest));
                made.push(cassi_optics::mask::fit_to(&mask, rows, columns).0);
            }
            MaskSource::Bernoulli { open, count, .. } => {
                for _ in 0..*count {
                    let recipe = MaskRecipe::Bernoulli { open_fraction: stream.uniform_in(open[0], open[1]) };
                    made.push(recipe.generate(side, side, stream.below(1 << 53) as u64)?);
                }
            }
            MaskSource::Grey { open, cell, blur, exposure, black, count, .. } => {
                for _ in 0..*count {
                    let mut draw = |[low, high]: [f64; 2]| stream.uniform_in(low, high);
                    let recipe = Grey {
                        open_fraction: draw(*open),
                        cell: draw(*cell),
                        blur: draw(*blur),
                        exposure: draw(*exposure),
                        black: draw(*black),
                        ..Grey::default()
                    };
                    made.push(MaskRecipe::Grey(recipe).generate(side, side, stream.below(1 << 53) as u64)?);
                }
            }
        }
        pools.push((source.weight(), made.iter().map(|mask| mask_tensor(mask).to_device(device)).collect()));
    }
    Ok(Pool::new(pools))
}
