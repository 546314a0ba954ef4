//! Scenes and masks, packed once and kept in the memory of the training device.

use std::path::Path;

use cassi_core::{Cube, InstrumentDescription, Mask, random::Stream};
use cassi_io::{ReadOptions, Source};
use cassi_optics::mask::{Grey, MaskRecipe, shipped, shipped_names};
use cassi_scene::SceneRecipe;
use tch::{Device, Kind, Tensor};

use super::config::{DataSource, MaskSource, Procedural, Storage, expand};
use super::{Event, TrainError};

/// A scene by name.
pub struct NamedScene {
    /// File name without its extension.
    pub name: String,
    /// On the instrument's wavelengths.
    pub cube: Cube,
}

/// Reads the cubes of a folder (in the order of their names) or of a file (all of them, or the one named as
/// `FILE:VARIABLE`), on the instrument's wavelengths.
///
/// # Errors
/// If there is none, or one cannot be read.
pub fn read_scenes(path: &str, instrument: &InstrumentDescription) -> Result<Vec<NamedScene>, TrainError> {
    let path = expand(path)?;
    let folder = Path::new(&path);
    let sources: Vec<Source> = if folder.is_dir() {
        let mut files = cassi_io::list_folder(folder)?;
        files.retain(|f| {
            let extension = f.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
            ["h5", "hdf5", "mat", "npy", "npz"].contains(&extension.as_str())
        });
        files.into_iter().map(Source::from).collect()
    } else {
        cubes_of(Source::parse(&path))?
    };
    if sources.is_empty() {
        return Err(TrainError::Data {
            path,
            reason: "no cubes (.h5, .mat, .npy, .npz) in this folder".into(),
        });
    }
    sources
        .into_iter()
        .map(|source| {
            let mut name = source.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if let Some(variable) = &source.variable {
                name = format!("{name}:{variable}");
            }
            let loaded = cassi_io::read_cube(&source, &ReadOptions::default())?;
            Ok(NamedScene { name, cube: loaded.value.resample(&instrument.wavelengths_nm) })
        })
        .collect()
}

/// Every cube of a packed file: arrays of three axes by name, items of four axes by number.
fn cubes_of(source: Source) -> Result<Vec<Source>, TrainError> {
    if source.variable.is_some() {
        return Ok(vec![source]);
    }
    let contents = cassi_io::read_contents(&source.path)?;
    let named = |variable: String| Source { path: source.path.clone(), variable: Some(variable) };
    let cubes: Vec<Source> = (contents.variables.iter())
        .flat_map(|v| match v.shape[..] {
            [_, _, _] => vec![named(v.name.clone())],
            [count, _, _, _] => (0..count).map(|i| named(format!("{}[{i}]", v.name))).collect(),
            _ => Vec::new(),
        })
        .collect();
    // A lone cube keeps the name of its file.
    Ok(if cubes.len() > 1 { cubes } else { vec![source] })
}

/// Scenes drawn by recipe, the kinds in turn.
fn draw_scenes(recipe: &Procedural, seed: u64, instrument: &InstrumentDescription) -> Vec<NamedScene> {
    let mut seeds = Stream::new(seed, "train/procedural", 0);
    let [rows, columns] = recipe.size;
    let recipes: Vec<SceneRecipe> = (0..recipe.count)
        .map(|i| {
            let kind = recipe.kinds[i % recipe.kinds.len()];
            SceneRecipe::new(kind, seeds.below(1 << 53) as u64).with_size(rows, columns)
        })
        .collect();
    recipes
        .into_iter()
        .enumerate()
        .map(|(i, recipe)| NamedScene {
            name: format!("procedural {i}"),
            cube: recipe.render(&instrument.wavelengths_nm),
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
    seed: u64,
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
        let scenes = match (&source.path, &source.procedural) {
            (Some(path), _) => read_scenes(path, instrument)?,
            (None, recipe) => {
                let recipe = recipe.as_ref().expect("either, as checked");
                draw_scenes(recipe, seed, instrument)
            }
        };
        for scene in scenes {
            let [_, rows, columns] = scene.cube.shape();
            if rows < sample[0] || columns < sample[1] {
                let reason = format!(
                    "`{}` has {rows} x {columns} pixels, fewer than the samples ({} x {})",
                    scene.name, sample[0], sample[1]
                );
                return Err(TrainError::Data { path: source.name(), reason });
            }
            let mut tensor = cube_tensor(&scene.cube);
            if source.normalise {
                tensor = &tensor / tensor.max().clamp_min(1e-6);
            }
            tensors.push(tensor.to_kind(kind).to_device(device));
        }
        events(Event::Note(format!("{}: {} scenes", source.name(), tensors.len())));
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
