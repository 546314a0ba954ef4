//! Scenes and masks, packed once: in the memory of the training device, or as much of them as it is to hold.
//!
//! Reading scenes is in `read`, the packed file in `spool`, and what is in memory of it in `window`.

mod read;
mod spool;
mod window;

use std::path::Path;

use cassi_core::{Cube, InstrumentDescription, Mask, random::Stream};
use cassi_io::Source;
use cassi_optics::mask::{Grey, MaskRecipe, shipped, shipped_names};
use tch::{Device, Kind, Tensor};

use super::config::{DataSource, MaskSource, Storage, expand};
use super::{Event, TrainError};
pub use read::{NamedScene, read_scenes};
use spool::Spool;
use window::Window;

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

/// Tensors of one source.
#[derive(Debug)]
enum Shelf {
    /// All of them.
    Whole(Vec<Tensor>),
    /// As many as memory allows at a time.
    Part(Window),
}

impl Shelf {
    fn len(&self) -> usize {
        match self {
            Self::Whole(tensors) => tensors.len(),
            Self::Part(window) => window.resident().len(),
        }
    }

    fn get(&self, i: usize) -> &Tensor {
        match self {
            Self::Whole(tensors) => &tensors[i],
            Self::Part(window) => &window.resident()[i],
        }
    }
}

/// Things of several sources, each drawn with its source's probability.
#[derive(Debug)]
pub(crate) struct Pool {
    /// What every source has, and the probability that a draw is at or before it.
    sources: Vec<(f64, Shelf)>,
}

impl Pool {
    fn new(sources: Vec<(f64, Shelf)>) -> Self {
        let total: f64 = sources.iter().map(|(weight, _)| weight).sum();
        let mut sum = 0.0;
        let sources = sources.into_iter().filter(|(weight, _)| *weight > 0.0).map(|(weight, shelf)| {
            sum += weight / total;
            (sum, shelf)
        });
        Self { sources: sources.collect() }
    }

    /// Brings what is in memory to where it belongs at a step.
    pub(crate) fn advance(&mut self, step: u64) -> Result<(), TrainError> {
        for (_, shelf) in &mut self.sources {
            if let Shelf::Part(window) = shelf {
                window.advance(step)?;
            }
        }
        Ok(())
    }

    pub(crate) fn draw(&self, stream: &mut Stream) -> &Tensor {
        let at = stream.uniform();
        let (_, shelf) =
            self.sources.iter().find(|(upto, _)| at < *upto).or(self.sources.last()).expect("a source");
        shelf.get(stream.below(shelf.len()))
    }
}

/// What all sources of scenes are read for.
pub(crate) struct Reading<'a> {
    pub(crate) sources: &'a [DataSource],
    pub(crate) seed: u64,
    pub(crate) instrument: &'a InstrumentDescription,
    pub(crate) storage: Storage,
    pub(crate) device: Device,
    /// The largest rows and columns of a sample.
    pub(crate) sample: [usize; 2],
}

impl Reading<'_> {
    fn kind(&self) -> Kind {
        match self.storage {
            Storage::F32 => Kind::Float,
            Storage::F16 => Kind::Half,
        }
    }

    /// Hands out the scenes of a source as they are kept, `[band, row, column]` on the CPU.
    fn each(
        &self,
        source: &DataSource,
        take: &mut dyn FnMut(&Tensor) -> Result<(), TrainError>,
    ) -> Result<(), TrainError> {
        let [least_rows, least_columns] = self.sample;
        read::each_scene(source, self.seed, self.instrument, &mut |scene| {
            let [_, rows, columns] = scene.cube.shape();
            if rows < least_rows || columns < least_columns {
                let reason = format!(
                    "`{}` has {rows} x {columns} pixels, fewer than the samples ({least_rows} x {least_columns})",
                    scene.name
                );
                return Err(TrainError::Data { path: source.name(), reason });
            }
            let mut tensor = cube_tensor(&scene.cube);
            if source.normalise {
                tensor = &tensor / tensor.max().clamp_min(1e-6);
            }
            take(&tensor.to_kind(self.kind()))
        })
    }

    /// What the packed scenes of a source depend on, in few letters.
    fn key(&self, source: &DataSource) -> Result<String, TrainError> {
        let mut text =
            format!("{source:?} {:?} {:?} {:?}", self.instrument.wavelengths_nm, self.storage, self.sample);
        match &source.path {
            None => text += &format!(" {}", self.seed),
            Some(path) => {
                for file in read::files(path)? {
                    let about = std::fs::metadata(&file)
                        .map_err(|source| cassi_io::IoError::Read { path: file.clone(), source })?;
                    text += &format!(" {} {} {:?}", file.display(), about.len(), about.modified().ok());
                }
            }
        }
        Ok(cassi_io::sha256_hex(text.as_bytes()))
    }

    /// All scenes, in the memory of the device.
    pub(crate) fn whole(&self, events: &mut dyn FnMut(Event)) -> Result<Pool, TrainError> {
        let (mut shelves, mut count, mut bytes) = (Vec::new(), 0, 0);
        for source in self.sources {
            let mut tensors = Vec::new();
            self.each(source, &mut |tensor| {
                bytes += tensor.numel() * tensor.kind().elt_size_in_bytes();
                tensors.push(tensor.to_device(self.device));
                Ok(())
            })?;
            count += tensors.len();
            events(Event::Note(format!("{}: {} scenes", source.name(), tensors.len())));
            shelves.push((source.weight, Shelf::Whole(tensors)));
        }
        events(Event::Note(format!("{count} scenes, {:.0} MB on the device", bytes as f64 / 1e6)));
        Ok(Pool::new(shelves))
    }

    /// Scenes within `budget` bytes of memory: sources that fit their share whole, the others streamed from files
    /// `scenes-NUMBER.spool` in `folder`.
    pub(crate) fn streamed(
        &self,
        budget: usize,
        folder: &Path,
        events: &mut dyn FnMut(Event),
    ) -> Result<Pool, TrainError> {
        let mut spools = Vec::new();
        for (i, source) in self.sources.iter().enumerate() {
            let path = folder.join(format!("scenes-{i}.spool"));
            spools.push(Spool::open_or_make(&path, &self.key(source)?, self.kind(), |give| {
                self.each(source, give)
            })?);
        }
        let sizes: Vec<usize> = spools.iter().map(|spool| spool.bytes().0).collect();
        let mut shelves = Vec::new();
        for (i, (spool, share)) in spools.iter().zip(shares(&sizes, budget)).enumerate() {
            let (source, (bytes, largest)) = (&self.sources[i], spool.bytes());
            if bytes <= share {
                let tensors: Result<Vec<_>, _> =
                    (0..spool.len()).map(|i| Ok(spool.read(i)?.to_device(self.device))).collect();
                events(Event::Note(format!("{}: {} scenes", source.name(), spool.len())));
                shelves.push((source.weight, Shelf::Whole(tensors.map_err(TrainError::Io)?)));
                continue;
            }
            let capacity = (share / largest).saturating_sub(window::AHEAD);
            if capacity == 0 {
                let least = largest * (window::AHEAD + 1);
                let reason = format!(
                    "its share of cache_mb is {:.0} MB; streaming its scenes takes at least {:.0} MB",
                    share as f64 / 1e6,
                    (least as f64 / 1e6).ceil()
                );
                return Err(TrainError::Data { path: source.name(), reason });
            }
            events(Event::Note(format!(
                "{}: {} scenes, streamed: {capacity} in memory at a time, another one every step",
                source.name(),
                spool.len()
            )));
            shelves.push((
                source.weight,
                Shelf::Part(Window::new(spool, capacity, self.device, self.seed, i as u64)),
            ));
        }
        Ok(Pool::new(shelves))
    }
}

/// Divides a budget: whoever needs less than an equal share gets what it needs, and the others share the rest.
fn shares(needs: &[usize], budget: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..needs.len()).collect();
    order.sort_by_key(|&i| needs[i]);
    let mut shares = vec![0; needs.len()];
    let mut left = budget;
    for (done, &i) in order.iter().enumerate() {
        shares[i] = needs[i].min(left / (needs.len() - done));
        left -= shares[i];
    }
    shares
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
            MaskSource::BlueNoise { open, count, .. } => {
                for _ in 0..*count {
                    let recipe = MaskRecipe::BlueNoise { open_fraction: stream.uniform_in(open[0], open[1]) };
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
        let made = made.iter().map(|mask| mask_tensor(mask).to_device(device)).collect();
        pools.push((source.weight(), Shelf::Whole(made)));
    }
    Ok(Pool::new(pools))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_divided_by_need() {
        assert_eq!(shares(&[10, 200, 90], 1000), [10, 200, 90]);
        assert_eq!(shares(&[500, 10, 400], 310), [150, 10, 150]);
        assert_eq!(shares(&[100, 100], 101), [50, 51]);
        assert_eq!(shares(&[], 5), [0; 0]);
    }
}
