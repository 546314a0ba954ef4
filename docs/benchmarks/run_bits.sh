#!/usr/bin/env bash
# Times BiSRNet on bits against plain libtorch, in turns, in one run, with the official weights: 256x256x28 and the real
# snapshot, two threads. Prints every round and the medians of the ratios. Wants libtorch (scripts/setup-libtorch.sh).
# With OFFICIAL=REPOSITORY (a copy of caiyuanhao1998/MST) the published PyTorch code takes its turn, too; PYTHON is then a
# Python with torch, einops and safetensors.
# Usage: [OFFICIAL=REPOSITORY PYTHON=python3] run_bits.sh WEIGHTS-FOLDER [ROUNDS]
set -euo pipefail
cd "$(dirname "$0")/../.."
weights=${1:?the folder of the official bisrnet_sim and bisrnet_real} rounds=${2:-5}
CARGO_TARGET_DIR=target/torch cargo build --quiet --release -p cassi-nets --features torch --example reference_bench
cargo build --quiet --release -p cassi-infer --example bit_bench
report=$(mktemp)
trap 'rm -f "$report"' EXIT
for _ in $(seq "$rounds"); do
    # One after the other: a pipe would run them side by side.
    target/torch/release/examples/reference_bench --cases bisrnet,bisrnet-real --threads "${THREADS:-2}" \
        --repeat 3 --weights "$weights" > "$report"
    if [ -n "${OFFICIAL:-}" ]; then
        "${PYTHON:-python3}" docs/benchmarks/official_bisrnet.py "$OFFICIAL" "$weights" --threads "${THREADS:-2}" \
            --repeat 3 >> "$report"
    fi
    target/release/examples/bit_bench --beside "$weights" < "$report"
done | tee -a /dev/stderr | awk -F'[ ,;]+' '
    /libtorch|PyTorch/ { case_ = $1 ($0 ~ /PyTorch/ ? " against the published code" : " against libtorch") }
    /times as fast/ { for (i = 2; i <= NF; i++) if ($i == "times") { key = case_ " " $2; ratios[key] = ratios[key] " " $(i - 1) } }
    END {
        for (key in ratios) {
            n = split(ratios[key], r, " ")
            for (i = 1; i <= n; i++) for (j = i + 1; j <= n; j++) if (r[j] + 0 < r[i] + 0) { t = r[i]; r[i] = r[j]; r[j] = t }
            printf "%s: median ratio %s (%s to %s)\n", key, r[int((n + 1) / 2)], r[1], r[n]
        }
    }' | sort
