"""An array module that is not NumPy, in CuPy's place, for machines without a GPU.

Its arrays live in NumPy's memory, but behind a wall: TypeError is raised when a NumPy array meets
one of them, in either order, and when NumPy is called with one. Copies between the two sides are
noted in :data:`transfers`. It is stricter than CuPy in that new memory holds no zeros but NaN, and
that a mask as an index, whose size CuPy would have to wait for, is refused.

Only what this project needs is here: what is missing raises AttributeError and can be added.
:func:`install` makes Chainer take this module for CuPy. Kernels are in ``strict_kernels.py``.
"""

import functools
import operator
import sys
import types

import numpy as np
import pytest
from chainer.backends import cuda as chainer_cuda
from chainer.optimizers.adam import AdamRule

#: Copies between host and device, in order: ``("to device", shape)``, ``("to host", by what)``.
transfers = []

# What is NumPy's, but for the wall: of arrays, and of the module.
_ATTRIBUTES = "dtype flags itemsize nbytes ndim shape size strides"
_OPERATORS = "add sub mul truediv and"
_METHODS = (
    "all any argmax astype clip copy dot max mean ravel reshape sum swapaxes transpose "
    "__eq__ __ne__ __lt__ __gt__ __ge__"
)
_FUNCTIONS = (
    "arange ascontiguousarray concatenate dot exp expand_dims full full_like log matmul maximum "
    "isfinite multiply ones_like rollaxis sqrt squeeze stack tanh zeros zeros_like"
)


_MEMORY = 16 * 2**30  # bytes of the device


class OutOfMemoryError(MemoryError):
    """Stands for ``cupy.cuda.memory.OutOfMemoryError``."""

    __module__ = "cupy.cuda.memory"


class Device:
    """Stands for ``cupy.cuda.Device``. There is one."""

    def __init__(self, number=0):
        if number != 0:
            raise ValueError(f"there is no device {number}")
        self.id = number

    def __eq__(self, other):
        return isinstance(other, Device)

    __hash__ = None

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def use(self):
        """There is no other."""


def inside(value):
    """What NumPy is to compute with in place of an argument."""
    if isinstance(value, ndarray):
        return value._inside
    if isinstance(value, list | tuple):
        return type(value)(map(inside, value))
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}: it is not on the device")
    return value


def outside(value):
    """NumPy's result as it is seen from outside."""
    return None if value is None else ndarray(np.asarray(value))


def _on_device(function):
    """NumPy's function for arrays of the device."""

    @functools.wraps(function)
    def call(*arguments, **options):
        options = {name: inside(option) for name, option in options.items()}
        with np.errstate(all="ignore"):
            return outside(function(*map(inside, arguments), **options))

    return call


def _index(value):
    for part in value if isinstance(value, tuple) else (value,):
        if isinstance(part, list) or getattr(part, "dtype", None) == np.bool_:
            raise TypeError(f"no index on the device: {part!r}")
    return inside(value)


class ndarray:
    """Stands for ``cupy.ndarray``."""

    __array_ufunc__ = None  # NumPy's operators leave it to ours, its functions raise TypeError

    def __init__(self, inside):
        self._inside = inside

    def __array__(self, *arguments, **options):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __array_function__(self, function, kinds, arguments, options):
        raise TypeError(f"numpy.{function.__name__} was called with an array of the device")

    T = property(lambda self: ndarray(self._inside.T))
    device = property(lambda self: Device())
    data = property(lambda self: types.SimpleNamespace(ptr=self))

    def __len__(self):
        return len(self._inside)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index):
        return outside(self._inside[_index(index)])

    def __setitem__(self, index, value):
        self._inside[_index(index)] = inside(value)

    def __repr__(self):
        return f"<array of the device {self.shape} {self.dtype}>"

    def get(self, stream=None):
        """A copy, as a NumPy array."""
        return self._to_host("get")

    def _to_host(self, name):
        transfers.append(("to host", name))
        return self._inside.copy()

    def set(self, array, stream=None):
        """Take over the elements of a NumPy array."""
        if type(array) is not np.ndarray or array.dtype != self.dtype:
            raise TypeError("only a NumPy array of the same dtype can be set")
        transfers.append(("to device", array.shape))
        self._inside[...] = array.reshape(self.shape)

    def scatter_add(self, index, values):
        """``self[index] += values``, repeated indices counting as often as they are there."""
        np.add.at(self._inside, _index(index), inside(values))

    def reduced_view(self):
        """The same elements with as few dimensions as possible."""
        return self.reshape(-1) if self.flags.c_contiguous else self


def _add_to_ndarray():
    for name in _ATTRIBUTES.split():
        setattr(ndarray, name, property(operator.attrgetter(f"_inside.{name}")))
    for name in _METHODS.split():
        setattr(ndarray, name, _on_device(getattr(np.ndarray, name)))
    for name in _OPERATORS.split():
        _add_operator(name)
    for kind in (bool, int, float):
        _add_conversion(kind)
    ndarray.__hash__ = None


def _add_operator(name):
    function = _on_device(getattr(operator, f"__{name}__"))
    in_place = _on_device(getattr(operator, f"__i{name}__"))

    def assign(self, other):
        in_place(self, other)
        return self

    setattr(ndarray, f"__{name}__", function)
    setattr(ndarray, f"__r{name}__", lambda self, other: function(other, self))
    setattr(ndarray, f"__i{name}__", assign)


def _add_conversion(kind):
    name = kind.__name__
    setattr(ndarray, f"__{name}__", lambda self: kind(self._to_host(name)))


_add_to_ndarray()

for _name in _FUNCTIONS.split():
    globals()[_name] = _on_device(getattr(np, _name))
add = _on_device(np.add)
add.at = _on_device(np.add.at)
add.reduce = _on_device(np.add.reduce)


def split(array, places, axis=0):
    """An array cut into views; the places are numbers of the host."""
    return [outside(part) for part in np.split(inside(array), places, axis)]


def get_array_module(*arguments):
    """This module if one of its arrays is among the arguments, else NumPy."""
    is_here = any(isinstance(argument, ndarray) for argument in arguments)
    return sys.modules[__name__] if is_here else np


def asarray(values, dtype=None):
    """A copy of a NumPy array, of a number or of a list of numbers; what is here stays as it is."""
    if isinstance(values, ndarray):
        return values if dtype in (None, values.dtype) else values.astype(dtype)
    values = np.array(values, dtype)
    transfers.append(("to device", values.shape))
    return ndarray(values)


def array(values, dtype=None, copy=True):
    """A copy of anything that :func:`asarray` takes."""
    return asarray(values, dtype).copy()


def empty(shape, dtype=np.float64):
    """New memory. Whoever reads it before writing finds out."""
    dtype = np.dtype(dtype)
    if np.prod(shape, dtype=object) * dtype.itemsize > _MEMORY:
        raise OutOfMemoryError("Out of memory allocating that much.")
    return outside(np.full(shape, np.nan if dtype.kind == "f" else 85, dtype))


def empty_like(array):
    """New memory for an array of this shape and dtype, its axes in the same order in memory."""
    new = np.empty_like(inside(array))
    new[...] = empty((), array.dtype)._inside
    return ndarray(new)


cuda = types.SimpleNamespace(
    Device=Device,
    Stream=types.SimpleNamespace(null=types.SimpleNamespace(ptr=0)),
    runtime=types.SimpleNamespace(
        getDeviceCount=lambda: 1,
        memGetInfo=lambda: (_MEMORY, _MEMORY),
        CUDARuntimeError=RuntimeError,
    ),
)


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make Chainer, until the end of the test, take this module for CuPy."""
    from strict_kernels import ElementwiseKernel, RawKernel, ReductionKernel  # they import this

    here = sys.modules[__name__]
    transfers.clear()
    monkeypatch.setitem(sys.modules, "cupy", here)
    for name, value in {
        "available": True,
        "cudnn_enabled": False,
        "_cudnn_disabled_by_user": True,
        "cupy": here,
        "cuda": cuda,
        "ndarray": ndarray,
        "Device": Device,
        "Stream": cuda.Stream,
        "elementwise": functools.cache(ElementwiseKernel),
        "raw": functools.cache(RawKernel),
        "reduce": functools.cache(ReductionKernel),
    }.items():
        monkeypatch.setattr(chainer_cuda, name, value, raising=False)
    # What Chainer has looked up when it was imported, and what it keeps from earlier calls.
    monkeypatch.setattr(chainer_cuda.GpuDevice, "xp", here)
    monkeypatch.setattr(chainer_cuda.GpuDevice, "supported_array_types", (ndarray,))
    monkeypatch.setattr("chainer._array_types", None)
    monkeypatch.setattr(AdamRule, "_kernel", None)
