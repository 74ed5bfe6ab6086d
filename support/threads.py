"""The arithmetic beneath NumPy: what its last digits depend on, and on how many threads it runs.

OpenBLAS and its like add up the terms of a product in an order that depends on the library, on the
kernel that it has for this processor, and on the number of threads.
"""

import os

import chainer_compat

import numpy as np
import threadpoolctl

from support.devices import cores

# Each names a number of threads for one of the libraries, or for several.
_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
)


def arithmetic() -> dict[str, str | int]:
    """What numbers depend on in their last digits, by name; as much of it as can be found out."""
    found: dict[str, str | int] = {"NumPy": np.__version__}
    libraries = [each for each in threadpoolctl.threadpool_info() if each["user_api"] == "blas"]
    if libraries:
        blas = min(libraries, key=lambda library: "numpy" not in library["filepath"])
        found["BLAS"] = f"{blas['internal_api']} {blas['version']}"
        found["BLAS kernel"] = blas.get("architecture", "unknown")
        found["BLAS threads"] = blas["num_threads"]
    return found


def use_threads(number: int) -> None:
    """Let BLAS compute on so many threads from now on."""
    threadpoolctl.threadpool_limits(number, user_api="blas")


def use_threads_as_before(number: object) -> None:
    """Let BLAS compute on as many threads as a training did, if that is for us to choose.

    It is not where the user's environment names a number, nor where there are fewer cores.

    Args:
        number: what a snapshot says, be it a number or not.
    """
    chosen = any(name in os.environ for name in _VARIABLES)
    if isinstance(number, int) and 1 <= number <= cores() and not chosen:
        use_threads(number)
