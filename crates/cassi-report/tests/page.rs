//! The page in a real browser: every way to use it, and the numbers and pictures it then shows against those that
//! were computed.
//!
//! Needs `chromium-headless-shell` or `chromium` in PATH; without one the tests say so and pass, unless
//! `CASSI_REQUIRE_BROWSER=1` is set.

mod browser;

use std::path::PathBuf;

use browser::Page;
use cassi_core::{
    Cube, Snapshot, Wavelengths,
    colour::{Illuminant, Renderer, White},
    metrics::pearson,
};
use cassi_report::{
    CompareOptions, Comparison, Estimate, Row, band_picture, plane_picture, write_comparison,
};
use ndarray::{Array2, Array3};

const BANDS: usize = 9;
const ROWS: usize = 40;
const COLUMNS: usize = 56;
const DESKTOP: [u32; 2] = [1280, 900];

fn cube(phase: f32, gain: f32) -> Cube {
    let data = Array3::from_shape_fn((BANDS, ROWS, COLUMNS), |(b, r, c)| {
        let (b, r, c) = (b as f32, r as f32, c as f32);
        gain * (0.5 + 0.3 * (0.3 * b + 0.2 * r + phase).sin() + 0.2 * (0.15 * c * (1.0 + 0.1 * b)).cos())
    });
    Cube::new(data, Wavelengths::linspace(450.0, 650.0, BANDS)).unwrap()
}

fn scene(title: &str, phase: f32, truth: bool) -> Comparison {
    let with = |name: &str, cube| Estimate {
        seconds: Some(1.25),
        residual: Some(0.0123),
        note: Some("a note".into()),
        ..Estimate::new(name, cube)
    };
    Comparison {
        title: title.into(),
        truth: truth.then(|| cube(phase, 1.0)),
        snapshot: Some(
            Snapshot::new(Array2::from_shape_fn((ROWS, COLUMNS + 16), |(r, c)| (r * c) as f32)).unwrap(),
        ),
        estimates: vec![with("first", cube(phase + 0.1, 1.0)), with("second <b>", cube(phase + 0.02, 1.3))],
        provenance: vec!["cassi compare </script><script>document.title='broken'</script>".into()],
    }
}

/// A written page and what it was made of.
struct Report {
    _folder: tempfile::TempDir,
    file: PathBuf,
    scenes: Vec<Comparison>,
    rows: Vec<Row>,
}

impl Report {
    fn new(scenes: Vec<Comparison>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = CompareOptions { svg: false, png: false, ..Default::default() };
        let written = write_comparison(folder.path(), &scenes, &options).unwrap();
        Self { file: written.page.unwrap(), rows: written.rows, scenes, _folder: folder }
    }

    fn two_scenes() -> Self {
        Self::new(vec![scene("plain", 0.0, true), scene("</script>&amp; odd", 0.7, true)])
    }

    fn open(&self, hash: &str) -> Option<Page> {
        Page::open(&self.file, hash, DESKTOP)
    }

    /// Truth and estimates of a scene, in the order of the page.
    fn cubes(&self, scene: usize) -> Vec<&Cube> {
        let scene = &self.scenes[scene];
        scene.truth.iter().chain(scene.estimates.iter().map(|e| &e.cube)).collect()
    }

    /// Half a step of 12 bits of this cube.
    fn half_step(cube: &Cube) -> f64 {
        let (low, high) =
            (cube.as_slice().iter()).fold((f32::MAX, f32::MIN), |(a, b), &v| (a.min(v), b.max(v)));
        f64::from(high - low) / 4095.0 / 2.0
    }

    /// Title, numbers, curves and correlations shown are those of this pixel, for every cube of the scene.
    fn assert_spectra(&self, page: &mut Page, scene: usize, [row, column]: [usize; 2]) {
        assert_eq!(page.text("#pixel-title"), format!("Spectra at row {row}, column {column}"));
        let cubes = self.cubes(scene);
        let table = page.eval(
            "[...document.querySelectorAll('#values tbody tr')].map((line) => \
             [...line.children].map((cell) => Number(cell.textContent)))",
        );
        assert_eq!(table.as_array().unwrap().len(), BANDS);
        assert_eq!(table[0].as_array().unwrap().len(), 1 + cubes.len());
        for (band, &nm) in cubes[0].wavelengths().nm().iter().enumerate() {
            assert!((table[band][0].as_f64().unwrap() - nm).abs() <= 0.05 + 1e-9, "one digit of {nm} nm");
        }
        let curves = page.eval(
            "[...document.querySelectorAll('#chart [data-curve]')].map((path) => \
             path.getAttribute('d').slice(1).split('L').map((point) => point.split(' ').map(Number)))",
        );
        assert_eq!(curves.as_array().unwrap().len(), cubes.len());
        let keys = page.eval("[...document.querySelectorAll('#keys [data-key]')].map((k) => k.textContent)");
        let mut points = Vec::new();
        for (i, cube) in cubes.iter().enumerate() {
            let values = cube.spectrum(row, column);
            // Half a step of quantisation, half a unit of the fourth digit shown, and rounding.
            let tolerance = Self::half_step(cube) + 0.5e-4 + 1e-7;
            for (band, &value) in values.iter().enumerate() {
                let shown = table[band][1 + i].as_f64().unwrap();
                assert!(
                    (shown - f64::from(value)).abs() <= tolerance,
                    "cube {i}, band {band}: {shown}, not {value}"
                );
                points.push((f64::from(value), curves[i][band][1].as_f64().unwrap()));
            }
            let truth = self.scenes[scene].truth.as_ref().filter(|_| i > 0);
            match truth.map(|truth| pearson(&truth.spectrum(row, column), &values)) {
                Some(r) => {
                    let shown =
                        keys[i].as_str().unwrap().rsplit("r = ").next().unwrap().parse::<f64>().unwrap();
                    // Half a unit of the fourth digit shown; the rest is room for quantisation, of second order in r.
                    assert!((shown - r).abs() < 1e-4, "cube {i}: r = {shown}, not {r}");
                }
                None => assert!(!keys[i].as_str().unwrap().contains("r =")),
            }
        }
        // One straight line takes values to heights: the curves are drawn to scale.
        let low = points.iter().copied().min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
        let high = points.iter().copied().max_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
        let slope = (high.1 - low.1) / (high.0 - low.0);
        assert!(slope < -10.0, "higher values are drawn higher up");
        for (value, y) in points {
            // Quantisation of three values and rounding of coordinates to a tenth of a pixel.
            let tolerance = 3.0 * 2e-4 * slope.abs() + 0.15;
            assert!((low.1 + slope * (value - low.0) - y).abs() < tolerance, "{value} is drawn at {y}");
        }
    }

    /// The canvas shows this picture: values of 12 bits through a table of 12 bits cost at most 3 of 255 in the dark,
    /// where sRGB is 13 times steeper than light.
    fn assert_picture(page: &mut Page, canvas: &str, expected: &[u8]) {
        let found = page.canvas(canvas);
        assert_eq!(found.len(), expected.len(), "{canvas}");
        let worst = found.iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(worst <= 3, "{canvas} is off by {worst}");
    }

    fn colour(&self, scene: usize, image: usize) -> Vec<u8> {
        let cubes = self.cubes(scene);
        let renderer = Renderer::new(cubes[0].wavelengths(), Illuminant::D65, White::D65);
        let renderer = renderer.clone().with_exposure(renderer.auto_exposure(cubes[0]).unwrap());
        renderer.render(cubes[image]).unwrap().into_raw_vec_and_offset().0
    }

    fn band(&self, scene: usize, image: usize, band: usize) -> Vec<u8> {
        let cubes = self.cubes(scene);
        let high = cubes[0].band(band).iter().copied().fold(0.0, f32::max);
        band_picture(cubes[image], band, Some(high)).rgb
    }
}

/// What the address says the page shows.
fn address(page: &mut Page, key: &str) -> String {
    let value = page.eval(&format!("new URLSearchParams(location.hash.slice(1)).get({key:?})"));
    value.as_str().unwrap_or_else(|| panic!("no {key} in the address")).to_string()
}

#[test]
fn addresses_open_the_view_they_name() {
    let report = Report::two_scenes();
    let Some(mut page) = report.open("") else { return };
    for (index, pixel) in [(0, [20, 30]), (1, [0, 0]), (1, [ROWS - 1, COLUMNS - 1])] {
        page.go(&format!("scene={index}&band=3&pixel={},{}&mode=error", pixel[0], pixel[1]));
        assert_eq!(page.eval("document.title"), "CASSI report", "text of the data was run");
        assert_eq!(page.text("#wavelength"), "525.0 nm (4 of 9)");
        report.assert_spectra(&mut page, index, pixel);
    }
    // Whatever else stands there is brought into range.
    page.go("scene=7&band=99&pixel=-4,1000&mode=odd&left=88&right=-1&swipe=300&zoom=x");
    assert_eq!(page.text("#wavelength"), "650.0 nm (9 of 9)");
    report.assert_spectra(&mut page, 1, [0, COLUMNS - 1]);
    assert_eq!(page.text("#tag-left"), "snapshot");
    // An address typed over an open page is followed.
    page.eval("location.hash = 'scene=0&band=2&pixel=3,4'");
    page.eval("new Promise((resolve) => setTimeout(resolve, 50))");
    page.drawn();
    report.assert_spectra(&mut page, 0, [3, 4]);
}

#[test]
fn metrics_are_the_computed_ones_and_sort() {
    let report = Report::two_scenes();
    let Some(mut page) = report.open("scene=1") else { return };
    let cell = |scene: &str, method: &str, key: &str| {
        format!("[data-scene={scene:?}][data-method={method:?}][data-metric={key:?}]")
    };
    page.click("#all-scenes");
    for row in &report.rows {
        let scores = row.scores.as_ref().unwrap();
        for (key, expected) in [
            ("psnr_unit_peak", format!("{:.2}", scores.psnr_unit_peak)),
            ("ssim_mst", format!("{:.4}", scores.ssim_mst)),
            ("sam_deg", format!("{:.2}", scores.sam_deg)),
            ("residual", "0.0123".into()),
            ("seconds", "1.25".into()),
        ] {
            assert_eq!(page.text(&cell(&row.scene, &row.method, key)), expected, "{key} of {}", row.method);
        }
    }
    assert_eq!(
        page.number("document.querySelectorAll('#metrics tbody tr').length"),
        6.0,
        "4 rows and 2 means"
    );
    page.click("#all-scenes");
    assert_eq!(page.number("document.querySelectorAll('#metrics tbody tr').length"), 2.0);
    // A heading sorts, best first; once more turns the order.
    let methods =
        "[...document.querySelectorAll('#metrics tbody tr')].map((line) => line.children[0].textContent)";
    let mut expected: Vec<&Row> = report.rows.iter().filter(|r| r.scene == report.scenes[1].title).collect();
    expected.sort_by(|a, b| {
        let psnr = |row: &Row| row.scores.as_ref().unwrap().psnr_unit_peak;
        psnr(b).total_cmp(&psnr(a))
    });
    let mut expected: Vec<String> = expected.iter().map(|r| r.method.clone()).collect();
    page.click("#metrics th:nth-child(2) button");
    assert_eq!(page.eval(methods), serde_json::json!(expected));
    assert_eq!(page.eval("document.querySelectorAll('#metrics th')[1].ariaSort"), "descending");
    page.click("#metrics th:nth-child(2) button");
    expected.reverse();
    assert_eq!(page.eval(methods), serde_json::json!(expected));
}

#[test]
fn the_band_slider_moves_pictures_and_spectra() {
    let report = Report::two_scenes();
    let Some(mut page) = report.open("pixel=7,9&left=0&right=2") else { return };
    Report::assert_picture(&mut page, "#canvas-left", &report.colour(0, 0));
    Report::assert_picture(&mut page, "#canvas-right", &report.colour(0, 2));
    // A click at three quarters of the slider: band 6 of 0 to 8, and the pictures turn to bands.
    let at = page.place("#band", [0.75, 0.5]);
    page.click_at(at);
    assert_eq!(page.text("#wavelength"), "600.0 nm (7 of 9)");
    assert_eq!((address(&mut page, "band").as_str(), address(&mut page, "mode").as_str()), ("6", "band"));
    Report::assert_picture(&mut page, "#canvas-left", &report.band(0, 0, 6));
    Report::assert_picture(&mut page, "#canvas-right", &report.band(0, 2, 6));
    // Dragged to the left end, then by the slider's own keys.
    let end = page.place("#band", [0.0, 0.5]);
    page.drag(at, end);
    assert_eq!(page.text("#wavelength"), "450.0 nm (1 of 9)");
    for key in ["ArrowRight", "ArrowUp", "ArrowRight", "ArrowLeft"] {
        page.key(key, false);
    }
    assert_eq!(page.text("#wavelength"), "500.0 nm (3 of 9)");
    page.key("End", false);
    assert_eq!(page.text("#wavelength"), "650.0 nm (9 of 9)");
    Report::assert_picture(&mut page, "#canvas-right", &report.band(0, 2, 8));
    assert_eq!(page.text("#values tr.current td"), "650.0", "the band's line of the table is marked");
    let (line, first, last) = (
        page.number("Number(document.querySelector('#chart .here').getAttribute('x1'))"),
        page.number(
            "Number(document.querySelector('[data-curve]').getAttribute('d').slice(1).split(' ')[0])",
        ),
        page.number(
            "Number(document.querySelector('[data-curve]').getAttribute('d').split('L').pop().split(' ')[0])",
        ),
    );
    assert!(first < last && (line - last).abs() < 0.1, "the band's line stands at the curve's last point");
    report.assert_spectra(&mut page, 0, [7, 9]);
}

#[test]
fn a_click_on_a_pixel_shows_its_spectra() {
    let report = Report::two_scenes();
    let Some(mut page) = report.open("scene=1&swipe=30") else { return };
    let click = |page: &mut Page, [row, column]: [usize; 2]| {
        let share = |i: usize, n: usize| (i as f64 + 0.5) / n as f64;
        let at = page.place("#frame", [share(column, COLUMNS), share(row, ROWS)]);
        page.click_at(at);
    };
    for pixel in [[0, 0], [ROWS - 1, COLUMNS - 1], [11, 42], [25, 3]] {
        click(&mut page, pixel);
        report.assert_spectra(&mut page, 1, pixel);
        assert_eq!(address(&mut page, "pixel"), format!("{},{}", pixel[0], pixel[1]));
        // The mark lies on the pixel.
        let mark = page.eval(
            "(() => { const a = document.getElementById('cross').getBoundingClientRect(), \
             b = document.getElementById('frame').getBoundingClientRect(); \
             return [((a.top + a.bottom) / 2 - b.top) / b.height, ((a.left + a.right) / 2 - b.left) / b.width]; })()",
        );
        for (i, n) in [ROWS, COLUMNS].into_iter().enumerate() {
            let found = mark[i].as_f64().unwrap() * n as f64;
            assert!((found - pixel[i] as f64 - 0.5).abs() < 0.3, "axis {i}: the mark is at {found}");
        }
    }
    // The proposed points are pixels, too.
    page.click("#points button:last-child");
    let [row, column]: [usize; 2] = {
        let pixel = address(&mut page, "pixel");
        let (row, column) = pixel.split_once(',').unwrap();
        [row.parse().unwrap(), column.parse().unwrap()]
    };
    report.assert_spectra(&mut page, 1, [row, column]);
    // Enlarged, the picture stays around the chosen pixel, and a click still finds the pixel under it.
    click(&mut page, [30, 44]);
    page.click("#in");
    page.click("#in");
    assert_eq!(page.text("#zoom"), "4×");
    let centred = page.eval(
        "(() => { const a = document.getElementById('cross').getBoundingClientRect(), \
         b = document.getElementById('stage').getBoundingClientRect(); \
         return a.left > b.left && a.right < b.right && a.top > b.top && a.bottom < b.bottom; })()",
    );
    assert_eq!(centred, true);
    let size = page.number("document.getElementById('frame').getBoundingClientRect().width") / COLUMNS as f64;
    let at = page.place("#cross", [0.5, 0.5]);
    page.click_at([at[0] + 2.0 * size, at[1] - 3.0 * size]);
    report.assert_spectra(&mut page, 1, [27, 46]);
    page.click("#out");
    assert_eq!(page.text("#zoom"), "2×");
}

#[test]
fn swiping_uncovers_one_method_or_the_other() {
    let report = Report::two_scenes();
    let Some(mut page) = report.open("left=1&right=2&pixel=0,0") else { return };
    let (left, right) = (report.colour(0, 1), report.colour(0, 2));
    let differ = |a: &[u8], b: &[u8]| a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    // What the window shows at the centre of a pixel is that pixel of the left or of the right picture.
    let assert_divided = |page: &mut Page, share: f64| {
        let shot = page.screenshot();
        let mut compared = [0, 0];
        for row in [5, 20, 28] {
            for column in (2..COLUMNS).step_by(3) {
                let x = (column as f64 + 0.5) / COLUMNS as f64;
                let [px, py] = page.place("#frame", [x, (row as f64 + 0.5) / ROWS as f64]);
                let at = 3 * (row * COLUMNS + column);
                // Not under the divider, and where the two can be told apart.
                if (x - share).abs() < 0.06 || differ(&left[at..at + 3], &right[at..at + 3]) < 12 {
                    continue;
                }
                let expected = if x < share { &left } else { &right };
                let found = shot.get_pixel(px as u32, py as u32).0;
                assert!(differ(&found, &expected[at..at + 3]) <= 3, "row {row}, column {column} at {share}");
                compared[usize::from(x > share)] += 1;
            }
        }
        compared
    };
    let compared = assert_divided(&mut page, 0.5);
    assert!(compared[0] > 3 && compared[1] > 3, "{compared:?}");
    // By the line itself, with the mouse.
    let (from, to) = (page.place("#divider", [0.5, 0.3]), page.place("#frame", [0.25, 0.3]));
    page.drag(from, to);
    assert_eq!(address(&mut page, "swipe"), "25");
    assert_divided(&mut page, 0.25);
    assert_eq!(address(&mut page, "pixel"), "0,0", "a drag of the line chooses no pixel");
    // By the slider, to either end.
    let end = page.place("#swipe", [0.995, 0.5]);
    page.click_at(end);
    assert_eq!(address(&mut page, "swipe"), "100");
    assert_eq!(assert_divided(&mut page, 1.0)[1], 0);
    page.key("Home", false);
    assert_eq!(address(&mut page, "swipe"), "0");
    assert_eq!(assert_divided(&mut page, 0.0)[0], 0);
    // Other pictures on either side, by the lists.
    for (list, key, image) in [("left", "Home", "0"), ("right", "ArrowUp", "1"), ("right", "End", "3")] {
        page.eval(&format!("document.getElementById({list:?}).focus()"));
        page.key(key, false);
        assert_eq!(address(&mut page, list), image);
    }
    assert_eq!((page.text("#tag-left").as_str(), page.text("#tag-right").as_str()), ("truth", "snapshot"));
    let (picture, _) = plane_picture(report.scenes[0].snapshot.as_ref().unwrap().view());
    Report::assert_picture(&mut page, "#canvas-right", &picture.rgb);
}

#[test]
fn error_maps_share_one_scale() {
    let report = Report::two_scenes();
    let Some(mut page) = report.open("left=1&right=2") else { return };
    page.click("[name=mode][value=error]");
    assert_eq!(address(&mut page, "mode"), "error");
    let cubes = report.cubes(0);
    let maps: Vec<Vec<f32>> = (1..3)
        .map(|i| {
            let pixel = |p: usize| {
                (0..BANDS)
                    .map(|b| b * ROWS * COLUMNS + p)
                    .map(|at| (cubes[i].as_slice()[at] - cubes[0].as_slice()[at]).abs())
                    .sum::<f32>()
                    / BANDS as f32
            };
            (0..ROWS * COLUMNS).map(pixel).collect()
        })
        .collect();
    let top = (maps.iter())
        .map(|map| {
            let mut sorted = map.clone();
            sorted.sort_by(f32::total_cmp);
            sorted[(0.995 * (sorted.len() - 1) as f64) as usize]
        })
        .fold(0.0, f32::max);
    let shown: f64 = page.text("#legend .ends span:last-child").parse().unwrap();
    // Steps of two cubes, and half a unit of the last digit.
    let step = 2.0 * Report::half_step(cubes[2]) + 0.5e-4;
    assert!((shown - f64::from(top)).abs() < step, "{shown}, not {top}");
    // The colour of a pixel is the one of its error in the table of viridis, which repeats some of its colours.
    let viridis: Vec<[u8; 3]> =
        serde_json::from_value(page.eval("JSON.parse(document.getElementById('data').textContent).viridis"))
            .unwrap();
    for (canvas, map) in ["#canvas-left", "#canvas-right"].iter().zip(&maps) {
        let pixels = page.canvas(canvas);
        for (rgb, &error) in pixels.chunks_exact(3).zip(map) {
            // Two half steps of quantisation in the value and in the top, half a step of the table.
            let (level, off) = (255.0 * f64::from(error / top), 0.5 + 255.0 * 2.0 * step / f64::from(top));
            let low = (level - off).floor().clamp(0.0, 255.0) as usize;
            let high = (level + off).ceil().clamp(0.0, 255.0) as usize;
            assert!(viridis[low..=high].iter().any(|c| c == rgb), "{rgb:?} is not {error} of {top}");
        }
    }
    // The truth has no error: beside a map it stays itself.
    page.key("1", true);
    assert_eq!(page.text("#tag-left"), "truth");
    Report::assert_picture(&mut page, "#canvas-left", &report.colour(0, 0));
}

#[test]
fn light_and_dark() {
    let report = Report::two_scenes();
    let Some(mut page) = report.open("") else { return };
    // Ground and text keep a contrast of 7 to 1 (WCAG AAA) in either.
    let assert_theme = |page: &mut Page, dark: bool| {
        let luminance = |page: &mut Page, property: &str| {
            let colour = page.eval(&format!("getComputedStyle(document.body).{property}"));
            let parts: Vec<f64> = (colour.as_str().unwrap().trim_start_matches("rgb(").trim_end_matches(')'))
                .split(',')
                .map(|part| part.trim().parse::<f64>().unwrap() / 255.0)
                .map(|v| if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) })
                .collect();
            0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]
        };
        let (ground, text) = (luminance(page, "backgroundColor"), luminance(page, "color"));
        assert_eq!(ground < text, dark);
        assert!((ground.max(text) + 0.05) / (ground.min(text) + 0.05) > 7.0);
        assert_eq!(
            page.text("#theme"),
            if dark { "Light" } else { "Dark" },
            "the button names what it leads to"
        );
        // The window is really filled with it.
        let corner = page.screenshot().get_pixel(2, DESKTOP[1] - 3).0;
        assert_eq!(corner[1] < 128, dark, "{corner:?}");
    };
    for system in ["dark", "light"] {
        page.prefer(system);
        page.go("");
        assert_theme(&mut page, system == "dark");
    }
    page.click("#theme");
    assert_theme(&mut page, true);
    assert_eq!(address(&mut page, "theme"), "dark");
    page.key("t", false);
    assert_theme(&mut page, false);
    // What was chosen wins over the system, here and at the other end of a shared address.
    page.prefer("dark");
    assert_theme(&mut page, false);
    page.go("theme=light");
    assert_theme(&mut page, false);
}

#[test]
fn the_keyboard_does_everything() {
    let report = Report::two_scenes();
    let Some(mut page) = report.open("pixel=20,30&band=4&swipe=50") else { return };
    let press = |page: &mut Page, keys: &[&str]| keys.iter().for_each(|key| page.key(key, false));
    press(&mut page, &["ArrowRight", "ArrowRight", "ArrowLeft"]);
    assert_eq!((address(&mut page, "band").as_str(), address(&mut page, "mode").as_str()), ("5", "band"));
    press(&mut page, &["w", "w", "a", "s", "d", "d"]);
    report.assert_spectra(&mut page, 0, [19, 31]);
    for (key, mode) in [("e", "error"), ("c", "colour"), ("b", "band")] {
        press(&mut page, &[key]);
        assert_eq!(address(&mut page, "mode"), mode);
        assert_eq!(page.eval(&format!("document.querySelector('[name=mode][value={mode}]').checked")), true);
    }
    press(&mut page, &["3"]);
    page.key("2", true);
    assert_eq!((page.text("#tag-left").as_str(), page.text("#tag-right").as_str()), ("first", "second <b>"));
    press(&mut page, &["9"]);
    assert_eq!(page.text("#tag-right"), "second <b>", "there is no ninth picture");
    press(&mut page, &["[", "[", "]"]);
    assert_eq!(address(&mut page, "swipe"), "45");
    press(&mut page, &["+", "+", "-"]);
    assert_eq!(page.text("#zoom"), "2×");
    press(&mut page, &["n"]);
    assert_eq!(address(&mut page, "scene"), "1");
    assert_eq!(page.eval("document.getElementById('scene').value"), "1");
    press(&mut page, &["n"]);
    assert_eq!(address(&mut page, "scene"), "0");
    // Pixels and bands stop at the edges.
    page.go("pixel=0,0&band=0");
    press(&mut page, &["w", "a", "ArrowLeft"]);
    report.assert_spectra(&mut page, 0, [0, 0]);
    assert_eq!(page.text("#wavelength"), "450.0 nm (1 of 9)");
    // Help lists the keys; keys rest while it is open; Escape closes it.
    press(&mut page, &["?"]);
    assert_eq!(page.eval("document.getElementById('help').open"), true);
    press(&mut page, &["s", "s"]);
    assert_eq!(address(&mut page, "pixel"), "0,0");
    press(&mut page, &["Escape"]);
    assert_eq!(page.eval("document.getElementById('help').open"), false);
    press(&mut page, &["s"]);
    assert_eq!(address(&mut page, "pixel"), "1,0");
    page.click("#help-button");
    assert_eq!(page.eval("document.getElementById('help').open"), true);
    page.click("#help button");
    assert_eq!(page.eval("document.getElementById('help').open"), false);
    // Every control can be reached by Tab alone, and shows that it has the focus.
    let controls = "[...document.querySelectorAll('select, button, input, [tabindex]')]\
        .filter((n) => n.checkVisibility() && !n.disabled && !n.closest('dialog') && !(n.type === 'radio' && !n.checked))\
        .map((n) => n.id || n.textContent || n.value)";
    let mut expected: Vec<String> = serde_json::from_value(page.eval(controls)).unwrap();
    page.eval("document.activeElement.blur()");
    for _ in 0..2 * expected.len() {
        page.key("Tab", false);
        let focused = page.eval(
            "(() => { const n = document.activeElement; return [n.id || n.textContent || n.value, \
             n === document.body || n.matches(':focus-visible')]; })()",
        );
        assert_eq!(focused[1], true);
        expected.retain(|control| focused[0] != *control);
    }
    assert!(expected.is_empty(), "Tab does not lead to {expected:?}");
}

#[test]
fn a_phone_has_room_for_everything() {
    let report = Report::two_scenes();
    let Some(mut page) = report.open("") else { return };
    page.resize([360, 740], true);
    page.go("left=1&right=2");
    let wide = page.number("document.documentElement.scrollWidth");
    assert!(wide <= 360.0, "the page is {wide} pixels wide and would have to be scrolled sideways");
    let text = page.number(
        "(() => { const svg = document.getElementById('chart'), scale = svg.clientWidth / svg.viewBox.baseVal.width; \
         return scale * parseFloat(getComputedStyle(svg.querySelector('text')).fontSize); })()",
    );
    assert!(text > 11.0, "text of the chart is {text} pixels high");
    // A tap chooses a pixel, a finger on the line swipes.
    let at = page.place("#frame", [(10.5) / COLUMNS as f64, (31.5) / ROWS as f64]);
    page.touch(&[at]);
    report.assert_spectra(&mut page, 0, [31, 10]);
    let (from, to) = (page.place("#divider", [0.5, 0.4]), page.place("#frame", [0.8, 0.4]));
    page.touch(&[from, [(from[0] + to[0]) / 2.0, from[1]], to]);
    assert_eq!(address(&mut page, "swipe"), "80");
    assert_eq!(address(&mut page, "pixel"), "31,10");
}

#[test]
fn without_truth_there_are_spectra_and_no_error_view() {
    let mut report = Report::new(vec![scene("real", 0.0, false), scene("made", 0.0, true)]);
    // The second estimate is shown on the scale of the first: by the factor of least squares.
    let [first, second] = &mut report.scenes[0].estimates[..] else { unreachable!() };
    let (first, second) = (first.cube.as_slice(), second.cube.as_mut_slice());
    let product: f64 = first.iter().zip(&*second).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
    let factor = product / second.iter().map(|&b| f64::from(b).powi(2)).sum::<f64>();
    assert!(factor < 0.9, "{factor}");
    second.iter_mut().for_each(|v| *v = (f64::from(*v) * factor) as f32);
    let Some(mut page) = report.open("pixel=5,6&mode=error&left=1&right=2") else { return };
    assert_eq!(page.text("#tag-right"), "snapshot");
    report.assert_spectra(&mut page, 0, [5, 6]);
    let headings = page.text("#metrics thead");
    assert!(!headings.contains("psnr_unit_peak") && headings.contains("residual ↓"), "{headings}");
    page.click("#all-scenes");
    assert!(page.text("#metrics thead").contains("psnr_unit_peak"), "of the other scene");
    assert_eq!(page.eval("document.querySelector('[name=mode][value=error]').disabled"), true);
    page.key("e", false);
    assert_eq!(address(&mut page, "mode"), "colour");
}

#[test]
fn averaged_and_huge_scenes_say_so() {
    // 4 cubes of 12.6 million values: beyond 48 million, blocks of 2x2 pixels are averaged.
    let large = |gain: f32| {
        let data =
            Array3::from_shape_fn((28, 670, 672), |(b, r, c)| gain * ((b + r / 2 + c / 2) % 50) as f32);
        Cube::new(data, Wavelengths::benchmark()).unwrap()
    };
    let estimates = [0.5f32, 0.9, 1.1].map(|gain| Estimate::new(format!("x{gain}"), large(gain)));
    let comparison = Comparison {
        title: "large".into(),
        truth: Some(large(1.0)),
        snapshot: None,
        estimates: estimates.into(),
        provenance: vec![],
    };
    let report = Report::new(vec![comparison]);
    let Some(mut page) = report.open("pixel=101,333&band=7") else { return };
    assert_eq!(page.text("#pixel-title"), "Spectra at row 101, column 333 (means of 2×2 pixels)");
    // Blocks start at even rows and columns: this one holds one value, (7 + 50 + 166) mod 50 = 23.
    let shown: f64 = page.text("[data-band='7'][data-image='0']").parse().unwrap();
    assert!((shown - 23.0).abs() < 49.0 / 4095.0 / 2.0 + 0.5e-4 + 1e-7, "{shown} at 12 bits");
    assert!(page.text("#provenance").contains("after averaging 2×2 pixels"));
}
