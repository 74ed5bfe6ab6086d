"""Make ``import chainer`` work, quietly, on Python 3.10 to 3.15 with NumPy 2.

Chainer 7.8.1 is from 2022. Every module of this project imports this one before ``chainer``;
nothing else here knows how old Chainer is. Each patch below restores one missing thing, says why,
and does nothing where it is not needed.
"""

import os
import sys
import types
import warnings

import numpy


def _skip_environment_check() -> None:
    """Silence Chainer's advice about optional packages.

    ``chainer._environment_check`` looks for outdated iDeep and CuPy packages. It imports
    ``numpy.distutils`` (gone from Python 3.12) and ``pkg_resources`` (gone from setuptools 81, slow
    and deprecated before that), and complains about every CuPy newer than 7.
    """
    name = "chainer._environment_check"
    if "chainer" not in sys.modules and name not in sys.modules:
        module = types.ModuleType(name, "Replaced by chainer_compat.")
        module.check = lambda: None  # type: ignore[attr-defined]
        sys.modules[name] = module


def _restore_sctypes() -> None:
    """Give NumPy 2 back ``numpy.sctypes``, which ``chainer.functions.as_strided`` reads.

    NumPy 2.0 removed the table. Chainer looks up the signed integer and the floating types only.
    """
    if not hasattr(numpy, "sctypes"):
        numpy.sctypes = {  # type: ignore[attr-defined] # noqa: NPY201 - this is what puts it back
            "int": [numpy.int8, numpy.int16, numpy.int32, numpy.int64],
            "float": [numpy.float16, numpy.float32, numpy.float64],
        }


def _leave_out_cudnn() -> None:
    """Compute without cuDNN, unless the user has set ``CHAINER_CUDNN``.

    CuPy 14 has dropped it, and Chainer complains where it is missing. Nothing here gains from it.
    """
    os.environ.setdefault("CHAINER_CUDNN", "0")


def _hide_missing_nccl() -> None:
    """Silence CuPy's warning about NCCL, which few machines have.

    An updater of Chainer's looks for it on import. Training on many GPUs without NCCL fails with a
    message of its own.
    """
    warnings.filterwarnings("ignore", r"\s*nccl library could not be loaded", UserWarning)


_skip_environment_check()
_restore_sctypes()
_leave_out_cudnn()
_hide_missing_nccl()
