//! The page in a real browser: the numbers it shows are those that were computed.
//!
//! Needs `chromium-headless-shell` or `chromium` in PATH; without one the test says so and passes, unless
//! `CASSI_REQUIRE_BROWSER=1` is set.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use cassi_core::{Cube, Snapshot, Wavelengths};
use cassi_report::{CompareOptions, Comparison, Estimate, Written, write_comparison};
use ndarray::{Array2, Array3};

const BANDS: usize = 9;
const ROWS: usize = 40;
const COLUMNS: usize = 56;

fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let names = ["chromium-headless-shell", "chromium"];
    let found = std::env::split_paths(&path).flat_map(|p| names.map(|n| p.join(n))).find(|p| p.is_file());
    if found.is_none() {
        assert!(std::env::var_os("CASSI_REQUIRE_BROWSER").is_none_or(|v| v != "1"), "no {names:?} in PATH");
        eprintln!("skipped: no {names:?} in PATH (apt-get install chromium-headless-shell)");
    }
    found
}

/// What the page has become once its script has run.
fn dom(browser: &Path, page: &Path, hash: &str) -> String {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(["--virtual-time-budget=5000", "--dump-dom"])
        .arg(format!("file://{}#{hash}", page.display()))
        .output()
        .unwrap();
    let dom = String::from_utf8(output.stdout).unwrap();
    assert!(
        dom.contains("data-ready=\"yes\""),
        "the script did not finish: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    dom
}

/// Text of the first element whose tag holds all of these attributes, in this order.
fn cell<'a>(dom: &'a str, attributes: &str) -> &'a str {
    let start = dom.find(attributes).unwrap_or_else(|| panic!("no element with {attributes}"));
    let text = &dom[start + dom[start..].find('>').unwrap() + 1..];
    &text[..text.find('<').unwrap()]
}

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

fn written(folder: &Path, scenes: &[Comparison]) -> Written {
    let options = CompareOptions { svg: false, png: false, ..Default::default() };
    write_comparison(folder, scenes, &options).unwrap()
}

#[test]
fn shown_numbers_are_the_computed_ones() {
    let Some(browser) = browser() else { return };
    let folder = tempfile::tempdir().unwrap();
    let scenes = [scene("plain", 0.0, true), scene("</script>&amp; odd", 0.7, true)];
    let written = written(folder.path(), &scenes);
    let page = written.page.as_deref().unwrap();
    for (index, [row, column]) in [(0, [20, 30]), (1, [0, 0]), (1, [ROWS - 1, COLUMNS - 1])] {
        let dom = dom(&browser, page, &format!("scene={index}&band=3&pixel={row},{column}&mode=error"));
        assert!(!dom.contains("<title>broken"), "text of the data was run");
        assert!(cell(&dom, "id=\"pixel-title\"").contains(&format!("row {row}, column {column}")));
        assert_eq!(cell(&dom, "id=\"wavelength\""), "525.0 nm (4 of 9)");
        let scene = &scenes[index];
        let cubes = scene.truth.iter().chain(scene.estimates.iter().map(|e| &e.cube));
        for (i, cube) in cubes.enumerate() {
            let (low, high) =
                (cube.as_slice().iter()).fold((f32::MAX, f32::MIN), |(a, b), &v| (a.min(v), b.max(v)));
            // Half a step of 12 bits, half a unit of the fourth digit shown, and rounding.
            let tolerance = f64::from(high - low) / 4095.0 / 2.0 + 0.5e-4 + 1e-7;
            for (band, value) in cube.spectrum(row, column).into_iter().enumerate() {
                let shown: f64 =
                    cell(&dom, &format!("data-band=\"{band}\" data-image=\"{i}\"")).parse().unwrap();
                assert!(
                    (shown - f64::from(value)).abs() <= tolerance,
                    "cube {i}, band {band}: {shown}, not {value}"
                );
            }
        }
        for result in written.rows.iter().filter(|r| r.scene == scene.title) {
            let scores = result.scores.as_ref().unwrap();
            let expected = [
                ("psnr_unit_peak", format!("{:.2}", scores.psnr_unit_peak)),
                ("ssim_mst", format!("{:.4}", scores.ssim_mst)),
                ("sam_deg", format!("{:.2}", scores.sam_deg)),
                ("residual", "0.0123".into()),
                ("seconds", "1.25".into()),
            ];
            let method = result.method.replace('<', "&lt;").replace('>', "&gt;");
            for (key, value) in expected {
                let at = dom.find(&format!("data-metric=\"{key}\" data-method=\"{}\"", result.method));
                let at = at.or_else(|| dom.find(&format!("data-metric=\"{key}\" data-method=\"{method}\"")));
                let shown = cell(&dom[at.expect("a cell for every metric")..], "data-metric");
                assert_eq!(shown, value, "{key} of {}", result.method);
            }
        }
    }
}

#[test]
fn without_truth_there_are_spectra_and_no_error_view() {
    let Some(browser) = browser() else { return };
    let folder = tempfile::tempdir().unwrap();
    let written = written(folder.path(), &[scene("real", 0.0, false)]);
    let dom = dom(&browser, written.page.as_deref().unwrap(), "pixel=5,6&mode=error&left=1&right=2");
    assert_eq!(cell(&dom, "id=\"tag-right\""), "snapshot");
    assert!(!dom.contains("psnr_unit_peak ↑") && dom.contains("residual ↓"));
    assert!(dom.contains("data-band=\"8\" data-image=\"1\""));
    let radio = dom.find("value=\"error\"").unwrap();
    assert!(dom[radio..radio + 40].contains("disabled"), "{}", &dom[radio..radio + 40]);
}
