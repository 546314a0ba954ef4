#!/usr/bin/env bash
# Puts the CPU half of libtorch 2.11.0 into .libtorch/, from the hashed PyPI wheels; does nothing when it is there.
#
# An existing LIBTORCH (a folder with include/ and lib/, build-version 2.11.0, no libtorch_cuda.so) is linked to
# instead. Building always happens against a CPU layout; a CUDA PyTorch 2.11.0 is named at run time (docs/training.md).
set -euo pipefail
cd "$(dirname "$0")/.."
version=2.11.0
target=.libtorch

requirements="torch==2.11.0 --hash=sha256:7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a
nvidia-cuda-runtime==13.0.96 --hash=sha256:7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548
nvidia-cuda-cupti==13.0.85 --hash=sha256:4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8"
stamp=$(printf '%s\nlayout 1\n' "$requirements" | sha256sum | cut -d' ' -f1)

exec 9>.libtorch.lock
flock 9

usable() { # folder: is it a CPU-only libtorch of the right version?
  [ -f "$1/lib/libtorch_cpu.so" ] && [ -d "$1/include/torch" ] && [ ! -e "$1/lib/libtorch_cuda.so" ] &&
    grep -q "^$version" "$1/build-version" 2>/dev/null
}

if [ "$(cat "$target/.stamp" 2>/dev/null)" = "$stamp" ] && usable "$target"; then
  echo "libtorch $version: already in $target"
  exit 0
fi
if [ -n "${LIBTORCH:-}" ] && [ "$(realpath -m "$LIBTORCH")" != "$(realpath -m "$target")" ]; then
  if usable "$LIBTORCH"; then
    rm -rf "$target"
    ln -s "$(realpath "$LIBTORCH")" "$target"
    echo "libtorch $version: $target now points to $LIBTORCH"
    exit 0
  fi
  echo "libtorch: $LIBTORCH is not a CPU-only libtorch $version; setting up our own in $target"
fi
[ "$(uname -m)" = x86_64 ] || { echo "libtorch: the pinned wheels are for x86_64; set LIBTORCH to a CPU-only libtorch $version" >&2; exit 2; }

echo "libtorch $version: downloading 545 MB of wheels and unpacking 500 MB into $target (about a minute)"
work=$(mktemp -d .libtorch.XXXXXX)
trap 'rm -rf "$work"' EXIT
printf '%s\n' "$requirements" > "$work/requirements.txt"
python3 -m pip download -q --no-cache-dir --disable-pip-version-check --no-deps --require-hashes \
  --only-binary=:all: --python-version 3.11 --implementation cp --abi cp311 \
  --platform manylinux_2_28_x86_64 --platform manylinux_2_25_x86_64 --platform manylinux2014_x86_64 \
  -d "$work/wheels" -r "$work/requirements.txt"
python3 - "$work" <<'PY'
import pathlib, sys, zipfile
work = pathlib.Path(sys.argv[1])
out = work / "libtorch"
(out / "lib").mkdir(parents=True)
lib = {"torch/lib/libtorch_cpu.so", "torch/lib/libc10.so", "torch/lib/libgomp.so.1",
       "nvidia/cu13/lib/libcudart.so.13", "nvidia/cu13/lib/libcupti.so.13"}
found = set()
for wheel in (work / "wheels").glob("*.whl"):
    with zipfile.ZipFile(wheel) as z:
        for name in z.namelist():
            if name in lib:
                target = out / "lib" / pathlib.PurePosixPath(name).name
                found.add(name)
            elif name.startswith("torch/include/") and not name.endswith("/"):
                target = out / name.removeprefix("torch/")
            else:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(z.read(name))
if found != lib:
    sys.exit(f"libtorch: the wheels lack {sorted(lib - found)}")
PY
# The wheel's own libtorch.so asks for the CUDA library; this one asks for the CPU library alone.
echo 'int cassi_torch_shim(void) { return 1; }' > "$work/shim.c"
cc -shared -fPIC -Wl,-soname,libtorch.so -Wl,--no-as-needed -o "$work/libtorch/lib/libtorch.so" "$work/shim.c" \
  -L"$work/libtorch/lib" -ltorch_cpu '-Wl,-rpath,$ORIGIN'
python3 -c 'import ctypes, sys; ctypes.CDLL(sys.argv[1])' "$work/libtorch/lib/libtorch.so"
echo "$version+cpu" > "$work/libtorch/build-version"
echo "$stamp" > "$work/libtorch/.stamp"
rm -rf "$target"
mv "$work/libtorch" "$target"
echo "libtorch $version: ready in $target"
