"""What the machine has, with stand-ins for what no one machine has."""

import platform
import subprocess
import sys
import types

import chainer_compat

import pytest
from chainer.backends import cuda

from support.command_line import UsageError
from support.devices import check_gpu
from tests.commands import ROOT

# In a fresh interpreter, because malloc never forgets what it has learned.
CODE = """
import resource
import numpy as np
from support.devices import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        arrays = [np.ones(2**18, np.uint8) for _ in range(20)]  # 64 pages each
        del arrays
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
keep_freed_memory()
assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 1024, "it took memory itself"
faults()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another malloc than glibc's")
def test_arrays_made_anew_touch_no_new_pages():
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 100


class TestCheckGpu:
    """With a stand-in for CuPy, because there is one of everything nowhere."""

    @staticmethod
    def install(monkeypatch, count):
        class CUDARuntimeError(RuntimeError):
            pass

        def get_device_count():
            if count is None:
                raise CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")
            return count

        runtime = types.SimpleNamespace(
            getDeviceCount=get_device_count, CUDARuntimeError=CUDARuntimeError
        )
        cupy = types.SimpleNamespace(cuda=types.SimpleNamespace(runtime=runtime))
        monkeypatch.setitem(sys.modules, "cupy", cupy)
        monkeypatch.setattr(cuda, "available", True)
        monkeypatch.setattr(cuda, "_cudnn_disabled_by_user", True, raising=False)

    @pytest.mark.parametrize("number", [0, 1])
    def test_accepts_a_device_that_is_there(self, monkeypatch, number):
        self.install(monkeypatch, 2)
        check_gpu(number)

    def test_says_how_to_get_cupy(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "cupy", None)
        with pytest.raises(UsageError) as refusal:
            check_gpu(0)
        assert "argument -g/--gpu: 0 needs CuPy, which is not installed" in str(refusal.value)
        assert "pip install -r requirements/gpu.txt" in str(refusal.value)

    def test_says_that_there_is_no_driver(self, monkeypatch):
        self.install(monkeypatch, None)
        with pytest.raises(UsageError) as refusal:
            check_gpu(0)
        assert "argument -g/--gpu: 0 needs an NVIDIA GPU and its driver" in str(refusal.value)
        assert "cudaErrorNoDevice" in str(refusal.value)

    def test_says_that_a_library_is_missing(self, monkeypatch):
        self.install(monkeypatch, 1)
        monkeypatch.setattr(cuda, "available", False)
        monkeypatch.setattr(cuda, "_resolution_error", ImportError("libcublas.so.12: no such file"))
        with pytest.raises(UsageError) as refusal:
            check_gpu(0)
        assert "does not find (libcublas.so.12: no such file): " in str(refusal.value)

    def test_offers_no_device_where_there_is_none(self, monkeypatch):
        self.install(monkeypatch, 0)
        with pytest.raises(UsageError) as refusal:
            check_gpu(0)
        assert "to -1" not in str(refusal.value)

    @pytest.mark.parametrize("number", [2, 99])
    def test_says_which_devices_there_are(self, monkeypatch, number):
        self.install(monkeypatch, 2)
        with pytest.raises(UsageError) as refusal:
            check_gpu(number)
        assert f"{number} is no CUDA device of this machine; choose from 0 to 1, or -1 for" in str(
            refusal.value
        )
