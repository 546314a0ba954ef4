//! Figures made of axes: spectra at points, PSNR band by band.

use cassi_core::{colour::Renderer, metrics::pearson};
use plotters::prelude::*;

use super::{
    Area, CENTRE, Drawing, Drawn, LEFT, Placed, SMALL, TEXT, WIDTH, fitted, font, markers, method_colour,
    text, text_width,
};
use crate::{Comparison, Row, picture::rendered};

/// One line of a plot.
struct Curve {
    /// Cut to the room there is.
    name: String,
    /// The figure behind the name, never cut.
    suffix: String,
    colour: RGBColor,
    width: u32,
    points: Vec<(f64, f64)>,
}

/// Axes with curves and a legend.
struct Plot {
    title: String,
    y_label: &'static str,
    curves: Vec<Curve>,
    from_zero: bool,
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values
        .filter(|v| v.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)))
}

impl Plot {
    fn legend_rows(&self) -> i32 {
        self.curves.len() as i32
    }

    /// Draws into a rectangle: legend above, axes below.
    fn draw<B: DrawingBackend>(&self, area: &Area<B>, [x, y, w, h]: [i32; 4], columns: i32) -> Drawn<B> {
        const LINE: i32 = 32;
        text(area, &self.title, (x + w / 2, y + 26), TEXT, BLACK, CENTRE)?;
        let rows = (self.legend_rows() + columns - 1) / columns;
        for (i, curve) in self.curves.iter().enumerate() {
            let (column, row) = (i as i32 / rows, i as i32 % rows);
            let (cell_w, at_y) = ((w - 100) / columns, y + 62 + LINE * row);
            let at_x = x + 100 + column * cell_w;
            let stroke = curve.colour.stroke_width(curve.width);
            area.draw(&PathElement::new(vec![(at_x, at_y), (at_x + 40, at_y)], stroke))?;
            let suffix_w = text_width(&curve.suffix, SMALL);
            let legend = fitted(&curve.name, cell_w - 60 - suffix_w, SMALL) + &curve.suffix;
            text(area, &legend, (at_x + 52, at_y), SMALL, BLACK, LEFT)?;
        }
        let top = y + 62 + LINE * rows - 8;
        let frame = area.clone().margin(top, bottom(area, y + h), x, right(area, x + w));
        let (x0, x1) = range(self.curves.iter().flat_map(|c| c.points.iter().map(|p| p.0)));
        let (low, high) = range(self.curves.iter().flat_map(|c| c.points.iter().map(|p| p.1)));
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        let low = if self.from_zero { low.min(0.0) } else { low };
        let pad = ((high - low) * 0.06).max(1e-3);
        let low = if self.from_zero && low == 0.0 { 0.0 } else { low - pad };
        let (x0, x1) = if x1 > x0 { (x0, x1) } else { (x0 - 1.0, x0 + 1.0) };
        let mut chart = ChartBuilder::on(&frame)
            .margin(10)
            .margin_right(24)
            .x_label_area_size(76)
            .y_label_area_size(104)
            .build_cartesian_2d(x0..x1, low..high + pad)?;
        chart
            .configure_mesh()
            .x_desc("wavelength / nm")
            .y_desc(self.y_label)
            .axis_desc_style(font(TEXT))
            .label_style(font(SMALL))
            .x_labels(6)
            .y_labels(6)
            .x_label_formatter(&|v| format!("{v:.0}"))
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.12))
            .axis_style(BLACK.stroke_width(2))
            .draw()?;
        for curve in self.curves.iter().rev() {
            let finite = curve.points.iter().copied().filter(|p| p.1.is_finite());
            chart.draw_series(LineSeries::new(finite, curve.colour.stroke_width(curve.width)))?;
        }
        Ok(())
    }
}

fn right<B: DrawingBackend>(area: &Area<B>, edge: i32) -> i32 {
    area.dim_in_pixel().0 as i32 - edge
}

fn bottom<B: DrawingBackend>(area: &Area<B>, edge: i32) -> i32 {
    area.dim_in_pixel().1 as i32 - edge
}

/// Plots in a grid, with a picture of the points at its left where there is one.
pub(crate) struct Curves {
    height: i32,
    pictures: Vec<Placed>,
    plots: Vec<(Plot, [i32; 4])>,
    legend_columns: i32,
    marks: Option<(Vec<[usize; 2]>, [i32; 4], [usize; 2], String)>,
}

impl Drawing for Curves {
    fn height(&self) -> i32 {
        self.height
    }

    fn pictures(&self) -> &[Placed] {
        &self.pictures
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn<B> {
        if let Some((points, tile, size, name)) = &self.marks {
            markers(area, points, *tile, *size)?;
            text(area, name, (tile[0] + tile[2] / 2, tile[1] + tile[3] + 24), TEXT, BLACK, CENTRE)?;
        }
        for (plot, rectangle) in &self.plots {
            plot.draw(area, *rectangle, self.legend_columns)?;
        }
        Ok(())
    }
}

/// Spectra at the points: truth and estimates with the Pearson correlation to the truth, and where the points are.
pub(crate) fn spectra(scene: &Comparison, renderer: &Renderer, points: &[[usize; 2]]) -> Curves {
    const MAP: i32 = 480;
    let reference = scene.reference();
    let nm = reference.wavelengths().nm();
    let (rows, columns) = (reference.rows(), reference.columns());
    let map_h = (f64::from(MAP) * rows as f64 / columns as f64).round().max(1.0) as i32;
    let across = if points.len() > 1 { 2 } else { 1 };
    let down = (points.len() as i32 + across - 1) / across;
    let curves = scene.cubes().count() as i32;
    let (plot_w, plot_h) = ((WIDTH - MAP - 40) / across, 488 + 32 * curves);
    let height = (down * plot_h + 10).max(map_h + 80);
    let plots = points.iter().enumerate().map(|(i, &[row, column])| {
        let truth = scene.truth.as_ref().map(|t| t.spectrum(row, column));
        let line = |values: &[f32]| nm.iter().zip(values).map(|(&x, &y)| (x, f64::from(y))).collect();
        let mut curves = Vec::new();
        if let Some(truth) = &truth {
            curves.push(Curve {
                name: "truth".into(),
                suffix: String::new(),
                colour: BLACK,
                width: 5,
                points: line(truth),
            });
        }
        for (j, estimate) in scene.estimates.iter().enumerate() {
            let values = estimate.cube.spectrum(row, column);
            let suffix = match truth.as_ref().map(|t| pearson(t, &values)) {
                Some(r) if r.is_finite() => format!(", r = {r:.4}"),
                Some(_) => ", r undefined".into(),
                None => String::new(),
            };
            let (name, colour) = (estimate.name.clone(), method_colour(j));
            curves.push(Curve { name, suffix, colour, width: 4, points: line(&values) });
        }
        let title = format!("point {} (row {row}, column {column})", i + 1);
        let place = [MAP + 40 + (i as i32 % across) * plot_w, (i as i32 / across) * plot_h, plot_w, plot_h];
        (Plot { title, y_label: "relative radiance", curves, from_zero: true }, place)
    });
    let tile = [20, 50, MAP, map_h];
    let (name, cube) = scene.cubes().next().expect("checked: at least one cube");
    let picture = rendered(cube, renderer);
    Curves {
        height,
        plots: plots.collect(),
        legend_columns: 1,
        pictures: vec![Placed { x: tile[0], y: tile[1], width: tile[2], height: tile[3], picture }],
        marks: Some((points.to_vec(), tile, [rows, columns], fitted(name, MAP, TEXT))),
    }
}

/// PSNR of every band (peak 1) of every estimate; `None` without a truth.
pub(crate) fn psnr_curves(scene: &Comparison, rows: &[Row]) -> Option<Curves> {
    let nm = scene.truth.as_ref()?.wavelengths().nm();
    let curves: Vec<Curve> = rows
        .iter()
        .enumerate()
        .filter_map(|(i, row)| {
            let scores = row.scores.as_ref()?;
            let points = nm.iter().copied().zip(scores.psnr_unit_peak_per_band.iter().copied()).collect();
            let suffix = format!(" ({:.2} dB on the whole cube)", scores.psnr_unit_peak);
            Some(Curve { name: row.method.clone(), suffix, colour: method_colour(i), width: 4, points })
        })
        .collect();
    if curves.is_empty() {
        return None;
    }
    let height = 700 + 32 * (curves.len() as i32 + 1) / 2;
    let plot = Plot {
        title: format!("{}: PSNR band by band", scene.title),
        y_label: "psnr_unit_peak_per_band / dB",
        curves,
        from_zero: false,
    };
    let plots = vec![(plot, [10, 6, WIDTH - 20, height - 10])];
    Some(Curves { height, pictures: Vec::new(), plots, legend_columns: 2, marks: None })
}
