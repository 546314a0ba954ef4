//! Leaves upon leaves, with flowers and berries between them.

use crate::{
    paint::{Object, Relief},
    reflectance::Reflectance,
    shape::Shape,
    texture::{Pattern, Texture},
};

use super::Stage;

pub(super) fn place(stage: &mut Stage) {
    let earth = Reflectance::draw_like(&mut stage.random, |b, g, r| r > g && g > b && r < 0.25);
    let ground = [-1.0, -2.0].map(|lightness| earth.varied(&mut stage.random, lightness, 0.15));
    stage.backdrop(ground, Pattern::Clouds(18.0, 1.2), 0.25);
    let area = stage.width * stage.height / (256.0 * 256.0);
    let greens: Vec<Reflectance> = (0..4)
        .map(|_| Reflectance::draw_like(&mut stage.random, |b, g, r| g > 1.5 * b && g > 1.25 * r && g < 0.45))
        .collect();
    for layer in 0..3 {
        for _ in 0..(stage.uniform(14.0, 26.0) * area) as usize {
            leaf(stage, &greens, layer);
        }
    }
    for _ in 0..((stage.uniform(3.0, 9.0) * area) as usize).max(1) {
        flower(stage);
    }
    for _ in 0..(stage.uniform(0.0, 14.0) * area) as usize {
        berry(stage);
    }
}

fn anywhere(stage: &mut Stage) -> (f32, f32) {
    (stage.uniform(0.0, 1.0) * stage.width, stage.uniform(0.0, 1.0) * stage.height)
}

fn leaf(stage: &mut Stage, greens: &[Reflectance], layer: usize) {
    let centre = anywhere(stage);
    let length = stage.uniform(18.0, 58.0);
    let width = length * stage.uniform(0.25, 0.55);
    // The deeper the darker.
    let lightness = stage.random.uniform_in(-0.5, 0.4) - 0.55 * (2 - layer) as f64;
    let green = greens[stage.random.below(greens.len())].varied(&mut stage.random, lightness, 0.15);
    let vein = green.varied(&mut stage.random, 0.9, 0.1);
    let object = stage.plain(Shape::Leaf(length, width), centre, [green, vein]);
    let veins = Pattern::Veins(stage.uniform(5.0, 10.0));
    let shadow = Some(stage.shadow(0.12 * length));
    let painted = Object {
        angle: stage.angle(),
        relief: Relief::Folds(length, 0.06),
        texture: Texture::new(veins, 0.08, &mut stage.random),
        gloss: (stage.uniform(0.0, 0.15), 12.0),
        shadow,
        ..object
    };
    stage.objects.push(painted);
}

fn flower(stage: &mut Stage) {
    let (x, y) = anywhere(stage);
    let radius = stage.uniform(12.0, 42.0);
    let petals = 5 + stage.random.below(9);
    let base = Reflectance::draw_like(&mut stage.random, |b, g, r| b.max(g).max(r) > 0.4 && g < b.max(r));
    let tip = stage.companion(&base);
    let width = (2.6 * radius / petals as f32).min(0.45 * radius);
    let start = stage.angle();
    for petal in 0..petals {
        let angle = start + std::f32::consts::TAU * petal as f32 / petals as f32;
        let centre = (x + 0.55 * radius * angle.cos(), y + 0.55 * radius * angle.sin());
        let shape = Shape::Leaf(0.52 * radius, width.min(0.5 * radius));
        let colour = base.varied(&mut stage.random, 0.0, 0.05);
        let object = stage.plain(shape, centre, [colour, tip.clone()]);
        let streaks = Pattern::Stripes(stage.uniform(2.5, 5.0), 0.35, 0.5);
        let painted = Object {
            angle,
            relief: Relief::Cushion(0.5 * width),
            texture: Texture::new(streaks, 0.04, &mut stage.random),
            shadow: Some(stage.shadow(0.08 * radius)),
            ..object
        };
        stage.objects.push(painted);
    }
    let middle = 0.24 * radius;
    let heart = Reflectance::draw_like(&mut stage.random, |b, g, r| r > 1.6 * b && g > 1.2 * b);
    let dark = heart.varied(&mut stage.random, -1.5, 0.2);
    let object = stage.plain(Shape::Ellipse(middle, middle), (x, y), [heart, dark]);
    let painted = Object {
        relief: Relief::Ball(1.3 * middle, 1.3 * middle),
        texture: Texture::new(Pattern::Dots(3.0, 1.2), 0.1, &mut stage.random),
        ..object
    };
    stage.objects.push(painted);
}

fn berry(stage: &mut Stage) {
    let centre = anywhere(stage);
    let radius = stage.uniform(3.0, 9.0);
    let skin = Reflectance::draw_like(&mut stage.random, |b, g, r| r > 2.0 * g && r > 1.5 * b);
    let second = skin.varied(&mut stage.random, -0.5, 0.1);
    let object = stage.plain(Shape::Ellipse(radius, radius), centre, [skin, second]);
    let painted = Object {
        relief: Relief::Ball(radius, radius),
        gloss: (0.5, 40.0),
        shadow: Some(stage.shadow(0.6 * radius)),
        ..object
    };
    stage.objects.push(painted);
}
