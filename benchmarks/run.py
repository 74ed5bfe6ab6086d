"""Run ours beside its peers and print the table of ratios.

Every measurement is a process of its own, kept to one core and one thread. A round takes each
measurement once, so that whatever else the machine does falls on all alike; a ratio is formed
within a round, and the table shows the median over the rounds, the least and the most.
"""

import argparse
import importlib.metadata
import importlib.util
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.chart import draw
from benchmarks.table import Results, Round, format_memory, format_table

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.executable
MODULES = {
    "ours": "benchmarks.ours",
    "NumPy": "benchmarks.peer_numpy",
    "JAX": "benchmarks.peer_jax",
    "PyTorch": "benchmarks.peer_pytorch",
    "step by step": "benchmarks.peer_step_by_step",
}
COMMANDS = {
    "ours": ["train_simple_sequence.py"],
    "PyTorch": ["-m", "benchmarks.command_pytorch"],
    "step by step": ["-m", "benchmarks.command_step_by_step"],
}
NEEDS = {"JAX": "jax", "PyTorch": "torch"}
PEERS = {
    "rnn": ("NumPy", "JAX", "PyTorch", "step by step"),
    "rnn2": ("PyTorch", "step by step"),
    "rnn3": ("step by step",),  # PyTorch has no such layer
    "lstm": ("JAX", "PyTorch", "step by step"),
}
ROUNDS = 3
QUICK_ROUNDS = 2
FEW, EARLY, MANY = 10, 100, 10_000  # epochs
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}


class Job(NamedTuple):
    """One measurement by one system: so many ``times`` the work, so many ``repetitions``."""

    measure: str
    arch: str
    system: str
    times: int = 1
    repetitions: int = 1


def plan(quick: bool) -> list[Job]:
    """The jobs of a round, those that are compared next to each other."""
    jobs = []
    for arch, peers in PEERS.items():
        if quick:
            jobs += [Job("updates", arch, system, 45, 3) for system in ("ours", *peers[:-1])]
            jobs.append(Job("updates", arch, peers[-1], 15))
        else:
            jobs += [Job("updates", arch, system, 225, 3) for system in ("ours", *peers[:-1])]
            jobs.append(Job("updates", arch, peers[-1], 225))
    if quick:
        # Most of JAX's time is compilation.
        return [job for job in jobs if job.system != "JAX"]
    for arch, peers in PEERS.items():
        jobs.append(Job("evaluations", arch, "ours", 10, 5))
        jobs.append(Job("evaluations", arch, "step by step", 10))
        jobs += [Job("command", arch, s) for s in ("ours", *peers) if s in COMMANDS]
    jobs += [Job("language_model", "lstm", system, 2, 4) for system in ("ours", "PyTorch")]
    jobs.append(Job("growth", "rnn", "ours", 225, 5))
    jobs.append(Job("memory", "rnn", "ours", 300))
    jobs.append(Job("days", "rnn", "ours"))
    return jobs


def run_job(job: Job) -> dict[str, list[float]]:
    """Numbers taken, a list by the name of what they were taken of."""
    if job.measure == "days":
        return measure_days()
    if job.measure == "command":
        return {job.system: [time_command(job)]}
    arguments = [job.measure, job.arch, str(job.times), str(job.repetitions)]
    done = run_python(["-m", MODULES[job.system], *arguments])
    taken = json.loads(done.stdout)
    if isinstance(taken, dict):
        return taken
    per_225 = 225 / job.times if job.measure == "updates" else 1
    return {job.system: [seconds * per_225 for seconds in taken]}


def measure_days() -> dict[str, list[float]]:
    """Seconds of an epoch and bytes of a snapshot, early and late in a training of many epochs.

    Seconds are medians of a hundred epochs, of a network that is as good as none: what is left is
    what surrounds it. Bytes are of the default network, on little data.
    """
    few = ["train_simple_sequence.py", "--repeat", "1", "-b", "2", "-l", "5"]
    few += ["--snapshot-every", "1000000"]
    taken: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        run_python([*few, "-u", "3", "-e", str(MANY + 50), "-o", folder])
        times = [entry["elapsed_time"] for entry in json.loads(Path(folder, "log").read_text())]
        for epoch in (EARLY, MANY):
            some = times[epoch - 50 : epoch + 50]
            seconds = [after - before for before, after in itertools.pairwise(some)]
            taken[f"epoch {epoch:,}"] = [median(seconds)]
    for n_epochs in (FEW, MANY):
        with tempfile.TemporaryDirectory() as folder:
            run_python([*few, "-e", str(n_epochs), "-o", folder])
            (snapshot,) = Path(folder).glob("snapshot_iter_*")
            taken[f"bytes after {n_epochs:,}"] = [snapshot.stat().st_size]
    return taken


def time_command(job: Job) -> float:
    """Seconds of a whole command, from the start of its process to the end.

    Chainer imports SciPy where it finds it, and takes twice as long to be imported. It is here for
    JAX only; who trains with requirements.txt has none, so it is hidden from every command.
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "scipy.py").write_text("raise ImportError")
        arguments = [*COMMANDS[job.system], "-a", job.arch, "-o", os.path.join(folder, "result")]
        start = time.perf_counter()
        run_python(arguments, PYTHONPATH=folder)
        return time.perf_counter() - start


def run_python(arguments: Sequence[str], **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Run to the end with these variables in the environment; errors of what fails are shown."""
    environment = {**os.environ, **variables}
    return subprocess.run(
        [PYTHON, *arguments], cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True
    )


def run_rounds(jobs: Sequence[Job], n_rounds: int) -> Iterator[Round]:
    """Take all jobs, round by round, every other round in reverse.

    Yields:
        dict: for each round, by ``"measure arch"``, a dict of lists of numbers by system.
    """
    for k in range(n_rounds):
        taken: Round = {}
        for number, job in enumerate(jobs[:: -1 if k % 2 else 1], start=1):
            name = f"{job.measure} {job.arch}"
            place = f"round {k + 1} of {n_rounds}, {number} of {len(jobs)}"
            print(f"{place}: {name}, {job.system}", file=sys.stderr)
            taken.setdefault(name, {}).update(run_job(job))
        yield taken


def describe_machine() -> Results:
    """What the ratios depend on, by name."""
    names = ("numpy", "chainer", "torch", "jax")
    versions = {"Python": platform.python_version()}
    for name in names:
        if importlib.util.find_spec(name):
            versions[name] = importlib.metadata.version(name)
    return {"processor": processor(), "system": platform.system(), "versions": versions}


def processor() -> str:
    """Name of the processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--quick",
        action="store_true",
        help="225 updates only, fewer of them and without JAX: under a minute, not ten to twenty",
    )
    parser.add_argument("--json", metavar="PATH", type=Path, help="write what was measured")
    parser.add_argument("--chart", metavar="PATH", type=Path, help="draw a bar chart, a PNG")
    args = parser.parse_args()

    for path in filter(None, (args.json, args.chart)):
        path.parent.mkdir(parents=True, exist_ok=True)

    os.environ.update(ONE_THREAD)
    if hasattr(os, "sched_setaffinity"):
        # All processes started here inherit it.
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    absent = {peer for peer, module in NEEDS.items() if not importlib.util.find_spec(module)}
    jobs = [job for job in plan(args.quick) if job.system not in absent]
    rounds: list[Round] = []
    try:
        rounds.extend(run_rounds(jobs, QUICK_ROUNDS if args.quick else ROUNDS))
    except subprocess.CalledProcessError as error:
        print(f"{error.cmd} failed with code {error.returncode}", file=sys.stderr)
        if not rounds:
            sys.exit(1)
    results = {**describe_machine(), "rounds": rounds}

    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    print(f"{results['processor']}, one thread; {versions}; {len(rounds)} rounds")
    for peer in sorted(absent):
        print(f"Left out, because {NEEDS[peer]} is not installed: {peer}")
    print(f"\n{format_table(results)}")
    print(format_memory(results))
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))
    if args.chart:
        draw(results, args.chart)


if __name__ == "__main__":
    main()
