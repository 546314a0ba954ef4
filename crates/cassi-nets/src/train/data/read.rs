//! Reading the scenes of a source, several at a time, given out one after the other in their order.

use std::path::{Path, PathBuf};

use cassi_core::{Cube, InstrumentDescription, Wavelengths, random::Stream};
use cassi_io::{Attribute, Content, Contents, IoError, Order, ReadOptions, Source, Values, Variable};
use cassi_scene::SceneRecipe;
use ndarray::Array3;
use rayon::prelude::*;

use crate::train::TrainError;
use crate::train::config::{DataSource, Procedural, expand};

/// A scene by name.
pub struct NamedScene {
    /// File name without its extension, with variable and item where the file holds several.
    pub name: String,
    /// On the instrument's wavelengths.
    pub cube: Cube,
}

/// Called with every scene.
pub(super) type Take<'a> = &'a mut dyn FnMut(NamedScene) -> Result<(), TrainError>;

/// Reads the cubes of a folder (in the order of their names) or of a file (all of them, or the one named as
/// `FILE:VARIABLE`), on the instrument's wavelengths.
///
/// # Errors
/// If there is none, or one cannot be read.
pub fn read_scenes(path: &str, instrument: &InstrumentDescription) -> Result<Vec<NamedScene>, TrainError> {
    let mut scenes = Vec::new();
    each_of_path(path, instrument, &mut |scene| {
        scenes.push(scene);
        Ok(())
    })?;
    Ok(scenes)
}

/// Hands out the scenes of a source.
pub(super) fn each_scene(
    source: &DataSource,
    seed: u64,
    instrument: &InstrumentDescription,
    take: Take<'_>,
) -> Result<(), TrainError> {
    match (&source.path, &source.procedural) {
        (Some(path), _) => each_of_path(path, instrument, take),
        (None, recipe) => {
            let recipe = recipe.as_ref().expect("either, as checked");
            let recipes = recipes(recipe, seed);
            several(recipes.len(), take, |i| {
                let cube = recipes[i].render(&instrument.wavelengths_nm);
                Ok(NamedScene { name: format!("procedural {i}"), cube })
            })
        }
    }
}

/// Makes `count` scenes, as many at a time as there are threads, and hands them out in their order.
fn several(
    count: usize,
    take: Take<'_>,
    make: impl Fn(usize) -> Result<NamedScene, TrainError> + Sync,
) -> Result<(), TrainError> {
    let group = rayon::current_num_threads();
    for from in (0..count).step_by(group) {
        let scenes: Vec<_> = (from..count.min(from + group)).into_par_iter().map(&make).collect();
        for scene in scenes {
            take(scene?)?;
        }
    }
    Ok(())
}

/// The recipes of procedural scenes, the kinds in turn.
fn recipes(recipe: &Procedural, seed: u64) -> Vec<SceneRecipe> {
    let mut seeds = Stream::new(seed, "train/procedural", 0);
    let [rows, columns] = recipe.size;
    (0..recipe.count)
        .map(|i| {
            let kind = recipe.kinds[i % recipe.kinds.len()];
            SceneRecipe::new(kind, seeds.below(1 << 53) as u64).with_size(rows, columns)
        })
        .collect()
}

/// The files of a path: those of a folder that may hold cubes, or the file itself.
pub(super) fn files(path: &str) -> Result<Vec<PathBuf>, TrainError> {
    let path = expand(path)?;
    let folder = Path::new(&path);
    if !folder.is_dir() {
        return Ok(vec![Source::parse(&path).path]);
    }
    let mut files = cassi_io::list_folder(folder)?;
    files.retain(|f| {
        let extension = f.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
        ["h5", "hdf5", "mat", "npy", "npz"].contains(&extension.as_str())
    });
    if files.is_empty() {
        return Err(TrainError::Data {
            path,
            reason: "no cubes (.h5, .mat, .npy, .npz) in this folder".into(),
        });
    }
    Ok(files)
}

fn each_of_path(path: &str, instrument: &InstrumentDescription, take: Take<'_>) -> Result<(), TrainError> {
    let onto = &instrument.wavelengths_nm;
    let source = Source::parse(&expand(path)?);
    if source.variable.is_some() {
        return take(read_one(&source, onto)?);
    }
    let files = files(path)?;
    let alone = files.len() == 1;
    let group = rayon::current_num_threads();
    for some in files.chunks(group) {
        let opened: Vec<_> = some.par_iter().map(|file| open(file, alone)).collect();
        for file in opened {
            match file? {
                Opened::Cubes(sources) => several(sources.len(), take, |i| read_one(&sources[i], onto))?,
                Opened::Stack(stack) => several(stack.count, take, |i| stack.scene(i, onto))?,
            }
        }
    }
    Ok(())
}

fn read_one(source: &Source, onto: &Wavelengths) -> Result<NamedScene, TrainError> {
    let mut name = source.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if let Some(variable) = &source.variable {
        name = format!("{name}:{variable}");
    }
    let loaded = cassi_io::read_cube(source, &ReadOptions::default())?;
    Ok(NamedScene { name, cube: loaded.value.resample(onto) })
}

/// What a file turned out to be.
enum Opened {
    /// Cubes that are read each by itself.
    Cubes(Vec<Source>),
    /// One array of many scenes, in memory as it is stored.
    Stack(Stack),
}

/// Looks into a file. Of a file `alone` every cube is wanted; one of a folder is a scene, unless it is a stack.
fn open(path: &Path, alone: bool) -> Result<Opened, IoError> {
    let whole = || Opened::Cubes(vec![Source { path: path.into(), variable: None }]);
    let mut contents = cassi_io::read_contents(path)?;
    let named = |variable: String| Source { path: path.into(), variable: Some(variable) };
    let cubes: Vec<&Variable> =
        contents.variables.iter().filter(|v| matches!(v.shape.len(), 3 | 4)).collect();
    match cubes[..] {
        [stack] if stack.shape.len() == 4 => {
            let (name, count) = (stack.name.clone(), stack.shape[0]);
            let first = cassi_io::read_cube(&named(format!("{name}[0]")), &ReadOptions::default())?;
            if let Some(stack) = Stack::take(path, &mut contents, &name, &first.value) {
                return Ok(Opened::Stack(stack));
            }
            Ok(Opened::Cubes((0..count).map(|i| named(format!("{name}[{i}]"))).collect()))
        }
        // A lone cube keeps the name of its file.
        [_] => Ok(whole()),
        _ if !alone => Ok(whole()),
        _ => {
            let of = |v: &&Variable| match v.shape[..] {
                [count, _, _, _] => (0..count).map(|i| named(format!("{}[{i}]", v.name))).collect(),
                _ => vec![named(v.name.clone())],
            };
            let sources: Vec<Source> = cubes.iter().flat_map(of).collect();
            Ok(if sources.is_empty() { whole() } else { Opened::Cubes(sources) })
        }
    }
}

/// An array `[scene, band, row, column]` of 16-bit integers or singles, as packed data sets have it.
struct Stack {
    name: String,
    values: Values,
    count: usize,
    shape: [usize; 3],
    scale: f64,
    wavelengths: Wavelengths,
}

impl Stack {
    /// Takes the variable out of the contents if this way of reading gives what the general one gave for the `first`
    /// scene; otherwise leaves it there.
    fn take(path: &Path, contents: &mut Contents, name: &str, first: &Cube) -> Option<Self> {
        let at = contents.variables.iter().position(|v| v.name == name)?;
        let variable = &contents.variables[at];
        let scale = match (variable.attribute("scale"), variable.values()?) {
            (Some(Attribute::Numbers(scale)), Values::U16(_) | Values::F32(_)) => *scale.first()?,
            (None, Values::F32(_)) => 1.0,
            _ => return None,
        };
        let Content::Numbers { order: Order::RowMajor, .. } = variable.content else { return None };
        let (count, shape) = (variable.shape[0], first.shape());
        if variable.shape[1..] != shape {
            return None;
        }
        let variable = contents.variables.swap_remove(at);
        let Content::Numbers { values, .. } = variable.content else { return None };
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let stack = Self { name, values, count, shape, scale, wavelengths: first.wavelengths().clone() };
        (stack.item(0) == first.as_slice()).then_some(stack)
    }

    fn item(&self, i: usize) -> Vec<f32> {
        let size = self.shape.iter().product::<usize>();
        let range = i * size..(i + 1) * size;
        // One product in double, one rounding, as for cubes of their own.
        let scaled = |v: f64| (v * self.scale) as f32;
        match &self.values {
            Values::U16(values) => values[range].iter().map(|&v| scaled(v.into())).collect(),
            Values::F32(values) => values[range].iter().map(|&v| scaled(v.into())).collect(),
            _ => unreachable!("checked when it was taken"),
        }
    }

    fn scene(&self, i: usize, onto: &Wavelengths) -> Result<NamedScene, TrainError> {
        let data =
            Array3::from_shape_vec(self.shape, self.item(i)).expect("as many numbers as the shape says");
        let name = format!("{}[{i}]", self.name);
        let bad = |reason: String| TrainError::Data { path: name.clone(), reason };
        let cube = Cube::new(data, self.wavelengths.clone()).map_err(|e| bad(e.to_string()))?;
        if let Some(([band, row, column], value)) = cube.first_not_finite() {
            return Err(bad(format!("band {band}, row {row}, column {column} is {value}")));
        }
        Ok(NamedScene { cube: cube.resample(onto), name })
    }
}
