"""Plain float32 GAP-TV in NumPy: the reference that the speed of the solver is measured against.

The accelerated iteration on a 256x256x28 cube, step 2, started at x = A'y: y1 += y - A x, x += A'((y1 - A x) / Phi_s),
then `inner` steps of Chambolle's dual iteration on every band with tau = 1/4. Whole arrays at a time, as one writes it
in NumPy; the gradient and the divergence reuse their buffers.

Usage: gaptv_numpy.py [ITERATIONS [INNER [WEIGHT]]]        prints the seconds of the iterations and a checksum
"""

import sys
import time

import numpy as np

BANDS, ROWS, COLUMNS, STEP = 28, 256, 256, 2
TAU = np.float32(0.25)


def scene():
    """A made scene and mask, the same that the benchmark of the solver makes."""
    band, row, column = np.meshgrid(np.arange(BANDS), np.arange(ROWS), np.arange(COLUMNS), indexing="ij")
    cube = 0.5 + 0.4 * np.sin(0.07 * row + 0.2 * band) * np.cos(0.05 * column)
    mask = ((row[0] * 7919 + column[0] * 104729 + row[0] * column[0]) % 97) / 96.0
    return cube.astype(np.float32), mask.astype(np.float32)


def forward(x, mask):
    y = np.zeros((ROWS, COLUMNS + STEP * (BANDS - 1)), np.float32)
    for b in range(BANDS):
        y[:, STEP * b:STEP * b + COLUMNS] += mask * x[b]
    return y


def adjoint(y, mask):
    return np.stack([mask * y[:, STEP * b:STEP * b + COLUMNS] for b in range(BANDS)])


def tv(image, weight, inner):
    px, py = np.zeros_like(image), np.zeros_like(image)
    gx, gy = np.zeros_like(image), np.zeros_like(image)
    out = image
    for step in range(inner):
        if step > 0:
            divergence = -(px + py)
            divergence[:, :, 1:] += px[:, :, :-1]
            divergence[:, 1:] += py[:, :-1]
            out = image + divergence
        if step + 1 == inner:
            break
        gx[:, :, :-1] = out[:, :, 1:] - out[:, :, :-1]
        gy[:, :-1] = out[:, 1:] - out[:, :-1]
        norm = np.sqrt(gx * gx + gy * gy)
        norm *= TAU / np.float32(weight)
        norm += np.float32(1)
        px -= TAU * gx
        px /= norm
        py -= TAU * gy
        py /= norm
    return out


def main():
    iterations, inner, weight = (kind(text) for kind, text in zip(
        (int, int, float), sys.argv[1:] + ["100", "5", "0.2"][len(sys.argv) - 1:]))
    cube, mask = scene()
    y = forward(cube, mask)
    phi = forward(np.broadcast_to(mask, cube.shape), mask)
    phi[phi == 0] = 1
    started = time.perf_counter()
    x, y1 = adjoint(y, mask), np.zeros_like(y)
    for _ in range(iterations):
        seen = forward(x, mask)
        y1 += y - seen
        x = tv(x + adjoint((y1 - seen) / phi, mask), weight, inner)
    seconds = time.perf_counter() - started
    print(f"numpy seconds={seconds:.4f} mean={x.mean(dtype=np.float64):.7f} "
          f"rms={np.sqrt(np.mean(x.astype(np.float64) ** 2)):.7f}")


if __name__ == "__main__":
    main()
