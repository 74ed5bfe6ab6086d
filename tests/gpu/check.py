"""``make check-gpu``: trainings on the GPU, on the CPU and on both in turn come to the same.

Each architecture is trained for three epochs, all else by default. After more, rounding alone
drives two right runs apart: two correct arithmetics differ by 1e-7 after one epoch, by 1e-3 after
seven, and by a tenth after eight.
"""

import argparse
import contextlib
import io
import json
import pathlib
import sys
import tempfile

import numpy as np

import predict_simple_sequence
import train_simple_sequence
from models import ARCHS
from support.command_line import run_command
from support.devices import check_gpu

TOLERANCE = 1e-3
GPU, CPU = "-g0", "-g-1"


def main(argv: list[str]) -> int:
    """Check the architectures; return 1 if one differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archs", nargs="*", default=list(ARCHS))
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    archs = parser.parse_args(argv).archs
    check_gpu(0)
    with tempfile.TemporaryDirectory() as folder:
        agreed = [agree(arch, pathlib.Path(folder, arch)) for arch in archs]
    return int(not all(agreed))


def agree(arch: str, folder: pathlib.Path) -> bool:
    """Train an architecture in the three ways; print how they differ, and whether they agree."""
    cpu = train(arch, folder / "cpu", [CPU], 3)
    gpu = difference(train(arch, folder / "gpu", [GPU], 3), cpu)
    for epoch, device in enumerate((CPU, GPU, CPU), start=1):
        in_turn = train(arch, folder / "moved", [device, "-rauto"], epoch)
    moved = difference(in_turn, cpu)
    model = folder / "gpu" / f"{arch}_simple_sequence.model"
    written = {quietly(predict_simple_sequence, [f"-m{model}", "-l90", on]) for on in (GPU, CPU)}
    print(
        f"{arch:5} the log differs from the CPU's by {gpu:.1e} on the GPU, by {moved:.1e} on CPU, "
        f"GPU and CPU in turn; the predictions {'are equal' if len(written) == 1 else 'DIFFER'}"
    )
    agrees = max(gpu, moved) < TOLERANCE and len(written) == 1
    if not agrees:
        print(f"{arch:5} FAILED: at most {TOLERANCE:g} is expected, and equal predictions")
    return agrees


def train(arch: str, folder: pathlib.Path, options: list[str], n_epochs: int) -> list[dict]:
    """The log after so many epochs."""
    quietly(train_simple_sequence, [f"-a{arch}", f"-o{folder}", f"-e{n_epochs}", *options])
    return json.loads((folder / "log").read_text())


def quietly(command, argv: list[str]) -> str:
    """What a command prints."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        command.main(argv)
    return out.getvalue()


def difference(log: list[dict], expected: list[dict]) -> float:
    """The largest difference of two entries; a NaN, or another number of entries, is infinite.

    ``free_run`` is left out: it counts tokens, so that a single one can change it much.
    """
    if len(log) != len(expected):
        return np.inf
    keys = expected[0].keys() - {"elapsed_time", "free_run"}
    values = [[entry[key] for entry in entries for key in keys] for entries in (log, expected)]
    return float(np.nan_to_num(np.abs(np.subtract(*values)), nan=np.inf).max())


if __name__ == "__main__":
    sys.exit(run_command(main))
