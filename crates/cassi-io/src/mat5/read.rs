//! Reading MAT v5.

use std::io::Read;

use super::{HEADER, class, element};
use crate::bytes::{Cursor, believable, count, first_bytes};
use crate::values::on_values;
use crate::{Contents, Endian, Kind, Order, ParseError, Values, Variable};

/// Parses a MAT v5 file, plain or compressed, of either byte order. Shapes and indices are MATLAB's.
///
/// # Errors
/// If the header or the structure of an element is damaged. Classes without real numbers are no error: they are
/// listed as skipped.
pub fn parse_mat5(bytes: &[u8]) -> Result<Contents, ParseError> {
    let endian = match bytes.get(124..HEADER) {
        Some([0, 1, b'I', b'M']) => Endian::Little,
        Some([1, 0, b'M', b'I']) => Endian::Big,
        Some(mark) => {
            let expected = "version 0x0100 and `IM` or `MI` at byte 124";
            return Err(ParseError::Magic { format: "MAT v5", found: first_bytes(mark), expected });
        }
        None => {
            let (needed, left) = (HEADER, bytes.len());
            return Err(ParseError::Truncated { what: "MAT header", at: 0, needed, left });
        }
    };
    let mut cursor = Cursor::new(bytes, endian);
    cursor.take(HEADER, "MAT header")?;
    let mut variables = Vec::new();
    let mut inflated = 0;
    // Fewer than 8 bytes are no element: what some writers leave behind as padding.
    while cursor.left() >= 8 {
        let (kind, data) = next(&mut cursor)?;
        let variable = match kind {
            element::COMPRESSED => {
                let unpacked = inflate(data, endian)?;
                // Every element is bounded by its own bytes; their sum is, too, and so is what is kept of it.
                inflated += unpacked.len() as u64;
                believable("a MAT file", inflated, bytes.len())?;
                let mut inner = Cursor::new(&unpacked, endian);
                match next(&mut inner)? {
                    (element::MATRIX, data) => matrix(data, endian)?,
                    _ => continue,
                }
            }
            element::MATRIX => matrix(data, endian)?,
            _ => continue,
        };
        // Unnamed arrays are MATLAB's own bookkeeping (the subsystem of objects).
        if !variable.name.is_empty() {
            variables.push(variable);
        }
    }
    let order = if endian == Endian::Little { "little" } else { "big" };
    Ok(Contents::new(format!("MAT v5, {order}-endian"), variables))
}

/// The type and the data of the next element; padding after it is skipped.
fn next<'a>(cursor: &mut Cursor<'a>) -> Result<(u32, &'a [u8]), ParseError> {
    let tag = cursor.u32("MAT element type")?;
    if tag >> 16 != 0 {
        // Up to four bytes of data share the eight bytes of the tag.
        let length = (tag >> 16) as usize;
        let data = cursor.take(4, "MAT small element")?;
        if length > 4 {
            return Err(ParseError::invalid("length of a MAT small element", length, "at most 4"));
        }
        return Ok((tag & 0xffff, &data[..length]));
    }
    let length = cursor.u32("MAT element length")? as usize;
    let data = cursor.take(length, "MAT element")?;
    if tag != element::COMPRESSED {
        let padding = (length.next_multiple_of(8) - length).min(cursor.left());
        cursor.take(padding, "MAT padding")?;
    }
    Ok((tag, data))
}

/// The one element inside a compressed one, as long as its own tag says.
fn inflate(data: &[u8], endian: Endian) -> Result<Vec<u8>, ParseError> {
    let error = |e: std::io::Error| ParseError::library("MAT compressed element", e);
    let mut decoder = flate2::read::ZlibDecoder::new(data);
    let mut unpacked = vec![0; 8];
    decoder.read_exact(&mut unpacked).map_err(error)?;
    let mut tag = Cursor::new(&unpacked, endian);
    let small = tag.u32("MAT element type")? >> 16 != 0;
    let length = if small { 0 } else { u64::from(tag.u32("MAT element length")?) };
    let length = believable("a MAT compressed element", length, data.len())?;
    unpacked.reserve_exact(length);
    decoder.take(length as u64).read_to_end(&mut unpacked).map_err(error)?;
    Ok(unpacked)
}

/// Name of a class, and the type of its numbers if it has any.
fn class_of(number: u8) -> (&'static str, Option<Kind>) {
    match number {
        1 => ("cell", None),
        2 => ("struct", None),
        3 => ("object", None),
        class::CHAR => ("char", None),
        5 => ("sparse", None),
        class::DOUBLE => ("double", Some(Kind::F64)),
        class::SINGLE => ("single", Some(Kind::F32)),
        8 => ("int8", Some(Kind::I8)),
        9 => ("uint8", Some(Kind::U8)),
        10 => ("int16", Some(Kind::I16)),
        11 => ("uint16", Some(Kind::U16)),
        12 => ("int32", Some(Kind::I32)),
        13 => ("uint32", Some(Kind::U32)),
        14 => ("int64", Some(Kind::I64)),
        15 => ("uint64", Some(Kind::U64)),
        16 => ("function_handle", None),
        class::OPAQUE => ("opaque", None),
        _ => ("unknown class", None),
    }
}

/// The type of numbers in an element.
fn stored_kind(number: u32) -> Option<Kind> {
    Some(match number {
        element::INT8 => Kind::I8,
        element::UINT8 => Kind::U8,
        3 => Kind::I16,
        element::UINT16 => Kind::U16,
        element::INT32 => Kind::I32,
        element::UINT32 => Kind::U32,
        element::SINGLE => Kind::F32,
        element::DOUBLE => Kind::F64,
        12 => Kind::I64,
        13 => Kind::U64,
        _ => return None,
    })
}

const COMPLEX: u32 = 0x0800;
const LOGICAL: u32 = 0x0200;

fn matrix(data: &[u8], endian: Endian) -> Result<Variable, ParseError> {
    if data.is_empty() {
        return Ok(Variable::skipped("", "empty", vec![0, 0], "empty, skipped"));
    }
    let mut cursor = Cursor::new(data, endian);
    let (_, flags) = next(&mut cursor)?;
    let flags = Cursor::new(flags, endian).u32("MAT array flags")?;
    let number = (flags & 0xff) as u8;
    let (class, kind) = class_of(number);
    let mut shape = Vec::new();
    if number != class::OPAQUE {
        let (_, dims) = next(&mut cursor)?;
        let mut dims = Cursor::new(dims, endian);
        while dims.left() > 0 {
            let axis = dims.u32("MAT dimensions")?.cast_signed();
            let axis = usize::try_from(axis)
                .map_err(|_| ParseError::invalid("MAT dimension", axis, "at least 0"))?;
            shape.push(axis);
        }
    }
    let (_, name) = next(&mut cursor)?;
    let name = String::from_utf8_lossy(name).trim_end_matches('\0').to_string();
    if number == class::CHAR {
        let (kind, data) = next(&mut cursor)?;
        return Ok(characters(name, shape, kind, data, endian));
    }
    let Some(kind) = kind else {
        return Ok(Variable::skipped(name, class, shape, format!("{class}, skipped")));
    };
    let class = if flags & LOGICAL != 0 { "logical" } else { class };
    if flags & COMPLEX != 0 {
        return Ok(Variable::skipped(name, class, shape, format!("complex {class}, skipped")));
    }
    let expected = count(&name, &shape)?;
    let (stored, data) = next(&mut cursor)?;
    let stored = stored_kind(stored).ok_or_else(|| {
        ParseError::invalid(format!("stored type of `{name}`"), stored, "a type of numbers")
    })?;
    if data.len() / stored.size() != expected {
        let found = format!("{} numbers", data.len() / stored.size());
        return Err(ParseError::invalid(
            format!("`{name}` of shape {shape:?}"),
            found,
            format!("{expected} numbers"),
        ));
    }
    let values = as_class(stored.decode(data, endian), kind);
    Variable::numbers(name, class, shape, Order::ColumnMajor, values)
}

/// Numbers stored in a smaller type, brought to the type of their class. (What is stored smaller fits exactly.)
fn as_class(values: Values, kind: Kind) -> Values {
    macro_rules! cast {
        ($($variant:ident $type:ty),*) => {
            match kind {
                $(Kind::$variant => match values {
                    same @ Values::$variant(_) => same,
                    other => Values::$variant(on_values!(other, v => v.into_iter().map(|x| x as $type).collect())),
                },)*
                Kind::F16 | Kind::Bf16 => values,
            }
        };
    }
    cast!(U8 u8, I8 i8, U16 u16, I16 i16, U32 u32, I32 i32, U64 u64, I64 i64, F32 f32, F64 f64)
}

/// A char array: one row of characters as text, several as lines (MATLAB stores them column by column).
fn characters(name: String, shape: Vec<usize>, kind: u32, data: &[u8], endian: Endian) -> Variable {
    let units: Vec<char> = match kind {
        element::UTF8 | element::INT8 | element::UINT8 => String::from_utf8_lossy(data).chars().collect(),
        element::UTF16 | element::UINT16 => {
            let Values::U16(units) = Kind::U16.decode(data, endian) else {
                unreachable!("decodes to its own kind")
            };
            char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        }
        element::UTF32 => {
            let Values::U32(units) = Kind::U32.decode(data, endian) else {
                unreachable!("decodes to its own kind")
            };
            units.into_iter().map(|c| char::from_u32(c).unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        }
        _ => return Variable::skipped(name, "char", shape, "char of an unknown encoding, skipped"),
    };
    let rows = shape.first().copied().unwrap_or(1);
    let text = if rows > 1 && shape.len() == 2 && shape[1].checked_mul(rows) == Some(units.len()) {
        let line = |r: usize| units.iter().skip(r).step_by(rows).collect::<String>();
        (0..rows).map(|r| line(r).trim_end().to_string()).collect::<Vec<_>>().join("\n")
    } else {
        units.into_iter().collect()
    };
    Variable::text(name, "char", shape, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file by hand: `header`, then elements in the given byte order.
    struct Hand {
        bytes: Vec<u8>,
        big: bool,
    }

    impl Hand {
        fn new(big: bool) -> Self {
            let mut bytes = vec![b' '; 124];
            bytes.extend(if big { [1, 0, b'M', b'I'] } else { [0, 1, b'I', b'M'] });
            Self { bytes, big }
        }
        fn u32(&self, v: u32) -> [u8; 4] {
            if self.big { v.to_be_bytes() } else { v.to_le_bytes() }
        }
        fn element(&self, kind: u32, data: &[u8]) -> Vec<u8> {
            let mut bytes = self.u32(kind).to_vec();
            bytes.extend(self.u32(data.len() as u32));
            bytes.extend(data);
            bytes.resize(bytes.len().next_multiple_of(8), 0);
            bytes
        }
        fn small(&self, kind: u32, data: &[u8]) -> Vec<u8> {
            let mut bytes = self.u32((data.len() as u32) << 16 | kind).to_vec();
            bytes.extend(data);
            bytes.resize(8, 0);
            bytes
        }
        fn compressed(&self, whole: &[u8]) -> Vec<u8> {
            let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut packed, whole).unwrap();
            let packed = packed.finish().unwrap();
            [&self.u32(element::COMPRESSED)[..], &self.u32(packed.len() as u32), &packed].concat()
        }
        fn matrix(&self, flags: u32, shape: &[u32], name: &str, parts: &[Vec<u8>]) -> Vec<u8> {
            let flags: Vec<u8> = [self.u32(flags), [0; 4]].concat();
            let mut body = self.element(6, &flags);
            let dims: Vec<u8> = shape.iter().flat_map(|&n| self.u32(n)).collect();
            body.extend(self.element(5, &dims));
            body.extend(self.small(1, name.as_bytes()));
            body.extend(parts.concat());
            self.element(14, &body)
        }
    }

    #[test]
    fn both_byte_orders_small_elements_and_narrow_storage() {
        for big in [false, true] {
            let mut hand = Hand::new(big);
            // A double matrix of integers, stored in bytes, as MATLAB does.
            let data = hand.element(2, &[1, 2, 3, 4, 5, 6]);
            let doubles = hand.matrix(6, &[2, 3], "d", &[data]);
            let words: Vec<u8> = [0x0102u16, 7]
                .iter()
                .flat_map(|v| if big { v.to_be_bytes() } else { v.to_le_bytes() })
                .collect();
            let data = hand.small(4, &words);
            let integers = hand.matrix(11, &[1, 2], "w", &[data]);
            let packed = hand.compressed(&doubles);
            let plain = [doubles, integers].concat();
            let compressed = [hand.bytes.clone(), packed].concat();
            hand.bytes.extend(plain);
            let contents = parse_mat5(&hand.bytes).unwrap();
            // The first array compressed is the same array.
            assert_eq!(parse_mat5(&compressed).unwrap().variables, contents.variables[..1]);
            let d = contents.get("d").unwrap();
            assert_eq!((d.class.as_str(), d.values().unwrap().is_integer()), ("double", false));
            assert_eq!(d.to_array().unwrap().as_slice().unwrap(), [1.0, 3.0, 5.0, 2.0, 4.0, 6.0]);
            assert_eq!(contents.get("w").unwrap().values(), Some(&Values::U16(vec![0x0102, 7])));
        }
    }

    #[test]
    fn every_numeric_class() {
        let hand = Hand::new(false);
        let classes =
            ["double", "single", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"];
        for (number, name) in (6..).zip(classes) {
            let data = hand.small(2, &[3]);
            let mut bytes = hand.bytes.clone();
            bytes.extend(hand.matrix(number, &[1, 1], "v", &[data]));
            let contents = parse_mat5(&bytes).unwrap();
            assert_eq!(
                (contents.variables[0].class.as_str(), contents.variables[0].values().unwrap().to_f64()),
                (name, vec![3.0])
            );
        }
        let data = hand.small(2, &[1]);
        let mut bytes = hand.bytes.clone();
        bytes.extend(hand.matrix(9 | LOGICAL, &[1, 1], "flag", &[data]));
        assert_eq!(parse_mat5(&bytes).unwrap().variables[0].class, "logical");
    }

    #[test]
    fn what_holds_no_numbers_is_listed_and_skipped() {
        let hand = Hand::new(false);
        let mut bytes = hand.bytes.clone();
        for number in [1, 2, 3, 5, 16] {
            bytes.extend(hand.matrix(number, &[1, 1], "v", &[vec![1; 24]]));
        }
        let parts = [hand.small(2, &[1]), hand.small(2, &[1])];
        bytes.extend(hand.matrix(6 | COMPLEX, &[1, 1], "c", &parts));
        bytes.extend(hand.matrix(4, &[2, 2], "t", &[hand.small(16, b"acbd")]));
        let contents = parse_mat5(&bytes).unwrap();
        assert_eq!(contents.variables.len(), 7);
        assert!(contents.variables.iter().all(|v| v.values().is_none()));
        assert_eq!(contents.get("t").unwrap().as_text(), Some("ab\ncd"));
    }

    #[test]
    fn a_shape_that_lies_is_refused() {
        let hand = Hand::new(false);
        for shape in [&[2u32, 2][..], &[1 << 30, 1 << 30], &[u32::MAX, 1]] {
            let mut bytes = hand.bytes.clone();
            bytes.extend(hand.matrix(6, shape, "v", &[hand.small(2, &[1, 2, 3])]));
            assert!(parse_mat5(&bytes).is_err(), "{shape:?}");
        }
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_inflated() {
        let hand = Hand::new(false);
        let bomb = hand.compressed(&[14, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        let bytes = [hand.bytes.clone(), bomb].concat();
        assert!(matches!(parse_mat5(&bytes), Err(ParseError::TooLarge { .. })));
    }
}
