//! Reading HDF5 of any origin.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use hdf5_pure::{AttrValue, Dataset, Datatype, DatatypeByteOrder, File, FloatingPointLayout, Group};

use crate::bytes::{DEFLATE_RATIO, count};
use crate::{Attribute, Contents, Endian, Kind, Order, ParseError, Variable};

/// Groups within groups beyond this, and objects beyond that, are left out: links may run in a circle.
const DEEPEST: usize = 8;
const MOST_OBJECTS: usize = 10_000;

/// Parses an HDF5 file: every dataset is a variable, named by its path. Arrays that MATLAB wrote (MAT v7.3) are given
/// MATLAB's shape, which is the reverse of the one in the file.
///
/// # Errors
/// If the file is damaged. Datasets that are not plain arrays of numbers are listed as skipped.
pub fn parse_hdf5(bytes: &[u8]) -> Result<Contents, ParseError> {
    collect(bytes, &|_, _| true)
}

/// As [`parse_hdf5`], but of the arrays of three axes and more only the numbers of those with one of these names are
/// read: the others are listed. One cube of a pack costs no more than that cube.
pub(crate) fn parse_hdf5_only(bytes: &[u8], names: &[&str]) -> Result<Contents, ParseError> {
    collect(bytes, &|name, axes| {
        axes < 3 || names.iter().any(|wanted| wanted.trim_start_matches('/') == name)
    })
}

fn collect(bytes: &[u8], wanted: &dyn Fn(&str, usize) -> bool) -> Result<Contents, ParseError> {
    let mut variables = Vec::new();
    let mut contents = visit(bytes, wanted, &mut |variable| variables.push(variable))?;
    contents.variables = variables;
    Ok(contents)
}

/// As [`parse_hdf5`], but hands every variable to `sink` and keeps none: the memory of one at a time. What is returned
/// is the file without them.
pub(crate) fn visit_hdf5(bytes: &[u8], sink: &mut dyn FnMut(Variable)) -> Result<Contents, ParseError> {
    visit(bytes, &|_, _| true, sink)
}

fn visit(
    bytes: &[u8],
    wanted: &dyn Fn(&str, usize) -> bool,
    sink: &mut dyn FnMut(Variable),
) -> Result<Contents, ParseError> {
    // The reader is not ours: a panic in it on a damaged file is an error like any other.
    catch_unwind(AssertUnwindSafe(|| parse(bytes, wanted, sink)))
        .unwrap_or_else(|_| Err(ParseError::library("HDF5 file", "the reader gave up")))
}

fn damaged(error: hdf5_pure::Error) -> ParseError {
    let said = error.to_string();
    // "damaged HDF5 file" stands before it.
    ParseError::library("HDF5 file", said.strip_prefix("HDF5 format error: ").unwrap_or(&said))
}

fn parse(
    bytes: &[u8],
    wanted: &dyn Fn(&str, usize) -> bool,
    sink: &mut dyn FnMut(Variable),
) -> Result<Contents, ParseError> {
    let matlab = bytes.starts_with(b"MATLAB 7.3");
    let file = File::from_bytes(bytes.to_vec()).map_err(damaged)?;
    let mut reader = Reader { stored: bytes.len(), inflated: 0, matlab, found: 0, wanted, sink };
    let root = file.root();
    reader.group(&root, "", 0)?;
    let mut contents = Contents::new(if matlab { "MAT v7.3 (HDF5)" } else { "HDF5" }, Vec::new());
    contents.attributes = attributes(root.attrs().map_err(damaged)?);
    Ok(contents)
}

/// Attributes sorted by name, those of other types than text and numbers left out.
fn attributes(found: HashMap<String, AttrValue>) -> Vec<(String, Attribute)> {
    let mut attributes: Vec<_> =
        found.into_iter().filter_map(|(name, value)| Some((name, attribute(value)?))).collect();
    attributes.sort_by(|a, b| a.0.cmp(&b.0));
    attributes
}

fn attribute(value: AttrValue) -> Option<Attribute> {
    macro_rules! numbers {
        ($($one:ident $many:ident),*) => {
            match value {
                $(AttrValue::$one(v) => Attribute::Numbers(vec![v as f64]),
                AttrValue::$many(v) => Attribute::Numbers(v.into_iter().map(|x| x as f64).collect()),)*
                AttrValue::String(text)
                | AttrValue::AsciiString(text)
                | AttrValue::VarLenString(text)
                | AttrValue::VarLenAsciiString(text)
                | AttrValue::StringSized { value: text, .. }
                | AttrValue::AsciiStringSized { value: text, .. } => Attribute::Text(text),
                AttrValue::StringArray(lines)
                | AttrValue::AsciiStringArray(lines)
                | AttrValue::VarLenStringArray(lines)
                | AttrValue::VarLenAsciiStringArray(lines) => Attribute::Text(lines.join("\n")),
                _ => return None,
            }
        };
    }
    Some(
        numbers!(F32 F32Array, F64 F64Array, I8 I8Array, I16 I16Array, I32 I32Array, I64 I64Array, U8 U8Array,
        U16 U16Array, U32 U32Array, U64 U64Array),
    )
}

struct Reader<'a> {
    stored: usize,
    inflated: u64,
    matlab: bool,
    /// Variables found so far.
    found: usize,
    /// Whether the numbers of a dataset of this name and so many axes are read.
    wanted: &'a dyn Fn(&str, usize) -> bool,
    sink: &'a mut dyn FnMut(Variable),
}

impl Reader<'_> {
    fn keep(&mut self, variable: Variable) {
        self.found += 1;
        (self.sink)(variable);
    }

    fn group(&mut self, group: &Group, prefix: &str, depth: usize) -> Result<(), ParseError> {
        for name in group.datasets().map_err(damaged)? {
            if self.found >= MOST_OBJECTS {
                return Ok(());
            }
            let dataset = group.dataset(&name).map_err(damaged)?;
            let variable = self.dataset(&dataset, format!("{prefix}{name}"))?;
            self.keep(variable);
        }
        for name in group.groups().map_err(damaged)? {
            let path = format!("{prefix}{name}");
            let inner = group.group(&name).map_err(damaged)?;
            if self.matlab {
                // Structs and cells of MATLAB are groups of references.
                if !name.starts_with('#') {
                    self.keep(Variable::skipped(path, "struct", vec![], "struct, skipped"));
                }
            } else if depth < DEEPEST && self.found < MOST_OBJECTS {
                self.group(&inner, &format!("{path}/"), depth + 1)?;
            }
        }
        Ok(())
    }

    fn dataset(&mut self, dataset: &Dataset, name: String) -> Result<Variable, ParseError> {
        let mut shape = (dataset.shape().map_err(damaged)?.into_iter())
            .map(|axis| {
                usize::try_from(axis)
                    .map_err(|_| ParseError::invalid(&name, axis, "an axis that fits memory"))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let attributes = attributes(dataset.attrs().unwrap_or_default());
        let matlab_class = match crate::values::find(&attributes, "MATLAB_class") {
            Some(Attribute::Text(class)) => Some(class.clone()),
            _ => None,
        };
        let datatype = dataset.datatype().map_err(damaged)?;
        let stored = match numbers(&datatype) {
            Ok(stored) => stored,
            Err(class) => return Ok(Self::without_numbers(dataset, name, shape, class, attributes)),
        };
        let (kind, endian) = stored;
        if !(self.wanted)(&name, shape.len()) {
            let class = format!("{kind:?}").to_lowercase();
            return Ok(Self::without_numbers(dataset, name, shape, class, attributes));
        }
        let n = count(&name, &shape)?;
        self.bounded(&name, n * kind.size())?;
        let raw = dataset.read_raw().map_err(damaged)?;
        if raw.len() != n * kind.size() {
            let found = format!("{} bytes", raw.len());
            return Err(ParseError::invalid(
                format!("`{name}` of shape {shape:?}"),
                found,
                format!("{} bytes", n * kind.size()),
            ));
        }
        let values = kind.decode(&raw, endian);
        let class = matlab_class.clone().unwrap_or_else(|| format!("{kind:?}").to_lowercase());
        let mut variable = match matlab_class.as_deref() {
            Some("char") => {
                let units: Vec<u16> = values.to_f64().into_iter().map(|c| c as u16).collect();
                shape.reverse();
                Variable::text(name, class, shape, String::from_utf16_lossy(&units))
            }
            Some(_) if crate::values::find(&attributes, "MATLAB_empty").is_some() => {
                Variable::skipped(name, class, vec![0, 0], "empty, skipped")
            }
            Some(_) => {
                shape.reverse();
                Variable::numbers(name, class, shape, Order::ColumnMajor, values)?
            }
            None => Variable::numbers(name, class, shape, Order::RowMajor, values)?,
        };
        variable.attributes = attributes;
        Ok(variable)
    }

    /// No filter packs better than deflate: a declared size beyond that is a lie (or an array never written).
    fn bounded(&mut self, name: &str, bytes: usize) -> Result<(), ParseError> {
        self.inflated += bytes as u64;
        let limit = DEFLATE_RATIO * self.stored as u64;
        if self.inflated > limit {
            let what = format!("dataset `{name}`");
            return Err(ParseError::TooLarge { what, bytes: self.inflated, limit });
        }
        Ok(())
    }

    fn without_numbers(
        dataset: &Dataset,
        name: String,
        shape: Vec<usize>,
        class: String,
        attributes: Vec<(String, Attribute)>,
    ) -> Variable {
        let one = shape.iter().product::<usize>() == 1;
        let text = if one && class == "string" { dataset.read_string().ok() } else { None };
        let mut variable = match text {
            Some(lines) => Variable::text(name, class, shape, lines.join("\n")),
            None => {
                let reason = format!("{class}, skipped");
                Variable::skipped(name, class, shape, reason)
            }
        };
        variable.attributes = attributes;
        variable
    }
}

/// The numbers of a datatype, or the name of what it is instead.
fn numbers(datatype: &Datatype) -> Result<(Kind, Endian), String> {
    let order = |order: DatatypeByteOrder| match order {
        DatatypeByteOrder::LittleEndian => Ok(Endian::Little),
        DatatypeByteOrder::BigEndian => Ok(Endian::Big),
        DatatypeByteOrder::Vax => Err("VAX byte order".to_string()),
    };
    match datatype {
        Datatype::FixedPoint { size, byte_order, layout } => {
            let whole = layout.bit_offset == 0 && u32::from(layout.bit_precision) == 8 * size;
            let kind = match (size, layout.signed) {
                (1, false) => Kind::U8,
                (1, true) => Kind::I8,
                (2, false) => Kind::U16,
                (2, true) => Kind::I16,
                (4, false) => Kind::U32,
                (4, true) => Kind::I32,
                (8, false) => Kind::U64,
                (8, true) => Kind::I64,
                _ => return Err(format!("integer of {size} bytes")),
            };
            if whole { Ok((kind, order(*byte_order)?)) } else { Err("integer of a partial width".into()) }
        }
        Datatype::FloatingPoint { size, byte_order, layout } => {
            let kind = match size {
                2 if *layout == HALF => Kind::F16,
                2 if *layout == BRAIN => Kind::Bf16,
                4 if *layout == FloatingPointLayout::IEEE754_BINARY32 => Kind::F32,
                8 if *layout == FloatingPointLayout::IEEE754_BINARY64 => Kind::F64,
                _ => return Err(format!("float of {size} bytes in no usual layout")),
            };
            Ok((kind, order(*byte_order)?))
        }
        // What h5py makes of booleans.
        Datatype::Enumeration { base_type, .. } => numbers(base_type),
        Datatype::String { .. } | Datatype::VariableLength { is_string: true, .. } => Err("string".into()),
        Datatype::Compound { .. } => Err("compound".into()),
        Datatype::Reference { .. } => Err("cell of references".into()),
        _ => Err("no plain numbers".into()),
    }
}

const HALF: FloatingPointLayout = FloatingPointLayout {
    bit_offset: 0,
    bit_precision: 16,
    exponent_location: 10,
    exponent_size: 5,
    mantissa_location: 0,
    mantissa_size: 10,
    exponent_bias: 15,
};

const BRAIN: FloatingPointLayout = FloatingPointLayout {
    bit_offset: 0,
    bit_precision: 16,
    exponent_location: 7,
    exponent_size: 8,
    mantissa_location: 0,
    mantissa_size: 7,
    exponent_bias: 127,
};
