//! Figures made of pictures in a grid: renderings, bands with insets, error maps.

use cassi_core::{Cube, colour::Renderer, metrics::Scores};
use ndarray::Array2;
use plotters::prelude::*;

use super::{Area, CENTRE, Drawing, Drawn, LEFT, Placed, SMALL, TEXT, WIDTH, fitted, frame, markers, text};
use crate::{
    Comparison, Picture, Row, Zoom,
    picture::{error_plane, rendered, viridis_table},
};

const GAP: i32 = 14;
/// Height of one line of text.
const LINE: i32 = 36;

struct Label {
    line: String,
    at: (i32, i32),
    size: i32,
    turned: bool,
}

/// A grid of pictures with what is written and drawn above it.
pub(crate) struct Sheet {
    height: i32,
    pictures: Vec<Placed>,
    labels: Vec<Label>,
    frames: Vec<[i32; 4]>,
    marks: Option<(Vec<[usize; 2]>, [i32; 4], [usize; 2])>,
    /// Upper end of the colour bar and the rectangle it fills.
    bar: Option<(f32, [i32; 4])>,
}

impl Sheet {
    fn new(height: i32) -> Self {
        let (pictures, labels, frames) = (Vec::new(), Vec::new(), Vec::new());
        Self { height, pictures, labels, frames, marks: None, bar: None }
    }

    fn place(&mut self, picture: Picture, [x, y, width, height]: [i32; 4]) {
        self.pictures.push(Placed { x, y, width, height, picture });
    }

    fn label(&mut self, line: impl Into<String>, at: (i32, i32), size: i32) {
        self.labels.push(Label { line: line.into(), at, size, turned: false });
    }
}

impl Drawing for Sheet {
    fn height(&self) -> i32 {
        self.height
    }

    fn pictures(&self) -> &[Placed] {
        &self.pictures
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn<B> {
        for &rectangle in &self.frames {
            frame(area, rectangle)?;
        }
        if let Some((points, tile, size)) = &self.marks {
            markers(area, points, *tile, *size)?;
        }
        for label in &self.labels {
            if label.turned {
                use plotters::style::text_anchor::Pos;
                let style = TextStyle::from(super::font(label.size).transform(FontTransform::Rotate270))
                    .pos(Pos::new(CENTRE.0, CENTRE.1));
                area.draw(&Text::new(label.line.clone(), label.at, style))?;
            } else {
                text(area, &label.line, label.at, label.size, BLACK, CENTRE)?;
            }
        }
        if let Some((high, [x, y, w, h])) = self.bar {
            area.draw(&Rectangle::new([(x, y), (x + w, y + h)], BLACK.stroke_width(2)))?;
            let (step, digits) = tick_step(high);
            for i in 0..=(f64::from(high) / step + 1e-6) as i32 {
                let value = step * f64::from(i);
                let at = y + h - (f64::from(h) * value / f64::from(high)).round() as i32;
                area.draw(&PathElement::new(vec![(x + w, at), (x + w + 8, at)], BLACK.stroke_width(2)))?;
                text(area, &format!("{value:.digits$}"), (x + w + 14, at), SMALL, BLACK, LEFT)?;
            }
        }
        Ok(())
    }
}

/// The round number of which a scale from 0 to `high` has three to six, and the digits after its point.
fn tick_step(high: f32) -> (f64, usize) {
    // A millionth of slack: 0.6 in single precision is a hair more than six times 0.1.
    let rough = f64::from(high) / 6.0 * (1.0 - 1e-6);
    let power = rough.log10().floor();
    let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * 10f64.powf(power)).into_iter().find(|&s| s >= rough);
    let step = step.expect("ten times the power of ten below it");
    // A tenth of an order of slack: 0.1 has one digit, although its logarithm may be a hair below -1.
    (step, (-(step.log10() + 0.1).floor()).max(0.0) as usize)
}

/// Number of columns and size of the tiles for `count` pictures of an aspect `rows / columns` in `width`.
fn grid(count: usize, aspect: f64, width: i32) -> (i32, i32, i32) {
    let rows = count.div_ceil(5);
    // One or two pictures do not fill a page: a tile is at most a third of its width.
    let across = count.div_ceil(rows).max(3) as i32;
    let tile_w = (width - GAP * (across + 1)) / across;
    (across, tile_w, (f64::from(tile_w) * aspect).round().max(1.0) as i32)
}

fn aspect(cube: &Cube) -> f64 {
    cube.rows() as f64 / cube.columns() as f64
}

fn score_line(scores: &Scores) -> String {
    format!("{:.2} dB, SSIM {:.3}", scores.psnr_unit_peak, scores.ssim_unit_peak)
}

/// Colour renderings side by side: truth, snapshot, estimates.
pub(crate) fn renderings(
    scene: &Comparison,
    rows: &[Row],
    renderer: &Renderer,
    points: &[[usize; 2]],
) -> Sheet {
    let mut tiles: Vec<(String, Option<String>, Picture)> = Vec::new();
    if let Some(truth) = &scene.truth {
        tiles.push((
            "truth".into(),
            Some(renderer.describe().split(", white").next().unwrap().into()),
            rendered(truth, renderer),
        ));
    }
    if let Some(snapshot) = &scene.snapshot {
        let (picture, scaling) = crate::plane_picture(snapshot.view());
        tiles.push((
            "snapshot".into(),
            Some(scaling.replace("black = 0, white = ", "white = ").replace(", linear", "")),
            picture,
        ));
    }
    for (estimate, row) in scene.estimates.iter().zip(rows) {
        let line = row.scores.as_ref().map(score_line).or_else(|| estimate.note.clone());
        tiles.push((estimate.name.clone(), line, rendered(&estimate.cube, renderer)));
    }
    let (across, tile_w, tile_h) = grid(tiles.len(), aspect(scene.reference()), WIDTH);
    let captions = if tiles.iter().any(|t| t.1.is_some()) { 2 * LINE } else { LINE };
    let down = (tiles.len() as i32 + across - 1) / across;
    let pitch = tile_h + captions + GAP;
    let mut sheet = Sheet::new(GAP + down * pitch);
    // Centre what does not fill the page.
    let used = across.min(tiles.len() as i32);
    let left = (WIDTH - used * (tile_w + GAP) + GAP) / 2;
    let marked = if scene.truth.is_none() && scene.snapshot.is_some() { 1 } else { 0 };
    for (i, (name, line, picture)) in tiles.into_iter().enumerate() {
        let (x, y) = (left + (i as i32 % across) * (tile_w + GAP), GAP + (i as i32 / across) * pitch);
        // A snapshot is wider than its scene: it keeps its own proportions inside the tile.
        let shown = (f64::from(tile_w) * picture.height as f64 / picture.width as f64).round() as i32;
        let height = shown.clamp(1, tile_h);
        let tile = [x, y + (tile_h - height) / 2, tile_w, height];
        if i == marked {
            sheet.marks = Some((points.to_vec(), tile, [picture.height, picture.width]));
        }
        sheet.place(picture, tile);
        sheet.label(fitted(&name, tile_w, TEXT), (x + tile_w / 2, y + tile_h + LINE / 2 + 4), TEXT);
        if let Some(line) = line {
            sheet.label(fitted(&line, tile_w, SMALL), (x + tile_w / 2, y + tile_h + LINE * 3 / 2), SMALL);
        }
    }
    sheet
}

/// Chosen bands (columns) of every cube (rows) in the colour of their wavelength; the window `zoom` is boxed and
/// enlarged in the opposite corner. All cubes share one scale per band: the reference's 99.5th percentile is full.
pub(crate) fn bands(scene: &Comparison, chosen: &[usize], zoom: Zoom) -> Sheet {
    const SIDE: i32 = 44;
    let reference = scene.reference();
    let (rows, columns) = (reference.rows(), reference.columns());
    let across = chosen.len().max(3) as i32;
    let tile_w = (WIDTH - SIDE - GAP * (across + 1)) / across;
    let tile_h = (f64::from(tile_w) * aspect(reference)).round().max(1.0) as i32;
    let count = scene.cubes().count() as i32;
    let mut sheet = Sheet::new(LINE + count * (tile_h + GAP) + GAP);
    for (j, &band) in chosen.iter().enumerate() {
        let nm = reference.wavelengths().nm()[band];
        let high = percentile(reference.band(band).iter().copied().collect(), 0.995);
        let x = SIDE + GAP + j as i32 * (tile_w + GAP);
        sheet.label(format!("{nm:.1} nm"), (x + tile_w / 2, LINE / 2 + 2), TEXT);
        for (i, (_, cube)) in scene.cubes().enumerate() {
            let y = LINE + GAP / 2 + i as i32 * (tile_h + GAP);
            let picture = Picture::false_colour(cube.band(band), nm, high);
            let scale =
                |n: usize, of: usize, length: i32| (n as f64 / of as f64 * f64::from(length)).round() as i32;
            let place = [
                x + scale(zoom.column, columns, tile_w),
                y + scale(zoom.row, rows, tile_h),
                scale(zoom.columns, columns, tile_w),
                scale(zoom.rows, rows, tile_h),
            ];
            // The inset takes at most 45 % of either side, in the corner away from the window.
            let factor = (0.45 * f64::from(tile_w) / zoom.columns as f64)
                .min(0.45 * f64::from(tile_h) / zoom.rows as f64);
            let (w, h) = ((zoom.columns as f64 * factor) as i32, (zoom.rows as f64 * factor) as i32);
            let inset_x = if 2 * zoom.column + zoom.columns > columns { x } else { x + tile_w - w };
            let inset_y = if 2 * zoom.row + zoom.rows > rows { y } else { y + tile_h - h };
            let inset = picture.window(
                [zoom.row, zoom.column],
                [zoom.rows, zoom.columns],
                w.max(1) as usize,
                h.max(1) as usize,
            );
            sheet.place(picture, [x, y, tile_w, tile_h]);
            sheet.place(inset, [inset_x, inset_y, w.max(1), h.max(1)]);
            sheet.frames.push(place);
            sheet.frames.push([inset_x + 3, inset_y + 3, w - 6, h - 6]);
        }
    }
    for (i, (name, _)) in scene.cubes().enumerate() {
        let at = (SIDE / 2, LINE + GAP / 2 + i as i32 * (tile_h + GAP) + tile_h / 2);
        sheet.labels.push(Label { line: fitted(name, tile_h, TEXT), at, size: TEXT, turned: true });
    }
    sheet
}

fn percentile(mut values: Vec<f32>, share: f64) -> f32 {
    let at = ((values.len() - 1) as f64 * share) as usize;
    *values.select_nth_unstable_by(at, f32::total_cmp).1
}

/// Mean absolute error over bands of every estimate, on one scale with one colour bar; `None` without a truth.
pub(crate) fn errors(scene: &Comparison) -> Option<Sheet> {
    const BAR: i32 = 150;
    let truth = scene.truth.as_ref()?;
    let maps: Vec<Array2<f32>> = scene.estimates.iter().map(|e| error_plane(truth, &e.cube)).collect();
    // The worst half per cent of pixels saturates, or a single outlier would darken every map.
    let high = maps.iter().map(|m| percentile(m.iter().copied().collect(), 0.995)).fold(0.0, f32::max);
    let high = if high > 0.0 { high } else { 1.0 };
    if maps.is_empty() {
        return None;
    }
    let (across, tile_w, tile_h) = grid(maps.len(), aspect(truth), WIDTH - BAR);
    let down = (maps.len() as i32 + across - 1) / across;
    let pitch = tile_h + 2 * LINE + GAP;
    let mut sheet = Sheet::new(GAP + down * pitch + LINE);
    let used = across.min(maps.len() as i32);
    let left = (WIDTH - BAR - used * (tile_w + GAP)) / 2;
    for (i, (map, estimate)) in maps.iter().zip(&scene.estimates).enumerate() {
        let (x, y) = (left + (i as i32 % across) * (tile_w + GAP), GAP + (i as i32 / across) * pitch);
        sheet.place(Picture::viridis(map.view(), 0.0, high), [x, y, tile_w, tile_h]);
        sheet.label(fitted(&estimate.name, tile_w, TEXT), (x + tile_w / 2, y + tile_h + LINE / 2 + 4), TEXT);
        let mean = map.iter().map(|&v| f64::from(v)).sum::<f64>() / map.len() as f64;
        sheet.label(format!("mean {mean:.4}"), (x + tile_w / 2, y + tile_h + LINE * 3 / 2), SMALL);
    }
    let bar = [left + used * (tile_w + GAP) + 6, GAP, 30, down * pitch - 2 * LINE - GAP];
    let table = viridis_table();
    let gradient = Picture { width: 1, height: 256, rgb: table.iter().rev().flatten().copied().collect() };
    sheet.place(gradient, bar);
    sheet.bar = Some((high, bar));
    sheet.label(
        "mean over bands of |estimate − truth|; one scale, full at the 99.5th percentile of the worst map",
        (WIDTH / 2, sheet.height - LINE / 2),
        SMALL,
    );
    Some(sheet)
}

#[cfg(test)]
mod tests {
    use super::tick_step;

    #[test]
    fn ticks_are_round_and_three_to_six() {
        for (high, step, digits) in [
            (0.27, 0.05, 2),
            (0.6, 0.1, 1),
            (0.601, 0.2, 1),
            (1.0, 0.2, 1),
            (3e-4, 5e-5, 5),
            (25.0, 5.0, 0),
            (1000.0, 200.0, 0),
        ] {
            let (found, shown) = tick_step(high);
            assert!((found / step - 1.0).abs() < 1e-9, "{high}: {found}");
            assert_eq!(shown, digits, "{high}");
            assert!((3..=7).contains(&((f64::from(high) / found) as i32 + 1)), "{high}");
        }
    }
}
