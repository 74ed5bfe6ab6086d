"""The processes of a data-parallel training, as one of them sees them.

Each process reads a share of the batch's streams, keeps their recurrent states, and takes the same
step on the mean of all gradients, which ChainerMN computes. One object, ``here``, knows whether
this process is one of several; all other code asks it. Nothing here computes, trains or writes.
"""

import contextlib
import io
import os
import re
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import chainer_compat
import numpy as np
from chainer.backend import get_array_module
from chainer.backends import cuda
from chainer.types import NdArray
from numpy.typing import NDArray

from support.command_line import UsageError, given_flags, run_command, shell_command
from support.devices import check_gpu, cores, processes_here

_T = TypeVar("_T")

_SECONDS_TO_FAIL = 5  # processes that fail for the same reason fail within this time


class Processes:
    """This process and the others of its MPI job; alone, and without MPI, until it joins one.

    A lone process shares only with itself. Several processes must all call the methods in the same
    order, except those that only ask.

    Attributes:
        rank, size (int): number of this process, from 0, and count of processes. Only rank 0 prints
            and writes.
    """

    rank = 0
    size = 1
    _mpi: Any = None  # mpi4py's module MPI
    _world: Any = None  # an MPI communicator of all processes, for the training only
    _comm: Any = None  # ChainerMN's
    _left: Any = None

    def join(self) -> None:
        """Become one of the processes that ``mpiexec`` has started.

        Raises:
            UsageError: if there is no MPI.
        """
        if processes_here() > cores():
            # MPICH polls while it waits, and so keeps the awaited process from running.
            os.environ.setdefault("MPIR_CVAR_ENABLE_HEAVY_YIELD", "1")
            os.environ.setdefault("MPIR_CVAR_POLLS_BEFORE_YIELD", "10")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about another MPI's mpiexec, refused below
                from mpi4py import MPI
        except (ImportError, RuntimeError) as error:
            raise UsageError(
                f"argument --distributed: needs mpi4py and an MPI ({error}): "
                "pip install -r requirements/mpi.txt"
            ) from error
        self._mpi = MPI
        self._world = MPI.COMM_WORLD.Dup()
        self.rank, self.size = self._world.rank, self._world.size
        _unname_shared_memory()

    def connect(self, communicator: str | None, batch_size: int, gpu: int) -> int:
        """Choose how gradients are exchanged, before a training.

        Args:
            communicator (str or None): ChainerMN's, ``naive`` or ``pure_nccl``; None chooses.
            batch_size (int): number of streams of all processes together.
            gpu (int): CUDA device of the first process on a machine, negative for the CPU. The
                others there take the devices that follow.

        Returns:
            int: the CUDA device of this process, negative for the CPU.

        Raises:
            UsageError: if that is not possible here.
        """
        if self._world is None:
            self.join()
        name = communicator or ("naive" if gpu < 0 else "pure_nccl")
        if name == "pure_nccl" and gpu < 0:
            raise UsageError(
                "argument --communicator: pure_nccl is for GPUs; choose -g 0, or naive on the CPU"
            )
        if name == "naive" and gpu >= 0:  # it would hand MPI a pointer into the GPU's memory
            raise UsageError(
                "argument --communicator: naive is for the CPU; choose -g -1, or pure_nccl on GPUs"
            )
        started = max(int(os.environ.get(name, 1)) for name in ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE"))
        if started > self.size:
            raise UsageError(
                f"argument --distributed: mpiexec has started {started} processes, but mpi4py's "
                f"MPI finds {self.size}; choose the mpiexec that belongs to it"
            )
        if batch_size < self.size:
            raise UsageError(
                f"argument -b/--batchsize: {batch_size} streams are too few for {self.size} "
                f"processes; choose at least {self.size}, or start fewer processes"
            )
        import chainermn

        try:
            self._comm = chainermn.create_communicator(name, self._world)
        except RuntimeError as error:
            raise UsageError(
                f"argument --communicator: {name} does not work here: {error}"
            ) from error
        with self._comm.config_scope():
            # Its kernel for that names a type without including the header.
            self._comm.batched_copy = False
        if gpu >= 0:
            gpu += self._comm.intra_rank
            check_gpu(gpu)
        return gpu

    def streams(self, batch_size: int) -> range:
        """Numbers of the streams that this process reads, out of ``batch_size``.

        Raises:
            UsageError: if there are fewer streams than processes.
        """
        if batch_size < self.size:
            raise UsageError(
                f"argument --distributed: {batch_size} tokens to validate with are too few for "
                f"{self.size} processes; start at most {batch_size}"
            )
        first, after = [rank * batch_size // self.size for rank in (self.rank, self.rank + 1)]
        return range(first, after)

    def set_up(self, optimizer: Any, model: Any, batch_size: int) -> Any:
        """Set up the optimizer with the model; return the one to train with.

        With several processes that is ChainerMN's. It first averages their gradients, weighted by
        their numbers of streams. All processes start from the parameters of rank 0.
        """
        if self._comm is None:
            return optimizer.setup(model)
        from chainermn import create_multi_node_optimizer

        own = self.streams(batch_size)
        for link in model.links():
            if hasattr(link, "first_stream"):
                link.first_stream = own.start
        weight = len(own) * self.size / batch_size
        if weight != 1:
            self._comm.multi_node_mean_grad = _weighted(self._comm.multi_node_mean_grad, weight)
        optimizer = create_multi_node_optimizer(optimizer, self._comm).setup(model)
        # The optimizer would send the parameters instead of making the first update. Asking it
        # whether they have changed makes it take them as known.
        self._comm.bcast_data(model)
        optimizer.is_changed(model)
        return optimizer

    def once(self, work: Callable[..., _T], *args: Any) -> _T:
        """Call ``work(*args)`` on rank 0 only; return or raise its outcome on every process."""
        if self._world is None:
            return work(*args)
        outcome: Any = None
        if self.rank == 0:
            try:
                outcome = work(*args), None
            except Exception as error:
                outcome = None, error
        result, failure = self._world.bcast(outcome)
        if failure is not None:
            raise failure
        return result

    def gather(self, value: _T) -> list[_T]:
        """The value of every process, by rank, in all of them."""
        return [value] if self._world is None else self._world.allgather(value)

    def own(self, states: NDArray) -> NDArray:
        """This process's rows out of the rows of all streams."""
        if self._world is None:
            return states
        streams = self.streams(len(states))
        return states[streams.start : streams.stop]

    def average(self, means: list[NdArray], batch_size: int) -> None:
        """Replace this process's means over its streams by the means over the batch.

        Means on a GPU stay there: reading one would wait for all of the GPU's pending work.
        """
        if self._world is None:
            return
        xp = get_array_module(*means)
        total = xp.stack(means).astype(np.float64)
        total *= len(self.streams(batch_size)) / batch_size
        if xp is np:
            self._world.Allreduce(self._mpi.IN_PLACE, total)
        else:
            from chainermn import nccl

            place = total.data.ptr
            arguments = total.size, nccl.NCCL_FLOAT64, nccl.NCCL_SUM, cuda.Stream.null.ptr
            self._comm.nccl_comm.allReduce(place, place, *arguments)
        for mean, value in zip(means, total, strict=True):
            mean[...] = value

    def highest(self, number: int) -> int:
        """The highest of all processes' numbers, such as a signal that reached any of them."""
        return number if self._world is None else self._world.allreduce(number, self._mpi.MAX)

    def command(self, command: str) -> str:
        """The command line that starts the same number of processes."""
        if self._world is None:
            return command
        beside = os.path.join(os.path.dirname(sys.executable), "mpiexec")  # of mpi4py's MPI
        mpiexec = beside if os.path.exists(beside) else "mpiexec"
        return f"{shell_command([mpiexec, '-n', str(self.size)])} {command}"

    def leave(self) -> None:
        """Tell the other processes that this one is done with them, with success or not."""
        if self._world is not None and self._left is None:
            self._left = self._mpi.COMM_WORLD.Ibarrier()

    def all_left(self) -> bool:
        """Whether all processes have left."""
        return self._left.test()[0]

    def abort(self, code: int) -> None:
        """End all processes of the job."""
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        self._mpi.COMM_WORLD.Abort(code)


here = Processes()


def _unname_shared_memory() -> None:
    """Remove the names of the shared memory, so that it goes with the last process.

    MPICH removes its file of 2 MB only at the end, which killed processes do not reach.
    """
    with contextlib.suppress(OSError), open("/proc/self/maps") as file:
        for path in set(re.findall(r"/dev/shm/mpich_\S+", file.read())):
            os.unlink(path)


def _weighted(mean_grad: Callable[..., None], weight: float) -> Callable[..., None]:
    def mean(model: Any, *args: Any, **options: Any) -> None:
        for param in model.params():
            if param.grad is not None:
                param.grad *= param.dtype.type(weight)
        mean_grad(model, *args, **options)

    return mean


def run(main: Callable[[list[str]], int], output_matters: bool = False) -> int:
    """Run a command: alone, or with ``--distributed`` as one of the processes of an MPI job.

    Only rank 0 of several processes prints, unless another one fails alone. One that fails while
    the others go on would leave them waiting forever: it ends the job, so ``mpiexec`` returns.

    Args:
        main, output_matters: see :func:`support.command_line.run_command`.

    Returns:
        int: the exit code of this process.
    """
    if not given_flags(sys.argv[1:]).distributed:
        return run_command(main, output_matters=output_matters)
    try:
        here.join()
    except UsageError:  # the command meets it again, and reports it
        return run_command(main)
    stderr, held_back = sys.stderr, io.StringIO()
    if here.rank:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - as long as we run
        sys.stderr = held_back
    code = run_command(main)
    here.leave()
    deadline = time.monotonic() + _SECONDS_TO_FAIL
    while not here.all_left():
        if code in (1, 2) and time.monotonic() > deadline:
            if here.rank:
                stderr.write(f"process {here.rank} of {here.size}: {held_back.getvalue()}")
                time.sleep(0.5)  # on a busy machine mpiexec else ends before it has passed this on
            here.abort(code)
        time.sleep(0.01)  # leave the core to rank 0, which may still draw
    return code
