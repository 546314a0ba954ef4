"""Fits the spectral prior of crates/cassi-solvers/src/spectra/table.rs to the training scenes.

Prints the table. Each scene's second-moment matrix of spectra on 400, 410 ... 700 nm is divided by its mean power, and
the matrices are averaged. Scenes that start later (KAIST, 420 nm) hold their first band below it. The columns are
chosen by what matters on the benchmark's 28 bands: with C28 = R C R' (R: linear interpolation), column k of the table
is C R' v_k / sqrt(l_k) for the k-th eigenvector v_k and eigenvalue l_k of C28, so that R times the table is
v_k sqrt(l_k) exactly. Everything is divided by sqrt(l_0).

Usage: fit_spectra.py FOLDER_OF_TRAINING_SCENES [RANK] > table.rs        (needs numpy and h5py)
"""

import glob
import os
import sys

import h5py
import numpy as np

GRID = np.arange(400.0, 701.0, 10.0)
BENCHMARK = np.array([
    453.5, 457.5, 462.0, 466.0, 471.5, 476.5, 481.5, 487.0, 492.5, 498.0, 504.0, 510.0, 516.0, 522.5, 529.5, 536.5,
    544.0, 551.5, 558.5, 567.5, 575.5, 584.5, 594.5, 604.0, 614.5, 625.0, 636.5, 648.0,
])


def interpolation(source, target):
    """Weights [target, source] of linear interpolation, constant beyond the ends."""
    return np.stack([np.interp(target, source, unit) for unit in np.eye(len(source))], axis=1)


def second_moment(path):
    with h5py.File(path) as file:
        cube = file["cube"][:].astype(np.float64) * file["cube"].attrs["scale"]
        wavelengths = file["wavelengths_nm"][:]
    spectra = interpolation(wavelengths, GRID) @ cube.reshape(len(wavelengths), -1)
    return spectra @ spectra.T / np.sum(spectra**2)


def main():
    folder, rank = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 20
    paths = sorted(glob.glob(os.path.join(folder, "*.h5")))
    moment = sum(second_moment(path) for path in paths) / len(paths)
    to28 = interpolation(GRID, BENCHMARK)
    values, vectors = np.linalg.eigh(to28 @ moment @ to28.T)
    values, vectors = values[::-1][:rank], vectors[:, ::-1][:, :rank]
    vectors = vectors * np.sign(vectors.sum(axis=0))
    table = moment @ to28.T @ vectors / np.sqrt(values) / np.sqrt(values[0])
    print(f"//! {rank} spectra on 400, 410 ... 700 nm, scaled by how much of them scenes hold. Written by")
    print(f"//! `docs/benchmarks/fit_spectra.py` from {len(paths)} training scenes.")
    print()
    print("/// First wavelength of the table in nm.")
    print("pub(super) const FIRST_NM: f64 = 400.0;")
    print("/// Distance of its wavelengths in nm.")
    print("pub(super) const STEP_NM: f64 = 10.0;")
    print("/// `[wavelength][spectrum]`.")
    print("#[rustfmt::skip] // a table of numbers, one wavelength a paragraph")
    print(f"pub(super) const SPECTRA: [[f64; {rank}]; {len(GRID)}] = [")
    for row in table:
        cells = [f"{value:.6e}" for value in row]
        print("    [")
        for i in range(0, len(cells), 7):
            print("        " + ", ".join(cells[i:i + 7]) + ",")
        print("    ],")
    print("];")


if __name__ == "__main__":
    main()
