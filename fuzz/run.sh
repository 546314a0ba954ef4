#!/usr/bin/env bash
# Builds fuzz targets with coverage instrumentation on stable Rust and runs each for SECONDS (default 20).
# Usage: fuzz/run.sh [SECONDS] [TARGET...]     (all targets by default)
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-20}
shift || true
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    for file in fuzz_targets/*.rs; do targets+=("$(basename "$file" .rs)"); done
fi
for target in "${targets[@]}"; do
    if [ ! -e "fuzz_targets/$target.rs" ]; then
        known=$(cd fuzz_targets && echo *.rs)
        echo "fuzz: no target $target; there are ${known//.rs/}" >&2
        exit 2
    fi
done
# A sound small file of each format to start from, once; the corpus grows from them.
if [ ! -d corpus/mat5 ]; then
    echo "fuzz: seeds from the mutation tests of cassi-io"
    CASSI_SEEDS=$PWD/corpus cargo test --quiet --locked --manifest-path ../Cargo.toml -p cassi-io --test mutations
fi
# The versions that the project is tested with.
cp ../Cargo.lock Cargo.lock
triple=x86_64-unknown-linux-gnu
target_dir=${CARGO_TARGET_DIR:-target}
echo "fuzz: building ${targets[*]} with instrumentation (first time about 10 minutes on two cores)"
# --target keeps build scripts free of the instrumentation, which they could not link.
RUSTFLAGS='--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions' \
    cargo build --release --target "$triple" "${targets[@]/#/--bin=}"
mkdir -p artifacts
log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=0
for target in "${targets[@]}"; do
    mkdir -p "corpus/$target"
    echo "== $target"
    status=0
    # A minute a file: instrumented code is some twenty times slower, and the machine may be busy.
    "$target_dir/$triple/release/$target" "corpus/$target" -max_total_time="$seconds" -max_len=65536 \
        -rss_limit_mb=2048 -malloc_limit_mb=1024 -timeout=60 -report_slow_units=60 \
        -artifact_prefix="artifacts/$target-" -print_final_stats=1 > "$log" 2>&1 || status=$?
    grep -aE 'ERROR|SUMMARY|panicked|Test unit|stat::number_of_executed|stat::peak_rss|DONE' "$log" || true
    if [ $status -ne 0 ]; then
        echo "$target ended with $status:"
        tail -n 5 "$log"
        failed=1
    elif compgen -G "artifacts/$target-*" > /dev/null; then
        echo "$target: artifacts/ still holds an input that ended an earlier run"
        failed=1
    fi
done
exit $failed
