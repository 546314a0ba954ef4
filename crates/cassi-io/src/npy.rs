//! NumPy files: NPY, and NPZ, which is a zip archive of them.
//!
//! Format: NumPy enhancement proposal 1 (magic, version, a Python dictionary in text, the raw array). Both byte
//! orders and both index orders are read; what is written is little-endian C order, version 1.0.

use std::io::{Read, Write};

use crate::bytes::{Cursor, count, first_bytes};
use crate::zip_file::Archive;
use crate::{Contents, Endian, Kind, Order, ParseError, Variable};

const MAGIC: &[u8] = b"\x93NUMPY";

/// The three entries of an NPY header.
#[derive(Debug, PartialEq)]
struct Header {
    descr: String,
    fortran_order: bool,
    shape: Vec<usize>,
}

/// What stands behind one key of the header's dictionary.
fn field<'a>(text: &'a str, key: &str) -> Result<&'a str, ParseError> {
    let missing = || ParseError::invalid("NPY header", text.trim(), format!("a dictionary with '{key}'"));
    let (at, length) = ["'", "\""]
        .iter()
        .find_map(|q| text.find(&format!("{q}{key}{q}")).map(|at| (at, key.len() + 2)))
        .ok_or_else(missing)?;
    text[at + length..].trim_start().strip_prefix(':').map(str::trim_start).ok_or_else(missing)
}

fn parse_header(text: &str) -> Result<Header, ParseError> {
    let descr = field(text, "descr")?;
    let quote = descr.chars().next().unwrap_or(' ');
    if quote != '\'' && quote != '"' {
        let what = format!("NPY array of type {}", descr.split('\n').next().unwrap_or_default().trim());
        return Err(ParseError::unsupported(
            what,
            "save each field of a structured array as an array of its own",
        ));
    }
    let descr = (descr[1..].split_once(quote))
        .ok_or_else(|| ParseError::invalid("NPY descr", descr, "a quoted type"))?
        .0
        .to_string();
    let order = field(text, "fortran_order")?;
    let fortran_order = match order {
        o if o.starts_with("True") => true,
        o if o.starts_with("False") => false,
        o => {
            return Err(ParseError::invalid(
                "NPY fortran_order",
                o.chars().take(8).collect::<String>(),
                "True or False",
            ));
        }
    };
    let shape = field(text, "shape")?;
    let inside = (shape.strip_prefix('(').and_then(|s| s.split_once(')')))
        .ok_or_else(|| ParseError::invalid("NPY shape", shape, "a tuple of integers"))?
        .0;
    let shape = (inside.split(',').map(str::trim).filter(|s| !s.is_empty()))
        .map(|axis| {
            axis.trim_end_matches('L')
                .parse()
                .map_err(|_| ParseError::invalid("NPY shape", axis, "a tuple of integers"))
        })
        .collect::<Result<_, _>>()?;
    Ok(Header { descr, fortran_order, shape })
}

/// What an NPY type string says: byte order, and a kind of numbers or characters.
enum Type {
    Numbers(Kind, Endian),
    /// Unicode of so many characters of four bytes.
    Unicode(usize, Endian),
    /// So many bytes.
    Bytes(usize),
}

fn parse_type(descr: &str) -> Result<Type, ParseError> {
    let unsupported = || {
        let hint = "convert it to float32 with numpy (astype) and save it again";
        ParseError::unsupported(format!("NPY type '{descr}'"), hint)
    };
    let (endian, rest) = match descr.as_bytes().first() {
        Some(b'>') => (Endian::Big, &descr[1..]),
        Some(b'<' | b'|' | b'=') => (Endian::Little, &descr[1..]),
        _ => (Endian::Little, descr),
    };
    let kind = match rest {
        "u1" | "b1" | "?" => Kind::U8,
        "i1" => Kind::I8,
        "u2" => Kind::U16,
        "i2" => Kind::I16,
        "u4" => Kind::U32,
        "i4" => Kind::I32,
        "u8" => Kind::U64,
        "i8" => Kind::I64,
        "f2" => Kind::F16,
        "f4" => Kind::F32,
        "f8" => Kind::F64,
        _ => {
            let letter = rest.chars().next().ok_or_else(unsupported)?;
            let length = rest[letter.len_utf8()..].parse().map_err(|_| unsupported())?;
            return match letter {
                'U' => Ok(Type::Unicode(length, endian)),
                'S' => Ok(Type::Bytes(length)),
                _ => Err(unsupported()),
            };
        }
    };
    Ok(Type::Numbers(kind, endian))
}

/// Parses one NPY array as a variable of the given name.
pub(crate) fn parse_npy_named(bytes: &[u8], name: &str) -> Result<Variable, ParseError> {
    let mut cursor = Cursor::new(bytes, Endian::Little);
    if !bytes.starts_with(MAGIC) {
        return Err(ParseError::Magic {
            format: "NPY",
            found: first_bytes(bytes),
            expected: "93 4e 55 4d 50 59",
        });
    }
    cursor.take(MAGIC.len(), "magic")?;
    let major = cursor.u8("NPY version")?;
    cursor.u8("NPY version")?;
    let length = match major {
        1 => usize::from(cursor.u16("NPY header length")?),
        2 | 3 => cursor.u32("NPY header length")? as usize,
        found => return Err(ParseError::invalid("NPY version", found, "1, 2 or 3")),
    };
    let header = String::from_utf8_lossy(cursor.take(length, "NPY header")?);
    let header = parse_header(&header)?;
    let n = count("the NPY array", &header.shape)?;
    let size = |bytes: usize| {
        n.checked_mul(bytes)
            .ok_or_else(|| ParseError::invalid("NPY shape", format!("{:?}", header.shape), "a smaller one"))
    };
    match parse_type(&header.descr)? {
        Type::Numbers(kind, endian) => {
            let data = cursor.take(size(kind.size())?, "NPY array")?;
            let order = if header.fortran_order { Order::ColumnMajor } else { Order::RowMajor };
            Variable::numbers(name, header.descr, header.shape, order, kind.decode(data, endian))
        }
        Type::Unicode(length, endian) if n == 1 => {
            let data = cursor.take(size(length.saturating_mul(4))?, "NPY text")?;
            let text: String = (data.chunks_exact(4).map(|c| <[u8; 4]>::try_from(c).expect("four bytes")))
                .map(|c| if endian == Endian::Little { u32::from_le_bytes(c) } else { u32::from_be_bytes(c) })
                .map(|c| char::from_u32(c).unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect();
            Ok(Variable::text(name, header.descr, header.shape, text.trim_end_matches('\0').to_string()))
        }
        Type::Bytes(length) if n == 1 => {
            let data = cursor.take(size(length)?, "NPY text")?;
            let text = String::from_utf8_lossy(data).trim_end_matches('\0').to_string();
            Ok(Variable::text(name, header.descr, header.shape, text))
        }
        Type::Unicode(..) | Type::Bytes(_) => {
            Ok(Variable::skipped(name, header.descr, header.shape, "array of strings, skipped"))
        }
    }
}

/// Parses an NPY file: one variable without a name.
///
/// # Errors
/// If the bytes are damaged, or of a type that is neither numbers nor text.
pub fn parse_npy(bytes: &[u8]) -> Result<Contents, ParseError> {
    Ok(Contents::new("NPY", vec![parse_npy_named(bytes, "")?]))
}

/// Reads the next NPY file of a stream in which such files follow one another, e.g. frames of a camera; `None` at its
/// end. Memory grows with what arrives, not with what a header promises.
///
/// # Errors
/// If the stream ends within a file, or the bytes are no NPY file.
pub fn read_npy(input: &mut dyn Read) -> Result<Option<Variable>, ParseError> {
    let mut bytes = Vec::new();
    let more = |bytes: &mut Vec<u8>, count: usize, input: &mut dyn Read| {
        let error = |e| ParseError::library("NPY stream", e);
        input.take(count as u64).read_to_end(bytes).map_err(error)
    };
    let head = MAGIC.len() + 6;
    if more(&mut bytes, head, input)? == 0 {
        return Ok(None);
    }
    // Two bytes of length in version 1, where the last two of these belong to the text already; four in later ones.
    if let [_, _, _, _, _, _, major, _, a, b, c, d] = bytes[..] {
        let text = match major {
            1 => usize::from(u16::from_le_bytes([a, b])).saturating_sub(2),
            _ => u32::from_le_bytes([a, b, c, d]) as usize,
        };
        more(&mut bytes, text, input)?;
        let start = if major == 1 { head - 2 } else { head };
        let header = parse_header(&String::from_utf8_lossy(bytes.get(start..).unwrap_or_default()))?;
        let size = match parse_type(&header.descr)? {
            Type::Numbers(kind, _) => kind.size(),
            _ => {
                let hint = "send float32 arrays";
                return Err(ParseError::unsupported(
                    format!("NPY type '{}' in a stream", header.descr),
                    hint,
                ));
            }
        };
        more(&mut bytes, count("the NPY array", &header.shape)?.saturating_mul(size), input)?;
    }
    parse_npy_named(&bytes, "").map(Some)
}

/// Parses an NPZ file: every `.npy` inside is a variable. Arrays of a type that is not read are listed as skipped.
///
/// # Errors
/// If the archive or an array in it is damaged.
pub fn parse_npz(bytes: &[u8]) -> Result<Contents, ParseError> {
    let mut archive = Archive::open(bytes)?;
    let mut variables = Vec::new();
    for (index, name) in archive.names()?.into_iter().enumerate() {
        let Some(name) = name.strip_suffix(".npy") else { continue };
        let data = archive.read(index)?;
        variables.push(match parse_npy_named(&data, name) {
            Err(ParseError::Unsupported { what, .. }) => {
                Variable::skipped(name, what, vec![], "not numbers, skipped")
            }
            other => other?,
        });
    }
    Ok(Contents::new("NPZ", variables))
}

/// Header of an NPY file, padded so that the array begins at a multiple of 64 bytes.
fn header(descr: &str, shape: &[usize]) -> Vec<u8> {
    let axes: Vec<String> = shape.iter().map(|axis| format!("{axis},")).collect();
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({}), }}", axes.join(" "));
    let fixed = MAGIC.len() + 4;
    let padding = (fixed + text.len() + 1).next_multiple_of(64) - fixed - text.len() - 1;
    text.push_str(&" ".repeat(padding));
    text.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes
}

/// An NPY file of singles in C order.
pub fn npy_bytes(shape: &[usize], data: &[f32]) -> Vec<u8> {
    let mut bytes = header("<f4", shape);
    bytes.extend(data.iter().flat_map(|v| v.to_le_bytes()));
    bytes
}

/// An NPY file of doubles in C order, one axis.
pub(crate) fn npy_f64(data: &[f64]) -> Vec<u8> {
    let mut bytes = header("<f8", &[data.len()]);
    bytes.extend(data.iter().flat_map(|v| v.to_le_bytes()));
    bytes
}

/// An NPY file of one string.
pub(crate) fn npy_text(text: &str) -> Vec<u8> {
    let mut bytes = header(&format!("<U{}", text.chars().count().max(1)), &[]);
    bytes.extend(text.chars().flat_map(|c| u32::from(c).to_le_bytes()));
    if text.is_empty() {
        bytes.extend([0; 4]);
    }
    bytes
}

/// An NPZ file of named NPY files, deflated.
pub(crate) fn npz_bytes(entries: &[(String, Vec<u8>)]) -> std::io::Result<Vec<u8>> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated)
        .compression_level(Some(6))
        .large_file(entries.iter().any(|(_, bytes)| bytes.len() as u64 > u64::from(u32::MAX) / 2));
    for (name, bytes) in entries {
        writer.start_file(format!("{name}.npy"), options)?;
        writer.write_all(bytes)?;
    }
    Ok(writer.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Values;

    fn with_header(text: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1, 0]);
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn both_index_orders_and_both_byte_orders() {
        let text = "{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3), }\n";
        let data: Vec<u8> = (1..=6i16).flat_map(|v| v.to_be_bytes()).collect();
        let contents = parse_npy(&with_header(text, &data)).unwrap();
        let array = contents.variables[0].to_array().unwrap();
        assert_eq!(array.shape(), [2, 3]);
        assert_eq!(array.as_slice().unwrap(), [1.0, 3.0, 5.0, 2.0, 4.0, 6.0]);
    }

    #[test]
    fn scalars_and_empty_arrays() {
        let scalar = parse_npy(&npy_bytes(&[], &[2.5])).unwrap();
        assert_eq!(
            (scalar.variables[0].shape.len(), scalar.variables[0].values().unwrap().to_f32()),
            (0, vec![2.5])
        );
        let empty = parse_npy(&npy_bytes(&[0, 3], &[])).unwrap();
        assert_eq!(empty.variables[0].shape, [0, 3]);
    }

    #[test]
    fn the_array_begins_at_a_multiple_of_64() {
        for shape in [vec![], vec![1], vec![28, 256, 256], vec![1; 12]] {
            assert_eq!(header("<f4", &shape).len() % 64, 0, "{shape:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let huge =
            with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999, 9999999), }", &[]);
        assert!(matches!(parse_npy(&huge), Err(ParseError::Truncated { .. })));
        let fields = with_header("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", &[]);
        assert!(matches!(parse_npy(&fields), Err(ParseError::Unsupported { .. })));
        let complex = with_header("{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }", &[0; 8]);
        assert!(parse_npy(&complex).unwrap_err().to_string().contains("'<c8'"));
        assert!(matches!(parse_npy(b"\x93NUMPX"), Err(ParseError::Magic { .. })));
    }

    #[test]
    fn files_that_follow_one_another() {
        let mut version2 = b"\x93NUMPY\x02\x00".to_vec();
        let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }\n";
        version2.extend((text.len() as u32).to_le_bytes());
        version2.extend(text.as_bytes());
        version2.extend(7f32.to_le_bytes());
        let stream = [npy_bytes(&[2], &[1.0, 2.0]), version2, npy_bytes(&[1, 1], &[3.0])].concat();
        let mut input = &stream[..];
        let mut found = Vec::new();
        while let Some(variable) = read_npy(&mut input).unwrap() {
            found.push((variable.shape.clone(), variable.values().unwrap().to_f32()));
        }
        assert_eq!(found, [(vec![2], vec![1.0, 2.0]), (vec![1], vec![7.0]), (vec![1, 1], vec![3.0])]);
        for cut in 1..npy_bytes(&[2], &[1.0, 2.0]).len() {
            assert!(read_npy(&mut &stream[..cut]).is_err(), "cut at {cut}");
        }
        assert!(read_npy(&mut &b"no numpy at all"[..]).is_err());
    }

    #[test]
    fn archives_hold_numbers_and_text() {
        let entries = [("x".to_string(), npy_bytes(&[2], &[1.0, 2.0])), ("note".to_string(), npy_text("µm"))];
        let contents = parse_npz(&npz_bytes(&entries).unwrap()).unwrap();
        assert_eq!(contents.get("x").unwrap().values(), Some(&Values::F32(vec![1.0, 2.0])));
        assert_eq!(contents.get("note").unwrap().as_text(), Some("µm"));
    }
}
