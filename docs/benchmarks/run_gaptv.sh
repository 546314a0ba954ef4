#!/usr/bin/env bash
# Times GAP-TV (100 iterations of 5 inner steps, 256x256x28, no subspace) against its plain NumPy version, in turn,
# in one run. Wants a Python with numpy: PYTHON=/path/to/python3. Usage: run_gaptv.sh [ITERATIONS]
set -euo pipefail
cd "$(dirname "$0")/../.."
iterations=${1:-100}
binary=${CARGO_TARGET_DIR:-target}/release/examples/gaptv_speed
[ -x "$binary" ] || cargo build --release -p cassi-solvers --example gaptv_speed
fast=$(RAYON_NUM_THREADS=${THREADS:-2} "$binary" "$iterations" 5 0.2)
slow=$("${PYTHON:-python3}" docs/benchmarks/gaptv_numpy.py "$iterations" 5 0.2)
printf '%s\n%s\n' "$fast" "$slow"
printf '%s %s\n' "$fast" "$slow" | sed 's/[a-z]*=//g' | awk '{ printf "ratio %.1f\n", $6 / $2 }'
