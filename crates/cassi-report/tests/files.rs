//! What a comparison leaves in its folder, and what it refuses before it writes anything.

use cassi_core::{Cube, Wavelengths};
use cassi_report::{CompareOptions, Comparison, Estimate, ReportError, Zoom, write_comparison};
use ndarray::Array3;

fn cube(shift: f32) -> Cube {
    let data = Array3::from_shape_fn((5, 30, 44), |(b, r, c)| {
        0.5 + 0.4 * (0.4 * b as f32 + 0.3 * r as f32 + shift).sin() * (0.2 * c as f32).cos()
    });
    Cube::new(data, Wavelengths::linspace(460.0, 640.0, 5)).unwrap()
}

fn scene(title: &str, truth: bool) -> Comparison {
    Comparison {
        title: title.into(),
        truth: truth.then(|| cube(0.0)),
        snapshot: None,
        estimates: vec![Estimate::new("a_b", cube(0.1)), Estimate::new("c", cube(0.3))],
        provenance: vec![],
    }
}

#[test]
fn every_figure_is_written_in_both_formats_and_repeats_to_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    let scenes = [scene("Toy 1", true), scene("toy-1", true), scene("", false)];
    let written = write_comparison(folder.path(), &scenes, &CompareOptions::default()).unwrap();
    let names: Vec<String> = (written.files.iter())
        .map(|f| f.strip_prefix(folder.path()).unwrap().to_str().unwrap().to_string())
        .collect();
    let mut expected = Vec::new();
    for (stem, kinds) in [
        ("toy-1", &["renderings", "bands", "spectra", "errors", "psnr"][..]),
        ("toy-1-2", &["renderings", "bands", "spectra", "errors", "psnr"][..]),
        ("scene", &["renderings", "bands", "spectra"][..]),
    ] {
        expected.extend(kinds.iter().flat_map(|k| ["svg", "png"].map(|e| format!("figures/{stem}-{k}.{e}"))));
    }
    expected.extend(["metrics.md", "metrics.csv", "metrics.tex", "report.html"].map(String::from));
    assert_eq!(names, expected);
    assert_eq!(
        std::fs::read_dir(folder.path().join("figures")).unwrap().count(),
        26,
        "no half files are left"
    );
    for file in &written.files {
        let bytes = std::fs::read(file).unwrap();
        match file.extension().unwrap().to_str().unwrap() {
            "png" => assert_eq!(image::load_from_memory(&bytes).unwrap().width(), 1800),
            "svg" => {
                let text = String::from_utf8(bytes).unwrap();
                assert!(text.starts_with("<svg xmlns") && text.trim_end().ends_with("</svg>"));
                assert!(text.contains("DejaVu Sans, Verdana"));
            }
            _ => assert!(!bytes.is_empty()),
        }
    }
    let again = tempfile::tempdir().unwrap();
    write_comparison(again.path(), &scenes, &CompareOptions::default()).unwrap();
    for name in names {
        let read = |folder: &std::path::Path| std::fs::read(folder.join(&name)).unwrap();
        assert!(read(folder.path()) == read(again.path()), "{name} differs");
    }
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("out");
    let write = |change: &dyn Fn(&mut Comparison), options: CompareOptions| {
        let mut scene = scene("s", true);
        change(&mut scene);
        write_comparison(&target, &[scene], &options).unwrap_err()
    };
    let plain = CompareOptions::default;
    let odd_grid = || Cube::new(cube(0.0).into_data(), Wavelengths::linspace(400.0, 700.0, 5)).unwrap();
    assert!(matches!(
        write(&|s| s.estimates[1].cube = cube(0.0).crop(0..30, 0..40), plain()),
        ReportError::Shape { name, .. } if name == "c"
    ));
    assert!(matches!(write(&|s| s.estimates[0].cube = odd_grid(), plain()), ReportError::Wavelengths { .. }));
    assert!(matches!(
        write(&|s| s.estimates[0].cube.as_mut_slice()[44 + 3] = f32::NAN, plain()),
        ReportError::NotFinite { at, .. } if at == [0, 1, 3]
    ));
    assert!(matches!(
        write(&|_| (), CompareOptions { points: vec![[30, 0]], ..plain() }),
        ReportError::Outside { what: "point", .. }
    ));
    let zoom = Some(Zoom { row: 0, column: 40, rows: 5, columns: 5 });
    assert!(matches!(
        write(&|_| (), CompareOptions { zoom, ..plain() }),
        ReportError::Outside { what: "zoom", .. }
    ));
    assert!(matches!(
        write(
            &|s| {
                s.truth = None;
                s.estimates.clear();
            },
            plain()
        ),
        ReportError::Empty(_)
    ));
    assert!(write_comparison(&target, &[], &plain()).is_err());
    assert!(!target.exists());
}

/// A network's own scale is taken out where there is no truth to be on the scale of, and said.
#[test]
fn without_a_truth_estimates_are_shown_on_one_scale() {
    let svg = |factor: f32| {
        let folder = tempfile::tempdir().unwrap();
        let mut scene = scene("s", false);
        let second = scene.estimates[0].cube.clone();
        scene.estimates[1].cube = second;
        scene.estimates[1].cube.as_mut_slice().iter_mut().for_each(|v| *v *= factor);
        let options = CompareOptions { png: false, page: true, ..CompareOptions::default() };
        write_comparison(folder.path(), &[scene], &options).unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        (read("figures/s-bands.svg"), read("figures/s-renderings.svg"), read("report.html"))
    };
    let (plain, scaled) = (svg(1.0), svg(8.0));
    assert!(plain.0 == scaled.0, "bands on one scale");
    assert!(!plain.1.contains("shown times") && !plain.2.contains("shown times 0"));
    assert!(scaled.1.contains("shown times 0.125") && scaled.2.contains("shown times 0.125"));
}
