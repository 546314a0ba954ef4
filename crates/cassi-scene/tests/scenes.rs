//! Procedural scenes as data: reproducible, bounded, varied; the same scene at any size and on any grid.

use cassi_core::{Cube, Wavelengths, metrics::pearson};
use cassi_scene::{Kind, SceneRecipe};

fn scene(kind: Kind, seed: u64) -> Cube {
    SceneRecipe::new(kind, seed).with_size(96, 96).render(&Wavelengths::benchmark())
}

#[test]
fn threads_change_nothing_and_seeds_do() {
    for kind in Kind::ALL {
        let with = |threads| {
            rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| scene(kind, 3))
        };
        assert_eq!(with(1), with(3), "{kind}");
        assert_ne!(with(1), scene(kind, 4), "{kind}");
    }
}

#[test]
fn values_are_radiance_in_the_unit_range_with_edges_and_variety() {
    for kind in Kind::ALL {
        for seed in 0..4 {
            let cube = scene(kind, seed);
            let values = cube.as_slice();
            assert!(values.iter().all(|v| (0.0..=1.0).contains(v)), "{kind} {seed}");
            let mean = values.iter().sum::<f32>() / values.len() as f32;
            // Neither a black frame nor a white one.
            assert!((0.02..0.8).contains(&mean), "{kind} {seed}: mean {mean}");
            let band = cube.band(14);
            let deviation = band.std(0.0);
            assert!(deviation > 0.02, "{kind} {seed}: deviation {deviation}");
        }
    }
}

#[test]
fn size_and_grid_only_change_how_finely_a_scene_is_seen() {
    let recipe = SceneRecipe::new(Kind::StillLife, 11);
    let small = recipe.with_size(64, 64).render(&Wavelengths::benchmark());
    let large = recipe.with_size(128, 128).render(&Wavelengths::benchmark());
    let mean: Vec<f32> = (0..64 * 64)
        .map(|i| {
            let (r, c) = (2 * (i / 64), 2 * (i % 64));
            (0..4).map(|k| large.view()[[14, r + k / 2, c + k % 2]]).sum::<f32>() / 4.0
        })
        .collect();
    let band: Vec<f32> = small.band(14).iter().copied().collect();
    // Edges and fine textures differ, the picture does not.
    assert!(pearson(&band, &mean) > 0.95);
    let other = recipe.with_size(64, 64).render(&Wavelengths::linspace(400.0, 700.0, 61));
    assert_eq!(other.shape(), [61, 64, 64]);
}

#[test]
fn tall_wide_and_tiny_scenes_are_painted() {
    for (rows, columns) in [(1, 1), (7, 40), (130, 33)] {
        let cube =
            SceneRecipe::new(Kind::Garden, 1).with_size(rows, columns).render(&Wavelengths::benchmark());
        assert_eq!(cube.shape(), [28, rows, columns]);
    }
}

#[test]
fn names_of_kinds_go_there_and_back() {
    for kind in Kind::ALL {
        assert_eq!(kind.name().parse(), Ok(kind));
    }
    assert!("stil-life".parse::<Kind>().unwrap_err().to_string().contains("still-life"));
}
