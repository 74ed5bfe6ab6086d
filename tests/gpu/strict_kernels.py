"""Kernels that are given as C, on the arrays of ``strict_array``: that C is what runs.

``strict_c.py`` puts it into Python. As in CuPy no array is converted on its way into an
elementwise kernel or a reduction; a raw kernel, for which CuPy checks nothing, is given what its
parameters say, or refuses. No kernel may write into memory that another of its arguments is in, nor
may two threads of a raw kernel use the same element without a barrier between them, if one of them
writes: on a device these are races.
"""

import itertools
import math
import types

import numpy as np
import strict_c
from strict_array import empty, inside, ndarray


class _Parameter:
    """``T x``, ``int32 n`` or ``raw T x`` of a kernel."""

    def __init__(self, text):
        *modifiers, self.kind, self.name = text.split()
        self.raw = modifiers == ["raw"]
        if self.name in ("i", "n") or (modifiers and not self.raw):
            raise ValueError(f"no parameter of a kernel: {text}")


class _Kernel:
    """What elementwise kernels and reductions share: parameters, and what they may stand for."""

    def __init__(self, in_params, out_params, name):
        self.name = name
        self._inputs = [_Parameter(text) for text in in_params.split(",")]
        self._outputs = [_Parameter(text) for text in out_params.split(",")]
        self._types = {p.name: p.kind for p in (*self._inputs, *self._outputs)}

    def _bind(self, arguments):
        """Pairs of parameter and argument, and what the kernel's C may name beside them."""
        scope = dict(strict_c.SCOPE)
        bound = list(zip([*self._inputs, *self._outputs], arguments, strict=False))
        if len(bound) != len(arguments) or len(bound) < len(self._inputs):
            raise TypeError(f"{self.name} was called with {len(arguments)} arguments")
        for kind in self._types.values():
            if len(kind) > 1:
                scope[kind] = np.dtype(kind).type
        for parameter, argument in bound:
            if isinstance(argument, ndarray):
                kind = scope.setdefault(parameter.kind, argument.dtype.type)
                if kind != argument.dtype:
                    raise TypeError(f"Type is mismatched. {parameter.name} {argument.dtype} {kind}")
                if parameter.raw and not argument.flags.c_contiguous:
                    raise ValueError(f"{parameter.name} is indexed, but not contiguous")
            elif parameter.raw or parameter in self._outputs or not np.isscalar(argument):
                raise TypeError(f"{parameter.name} must be an array of the device")
        return bound, scope

    def _elements(self, bound, scope):
        """For each element its number and the values by name, first their shape."""
        values = {p.name: np.asarray(inside(argument), scope[p.kind]) for p, argument in bound}
        raw = {p.name: values.pop(p.name).reshape(-1) for p, _ in bound if p.raw}
        shape = np.broadcast_shapes(*(value.shape for value in values.values()))
        values = {name: np.broadcast_to(value, shape).reshape(-1) for name, value in values.items()}
        yield shape
        for i in range(math.prod(shape)):
            element = {name: value[i] for name, value in values.items()}
            yield i, {**raw, **element, "i": np.int64(i), "_j": np.int64(i)}


class ElementwiseKernel(_Kernel):
    """Stands for ``cupy.ElementwiseKernel``."""

    def __init__(self, in_params, out_params, operation, name="kernel"):
        super().__init__(in_params, out_params, name)
        self._code = strict_c.statements(operation, self._types)

    def __call__(self, *arguments):
        """Run it over the broadcast shape of the arrays; give the outputs."""
        bound, scope = self._bind(arguments)
        elements = self._elements(bound, scope)
        shape = next(elements)
        targets = arguments[len(self._inputs) :]
        if not targets:
            targets = [empty(shape, scope[parameter.kind]) for parameter in self._outputs]
            bound += zip(self._outputs, targets, strict=True)
            elements = self._elements(bound, scope)
            next(elements)
        arrays = [argument for _, argument in bound if isinstance(argument, ndarray)]
        for parameter, target in zip(self._outputs, targets, strict=True):
            if not parameter.raw and target.shape != shape:
                raise ValueError("Out shape is mismatched")
            if sum(np.shares_memory(target._inside, other._inside) for other in arrays) > 1:
                raise ValueError(f"{self.name} writes where another of its arguments is")
        with np.errstate(all="ignore"):
            for i, values in elements:
                exec(self._code, scope, values)
                for parameter, target in zip(self._outputs, targets, strict=True):
                    if not parameter.raw:
                        target._inside.flat[i] = values[parameter.name]
        return targets[0] if len(targets) == 1 else tuple(targets)


class ReductionKernel(_Kernel):
    """Stands for ``cupy.ReductionKernel`` over all elements."""

    def __init__(self, in_params, out_params, map_expr, reduce_expr, post_map_expr, identity, name):
        super().__init__(in_params, out_params, name)
        self._map, self._reduce = map(strict_c.expression, (map_expr, reduce_expr))
        self._post_map = strict_c.statements(post_map_expr, self._types)
        self._identity = float(identity)

    def __call__(self, *arguments):
        """The reduction, an array without dimensions."""
        bound, scope = self._bind(arguments)
        elements = self._elements(bound, scope)
        next(elements)
        (out,) = self._outputs
        total = scope[out.kind](self._identity)
        for _, values in elements:
            total = eval(self._reduce, scope, {"a": total, "b": eval(self._map, scope, values)})
        values["a"] = total
        exec(self._post_map, scope, values)
        result = empty((), scope[out.kind])
        result._inside[...] = values[out.name]
        return result


class RawKernel:
    """Stands for ``cupy.RawKernel``, whose C may have functions, loops, and barriers."""

    def __init__(self, code, name):
        self.name = name
        self._code, self._parameters = strict_c.functions(code, name)

    def __call__(self, grid, block, arguments, *, shared_mem=0):
        """Run each block, all its threads from one barrier to the next."""
        (n_blocks,), (n_threads,) = grid, block
        if not (0 < n_blocks < 2**31 and 0 < n_threads <= 1024 and shared_mem <= 48 * 2**10):
            raise ValueError(f"{self.name} cannot run with {grid}, {block}, {shared_mem}")
        scope = strict_c.scope_of(self._code)
        turn = _Turn()
        bound = self._bind(arguments, scope, turn)
        for number in range(n_blocks):
            n_elements, rest = divmod(shared_mem, np.dtype(scope["T"]).itemsize)
            assert not rest
            shared = _Pointer(_Memory("shared", empty(n_elements, scope["T"])._inside, turn))
            threads = []
            for thread in range(n_threads):
                coordinates = {
                    "threadIdx": types.SimpleNamespace(x=thread),
                    "blockIdx": types.SimpleNamespace(x=number),
                    "blockDim": types.SimpleNamespace(x=n_threads),
                    "shared_memory": shared,
                }
                own = strict_c.scope_of(self._code, coordinates)
                threads.append(own[self.name](*bound))
            self._run(number, threads, turn)

    def _bind(self, arguments, scope, turn):
        bound, arrays = [], []
        for (kind, name), argument in zip(self._parameters, arguments, strict=True):
            if not kind.endswith("*"):
                if type(argument) is not int or kind != "ptrdiff_t":
                    raise TypeError(f"{name} is {kind}, not {argument!r}")
            elif not isinstance(argument, ndarray) or argument.dtype != scope[kind[:-1]]:
                raise TypeError(f"{name} must be an array of the device, {kind}: {argument!r}")
            elif not argument.flags.c_contiguous:
                raise ValueError(f"{name} is indexed, but not contiguous")
            else:
                arrays.append(argument._inside)
                argument = _Pointer(_Memory(name, argument._inside, turn))
            bound.append(argument)
        for one, other in itertools.combinations(arrays, 2):
            if np.shares_memory(one, other):
                raise ValueError(f"two arguments of {self.name} share memory")
        return bound

    def _run(self, block, threads, turn):
        for phase in itertools.count():
            arrived = set()
            with np.errstate(all="ignore"):
                for number, thread in enumerate(threads):
                    turn.block, turn.phase, turn.thread = block, phase, number
                    arrived.add(next(thread, "the end"))
            if len(arrived) > 1:
                raise RuntimeError(f"not all threads of {self.name} reach the same barrier")
            if arrived == {"the end"}:
                return


class _Turn:
    """Whose turn it is: the block, which barrier was the last, and the thread."""


class _Memory:
    """The elements of an array, and who has used them last."""

    def __init__(self, name, array, turn):
        self.name, self.turn = name, turn
        self.elements = array.reshape(-1)
        self.written, self.read = {}, {}  # place: (block, phase, thread), None for several

    def use(self, place, users, among):
        """Note that the thread whose turn it is uses an element; refuse what is a race.

        Args:
            place (int): of the element.
            users (dict): to be noted among.
            among (list of dict): earlier users that it must not meet.
        """
        if not 0 <= place < len(self.elements):
            raise IndexError(f"{self.name}[{place}] is not among {len(self.elements)}")
        turn = self.turn
        for block, phase, thread in (before[place] for before in among if place in before):
            if block != turn.block or (phase == turn.phase and thread != turn.thread):
                raise RuntimeError(f"{self.name}[{place}] is used by two threads at a time")
        block, phase, thread = users.get(place, (turn.block, turn.phase, turn.thread))
        users[place] = (
            turn.block if block == turn.block else None,
            turn.phase,
            turn.thread if phase != turn.phase or thread == turn.thread else None,
        )


class _Pointer:
    """Into a :class:`_Memory`."""

    def __init__(self, memory, offset=0):
        self.memory, self.offset = memory, offset

    def __add__(self, number):
        return _Pointer(self.memory, self.offset + number)

    def __getitem__(self, index):
        memory, place = self.memory, self.offset + index
        memory.use(place, memory.read, [memory.written])
        return memory.elements[place]

    def __setitem__(self, index, value):
        memory, place = self.memory, self.offset + index
        memory.use(place, memory.written, [memory.written, memory.read])
        memory.elements[place] = value
