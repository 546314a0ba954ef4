//! Figures: one layout each, drawn to SVG and to PNG.
//!
//! Coordinates are tenths of a millimetre on a page 180 mm wide (the text width of two columns), so the PNG has
//! 254 dots an inch and the smallest text is 6.5 points high. A figure is pictures at the bottom and plotters'
//! vectors above: in SVG the pictures are embedded as PNG at their own resolution.

mod curves;
mod smooth;
mod tiles;

pub(crate) use curves::{psnr_curves, spectra};
pub(crate) use tiles::{bands, errors, renderings};

use std::sync::Once;

use base64::{Engine, engine::general_purpose::STANDARD};
use plotters::{
    coord::Shift,
    prelude::*,
    style::{
        FontStyle, register_font,
        text_anchor::{HPos, Pos, VPos},
    },
};

use crate::{Picture, ReportError};
use smooth::Canvas;

/// Width of every figure.
pub(crate) const WIDTH: i32 = 1800;
/// Text of labels: 8 points.
pub(crate) const TEXT: i32 = 28;
/// Text of tick labels and legends: 6.5 points.
pub(crate) const SMALL: i32 = 23;
const FONT: &str = "DejaVu Sans";

/// Okabe and Ito's colours, apart in any colour vision, without yellow (too light on white); black is the truth's.
const PALETTE: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(120, 120, 120),
];

/// Colour of the `index`-th estimate.
pub(crate) fn method_colour(index: usize) -> RGBColor {
    PALETTE[index % PALETTE.len()]
}

/// A picture and the rectangle it fills.
pub(crate) struct Placed {
    pub(crate) x: i32,
    pub(crate) y: i32,
    pub(crate) width: i32,
    pub(crate) height: i32,
    pub(crate) picture: Picture,
}

pub(crate) type Area<B> = DrawingArea<B, Shift>;
pub(crate) type Drawn<B> = Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

/// A figure that any plotters backend can take.
pub(crate) trait Drawing: Sync {
    /// Height; the width is [`WIDTH`].
    fn height(&self) -> i32;
    /// What lies below the vectors.
    fn pictures(&self) -> &[Placed];
    /// The vectors.
    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn<B>;
}

/// Gives plotters the one typeface, once: nothing is looked up on the machine.
fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let bytes = include_bytes!("../../fonts/DejaVuSans.ttf");
        assert!(register_font(FONT, FontStyle::Normal, bytes).is_ok(), "the embedded typeface is sound");
    });
}

/// Draws a figure as PNG bytes.
pub(crate) fn to_png<D: Drawing>(name: &str, drawing: &D) -> Result<Vec<u8>, ReportError> {
    register();
    let mut canvas = Canvas::new(WIDTH as usize, drawing.height() as usize, drawing.pictures());
    let area = canvas.backend().into_drawing_area();
    let drawn = drawing.draw(&area).and_then(|()| area.present());
    drop(area);
    drawn.map_err(|e| ReportError::Draw { figure: name.into(), reason: e.to_string() })?;
    canvas.into_picture().to_png()
}

/// Draws a figure as SVG text.
pub(crate) fn to_svg<D: Drawing>(name: &str, drawing: &D) -> Result<String, ReportError> {
    register();
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, (WIDTH as u32, drawing.height() as u32)).into_drawing_area();
    let drawn = drawing.draw(&area).and_then(|()| area.present());
    drop(area);
    drawn.map_err(|e| ReportError::Draw { figure: name.into(), reason: e.to_string() })?;
    let body = svg.find('>').map_or("", |end| &svg[end + 1..]);
    let (width, height) = (WIDTH, drawing.height());
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}mm\" height=\"{:.1}mm\" viewBox=\"0 0 {width} {height}\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#FFFFFF\"/>\n",
        width / 10,
        f64::from(height) / 10.0,
    );
    for placed in drawing.pictures() {
        out += &format!(
            "<image x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" preserveAspectRatio=\"none\" \
             style=\"image-rendering:pixelated\" href=\"data:image/png;base64,{}\"/>\n",
            placed.x,
            placed.y,
            placed.width,
            placed.height,
            STANDARD.encode(placed.picture.to_png()?),
        );
    }
    // The same typeface where it is installed, a usual one elsewhere.
    out += &body.replace(
        &format!("font-family=\"{FONT}\""),
        "font-family=\"DejaVu Sans, Verdana, Helvetica, Arial, sans-serif\"",
    );
    Ok(out)
}

/// The typeface at a size.
pub(crate) fn font(size: i32) -> FontDesc<'static> {
    FontDesc::new(FontFamily::Name(FONT), f64::from(size), FontStyle::Normal)
}

/// Writes one line of text.
pub(crate) fn text<B: DrawingBackend>(
    area: &Area<B>,
    line: &str,
    at: (i32, i32),
    size: i32,
    colour: RGBColor,
    (h, v): (HPos, VPos),
) -> Drawn<B> {
    let style = TextStyle::from(font(size)).color(&colour).pos(Pos::new(h, v));
    area.draw(&Text::new(line.to_string(), at, style))
}

/// Centred text.
pub(crate) const CENTRE: (HPos, VPos) = (HPos::Center, VPos::Center);
/// Text that starts at its point, centred in height.
pub(crate) const LEFT: (HPos, VPos) = (HPos::Left, VPos::Center);

/// Width of a line of text, at DejaVu's about 0.6 of the size a letter.
pub(crate) fn text_width(line: &str, size: i32) -> i32 {
    (0.6 * f64::from(size) * line.chars().count() as f64).ceil() as i32
}

/// A name cut to what fits into `width` at `size`.
pub(crate) fn fitted(name: &str, width: i32, size: i32) -> String {
    let room = (f64::from(width) / (0.6 * f64::from(size))) as usize;
    if name.chars().count() <= room {
        return name.to_string();
    }
    name.chars().take(room.saturating_sub(1)).chain(['…']).collect()
}

/// Draws an unfilled rectangle with a light line inside a dark one, visible on any picture.
pub(crate) fn frame<B: DrawingBackend>(area: &Area<B>, [x, y, w, h]: [i32; 4]) -> Drawn<B> {
    area.draw(&Rectangle::new([(x - 2, y - 2), (x + w + 2, y + h + 2)], BLACK.stroke_width(3)))?;
    area.draw(&Rectangle::new([(x, y), (x + w, y + h)], WHITE.stroke_width(3)))
}

/// Draws numbered markers of points at their places in a tile `[x, y, w, h]` of a picture of `rows` by `columns`.
pub(crate) fn markers<B: DrawingBackend>(
    area: &Area<B>,
    points: &[[usize; 2]],
    [x, y, w, h]: [i32; 4],
    [rows, columns]: [usize; 2],
) -> Drawn<B> {
    for (i, [row, column]) in points.iter().enumerate() {
        let at = (
            x + ((*column as f64 + 0.5) / columns as f64 * f64::from(w)) as i32,
            y + ((*row as f64 + 0.5) / rows as f64 * f64::from(h)) as i32,
        );
        area.draw(&Circle::new(at, 7, BLACK.filled()))?;
        area.draw(&Circle::new(at, 5, WHITE.filled()))?;
        // The number stands on the side where there is room.
        let side = if at.0 + 40 < x + w { 22 } else { -22 };
        area.draw(&Circle::new((at.0 + side, at.1), 14, BLACK.filled()))?;
        text(area, &(i + 1).to_string(), (at.0 + side, at.1), SMALL, WHITE, CENTRE)?;
    }
    Ok(())
}
