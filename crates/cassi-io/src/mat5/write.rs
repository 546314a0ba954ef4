//! Writing MAT v5: little-endian, every variable deflated, the same bytes for the same values.

use std::io::Write;

use ndarray::ArrayViewD;

use super::{HEADER, class, element};
use crate::ParseError;

/// A variable to be written.
#[derive(Debug, Clone)]
pub enum MatVariable<'a> {
    /// Singles, in the axes in which MATLAB will index them; fewer than two axes are filled up with ones.
    Single(ArrayViewD<'a, f32>),
    /// A row of doubles.
    DoubleRow(&'a [f64]),
    /// A row of characters.
    Text(&'a str),
}

fn push(bytes: &mut Vec<u8>, kind: u32, data: &[u8]) -> Result<(), ParseError> {
    let length = u32::try_from(data.len()).ok().filter(|&n| n < i32::MAX as u32);
    let length = length.ok_or_else(|| {
        ParseError::unsupported(
            "an array of 2 GiB or more in MAT v5",
            "write it as .h5, which has no such limit",
        )
    })?;
    bytes.extend(kind.to_le_bytes());
    bytes.extend(length.to_le_bytes());
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    Ok(())
}

fn matrix(name: &str, variable: &MatVariable<'_>) -> Result<Vec<u8>, ParseError> {
    let (class, shape, kind, data): (u8, Vec<usize>, u32, Vec<u8>) = match variable {
        MatVariable::Single(array) => {
            let mut shape = array.shape().to_vec();
            // MATLAB has no fewer than two axes; a list becomes a row, as SciPy makes it.
            while shape.len() < 2 {
                shape.insert(0, 1);
            }
            // The transposed view walks the first index fastest.
            let data = array.t().iter().flat_map(|v| v.to_le_bytes()).collect();
            (class::SINGLE, shape, element::SINGLE, data)
        }
        MatVariable::DoubleRow(row) => (
            class::DOUBLE,
            vec![1, row.len()],
            element::DOUBLE,
            row.iter().flat_map(|v| v.to_le_bytes()).collect(),
        ),
        MatVariable::Text(text) => {
            let units: Vec<u16> = text.encode_utf16().collect();
            let data = units.iter().flat_map(|v| v.to_le_bytes()).collect();
            (class::CHAR, vec![usize::from(!units.is_empty()), units.len()], element::UINT16, data)
        }
    };
    let mut body = Vec::with_capacity(data.len() + 128);
    push(&mut body, element::UINT32, &[class, 0, 0, 0, 0, 0, 0, 0])?;
    let mut dims = Vec::new();
    for axis in shape {
        let axis = i32::try_from(axis)
            .map_err(|_| ParseError::unsupported("an axis beyond 2^31 in MAT v5", "write .h5"))?;
        dims.extend(axis.to_le_bytes());
    }
    push(&mut body, element::INT32, &dims)?;
    push(&mut body, element::INT8, name.as_bytes())?;
    push(&mut body, kind, &data)?;
    let mut bytes = Vec::with_capacity(body.len() + 8);
    push(&mut bytes, element::MATRIX, &body)?;
    Ok(bytes)
}

/// A MAT v5 file of these variables, in their order.
///
/// # Errors
/// If an array does not fit the format (2 GiB).
pub fn mat5_bytes(variables: &[(&str, MatVariable<'_>)]) -> Result<Vec<u8>, ParseError> {
    let mut bytes = b"MATLAB 5.0 MAT-file, written by cassi".to_vec();
    bytes.resize(HEADER - 12, b' ');
    bytes.resize(HEADER - 4, 0);
    bytes.extend([0, 1, b'I', b'M']);
    for (name, variable) in variables {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(6));
        let packed = (encoder.write_all(&matrix(name, variable)?).and_then(|()| encoder.finish()))
            .map_err(|e| ParseError::library("MAT compressed element", e))?;
        bytes.extend(element::COMPRESSED.to_le_bytes());
        bytes.extend((packed.len() as u32).to_le_bytes());
        bytes.extend(packed);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse_mat5;
    use ndarray::{ArrayD, IxDyn};

    #[test]
    fn what_is_written_is_read_back() {
        let array = ArrayD::from_shape_fn(IxDyn(&[2, 3, 4]), |i| (100 * i[0] + 10 * i[1] + i[2]) as f32);
        let list = ArrayD::from_shape_vec(IxDyn(&[2]), vec![5.0, 6.0]).unwrap();
        let nm = [453.5, 648.0];
        let bytes = mat5_bytes(&[
            ("cube", MatVariable::Single(array.view())),
            ("list", MatVariable::Single(list.view())),
            ("wavelengths_nm", MatVariable::DoubleRow(&nm)),
            ("note", MatVariable::Text("7 µm")),
            ("empty", MatVariable::Text("")),
        ])
        .unwrap();
        let contents = parse_mat5(&bytes).unwrap();
        assert_eq!(contents.get("cube").unwrap().to_array().unwrap(), array);
        assert_eq!(contents.get("list").unwrap().shape, [1, 2]);
        assert_eq!(contents.get("wavelengths_nm").unwrap().values().unwrap().to_f64(), nm);
        assert_eq!(contents.get("note").unwrap().as_text(), Some("7 µm"));
        assert_eq!(contents.get("empty").unwrap().as_text(), Some(""));
    }
}
