"""What tests share: where the project is, and running its commands as a user does."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

import chainer_compat
import pytest

from support.devices import missing_for_gpu
from tests.commands import ROOT
from tests.trainings import ENDLESS, SMALL, start, succeed, wait_until

# All that is left of a test, failed or not, is left in the checkout; where nobody may write there,
# in the environment.
KEPT = ROOT if os.access(ROOT, os.W_OK) else pathlib.Path(sys.prefix)
TEMPORARY = KEPT / ".pytest_cache" / "temporary"
TEMPORARY.mkdir(parents=True, exist_ok=True)
os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(KEPT / ".hypothesis")
tempfile.tempdir = os.environ["TMPDIR"] = str(TEMPORARY)
os.environ["MPLCONFIGDIR"] = str(TEMPORARY / "matplotlib")
# Where a container or a chroot has no /sys, the libraries of MPI say so on standard error.
os.environ.update(HWLOC_HIDE_ERRORS="2", UCX_LOG_LEVEL="fatal")

# In the background of a shell SIGINT is ignored, and the commands started here would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


NO_GPU = missing_for_gpu(0)


def pytest_collection_modifyitems(items):
    """Skip the tests marked gpu where there is no GPU."""
    for item in items:
        if NO_GPU and item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason=f"device 0 {NO_GPU}"))


def pytest_terminal_summary(terminalreporter):
    """Say plainly why nothing has run on a GPU."""
    skipped = terminalreporter.stats.get("skipped", ())
    n_skipped = sum(str(NO_GPU) in str(report.longrepr) for report in skipped)
    if n_skipped:
        terminalreporter.line(
            f"{n_skipped} tests have not run, for want of a GPU: device 0 {NO_GPU}"
        )


@pytest.fixture
def run(tmp_path):
    """Run a script of the project in an empty folder: ``run("train_simple_sequence.py", "-e1")``.

    Gives the ``subprocess.CompletedProcess``, with stdout and stderr as text. One thread, because
    tests run beside each other on few cores.
    """

    def run_script(script, *arguments, **options):
        options.setdefault("cwd", tmp_path)
        options.setdefault("timeout", 120)
        return subprocess.run(
            [sys.executable, str(ROOT / script), *map(str, arguments)],
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            check=False,
            **options,
        )

    return run_script


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """Run a command only once; give its lines and the folder ``result`` that it has written."""
    done = {}

    def run(*arguments):
        if arguments not in done:
            folder = tmp_path_factory.mktemp("once")
            done[arguments] = succeed(folder, *arguments), folder / "result"
        return done[arguments]

    return run


@pytest.fixture
def undisturbed(once):
    """The folder of a small run that was not disturbed, with a snapshot of every update."""
    return lambda arch="rnn": once(*SMALL, "-a", arch, "--snapshot-every", "1")[1]


@pytest.fixture
def folder_with(tmp_path, undisturbed):
    """Fill ``result`` with some snapshots of the undisturbed run of ``rnn``."""

    def fill(*iterations, arch="rnn"):
        folder = tmp_path / "result"
        folder.mkdir(exist_ok=True)
        for iteration in iterations:
            shutil.copy(undisturbed(arch) / f"snapshot_iter_{iteration}", folder)
        return folder

    return fill


@pytest.fixture
def endless(tmp_path):
    """Start a run that has logged an epoch and would go on for long; it is ended with the test."""
    processes = []

    def run(*arguments):
        process = start(tmp_path, *ENDLESS, *arguments)
        processes.append(process)
        wait_until((tmp_path / "result" / "log").exists, process)
        return process

    yield run
    for process in processes:
        with process:
            process.kill()
