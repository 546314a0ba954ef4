//! PNG, JPEG and TIFF pictures: read as a snapshot, a mask or colours, with limits; 16-bit grey PNG is written.
//!
//! Values are divided by 255 or 65535. A PNG written here carries `cassi.scale` and `cassi.offset` as text, so that
//! `value = offset + scale * grey / 65535` brings a snapshot beyond [0, 1] back, to within the quantisation.

use std::io::Cursor;
use std::path::Path;

use image::{ColorType, ImageEncoder, ImageReader, Limits};
use ndarray::{Array3, ArrayView2};

use crate::{Contents, IoError, Order, ParseError, Values, Variable, read_bytes};

/// The name that a picture's one variable is given.
const NAME: &str = "image";

/// Largest side of a picture, and the most memory a decoder may take: 24 bytes a pixel of the largest cameras.
const LARGEST_SIDE: u32 = 32_768;
const MOST_MEMORY: u64 = 1 << 30;

const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Whether the bytes begin as PNG, JPEG or TIFF does.
pub(crate) fn is_picture(bytes: &[u8]) -> bool {
    bytes.starts_with(PNG_SIGNATURE)
        || bytes.starts_with(&[0xff, 0xd8, 0xff])
        || bytes.starts_with(b"II*\0")
        || bytes.starts_with(b"MM\0*")
}

/// Whether a JPEG's end mark follows the start of its last scan: the decoder fills up with grey what is cut off. (In a
/// scan, 0xff is never followed by either mark; a thumbnail's marks come before the picture's scan.)
fn has_end(bytes: &[u8]) -> bool {
    let last = |mark: u8| bytes.windows(2).rposition(|w| w == [0xff, mark]);
    matches!((last(0xda), last(0xd9)), (Some(scan), Some(end)) if scan < end)
}

fn decode(bytes: &[u8]) -> Result<(image::DynamicImage, &'static str), ParseError> {
    let format = match bytes.first() {
        Some(0x89) => "PNG",
        Some(0xff) => "JPEG",
        _ => "TIFF",
    };
    let error = |e: image::ImageError| ParseError::library(format, e);
    if format == "JPEG" && !has_end(bytes) {
        let at = bytes.len();
        return Err(ParseError::Truncated { what: "the end mark of a JPEG", at, needed: 2, left: 0 });
    }
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|e| ParseError::library(format, e))?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(LARGEST_SIDE);
    limits.max_image_height = Some(LARGEST_SIDE);
    limits.max_alloc =
        Some(MOST_MEMORY.min(crate::bytes::DEFLATE_RATIO * bytes.len() as u64 * 8 + (1 << 20)));
    reader.limits(limits);
    Ok((reader.decode().map_err(error)?, format))
}

/// Parses a picture: one variable `image`, `[row, column]` if it is grey, else `[row, column, 3]` (transparency is
/// dropped).
///
/// # Errors
/// If the bytes are damaged, or the picture is beyond 32768 pixels a side.
pub fn parse_picture(bytes: &[u8]) -> Result<Contents, ParseError> {
    let (image, format) = decode(bytes)?;
    let (rows, columns) = (image.height() as usize, image.width() as usize);
    let colour = image.color();
    let class = match colour {
        ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16 => "uint16",
        ColorType::Rgb32F | ColorType::Rgba32F => "float32",
        _ => "uint8",
    };
    let (shape, mut data) = if colour.has_color() {
        (vec![rows, columns, 3], image.into_rgb32f().into_raw())
    } else if class == "uint16" {
        let data = image.into_luma16().into_raw().into_iter().map(|v| f32::from(v) / 65535.0).collect();
        (vec![rows, columns], data)
    } else {
        let data = image.into_luma8().into_raw().into_iter().map(|v| f32::from(v) / 255.0).collect();
        (vec![rows, columns], data)
    };
    let number = |key: &str| png_text(bytes, key).and_then(|text| text.trim().parse::<f32>().ok());
    if let (Some(scale), Some(offset)) = (number("cassi.scale"), number("cassi.offset")) {
        data.iter_mut().for_each(|v| *v = offset + scale * *v);
    }
    let variable =
        Variable::numbers(NAME, format!("{class} / full scale"), shape, Order::RowMajor, Values::F32(data))?;
    Ok(Contents::new(format, vec![variable]))
}

/// Reads a picture as red, green and blue in [0, 1], `[row, column, 3]`, in the encoding of the file (sRGB as a rule).
///
/// # Errors
/// If the file cannot be read, or is no picture.
pub fn read_rgb_image(path: &Path) -> Result<Array3<f32>, IoError> {
    let bytes = read_bytes(path)?;
    if !is_picture(&bytes) {
        let found = crate::bytes::first_bytes(&bytes);
        return Err(IoError::UnknownFormat { path: path.into(), found: format!("no picture: {found}") });
    }
    let (image, _) = decode(&bytes).map_err(|source| IoError::Parse { path: path.into(), source })?;
    let image = image.into_rgb32f();
    let (rows, columns) = (image.height() as usize, image.width() as usize);
    Ok(Array3::from_shape_vec((rows, columns, 3), image.into_raw()).expect("three values a pixel"))
}

/// The value of a text chunk of a PNG, if it is there.
fn png_text(bytes: &[u8], key: &str) -> Option<String> {
    let mut rest = bytes.strip_prefix(PNG_SIGNATURE)?;
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let (kind, data) = (after.get(..4)?, after.get(4..4usize.checked_add(length)?)?);
        if kind == b"tEXt"
            && let Some(text) = data.strip_prefix(key.as_bytes()).and_then(|t| t.strip_prefix(&[0]))
        {
            return Some(String::from_utf8_lossy(text).into_owned());
        }
        rest = after.get(4 + length + 4..)?;
    }
    None
}

fn text_chunk(key: &str, text: &str) -> Vec<u8> {
    let body = [b"tEXt", key.as_bytes(), &[0], text.as_bytes()].concat();
    let mut crc = flate2::Crc::new();
    crc.update(&body);
    [&((body.len() - 4) as u32).to_be_bytes(), &body[..], &crc.sum().to_be_bytes()].concat()
}

/// A 16-bit grey PNG of a plane. Values in [0, 1] keep their scale; others set scale and offset.
///
/// # Errors
/// If a value is not finite, or the plane is empty.
pub fn png_bytes(plane: ArrayView2<'_, f32>) -> Result<Vec<u8>, ParseError> {
    if let Some(wrong) = plane.iter().find(|v| !v.is_finite()) {
        return Err(ParseError::invalid("a value for PNG", wrong, "finite numbers"));
    }
    let low = plane.iter().copied().fold(0f32, f32::min);
    let high = plane.iter().copied().fold(1f32, f32::max);
    let scale = high - low;
    let grey: Vec<u8> = (plane.iter())
        .flat_map(|v| ((f64::from(v - low) / f64::from(scale) * 65535.0).round() as u16).to_ne_bytes())
        .collect();
    let mut bytes = Vec::new();
    image::codecs::png::PngEncoder::new(&mut bytes)
        .write_image(&grey, plane.ncols() as u32, plane.nrows() as u32, image::ExtendedColorType::L16)
        .map_err(|e| ParseError::library("PNG", e))?;
    // After the signature and the header chunk (4 + 4 + 13 + 4 bytes).
    let at = PNG_SIGNATURE.len() + 25;
    let texts = [text_chunk("cassi.scale", &scale.to_string()), text_chunk("cassi.offset", &low.to_string())]
        .concat();
    bytes.splice(at..at, texts);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn a_plane_beyond_one_comes_back() {
        let plane = Array2::from_shape_fn((3, 5), |(r, c)| r as f32 * 2.0 - 0.5 + c as f32 / 7.0);
        let contents = parse_picture(&png_bytes(plane.view()).unwrap()).unwrap();
        let back = contents.variables[0].to_array().unwrap();
        // Half a step of 65535 over a range of 5.6, and rounding.
        for (a, b) in plane.iter().zip(&back) {
            assert!((a - b).abs() < 5.6 / 65535.0, "{a} {b}");
        }
        assert_eq!(back.shape(), [3, 5]);
        assert!(png_bytes(Array2::from_elem((1, 1), f32::NAN).view()).is_err());
    }

    #[test]
    fn values_on_the_grid_are_exact_and_colours_stay_colours() {
        let plane = Array2::from_shape_fn((1, 3), |(_, c)| [0.0, 13107.0 / 65535.0, 1.0][c]);
        let contents = parse_picture(&png_bytes(plane.view()).unwrap()).unwrap();
        assert_eq!(
            contents.variables[0].to_array().unwrap().into_raw_vec_and_offset().0,
            plane.into_raw_vec_and_offset().0
        );
        let mut bytes = Vec::new();
        image::codecs::png::PngEncoder::new(&mut bytes)
            .write_image(&[255, 0, 0, 0, 51, 0], 2, 1, image::ExtendedColorType::Rgb8)
            .unwrap();
        let contents = parse_picture(&bytes).unwrap();
        assert_eq!(contents.variables[0].shape, [1, 2, 3]);
        assert_eq!(
            contents.variables[0].to_array().unwrap().as_slice().unwrap(),
            [1.0, 0.0, 0.0, 0.0, 0.2, 0.0]
        );
    }
}
