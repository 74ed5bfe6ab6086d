"""What the machine has: cores, memory, CUDA devices; and how freed memory is kept."""

import contextlib
import math
import os
import sys
from collections.abc import Iterator

import numpy as np

from support.command_line import UsageError

# glibc's malloc learns from what is freed, up to 32 MiB (see "M_MMAP_THRESHOLD" in mallopt(3)).
_LARGE = 31 * 2**20
_ENDLESS = 2**62  # bytes, more than any machine has
# Files of the limit and the usage, and the prefix in memory.stat: cgroups version 2, then 1.
_CGROUP_FILES = (
    ("memory.max", "memory.current", ""),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
)


def cores(root: str = "/") -> int:
    """Number of processor cores that this process may use, within its container's limit.

    Args:
        root (str): where ``proc`` and ``sys`` are.
    """
    if hasattr(os, "sched_getaffinity"):
        number = len(os.sched_getaffinity(0))
    else:
        number = os.cpu_count() or 1
    return max(1, math.floor(min([number, *map(_quota, _cgroups("cpu", root))])))


def processes_here() -> int:
    """Number of processes that MPI has started on this machine, as MPICH or Open MPI says."""
    names = "MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE"
    return max(int(os.environ.get(name, 1)) for name in names)


def _quota(folder: str) -> float:
    """Number of cores' time that a cgroup may use: its quota over its period."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        with contextlib.suppress(OSError, ValueError):  # no such cgroup, or "max" for a limit
            quota, period = map(int, " ".join(_read(folder, name) for name in names).split())
            if quota > 0:
                return quota / period
    return math.inf


def check_memory(n_bytes: int, given: str, gpu: int = -1) -> None:
    """Raise UsageError if there is less memory than the options ``given`` need.

    On a machine all memory counts. In a container (a Linux cgroup) and on a GPU only free memory
    counts: in a container the system kills a process that takes more, without a message.

    Args:
        n_bytes (int): what they need.
        given (str): the options and their values.
        gpu (int): CUDA device whose memory they need, negative for the machine's own.
    """
    if gpu >= 0:
        available, place = _free_memory(gpu), f"GPU {gpu} has"
    else:
        available, place = _physical_memory(), "this machine has"
        if _container_memory() < available:
            available, place = _container_memory(), "this container's limit leaves"
    if n_bytes > available:
        raise UsageError(
            f"arguments {given} need about {_size(n_bytes)} of memory, "
            f"and {place} {_size(available)}"
        )


def _size(n_bytes: int) -> str:
    """Bytes in readable units."""
    if n_bytes < 10 * 2**30:
        return f"{n_bytes / 2**20:,.0f} MiB"
    return f"{n_bytes / 2**30:,.0f} GiB"


def _free_memory(gpu: int) -> int:
    """Free bytes of a device's memory."""
    import cupy

    with cupy.cuda.Device(gpu):
        return cupy.cuda.runtime.memGetInfo()[0]


def _physical_memory() -> int:
    """Bytes of memory; if the system does not tell, more than any machine has."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return _ENDLESS


def _container_memory(root: str = "/") -> int:
    """Bytes left within the limits of this process's cgroup and of its ancestors.

    Args:
        root (str): where ``proc`` and ``sys`` are.

    Returns:
        int: without a limit, more than any machine has.
    """
    return min(map(_left_in_cgroup, _cgroups("memory", root)), default=_ENDLESS)


def _cgroups(controller: str, root: str) -> Iterator[str]:
    """Folders of this process's cgroup and its ancestors, of version 2 or of a controller."""
    with contextlib.suppress(OSError), open(os.path.join(root, "proc/self/cgroup")) as file:
        for line in file:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            if not controllers or controller in controllers.split(","):
                folder = os.path.join(root, "sys/fs/cgroup", controllers)
                # A container may not see the whole path; the last folder left is its own.
                parts = path.split("/")
                for n_parts in range(len(parts), 0, -1):
                    yield folder + "/".join(parts[:n_parts])


def _left_in_cgroup(folder: str) -> int:
    """Bytes left within one cgroup's limit. The file cache counts as free."""
    for limit, usage, prefix in _CGROUP_FILES:
        try:
            numbers = [int(_read(folder, name)) for name in (limit, usage)]
            statistics = dict(line.split() for line in _read(folder, "memory.stat").splitlines())
        except (OSError, ValueError):  # no such cgroup, or "max" for a limit
            continue
        of_files = sum(int(statistics.get(f"{prefix}{kind}active_file", 0)) for kind in ("", "in"))
        return max(numbers[0] - numbers[1] + of_files, 0)
    return _ENDLESS


def _read(folder: str, name: str) -> str:
    with open(os.path.join(folder, name)) as file:
        return file.read()


def check_gpu(number: int) -> None:
    """Raise UsageError unless the CUDA device of this number can be used."""
    lack = missing_for_gpu(number)
    if lack:
        raise UsageError(f"argument -g/--gpu: {number} {lack}, or -1 for the CPU")


def missing_for_gpu(number: int) -> str | None:
    """What is missing to use a CUDA device (CuPy, driver, device, library), and how to get it.

    Returns:
        str or None: a predicate of the device's number; None if it can be used.
    """
    install = f"{sys.executable} -m pip install -r requirements/gpu.txt"
    try:
        import cupy
    except ImportError:
        return f"needs CuPy, which is not installed: {install}"
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return (
            f"needs an NVIDIA GPU and its driver, and CUDA says {error}; install or update the "
            "driver (www.nvidia.com/drivers)"
        )
    if number >= count:
        choice = f"choose from 0 to {count - 1}" if count else "it has none; choose another machine"
        return f"is not a CUDA device of this machine; {choice}"
    import chainer_compat
    from chainer.backends import cuda

    try:
        cuda.check_cuda_available()
    except RuntimeError as error:
        reason = str(error).rpartition("#installation).")[2]
        return f"needs CUDA's libraries, which CuPy does not find ({reason}): {install}"
    return None


def keep_freed_memory() -> None:
    """Make glibc's ``malloc`` keep the freed arrays of a window instead of returning them.

    It maps each new array above 128 KiB afresh, with zeroed pages, until one is freed. From then on
    it keeps arrays up to that size. Allocating and freeing one large array, without touching its
    pages, saves an evaluation a third of its time. Other allocators are not affected.
    """
    np.empty(_LARGE, np.uint8)
