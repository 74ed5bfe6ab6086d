"""The ratios that are to be reached, and the table that says which are."""

from collections.abc import Sequence
from statistics import median
from typing import Any, NamedTuple

Round = dict[str, dict[str, list[float]]]  # by "measure arch", then by system: numbers
Results = dict[str, Any]  # as in the JSON file: the rounds, and what the machine was

PINNED, FREE, BUSY = "pinned", "as a user runs it", "on a busy machine"  # conditions
OR = " or "  # between systems of which the better counts
TITLES = {
    "updates": "225 updates",
    "evaluations": "10 evaluations",
    "command": "whole command",
    "language_model": "language model",
    "large": "256 units, batch 32, window 64",
    "growth": "cost per token",
    "memory": "peak memory",
    "days": "many epochs",
}
SMALLEST = "4,500 tokens"


class Ratio(NamedTuple):
    """Something taken of one system divided by the same of another, and its bar.

    ``measure`` names its condition after a comma, where it is not pinned.
    """

    measure: str
    arch: str
    over: str
    under: str
    sense: str = ""
    bar: float = 0.0


RATIOS = [
    Ratio("updates", "rnn", "step by step", "ours", "≥", 20),
    Ratio("updates", "rnn2", "step by step", "ours", "≥", 20),
    Ratio("updates", "rnn3", "step by step", "ours", "≥", 20),
    Ratio("updates", "lstm", "step by step", "ours", "≥", 14),
    Ratio("updates", "rnn", "ours", "PyTorch", "≤", 0.7),
    Ratio("updates", "rnn2", "ours", "PyTorch", "≤", 0.8),
    Ratio("updates", "lstm", "ours", "PyTorch", "≤", 0.8),
    Ratio("updates", "rnn", "ours", "JAX"),
    Ratio("updates", "lstm", "ours", "JAX"),
    Ratio("updates", "rnn", "ours", "NumPy", "≤", 1.9),
    Ratio("updates", "gru", "step by step", "ours"),
    Ratio("updates", "gru", "ours", "PyTorch"),
    Ratio("evaluations", "rnn", "step by step", "ours", "≥", 30),
    Ratio("evaluations", "rnn2", "step by step", "ours", "≥", 30),
    Ratio("evaluations", "rnn3", "step by step", "ours", "≥", 30),
    Ratio("evaluations", "lstm", "step by step", "ours", "≥", 30),
    Ratio("command", "rnn", "step by step", "ours", "≥", 7),
    Ratio("command", "rnn2", "step by step", "ours", "≥", 9),
    Ratio("command", "rnn3", "step by step", "ours", "≥", 9),
    Ratio("command", "lstm", "step by step", "ours", "≥", 9),
    Ratio("command", "rnn", "ours", "PyTorch", "≤", 0.5),
    Ratio("command", "rnn2", "ours", "PyTorch", "≤", 0.5),
    Ratio("command", "lstm", "ours", "PyTorch", "≤", 0.5),
    # Seconds for the same tokens, so this is also our tokens a second over PyTorch's.
    Ratio("language_model", "lstm", "PyTorch", "ours", "≥", 1),
    Ratio("growth", "rnn", "45,000 tokens", SMALLEST, "≤", 1.1),
    Ratio("growth", "rnn", "450,000 tokens", SMALLEST, "≤", 1.1),
    Ratio("growth", "rnn", "4,500,000 tokens", SMALLEST, "≤", 1.1),
    Ratio("growth", "rnn", "45,000,000 tokens", SMALLEST, "≤", 1.1),
    Ratio("memory", "rnn", "peak", "data + 150 MB", "≤", 1),
    Ratio("days", "rnn", "epoch 10,000", "epoch 100", "≤", 1.5),
    Ratio("days", "rnn", "bytes after 10,000", "bytes after 10", "≤", 1.5),
    *[
        Ratio(f"updates, {condition}", arch, "ours", peer)
        for condition in (FREE, BUSY)
        for peer, archs in (("PyTorch", ("rnn", "lstm", "gru")), ("JAX", ("rnn", "lstm")))
        for arch in archs
    ],
    Ratio(f"command, {FREE}", "rnn", "ours", "PyTorch"),
    Ratio(f"command, {FREE}", "rnn", "ours", f"ours, one thread{OR}ours, all cores"),
    Ratio(f"command, {BUSY}", "rnn", "ours", "ours, one thread"),
    Ratio(f"large, {FREE}", "gru", "ours", "ours, one thread"),
    Ratio(f"large, {BUSY}", "gru", "ours", "ours, one thread"),
    Ratio(f"large, {FREE}", "gru", "ours", "PyTorch"),
    Ratio(f"large, {BUSY}", "gru", "ours", "PyTorch"),
    Ratio(f"language_model, {FREE}", "lstm", "PyTorch", "ours"),
]


def ratios_by_round(
    rounds: Sequence[Round], measure: str, arch: str, over: str, under: str
) -> list[float]:
    """The ratio of two systems in each round, a list; empty if one of them did not run.

    Args:
        rounds (list of dict): by ``"measure arch"``, a dict of lists of numbers by system.
        measure, arch (str): of the two.
        over (str): the system above the line.
        under (str): the one below, or several with ``OR`` between: the one that took least.
    """
    taken = [one.get(f"{measure} {arch}", {}) for one in rounds]
    below = under.split(OR)
    return [
        median(t[over]) / min(median(t[name]) for name in below)
        for t in taken
        if {over, *below} <= t.keys()
    ]


def format_table(results: Results) -> str:
    """The table as Markdown; see ``run.py`` for the results."""
    lines: list[tuple[str, ...]] = [
        ("measure", "arch", "ratio", "bar", "median", "least", "most", "")
    ]
    for ratio in RATIOS:
        measure, arch, over, under, sense, bar = ratio
        values = ratios_by_round(results["rounds"], measure, arch, over, under)
        if values:
            title, comma, condition = measure.partition(", ")
            middle = median(values)
            met = {"≥": middle >= bar, "≤": middle <= bar}.get(sense)
            lines.append(
                (
                    f"{TITLES[title]}{comma}{condition}",
                    arch,
                    f"{over} ÷ {under}",
                    f"{sense} {bar:g}" if sense else "",
                    f"{middle:.3g}",
                    f"{min(values):.3g}",
                    f"{max(values):.3g}",
                    {True: "met", False: "NOT MET", None: ""}[met],
                )
            )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        f"| {' | '.join(cell.ljust(w) for cell, w in zip(line, widths, strict=True))} |"
        for line in lines
    )


def format_memory(results: Results) -> str:
    """Peak memory in absolute numbers, one line, or nothing if it was not measured."""
    taken = [one["memory rnn"] for one in results["rounds"] if "memory rnn" in one]
    if not taken:
        return ""
    mb = {name: median(one[name][0] for one in taken) / 1e6 for name in taken[0]}
    return (
        f"Peak memory: {mb['peak']:.0f} MB with {mb['data']:.0f} MB of data; "
        f"{mb['peak'] - mb['data']:.0f} MB beside the data, "
        f"of which {mb['imported']:.0f} MB are there once all is imported."
    )
