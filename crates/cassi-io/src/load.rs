//! Reading cubes, snapshots, masks and arrays from any readable file, with every guess said in a note.

use cassi_core::{Cube, Mask, Snapshot, Wavelengths};
use ndarray::{Array2, Array3, ArrayD, Ix2, Ix3};

use crate::axes::{self, Axes, Hints};
use crate::format::{read_contents, read_contents_for};
use crate::pick::{self, WAVELENGTH_NAMES, Wanted};
use crate::values::find;
use crate::{Attribute, Contents, IoError, Metadata, Source, Values, Variable};

/// What the user knows better than the file.
#[derive(Debug, Clone, Default)]
pub struct ReadOptions {
    /// Order of the axes of a cube in the file.
    pub axes: Option<Axes>,
    /// Band centres, one for every band.
    pub wavelengths: Option<Wavelengths>,
}

/// Something read, where it came from, and what was assumed on the way.
#[derive(Debug, Clone)]
pub struct Loaded<T> {
    /// The thing itself.
    pub value: T,
    /// The variable it was.
    pub variable: String,
    /// What was assumed, a line each.
    pub notes: Vec<String>,
    /// Instrument and provenance, where the file has them.
    pub metadata: Metadata,
}

impl<T> Loaded<T> {
    /// The same with the value turned into another.
    fn map<U>(self, turn: impl FnOnce(T) -> U) -> Loaded<U> {
        Loaded {
            value: turn(self.value),
            variable: self.variable,
            notes: self.notes,
            metadata: self.metadata,
        }
    }
}

/// What a mask file may hold.
#[derive(Debug, Clone, PartialEq)]
pub enum MaskFile {
    /// One transmittance a pixel of the scene.
    Plain(Mask),
    /// A plane for every band, `[band, row, column]`: a measured or sheared mask such as `mask_3d_shift`
    /// (`[28, 256, 310]`).
    Bands(Array3<f32>),
}

/// Numbers brought to one scale: times the attribute `scale`; integers otherwise over their full range.
fn scaled(
    variable: &Variable,
    mut array: ArrayD<f32>,
    wanted: Wanted,
    notes: &mut Vec<String>,
) -> ArrayD<f32> {
    let Some(values) = variable.values() else { return array };
    let name = pick::display_name(variable);
    if let Some(Attribute::Numbers(scale)) = variable.attribute("scale")
        && let [scale] = scale[..]
    {
        // One product in double, one rounding.
        array.mapv_inplace(|v| (f64::from(v) * scale) as f32);
        return array;
    }
    // Zeros and ones are what they are: an open or closed mask.
    let binary = matches!(values.range(), Some((low, high)) if low >= 0.0 && high <= 1.0);
    let full = match values {
        _ if binary => return array,
        // The field's own convention for its training scenes.
        Values::U16(_)
            if wanted == Wanted::Cube && (name.ends_with("img_expand") || name.ends_with("img")) =>
        {
            65536.0
        }
        Values::U8(_) => 255.0,
        Values::U16(_) => 65535.0,
        integers if integers.is_integer() => {
            notes.push(format!("`{name}`: {} taken as it is, without a scale", variable.class));
            return array;
        }
        _ => return array,
    };
    notes.push(format!("`{name}`: {} divided by {full}", variable.class));
    array.mapv_inplace(|v| (f64::from(v) / full) as f32);
    array
}

fn first_not_finite(
    source: &Source,
    name: &str,
    array: &ArrayD<f32>,
    axes: &'static str,
) -> Result<(), IoError> {
    if array.as_slice().is_some_and(|values| values.iter().all(|v| v.is_finite())) {
        return Ok(());
    }
    match array.indexed_iter().find(|(_, v)| !v.is_finite()) {
        Some((place, &value)) => Err(IoError::NotFinite {
            path: source.path.clone(),
            name: name.into(),
            place: (0..array.ndim()).map(|axis| place[axis]).collect(),
            axes,
            value,
        }),
        None => Ok(()),
    }
}

/// Wavelengths that the file gives for this variable: its attribute, the file's, or a dataset beside it.
fn stored_wavelengths(
    contents: &Contents,
    variable: &Variable,
    source: &Source,
) -> Result<Option<Wavelengths>, IoError> {
    let attribute = WAVELENGTH_NAMES
        .iter()
        .find_map(|name| find(&variable.attributes, name).or_else(|| find(&contents.attributes, name)));
    let folder = variable.name.rsplit_once('/').map(|(folder, _)| format!("{folder}/")).unwrap_or_default();
    let nm = match attribute {
        Some(Attribute::Numbers(nm)) => Some(nm.clone()),
        _ => WAVELENGTH_NAMES.iter().find_map(|name| {
            let dataset = contents.get(&format!("{folder}{name}")).or_else(|| contents.get(name))?;
            dataset.values().map(Values::to_f64)
        }),
    };
    let Some(mut nm) = nm.filter(|nm| nm.len() > 1 || variable.shape.contains(&1)) else { return Ok(None) };
    // Micrometres and metres are as usual in other fields.
    let longest = nm.iter().copied().fold(0.0, f64::max);
    let unit = if longest < 1e-4 {
        1e9
    } else if longest < 10.0 {
        1e3
    } else {
        1.0
    };
    nm.iter_mut().for_each(|v| *v *= unit);
    Wavelengths::new(nm).map(Some).map_err(|e| IoError::Wavelengths { path: source.path.clone(), source: e })
}

/// Wavelengths of a cube of so many bands for which none are given or stored.
fn usual_wavelengths(
    source: &Source,
    name: &str,
    bands: usize,
    notes: &mut Vec<String>,
) -> Result<Wavelengths, IoError> {
    match bands {
        28 => {
            notes.push(format!(
                "`{name}`: 28 bands without wavelengths, taken to be the benchmark's (453.5 to 648 nm)"
            ));
            Ok(Wavelengths::benchmark())
        }
        31 => {
            notes.push(format!(
                "`{name}`: 31 bands without wavelengths, taken to be 400 to 700 nm in steps of 10 nm"
            ));
            Ok(Wavelengths::linspace(400.0, 700.0, 31))
        }
        _ => Err(IoError::NoWavelengths { path: source.path.clone(), name: name.into(), bands }),
    }
}

fn wrong_shape(source: &Source, name: &str, found: &[usize], expected: impl Into<String>) -> IoError {
    IoError::Shape {
        path: source.path.clone(),
        name: name.into(),
        found: found.to_vec(),
        expected: expected.into(),
    }
}

fn is_picture(contents: &Contents) -> bool {
    matches!(contents.format.as_str(), "PNG" | "JPEG" | "TIFF")
}

fn is_matlab(contents: &Contents) -> bool {
    contents.format.starts_with("MAT")
}

/// Brings three stored axes into the order band, row, column.
fn to_bands(
    contents: &Contents,
    variable: &Variable,
    array: Array3<f32>,
    given: Option<Axes>,
    bands: Option<usize>,
    notes: &mut Vec<String>,
) -> Array3<f32> {
    let shape = [array.shape()[0], array.shape()[1], array.shape()[2]];
    let stated = match variable.attribute("axes") {
        Some(Attribute::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    let (axes, note) = axes::resolve(shape, &Hints { given, stated, bands, matlab: is_matlab(contents) });
    if let Some(note) = note {
        notes.push(format!("`{}`: {note}", pick::display_name(variable)));
    }
    array.permuted_axes(axes.permutation()).as_standard_layout().into_owned()
}

/// Reads a cube `[band, row, column]`.
///
/// # Errors
/// If the file cannot be read, the variable or its wavelengths cannot be told, its shape is no cube's, or a number in
/// it is not finite.
pub fn read_cube(source: &Source, options: &ReadOptions) -> Result<Loaded<Cube>, IoError> {
    let contents = read_contents_for(source)?;
    let variable = pick::pick(&contents, source, Wanted::Cube)?;
    let name = pick::display_name(variable);
    let mut notes = Vec::new();
    let array = pick::numbers(variable, source, Some(3), &mut notes)?;
    let shape = array.shape().to_vec();
    if array.is_empty() || array.ndim() != 3 {
        let expected = "three axes: band, row and column in any order";
        return Err(wrong_shape(source, &name, &shape, expected));
    }
    let array = scaled(variable, array, Wanted::Cube, &mut notes);
    let wavelengths = match &options.wavelengths {
        Some(given) => Some(given.clone()),
        None => stored_wavelengths(&contents, variable, source)?,
    };
    let array = array.into_dimensionality::<Ix3>().expect("three axes, just checked");
    let bands = wavelengths.as_ref().map(Wavelengths::len);
    let array = to_bands(&contents, variable, array, options.axes, bands, &mut notes);
    let bands = array.shape()[0];
    let wavelengths = match wavelengths {
        Some(wavelengths) if wavelengths.len() == bands => wavelengths,
        Some(wavelengths) => {
            let expected =
                format!("an axis of {} bands, as many as there are wavelengths", wavelengths.len());
            return Err(wrong_shape(source, &name, &shape, expected));
        }
        None => usual_wavelengths(source, &name, bands, &mut notes)?,
    };
    let array = array.into_dyn();
    first_not_finite(source, &name, &array, "(band, row, column)")?;
    let array = array.into_dimensionality::<Ix3>().expect("still three axes");
    let value = Cube::new(array, wavelengths)
        .map_err(|e| IoError::Meaning { path: source.path.clone(), source: e })?;
    let metadata = Metadata::of(&contents, variable);
    Ok(Loaded { value, variable: name, notes, metadata })
}

/// A plane, or the three of a colour picture turned grey.
fn plane(
    source: &Source,
    name: &str,
    array: ArrayD<f32>,
    picture: bool,
    notes: &mut Vec<String>,
) -> Result<Array2<f32>, IoError> {
    let shape = array.shape().to_vec();
    let colour = picture && shape.len() == 3;
    let array = if colour {
        notes.push("a colour picture, taken as the mean of its channels".into());
        array.mean_axis(ndarray::Axis(2)).expect("at least one channel")
    } else {
        array
    };
    (array.into_dimensionality::<Ix2>().ok().filter(|plane| !plane.is_empty()))
        .ok_or_else(|| wrong_shape(source, name, &shape, "two axes: row and column"))
}

/// Reads a snapshot `[row, column]`.
///
/// # Errors
/// If the file cannot be read, the variable cannot be told, its shape is no plane's, or a number in it is not finite.
pub fn read_snapshot(source: &Source) -> Result<Loaded<Snapshot>, IoError> {
    let contents = read_contents(&source.path)?;
    let variable = pick::pick(&contents, source, Wanted::Snapshot)?;
    let name = pick::display_name(variable);
    let mut notes = Vec::new();
    let rank = if is_picture(&contents) { None } else { Some(2) };
    let array = pick::numbers(variable, source, rank, &mut notes)?;
    let array = scaled(variable, array, Wanted::Snapshot, &mut notes);
    first_not_finite(source, &name, &array, "(row, column)")?;
    let plane = plane(source, &name, array, is_picture(&contents), &mut notes)?;
    let value =
        Snapshot::new(plane).map_err(|e| IoError::Meaning { path: source.path.clone(), source: e })?;
    let metadata = Metadata::of(&contents, variable);
    Ok(Loaded { value, variable: name, notes, metadata })
}

/// Reads a mask: one plane, or one for every band. Of a stack `[n, band, row, column]` the first item, or the one
/// named.
///
/// # Errors
/// As [`read_snapshot`].
pub fn read_mask(source: &Source, options: &ReadOptions) -> Result<Loaded<MaskFile>, IoError> {
    let contents = read_contents(&source.path)?;
    let variable = pick::pick(&contents, source, Wanted::Mask)?;
    let name = pick::display_name(variable);
    let mut notes = Vec::new();
    let array = pick::numbers(variable, source, Some(3), &mut notes)?;
    let array = scaled(variable, array, Wanted::Mask, &mut notes);
    let value = if array.ndim() == 3 && !is_picture(&contents) {
        let shape = array.shape().to_vec();
        if array.is_empty() {
            return Err(wrong_shape(source, &name, &shape, "no empty axis"));
        }
        let bands = options.wavelengths.as_ref().map(Wavelengths::len);
        let array = array.into_dimensionality::<Ix3>().expect("three axes, just checked");
        let array = to_bands(&contents, variable, array, options.axes, bands, &mut notes).into_dyn();
        first_not_finite(source, &name, &array, "(band, row, column)")?;
        MaskFile::Bands(array.into_dimensionality().expect("still three axes"))
    } else {
        first_not_finite(source, &name, &array, "(row, column)")?;
        let plane = plane(source, &name, array, is_picture(&contents), &mut notes)?;
        let mask = Mask::new(plane).map_err(|e| IoError::Meaning { path: source.path.clone(), source: e })?;
        MaskFile::Plain(mask)
    };
    let metadata = Metadata::of(&contents, variable);
    Ok(Loaded { value, variable: name, notes, metadata })
}

/// Reads a mask that must be one plane.
///
/// # Errors
/// As [`read_mask`], and if the file holds a plane for every band.
pub fn read_plain_mask(source: &Source) -> Result<Loaded<Mask>, IoError> {
    let loaded = read_mask(source, &ReadOptions::default())?;
    match &loaded.value {
        MaskFile::Plain(_) => Ok(loaded.map(|value| match value {
            MaskFile::Plain(mask) => mask,
            MaskFile::Bands(_) => unreachable!("a plane, just matched"),
        })),
        MaskFile::Bands(bands) => {
            let expected = "two axes, row and column: one plane, not one for every band";
            Err(wrong_shape(source, &loaded.variable, bands.shape(), expected))
        }
    }
}

/// Reads any variable of numbers as it is stored: its own axes, no scale, in C order.
///
/// # Errors
/// If the file cannot be read, or the variable cannot be told or holds no numbers.
pub fn read_array(source: &Source) -> Result<Loaded<ArrayD<f32>>, IoError> {
    let contents = read_contents(&source.path)?;
    let variable = pick::pick(&contents, source, Wanted::Array)?;
    let mut notes = Vec::new();
    let value = pick::numbers(variable, source, None, &mut notes)?;
    let metadata = Metadata::of(&contents, variable);
    Ok(Loaded { value, variable: pick::display_name(variable), notes, metadata })
}
