"""Times of an update on one CUDA GPU: ours, and PyTorch's with cuDNN where PyTorch is installed.

Numbers of 32 bits are multiplied as they are (FP32), or rounded to 19 bits first (TF32), by both
sides alike; left to themselves, CuPy does the first and cuDNN the second. Nothing is installed.
"""

import argparse
import importlib.util
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

from benchmarks.run import ROOT, environment
from benchmarks.workload import DEFAULT, LANGUAGE_MODEL, WARM_UP, make_tokens, make_windows

SIZES = {"default": DEFAULT, "language model": LANGUAGE_MODEL}
ARCHS = "rnn", "rnn2", "rnn3", "lstm", "gru"
UPDATES = 50  # of a repetition, in which the GPU may lag behind Python
REPETITIONS = 7


def main() -> None:
    """The command line: measure everything in turn, each system in processes of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archs", nargs="+", choices=ARCHS, default=ARCHS)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--system", choices=("ours", "PyTorch"), help=argparse.SUPPRESS)
    parser.add_argument("--tf32", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.system:
        measure = ours if args.system == "ours" else pytorch
        print(json.dumps(measure(args.archs[0], args.sizes[0], args.tf32)))
        return
    systems = ["ours"]
    if importlib.util.find_spec("torch"):
        systems.append("PyTorch")
    else:
        print("PyTorch is not installed: ours only", file=sys.stderr)
    print("Milliseconds of an update, and of them until Python has asked for all of it (host);")
    print("where the two are equal, the GPU waits for Python.\n")
    print(f"{'':22}{'':16}{'FP32':>8}{'host':>8}{'TF32':>8}{'host':>8}")
    for size, arch, system in itertools.product(args.sizes, args.archs, systems):
        if system == "PyTorch" and arch == "rnn3":
            continue  # it has no such layer
        times = [run(system, arch, size, tf32) for tf32 in (False, True)]
        columns = "".join(f"{1e3 * seconds:8.3f}" for pair in times for seconds in pair)
        print(f"{size:16}{arch:6}{system:16}{columns}", flush=True)


def run(system: str, arch: str, size: str, tf32: bool) -> tuple[float, float]:
    """Seconds of an update, and until it has been asked for, as a process of its own has them."""
    command = [sys.executable, "-m", "benchmarks.on_gpu", "--system", system]
    command += ["--archs", arch, "--sizes", size, *(["--tf32"] if tf32 else [])]
    variables = {**environment(), "CUPY_TF32": str(int(tf32))}
    done = subprocess.run(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, check=True)
    seconds, host = json.loads(done.stdout)
    return seconds, host


def ours(arch: str, size: str, tf32: bool) -> tuple[float, float]:
    """See :func:`times`; TF32 is what the environment variable CUPY_TF32 says."""
    del tf32
    from benchmarks.ours import make_updater

    updater = make_updater(arch, SIZES[size], make_tokens(SIZES[size]), device=0)
    import cupy

    return times(updater.update, cupy.cuda.Device(0).synchronize)


def pytorch(arch: str, size: str, tf32: bool) -> tuple[float, float]:
    """See :func:`times`."""
    import torch

    from benchmarks.peer_pytorch import Training

    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
    training = Training(arch, SIZES[size], "cuda")
    x, t = (torch.from_numpy(ids).long().cuda() for ids in make_windows(SIZES[size], UPDATES))
    windows = itertools.cycle(list(zip(x, t, strict=True)))
    return times(lambda: training.update(*next(windows)), torch.cuda.synchronize)


def times(update: Callable[[], object], wait: Callable[[], object]) -> tuple[float, float]:
    """Medians: seconds of an update among many, and of asking for one where nothing is waiting."""
    for _ in range(WARM_UP):
        update()
    whole, host = [], []
    for _ in range(REPETITIONS):
        wait()
        start = time.perf_counter()
        for _ in range(UPDATES):
            update()
        wait()
        whole.append((time.perf_counter() - start) / UPDATES)
        for _ in range(UPDATES // REPETITIONS):
            start = time.perf_counter()
            update()
            host.append(time.perf_counter() - start)
            wait()
    return median(whole), median(host)


if __name__ == "__main__":
    main()
