//! Lifted photographs: rendering gives the photograph back, spectra stay within 0..1 and smooth.

use cassi_core::{Wavelengths, colour::Renderer};
use cassi_scene::{Kind, Lift, Reflectance, SceneRecipe};
use ndarray::Array3;

/// Mean absolute difference in code values.
fn difference(a: &Array3<u8>, b: &Array3<u8>) -> f64 {
    a.iter().zip(b).map(|(&x, &y)| f64::from(x.abs_diff(y))).sum::<f64>() / a.len() as f64
}

/// A picture with the colours of measured reflectances, and one of every hue up to full saturation.
fn pictures() -> [Array3<u8>; 2] {
    let grid = Wavelengths::linspace(400.0, 700.0, 61);
    let scene = SceneRecipe::new(Kind::Chart, 5).with_size(96, 96).render(&grid);
    let wheel = Array3::from_shape_fn((64, 96, 3), |(row, column, channel)| {
        let hue = column as f64 / 16.0;
        let pure = (1.0 - ((hue - 2.0 * channel as f64 + 9.0).rem_euclid(6.0) - 3.0).abs()).clamp(0.0, 1.0);
        (255.0 * (pure + (1.0 - pure) * row as f64 / 63.0)) as u8
    });
    [Renderer::daylight(&grid).render(&scene).unwrap(), wheel]
}

#[test]
fn rendering_a_lifted_picture_returns_it() {
    for grid in [Wavelengths::benchmark(), Wavelengths::linspace(400.0, 700.0, 31)] {
        let renderer = Renderer::daylight(&grid);
        for lift in [Lift::new(&grid), Lift::metameric(&grid, 3, 0.7)] {
            for (picture, name) in pictures().iter().zip(["scene", "wheel"]) {
                let cube = lift.image(picture.view()).unwrap();
                assert!(cube.as_slice().iter().all(|v| (0.0..=1.0).contains(v)));
                let error = difference(&renderer.render(&cube).unwrap(), picture);
                println!("{name} on {} bands: {error:.3} code values", grid.len());
                // The promise is 2 code values; the wheel runs along the very edge of sRGB, where few reflectances
                // exist, and still keeps it.
                assert!(error < 2.0, "{name} on {} bands: {error:.3}", grid.len());
            }
        }
    }
}

#[test]
fn spectra_are_as_smooth_as_measured_ones() {
    // Mean square of the second difference over mean square of the first, on an even grid.
    let grid = Wavelengths::linspace(400.0, 700.0, 31);
    let roughness = |spectra: &[Vec<f32>]| {
        let second: f32 =
            spectra.iter().flat_map(|s| s.windows(3)).map(|w| (w[0] - 2.0 * w[1] + w[2]).powi(2)).sum();
        let first: f32 = spectra.iter().flat_map(|s| s.windows(2)).map(|w| (w[0] - w[1]).powi(2)).sum();
        second / first
    };
    let drawn: Vec<Vec<f32>> = (0..300)
        .map(|i| Reflectance::draw(&mut cassi_core::random::Stream::new(9, "smooth", i)).on(&grid))
        .collect();
    let (lift, renderer) = (Lift::new(&grid), Renderer::daylight(&grid));
    let lifted: Vec<Vec<f32>> =
        drawn.iter().map(|s| lift.spectrum(renderer.spectrum(s).map(|v| v as f32))).collect();
    let (drawn, lifted) = (roughness(&drawn), roughness(&lifted));
    println!("roughness: lifted {lifted:.4}, drawn {drawn:.4}");
    // Equality would be typical; twice that would be visible wiggles.
    assert!(lifted < 2.0 * drawn, "lifted {lifted}, measured statistics {drawn}");
}

#[test]
fn metamers_differ_in_spectrum_and_not_in_colour() {
    let grid = Wavelengths::benchmark();
    let renderer = Renderer::daylight(&grid);
    let colour = [0.3, 0.2, 0.1];
    let [a, b] = [1, 2].map(|seed| Lift::metameric(&grid, seed, 1.0).spectrum(colour));
    assert!(a.iter().zip(&b).any(|(x, y)| (x - y).abs() > 0.01));
    for (x, y) in renderer.spectrum(&a).iter().zip(renderer.spectrum(&b)) {
        // A tenth of a code value in the mid tones.
        assert!((x - y).abs() < 1e-3);
    }
    assert_eq!(Lift::metameric(&grid, 1, 1.0).spectrum(colour), a);
}

#[test]
fn a_grey_picture_of_one_channel_is_refused() {
    let error = Lift::new(&Wavelengths::benchmark()).image(Array3::zeros((4, 4, 1)).view()).unwrap_err();
    assert_eq!(error.found, vec![4, 4, 1]);
}
