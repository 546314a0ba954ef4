//! A canvas for PNG whose lines have smooth edges: plotters' bitmap backend smooths text alone, so everything is drawn
//! [`FINER`] times larger in both directions, and averaged.

use plotters::prelude::*;
use plotters_backend::{BackendColor, BackendStyle, BackendTextStyle, DrawingErrorKind};

use super::Placed;
use crate::Picture;

/// Samples of a pixel along each axis. Odd, so that a sample lies in the middle of a pixel: nine of them make ten
/// shades of a black edge.
const FINER: usize = 3;

/// What is drawn below and above: a picture of `FINER` times the size.
pub(super) struct Canvas {
    fine: Picture,
}

impl Canvas {
    /// White, with pictures on it.
    pub(super) fn new(width: usize, height: usize, pictures: &[Placed]) -> Self {
        let mut fine = Picture::filled(FINER * width, FINER * height, [255; 3]);
        for placed in pictures {
            let [x, y, w, h] = [placed.x, placed.y, placed.width, placed.height].map(|v| v as usize);
            // Pixels keep their sharp edges, as in SVG, which also halves the files.
            let large = placed.picture.resized(w, h).window([0, 0], [h, w], FINER * w, FINER * h);
            fine.paste(&large, FINER * x, FINER * y);
        }
        Self { fine }
    }

    /// A backend that draws on it in its own coordinates.
    pub(super) fn backend(&mut self) -> Smooth<'_> {
        let size = (self.fine.width as u32, self.fine.height as u32);
        Smooth(BitMapBackend::with_buffer(&mut self.fine.rgb, size))
    }

    /// The averages.
    pub(super) fn into_picture(self) -> Picture {
        self.fine.resized(self.fine.width / FINER, self.fine.height / FINER)
    }
}

type Done<'a> = Result<(), DrawingErrorKind<<BitMapBackend<'a> as DrawingBackend>::ErrorType>>;

/// The bitmap backend, everything that it is told taken [`FINER`] times larger.
pub(super) struct Smooth<'a>(BitMapBackend<'a>);

/// A length in fine pixels.
fn fine(length: u32) -> u32 {
    FINER as u32 * length
}

/// A point in fine pixels: the middle of its pixel for strokes of odd width, its corner for even ones. Either way an
/// upright or level line has sharp edges.
fn place((x, y): (i32, i32), width: u32) -> (i32, i32) {
    let middle = (width % 2) as i32 * (FINER as i32 / 2);
    (FINER as i32 * x + middle, FINER as i32 * y + middle)
}

/// A style with its stroke in fine pixels.
struct Thick(ShapeStyle);

impl Thick {
    fn new<S: BackendStyle>(style: &S) -> Self {
        let BackendColor { alpha, rgb: (r, g, b) } = style.color();
        let stroke_width = fine(style.stroke_width());
        Self(ShapeStyle { color: RGBAColor(r, g, b, alpha), filled: false, stroke_width })
    }
}

impl BackendStyle for Thick {
    fn color(&self) -> BackendColor {
        BackendStyle::color(&self.0)
    }

    fn stroke_width(&self) -> u32 {
        self.0.stroke_width
    }
}

impl<'a> DrawingBackend for Smooth<'a> {
    type ErrorType = <BitMapBackend<'a> as DrawingBackend>::ErrorType;

    fn get_size(&self) -> (u32, u32) {
        let (width, height) = self.0.get_size();
        (width / FINER as u32, height / FINER as u32)
    }

    fn ensure_prepared(&mut self) -> Done<'a> {
        self.0.ensure_prepared()
    }

    fn present(&mut self) -> Done<'a> {
        self.0.present()
    }

    fn draw_pixel(&mut self, (x, y): (i32, i32), colour: BackendColor) -> Done<'a> {
        // The bitmap backend fills up to the lower right corner, without it.
        self.0.draw_rect(place((x, y), 0), place((x + 1, y + 1), 0), &colour, true)
    }

    fn draw_line<S: BackendStyle>(&mut self, from: (i32, i32), to: (i32, i32), style: &S) -> Done<'a> {
        self.draw_path([from, to], style)
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = (i32, i32)>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Done<'a> {
        let width = style.stroke_width();
        let path: Vec<_> = path.into_iter().map(|point| place(point, width)).collect();
        // Level and upright lines of exactly their width: as polygons they would be a fine pixel wider.
        if let [(x0, y0), (x1, y1)] = path[..]
            && (x0 == x1) != (y0 == y1)
        {
            let (thick, half) = (fine(width) as i32, fine(width) as i32 / 2);
            let (left, top) = (x0.min(x1), y0.min(y1));
            let (from, to) = match x0 == x1 {
                true => ((left - half, top), (left - half + thick, y0.max(y1))),
                false => ((left, top - half), (x0.max(x1), top - half + thick)),
            };
            return self.0.draw_rect(from, to, &style.color(), true);
        }
        self.0.draw_path(path, &Thick::new(style))
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        from: (i32, i32),
        to: (i32, i32),
        style: &S,
        fill: bool,
    ) -> Done<'a> {
        if fill {
            return self.0.draw_rect(place(from, 0), place(to, 0), style, true);
        }
        // Four bars, so that the corners are closed.
        let (width, half) = (fine(style.stroke_width()) as i32, fine(style.stroke_width()) as i32 / 2);
        let ((x0, y0), (x1, y1)) = (place(from, style.stroke_width()), place(to, style.stroke_width()));
        let (left, top) = (x0.min(x1) - half, y0.min(y1) - half);
        let (right, bottom) = (x0.max(x1) - half, y0.max(y1) - half);
        for (from, to) in [
            ((left, top), (right + width, top + width)),
            ((left, bottom), (right + width, bottom + width)),
            ((left, top + width), (left + width, bottom)),
            ((right, top + width), (right + width, bottom)),
        ] {
            if from.0 < to.0 && from.1 < to.1 {
                self.0.draw_rect(from, to, &style.color(), true)?;
            }
        }
        Ok(())
    }

    fn draw_circle<S: BackendStyle>(
        &mut self,
        centre: (i32, i32),
        radius: u32,
        style: &S,
        fill: bool,
    ) -> Done<'a> {
        self.0.draw_circle(place(centre, 1), fine(radius), &Thick::new(style), fill)
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = (i32, i32)>>(
        &mut self,
        corners: I,
        style: &S,
    ) -> Done<'a> {
        let corners: Vec<_> = corners.into_iter().map(|corner| place(corner, 0)).collect();
        self.0.fill_polygon(corners, style)
    }

    fn draw_text<S: BackendTextStyle>(&mut self, text: &str, style: &S, at: (i32, i32)) -> Done<'a> {
        let BackendColor { alpha, rgb: (r, g, b) } = style.color();
        let colour = RGBAColor(r, g, b, alpha);
        let font = FontDesc::new(style.family(), FINER as f64 * style.size(), style.style());
        let large = TextStyle::from(font.transform(style.transform())).color(&colour);
        self.0.draw_text(text, &large.pos(style.anchor()), place(at, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Draws on a white canvas and returns the red of every pixel, row by row.
    fn drawn(size: u32, draw: impl Fn(&mut Smooth<'_>)) -> Vec<u8> {
        let mut canvas = Canvas::new(size as usize, size as usize, &[]);
        let mut backend = canvas.backend();
        draw(&mut backend);
        drop(backend);
        canvas.into_picture().rgb.into_iter().step_by(3).collect()
    }

    fn black(width: u32) -> ShapeStyle {
        Color::stroke_width(&BLACK, width)
    }

    #[test]
    fn level_lines_are_sharp_and_slanted_ones_smooth() {
        // One row for a stroke of 1, two for a stroke of 2.
        for (width, rows) in [(1, [4].as_slice()), (2, &[3, 4])] {
            let pixels = drawn(9, |backend| {
                backend.draw_path([(0, 4), (8, 4)], &black(width)).unwrap();
            });
            for (row, line) in pixels.chunks(9).enumerate() {
                let expected = if rows.contains(&row) { 0 } else { 255 };
                assert!(line[2..7].iter().all(|&v| v == expected), "width {width}, row {row}: {line:?}");
            }
        }
        let pixels = drawn(30, |backend| {
            backend.draw_path([(2, 3), (27, 14)], &black(2)).unwrap();
        });
        let between = pixels.iter().filter(|&&v| v > 20 && v < 235).count();
        assert!(between >= 25, "{between} pixels are neither black nor white");
    }

    #[test]
    fn frames_close_their_corners_and_colours_mix() {
        let pixels = drawn(12, |backend| {
            backend.draw_rect((3, 3), (8, 8), &black(1), false).unwrap();
        });
        let at = |row: usize, column: usize| pixels[row * 12 + column];
        for edge in 3..=8 {
            assert_eq!([at(3, edge), at(8, edge), at(edge, 3), at(edge, 8)], [0; 4], "{edge}");
        }
        assert_eq!([at(2, 2), at(9, 9), at(5, 5)], [255; 3]);
        let pixels = drawn(4, |backend| {
            backend.draw_rect((0, 0), (4, 4), &BLACK.mix(0.5).filled(), true).unwrap();
        });
        assert!(pixels.iter().all(|v| v.abs_diff(127) <= 1), "{pixels:?}");
    }
}
