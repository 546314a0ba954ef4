//! What a parsed file holds, whatever its format: named [`Variable`]s of numbers in their own type and order.

use ndarray::{ArrayD, IxDyn, ShapeBuilder};

use crate::{Endian, ParseError, bytes::count};

/// A type of numbers in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 8-bit integer, or a logical stored in a byte.
    U8,
    /// 8-bit signed integer.
    I8,
    /// 16-bit integer.
    U16,
    /// 16-bit signed integer.
    I16,
    /// 32-bit integer.
    U32,
    /// 32-bit signed integer.
    I32,
    /// 64-bit integer.
    U64,
    /// 64-bit signed integer.
    I64,
    /// IEEE half precision.
    F16,
    /// The upper half of a single.
    Bf16,
    /// IEEE single precision.
    F32,
    /// IEEE double precision.
    F64,
}

impl Kind {
    /// Bytes of one number.
    pub fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 | Self::F16 | Self::Bf16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// Numbers from bytes, as many as fit. Half and bfloat16 become singles, which hold them exactly.
    pub fn decode(self, bytes: &[u8], endian: Endian) -> Values {
        macro_rules! each {
            ($type:ty) => {
                bytes
                    .chunks_exact(size_of::<$type>())
                    .map(|chunk| {
                        let chunk = chunk.try_into().expect("chunks of this size");
                        match endian {
                            Endian::Little => <$type>::from_le_bytes(chunk),
                            Endian::Big => <$type>::from_be_bytes(chunk),
                        }
                    })
                    .collect::<Vec<$type>>()
            };
        }
        match self {
            Self::U8 => Values::U8(bytes.to_vec()),
            Self::I8 => Values::I8(each!(i8)),
            Self::U16 => Values::U16(each!(u16)),
            Self::I16 => Values::I16(each!(i16)),
            Self::U32 => Values::U32(each!(u32)),
            Self::I32 => Values::I32(each!(i32)),
            Self::U64 => Values::U64(each!(u64)),
            Self::I64 => Values::I64(each!(i64)),
            Self::F16 => Values::F32(each!(half::f16).into_iter().map(f32::from).collect()),
            Self::Bf16 => Values::F32(each!(half::bf16).into_iter().map(f32::from).collect()),
            Self::F32 => Values::F32(each!(f32)),
            Self::F64 => Values::F64(each!(f64)),
        }
    }
}

/// Numbers in the type of their file.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // each holds numbers of the type it is named after
pub enum Values {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

/// Runs one expression on the vector inside, whatever its type.
macro_rules! on_values {
    ($values:expr, $v:ident => $body:expr) => {
        match $values {
            Values::U8($v) => $body,
            Values::I8($v) => $body,
            Values::U16($v) => $body,
            Values::I16($v) => $body,
            Values::U32($v) => $body,
            Values::I32($v) => $body,
            Values::U64($v) => $body,
            Values::I64($v) => $body,
            Values::F32($v) => $body,
            Values::F64($v) => $body,
        }
    };
}

pub(crate) use on_values;

#[allow(clippy::unnecessary_cast)] // one of the ten types is the target itself
impl Values {
    /// How many numbers.
    pub fn len(&self) -> usize {
        on_values!(self, v => v.len())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// As singles; numbers beyond 24 bits are rounded.
    pub fn to_f32(&self) -> Vec<f32> {
        match self {
            Self::F32(v) => v.clone(),
            other => on_values!(other, v => v.iter().map(|&x| x as f32).collect()),
        }
    }

    /// As doubles; integers beyond 53 bits are rounded.
    pub fn to_f64(&self) -> Vec<f64> {
        on_values!(self, v => v.iter().map(|&x| x as f64).collect())
    }

    /// Smallest and largest finite number, if there is one.
    pub fn range(&self) -> Option<(f64, f64)> {
        on_values!(self, v => {
            (v.iter().map(|&x| x as f64).filter(|x| x.is_finite()))
                .fold(None, |range, x| range.map_or(Some((x, x)), |(low, high): (f64, f64)| Some((low.min(x), high.max(x)))))
        })
    }

    /// How many numbers are NaN or infinite.
    pub fn not_finite(&self) -> usize {
        match self {
            Self::F32(v) => v.iter().filter(|x| !x.is_finite()).count(),
            Self::F64(v) => v.iter().filter(|x| !x.is_finite()).count(),
            _ => 0,
        }
    }

    /// Whether these are integers.
    pub fn is_integer(&self) -> bool {
        !matches!(self, Self::F32(_) | Self::F64(_))
    }
}

/// Which index of a stored array runs fastest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The last index: C, Python, HDF5.
    RowMajor,
    /// The first index: MATLAB, Fortran.
    ColumnMajor,
}

/// What a variable holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// An array of real numbers.
    Numbers {
        /// The numbers as stored.
        values: Values,
        /// Which index runs fastest in them.
        order: Order,
    },
    /// A string.
    Text(String),
    /// Something that is listed but not read; the text says what.
    Skipped(String),
}

/// An attribute of a variable or of a file.
#[derive(Debug, Clone, PartialEq)]
pub enum Attribute {
    /// A string.
    Text(String),
    /// One number or more.
    Numbers(Vec<f64>),
}

/// A named array, or something that is not one.
#[derive(Debug, Clone, PartialEq)]
pub struct Variable {
    /// Its name; empty where the format has none (NPY, images).
    pub name: String,
    /// Its type in the words of the format, e.g. `single`, `<f4`, `uint16`.
    pub class: String,
    /// Length of every axis, in the order in which the format's users index it.
    pub shape: Vec<usize>,
    /// The numbers, if it has any.
    pub content: Content,
    /// Its attributes, by name.
    pub attributes: Vec<(String, Attribute)>,
}

impl Variable {
    /// An array of numbers.
    ///
    /// # Errors
    /// If the shape does not say as many numbers as there are.
    pub fn numbers(
        name: impl Into<String>,
        class: impl Into<String>,
        shape: Vec<usize>,
        order: Order,
        values: Values,
    ) -> Result<Self, ParseError> {
        let name = name.into();
        let expected = count(&name, &shape)?;
        if expected != values.len() {
            let what = format!("`{name}` of shape {shape:?}");
            return Err(ParseError::invalid(
                what,
                format!("{} numbers", values.len()),
                format!("{expected} numbers"),
            ));
        }
        let content = Content::Numbers { values, order };
        Ok(Self { name, class: class.into(), shape, content, attributes: Vec::new() })
    }

    /// Something listed but not read.
    pub fn skipped(
        name: impl Into<String>,
        class: impl Into<String>,
        shape: Vec<usize>,
        why: impl Into<String>,
    ) -> Self {
        let content = Content::Skipped(why.into());
        Self { name: name.into(), class: class.into(), shape, content, attributes: Vec::new() }
    }

    /// A string.
    pub fn text(name: impl Into<String>, class: impl Into<String>, shape: Vec<usize>, text: String) -> Self {
        let content = Content::Text(text);
        Self { name: name.into(), class: class.into(), shape, content, attributes: Vec::new() }
    }

    /// The numbers as stored, if it holds any.
    pub fn values(&self) -> Option<&Values> {
        match &self.content {
            Content::Numbers { values, .. } => Some(values),
            _ => None,
        }
    }

    /// The string, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The attribute of that name.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        find(&self.attributes, name)
    }

    /// The numbers as singles in C order, in the variable's own axes; `None` if it holds no numbers.
    pub fn to_array(&self) -> Option<ArrayD<f32>> {
        let Content::Numbers { values, order } = &self.content else { return None };
        let column_major = *order == Order::ColumnMajor;
        let array = ArrayD::from_shape_vec(IxDyn(&self.shape).set_f(column_major), values.to_f32())
            .expect("as many numbers as the shape says, by construction");
        Some(if array.is_standard_layout() { array } else { array.as_standard_layout().into_owned() })
    }
}

/// The attribute of that name.
pub(crate) fn find<'a>(attributes: &'a [(String, Attribute)], name: &str) -> Option<&'a Attribute> {
    attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

/// A whole parsed file.
#[derive(Debug, Clone, PartialEq)]
pub struct Contents {
    /// Format in words, e.g. `MAT v5, little-endian`.
    pub format: String,
    /// Its variables, in the order of the file.
    pub variables: Vec<Variable>,
    /// Attributes of the file itself.
    pub attributes: Vec<(String, Attribute)>,
}

impl Contents {
    pub(crate) fn new(format: impl Into<String>, variables: Vec<Variable>) -> Self {
        Self { format: format.into(), variables, attributes: Vec::new() }
    }

    /// The variable of that name.
    pub fn get(&self, name: &str) -> Option<&Variable> {
        self.variables.iter().find(|variable| variable.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn column_major_numbers_come_out_in_c_order() {
        let values = Values::U16(vec![1, 2, 3, 4, 5, 6]);
        let variable = Variable::numbers("m", "uint16", vec![2, 3], Order::ColumnMajor, values).unwrap();
        assert_eq!(variable.to_array().unwrap().as_slice().unwrap(), [1.0, 3.0, 5.0, 2.0, 4.0, 6.0]);
    }

    #[test]
    fn decodes_every_kind_in_both_orders() {
        for (kind, one) in
            [(Kind::F16, vec![0, 0x3c]), (Kind::Bf16, vec![0x80, 0x3f]), (Kind::I16, vec![1, 0])]
        {
            let big: Vec<u8> = one.iter().rev().copied().collect();
            assert_eq!(kind.decode(&one, Endian::Little).to_f32(), [1.0], "{kind:?}");
            assert_eq!(kind.decode(&big, Endian::Big).to_f32(), [1.0], "{kind:?}");
        }
        assert_eq!(Kind::I8.decode(&[255], Endian::Big), Values::I8(vec![-1]));
        let two = 2f64.to_be_bytes();
        assert_eq!(Kind::F64.decode(&two, Endian::Big), Values::F64(vec![2.0]));
    }

    #[test]
    fn range_leaves_nan_out() {
        assert_eq!(Values::F32(vec![f32::NAN, 2.0, -1.0]).range(), Some((-1.0, 2.0)));
        assert_eq!(Values::F32(vec![f32::NAN]).range(), None);
    }
}
