//! Every figure against `tests/golden/metrics.*` (values of the reference code in all conventions), and what the
//! goldens do not hold: equal cubes, unequal shapes, names and order of the JSON.

use std::io::{Cursor, Read};

use cassi_core::{
    Cube, Wavelengths,
    metrics::{Pair, Scores},
};
use ndarray::Array3;
use serde_json::Value;

const ARRAYS: &[u8] = include_bytes!("../../../tests/golden/metrics.npz");
const VALUES: &str = include_str!("../../../tests/golden/metrics.json");

/// Reads one array `[1, 28, 48, 40]` of the archive: NPY version 1.0, float32, little-endian, C order.
fn cube(name: &str) -> Cube {
    let mut archive = zip::ZipArchive::new(Cursor::new(ARRAYS)).unwrap();
    let mut bytes = Vec::new();
    archive.by_name(&format!("{name}.npy")).unwrap().read_to_end(&mut bytes).unwrap();
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = String::from_utf8_lossy(&bytes[10..start]);
    assert!(
        header.contains("'<f4'") && header.contains("False") && header.contains("(1, 28, 48, 40)"),
        "{header}"
    );
    let values = bytes[start..].chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    Cube::new(Array3::from_shape_vec((28, 48, 40), values).unwrap(), Wavelengths::benchmark()).unwrap()
}

fn values() -> Value {
    serde_json::from_str(VALUES).unwrap()
}

/// Tolerances of the golden material's own description: 1e-3 dB for PSNR, 1e-5 for SSIM, 1e-3 degrees for SAM, 1e-4
/// relative otherwise. Ours is f64 throughout, so what remains is the reference's f32 where it used it.
#[test]
fn equals_the_golden_values() {
    let golden = values();
    for pair in ["a", "b"] {
        let (truth, estimate) = (cube(&format!("{pair}_truth")), cube(&format!("{pair}_estimate")));
        let scores = Scores::compute(&truth, &estimate).unwrap();
        let at = |convention: &str, key: &str| golden[pair][convention][key].as_f64().unwrap();
        let check = |name: &str, found: f64, expected: f64, tolerance: f64| {
            assert!((found - expected).abs() <= tolerance, "{pair} {name}: {found}, expected {expected}");
        };
        check("psnr_unit_peak", scores.psnr_unit_peak, at("plain", "psnr_cube"), 1e-3);
        check("psnr_mst", scores.psnr_mst, at("toolbox_torch", "psnr"), 1e-3);
        check("ssim_mst", scores.ssim_mst, at("toolbox_torch", "ssim"), 1e-5);
        check("psnr_matlab", scores.psnr_matlab, at("matlab_table", "psnr"), 1e-3);
        check("ssim_matlab", scores.ssim_matlab, at("matlab_table", "ssim"), 1e-5);
        check("sam_matlab_deg", scores.sam_matlab_deg, at("matlab_table", "sam_deg"), 1e-3);
        check("sam_deg", scores.sam_deg, at("plain", "sam_deg"), 1e-3);
        for (name, found, expected) in [
            ("ergas_matlab", scores.ergas_matlab, at("matlab_table", "ergas")),
            ("rmse", scores.rmse, at("plain", "rmse")),
            ("ergas", scores.ergas, at("plain", "ergas")),
        ] {
            check(name, found, expected, 1e-4 * expected);
        }
        let bands = golden[pair]["plain"]["psnr_band"].as_array().unwrap();
        assert_eq!(bands.len(), 28);
        for (band, (found, expected)) in scores.psnr_unit_peak_per_band.iter().zip(bands).enumerate() {
            check(&format!("psnr of band {band}"), *found, expected.as_f64().unwrap(), 1e-3);
            // RMSE and PSNR of a band are one number.
            check("rmse of a band", -20.0 * scores.rmse_per_band[band].log10(), *found, 1e-9);
        }
    }
}

#[test]
fn clamping_the_estimate_gives_the_clamped_values() {
    let golden = values();
    let (truth, estimate) = (cube("a_truth"), cube("a_estimate").clamped());
    let scores = Scores::compute(&truth, &estimate).unwrap();
    let expected = golden["a"]["toolbox_torch_estimate_clamped"]["psnr"].as_f64().unwrap();
    assert!((scores.psnr_mst - expected).abs() < 1e-3);
    let expected = golden["a"]["plain_estimate_clamped"]["psnr_cube"].as_f64().unwrap();
    assert!((scores.psnr_unit_peak - expected).abs() < 1e-3);
}

#[test]
fn equal_cubes_are_infinitely_good_and_say_so_in_json() {
    let truth = cube("b_truth");
    let scores = Scores::compute(&truth, &truth).unwrap();
    assert_eq!(scores.psnr_unit_peak, f64::INFINITY);
    assert!((scores.ssim_unit_peak - 1.0).abs() < 1e-12);
    // acos near 1 turns an f64 ulp into about 1e-6 degrees.
    assert!(scores.sam_deg < 1e-5);
    let json = serde_json::to_value(&scores).unwrap();
    assert_eq!(json["psnr_mst"], "inf");
    assert_eq!(json["psnr_unit_peak_per_band"][27], "inf");
    assert_eq!(json["rmse"], 0.0);
}

#[test]
fn json_has_the_published_names_in_order() {
    let scores = Scores::compute(&cube("b_truth"), &cube("b_estimate")).unwrap();
    let json = serde_json::to_string(&scores).unwrap();
    let names = [
        "psnr_unit_peak",
        "psnr_unit_peak_per_band",
        "psnr_mst",
        "ssim_mst",
        "psnr_matlab",
        "ssim_matlab",
        "sam_matlab_deg",
        "ergas_matlab",
        "sam_deg",
        "rmse",
        "ergas",
        "mrae",
        "ssim_unit_peak",
    ];
    let places: Vec<usize> = names.iter().map(|n| json.find(&format!("\"{n}\":")).expect(n)).collect();
    assert!(places.is_sorted(), "{json}");
}

#[test]
fn mrae_divides_by_the_truth_or_its_floor() {
    let of = |truth: [f32; 2], estimate: [f32; 2]| {
        let cube = |v: [f32; 2]| {
            Cube::new(
                Array3::from_shape_vec((1, 1, 2), v.to_vec()).unwrap(),
                Wavelengths::linspace(500.0, 500.0, 1),
            )
            .unwrap()
        };
        Pair::new(&cube(truth), &cube(estimate)).unwrap().mrae()
    };
    // f32 inputs: relative rounding 6e-8.
    assert!((of([0.5, 0.25], [0.25, 0.5]) - 0.75).abs() < 1e-6);
    assert!((of([0.0, 0.5], [0.002, 0.5]) - 1.0).abs() < 1e-6);
}

#[test]
fn unequal_shapes_are_refused_with_both() {
    let truth = cube("a_truth");
    let error = Scores::compute(&truth, &truth.crop(0..20, 0..20)).unwrap_err();
    assert_eq!(error.found, vec![28, 20, 20]);
    assert!(error.to_string().contains("[28, 48, 40]"), "{error}");
}

#[test]
fn threads_do_not_change_a_bit() {
    let (truth, estimate) = (cube("a_truth"), cube("a_estimate"));
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| Scores::compute(&truth, &estimate).unwrap())
    };
    assert_eq!(with(1), with(3));
}
