"""What ChainerMN's processes do on GPUs: of one process, there being no more devices."""

import contextlib
import json
import sys
import types

import numpy as np
import pytest

from support.processes import Processes

try:
    from chainermn import nccl
except ImportError:  # there is no MPI
    nccl = None


@pytest.fixture
def two_processes(strict, monkeypatch):
    """The second of two, with two of three streams; what the first would send is in ``other``."""

    def all_reduce(source, target, size, dtype, operation, stream):
        assert source is target
        target += strict.asarray(np.array(processes.other[:size]))

    communicator = types.SimpleNamespace(
        intra_rank=0,
        batched_copy=True,
        config_scope=contextlib.nullcontext,
        nccl_comm=types.SimpleNamespace(allReduce=all_reduce),
    )
    chainermn = types.ModuleType("chainermn")
    chainermn.create_communicator = lambda name, world: communicator
    chainermn.nccl = types.SimpleNamespace(NCCL_FLOAT64=8, NCCL_SUM=0)
    monkeypatch.setitem(sys.modules, "chainermn", chainermn)
    processes = Processes()
    processes._world = object()
    processes.rank, processes.size = 1, 2
    processes.connect("pure_nccl", batch_size=3, gpu=0)
    return processes


def test_gradients_are_not_copied_by_the_kernel_that_cupy_cannot_compile(two_processes):
    assert two_processes._comm.batched_copy is False


def test_means_over_the_batch_are_taken_on_the_device(two_processes, strict):
    two_processes.other = [4 / 3, 0]
    means = [strict.asarray(np.float32(value)) for value in (1, 0.75)]
    strict.transfers.clear()
    two_processes.average(means, 3)
    assert all(direction == "to device" for direction, _ in strict.transfers)  # of the other's
    assert [float(mean) for mean in means] == [2, 0.5]


@pytest.mark.gpu
@pytest.mark.skipif(nccl is None or not nccl._available, reason="there is no MPI, or no NCCL")
def test_training_equals_that_without_chainermn(run, tmp_path):
    options = "-alstm", "-u6", "-b4", "-l5", "-e2", "--n-vocab=6", "--repeat=6", "-g0"
    logs = []
    for out, more in (("alone", []), ("together", ["--distributed"])):
        result = run("train_simple_sequence.py", *options, *more, f"-o{out}")
        assert (result.returncode, result.stderr) == (0, "")
        logs.append(json.loads((tmp_path / out / "log").read_text()))
    for alone, together in zip(*logs, strict=True):
        del alone["elapsed_time"], together["elapsed_time"]
        assert together == pytest.approx(alone, abs=1e-5)
