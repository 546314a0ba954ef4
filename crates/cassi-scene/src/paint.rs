//! The painter: objects from back to front, row by row, straight into spectra.
//!
//! A pixel of an object is `light(λ) · (shade · mix(first, second spectrum) + gloss)`, laid over what is behind it by
//! its coverage. Geometry, texture and shading are computed once a pixel, then every band is a few multiply-adds over
//! the object's part of the row. Rows are independent, so threads change nothing.

use cassi_core::{Cube, Wavelengths};
use ndarray::Array3;
use rayon::prelude::*;

use crate::{noise, reflectance::Reflectance, shape::Shape, texture::Texture};

/// Units on the short side of a scene.
pub(crate) const SHORT_SIDE: f32 = 256.0;

/// The form of a surface, for its shading.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Relief {
    Flat,
    /// A ball or egg with these half axes.
    Ball(f32, f32),
    /// Flat with an edge rounded over this width.
    Cushion(f32),
    /// Folds of cloth: their size and steepness.
    Folds(f32, f32),
}

/// A dark copy of the outline on what lies behind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shadow {
    pub(crate) offset: (f32, f32),
    pub(crate) blur: f32,
    pub(crate) strength: f32,
}

/// One thing in the scene.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) shape: Shape,
    pub(crate) centre: (f32, f32),
    /// Radians.
    pub(crate) angle: f32,
    /// Width of the edge in pixels (focus).
    pub(crate) edge: f32,
    pub(crate) relief: Relief,
    pub(crate) colours: [Reflectance; 2],
    pub(crate) texture: Texture,
    /// Strength and exponent of the highlight.
    pub(crate) gloss: (f32, f32),
    pub(crate) opacity: f32,
    pub(crate) shadow: Option<Shadow>,
}

/// Where the light comes from and how it falls off.
#[derive(Debug, Clone)]
pub(crate) struct Light {
    /// Relative power at the bands, largest 1.
    pub(crate) spectrum: Vec<f32>,
    /// Unit vector towards the light: right, down, towards the viewer.
    pub(crate) direction: [f32; 3],
    pub(crate) ambient: f32,
    /// Brightest place, in units.
    pub(crate) spot: (f32, f32),
    /// Distance at which the light has fallen to half, in units.
    pub(crate) reach: f32,
    pub(crate) exposure: f32,
}

/// An object with its spectra on the grid of the cube, light included.
struct Prepared<'a> {
    object: &'a Object,
    first: Vec<f32>,
    difference: Vec<f32>,
    sine: f32,
    cosine: f32,
}

/// What the row of an object is made of, pixel by pixel: what remains of the background, and the weights of first
/// spectrum, difference of spectra and light.
#[derive(Default)]
struct Span {
    keep: Vec<f32>,
    first: Vec<f32>,
    difference: Vec<f32>,
    gloss: Vec<f32>,
}

impl Prepared<'_> {
    /// Columns that the object (or its shadow, moved by `shift`) may touch in the row at height `y`.
    fn columns(
        &self,
        y: f32,
        shift: (f32, f32),
        margin: f32,
        pitch: f32,
        columns: usize,
    ) -> Option<(usize, usize)> {
        let Some(radius) = self.object.shape.radius() else { return Some((0, columns)) };
        let (cx, cy) = (self.object.centre.0 + shift.0, self.object.centre.1 + shift.1);
        let half = ((radius + margin).powi(2) - (y - cy).powi(2)).max(0.0).sqrt();
        let first = ((cx - half) / pitch).floor().max(0.0) as usize;
        let end = (((cx + half) / pitch).ceil().max(0.0) as usize).min(columns);
        (half > 0.0 && first < end).then_some((first, end))
    }

    /// A scene point in the object's coordinates.
    fn local(&self, x: f32, y: f32) -> (f32, f32) {
        let (dx, dy) = (x - self.object.centre.0, y - self.object.centre.1);
        (self.cosine * dx + self.sine * dy, self.cosine * dy - self.sine * dx)
    }

    /// Surface normal in scene coordinates at a local point.
    fn normal(&self, u: f32, v: f32, distance: f32) -> [f32; 3] {
        let (nx, ny, nz) = match self.object.relief {
            Relief::Flat => return [0.0, 0.0, 1.0],
            Relief::Ball(a, b) => {
                let (x, y) = (u / a, v / b);
                let radial = (x * x + y * y).min(0.98);
                (x, y, (1.0 - radial).sqrt())
            }
            Relief::Cushion(width) => {
                let slope = (1.0 + distance / width).clamp(0.0, 1.0);
                let size = u.hypot(v).max(1e-3);
                (0.85 * slope * slope * u / size, 0.85 * slope * slope * v / size, 1.0)
            }
            Relief::Folds(size, steepness) => {
                let seed = self.object.texture.seed;
                let height = |u: f32, v: f32| noise::fractal(u / size, 0.45 * v / size, 3, seed ^ 5);
                // Slope of the height over a twentieth of the size.
                let step = 0.05 * size;
                let slope = steepness * 20.0;
                let here = height(u, v);
                (slope * (here - height(u + step, v)), slope * (here - height(u, v + step)), 1.0)
            }
        };
        let scale = 1.0 / (nx * nx + ny * ny + nz * nz).sqrt();
        [(self.cosine * nx - self.sine * ny) * scale, (self.sine * nx + self.cosine * ny) * scale, nz * scale]
    }

    fn cast_shadow(&self, shadow: Shadow, y: f32, pitch: f32, columns: usize, line: &mut [f32]) {
        let margin = 0.5 * shadow.blur;
        let Some((first, end)) = self.columns(y, shadow.offset, margin, pitch, columns) else { return };
        let remaining: Vec<f32> = (first..end)
            .map(|column| {
                let x = (column as f32 + 0.5) * pitch;
                let (u, v) = self.local(x - shadow.offset.0, y - shadow.offset.1);
                let inside = (0.5 - self.object.shape.distance(u, v) / shadow.blur).clamp(0.0, 1.0);
                1.0 - shadow.strength * inside * inside * (3.0 - 2.0 * inside)
            })
            .collect();
        for band in line.chunks_exact_mut(columns) {
            band[first..end].iter_mut().zip(&remaining).for_each(|(value, r)| *value *= r);
        }
    }

    fn paint(&self, light: &Light, y: f32, pitch: f32, columns: usize, span: &mut Span, line: &mut [f32]) {
        let object = self.object;
        let width = object.edge * pitch;
        let Some((first, end)) = self.columns(y, (0.0, 0.0), 0.5 * width, pitch, columns) else { return };
        for weights in [&mut span.keep, &mut span.first, &mut span.difference, &mut span.gloss] {
            weights.clear();
            weights.resize(end - first, 0.0);
        }
        let half = {
            // Halfway between the light and the viewer.
            let [x, y, z] = light.direction;
            let scale = 1.0 / (x * x + y * y + (z + 1.0) * (z + 1.0)).sqrt();
            [x * scale, y * scale, (z + 1.0) * scale]
        };
        for column in first..end {
            let x = (column as f32 + 0.5) * pitch;
            let (u, v) = self.local(x, y);
            let distance = object.shape.distance(u, v);
            let coverage = object.opacity * (0.5 - distance / width).clamp(0.0, 1.0);
            let at = column - first;
            span.keep[at] = 1.0 - coverage;
            if coverage == 0.0 {
                continue;
            }
            let normal = self.normal(u, v, distance);
            let dot = |a: [f32; 3]| (a[0] * normal[0] + a[1] * normal[1] + a[2] * normal[2]).max(0.0);
            let away =
                ((x - light.spot.0).powi(2) + (y - light.spot.1).powi(2)) / (light.reach * light.reach);
            let (share, factor) = object.texture.at(u, v, pitch.max(0.5));
            let level = light.exposure / (1.0 + away);
            let shade = level * factor * (light.ambient + (1.0 - light.ambient) * dot(light.direction));
            span.first[at] = coverage * shade;
            span.difference[at] = coverage * shade * share;
            if object.gloss.0 > 0.0 {
                span.gloss[at] = coverage * level * object.gloss.0 * dot(half).powf(object.gloss.1);
            }
        }
        // Slanted or slender objects cover little of their circle's row: the bands are spared the rest.
        let Some(left) = span.keep.iter().position(|&keep| keep < 1.0) else { return };
        let right = span.keep.iter().rposition(|&keep| keep < 1.0).expect("one was found") + 1;
        for (band, values) in line.chunks_exact_mut(columns).enumerate() {
            let (a, d, l) = (self.first[band], self.difference[band], light.spectrum[band]);
            let weights = (span.keep[left..right].iter().zip(&span.first[left..right]))
                .zip(span.difference[left..right].iter().zip(&span.gloss[left..right]));
            for (value, ((keep, wa), (wd, wl))) in values[first + left..first + right].iter_mut().zip(weights)
            {
                *value = *value * keep + wa * a + wd * d + wl * l;
            }
        }
    }
}

/// Paints objects from back to front. Values beyond [0, 1] are clipped, as a sensor does.
pub(crate) fn paint(
    objects: &[Object],
    light: &Light,
    rows: usize,
    columns: usize,
    grid: &Wavelengths,
) -> Cube {
    let prepared: Vec<Prepared<'_>> = objects
        .iter()
        .map(|object| {
            let [a, b] = [0, 1].map(|i| object.colours[i].on(grid));
            let lit = |f: &dyn Fn(usize) -> f32| (0..grid.len()).map(|i| light.spectrum[i] * f(i)).collect();
            let (sine, cosine) = object.angle.sin_cos();
            Prepared { object, first: lit(&|i| a[i]), difference: lit(&|i| b[i] - a[i]), sine, cosine }
        })
        .collect();
    let pitch = SHORT_SIDE / rows.min(columns) as f32;
    let lines: Vec<Vec<f32>> = (0..rows)
        .into_par_iter()
        .map_init(Span::default, |span, row| {
            let y = (row as f32 + 0.5) * pitch;
            let mut line = vec![0.0; grid.len() * columns];
            for object in &prepared {
                if let Some(shadow) = object.object.shadow {
                    object.cast_shadow(shadow, y, pitch, columns, &mut line);
                }
                object.paint(light, y, pitch, columns, span, &mut line);
            }
            line
        })
        .collect();
    let mut data = Array3::zeros((grid.len(), rows, columns));
    let planes = data.as_slice_mut().expect("C order").par_chunks_mut(rows * columns);
    planes.enumerate().for_each(|(band, plane)| {
        for (out, line) in plane.chunks_exact_mut(columns).zip(&lines) {
            let values = &line[band * columns..(band + 1) * columns];
            out.iter_mut().zip(values).for_each(|(o, v)| *o = v.clamp(0.0, 1.0));
        }
    });
    Cube::new(data, grid.clone()).expect("rows and columns are at least 1")
}
