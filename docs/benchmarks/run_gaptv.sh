#!/usr/bin/env bash
# Times GAP-TV (100 iterations of 5 inner steps, 256x256x28, no subspace) against its plain NumPy version, in turns, in
# one run, and prints the ratio of the medians and of the best times (other work on a machine only adds time). Wants a
# Python with numpy: PYTHON=/path/to/python3. Usage: run_gaptv.sh [ITERATIONS [ROUNDS]]
set -euo pipefail
cd "$(dirname "$0")/../.."
iterations=${1:-100} rounds=${2:-5}
binary=${CARGO_TARGET_DIR:-target}/release/examples/gaptv_speed
cargo build --quiet --release -p cassi-solvers --example gaptv_speed
for _ in $(seq "$rounds"); do
    RAYON_NUM_THREADS=${THREADS:-2} "$binary" "$iterations" 5 0.2 2>/dev/null
    "${PYTHON:-python3}" docs/benchmarks/gaptv_numpy.py "$iterations" 5 0.2
done | tee -a /dev/stderr | sed 's/[a-z]*=//g' | sort -k1,1 -k2,2n | awk '
    { times[$1, ++count[$1]] = $2 }
    END {
        middle = int((count["numpy"] + 1) / 2)
        printf "ratio of medians %.1f, of best times %.1f\n", times["numpy", middle] / times["cassi", middle],
            times["numpy", 1] / times["cassi", 1]
    }'
