//! Balls, boxes, beads and blocks on a table before a wall, or on black felt.

use crate::{
    paint::{Object, Relief},
    shape::Shape,
    texture::{Pattern, Texture},
};

use super::Stage;

pub(super) fn place(stage: &mut Stage) {
    let dark = stage.chance(0.4);
    if dark {
        let colours = stage.black();
        stage.backdrop(colours, Pattern::Clouds(60.0, 0.6), 0.1);
    } else {
        room(stage);
    }
    let area = stage.width * stage.height / (256.0 * 256.0);
    let count = (stage.uniform(9.0, 26.0) * area) as usize;
    let mut places: Vec<(f32, f32)> = (0..count)
        .map(|_| (stage.uniform(0.02, 0.98) * stage.width, stage.uniform(0.12, 1.0) * stage.height))
        .collect();
    // What stands lower in the picture stands nearer.
    places.sort_by(|a, b| a.1.total_cmp(&b.1));
    for (x, y) in places {
        let spread = stage.random.normal() as f32;
        let size = (24.0 * (0.55 * spread).exp()).clamp(6.0, 62.0);
        if stage.chance(0.16) {
            beads(stage, x, y, size);
        } else {
            let object = thing(stage, x, y, size);
            stage.objects.push(object);
        }
    }
}

/// A wall and a table with its edge somewhere in the upper half.
fn room(stage: &mut Stage) {
    let wall = stage.colours();
    let pattern = match stage.random.below(4) {
        0 => Pattern::Stripes(stage.uniform(8.0, 28.0), 0.5, 0.0),
        1 => Pattern::Weave(stage.uniform(3.0, 6.0)),
        _ => Pattern::Clouds(stage.uniform(50.0, 140.0), 0.5),
    };
    stage.backdrop(wall, pattern, 0.04);
    if stage.chance(0.8) {
        let colours = stage.colours();
        let horizon = (0.5 * stage.width, stage.uniform(0.2, 0.55) * stage.height);
        let mut table = stage.plain(Shape::HalfPlane, horizon, colours);
        table.angle = stage.uniform(-0.08, 0.08);
        let pattern = match stage.random.below(4) {
            0 => Pattern::Checks(stage.uniform(8.0, 22.0)),
            1 => Pattern::Weave(stage.uniform(3.0, 7.0)),
            2 => Pattern::Rings(stage.uniform(6.0, 14.0)),
            _ => Pattern::Clouds(stage.uniform(20.0, 80.0), 0.6),
        };
        table.texture = Texture::new(pattern, 0.06, &mut stage.random);
        stage.objects.push(table);
    }
}

pub(super) fn thing(stage: &mut Stage, x: f32, y: f32, size: f32) -> Object {
    let colours = stage.colours();
    let height = stage.uniform(0.1, 0.45) * size;
    let shadow = Some(stage.shadow(height));
    let texture = Texture::draw(&mut stage.random, size);
    let gloss = stage.gloss();
    let squat = stage.uniform(0.6, 1.0);
    let (shape, relief, angle) = match stage.random.uniform() {
        p if p < 0.38 => {
            let (a, b) = (size, size * squat);
            (Shape::Ellipse(a, b), Relief::Ball(a, b), stage.angle())
        }
        p if p < 0.62 => {
            let corner = stage.uniform(0.05, 0.4) * size * squat;
            (Shape::Box(size, size * squat, corner), Relief::Cushion(0.25 * size), stage.uniform(-0.5, 0.5))
        }
        p if p < 0.78 => {
            let waves = std::array::from_fn(|k| (stage.uniform(0.0, 0.22) / (k + 1) as f32, stage.angle()));
            (Shape::Blob(size, waves), Relief::Cushion(0.6 * size), 0.0)
        }
        p if p < 0.9 => {
            let sides = 3 + stage.random.below(5) as u32;
            (Shape::Polygon(sides, size), Relief::Cushion(0.15 * size), stage.angle())
        }
        p if p < 0.95 => {
            let petals = 4 + stage.random.below(5) as u32;
            (Shape::Flower(size, petals, 0.45), Relief::Cushion(0.5 * size), stage.angle())
        }
        _ => {
            let long = 2.2 * size;
            let width = 0.12 * size + 1.5;
            (Shape::Box(long, width, width), Relief::Cushion(1.2 * width), stage.angle())
        }
    };
    Object { relief, angle, texture, gloss, shadow, ..stage.plain(shape, (x, y), colours) }
}

/// A heap of small glossy balls in a few colours.
fn beads(stage: &mut Stage, x: f32, y: f32, size: f32) {
    let palette: Vec<_> = (0..1 + stage.random.below(4)).map(|_| stage.colours()).collect();
    let radius = stage.uniform(3.0, 8.0);
    for _ in 0..(2.5 * size / radius) as usize + 3 {
        let (dx, dy) = (stage.random.normal() as f32 * size, stage.random.normal() as f32 * 0.7 * size);
        let colours = palette[stage.random.below(palette.len())].clone();
        let own = radius * stage.uniform(0.8, 1.2);
        let shadow = Some(stage.shadow(0.5 * own));
        let relief = Relief::Ball(own, own);
        let bead = stage.plain(Shape::Ellipse(own, own), (x + dx, y + dy), colours);
        let gloss = (stage.uniform(0.1, 0.6), stage.uniform(20.0, 60.0));
        let painted = Object { relief, shadow, gloss, ..bead };
        stage.objects.push(painted);
    }
}
