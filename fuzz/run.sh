#!/usr/bin/env bash
# Builds every fuzz target with coverage instrumentation on stable Rust and runs each for SECONDS (default 20).
# Usage: fuzz/run.sh [SECONDS] [TARGET...]
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-20}
shift || true
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    for file in fuzz_targets/*.rs; do targets+=("$(basename "$file" .rs)"); done
fi
# The versions that the project is tested with.
[ -e Cargo.lock ] || cp ../Cargo.lock Cargo.lock
triple=x86_64-unknown-linux-gnu
target_dir=${CARGO_TARGET_DIR:-target}
# --target keeps build scripts free of the instrumentation, which they could not link.
RUSTFLAGS='--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions' \
    cargo build --release --target "$triple"
failed=0
for target in "${targets[@]}"; do
    mkdir -p "corpus/$target" artifacts
    echo "== $target"
    # A minute a file: instrumented code is some twenty times slower, and the machine may be busy.
    "$target_dir/$triple/release/$target" "corpus/$target" -max_total_time="$seconds" -max_len=65536 \
        -rss_limit_mb=2048 -malloc_limit_mb=1024 -timeout=60 -report_slow_units=60 \
        -artifact_prefix="artifacts/$target-" -print_final_stats=1 \
        2>&1 | grep -E 'ERROR|SUMMARY|panicked|Test unit|stat::number_of_executed|stat::peak_rss|DONE' || true
    if compgen -G "artifacts/$target-*" > /dev/null; then failed=1; fi
done
exit $failed
