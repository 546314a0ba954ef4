//! safetensors: the one format in which weights are written, and the usual one in which they are read.

use std::collections::BTreeMap;

use cassi_core::NamedTensors;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::bytes::first_bytes;
use crate::{Attribute, Contents, Endian, Kind, Order, ParseError, Variable};

/// Precision in which weights are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TensorPrecision {
    /// Singles, exactly as they are.
    F32,
    /// Half precision, rounded to nearest even; its largest number is 65504.
    F16,
}

fn kind(dtype: Dtype) -> Option<Kind> {
    Some(match dtype {
        Dtype::BOOL | Dtype::U8 => Kind::U8,
        Dtype::I8 => Kind::I8,
        Dtype::U16 => Kind::U16,
        Dtype::I16 => Kind::I16,
        Dtype::U32 => Kind::U32,
        Dtype::I32 => Kind::I32,
        Dtype::U64 => Kind::U64,
        Dtype::I64 => Kind::I64,
        Dtype::F16 => Kind::F16,
        Dtype::BF16 => Kind::Bf16,
        Dtype::F32 => Kind::F32,
        Dtype::F64 => Kind::F64,
        _ => return None,
    })
}

/// Parses a safetensors file, in the order of its data; its metadata become attributes of the contents.
///
/// # Errors
/// If the header is damaged or does not describe the data. Tensors of types without plain numbers (fp8, complex) are
/// listed as skipped.
pub fn parse_safetensors(bytes: &[u8]) -> Result<Contents, ParseError> {
    // A header longer than the file would be allocated for by nobody, but the message of the library is poor.
    let declared = bytes.first_chunk().map(|length| u64::from_le_bytes(*length));
    match declared {
        Some(length) if length <= bytes.len() as u64 - 8 => {}
        Some(length) => {
            let limit = bytes.len() as u64 - 8;
            return Err(ParseError::TooLarge { what: "the safetensors header".into(), bytes: length, limit });
        }
        None => {
            let expected = "8 bytes of header length";
            return Err(ParseError::Magic { format: "safetensors", found: first_bytes(bytes), expected });
        }
    }
    let error = |e: safetensors::SafeTensorError| ParseError::library("safetensors", e);
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(error)?;
    let file = SafeTensors::deserialize(bytes).map_err(error)?;
    let mut tensors = file.tensors();
    tensors.sort_by_key(|(_, view)| view.data().as_ptr() as usize);
    let variables = (tensors.into_iter())
        .map(|(name, view)| {
            let class = format!("{:?}", view.dtype());
            let shape = view.shape().to_vec();
            match kind(view.dtype()) {
                Some(kind) => {
                    let values = kind.decode(view.data(), Endian::Little);
                    Variable::numbers(name, class, shape, Order::RowMajor, values)
                }
                None => Ok(Variable::skipped(name, class, shape, "no plain numbers, skipped")),
            }
        })
        .collect::<Result<_, _>>()?;
    let mut contents = Contents::new("safetensors", variables);
    let pairs: BTreeMap<_, _> = metadata.metadata().clone().unwrap_or_default().into_iter().collect();
    contents.attributes = pairs.into_iter().map(|(key, text)| (key, Attribute::Text(text))).collect();
    Ok(contents)
}

/// A safetensors file of these tensors, in their order, with metadata in the order of the keys: same tensors, same
/// bytes.
///
/// # Errors
/// If a finite number would become infinite in half precision, or the library refuses a tensor (it does not refuse what
/// [`cassi_core::Tensor::new`] accepts).
pub fn safetensors_bytes(
    tensors: &NamedTensors,
    precision: TensorPrecision,
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>, ParseError> {
    // The library sorts by name within a type and keeps metadata in a hash map, whose order is random: write here.
    let mut header = serde_json::Map::new();
    if !metadata.is_empty() {
        header.insert("__metadata__".into(), serde_json::json!(metadata));
    }
    let mut data = Vec::new();
    for (name, tensor) in tensors.iter() {
        let begin = data.len();
        let dtype = match precision {
            TensorPrecision::F32 => {
                data.extend(tensor.data.iter().flat_map(|v| v.to_le_bytes()));
                Dtype::F32
            }
            TensorPrecision::F16 => {
                let too_large = |v: &&f32| v.is_finite() && half::f16::from_f32(**v).is_infinite();
                if let Some(value) = tensor.data.iter().find(too_large) {
                    return Err(ParseError::invalid(
                        format!("a value of `{name}`"),
                        value,
                        "65504 at most in half precision; write single precision (`cassi convert` without --half)",
                    ));
                }
                data.extend(tensor.data.iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()));
                Dtype::F16
            }
        };
        TensorView::new(dtype, tensor.shape.clone(), &data[begin..])
            .map_err(|e| ParseError::library("safetensors", format!("`{name}`: {e}")))?;
        let entry =
            serde_json::json!({"dtype": dtype, "shape": tensor.shape, "data_offsets": [begin, data.len()]});
        header.insert(name.into(), entry);
    }
    let mut header = serde_json::to_vec(&header).map_err(|e| ParseError::library("safetensors", e))?;
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header);
    bytes.extend(data);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cassi_core::Tensor;

    fn two() -> NamedTensors {
        let mut tensors = NamedTensors::new();
        tensors.insert("z", Tensor::new(vec![2, 2], vec![1.0, -0.5, 3.0e-3, 4.0]).unwrap());
        tensors.insert("a", Tensor::new(vec![], vec![7.0]).unwrap());
        tensors
    }

    #[test]
    fn order_values_and_metadata_come_back() {
        let metadata = BTreeMap::from([("card".to_string(), "{}".to_string())]);
        let bytes = safetensors_bytes(&two(), TensorPrecision::F32, &metadata).unwrap();
        assert_eq!(bytes, safetensors_bytes(&two(), TensorPrecision::F32, &metadata).unwrap());
        let contents = parse_safetensors(&bytes).unwrap();
        let names: Vec<_> = contents.variables.iter().map(|v| v.name.as_str()).collect();
        assert_eq!(names, ["z", "a"]);
        assert_eq!(contents.variables[0].values().unwrap().to_f32(), two().get("z").unwrap().data);
        assert_eq!(contents.attributes, [("card".to_string(), Attribute::Text("{}".into()))]);
    }

    #[test]
    fn halves_round_to_nearest() {
        let bytes = safetensors_bytes(&two(), TensorPrecision::F16, &BTreeMap::new()).unwrap();
        let contents = parse_safetensors(&bytes).unwrap();
        for (got, want) in
            contents.variables[0].values().unwrap().to_f32().iter().zip(&two().get("z").unwrap().data)
        {
            // Half precision keeps 11 bits.
            assert!((got - want).abs() <= want.abs() / 2048.0);
        }
    }

    #[test]
    fn what_half_precision_cannot_hold_is_refused() {
        let one = |value| {
            let mut tensors = NamedTensors::new();
            tensors.insert("running_var", Tensor::new(vec![1], vec![value]).unwrap());
            safetensors_bytes(&tensors, TensorPrecision::F16, &BTreeMap::new())
        };
        // 65520 is half way to where the next number would be, and rounds up.
        for value in [65_504.0, -65_519.0, f32::INFINITY] {
            assert!(one(value).is_ok(), "{value}");
        }
        for value in [65_520.0, -123_564.25] {
            let message = one(value).unwrap_err().to_string();
            assert!(message.contains("`running_var`") && message.contains(&value.to_string()), "{message}");
        }
    }

    #[test]
    fn a_header_longer_than_the_file_is_refused() {
        let mut bytes = u64::MAX.to_le_bytes().to_vec();
        bytes.extend(b"{}");
        assert!(matches!(parse_safetensors(&bytes), Err(ParseError::TooLarge { .. })));
        assert!(matches!(parse_safetensors(b"{}"), Err(ParseError::Magic { .. })));
    }
}
