//! Files and names on the command line turned into cubes, snapshots, masks and instruments, with what was assumed
//! on the way said to the user.

use std::path::{Path, PathBuf};

use anyhow::bail;
use cassi_core::{
    Cube, InstrumentDescription, Mask, NamedTensors, ShapeError, Snapshot, Tensor, Wavelengths,
};
use cassi_io::{IoError, Loaded, MaskFile, Metadata, ReadOptions, Source};
use cassi_optics::{RecognisedMask, mask, recognise_mask};
use ndarray::ArrayD;

use crate::config::nearest;
use crate::context::Context;

/// How a cube in a foreign file is to be read.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Reading foreign files")]
pub(crate) struct AxisOptions {
    /// Order of the axes in the file, e.g. row,column,band [default: by docs/formats.md, said in a note]
    #[arg(long, value_name = "ORDER")]
    pub(crate) axes: Option<String>,
    /// Band centres in nm of files that do not say: FIRST:LAST:COUNT or a comma-separated list
    #[arg(long, value_name = "NM")]
    pub(crate) wavelengths: Option<String>,
}

impl AxisOptions {
    /// The same as options of `cassi-io`.
    pub(crate) fn to_read_options(&self) -> anyhow::Result<ReadOptions> {
        Ok(ReadOptions {
            axes: self.axes.as_deref().map(str::parse).transpose()?,
            wavelengths: self.wavelengths.as_deref().map(parse_wavelengths).transpose()?,
        })
    }
}

pub(crate) fn parse_wavelengths(text: &str) -> anyhow::Result<Wavelengths> {
    let number = |part: &str| -> anyhow::Result<f64> {
        part.trim().parse().map_err(|_| anyhow::anyhow!("--wavelengths: `{part}` is not a number of nm"))
    };
    if let [first, last, count] = text.split(':').collect::<Vec<_>>()[..] {
        let (first, last, count) = (number(first)?, number(last)?, number(count)?);
        if !(count >= 2.0 && count.fract() == 0.0 && count <= 10_000.0 && last > first && first > 0.0) {
            bail!(
                "--wavelengths {text}: expected FIRST:LAST:COUNT with FIRST below LAST and a whole COUNT from 2"
            );
        }
        return Ok(Wavelengths::linspace(first, last, count as usize));
    }
    Ok(Wavelengths::new(text.split(',').map(number).collect::<Result<_, _>>()?)?)
}

/// What was read, its notes said; or, where the file has no variable of the name asked for, an error that names those
/// it has, the nearest in spelling first.
fn read<T>(loaded: Result<Loaded<T>, IoError>, context: &Context) -> anyhow::Result<Loaded<T>> {
    /// More names than these help nobody.
    const NAMES: usize = 12;
    match loaded {
        Ok(loaded) => {
            context.say_all(&loaded.notes);
            Ok(loaded)
        }
        Err(IoError::NoVariable { path, name, .. }) => {
            let mut variables = cassi_io::inspect(&path)?.variables;
            variables.sort_by_key(|variable| strsim::damerau_levenshtein(&name, &variable.name));
            let mut names: Vec<String> = (variables.iter().take(NAMES))
                .map(|variable| match variable.name.as_str() {
                    "" => format!("an array without a name {:?}", variable.shape),
                    name => format!("{name} {:?}", variable.shape),
                })
                .collect();
            if variables.len() > NAMES {
                names.push(format!("{} more (see `cassi info`)", variables.len() - NAMES));
            }
            bail!("{}: no variable `{name}`; it holds, nearest first, {}", path.display(), names.join(", "))
        }
        Err(error) => Err(error.into()),
    }
}

/// Any array of numbers from `FILE[:VARIABLE]` as it is stored.
pub(crate) fn array(source: &Source, context: &Context) -> anyhow::Result<Loaded<ArrayD<f32>>> {
    read(cassi_io::read_array(source), context)
}

/// All arrays of numbers in a file by name, or the one that was named.
pub(crate) fn tensors(source: &Source, context: &Context) -> anyhow::Result<NamedTensors> {
    if source.variable.is_none() {
        return Ok(cassi_io::read_tensors(&source.path)?);
    }
    let loaded = array(source, context)?;
    let tensor = Tensor::new(loaded.value.shape().to_vec(), loaded.value.into_iter().collect())?;
    Ok(NamedTensors::from_iter([(loaded.variable, tensor)]))
}

/// A cube from `FILE[:VARIABLE]`, with what its file says of itself.
pub(crate) fn cube(
    text: &str,
    axes: &AxisOptions,
    context: &Context,
) -> anyhow::Result<(Cube, Metadata, PathBuf)> {
    let source = Source::parse(text);
    let loaded = read(cassi_io::read_cube(&source, &axes.to_read_options()?), context)?;
    Ok((loaded.value, loaded.metadata, source.path))
}

/// A snapshot from `FILE[:VARIABLE]`.
pub(crate) fn snapshot(text: &str, context: &Context) -> anyhow::Result<(Snapshot, Metadata, PathBuf)> {
    let source = Source::parse(text);
    let loaded = read(cassi_io::read_snapshot(&source), context)?;
    Ok((loaded.value, loaded.metadata, source.path))
}

/// The instrument asked for; else the one that the snapshot's file names; else `standard`.
pub(crate) fn instrument(
    name: Option<&str>,
    metadata: &Metadata,
    context: &Context,
) -> anyhow::Result<InstrumentDescription> {
    match (name, &metadata.instrument) {
        (Some(name), _) => instrument_by_name(name),
        (None, Some(toml)) => {
            let description = cassi_optics::parse_instrument(toml, "the snapshot's own file")?;
            context.detail(format!("instrument: {} (from the snapshot's file)", description.name));
            Ok(description)
        }
        (None, None) => {
            context.detail("instrument: standard (the default)");
            Ok(cassi_optics::builtin("standard").expect("built in"))
        }
    }
}

/// A built-in instrument, or one from a TOML file.
pub(crate) fn instrument_by_name(name: &str) -> anyhow::Result<InstrumentDescription> {
    if let Some(description) = cassi_optics::builtin(name) {
        return Ok(description);
    }
    let path = Path::new(name);
    if path.extension().is_some_and(|e| e == "toml") || path.exists() {
        let text = cassi_io::read_text(path)?;
        return Ok(cassi_optics::parse_instrument(&text, name)?);
    }
    bail!(
        "no instrument `{name}`{}; built in are {}, or name a TOML file",
        nearest(name, cassi_optics::builtin_names().map(str::to_string)),
        cassi_optics::builtin_names().collect::<Vec<_>>().join(", ")
    );
}

/// The mask from a file, in whichever convention it is stored, checked against the size of the scene; or the
/// instrument's own shipped mask, cropped or tiled to that size; or none, where the instrument ships none.
pub(crate) fn mask(
    file: Option<&str>,
    instrument: &InstrumentDescription,
    scene: [usize; 2],
    context: &Context,
) -> anyhow::Result<(Option<Mask>, Option<PathBuf>)> {
    if let Some(text) = file {
        let (RecognisedMask { mask, .. }, path) = mask_file(text, instrument, context)?;
        if mask.shape() != scene {
            return Err(ShapeError {
                what: "mask",
                found: mask.shape().to_vec(),
                expected: format!(
                    "{scene:?}: instrument `{}` takes a scene of {}x{} to a snapshot of {}x{}",
                    instrument.name,
                    scene[0],
                    scene[1],
                    scene[0],
                    instrument.snapshot_shape(scene[0], scene[1])[1],
                ),
                axes: "(row, column)",
            }
            .into());
        }
        return Ok((Some(mask), Some(path)));
    }
    let Some(name) = &instrument.default_mask else { return Ok((None, None)) };
    let (fitted, note) = mask::fit_to(&mask::shipped(name)?, scene[0], scene[1]);
    context.say_all(note.as_slice());
    // A real snapshot that is taken for one of the default instrument gives a cube of noise.
    let [rows, columns] = scene;
    for other in cassi_optics::builtin_names().filter(|&other| note.is_some() && other != instrument.name) {
        let size = cassi_optics::builtin(other).map(|other| other.scene);
        if size.is_some_and(|size| [size.rows, size.columns] == scene) {
            context.say(format!(
                "note: {rows}x{columns} is the scene of instrument `{other}`: --instrument {other}?"
            ));
        }
    }
    context.detail(format!("mask: {name}, the instrument's own"));
    Ok((Some(fitted), None))
}

/// A mask file in any convention, with the plain mask `[row, column]` in it.
pub(crate) fn mask_file(
    text: &str,
    instrument: &InstrumentDescription,
    context: &Context,
) -> anyhow::Result<(RecognisedMask, PathBuf)> {
    let source = Source::parse(text);
    let loaded = read(cassi_io::read_mask(&source, &ReadOptions::default()), context)?;
    let tensor = match loaded.value {
        MaskFile::Plain(mask) => Tensor::new(mask.shape().to_vec(), mask.as_slice().to_vec())?,
        MaskFile::Bands(bands) => Tensor::new(bands.shape().to_vec(), bands.iter().copied().collect())?,
    };
    let recognised = recognise_mask(&tensor, instrument)
        .map_err(|error| anyhow::anyhow!("{}: {error}", source.path.display()))?;
    context.detail(format!("mask: {}: {}", source.path.display(), recognised.sentence));
    Ok((recognised, source.path))
}

/// The scene `[row, column]` behind a snapshot, or the error that names the shape this instrument expects.
pub(crate) fn scene_shape(
    snapshot: &Snapshot,
    instrument: &InstrumentDescription,
) -> anyhow::Result<[usize; 2]> {
    instrument.scene_shape(snapshot.shape()).ok_or_else(|| {
        let [rows, columns] = instrument.snapshot_shape(instrument.scene.rows, instrument.scene.columns);
        ShapeError {
            what: "snapshot",
            found: snapshot.shape().to_vec(),
            expected: format!(
                "[{rows}, {columns}] or another size with more than {} columns for instrument `{}`",
                columns - instrument.scene.columns,
                instrument.name
            ),
            axes: "(row, column)",
        }
        .into()
    })
}

/// Refuses to write over one of the inputs.
pub(crate) fn refuse_overwriting(output: &Path, inputs: &[&Path]) -> anyhow::Result<()> {
    let same = |a: &Path, b: &Path| {
        a == b || matches!((std::path::absolute(a), std::path::absolute(b)), (Ok(a), Ok(b)) if a == b)
    };
    match inputs.iter().find(|input| same(input, output)) {
        Some(input) => bail!("the output {} is also an input; choose another name", input.display()),
        None => Ok(()),
    }
}

/// The truth on the bands of an estimate, resampled linearly where the grids differ (said in a note).
pub(crate) fn on_the_grid_of(truth: Cube, estimate: &Cube, context: &Context) -> Cube {
    // Files round their wavelengths; a thousandth of a nanometre is no other grid.
    if truth.wavelengths().matches(estimate.wavelengths(), 1e-3) {
        return truth;
    }
    context.say(format!(
        "note: the truth has {} bands from {} to {} nm; resampled linearly to the estimate's {}",
        truth.bands(),
        truth.wavelengths().nm()[0],
        truth.wavelengths().nm()[truth.bands() - 1],
        estimate.bands()
    ));
    truth.resample(estimate.wavelengths())
}

/// The bands named `benchmark`, or those of a list or range in nm.
pub(crate) fn parse_bands(text: &str) -> anyhow::Result<Wavelengths> {
    if text == "benchmark" { Ok(Wavelengths::benchmark()) } else { parse_wavelengths(text) }
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// A spectral cube
    Cube,
    /// A snapshot
    Snapshot,
    /// A mask, in any convention
    Mask,
    /// One numeric array as it is stored
    Array,
    /// All arrays of a checkpoint or bundle, by name
    Tensors,
}

/// Whether a path ends in one of these extensions.
pub(crate) fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension().is_some_and(|e| extensions.iter().any(|known| e.eq_ignore_ascii_case(known)))
}

/// What a file holds, judged by its variables: a checkpoint, the field's names, else the number of axes.
pub(crate) fn kind_of(source: &Source) -> anyhow::Result<Kind> {
    if has_extension(&source.path, &["safetensors", "pth", "pt"]) {
        return Ok(if source.variable.is_some() { Kind::Array } else { Kind::Tensors });
    }
    let info = cassi_io::inspect(&source.path)?;
    let numeric: Vec<_> = info.variables.iter().filter(|v| v.range.is_some()).collect();
    let wanted = source.item().0;
    let named = |known: &[&str]| {
        numeric.iter().any(|v| match wanted {
            Some(wanted) => v.name == wanted && known.contains(&wanted),
            None => known.contains(&v.name.trim_start_matches('/')),
        })
    };
    if named(&["mask", "mask_3d_shift"]) {
        return Ok(Kind::Mask);
    }
    if named(&["snapshot", "meas_real", "meas"]) {
        return Ok(Kind::Snapshot);
    }
    if named(&["cube", "img", "img_expand", "HSI", "pred", "truth"]) {
        return Ok(Kind::Cube);
    }
    match numeric.iter().filter(|v| wanted.is_none_or(|name| v.name == name)).map(|v| v.shape.len()).max() {
        Some(3) => Ok(Kind::Cube),
        Some(_) => Ok(Kind::Array),
        // Whoever reads it says that it is not there, or no numbers.
        None if wanted.is_some() => Ok(Kind::Array),
        None => bail!("{}: holds no numeric variable; see `cassi info`", source.path.display()),
    }
}
