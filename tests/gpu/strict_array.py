"""An array module that is not NumPy, in CuPy's place, for machines without a GPU.

Its arrays live in NumPy's memory, but behind a wall. As CuPy does, it raises TypeError when a NumPy
array meets one of its arrays, in either order, and when NumPy is called with one; where CuPy would
copy to the host without being asked (``float``, ``int``, ``bool`` of an array) it does so and notes
it in :data:`transfers`, beside the copies that are asked for. It is stricter than CuPy in that new
memory holds no zeros but NaN, that an index or a kernel that reaches beyond an array raises, that
nothing that CuPy must wait for (``nonzero``, a mask as an index) exists, and that lists are no
arrays. Kernels are in a file of their own, ``strict_kernels.py``.

Only what this project needs is here: what is missing raises AttributeError and can be added.
:func:`install` makes Chainer take this module for CuPy.
"""

import functools
import sys
import types

import numpy as np
from chainer.backends import cuda as chainer_cuda
from chainer.optimizers.adam import AdamRule

#: Copies between the host and this device, in order: pairs of direction and of what was copied.
#: ``("to device", shape)``, or ``("to host", name of what copied it)``.
transfers = []
SCALARS = (bool, int, float, np.generic)  # they are no arrays, and go with any
_OPERATORS = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "truediv": np.true_divide,
    "floordiv": np.floor_divide,
    "mod": np.remainder,
    "pow": np.power,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "lshift": np.left_shift,
    "rshift": np.right_shift,
}
_COMPARISONS = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}


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
    """What NumPy is to compute with, in place of an array of this module or of a number."""
    if isinstance(value, ndarray):
        return value._inside
    if isinstance(value, SCALARS):
        return value
    raise TypeError(f"Unsupported type {type(value)}: it is not on the device")


def outside(value):
    """An array of this module that holds a NumPy array, or a number."""
    return ndarray(np.asarray(value))


def _index(value):
    if isinstance(value, tuple):
        return tuple(_index(part) for part in value)
    if value is None or value is Ellipsis or isinstance(value, slice | int | np.integer):
        return value
    if isinstance(value, ndarray) and value.dtype.kind in "iu":
        if value.size and value._inside.min() < 0:
            raise IndexError("a negative index in an array")
        return value._inside
    raise TypeError(f"no index on the device: {value!r}")


class ufunc:
    """A function that works element by element."""

    def __init__(self, function):
        self._function = function
        self.__name__ = function.__name__

    def __call__(self, *arguments, out=None):
        """The function's value, in ``out`` if that is given."""
        if all(isinstance(argument, SCALARS) for argument in arguments):
            raise TypeError(f"{self.__name__} of numbers alone: use NumPy")
        operands = [inside(argument) for argument in arguments]
        with np.errstate(all="ignore"):
            if out is None:
                return outside(self._function(*operands))
            if not isinstance(out, ndarray):
                raise TypeError("Output arguments type must be cupy.ndarray")
            self._function(*operands, out=out._inside)
        return out

    def at(self, array, indices, values):
        """``array[indices] += values``, repeated indices counting as often as they are there."""
        if self._function is not np.add:
            raise NotImplementedError(f"{self.__name__}.at")
        self._function.at(inside(array), _index(indices), inside(values))

    def reduce(self, array, axis=0, out=None):
        """The sum along an axis."""
        if self._function is not np.add:
            raise NotImplementedError(f"{self.__name__}.reduce")
        result = array.sum(axis=axis)
        if out is None:
            return result
        out[...] = result
        return out


class ndarray:
    """Stands for ``cupy.ndarray``."""

    # NumPy asks for all of these before it does anything with an object.
    __array_priority__ = 100

    def __init__(self, inside):
        self._inside = inside

    def __array__(self, *arguments, **options):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __array_ufunc__(self, function, method, *inputs, **options):
        left = inputs[0]
        if isinstance(left, np.ndarray) and left.ndim == 0 and function in _COMPARISONS.values():
            left = left[()]  # so NumPy asks on behalf of its scalars, where it compares
        if method == "__call__" and isinstance(left, np.generic) and not options:
            return ufunc(function)(left, *inputs[1:])  # a NumPy scalar left of an operator
        raise TypeError(f"numpy.{function.__name__} was called with an array of the device")

    def __array_function__(self, function, kinds, arguments, options):
        raise TypeError(f"numpy.{function.__name__} was called with an array of the device")

    shape = property(lambda self: self._inside.shape)
    dtype = property(lambda self: self._inside.dtype)
    ndim = property(lambda self: self._inside.ndim)
    size = property(lambda self: self._inside.size)
    itemsize = property(lambda self: self._inside.itemsize)
    nbytes = property(lambda self: self._inside.nbytes)
    strides = property(lambda self: self._inside.strides)
    flags = property(lambda self: self._inside.flags)
    T = property(lambda self: ndarray(self._inside.T))
    device = property(lambda self: Device())

    def __len__(self):
        return len(self._inside)

    def __iter__(self):
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index):
        return outside(self._inside[_index(index)])

    def __setitem__(self, index, value):
        self._inside[_index(index)] = inside(value)

    def __bool__(self):
        return bool(self._to_host("bool"))

    def __int__(self):
        return int(self._to_host("int"))

    def __float__(self):
        return float(self._to_host("float"))

    def __repr__(self):
        return f"<array of the device {self.shape} {self.dtype}>"

    def _to_host(self, name):
        transfers.append(("to host", name))
        return self._inside.copy()

    def get(self, stream=None):
        """A copy, as a NumPy array."""
        return self._to_host("get")

    def item(self):
        """The only element, as a number of Python."""
        return self._to_host("item").item()

    def tolist(self):
        """All elements, as lists of Python."""
        return self._to_host("tolist").tolist()

    def set(self, array, stream=None):
        """Take over the elements of a NumPy array."""
        if not isinstance(array, np.ndarray) or (array.shape, array.dtype) != (
            self.shape,
            self.dtype,
        ):
            raise TypeError("only a NumPy array of the same shape and dtype can be set")
        transfers.append(("to device", array.shape))
        self._inside[...] = array

    def scatter_add(self, index, values):
        """``self[index] += values``, repeated indices counting as often as they are there."""
        np.add.at(self._inside, _index(index), inside(values))

    def astype(self, dtype, order="K", casting=None, subok=None, copy=True):
        """Elements of another type; as in CuPy, no more arguments than these."""
        with np.errstate(all="ignore"):
            return outside(self._inside.astype(dtype, order=order, copy=copy))

    def fill(self, value):
        """Set all elements to a number."""
        if not isinstance(value, SCALARS):
            raise TypeError("an array is filled with a number")
        self._inside.fill(value)

    def dot(self, other, out=None):
        """The product of matrices; as in cuBLAS, ``out`` must be contiguous."""
        product = np.dot(inside(self), inside(other))
        if out is None:
            return outside(product)
        if not out.flags.c_contiguous or out.dtype != product.dtype:
            raise ValueError("Output array must be C-contiguous, and of the product's dtype")
        out._inside[...] = product
        return out

    def reduced_view(self):
        """The same elements with as few dimensions as possible."""
        return self.reshape(-1) if self.flags.c_contiguous else self

    def clip(self, low=None, high=None):
        """Elements, none of them below ``low`` or above ``high``."""
        low, high = (bound if bound is None else inside(bound) for bound in (low, high))
        return outside(np.clip(self._inside, low, high))

    def reshape(self, *shape):
        """A view where that is possible."""
        return outside(self._inside.reshape(*shape))

    def ravel(self):
        """A view where that is possible."""
        return outside(self._inside.ravel())

    def copy(self):
        """An array of its own."""
        return outside(self._inside.copy())

    def transpose(self, *axes):
        """A view with the axes in this order."""
        return outside(self._inside.transpose(*axes))

    def view(self, dtype):
        """The same memory, taken for another type."""
        return outside(self._inside.view(dtype))

    def swapaxes(self, first, second):
        """A view with two axes exchanged."""
        return outside(self._inside.swapaxes(first, second))


def _method(name):
    """A reduction with the arguments that CuPy's has too."""

    def method(self, axis=None, **options):
        unknown = set(options) - {"dtype", "keepdims"}
        if unknown:
            raise TypeError(f"{name}() got {unknown}")
        return outside(getattr(self._inside, name)(axis=axis, **options))

    return method


for _name in ("all", "any", "argmax", "max", "mean", "min", "sum"):
    setattr(ndarray, _name, _method(_name))


def _operator(function, reflected=False, in_place=False):
    def operator(self, other):
        if other is None:
            raise TypeError(f"{function.__name__} of an array and None")
        if in_place:
            return function(self, other, out=self)
        return function(other, self) if reflected else function(self, other)

    return operator


for _name, _function in _OPERATORS.items():
    setattr(ndarray, f"__{_name}__", _operator(ufunc(_function)))
    setattr(ndarray, f"__r{_name}__", _operator(ufunc(_function), reflected=True))
    setattr(ndarray, f"__i{_name}__", _operator(ufunc(_function), in_place=True))
for _name, _function in _COMPARISONS.items():
    setattr(ndarray, f"__{_name}__", _operator(ufunc(_function)))
ndarray.__neg__ = lambda self: ufunc(np.negative)(self)
ndarray.__hash__ = None


add = ufunc(np.add)
exp = ufunc(np.exp)
log = ufunc(np.log)
maximum = ufunc(np.maximum)
multiply = ufunc(np.multiply)
sqrt = ufunc(np.sqrt)
tanh = ufunc(np.tanh)


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
    return outside(np.full(shape, np.nan if dtype.kind == "f" else 85, dtype))


def zeros(shape, dtype=np.float64):
    """Zeros."""
    return outside(np.zeros(shape, dtype))


def arange(*bounds, dtype=None):
    """Consecutive numbers."""
    return outside(np.arange(*bounds, dtype=dtype))


def empty_like(array):
    """New memory for an array of this shape and dtype, its axes in the same order in memory."""
    new = np.empty_like(inside(array))
    new[...] = empty((), array.dtype)._inside
    return ndarray(new)


def zeros_like(array):
    """Zeros in this shape and dtype."""
    return zeros(inside(array).shape, array.dtype)


def ones_like(array):
    """Ones in this shape and dtype."""
    return full_like(array, 1)


def full_like(array, value):
    """One number throughout, in this shape and dtype."""
    if not isinstance(value, SCALARS):
        raise TypeError("an array is filled with a number")
    return outside(np.full(inside(array).shape, value, array.dtype))


def ascontiguousarray(array):
    """The array, copied if it is not contiguous."""
    return outside(np.ascontiguousarray(inside(array)))


def copyto(target, source):
    """Copy within the device."""
    np.copyto(inside(target), inside(source))


def dot(a, b, out=None):
    """The product of matrices."""
    return a.dot(b, out)


def matmul(a, b, out=None):
    """Products of many matrices."""
    product = outside(np.matmul(inside(a), inside(b)))
    if out is None:
        return product
    if out.shape != product.shape:
        raise ValueError("Output array has an invalid size")
    out[...] = product
    return out


def concatenate(arrays, axis=0):
    """Arrays joined along an axis."""
    return outside(np.concatenate([inside(array) for array in arrays], axis))


def stack(arrays, axis=0):
    """Arrays joined along a new axis."""
    return outside(np.stack([inside(array) for array in arrays], axis))


def split(array, places, axis=0):
    """An array cut into views."""
    return [outside(part) for part in np.split(inside(array), places, axis)]


def squeeze(array, axis=None):
    """A view without an axis of length 1."""
    return outside(np.squeeze(inside(array), axis))


def expand_dims(array, axis):
    """A view with one more axis."""
    return outside(np.expand_dims(inside(array), axis))


def rollaxis(array, axis, start=0):
    """A view with an axis elsewhere."""
    return outside(np.rollaxis(inside(array), axis, start))


cuda = types.SimpleNamespace(
    Device=Device,
    runtime=types.SimpleNamespace(getDeviceCount=lambda: 1, CUDARuntimeError=RuntimeError),
)


def install(monkeypatch):
    """Make Chainer, until the end of the test, take this module for CuPy."""
    from strict_kernels import ElementwiseKernel, ReductionKernel  # which import this module

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
        "elementwise": functools.cache(ElementwiseKernel),
        "reduce": functools.cache(ReductionKernel),
    }.items():
        monkeypatch.setattr(chainer_cuda, name, value, raising=False)
    # What Chainer has looked up when it was imported, and what it keeps from earlier calls.
    monkeypatch.setattr(chainer_cuda.GpuDevice, "xp", here)
    monkeypatch.setattr(chainer_cuda.GpuDevice, "supported_array_types", (ndarray,))
    monkeypatch.setattr("chainer._array_types", None)
    monkeypatch.setattr(AdamRule, "_kernel", None)
