"""What the machine has, with stand-ins for what no one machine has."""

import platform
import subprocess
import sys
import types

import pytest
from chainer.backends import cuda

from support import devices
from support.command_line import UsageError
from support.devices import check_gpu, check_memory
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


class TestCores:
    """With stand-ins for the files that Linux shows, and for eight cores."""

    @pytest.fixture(autouse=True)
    def eight_cores(self, monkeypatch):
        affinity = set(range(8))
        monkeypatch.setattr(devices.os, "sched_getaffinity", lambda pid: affinity, raising=False)

    @staticmethod
    def cgroup(root, folder, **files):
        path = root / "sys" / "fs" / "cgroup" / folder
        path.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (path / name.replace("_", ".", 1)).write_text(f"{text}\n")
        (root / "proc" / "self").mkdir(parents=True, exist_ok=True)
        (root / "proc" / "self" / "cgroup").write_text("5:cpu,cpuacct:/a/b\n0::/a/b\n")
        return devices.cores(str(root))

    @pytest.mark.parametrize(
        "limit, expected",
        [
            ("max 100000", 8),
            ("200000 100000", 2),
            ("350000 100000", 3),
            ("50000 100000", 1),
            ("25000 50000", 1),
            ("1600000 100000", 8),
        ],
    )
    def test_are_those_of_the_quota(self, tmp_path, limit, expected):
        assert self.cgroup(tmp_path, "a/b", cpu_max=limit) == expected

    def test_quota_of_those_above_counts(self, tmp_path):
        self.cgroup(tmp_path, "a/b", cpu_max="600000 100000")
        assert self.cgroup(tmp_path, "a", cpu_max="400000 100000") == 4

    @pytest.mark.parametrize("quota, expected", [(-1, 8), (200000, 2)])
    def test_are_those_of_the_quota_of_version_1(self, tmp_path, quota, expected):
        files = {"cpu_cfs_quota_us": quota, "cpu_cfs_period_us": 100000}
        assert self.cgroup(tmp_path, "cpu,cpuacct/a/b", **files) == expected

    def test_are_all_without_such_files(self, tmp_path):
        assert devices.cores(str(tmp_path)) == 8


class TestCheckMemory:
    """With stand-ins for the files that Linux shows."""

    @staticmethod
    def cgroup(root, path, version, limit, usage, of_files=0):
        """Files of a cgroup of version 1 or 2."""
        names = {
            1: ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
            2: ("", "memory.max", "memory.current", ""),
        }
        controller, limit_name, usage_name, prefix = names[version]
        folder = root / "sys" / "fs" / "cgroup" / controller / path
        folder.mkdir(parents=True, exist_ok=True)
        (folder / limit_name).write_text(f"{limit}\n")
        (folder / usage_name).write_text(f"{usage}\n")
        (folder / "memory.stat").write_text(
            f"anon 7\n{prefix}active_file {of_files}\n{prefix}inactive_file {2 * of_files}\n"
        )

    @staticmethod
    def left(root, *lines):
        """What a process is left that is in these cgroups."""
        (root / "proc" / "self").mkdir(parents=True)
        (root / "proc" / "self" / "cgroup").write_text("".join(f"{line}\n" for line in lines))
        return devices._container_memory(str(root))

    V1 = "9:name=systemd:/", "4:memory:/a/b", "0::/"
    V2 = ("0::/a/b",)

    @pytest.mark.parametrize("version, lines", [(1, V1), (2, V2)])
    def test_of_a_limit_what_is_in_use_is_gone(self, tmp_path, version, lines):
        self.cgroup(tmp_path, "a/b", version, 1000, 600)
        assert self.left(tmp_path, *lines) == 400

    @pytest.mark.parametrize("version, lines", [(1, V1), (2, V2)])
    def test_what_files_occupy_is_given_back(self, tmp_path, version, lines):
        self.cgroup(tmp_path, "a/b", version, 1000, 600, of_files=100)
        assert self.left(tmp_path, *lines) == 700

    @pytest.mark.parametrize("version, lines", [(1, V1), (2, V2)])
    def test_limits_of_those_above_count(self, tmp_path, version, lines):
        self.cgroup(tmp_path, "a/b", version, 1000, 100)
        self.cgroup(tmp_path, "a", version, 800, 200)
        assert self.left(tmp_path, *lines) == 600

    @pytest.mark.parametrize("version, lines", [(1, V1), (2, V2)])
    def test_a_path_that_the_container_does_not_see_is_its_root(self, tmp_path, version, lines):
        self.cgroup(tmp_path, "", version, 1000, 100)
        assert self.left(tmp_path, *lines) == 900

    def test_more_than_the_limit_in_use_leaves_nothing(self, tmp_path):
        self.cgroup(tmp_path, "a/b", 2, 1000, 1100)
        assert self.left(tmp_path, *self.V2) == 0

    def test_without_a_limit_there_is_no_end(self, tmp_path):
        self.cgroup(tmp_path, "a/b", 2, "max", 100)
        assert self.left(tmp_path, *self.V2) > 2**60

    def test_without_such_files_there_is_no_end(self, tmp_path):
        assert devices._container_memory(str(tmp_path)) > 2**60

    def test_says_whose_limit_it_is(self, monkeypatch):
        monkeypatch.setattr(devices, "_physical_memory", lambda: 64 * 2**30)
        monkeypatch.setattr(devices, "_container_memory", lambda: 150 * 2**20)
        check_memory(150 * 2**20, "--unit 1")
        with pytest.raises(UsageError) as refusal:
            check_memory(250 * 2**20, "--unit 1000")
        assert str(refusal.value) == (
            "arguments --unit 1000 need about 250 MiB of memory, "
            "and this container's limit leaves 150 MiB"
        )
        monkeypatch.setattr(devices, "_container_memory", lambda: 2**62)
        with pytest.raises(UsageError, match=r"need about 65 GiB .* this machine has 64 GiB"):
            check_memory(65 * 2**30, "--unit 1000000")


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
        assert f"{number} is not a CUDA device of this machine; choose from 0 to 1, or -1" in str(
            refusal.value
        )
