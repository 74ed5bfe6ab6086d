"""Data-parallel training by the processes of one MPI job, with ChainerMN.

Each process reads a share of the batch's streams, keeps their recurrent states, and takes the same
step on the mean of all gradients. This is all that the training has to know of it: what a process
shares with the others, and how they end together. Nothing here computes, trains or writes.
"""

import contextlib
import functools
import io
import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import chainer_compat

import numpy as np
from numpy.typing import NDArray

from support.command_line import UsageError, run_command
from support.devices import check_gpu, cores

if TYPE_CHECKING:
    from mpi4py import MPI

_T = TypeVar("_T")

_SECONDS_TO_FAIL = 5  # within which processes that all fail for the same reason do so


class Alone:
    """The process of an ordinary training: what it shares with others, it shares with itself.

    Attributes:
        rank, size (int): number of this process, from 0, and of processes. Rank 0 alone prints and
            writes.
        weight (float): of this process's mean over its streams in the mean over the processes.
    """

    rank = 0
    size = 1
    weight = 1.0

    def gpu(self, first: int) -> int:
        """Number of this process's CUDA device, if ``first`` is that of rank 0."""
        return first

    def streams(self, batch_size: int) -> range:
        """Numbers of the streams that this process reads, of so many."""
        return range(batch_size)

    def set_up(self, optimizer: Any, model: Any) -> Any:
        """Set up the optimizer with the model; return the one to train with."""
        return optimizer.setup(model)

    def once(self, work: Callable[[], _T]) -> _T:
        """What ``work()`` returns or raises on rank 0, which alone calls it, in all processes."""
        return work()

    def gather(self, value: _T) -> list[_T]:
        """The value of every process, by rank, in all of them."""
        return [value]

    def own(self, states: NDArray) -> NDArray:
        """The rows of this process's streams, from those of all."""
        return states

    def average(self, means: list[float]) -> list[float]:
        """Means over the batch from each process's means over its streams."""
        return means

    def any_signal(self, number: int | None) -> int | None:
        """A signal's number in all processes, if one has arrived at any."""
        return number

    def command(self, command: str) -> str:
        """The command line that starts as many processes."""
        return command


class Together(Alone):
    """One of the processes of an MPI job, which train as one would.

    All of them have to call each of the methods, in the same order.

    Args:
        communicator (str or None): ChainerMN's, ``naive`` or ``pure_nccl``; None chooses.
        batch_size (int): number of streams of all processes together.
        gpu (int): CUDA device of the first process on a machine, negative for the CPU. The others
            there take the devices that follow.

    Raises:
        UsageError: if that is not possible here.
    """

    def __init__(self, communicator: str | None, batch_size: int, gpu: int) -> None:
        name = communicator or ("naive" if gpu < 0 else "pure_nccl")
        if name == "pure_nccl" and gpu < 0:
            raise UsageError(
                "argument --communicator: pure_nccl is for GPUs; choose -g 0, or naive on the CPU"
            )
        world = _world()
        # Here, because it initialises MPI.
        import chainermn

        try:
            self._comm = chainermn.create_communicator(name, world)
        except RuntimeError as error:
            raise UsageError(
                f"argument --communicator: {name} does not work here: {error}"
            ) from error
        self.rank = self._comm.rank
        self.size = self._comm.size
        started = max(int(os.environ.get(name, 1)) for name in ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE"))
        if started > self.size:
            raise UsageError(
                f"argument --distributed: mpiexec has started {started} processes, of which "
                f"mpi4py's MPI finds {self.size}; choose the mpiexec that belongs to it"
            )
        if batch_size < self.size:
            raise UsageError(
                f"argument -b/--batchsize: {batch_size} streams are too few for {self.size} "
                f"processes; choose at least {self.size}, or start fewer processes"
            )
        self._own = self.streams(batch_size)
        self.weight = len(self._own) * self.size / batch_size

    def gpu(self, first: int) -> int:
        """Number of this process's CUDA device, if ``first`` is that of a machine's first process.

        Negative for the CPU.

        Raises:
            UsageError: if there is no such device.
        """
        if first < 0:
            return first
        number = first + self._comm.intra_rank
        check_gpu(number)
        return number

    def streams(self, batch_size: int) -> range:
        """Numbers of the streams that this process reads, of so many.

        Raises:
            UsageError: if there is not one for each process.
        """
        if batch_size < self.size:
            raise UsageError(
                f"argument --distributed: {batch_size} tokens to validate with are too few for "
                f"{self.size} processes; start at most {batch_size}"
            )
        first, after = [rank * batch_size // self.size for rank in (self.rank, self.rank + 1)]
        return range(first, after)

    def set_up(self, optimizer: Any, model: Any) -> Any:
        """ChainerMN's optimizer, which takes the mean of the processes' gradients beforehand."""
        from chainermn import create_multi_node_optimizer

        for link in model.links():
            if hasattr(link, "first_stream"):
                link.first_stream = self._own.start
        optimizer = create_multi_node_optimizer(optimizer, self._comm).setup(model)
        # All start from the parameters of rank 0. The optimizer would do this in place of the
        # first update; once asked whether the parameters are others, it takes them as known.
        self._comm.bcast_data(model)
        optimizer.is_changed(model)
        return optimizer

    def once(self, work: Callable[[], _T]) -> _T:
        """What ``work()`` returns or raises on rank 0, which alone calls it, in all processes."""
        outcome: Any = None
        if self.rank == 0:
            try:
                outcome = work(), None
            except Exception as error:
                outcome = None, error
        result, failure = self._comm.bcast_obj(outcome)
        if failure is not None:
            raise failure
        return result

    def gather(self, value: _T) -> list[_T]:
        """The value of every process, by rank, in all of them."""
        return self._comm.mpi_comm.allgather(value)

    def own(self, states: NDArray) -> NDArray:
        """The rows of this process's streams, from those of all."""
        return states[self._own.start : self._own.stop]

    def average(self, means: list[float]) -> list[float]:
        """Means over the batch from each process's means over its streams."""
        share = np.array(means, np.float64) * (self.weight / self.size)
        total = np.empty_like(share)
        self._comm.mpi_comm.Allreduce(share, total)
        return total.tolist()

    def any_signal(self, number: int | None) -> int | None:
        """A signal's number in all processes, if one has arrived at any."""
        from mpi4py import MPI

        highest = np.array(number or 0)
        self._comm.mpi_comm.Allreduce(MPI.IN_PLACE, highest, MPI.MAX)
        return int(highest) or None

    def command(self, command: str) -> str:
        """The command line that starts as many processes."""
        return f"mpiexec -n {self.size} {command}"


@functools.cache
def _world() -> "MPI.Intracomm":
    """An MPI communicator of all processes, for the training alone.

    Raises:
        UsageError: if there is no MPI.
    """
    if int(os.environ.get("MPI_LOCALNRANKS", 1)) > cores():
        # MPICH waits by looking again and again, which keeps the process waited for from running.
        os.environ.setdefault("MPIR_CVAR_ENABLE_HEAVY_YIELD", "1")
        os.environ.setdefault("MPIR_CVAR_POLLS_BEFORE_YIELD", "10")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of another MPI's mpiexec, which is refused
            from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise UsageError(
            f"argument --distributed: needs mpi4py and an MPI ({error}): "
            "pip install -r requirements/mpi.txt"
        ) from error
    return MPI.COMM_WORLD.Dup()


@functools.cache
def leave() -> "MPI.Request":
    """Tell the other processes that this one will not meet them any more, well or badly.

    Returns:
        mpi4py.MPI.Request: complete as soon as none will.
    """
    from mpi4py import MPI

    return MPI.COMM_WORLD.Ibarrier()


def run_distributed(main: Callable[[list[str]], int]) -> int:
    """As ``support.command_line.run_command``, in every process of an MPI job.

    Rank 0 alone is heard, unless another process fails alone. One that fails while the others go
    on would leave them waiting for it forever: it ends the job, so that ``mpiexec`` returns.

    Returns:
        int: the exit code of this process.
    """
    try:
        rank = _world().rank
    except UsageError:
        return run_command(main)
    stderr, held_back = sys.stderr, io.StringIO()
    if rank:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - as long as we run
        sys.stderr = held_back
    try:
        code = run_command(main)
    except SystemExit as exit:  # of argparse, its line written
        code = int(exit.code or 0)
    all_left = leave()
    deadline = time.monotonic() + _SECONDS_TO_FAIL
    while not all_left.test()[0]:
        if code in (1, 2) and time.monotonic() > deadline:
            if rank:
                stderr.write(f"process {rank} of {_world().size}: {held_back.getvalue()}")
            _abort(code)
        time.sleep(0.01)  # while rank 0 draws, say, a core is better used than by waiting for it
    return code


def _abort(code: int) -> None:
    """End all processes of the job."""
    from mpi4py import MPI

    with contextlib.suppress(OSError):
        sys.stdout.flush()
    MPI.COMM_WORLD.Abort(code)
