"""The arithmetic beneath NumPy: what its last digits depend on, and how many threads it uses.

A BLAS adds up the terms of a product in an order that depends on the library, on its kernel for
this processor, and on the number of threads.
"""

import os

import numpy as np
import threadpoolctl

from support.devices import cores, processes_here

# Each sets the number of threads of one or more of the libraries.
VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
)

# From this many operations in one step's product, two threads pay. On two quiet cores they save a
# seventh of an update at 3.2 million (lstm, 200 units, batch 10), two fifths at 4.2 million (gru,
# 256 units, batch 32). Below that, waiting for a busy core takes far longer than the product.
_WORTH_SHARING = 4_000_000

_asked = False  # whether the user has named a number


def arithmetic() -> dict[str, str | int]:
    """What the last digits of numbers depend on, by name, as far as it can be found out."""
    found: dict[str, str | int] = {"NumPy": np.__version__}
    libraries = [each for each in threadpoolctl.threadpool_info() if each["user_api"] == "blas"]
    if libraries:
        blas = min(libraries, key=lambda library: "numpy" not in library["filepath"])
        found["BLAS"] = f"{blas['internal_api']} {blas['version']}"
        found["BLAS kernel"] = blas.get("architecture", "unknown")
        found["BLAS threads"] = blas["num_threads"]
    return found


def use_threads(number: int) -> None:
    """Let BLAS use this many threads from now on."""
    threadpoolctl.threadpool_limits(number, user_api="blas")


def choose_threads(operations: int, asked: int | None = None) -> None:
    """Let BLAS use one thread, or all cores if a step's products are large.

    A number set in the user's environment stays. Processes that train together on one machine share
    its cores.

    Args:
        operations (int): operations in one step's largest product.
        asked (int or None): the user's number, which overrides all else.
    """
    global _asked
    _asked = asked is not None
    if asked is not None:
        use_threads(asked)
    elif not _named_by_the_environment():
        use_threads(_own_cores() if operations >= _WORTH_SHARING else 1)


def _own_cores() -> int:
    """This process's share of the cores."""
    return max(cores() // processes_here(), 1)


def _named_by_the_environment() -> bool:
    return any(name in os.environ for name in VARIABLES)


def use_threads_as_before(number: object) -> None:
    """Let BLAS use as many threads as a snapshot's training did.

    A number from the user or the environment stays, and the process keeps within its share of the
    cores.

    Args:
        number: what the snapshot says, which may not be a number.
    """
    chosen = _asked or _named_by_the_environment()
    if isinstance(number, int) and 1 <= number <= _own_cores() and not chosen:
        use_threads(number)
