"""The bar chart of a benchmark: the time of every peer, with ours as the unit.

python -m benchmarks.chart results.json docs/benchmark.png
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.table import BUSY, FREE, Results, ratios_by_round

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Bar = tuple[str, str, list[float]]  # architecture, peer, and its time over ours in each round

# Told apart with any colour vision (Okabe and Ito); each bar bears its name besides.
COLOURS = {
    "step by step": "#D55E00",
    "PyTorch": "#E69F00",
    "JAX": "#56B4E9",
    "NumPy": "#009E73",
}
NAMES = {"step by step": "Chainer, step by step", "JAX": "JAX, jit", "NumPy": "NumPy by hand"}
PANELS = {
    "updates": "225 updates of the default training, one core",
    f"updates, {FREE}": "the same as a user runs it: all cores, each system's own threads",
    f"updates, {BUSY}": "the same where other processes keep every core busy",
    "evaluations": "ten evaluations, one core",
    "command": "the whole command: imports, training, evaluations, checkpoints, plots; one core",
    f"command, {FREE}": "the same as a user runs it",
    f"large, {FREE}": "an update of 256 units, batch 32, window 64, as a user runs it",
    "language_model": "an update of a language model (vocabulary 10,000, 2 x 650 units), one core",
    f"language_model, {FREE}": "the same as a user runs it",
}
ARCHS = ("rnn", "rnn2", "rnn3", "lstm", "gru")
TICKS = (0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


def bars_of_panel(results: Results, measure: str) -> list[Bar]:
    """Architecture, peer and the peer's time over ours in each round, a list of tuples."""
    bars = []
    for arch in ARCHS:
        for peer in COLOURS:
            values = ratios_by_round(results["rounds"], measure, arch, peer, "ours")
            if values:
                bars.append((arch, peer, values))
    return bars


def draw(results: Results, path: str | Path) -> None:
    """Draw the results that ``run.py`` took into a PNG file."""
    # Imported here, so that matplotlib is no part of the process that measures the others.
    from matplotlib.figure import Figure

    panels = {name: bars_of_panel(results, name) for name in PANELS}
    panels = {name: bars for name, bars in panels.items() if bars}
    heights = [len(bars) + 1 for bars in panels.values()]
    figure = Figure(figsize=(8.3, 0.24 * sum(heights) + 0.9), dpi=150, layout="constrained")
    grid = figure.subplots(
        len(panels), sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights}
    )
    for axes, (name, bars) in zip(grid[:, 0], panels.items(), strict=True):
        draw_panel(axes, bars)
        axes.set_title(PANELS[name], fontsize=9, loc="left", fontweight="bold")
    axes.set_xlabel(
        "time of the peer ÷ our time (logarithmic): right of 1, ours is quicker", fontsize=9
    )
    figure.savefig(path)


def draw_panel(axes: "Axes", bars: Sequence[Bar]) -> None:
    """One bar from 1 to the median for each peer, with its least and most."""
    for place, (_, peer, values) in enumerate(bars):
        middle = median(values)
        axes.barh(place, middle - 1, left=1, height=0.72, color=COLOURS[peer])
        axes.plot([min(values), max(values)], [place, place], color="black", linewidth=1)
        axes.text(max(*values, 1) * 1.06, place, f"{middle:.3g}", va="center", fontsize=8)
    labels = [f"{arch}: {NAMES.get(peer, peer)}" for arch, peer, _ in bars]
    axes.set_yticks(range(len(bars)), labels, fontsize=8)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.set_xscale("log")
    axes.margins(x=0.1)  # for the numbers
    axes.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS], fontsize=8)
    axes.set_xticks([], minor=True)
    axes.axvline(1, color="black", linewidth=1)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw a benchmark's chart again.")
    parser.add_argument("results", type=Path, help="what run.py --json has written")
    parser.add_argument("chart", help="the picture to write, a PNG")
    args = parser.parse_args()
    draw(json.loads(args.results.read_text()), args.chart)
