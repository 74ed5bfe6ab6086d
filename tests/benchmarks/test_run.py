"""What the benchmark runs, under which conditions, and what its table makes of it."""

import os
import subprocess
import sys

import pytest

from benchmarks import run
from benchmarks.table import BUSY, FREE, OR, RATIOS, ratios_by_round

WITHIN = {"growth", "memory", "days"}  # measures that compare parts of one process


@pytest.fixture
def started(monkeypatch):
    """Processes that were started."""
    processes = []
    start = subprocess.Popen
    monkeypatch.setattr(
        run.subprocess, "Popen", lambda *args: processes.append(start(*args)) or processes[-1]
    )
    return processes


def test_each_ratio_has_its_measurements():
    taken = {(job.name, job.who) for job in run.plan(quick=False)}
    for ratio in RATIOS:
        if ratio.measure not in WITHIN:
            for who in (ratio.over, *ratio.under.split(OR)):
                assert (f"{ratio.measure} {ratio.arch}", who) in taken


def test_ratio_to_the_better_of_two():
    rounds = [{"m a": {"x": [6.0], "y": [3.0], "z": [2.0]}}, {"m a": {"x": [6.0], "y": [3.0]}}]
    assert ratios_by_round(rounds, "m", "a", "x", f"y{OR}z") == [3.0]
    assert ratios_by_round(rounds, "m", "a", "x", "y") == [2.0, 2.0]


def test_environment_has_no_choice_of_the_machines_owner(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Nehalem")
    monkeypatch.setenv("OPENBLAS_L2_SIZE", "1024")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("KEPT", "yes")
    free, pinned = run.environment(), run.environment(1)
    assert not {"OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"} & {*free, *pinned}
    assert "OMP_NUM_THREADS" not in free
    assert pinned["OMP_NUM_THREADS"] == pinned["OPENBLAS_NUM_THREADS"] == "1"
    assert free["KEPT"] == pinned["KEPT"] == "yes"


def test_threads_of_a_job():
    job = run.Job("command", "rnn", "ours")
    assert job.n_threads == 1
    assert job._replace(condition=FREE).n_threads is None
    assert job._replace(condition=BUSY, threads=run.ONE).n_threads == 1
    assert job._replace(condition=FREE, threads=run.ALL).n_threads == run.cores()


def test_busy_processes_end_with_what_failed_beside_them(started):
    def fail():
        assert [process.poll() for process in started] == [None] * run.cores()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), run.conditions(run.Job("m", "a", "s", condition=BUSY)):
        fail()
    assert all(process.poll() is not None for process in started)


def test_a_busy_process_does_not_outlive_its_parent():
    spin = f"[sys.executable, '-c', {run.SPIN!r}, str(os.getpid())]"
    parent = f"import os, subprocess, sys; subprocess.Popen({spin})"
    # Waits for the end of all that has the pipe, the grandchild included.
    subprocess.run([sys.executable, "-c", parent], stdout=subprocess.PIPE, check=True, timeout=60)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="cores cannot be chosen here")
def test_only_pinned_jobs_are_kept_to_a_core():
    allowed = os.sched_getaffinity(0)
    with run.conditions(run.Job("m", "a", "s")):
        assert len(os.sched_getaffinity(0)) == 1
    with run.conditions(run.Job("m", "a", "s", condition=FREE)):
        assert os.sched_getaffinity(0) == allowed
    assert os.sched_getaffinity(0) == allowed
