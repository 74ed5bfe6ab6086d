"""Run ours beside its peers and print the table of ratios.

Every measurement is a process of its own, under one of three conditions: kept to one core and one
thread; as a user runs it, with all cores and each system's own choice of threads; and so on a busy
machine, where other processes keep every core busy. A round takes each measurement once, so that
whatever else the machine does falls on all alike; a ratio is formed within a round, and the table
shows the median over the rounds, the least and the most.
"""

import argparse
import contextlib
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
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.chart import draw
from benchmarks.table import BUSY, FREE, PINNED, Results, Round, format_memory, format_table
from support.devices import cores
from support.threads import VARIABLES

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
    "gru": ("PyTorch", "step by step"),  # updates only
}
FREE_SYSTEMS = {
    "rnn": ("ours", "JAX", "PyTorch"),
    "lstm": ("ours", "JAX", "PyTorch"),
    "gru": ("ours", "PyTorch"),
}
ROUNDS = 3
QUICK_ROUNDS = 2
FEW, EARLY, MANY = 10, 100, 10_000  # epochs
ONE, ALL = "one thread", "all cores"
# Kernels are what each library chooses for the processor, whatever this machine's owner prefers.
KERNELS = (
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
    "NPY_DISABLE_CPU_FEATURES",
    "MKL_ENABLE_INSTRUCTIONS",
    "ONEDNN_MAX_CPU_ISA",
    "ATEN_CPU_CAPABILITY",
)
LONGEST_BUSY = 600  # seconds
# Ends by itself where its parent, which its argument names, has been killed.
SPIN = f"""
import os, sys, time
end = time.monotonic() + {LONGEST_BUSY}
while os.getppid() == int(sys.argv[1]) and time.monotonic() < end:
    for _ in range(100_000): pass
"""


class Job(NamedTuple):
    """One measurement by one system: so many ``times`` the work, so many ``repetitions``.

    Of a job that is not pinned ``threads`` may be ``ONE`` or ``ALL``; empty, the system chooses.
    """

    measure: str
    arch: str
    system: str
    times: int = 1
    repetitions: int = 1
    condition: str = PINNED
    threads: str = ""

    @property
    def name(self) -> str:
        """What its numbers are kept under, those of others that are compared with them, too."""
        condition = "" if self.condition == PINNED else f", {self.condition}"
        return f"{self.measure}{condition} {self.arch}"

    @property
    def who(self) -> str:
        """The system, and its threads where they are not its own choice."""
        return f"{self.system}, {self.threads}" if self.threads else self.system

    @property
    def n_threads(self) -> int | None:
        """Number of threads that it is told, None for its own choice."""
        one = self.condition == PINNED or self.threads == ONE
        return 1 if one else cores() if self.threads == ALL else None


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
    for arch in ("rnn", "rnn2", "rnn3", "lstm"):
        peers = PEERS[arch]
        jobs.append(Job("evaluations", arch, "ours", 10, 5))
        jobs.append(Job("evaluations", arch, "step by step", 10))
        jobs += [Job("command", arch, s) for s in ("ours", *peers) if s in COMMANDS]
    jobs += [Job("language_model", "lstm", system, 2, 4) for system in ("ours", "PyTorch")]
    jobs.append(Job("growth", "rnn", "ours", 225, 5))
    jobs.append(Job("memory", "rnn", "ours", 300))
    jobs.append(Job("days", "rnn", "ours"))
    jobs += [Job("language_model", "lstm", s, 2, 4, FREE) for s in ("ours", "PyTorch")]
    for condition in (FREE, BUSY):
        for arch, systems in FREE_SYSTEMS.items():
            for system in systems:
                # Where cores are busy, an update of PyTorch's takes up to seconds.
                times = 5 if (system, condition) == ("PyTorch", BUSY) else 225
                jobs.append(Job("updates", arch, system, times, 2, condition))
        for measure, arch, count in (("command", "rnn", 1), ("large", "gru", 3)):
            job = Job(measure, arch, "ours", count, count, condition)
            jobs += [job, job._replace(threads=ONE)]
            if condition == FREE:
                jobs.append(job._replace(threads=ALL))
            if measure == "large" or condition == FREE:  # a busy command of PyTorch's takes minutes
                jobs.append(job._replace(system="PyTorch"))
    return jobs


def run_job(job: Job) -> dict[str, list[float]]:
    """Numbers taken, a list by the name of what they were taken of."""
    with conditions(job):
        if job.measure == "days":
            return measure_days()
        if job.measure == "command":
            return {job.who: [time_command(job)]}
        arguments = [job.measure, job.arch, str(job.times), str(job.repetitions)]
        done = run_python(["-m", MODULES[job.system], *arguments], environment(job.n_threads))
    taken = json.loads(done.stdout)
    if isinstance(taken, dict):
        return taken
    per_225 = 225 / job.times if job.measure == "updates" else 1
    return {job.who: [seconds * per_225 for seconds in taken]}


def environment(n_threads: int | None = None) -> dict[str, str]:
    """Of a process that computes on so many threads, None for its own choice."""
    ours = {name: text for name, text in os.environ.items() if name not in (*KERNELS, *VARIABLES)}
    return ours if n_threads is None else {**ours, **dict.fromkeys(VARIABLES, str(n_threads))}


@contextlib.contextmanager
def conditions(job: Job) -> Iterator[None]:
    """Within, processes that are started have the job's cores, and its company."""
    with contextlib.ExitStack() as stack:
        if job.condition == BUSY:
            stack.enter_context(spinning(cores()))
        if job.condition == PINNED and hasattr(os, "sched_setaffinity"):
            # All processes started here inherit it.
            allowed = os.sched_getaffinity(0)
            stack.callback(os.sched_setaffinity, 0, allowed)
            os.sched_setaffinity(0, {max(allowed)})
        yield


@contextlib.contextmanager
def spinning(number: int) -> Iterator[None]:
    """Within, so many processes compute without a pause; they never outlive it."""
    with contextlib.ExitStack() as stack:
        for _ in range(number):
            process = subprocess.Popen([PYTHON, "-S", "-c", SPIN, str(os.getpid())])
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield


def measure_days() -> dict[str, list[float]]:
    """Seconds of an epoch and bytes of a snapshot, early and late in a training of many epochs.

    Seconds are medians of a hundred epochs, of a network that is as good as none: what is left is
    what surrounds it. Bytes are of the default network, on little data.
    """
    few = ["train_simple_sequence.py", "--repeat", "1", "-b", "2", "-l", "5"]
    few += ["--snapshot-every", "1000000"]
    one_thread = environment(1)
    taken: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        run_python([*few, "-u", "3", "-e", str(MANY + 50), "-o", folder], one_thread)
        times = [entry["elapsed_time"] for entry in json.loads(Path(folder, "log").read_text())]
        for epoch in (EARLY, MANY):
            some = times[epoch - 50 : epoch + 50]
            seconds = [after - before for before, after in itertools.pairwise(some)]
            taken[f"epoch {epoch:,}"] = [median(seconds)]
    for n_epochs in (FEW, MANY):
        with tempfile.TemporaryDirectory() as folder:
            run_python([*few, "-e", str(n_epochs), "-o", folder], one_thread)
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
        told = job.n_threads
        if job.threads:
            arguments += ["--threads", str(told)]
            told = None
        variables = {**environment(told), "PYTHONPATH": folder}
        start = time.perf_counter()
        run_python(arguments, variables)
        return time.perf_counter() - start


def run_python(
    arguments: Sequence[str], variables: Mapping[str, str]
) -> subprocess.CompletedProcess[bytes]:
    """Run to the end in this environment; errors of what fails are shown."""
    return subprocess.run(
        [PYTHON, *arguments], cwd=ROOT, env=variables, stdout=subprocess.PIPE, check=True
    )


def arithmetic_of(system: str, condition: str) -> str:
    """What multiplies beneath a system, as a process of its own finds it."""
    job = Job("arithmetic", "rnn", system, condition=condition)
    with conditions(job):
        arguments = [job.measure, job.arch, "1", "1"]
        done = run_python(["-m", MODULES[system], *arguments], environment(job.n_threads))
    return json.loads(done.stdout)


def run_rounds(jobs: Sequence[Job], n_rounds: int) -> Iterator[Round]:
    """Take all jobs, round by round, every other round in reverse.

    Yields:
        dict: for each round, by ``"measure arch"``, a dict of lists of numbers by system.
    """
    for k in range(n_rounds):
        taken: Round = {}
        for number, job in enumerate(jobs[:: -1 if k % 2 else 1], start=1):
            place = f"round {k + 1} of {n_rounds}, {number} of {len(jobs)}"
            print(f"{place}: {job.name}, {job.who}", file=sys.stderr)
            taken.setdefault(job.name, {}).update(run_job(job))
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
        help="225 updates only, fewer of them and without JAX: two minutes, not forty",
    )
    parser.add_argument("--json", metavar="PATH", type=Path, help="write what was measured")
    parser.add_argument("--chart", metavar="PATH", type=Path, help="draw a bar chart, a PNG")
    args = parser.parse_args()

    for path in filter(None, (args.json, args.chart)):
        path.parent.mkdir(parents=True, exist_ok=True)

    absent = {peer for peer, module in NEEDS.items() if not importlib.util.find_spec(module)}
    jobs = [job for job in plan(args.quick) if job.system not in absent]
    rounds: list[Round] = []
    beneath: dict[str, dict[str, str]] = {}
    try:
        for condition in dict.fromkeys(job.condition for job in jobs if job.condition != BUSY):
            systems = dict.fromkeys(job.system for job in jobs)
            beneath[condition] = {s: arithmetic_of(s, condition) for s in systems}
        rounds.extend(run_rounds(jobs, QUICK_ROUNDS if args.quick else ROUNDS))
    except subprocess.CalledProcessError as error:
        print(f"{error.cmd} failed with code {error.returncode}", file=sys.stderr)
        if not rounds:
            sys.exit(1)
    results = {**describe_machine(), "arithmetic": beneath, "rounds": rounds}

    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    print(f"{results['processor']}, {cores()} cores; {versions}; {len(rounds)} rounds")
    for condition, said in beneath.items():
        for system, text in said.items():
            print(f"{condition}: {system}: {text}")
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
