//! Flat subjects: colour charts, cloth, print.

use cassi_core::colour::colorchecker;

use crate::{
    paint::{Object, Relief},
    reflectance::Reflectance,
    shape::Shape,
    texture::{Pattern, Texture},
};

use super::{Stage, still_life};

/// The ColorChecker's 24 patches, a second chart of drawn colours, and what lies about on the bench.
pub(super) fn chart(stage: &mut Stage) {
    let bench = stage.colours();
    let pattern = match stage.random.below(3) {
        0 => Pattern::Rings(stage.uniform(6.0, 14.0)),
        1 => Pattern::Weave(stage.uniform(3.0, 6.0)),
        _ => Pattern::Clouds(stage.uniform(30.0, 90.0), 0.5),
    };
    stage.backdrop(bench, pattern, 0.05);
    let angle = stage.uniform(-0.12, 0.12);
    let patches: Vec<Reflectance> =
        colorchecker().map(|p| Reflectance::from_fn(|nm| p.reflectance(nm))).collect();
    let centre =
        (0.5 * stage.width + stage.uniform(-12.0, 12.0), 0.34 * stage.height + stage.uniform(-8.0, 8.0));
    grid(stage, centre, angle, 6, stage.height.min(stage.width) * 0.135, &patches);
    let columns = 8 + stage.random.below(7);
    let rows = 2 + stage.random.below(3);
    let drawn: Vec<Reflectance> = (0..columns * rows).map(|_| Reflectance::draw(&mut stage.random)).collect();
    let centre = (0.5 * stage.width + stage.uniform(-20.0, 20.0), 0.82 * stage.height);
    let pitch = 0.8 * stage.width.min(stage.height) / columns as f32;
    let angle = angle + stage.uniform(-0.2, 0.2);
    grid(stage, centre, angle, columns, pitch, &drawn);
    for _ in 0..stage.random.below(6) {
        let (x, y) = (stage.uniform(0.0, 1.0) * stage.width, stage.uniform(0.5, 1.0) * stage.height);
        let size = stage.uniform(6.0, 22.0);
        let object = still_life::thing(stage, x, y, size);
        stage.objects.push(object);
    }
}

/// Patches in rows of `columns` on a dark card.
fn grid(
    stage: &mut Stage,
    centre: (f32, f32),
    angle: f32,
    columns: usize,
    pitch: f32,
    colours: &[Reflectance],
) {
    let rows = colours.len().div_ceil(columns);
    let half = (0.5 * pitch * columns as f32, 0.5 * pitch * rows as f32);
    let shadow = stage.shadow(3.0);
    let card = Reflectance::from_fn(|_| 0.03);
    let border = 0.12 * pitch;
    let frame = stage.plain(Shape::Box(half.0 + border, half.1 + border, 2.0), centre, [card.clone(), card]);
    let painted = Object { angle, shadow: Some(shadow), ..frame };
    stage.objects.push(painted);
    let (sine, cosine) = angle.sin_cos();
    for (i, colour) in colours.iter().enumerate() {
        let u = ((i % columns) as f32 + 0.5) * pitch - half.0;
        let v = ((i / columns) as f32 + 0.5) * pitch - half.1;
        let place = (centre.0 + cosine * u - sine * v, centre.1 + sine * u + cosine * v);
        let patch =
            stage.plain(Shape::Box(0.42 * pitch, 0.42 * pitch, 1.0), place, [colour.clone(), colour.clone()]);
        let texture = Texture::new(Pattern::Plain, 0.01, &mut stage.random);
        let painted = Object { angle, texture, ..patch };
        stage.objects.push(painted);
    }
}

/// A tartan or printed cloth in folds, with buttons, patches and a thread or two.
pub(super) fn fabric(stage: &mut Stage) {
    let colours = stage.colours();
    let thread = stage.uniform(3.0, 6.5);
    let pattern = match stage.random.below(4) {
        0 => Pattern::Dots(stage.uniform(10.0, 26.0), stage.uniform(3.0, 7.0)),
        1 => Pattern::Stripes(stage.uniform(6.0, 24.0), 0.5, 0.2),
        _ => Pattern::Weave(thread),
    };
    let centre = (0.5 * stage.width, 0.5 * stage.height);
    let lie = stage.uniform(-0.7, 0.7);
    let folds = Relief::Folds(stage.uniform(50.0, 130.0), stage.uniform(0.05, 0.16));
    let ground = stage.plain(Shape::Everywhere, centre, colours);
    let texture = Texture::new(pattern, 0.12, &mut stage.random);
    let seed = texture.seed;
    let painted = Object { angle: lie, relief: folds, texture, ..ground };
    stage.objects.push(painted);
    let diagonal = stage.width.hypot(stage.height);
    if stage.chance(0.7) {
        for direction in 0..2 {
            let set: Vec<_> = (0..1 + stage.random.below(3))
                .map(|_| (stage.colours(), stage.uniform(2.0, 14.0), stage.uniform(0.0, 1.0)))
                .collect();
            let repeat = stage.uniform(45.0, 110.0);
            for step in 0..(2.0 * diagonal / repeat) as usize {
                for (colours, half, phase) in &set {
                    let offset = (step as f32 + phase) * repeat - diagonal;
                    let angle = lie + direction as f32 * std::f32::consts::FRAC_PI_2;
                    let place = (centre.0 - offset * angle.sin(), centre.1 + offset * angle.cos());
                    let band = stage.plain(Shape::Box(1.5 * diagonal, *half, 0.0), place, colours.clone());
                    let weave =
                        Texture { seed, ..Texture::new(Pattern::Weave(thread), 0.1, &mut stage.random) };
                    let painted = Object { angle, texture: weave, relief: folds, opacity: 0.6, ..band };
                    stage.objects.push(painted);
                }
            }
        }
    }
    for _ in 0..2 + stage.random.below(9) {
        let (x, y) = (stage.uniform(0.0, 1.0) * stage.width, stage.uniform(0.0, 1.0) * stage.height);
        let size = stage.uniform(4.0, 24.0);
        let object = still_life::thing(stage, x, y, size);
        stage.objects.push(object);
    }
}

/// Print on paper: blocks of colour, lines of strokes that look like writing, stickers.
pub(super) fn letters(stage: &mut Stage) {
    let paper = Reflectance::draw_like(&mut stage.random, |b, g, r| b > 0.35 && g > 0.45 && r > 0.45);
    let second = paper.varied(&mut stage.random, -0.3, 0.05);
    stage.backdrop([paper, second], Pattern::Clouds(70.0, 0.4), 0.03);
    for _ in 0..3 + stage.random.below(6) {
        let centre = (stage.uniform(0.0, 1.0) * stage.width, stage.uniform(0.0, 1.0) * stage.height);
        let (a, b) = (stage.uniform(15.0, 75.0), stage.uniform(8.0, 50.0));
        let colours = stage.colours();
        let texture = Texture::draw(&mut stage.random, a);
        let block = stage.plain(Shape::Box(a, b, 2.0), centre, colours);
        let painted = Object { texture, ..block };
        stage.objects.push(painted);
    }
    let slant = stage.uniform(-0.15, 0.15);
    let mut y = stage.uniform(4.0, 14.0);
    while y < stage.height {
        let size = (8.0 * (0.55 * stage.random.normal() as f32).exp()).clamp(4.0, 34.0);
        let ink = stage.colours();
        let ink = if stage.chance(0.5) { stage.black() } else { ink };
        let weight = size * stage.uniform(0.07, 0.16);
        let mut x = stage.uniform(0.0, 0.3) * stage.width;
        let end = stage.width * stage.uniform(0.5, 1.0);
        while x < end {
            if !stage.chance(0.16) {
                let glyph = glyph(stage, size);
                let word = stage.plain(Shape::Strokes(glyph, weight), (x, y + size), ink.clone());
                let painted = Object { angle: slant, ..word };
                stage.objects.push(painted);
            }
            x += 1.35 * size;
        }
        y += 2.6 * size + stage.uniform(1.0, 6.0);
    }
    for _ in 0..stage.random.below(7) {
        let (x, y) = (stage.uniform(0.0, 1.0) * stage.width, stage.uniform(0.0, 1.0) * stage.height);
        let size = stage.uniform(5.0, 26.0);
        let object = still_life::thing(stage, x, y, size);
        stage.objects.push(object);
    }
}

/// Two to four strokes between the points of a three-by-two lattice.
fn glyph(stage: &mut Stage, size: f32) -> Vec<[f32; 4]> {
    let point = |i: usize| (((i % 2) as f32 - 0.5) * size, ((i / 2) as f32 - 1.0) * size);
    (0..2 + stage.random.below(3))
        .map(|_| {
            let from = stage.random.below(6);
            let to = (from + 1 + stage.random.below(5)) % 6;
            let ((x0, y0), (x1, y1)) = (point(from), point(to));
            [x0, y0, x1, y1]
        })
        .collect()
}
