//! Outlines of objects as signed distances: negative inside, in units of the scene (256 on its short side).

/// An outline around the origin.
#[derive(Debug, Clone)]
pub(crate) enum Shape {
    /// The whole picture.
    Everywhere,
    /// All below the origin.
    HalfPlane,
    /// Half axes.
    Ellipse(f32, f32),
    /// Half sides and radius of the corners.
    Box(f32, f32, f32),
    /// Sides and outer radius of a regular polygon.
    Polygon(u32, f32),
    /// `radius (1 + Σ amplitude_k cos(k θ + phase_k))`, k from 2.
    Blob(f32, [(f32, f32); 4]),
    /// Radius, petals, depth of the notches.
    Flower(f32, u32, f32),
    /// Half length and half width of a pointed leaf.
    Leaf(f32, f32),
    /// Strokes from (x, y) to (x, y), and their half width.
    Strokes(Vec<[f32; 4]>, f32),
}

fn to_segment(x: f32, y: f32, [x0, y0, x1, y1]: [f32; 4]) -> f32 {
    let (dx, dy) = (x1 - x0, y1 - y0);
    let along = (((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy).max(1e-9)).clamp(0.0, 1.0);
    (x - x0 - along * dx).hypot(y - y0 - along * dy)
}

impl Shape {
    /// Distance to the outline at (x, y), negative inside; near the outline correct to about 20 % for the rounder
    /// shapes, which only changes how soft the edge looks.
    pub(crate) fn distance(&self, x: f32, y: f32) -> f32 {
        match self {
            Self::Everywhere => -1e6,
            Self::HalfPlane => -y,
            Self::Ellipse(a, b) => {
                let scaled = (x / a).hypot(y / b);
                let gradient = (x / (a * a)).hypot(y / (b * b)).max(1e-9);
                (scaled - 1.0) * scaled / gradient
            }
            Self::Box(a, b, corner) => {
                let (dx, dy) = (x.abs() - (a - corner), y.abs() - (b - corner));
                dx.max(0.0).hypot(dy.max(0.0)) + dx.max(dy).min(0.0) - corner
            }
            Self::Polygon(sides, radius) => {
                let sector = std::f32::consts::TAU / *sides as f32;
                let angle = y.atan2(x).rem_euclid(sector) - 0.5 * sector;
                x.hypot(y) * angle.cos() - radius * (0.5 * sector).cos()
            }
            Self::Blob(radius, waves) => {
                let angle = y.atan2(x);
                let bulge: f32 =
                    waves.iter().zip(2..).map(|((a, phase), k)| a * (k as f32 * angle + phase).cos()).sum();
                x.hypot(y) - radius * (1.0 + bulge)
            }
            Self::Flower(radius, petals, notch) => {
                let bulge = (0.5 * *petals as f32 * y.atan2(x)).cos().abs();
                0.8 * (x.hypot(y) - radius * (1.0 - notch + notch * bulge.sqrt()))
            }
            Self::Leaf(length, width) => {
                // Two circles that meet at the tips.
                let radius = (length * length + width * width) / (2.0 * width);
                x.hypot(y.abs() + radius - width) - radius
            }
            Self::Strokes(strokes, width) => {
                strokes.iter().map(|&s| to_segment(x, y, s)).fold(f32::INFINITY, f32::min) - width
            }
        }
    }

    /// Radius of a circle around the origin that holds the shape; None if it has no end.
    pub(crate) fn radius(&self) -> Option<f32> {
        match self {
            Self::Everywhere | Self::HalfPlane => None,
            Self::Ellipse(a, b) => Some(a.max(*b)),
            Self::Box(a, b, _) => Some(a.hypot(*b)),
            Self::Polygon(_, radius) | Self::Flower(radius, ..) => Some(*radius),
            Self::Blob(radius, waves) => {
                Some(radius * (1.0 + waves.iter().map(|(a, _)| a.abs()).sum::<f32>()))
            }
            Self::Leaf(length, width) => Some(length.max(*width)),
            Self::Strokes(strokes, width) => {
                let far =
                    strokes.iter().flat_map(|s| [s[0].hypot(s[1]), s[2].hypot(s[3])]).fold(0.0, f32::max);
                Some(far + width)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outlines_change_sign_where_they_should() {
        let shapes = [
            (Shape::Ellipse(3.0, 2.0), [2.9, 0.0], [3.1, 0.0]),
            (Shape::Box(3.0, 2.0, 0.5), [0.0, 1.9], [3.0, 2.0]),
            (Shape::Polygon(4, 2.0), [1.9, 0.0], [1.1, 1.1]),
            (Shape::Blob(2.0, [(0.0, 0.0); 4]), [1.9, 0.0], [0.0, 2.1]),
            (Shape::Flower(2.0, 5, 0.4), [1.9, 0.0], [-1.9, 0.0]),
            (Shape::Leaf(4.0, 1.0), [3.8, 0.0], [2.0, 0.9]),
            (Shape::Strokes(vec![[-1.0, 0.0, 1.0, 0.0]], 0.2), [1.1, 0.0], [0.0, 0.3]),
            (Shape::HalfPlane, [0.0, 1.0], [0.0, -1.0]),
        ];
        for (shape, [xi, yi], [xo, yo]) in shapes {
            assert!(shape.distance(xi, yi) < 0.0, "{shape:?} inside");
            assert!(shape.distance(xo, yo) > 0.0, "{shape:?} outside");
            assert!(shape.radius().is_none_or(|r| r >= xi.hypot(yi)), "{shape:?} radius");
        }
    }
}
