# Two commands for newcomers, the rest for those who carry on. Every step says what it does and how long it may take.
.PHONY: help demo test test-default test-torch lint docs libtorch system build build-torch

help:
	@echo "make demo         build cassi and write the demonstration report to demo/ (first build: about 6 minutes)"
	@echo "make test         test everything, without and with libtorch (first time: about 30 minutes)"
	@echo "make build        target/release/cassi, no libtorch needed"
	@echo "make build-torch  target/torch/release/cassi, with training and CUDA"
	@echo "make lint         formatting and clippy, both lanes"
	@echo "make docs         the API documentation of every crate"

system:
	@bash scripts/setup-system.sh

libtorch:
	@bash scripts/setup-libtorch.sh

build: system
	@echo "build: target/release/cassi (about 5 minutes the first time, seconds afterwards)"
	cargo build --release --locked -p cassi-cli

build-torch: system libtorch
	@echo "build: target/torch/release/cassi with libtorch (about 7 minutes the first time)"
	CARGO_TARGET_DIR=target/torch cargo build --release --locked -p cassi-cli --features torch

demo: build
	@echo "demo: three scenes through camera, solvers and report (under 2 minutes)"
	target/release/cassi demo -o demo

test: test-default test-torch

test-default:
	@bash scripts/setup-system.sh --tests
	@echo "test: the default lane, no libtorch (first time about 15 minutes, then 3)"
	CASSI_REQUIRE_BROWSER=1 cargo test --locked --workspace

test-torch: libtorch
	@echo "test: the torch lane (first time about 10 minutes, then 3)"
	CARGO_TARGET_DIR=target/torch cargo test --locked -p cassi-nets -p cassi-cli --features cassi-nets/torch,cassi-cli/torch

lint: system libtorch
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	CARGO_TARGET_DIR=target/torch cargo clippy --locked -p cassi-nets -p cassi-cli --features cassi-nets/torch,cassi-cli/torch --all-targets -- -D warnings

docs: system libtorch
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps
	RUSTDOCFLAGS="-D warnings" CARGO_TARGET_DIR=target/torch cargo doc --locked -p cassi-nets --features torch --no-deps
