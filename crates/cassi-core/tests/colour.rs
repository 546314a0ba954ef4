//! Rendering against closed forms and against published colours of the ColorChecker.

use cassi_core::{
    Cube, Wavelengths,
    colour::{Illuminant, Renderer, White, colorchecker, decode_srgb, observer},
};
use ndarray::Array3;

#[test]
fn flat_spectra_are_grey_under_every_light_on_every_grid() {
    let grids = [
        Wavelengths::benchmark(),
        Wavelengths::linspace(400.0, 700.0, 31),
        Wavelengths::new(vec![430.0, 445.0, 530.0, 535.0, 680.0]).unwrap(),
    ];
    for grid in grids {
        for illuminant in Illuminant::ALL {
            let rgb = Renderer::new(&grid, illuminant, White::D65).spectrum(&vec![0.25; grid.len()]);
            for channel in rgb {
                assert!((channel - 0.25).abs() < 1e-9, "{illuminant}: {rgb:?}");
            }
        }
    }
}

#[test]
fn an_unadapted_lamp_keeps_its_colour() {
    let grid = Wavelengths::linspace(400.0, 700.0, 61);
    let [red, green, blue] = Renderer::new(&grid, Illuminant::A, White::Unadapted).spectrum(&[1.0; 61]);
    assert!(red > 1.5 && green < 1.0 && blue < 0.4, "{red} {green} {blue}");
    // Luminance is 1 all the same.
    assert!((0.2126 * red + 0.7152 * green + 0.0722 * blue - 1.0).abs() < 1e-3);
}

/// Published sRGB values of the ColorChecker (BabelColor, D. Pascale, "RGB coordinates of the Macbeth ColorChecker",
/// 2006), in chart order.
const PUBLISHED: [[u8; 3]; 24] = [
    [115, 82, 68],
    [194, 150, 130],
    [98, 122, 157],
    [87, 108, 67],
    [133, 128, 177],
    [103, 189, 170],
    [214, 126, 44],
    [80, 91, 166],
    [193, 90, 99],
    [94, 60, 108],
    [157, 188, 64],
    [224, 163, 46],
    [56, 61, 150],
    [70, 148, 73],
    [175, 54, 60],
    [231, 199, 31],
    [187, 86, 149],
    [8, 133, 161],
    [243, 243, 242],
    [200, 200, 200],
    [160, 160, 160],
    [122, 122, 121],
    [85, 85, 85],
    [52, 52, 52],
];

/// CIE L*a*b* of linear sRGB.
fn lab(rgb: [f64; 3]) -> [f64; 3] {
    let dot = |w: [f64; 3]| w[0] * rgb[0] + w[1] * rgb[1] + w[2] * rgb[2];
    let (x, y, z) = (
        dot([0.4124, 0.3576, 0.1805]) / 0.9505,
        dot([0.2126, 0.7152, 0.0722]),
        dot([0.0193, 0.1192, 0.9505]) / 1.089,
    );
    let f = |t: f64| if t > 216.0 / 24389.0 { t.cbrt() } else { (24389.0 / 27.0 * t + 16.0) / 116.0 };
    [116.0 * f(y) - 16.0, 500.0 * (f(x) - f(y)), 200.0 * (f(y) - f(z))]
}

fn delta_e(a: [f64; 3], b: [f64; 3]) -> f64 {
    lab(a).iter().zip(lab(b)).map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt()
}

#[test]
fn colorchecker_in_daylight() {
    let difference = |grid: &Wavelengths| -> Vec<f64> {
        let renderer = Renderer::daylight(grid);
        (colorchecker().zip(PUBLISHED))
            .map(|(patch, published)| {
                let spectrum: Vec<f32> = grid.nm().iter().map(|&nm| patch.reflectance(nm) as f32).collect();
                delta_e(renderer.spectrum(&spectrum), published.map(|v| decode_srgb(f64::from(v) / 255.0)))
            })
            .collect()
    };
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    // Another copy of the chart, measured under D50 and adapted: charts and years differ by two to three units.
    let full = difference(&Wavelengths::linspace(380.0, 780.0, 81));
    assert!(mean(&full) < 3.0, "mean {}, {full:.1?}", mean(&full));
    // 28 bands from 453.5 to 648 nm know nothing of the ends of the spectrum, which costs a few units more.
    let benchmark = difference(&Wavelengths::benchmark());
    assert!(mean(&benchmark) < 6.0, "mean {}, {benchmark:.1?}", mean(&benchmark));
}

#[test]
fn weights_are_the_integral_over_unequal_bands() {
    // A spectrum that is linear in wavelength is represented exactly on every grid that spans the tables, so two
    // grids with quite different spacing must agree.
    let ramp = |grid: &Wavelengths| {
        let spectrum: Vec<f32> = grid.nm().iter().map(|nm| ((nm - 380.0) / 400.0) as f32).collect();
        Renderer::new(grid, Illuminant::F11, White::D65).spectrum(&spectrum)
    };
    let even = ramp(&Wavelengths::linspace(380.0, 780.0, 81));
    let uneven = ramp(&Wavelengths::new(vec![380.0, 381.0, 400.0, 512.0, 640.0, 780.0]).unwrap());
    for (a, b) in even.iter().zip(uneven) {
        // f32 spectra.
        assert!((a - b).abs() < 1e-6, "{even:?} {uneven:?}");
    }
    // And by hand: the luminance of that ramp under E.
    let grid = Wavelengths::linspace(380.0, 780.0, 401);
    let [mut top, mut bottom] = [0.0; 2];
    for &nm in grid.nm() {
        let y = observer(nm)[1];
        top += y * (nm - 380.0) / 400.0;
        bottom += y;
    }
    let spectrum: Vec<f32> = grid.nm().iter().map(|nm| ((nm - 380.0) / 400.0) as f32).collect();
    let [r, g, b] = Renderer::new(&grid, Illuminant::E, White::Unadapted).spectrum(&spectrum);
    // sRGB's luminance row to four decimals.
    assert!((0.2126 * r + 0.7152 * g + 0.0722 * b - top / bottom).abs() < 1e-3);
}

#[test]
fn pictures_are_laid_out_row_column_channel() {
    let grid = Wavelengths::benchmark();
    let long = |nm: f64| if nm > 600.0 { 0.8 } else { 0.02 };
    let data = Array3::from_shape_fn(
        (28, 2, 3),
        |(b, r, c)| if (r, c) == (1, 2) { long(grid.nm()[b]) } else { 0.0 },
    );
    let cube = Cube::new(data, grid.clone()).unwrap();
    let renderer = Renderer::daylight(&grid);
    let picture = renderer.render(&cube).unwrap();
    assert!(picture[[1, 2, 0]] > 150 && picture[[1, 2, 2]] < 80, "{picture:?}");
    assert_eq!(
        picture.iter().filter(|&&v| v > 0).count(),
        picture.slice(ndarray::s![1, 2, ..]).iter().filter(|&&v| v > 0).count()
    );
    // The automatic exposure makes the strongest channel of the bright pixel full.
    let mut bright = cube.clone();
    bright.as_mut_slice().iter_mut().for_each(|v| *v = 0.05);
    let exposure = renderer.auto_exposure(&bright).unwrap();
    assert!((exposure - 20.0).abs() < 1e-3, "{exposure}");
    assert!(renderer.clone().with_exposure(exposure).render(&bright).unwrap().iter().all(|&v| v == 255));
    // A cube on another grid is refused.
    assert!(Renderer::daylight(&Wavelengths::linspace(400.0, 700.0, 28)).render(&cube).is_err());
}
