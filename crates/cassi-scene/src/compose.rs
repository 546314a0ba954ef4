//! What is in a scene: objects, surfaces and light for every [`Kind`].
//!
//! All chance is drawn here, from one stream, before a single pixel is painted: the same recipe gives the same scene
//! at any size and on any wavelength grid.

mod garden;
mod plane;
mod still_life;

use std::f32::consts::PI;

use cassi_core::{Wavelengths, random::Stream};

use crate::{
    Kind,
    paint::{Light, Object, Relief, SHORT_SIDE, Shadow},
    reflectance::Reflectance,
    shape::Shape,
    texture::{Pattern, Texture},
};

/// A scene ready to be painted.
pub(crate) struct Composition {
    pub(crate) objects: Vec<Object>,
    pub(crate) light: Light,
}

/// What the kinds have in common while they place things.
struct Stage {
    random: Stream,
    /// Size in units.
    width: f32,
    height: f32,
    /// Direction to the light.
    direction: [f32; 3],
    /// Width of edges in pixels.
    edge: f32,
    objects: Vec<Object>,
}

/// Composes the scene of a recipe; `aspect` is (height, width) in units of a short side of 256.
pub(crate) fn compose(kind: Kind, seed: u64, (height, width): (f32, f32), grid: &Wavelengths) -> Composition {
    let mut random = Stream::new(seed, kind.name(), 0);
    let (azimuth, elevation) =
        (random.uniform_in(0.0, 2.0 * std::f64::consts::PI), random.uniform_in(0.6, 1.1));
    // From above more often than from below, as lamps and the sun are.
    let direction =
        [azimuth.cos() * elevation.cos(), -azimuth.sin().abs() * elevation.cos(), elevation.sin()]
            .map(|v| v as f32);
    let edge = random.uniform_in(1.2, 2.2) as f32;
    let mut stage = Stage { random, width, height, direction, edge, objects: Vec::new() };
    match kind {
        Kind::StillLife => still_life::place(&mut stage),
        Kind::Garden => garden::place(&mut stage),
        Kind::Chart => plane::chart(&mut stage),
        Kind::Fabric => plane::fabric(&mut stage),
        Kind::Letters => plane::letters(&mut stage),
    }
    let light = stage.light(kind, grid);
    Composition { objects: stage.objects, light }
}

impl Stage {
    fn uniform(&mut self, low: f32, high: f32) -> f32 {
        self.random.uniform_in(f64::from(low), f64::from(high)) as f32
    }

    fn chance(&mut self, probability: f64) -> bool {
        self.random.chance(probability)
    }

    /// A colour and a second one for its texture: a relative of the first, or now and then a stranger.
    fn colours(&mut self) -> [Reflectance; 2] {
        let first = Reflectance::draw(&mut self.random);
        [first.clone(), self.companion(&first)]
    }

    fn companion(&mut self, first: &Reflectance) -> Reflectance {
        if self.chance(0.3) {
            return Reflectance::draw(&mut self.random);
        }
        let lightness = self.random.uniform_in(-1.3, 1.0);
        first.varied(&mut self.random, lightness, 0.35)
    }

    /// Almost nothing comes back: felt, or a room beyond the lamp.
    fn black(&mut self) -> [Reflectance; 2] {
        let level = self.random.uniform_in(0.008, 0.035);
        let dark = Reflectance::from_fn(|_| level);
        let second = dark.varied(&mut self.random, 0.6, 0.15);
        [dark, second]
    }

    fn shadow(&mut self, height: f32) -> Shadow {
        let [x, y, z] = self.direction;
        let reach = height / z.max(0.4);
        let strength = self.uniform(0.35, 0.75);
        Shadow { offset: (-x * reach, -y * reach), blur: (0.9 * height).max(2.0), strength }
    }

    /// A flat, dull, unmarked object, to be adorned with struct update.
    fn plain(&mut self, shape: Shape, centre: (f32, f32), colours: [Reflectance; 2]) -> Object {
        Object {
            shape,
            centre,
            angle: 0.0,
            edge: self.edge,
            relief: Relief::Flat,
            colours,
            texture: Texture::new(Pattern::Plain, 0.03, &mut self.random),
            gloss: (0.0, 1.0),
            opacity: 1.0,
            shadow: None,
        }
    }

    /// The surface behind everything.
    fn backdrop(&mut self, colours: [Reflectance; 2], pattern: Pattern, grain: f32) {
        let centre = (0.5 * self.width, 0.5 * self.height);
        let mut object = self.plain(Shape::Everywhere, centre, colours);
        object.texture = Texture::new(pattern, grain, &mut self.random);
        object.angle = self.uniform(-0.1, 0.1);
        self.objects.push(object);
    }

    fn angle(&mut self) -> f32 {
        self.uniform(-PI, PI)
    }

    /// Highlights: none, satin or polished.
    fn gloss(&mut self) -> (f32, f32) {
        match self.random.uniform() {
            p if p < 0.4 => (0.0, 1.0),
            p if p < 0.7 => (self.uniform(0.05, 0.2), self.uniform(6.0, 20.0)),
            _ => (self.uniform(0.2, 0.7), self.uniform(30.0, 120.0)),
        }
    }

    /// Lamp and its fall-off. The spectrum departs mildly from equal power: a smooth slope (warm to cold) and bend.
    fn light(&mut self, kind: Kind, grid: &Wavelengths) -> Light {
        let (slope, bend) =
            (self.random.normal().clamp(-2.0, 2.0) * 0.13, self.random.normal().clamp(-2.0, 2.0) * 0.06);
        let power = |nm: f64| {
            let x = (nm - 550.0) / 100.0;
            (slope * x + bend * x * x).exp()
        };
        let largest = grid.nm().iter().map(|&nm| power(nm)).fold(0.0, f64::max);
        let spot = (self.uniform(0.0, 1.0) * self.width, self.uniform(-0.2, 0.8) * self.height);
        let reach = match kind {
            Kind::StillLife | Kind::Garden => self.uniform(1.0, 3.0),
            Kind::Chart | Kind::Fabric | Kind::Letters => self.uniform(1.8, 5.0),
        };
        Light {
            spectrum: grid.nm().iter().map(|&nm| (power(nm) / largest) as f32).collect(),
            direction: self.direction,
            ambient: self.uniform(0.15, 0.45),
            spot,
            reach: reach * SHORT_SIDE,
            exposure: self.uniform(0.75, 1.35),
        }
    }
}
