//! `cassi scene lift`: photographs into one file of cubes that everything else can read.

use cassi_core::Wavelengths;
use cassi_core::colour::Renderer;
use cassi_io::{ReadOptions, Source};
use cassi_scene::{Kind, SceneRecipe};

use crate::util::{Scratch, cassi, json, refused};

/// Photographs as a camera takes them: rendered scenes, one of them in a folder within the folder.
fn photos(scratch: &Scratch) -> String {
    let folder = scratch.file("photos");
    std::fs::create_dir_all(scratch.file("photos/more")).unwrap();
    let scenes = [
        (Kind::Garden, "a.png", 40, 56),
        (Kind::Fabric, "more/b.png", 48, 48),
        (Kind::Chart, "more/a.png", 64, 40),
    ];
    for (kind, name, rows, columns) in scenes {
        let scene = scratch.file("s.h5");
        let (r, c) = (rows.to_string(), columns.to_string());
        json(&["scene", "make", "--kind", kind.name(), "--rows", &r, "--columns", &c, "-o", &scene]);
        json(&["render", &scene, "-o", &scratch.file(&format!("photos/{name}"))]);
    }
    std::fs::write(scratch.file("photos/notes.txt"), "no photograph").unwrap();
    folder
}

fn cube(path: &str, name: &str) -> cassi_core::Cube {
    let source = Source::parse(&format!("{path}:{name}"));
    cassi_io::read_cube(&source, &ReadOptions::default()).unwrap().value
}

#[test]
fn a_folder_becomes_one_file_of_cubes() {
    let scratch = Scratch::new();
    let (folder, packed) = (photos(&scratch), scratch.file("packed.h5"));
    let result = json(&["scene", "lift", &folder, "-o", &packed]);
    let cubes = result["cubes"].as_array().unwrap();
    let shapes: Vec<_> = cubes
        .iter()
        .map(|c| (c["name"].as_str().unwrap(), c["rows"].as_u64(), c["columns"].as_u64()))
        .collect();
    let expected = [("a", Some(40), Some(56)), ("a_2", Some(64), Some(40)), ("b", Some(48), Some(48))];
    assert_eq!(shapes, expected);
    for entry in cubes {
        assert!(entry["mean_error_of_255"].as_f64().unwrap() < 2.0, "{entry}");
        let cube = cube(&packed, entry["name"].as_str().unwrap());
        assert_eq!(cube.wavelengths(), &Wavelengths::benchmark());
        assert!(cube.as_slice().iter().all(|v| (0.0..=1.0).contains(v)));
        // What is in the file renders to the photograph.
        let photo = cassi_io::read_rgb_image(entry["photo"].as_str().unwrap().as_ref()).unwrap();
        let rendered = Renderer::daylight(cube.wavelengths()).render(&cube).unwrap();
        let sum: f64 =
            rendered.iter().zip(&photo).map(|(a, b)| f64::from((f32::from(*a) - 255.0 * b).abs())).sum();
        assert!(sum / (photo.len() as f64) < 2.0, "{entry}");
    }
    // Everything else reads it.
    let info = json(&["info", &packed]).to_string();
    assert!(info.contains("a_2") && info.contains("photo"), "{info}");
    json(&["simulate", "--scene", &format!("{packed}:b"), "-o", &scratch.file("y.h5")]);
    refused(&["simulate", "--scene", &packed, "-o", &scratch.file("y2.h5")], &["a_2"]);
}

#[test]
fn sizes_bands_metamers_and_threads() {
    let scratch = Scratch::new();
    let folder = photos(&scratch);
    let run = |name: &str, more: &[&str]| {
        let packed = scratch.file(name);
        let result = json(&[&["scene", "lift", &folder, "-o", &packed, "--size", "32"], more].concat());
        assert!(result["cubes"].as_array().unwrap().iter().all(|c| c["rows"] == 32 && c["columns"] == 32));
        packed
    };
    let plain = run("plain.h5", &["--threads", "1"]);
    let again = run("again.h5", &["--threads", "2"]);
    assert_eq!(cube(&plain, "b"), cube(&again, "b"));
    let other = run("other.h5", &["--metamers", "0.7", "--seed", "4", "--bands", "400:700:31"]);
    assert_eq!(cube(&other, "b").bands(), 31);
    let metamer = run("metamer.h5", &["--metamers", "0.7", "--seed", "4"]);
    let (a, b) = (cube(&plain, "b"), cube(&metamer, "b"));
    assert!(a.as_slice().iter().zip(b.as_slice()).any(|(x, y)| (x - y).abs() > 0.01));
}

#[test]
fn spectra_are_smooth() {
    let scratch = Scratch::new();
    let (folder, packed) = (photos(&scratch), scratch.file("packed.h5"));
    json(&["scene", "lift", &folder, "--bands", "400:700:31", "-o", &packed]);
    // Mean square of the second difference over that of the first along the bands, against a scene of spectra drawn
    // from what was measured: as smooth, or smoother.
    let roughness = |cube: &cassi_core::Cube| {
        let (mut first, mut second) = (0.0, 0.0);
        let x = cube.view();
        for b in 1..cube.bands() - 1 {
            for (r, c) in (0..cube.rows()).flat_map(|r| (0..cube.columns()).map(move |c| (r, c))) {
                let [low, here, high] = [b - 1, b, b + 1].map(|b| f64::from(x[[b, r, c]]));
                first += (high - here).powi(2);
                second += (low - 2.0 * here + high).powi(2);
            }
        }
        second / first
    };
    let grid = Wavelengths::linspace(400.0, 700.0, 31);
    let drawn = roughness(&SceneRecipe::new(Kind::Garden, 0).with_size(40, 56).render(&grid));
    let lifted = roughness(&cube(&packed, "a"));
    // Twice would be visible wiggles.
    assert!(lifted < 2.0 * drawn, "lifted {lifted}, drawn {drawn}");
}

#[test]
fn bad_photographs_are_named_and_the_others_kept() {
    let scratch = Scratch::new();
    let (folder, packed) = (photos(&scratch), scratch.file("packed.h5"));
    std::fs::write(scratch.file("photos/broken.jpg"), b"\xff\xd8\xff and no more").unwrap();
    std::fs::write(scratch.file("photos/empty.png"), b"").unwrap();
    let run = cassi(["scene", "lift", &folder, "--size", "48", "--json", "-o", &packed]).output().unwrap();
    let text = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(1), "{text}");
    for word in ["broken.jpg", "empty.png", "40 x 56", "--size 48"] {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
    let result: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(
        (result["cubes"].as_array().unwrap().len(), result["failed"].as_array().unwrap().len()),
        (1, 4)
    );
    assert_eq!(cube(&packed, "b").rows(), 48);
}

#[test]
fn nothing_to_lift_is_bad_input() {
    let scratch = Scratch::new();
    let packed = scratch.file("packed.h5");
    let empty = scratch.file("empty");
    std::fs::create_dir(&empty).unwrap();
    refused(&["scene", "lift", &empty, "-o", &packed], &["empty", ".png"]);
    cassi(["scene", "lift", "nowhere.png", "-o", &packed]).assert().code(2);
    let folder = photos(&scratch);
    refused(&["scene", "lift", &folder, "-o", &scratch.file("packed.mat")], &[".h5"]);
    refused(&["scene", "lift", &folder, "--metamers=-1", "-o", &packed], &["--metamers"]);
    // No cube, no file, nothing temporary.
    cassi(["scene", "lift", &folder, "--size", "4000", "-o", &packed]).assert().code(2);
    let left = std::fs::read_dir(scratch.path()).unwrap().map(|e| e.unwrap().file_name());
    assert!(left.map(|n| n.into_string().unwrap()).all(|n| !n.contains("packed") && !n.contains(".part")));
}
