"""What the machine has: cores, memory, CUDA devices; and how memory is given back to it."""

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
# Limit, usage, and what names in memory.stat begin with; of cgroups version 2, then of version 1.
_CGROUP_FILES = (
    ("memory.max", "memory.current", ""),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
)


def cores(root: str = "/") -> int:
    """Number of processor cores that this process may use, those of its container at most.

    Args:
        root (str): where ``proc`` and ``sys`` are.
    """
    if hasattr(os, "sched_getaffinity"):
        number = len(os.sched_getaffinity(0))
    else:
        number = os.cpu_count() or 1
    return max(1, math.floor(min([number, *map(_quota, _cgroups("cpu", root))])))


def _quota(folder: str) -> float:
    """Cores' worth of time that a cgroup may use: of each period, so many microseconds."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        with contextlib.suppress(OSError, ValueError):  # no such cgroup, or "max" for a limit
            quota, period = map(int, " ".join(_read(folder, name) for name in names).split())
            if quota > 0:
                return quota / period
    return math.inf


def check_memory(n_bytes: int, given: str, gpu: int = -1) -> None:
    """Raise UsageError if there is less memory than the options ``given`` need.

    Of a machine all of its memory counts. Of a container (a cgroup of Linux) and of a GPU what is
    not in use counts: in a container the system ends a process that takes more, without a word.

    Args:
        n_bytes (int): that they need.
        given (str): the options and their values.
        gpu (int): CUDA device that they need it on, negative for the machine's own memory.
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
    """Bytes as a person reads them."""
    if n_bytes < 10 * 2**30:
        return f"{n_bytes / 2**20:,.0f} MiB"
    return f"{n_bytes / 2**30:,.0f} GiB"


def _free_memory(gpu: int) -> int:
    """Bytes that no process has taken of a device's memory."""
    import cupy

    with cupy.cuda.Device(gpu):
        return cupy.cuda.runtime.memGetInfo()[0]


def _physical_memory() -> int:
    """Bytes; without a way to ask, more than any machine has."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return _ENDLESS


def _container_memory(root: str = "/") -> int:
    """Bytes that the limits of this process's cgroup, and of those it is in, leave.

    Args:
        root (str): where ``proc`` and ``sys`` are.

    Returns:
        int: where there is no limit, more than any machine has.
    """
    return min(map(_left_in_cgroup, _cgroups("memory", root)), default=_ENDLESS)


def _cgroups(controller: str, root: str) -> Iterator[str]:
    """Folders of this process's cgroup and of those it is in, of version 2 or of a controller."""
    with contextlib.suppress(OSError), open(os.path.join(root, "proc/self/cgroup")) as file:
        for line in file:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            if not controllers or controller in controllers.split(","):
                folder = os.path.join(root, "sys/fs/cgroup", controllers)
                # Of a path that the container does not see, the last one left is the container.
                parts = path.split("/")
                for n_parts in range(len(parts), 0, -1):
                    yield folder + "/".join(parts[:n_parts])


def _left_in_cgroup(folder: str) -> int:
    """The same of one cgroup alone. What files occupy is given back when it is needed."""
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
    """Make sure that the CUDA device of this number can be used.

    Raises:
        UsageError: if something is missing for it.
    """
    lack = missing_for_gpu(number)
    if lack:
        raise UsageError(f"argument -g/--gpu: {number} {lack}, or -1 for the CPU")


def missing_for_gpu(number: int) -> str | None:
    """What the CUDA device of this number lacks, and how to get it: CuPy, driver, device, library.

    Returns:
        str or None: the predicate of a sentence about the device; None if it can be used.
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
        return f"is no CUDA device of this machine; {choice}"
    import chainer_compat

    from chainer.backends import cuda

    try:
        cuda.check_cuda_available()
    except RuntimeError as error:
        reason = str(error).rpartition("#installation).")[2]
        return f"needs CUDA's libraries, which CuPy does not find ({reason}): {install}"
    return None


def keep_freed_memory() -> None:
    """Teach glibc's ``malloc`` not to hand the arrays of a window back to the system.

    Arrays above 128 KiB are mapped afresh each time they are made, and their pages filled with
    zeros, until one of them is freed: then ``malloc`` keeps whatever is no larger. Making and
    freeing a large array once, which touches none of its pages, spares an evaluation a third of
    its time. Other allocators are not affected.
    """
    np.empty(_LARGE, np.uint8)
