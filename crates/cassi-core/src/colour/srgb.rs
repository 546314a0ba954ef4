//! sRGB (IEC 61966-2-1): transfer curve, primaries, and 3x3 algebra for white points.

/// A 3x3 matrix by rows.
pub(super) type Matrix = [[f64; 3]; 3];

/// XYZ of the D65 white that sRGB names by x = 0.3127, y = 0.3290, at Y = 1.
pub(super) const D65_WHITE: [f64; 3] = [0.3127 / 0.3290, 1.0, (1.0 - 0.3127 - 0.3290) / 0.3290];

/// Linear light to the sRGB code value, both nominally in [0, 1] (odd continuation below 0).
pub fn encode_srgb(linear: f64) -> f64 {
    let size = linear.abs();
    let coded = if size <= 0.003_130_8 { 12.92 * size } else { 1.055 * size.powf(1.0 / 2.4) - 0.055 };
    coded.copysign(linear)
}

/// The sRGB code value to linear light, both nominally in [0, 1] (odd continuation below 0).
pub fn decode_srgb(coded: f64) -> f64 {
    let size = coded.abs();
    let linear = if size <= 0.040_45 { size / 12.92 } else { ((size + 0.055) / 1.055).powf(2.4) };
    linear.copysign(coded)
}

/// Linear light to 8 bits, clipped to 0..=255; NaN becomes 0.
pub fn encode_srgb_u8(linear: f64) -> u8 {
    // `as` saturates.
    (encode_srgb(linear) * 255.0).round() as u8
}

pub(super) fn apply(m: &Matrix, v: [f64; 3]) -> [f64; 3] {
    std::array::from_fn(|i| m[i][0] * v[0] + m[i][1] * v[1] + m[i][2] * v[2])
}

pub(super) fn multiply(a: &Matrix, b: &Matrix) -> Matrix {
    std::array::from_fn(|i| std::array::from_fn(|j| (0..3).map(|k| a[i][k] * b[k][j]).sum()))
}

pub(super) fn invert(m: &Matrix) -> Matrix {
    let cofactor = |i: usize, j: usize| {
        let at = |di: usize, dj: usize| m[(i + di) % 3][(j + dj) % 3];
        at(1, 1) * at(2, 2) - at(1, 2) * at(2, 1)
    };
    let determinant: f64 = (0..3).map(|j| m[0][j] * cofactor(0, j)).sum();
    std::array::from_fn(|i| std::array::from_fn(|j| cofactor(j, i) / determinant))
}

/// XYZ to linear sRGB, from the primaries and the white of the standard: [`D65_WHITE`] becomes (1, 1, 1).
pub(super) fn xyz_to_rgb() -> Matrix {
    const XY: [[f64; 2]; 3] = [[0.64, 0.33], [0.30, 0.60], [0.15, 0.06]];
    let primaries: Matrix = std::array::from_fn(|i| {
        std::array::from_fn(|j| [XY[j][0], XY[j][1], 1.0 - XY[j][0] - XY[j][1]][i] / XY[j][1])
    });
    let scale = apply(&invert(&primaries), D65_WHITE);
    invert(&std::array::from_fn(|i| std::array::from_fn(|j| primaries[i][j] * scale[j])))
}

/// The Bradford adaptation (Lam 1985): XYZ under `from` to XYZ under `to`, whites at any scale.
pub(super) fn bradford(from: [f64; 3], to: [f64; 3]) -> Matrix {
    const CONES: Matrix = [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]];
    let (from, to) = (apply(&CONES, from), apply(&CONES, to));
    let scaled: Matrix = std::array::from_fn(|i| std::array::from_fn(|j| to[i] / from[i] * CONES[i][j]));
    multiply(&invert(&CONES), &scaled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curve_goes_there_and_back() {
        for code in 0..=255u8 {
            assert_eq!(encode_srgb_u8(decode_srgb(f64::from(code) / 255.0)), code);
        }
        assert_eq!((encode_srgb_u8(-0.2), encode_srgb_u8(7.0), encode_srgb_u8(f64::NAN)), (0, 255, 0));
    }

    #[test]
    fn matrix_of_the_standard() {
        // IEC 61966-2-1 prints four decimals.
        let printed = [[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]];
        for (found, expected) in xyz_to_rgb().iter().flatten().zip(printed.iter().flatten()) {
            // The printed inverse was made from rounded values: agreement to a unit of the fourth decimal or two.
            assert!((found - expected).abs() < 4e-4, "{found} {expected}");
        }
        for channel in apply(&xyz_to_rgb(), D65_WHITE) {
            assert!((channel - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn adaptation_carries_white_to_white() {
        let white = [1.0985, 1.0, 0.3558];
        for (found, expected) in apply(&bradford(white, D65_WHITE), white).iter().zip(D65_WHITE) {
            assert!((found - expected).abs() < 1e-12);
        }
    }
}
