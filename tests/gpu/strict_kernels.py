"""Kernels that are given as C, on the arrays of ``strict_array``: that C is what runs.

What goes into a kernel is checked as CuPy does, which converts no array. Besides, no kernel may
write into memory that another of its arguments reads or writes: on a device that is a race, unless
both are the same element.
"""

import functools
import math

import numpy as np
from kernel_source import Kernel
from strict_array import empty, inside, ndarray, outside

#: What has run: for each kernel its kind, name, parameters and pieces of C, and for each argument
#: dtype, dimensions and whether it is contiguous, or None for a number.
kernels = set()


class _Kernel:
    """What elementwise kernels and reductions share: parameters, and what they may stand for."""

    def __init__(self, in_params, out_params, name):
        self.in_params, self.out_params, self.name = in_params, out_params, name
        self._inputs = [_Parameter(text) for text in in_params.split(",")]
        self._outputs = [_Parameter(text) for text in out_params.split(",")]
        self._raw = [parameter.name for parameter in self._inputs if parameter.raw]
        if "i" in [parameter.name for parameter in (*self._inputs, *self._outputs)]:
            raise ValueError("Can not use 'i' as a parameter name")

    def _bind(self, arguments):
        """Values by name, and dtypes by letter: CuPy's rules, which never convert an array."""
        parameters = [*self._inputs, *self._outputs][: len(arguments)]
        if len(arguments) not in (len(self._inputs), len(self._inputs) + len(self._outputs)):
            raise TypeError(f"{self.name} was called with {len(arguments)} arguments")
        arrays = [argument for argument in arguments if isinstance(argument, ndarray)]
        kinds = {}
        for parameter, argument in zip(parameters, arguments, strict=True):
            if isinstance(argument, ndarray):
                kind = parameter.dtype or kinds.setdefault(parameter.kind, argument.dtype)
                if kind != argument.dtype:
                    raise TypeError(f"Type is mismatched. {parameter.name} {argument.dtype} {kind}")
            elif parameter in self._outputs or parameter.raw or inside(argument) is None:
                raise TypeError(f"{parameter.name} must be an array of the device")
        for target in arguments[len(self._inputs) :]:
            if sum(np.shares_memory(target._inside, other._inside) for other in arrays) > 1:
                raise ValueError(f"{self.name} writes where another of its arguments is")
        values = {}
        for parameter, argument in zip(parameters, arguments, strict=True):
            dtype = parameter.dtype or kinds[parameter.kind]
            values[parameter.name] = np.asarray(inside(argument)).astype(dtype)
        return values, kinds

    def _shape(self, arguments):
        """What is looped over: the broadcast shape of the inputs that are not indexed."""
        return np.broadcast_shapes(
            *(
                argument.shape
                for parameter, argument in zip(self._inputs, arguments, strict=False)
                if isinstance(argument, ndarray) and not parameter.raw
            )
        )

    def _note(self, arguments, **parts):
        about = tuple(
            (argument.dtype.name, argument.ndim, bool(argument.flags.c_contiguous))
            if isinstance(argument, ndarray)
            else None
            for argument in arguments
        )
        kind = type(self).__name__
        kernels.add((kind, self.name, self.in_params, self.out_params, tuple(parts.items()), about))


class _Parameter:
    """``T x``, ``int32 n`` or ``raw T x`` of a kernel."""

    def __init__(self, text):
        *modifiers, self.kind, self.name = text.split()
        if modifiers not in ([], ["raw"]):
            raise ValueError(f"unknown parameter of a kernel: {text}")
        self.raw = bool(modifiers)
        self.dtype = None if len(self.kind) == 1 else np.dtype(self.kind)


class ElementwiseKernel(_Kernel):
    """Stands for ``cupy.ElementwiseKernel``."""

    def __init__(self, in_params, out_params, operation, name="kernel"):
        super().__init__(in_params, out_params, name)
        self.operation = operation
        self._run = Kernel(operation)

    def __call__(self, *arguments):
        """Run it over the broadcast shape of the arrays; give the outputs."""
        values, kinds = self._bind(arguments)
        given = arguments[len(self._inputs) :]
        shape = np.broadcast_shapes(self._shape(arguments), *(target.shape for target in given))
        if any(target.shape != shape for target in given):
            raise ValueError("Out shape is mismatched")
        targets = given or [
            empty(shape, parameter.dtype or kinds[parameter.kind]) for parameter in self._outputs
        ]
        self._note((*arguments[: len(self._inputs)], *targets), operation=self.operation)
        for parameter, target in zip(self._outputs, targets, strict=True):
            values[parameter.name] = target._inside.copy()
        for name, value in values.items():
            if name not in self._raw:
                values[name] = np.broadcast_to(value, shape)
        values["i"] = np.arange(math.prod(shape)).reshape(shape)
        self._run(values, kinds, self._raw)
        for parameter, target in zip(self._outputs, targets, strict=True):
            target._inside[...] = values[parameter.name]
        return targets[0] if len(targets) == 1 else tuple(targets)


class ReductionKernel(_Kernel):
    """Stands for ``cupy.ReductionKernel`` over all elements."""

    def __init__(
        self, in_params, out_params, map_expr, reduce_expr, post_map_expr, identity, name="kernel"
    ):
        super().__init__(in_params, out_params, name)
        self.parts = {
            "map_expr": map_expr,
            "reduce_expr": reduce_expr,
            "post_map_expr": post_map_expr,
            "identity": identity,
        }
        self._map = Kernel(map_expr, expression=True)
        self._reduce = Kernel(reduce_expr, expression=True)
        self._post_map = Kernel(post_map_expr)

    def __call__(self, *arguments):
        """The reduction, an array without dimensions."""
        values, kinds = self._bind(arguments)
        (out,) = self._outputs
        shape = self._shape(arguments)
        values["_j"] = np.arange(math.prod(shape)).reshape(shape)
        mapped = np.broadcast_to(self._map(dict(values), kinds, self._raw), shape)
        dtype = out.dtype or kinds[out.kind]
        total = functools.reduce(
            lambda a, b: self._reduce({"a": a, "b": b}, kinds),
            mapped.ravel(),
            np.asarray(float(self.parts["identity"]), dtype),
        )
        result = empty((), dtype)
        self._note((*arguments, result), **self.parts)
        values.update({"a": np.asarray(total), out.name: result._inside})
        self._post_map(values, kinds, self._raw)
        return outside(np.asarray(values[out.name]))
