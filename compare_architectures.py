"""Train several architectures on the same data with the same seed, and draw them in one picture.

python compare_architectures.py rnn rnn2 rnn3 lstm
python compare_architectures.py rnn lstm --epoch 40 --seed 1 --out comparison
"""

if __name__ == "__main__":
    from support.start import start

    start()

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import chainer_compat
import numpy as np

import train_simple_sequence
from models import ARCHS
from support.command_line import FOLDER, ArgumentParser
from support.drawing import marks, new_figure, save_figure, style_of, thinned
from support.files import naming
from support.processes import here, run
from training.options import resume_command

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PANELS = {
    "validation/main/loss": "validation loss\n(nats a token)",
    "validation/main/accuracy": "validation accuracy\n(share of right tokens)",
}


def parse_arguments(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Read the command line; return our own options, and as a list those of every training."""
    parser = ArgumentParser(__doc__)
    parser.epilog = (
        "All other options are those of train_simple_sequence.py. They hold for every ARCH."
    )
    add = parser.add_argument
    names = ", ".join(ARCHS)
    add(
        "archs",
        nargs="+",
        choices=ARCHS,
        metavar="ARCH",
        help=f"architectures to train: {names}; they come before any option",
    )
    add(
        "-o",
        "--out",
        default=FOLDER,
        help="output folder; each architecture gets a folder in it",
    )
    add("-r", "--resume", choices=["auto"], help="continue from the newest snapshot of each")
    add("-a", "--arch", help=argparse.SUPPRESS)  # else it would pass as an option of a training
    args, options = parser.parse_known_args(argv)
    if args.arch:
        parser.error("argument -a/--arch: name the architectures first, as in rnn lstm -e 20")
    if args.resume:
        options += ["--resume", args.resume]
    return args, options


def main(argv: list[str]) -> int:
    """Run the command; return its exit code."""
    args, options = parse_arguments(argv)
    logs = {}
    again = resume_command(argv, "auto", "compare_architectures.py")
    for arch in dict.fromkeys(args.archs):
        folder = args.out and os.path.join(args.out, arch)  # an empty name is refused there
        code = train_simple_sequence.main([*options, "--arch", arch, "--out", folder], again)
        if code:
            return code
        log = os.path.join(folder, "log")
        with naming(log), open(log, encoding="utf-8") as file:
            logs[arch] = json.load(file)
        print()
    path = os.path.join(args.out, "comparison.png")
    here.once(save_figure, draw(logs), path)
    print(f"Written: {path}")
    return 0


def draw(logs: Mapping[str, Sequence[Mapping[str, float]]]) -> "Figure":
    """Draw loss and accuracy of every training over its epochs.

    Args:
        logs (dict): by architecture, the entries of its ``log``.

    Returns:
        matplotlib.figure.Figure
    """
    figure = new_figure(5.6, layout="constrained")
    from matplotlib.ticker import MaxNLocator

    panels = figure.subplots(len(_PANELS), sharex=True)
    for axes, (key, label) in zip(panels, _PANELS.items(), strict=True):
        for arch, log in logs.items():
            points = [(entry["epoch"], entry[key]) for entry in thinned(log) if key in entry]
            style = {"markersize": 5, "markevery": marks(points), **style_of(arch)}
            axes.plot(*np.reshape(points, (-1, 2)).T, label=arch, **style)
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
    panels[-1].set_xlabel("epoch (sweeps over the training data)")
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(logs)
    )
    return figure


if __name__ == "__main__":
    sys.exit(run(main))
