//! Vectorial total variation: one gradient norm over all bands of a cube.
//!
//! The same dual iteration as `crate::tv`, with `|g|² = Σ_b |g_b|²`: an edge in one band makes edges cheap in all.

use rayon::prelude::*;

const TAU: f32 = 0.25;

/// Buffers for cubes of one shape.
pub(crate) struct JointTv {
    shape: [usize; 3],
    /// The image to be denoised `[band, row, column]`.
    image: Vec<f32>,
    /// The primal estimate `[band, row, column]`.
    out: Vec<f32>,
    /// The dual `[row, band, 2, column]`: everything that one row of it needs lies together.
    dual: Vec<f32>,
}

impl JointTv {
    /// For cubes `[band, row, column]`.
    pub(crate) fn new(shape @ [bands, rows, columns]: [usize; 3]) -> Self {
        let n = bands * rows * columns;
        Self { shape, image: vec![0.0; n], out: vec![0.0; n], dual: vec![0.0; 2 * n] }
    }

    /// Overwrites `x` by the denoised `x + added` after `inner` primal steps; returns `Σ (new − old)²` and `Σ new²`.
    pub(crate) fn run(&mut self, x: &mut [f32], added: &[f32], weight: f32, inner: usize) -> [f64; 2] {
        (self.image.par_iter_mut().zip(&*x).zip(added)).for_each(|((image, x), added)| *image = x + added);
        self.dual.fill(0.0);
        for step in 0..inner {
            self.primal();
            if step + 1 < inner {
                self.dual_update(TAU / weight);
            }
        }
        let plane = self.shape[1] * self.shape[2];
        let mut sums = vec![[0.0f64; 2]; self.shape[0]];
        (x.par_chunks_mut(plane).zip(self.out.par_chunks(plane)).zip(&mut sums)).for_each(
            |((x, out), sums)| {
                for (x, new) in x.iter_mut().zip(out) {
                    sums[0] += f64::from((new - *x) * (new - *x));
                    sums[1] += f64::from(new * new);
                    *x = *new;
                }
            },
        );
        sums.iter().fold([0.0; 2], |a, b| [a[0] + b[0], a[1] + b[1]])
    }

    /// `out = image + div p`.
    fn primal(&mut self) {
        let [bands, rows, columns] = self.shape;
        let (image, dual) = (&self.image, &self.dual);
        self.out.par_chunks_mut(columns).enumerate().for_each(|(line, out)| {
            let (b, row) = (line / rows, line % rows);
            let p = |row: usize, axis: usize| &dual[((row * bands + b) * 2 + axis) * columns..][..columns];
            let (px, py) = (p(row, 0), p(row, 1));
            for (w, (out, image)) in out.iter_mut().zip(&image[line * columns..]).enumerate() {
                let left = if w > 0 { px[w - 1] } else { 0.0 };
                *out = image + (left - px[w]) - py[w];
            }
            if row > 0 {
                out.iter_mut().zip(p(row - 1, 1)).for_each(|(out, above)| *out += above);
            }
        });
    }

    /// `p ← (p − τ g) / (1 + slope |g|)` with the gradient `g` of `out`.
    fn dual_update(&mut self, slope: f32) {
        let [bands, rows, columns] = self.shape;
        let out = &self.out;
        let lines = |b: usize, row: usize| {
            let here = &out[(b * rows + row) * columns..][..columns];
            (here, if row + 1 < rows { &out[(b * rows + row + 1) * columns..][..columns] } else { here })
        };
        self.dual.par_chunks_mut(bands * 2 * columns).enumerate().for_each_init(
            || vec![0.0f32; columns],
            |shrink, (row, p)| {
                shrink.fill(0.0);
                for b in 0..bands {
                    gradients(lines(b, row), |w, gx, gy| shrink[w] += gx * gx + gy * gy);
                }
                shrink.iter_mut().for_each(|s| *s = 1.0 / (1.0 + slope * s.sqrt()));
                for (b, p) in p.chunks_mut(2 * columns).enumerate() {
                    let (px, py) = p.split_at_mut(columns);
                    gradients(lines(b, row), |w, gx, gy| {
                        px[w] = (px[w] - TAU * gx) * shrink[w];
                        py[w] = (py[w] - TAU * gy) * shrink[w];
                    });
                }
            },
        );
    }
}

/// Forward differences of one row, `visit(column, along columns, along rows)`; zero at the right end.
fn gradients((here, below): (&[f32], &[f32]), mut visit: impl FnMut(usize, f32, f32)) {
    let last = here.len() - 1;
    for w in 0..last {
        visit(w, here[w + 1] - here[w], below[w] - here[w]);
    }
    visit(last, 0.0, below[last] - here[last]);
}
