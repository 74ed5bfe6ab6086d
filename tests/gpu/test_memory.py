"""What is said where the memory of a GPU is too small."""

import numpy as np
import pytest

from support import devices
from support.command_line import UsageError, run_command
from training.options import parse_arguments


def test_sizes_are_measured_by_the_memory_of_the_device(gpu, monkeypatch):
    monkeypatch.setattr(devices, "_physical_memory", lambda: 2**30)
    parse_arguments("", ["-g0", "-u5000"])  # of which the machine itself could hold a third
    expected = (
        r"arguments --unit 999999 --n-vocab 10 --batchsize 10 --bproplen 20 "
        r"need about \d\d,\d\d\d GiB of memory, and GPU 0 has \d+ GiB"
    )
    with pytest.raises(UsageError, match=expected):
        parse_arguments("", ["-g0", "-u999999"])


def test_the_sequence_is_held_by_the_machine_itself(gpu, monkeypatch):
    monkeypatch.setattr(devices, "_physical_memory", lambda: 2**30)
    with pytest.raises(UsageError, match=r"need about 1,717 MiB .* this machine has 1,024 MiB"):
        parse_arguments("", ["-g0", "--repeat=9999999"])


def test_a_device_that_is_full_is_named(gpu, capsys):
    assert run_command(lambda argv: gpu.xp.empty(2**50, np.float32), []) == 1
    message = capsys.readouterr().err
    assert "error: not enough memory on the GPU for these sizes: Out of memory alloc" in message
    assert message.count("\n") == 1
