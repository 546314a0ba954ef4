//! Every operator of this crate in one list, and the tests that all of them must pass.
//!
//! A new operator joins the list or a test here fails: it looks through the sources for implementations.

use cassi_core::{
    LinearOperator, Mask,
    check::{adjoint_mismatch, check_operator, largest_singular_value},
    elements,
    random::Stream,
};
use proptest::prelude::*;

use crate::{SdCassi, mask};

/// Instances of every operator, edge cases included. Names start with the type's name.
fn catalogue() -> Vec<(String, Box<dyn LinearOperator>)> {
    let grey = mask::shipped("cassi256").unwrap();
    let sd = |rows, columns, bands, step| -> (String, Box<dyn LinearOperator>) {
        let mask = mask::fit_to(&grey, rows, columns).0;
        let name = format!("SdCassi {rows}x{columns}, {bands} bands, step {step}");
        (name, Box::new(SdCassi::new(&mask, bands, step)))
    };
    let dark = Mask::new(ndarray::Array2::zeros((3, 4))).unwrap();
    vec![
        sd(256, 256, 28, 2),
        sd(64, 100, 28, 2),
        sd(5, 7, 3, 1),
        sd(4, 6, 5, 3),
        sd(6, 5, 4, 0),
        sd(7, 9, 1, 2),
        sd(9, 1, 6, 1),
        sd(1, 40, 6, 2),
        sd(1, 1, 1, 0),
        // Wider than one block of work, and more blocks than threads.
        sd(3, 5000, 2, 1),
        ("SdCassi dark".into(), Box::new(SdCassi::new(&dark, 4, 1))),
    ]
}

#[test]
fn every_implementation_is_in_the_catalogue() {
    fn look(folder: &std::path::Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                look(&path, found);
            } else {
                let text = std::fs::read_to_string(&path).unwrap();
                let after = text
                    .lines()
                    .filter(|line| line.starts_with("impl"))
                    .filter_map(|line| line.split_once("LinearOperator for ").map(|(_, name)| name));
                found.extend(after.map(|name| name.chars().take_while(|c| c.is_alphanumeric()).collect()));
            }
        }
    }
    let mut found: Vec<String> = Vec::new();
    look(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(!found.is_empty());
    let names: Vec<String> = catalogue().into_iter().map(|(name, _)| name).collect();
    for operator in found {
        assert!(
            names.iter().any(|name| name.starts_with(&operator)),
            "{operator} is missing in the catalogue"
        );
    }
}

#[test]
fn every_operator_passes_the_check() {
    for (name, operator) in catalogue() {
        let report = check_operator(&*operator, 8);
        assert!(report.passes(), "{name}: {report:?}");
    }
}

/// The matrix of an operator, column by column.
fn dense(operator: &dyn LinearOperator) -> Vec<Vec<f32>> {
    let (n, m) = (elements(operator.domain()), elements(operator.range()));
    let column = |j: usize| {
        let (mut x, mut y) = (vec![0.0; n], vec![f32::NAN; m]);
        x[j] = 1.0;
        operator.forward(&x, &mut y);
        y
    };
    (0..n).map(column).collect()
}

#[test]
fn small_operators_equal_their_dense_twin() {
    let small =
        |operator: &dyn LinearOperator| elements(operator.domain()) * elements(operator.range()) < 100_000;
    let mut tried = 0;
    for (name, operator) in catalogue().into_iter().filter(|(_, operator)| small(&**operator)) {
        tried += 1;
        let columns = dense(&*operator);
        let (n, m) = (columns.len(), elements(operator.range()));
        let mut stream = Stream::new(5, "dense", 0);
        let mut draw = |n| (0..n).map(|_| stream.uniform_in(-1.0, 1.0) as f32).collect::<Vec<_>>();
        let (x, y) = (draw(n), draw(m));
        let (mut ax, mut aty) = (vec![f32::NAN; m], vec![f32::NAN; n]);
        operator.forward(&x, &mut ax);
        operator.adjoint(&y, &mut aty);
        for i in 0..m {
            let expected: f64 = (0..n).map(|j| f64::from(columns[j][i]) * f64::from(x[j])).sum();
            // Sums of at most 28 products below 1 in f32.
            assert!((f64::from(ax[i]) - expected).abs() < 2e-6, "{name}: A x at {i}");
        }
        for j in 0..n {
            let expected: f64 = (0..m).map(|i| f64::from(columns[j][i]) * f64::from(y[i])).sum();
            assert!((f64::from(aty[j]) - expected).abs() < 2e-6, "{name}: Aᵀ y at {j}");
        }
        if let Some(diagonal) = operator.gram_diagonal() {
            for i in 0..m {
                for k in 0..m {
                    let expected: f64 = columns.iter().map(|c| f64::from(c[i]) * f64::from(c[k])).sum();
                    let stated = if i == k { f64::from(diagonal[i]) } else { 0.0 };
                    assert!((expected - stated).abs() < 2e-6, "{name}: A Aᵀ at {i}, {k}");
                }
            }
        }
    }
    assert!(tried >= 7, "only {tried} operators were small");
}

#[test]
fn thread_count_changes_no_bit() {
    for (name, operator) in catalogue() {
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut stream = Stream::new(6, "threads", 0);
            let x: Vec<f32> = (0..elements(operator.domain())).map(|_| stream.uniform() as f32).collect();
            let (mut y, mut back) = (vec![f32::NAN; elements(operator.range())], vec![f32::NAN; x.len()]);
            pool.install(|| {
                operator.forward(&x, &mut y);
                operator.adjoint(&y, &mut back);
            });
            (y, back)
        };
        let one = run(1);
        assert!(one == run(2) && one == run(5), "{name}");
    }
}

#[test]
fn a_worked_case() {
    // Two bands, step 1: band 1 moves one column right; the mask shuts the second column of both.
    let mask = Mask::new(ndarray::arr2(&[[1.0, 0.0]])).unwrap();
    let camera = SdCassi::new(&mask, 2, 1);
    let mut y = [f32::NAN; 3];
    camera.forward(&[1.0, 2.0, 10.0, 20.0], &mut y);
    assert_eq!(y, [1.0, 10.0, 0.0]);
    let mut x = [f32::NAN; 4];
    camera.adjoint(&[3.0, 4.0, 5.0], &mut x);
    assert_eq!(x, [3.0, 0.0, 4.0, 0.0]);
    assert_eq!(camera.gram_diagonal().unwrap(), [1.0, 1.0, 0.0]);
    assert_eq!(camera.norm_bound(), 1.0);
}

#[test]
fn an_open_mask_counts_the_bands_over_each_pixel() {
    let mask = Mask::new(ndarray::Array2::ones((2, 5))).unwrap();
    let camera = SdCassi::new(&mask, 3, 2);
    let mut y = [f32::NAN; 18];
    camera.forward(&[1.0; 30], &mut y);
    assert_eq!(y[..9], [1.0, 1.0, 2.0, 2.0, 3.0, 2.0, 2.0, 1.0, 1.0]);
    // A Aᵀ is diagonal, so its largest entry is the square of the norm: the bound is reached.
    assert!((largest_singular_value(&camera, 50) / 3f64.sqrt() - 1.0).abs() < 1e-4);
}

#[test]
#[should_panic(expected = "a cube of shape [2, 1, 2] is expected")]
fn a_slice_of_the_wrong_length_is_refused() {
    let mask = Mask::new(ndarray::arr2(&[[1.0, 0.0]])).unwrap();
    SdCassi::new(&mask, 2, 1).forward(&[0.0; 5], &mut [0.0; 3]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_shape_passes_the_dot_test(
        rows in 1usize..12, columns in 1usize..70, bands in 1usize..9, step in 0usize..5, seed in 0u64..1000,
    ) {
        let mask = mask::grey(rows, columns, &mask::Grey::default(), seed);
        let camera = SdCassi::new(&mask, bands, step);
        prop_assert_eq!(camera.range(), [rows, columns + step * (bands - 1)]);
        // A single pixel's mismatch is one f32 rounding of products of order 1; more pixels average it down.
        prop_assert!(adjoint_mismatch(&camera, seed) < 1e-6);
    }
}
