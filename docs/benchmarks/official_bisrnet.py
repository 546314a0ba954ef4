"""Times the published PyTorch code of BiSRNet, untouched, and reports as reference_bench does.

Wants a copy of the published repository (caiyuanhao1998/MST), PyTorch, einops and safetensors. Every case runs in a process of its
own, with the C library kept from returning big blocks to the system, as reference_bench does: otherwise page faults, not
arithmetic, are measured (--allocator default leaves it as it comes). Prints one JSON object a case.

Usage: python3 official_bisrnet.py REPOSITORY WEIGHTS-FOLDER [--threads 2] [--repeat 3] [--allocator pinned|default]
"""

import argparse
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import time

# Case: file in the repository, official weights, shape of what the network takes.
CASES = {
    "bisrnet": ("simulation/train_code/architecture/BiSRNet.py", "bisrnet_sim.safetensors", (1, 28, 256, 256)),
    "bisrnet-real": ("real/test_code/architecture/BiSRNet.py", "bisrnet_real.safetensors", (1, 660, 714)),
}
PINNED = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "68719476736",
    "MALLOC_TOP_PAD_": "1073741824",
    "MALLOC_ARENA_MAX": "1",
}


def memory_mb(key):
    """A figure from the operating system, e.g. VmHWM, the peak of resident memory."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return float(line.split()[1]) * 1024 / 1e6
    return None


def measure(case, options):
    import torch
    from safetensors.torch import load_file

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    # The published code moves some tensors to a GPU by name; here they stay where they are.
    torch.Tensor.cuda = lambda tensor, *_, **__: tensor
    file, weights, shape = CASES[case]
    spec = importlib.util.spec_from_file_location("official", options.repository / file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network = module.BiSRNet(n_feat=28, stage=1, num_blocks=[1, 1, 1]).eval()  # as the published `model_generator` does
    state = load_file(options.weights / weights)
    network.load_state_dict({name.removeprefix("module."): tensor for name, tensor in state.items()})
    image = torch.rand(shape)
    inputs = (image, torch.rand(shape)) if case == "bisrnet" else (image * 0.8,)
    before = memory_mb("VmRSS")

    def forward():
        start = time.perf_counter()
        with torch.no_grad():
            assert torch.isfinite(network(*inputs).mean())
        return time.perf_counter() - start

    first = forward()
    seconds = [forward() for _ in range(options.repeat)]
    print(
        json.dumps(
            {
                "case": case,
                "code": "published",
                "input": list(shape),
                "threads": options.threads,
                "allocator": options.allocator,
                "weights": "official",
                "torch": torch.__version__,
                "seconds_median": sorted(seconds)[options.repeat // 2],
                "seconds_first": first,
                "seconds_all": seconds,
                "memory_before_mb": before,
                "peak_memory_mb": memory_mb("VmHWM"),
            }
        )
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", type=pathlib.Path)
    parser.add_argument("weights", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--allocator", choices=["pinned", "default"], default="pinned")
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return measure(options.child, options)
    for case in options.cases.split(","):
        environment = os.environ | (PINNED if options.allocator == "pinned" else {})
        subprocess.run([sys.executable, *sys.argv, "--child", case], env=environment, check=True)


if __name__ == "__main__":
    main()
