//! What to show when nobody says: bands, points and the window of most detail.

use cassi_core::Cube;
use ndarray::{Array2, ArrayView2, Axis, s};

use crate::Zoom;

/// Bands nearest to the wanted wavelengths, without repeats; four at 1/8, 3/8, 5/8 and 7/8 of the range if none is
/// wanted.
pub(crate) fn bands(cube: &Cube, wanted: Option<&[f64]>) -> Vec<usize> {
    let grid = cube.wavelengths();
    let (first, last) = (grid.nm()[0], grid.nm()[grid.len() - 1]);
    let spread: Vec<f64> = [0.125, 0.375, 0.625, 0.875].iter().map(|t| first + t * (last - first)).collect();
    let mut chosen = Vec::new();
    for &nm in wanted.unwrap_or(&spread) {
        let band = grid.nearest(nm);
        if !chosen.contains(&band) {
            chosen.push(band);
        }
    }
    chosen
}

/// Mean over bands `[row, column]`.
pub(crate) fn mean_picture(cube: &Cube) -> Array2<f32> {
    cube.view().mean_axis(Axis(0)).expect("at least one band")
}

fn angle(a: &[f32], b: &[f32]) -> f64 {
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum::<f64>();
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 { (dot(a, b) / lengths).clamp(-1.0, 1.0).acos() } else { 0.0 }
}

struct Candidate {
    at: [usize; 2],
    weight: f64,
    spectrum: Vec<f32>,
}

/// Candidates on a grid of about 48 by 48, weighted by brightness and smoothness of their 5-by-5 neighbourhood.
fn candidates(cube: &Cube) -> Vec<Candidate> {
    let picture = mean_picture(cube);
    let (rows, columns) = picture.dim();
    let stride = |n: usize| (n / 48).max(1);
    let (mut found, margin) = (Vec::new(), |n: usize| (n / 32).max(2).min(n / 2));
    for row in (margin(rows)..rows - margin(rows)).step_by(stride(rows)) {
        for column in (margin(columns)..columns - margin(columns)).step_by(stride(columns)) {
            let near = |at: usize, n: usize| at.saturating_sub(2)..(at + 3).min(n);
            let patch: ArrayView2<'_, f32> = picture.slice(s![near(row, rows), near(column, columns)]);
            let mean = f64::from(patch.mean().expect("not empty"));
            if mean <= 0.0 {
                continue;
            }
            let roughness = f64::from(patch.std(0.0)) / mean;
            let weight = mean.sqrt() / (1.0 + 20.0 * roughness);
            found.push(Candidate { at: [row, column], weight, spectrum: cube.spectrum(row, column) });
        }
    }
    found
}

/// Two to four `[row, column]` of bright, locally smooth places with distinct spectra: greedily, each next one has
/// the largest weight times spectral angle to all before it, and their marks do not overlap (a twelfth of the shorter
/// side apart). Fewer only in a picture too small or too dark.
pub(crate) fn points(cube: &Cube) -> Vec<[usize; 2]> {
    let candidates = candidates(cube);
    let Some(first) = candidates.iter().max_by(|a, b| a.weight.total_cmp(&b.weight)) else {
        return vec![[cube.rows() / 2, cube.columns() / 2]];
    };
    let mut chosen = vec![first.at];
    let mut distance: Vec<f64> = candidates.iter().map(|c| angle(&c.spectrum, &first.spectrum)).collect();
    // Below 4 degrees two curves can hardly be told apart in a figure.
    let distinct = 4f64.to_radians();
    while chosen.len() < 4 {
        let apart = (cube.rows().min(cube.columns()) / 12) as f64;
        let near = |at: [usize; 2]| {
            chosen
                .iter()
                .any(|&c: &[usize; 2]| (c[0] as f64 - at[0] as f64).hypot(c[1] as f64 - at[1] as f64) < apart)
        };
        let gain =
            |i: &usize| if near(candidates[*i].at) { 0.0 } else { candidates[*i].weight * distance[*i] };
        let best = (0..candidates.len()).max_by(|a, b| gain(a).total_cmp(&gain(b))).expect("not empty");
        if gain(&best) == 0.0 || (chosen.len() >= 2 && distance[best] < distinct) {
            break;
        }
        chosen.push(candidates[best].at);
        for (d, c) in distance.iter_mut().zip(&candidates) {
            *d = d.min(angle(&c.spectrum, &candidates[best].spectrum));
        }
    }
    chosen
}

/// The square window, a fifth of the shorter side, with the largest sum of gradients of the mean picture.
pub(crate) fn zoom(cube: &Cube) -> Zoom {
    let picture = mean_picture(cube);
    let (rows, columns) = picture.dim();
    let side = (rows.min(columns) / 5).max(1);
    // Integral image of the gradient, one longer on either axis.
    let mut sums = Array2::<f64>::zeros((rows + 1, columns + 1));
    for row in 0..rows {
        for column in 0..columns {
            let here = picture[[row, column]];
            let below = picture[[(row + 1).min(rows - 1), column]];
            let right = picture[[row, (column + 1).min(columns - 1)]];
            let gradient = f64::from((below - here).abs() + (right - here).abs());
            sums[[row + 1, column + 1]] =
                gradient + sums[[row, column + 1]] + sums[[row + 1, column]] - sums[[row, column]];
        }
    }
    let mut best = (f64::NEG_INFINITY, Zoom { row: 0, column: 0, rows: side, columns: side });
    for row in 0..=rows - side {
        for column in 0..=columns - side {
            let (below, right) = (row + side, column + side);
            let detail =
                sums[[below, right]] - sums[[row, right]] - sums[[below, column]] + sums[[row, column]];
            if detail > best.0 {
                best = (detail, Zoom { row, column, rows: side, columns: side });
            }
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;
    use cassi_core::Wavelengths;
    use ndarray::Array3;

    #[test]
    fn distinct_patches_and_the_busy_corner_are_found() {
        // Left half reddish, right half bluish, a chequerboard in the lower right corner.
        let data = Array3::from_shape_fn((4, 60, 60), |(b, r, c)| {
            let busy = r >= 48 && c >= 48;
            let colour = if c < 30 { b as f32 } else { 3.0 - b as f32 };
            if busy { ((r + c) % 2) as f32 * 0.5 } else { 0.2 + 0.2 * colour }
        });
        let cube = Cube::new(data, Wavelengths::linspace(450.0, 650.0, 4)).unwrap();
        let points = points(&cube);
        assert!(points.len() >= 2);
        assert_ne!(points[0][1] < 30, points[1][1] < 30, "{points:?}");
        assert_eq!(zoom(&cube), Zoom { row: 48, column: 48, rows: 12, columns: 12 });
        assert_eq!(bands(&cube, Some(&[450.0, 455.0, 640.0])), [0, 3]);
        assert_eq!(bands(&cube, None), [0, 1, 2, 3]);
    }

    #[test]
    fn tiny_and_black_cubes_have_a_point() {
        for shape in [[1, 1, 1], [3, 2, 9], [2, 5, 5]] {
            let cube = Cube::zeros(shape, Wavelengths::linspace(500.0, 600.0, shape[0]));
            assert_eq!(points(&cube), [[shape[1] / 2, shape[2] / 2]]);
            assert_eq!(zoom(&cube).rows, (shape[1].min(shape[2]) / 5).max(1));
        }
    }
}
