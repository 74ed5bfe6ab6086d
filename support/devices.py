"""What the machine has: cores, memory, CUDA devices; and how memory is given back to it."""

import os
import sys

import numpy as np

from support.command_line import UsageError

# glibc's malloc learns from what is freed, up to 32 MiB (see "M_MMAP_THRESHOLD" in mallopt(3)).
_LARGE = 31 * 2**20


def cores() -> int:
    """Number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_memory(n_bytes: int, given: str, gpu: int = -1) -> None:
    """Raise UsageError if there is less memory than the options ``given`` need.

    Args:
        n_bytes (int): that they need.
        given (str): the options and their values.
        gpu (int): CUDA device that they need it on, negative for the machine's own memory.
    """
    place = "this machine" if gpu < 0 else f"GPU {gpu}"
    available = _physical_memory() if gpu < 0 else _free_memory(gpu)
    if n_bytes > available:
        raise UsageError(
            f"arguments {given} need about {n_bytes / 2**30:,.0f} GiB of memory, "
            f"and {place} has {available / 2**30:,.0f} GiB"
        )


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
        return 2**62


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
