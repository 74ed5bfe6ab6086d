"""Run the distributed training with 1, 2 and 4 processes and print how it scales.

A round takes each measurement once, each in processes of their own, all ratios are formed within a
round, and the table shows the median over the rounds. Every process has one thread; to be fair to
the one process, it is measured with a thread for each core, too.
"""

import argparse
import json
import os
import subprocess
import sys
from statistics import median
from typing import NamedTuple

from benchmarks.run import ROOT, arithmetic_of, environment, processor
from benchmarks.table import PINNED
from benchmarks.workload import DEFAULT, LANGUAGE_MODEL, Size
from support.devices import cores

ROUNDS = 3
PROCESSES = (1, 2, 4)
MPIEXEC = os.path.join(os.path.dirname(sys.executable), "mpiexec")


class Workload(NamedTuple):
    """What is trained, and how many updates are timed."""

    name: str
    arch: str
    size: Size
    times: int


WORKLOADS = [
    Workload("the default, an RNN", "rnn", DEFAULT, 300),
    Workload("an LSTM as small", "lstm", DEFAULT, 150),
    Workload("an LSTM, vocabulary 1,000", "lstm", Size(1_000, 200, 20, 35), 40),
    Workload("an LSTM, vocabulary 10,000", "lstm", LANGUAGE_MODEL, 3),
    Workload("the same, 4 times the batch", "lstm", LANGUAGE_MODEL._replace(batch=80), 2),
]


def measure(workload: Workload, n_processes: int, n_threads: int = 1) -> tuple[float, float]:
    """Seconds of an update, and the share of them that communication takes."""
    command = [sys.executable, "-m", "benchmarks.distributed_updates", workload.arch]
    command += [*map(str, workload.size), "--count", str(workload.times)]
    if n_processes > 1:
        command = [MPIEXEC, "-n", str(n_processes), *command, "--distributed"]
    variables = environment(n_threads)
    done = subprocess.run(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, check=True)
    seconds, share = json.loads(done.stdout)
    return seconds, share


def run_rounds(workload: Workload, n_rounds: int) -> list[dict[str, tuple[float, float]]]:
    """For each round, what was measured by how the training was run."""
    runs = {str(n): (n, 1) for n in PROCESSES}
    runs[f"1, {cores()} threads"] = 1, cores()
    rounds = []
    for k in range(n_rounds):
        print(f"{workload.name}: round {k + 1} of {n_rounds}", file=sys.stderr)
        rounds.append({name: measure(workload, *run) for name, run in runs.items()})
    return rounds


def rows(workload: Workload, rounds: list[dict[str, tuple[float, float]]]) -> list[str]:
    """Lines of the table: a measurement each."""
    lines = []
    for run in rounds[0]:
        updates = median(1 / taken[run][0] for taken in rounds)
        ratio = median(taken["1"][0] / taken[run][0] for taken in rounds)
        share = median(taken[run][1] for taken in rounds)
        size = ", ".join(map(str, workload.size))
        cells = workload.name, size, run, f"{updates:.3g}", f"{ratio:.2f}", f"{share:.0%}"
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often to measure each")
    args = parser.parse_args()
    lines = [
        "| model | V, U, B, T | processes | updates/s | ÷ one process | communication |",
        "|---|---|---|---|---|---|",
    ]
    for workload in WORKLOADS:
        lines += rows(workload, run_rounds(workload, args.rounds))
    print(
        f"{processor()}, {cores()} cores; {args.rounds} rounds; {arithmetic_of('ours', PINNED)}\n"
    )
    print("\n".join(lines))


if __name__ == "__main__":
    main()
