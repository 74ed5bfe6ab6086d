"""Kernels that are given as C, on the arrays of ``strict_array``: that C is what runs.

It is put into Python and called for each element. Declarations, assignments, ``if`` with ``else``
and expressions are understood, the rest is a SyntaxError. What is assigned is converted as C would;
as in CuPy no array is converted on its way into a kernel. No kernel may write into memory that
another of its arguments is in: on a device that is a race.
"""

import ast
import math
import re

import numpy as np
from strict_array import empty, inside, ndarray

_ASSIGNMENT = re.compile(r"(?:const )?(?:(\w+) )?(\w+)(\[.+?\])? ?([-+*^]?)= ?([^=].*)")
_CHOICE = re.compile(r"(.+?) \? (.+?) : (.+)")


def _divide(a, b):
    whole = all(isinstance(value, int | np.integer) for value in (a, b))
    return a // b if whole else a / b


_SCOPE = {
    "bool": np.bool_,
    "int": np.int32,
    "unsigned": np.uint32,
    "divide_": _divide,
    "exp": np.exp,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
}


class _Division(ast.NodeTransformer):
    """In C, the quotient of whole numbers is one."""

    def visit_BinOp(self, node):
        self.generic_visit(node)
        if not isinstance(node.op, ast.Div):
            return node
        return ast.Call(ast.Name("divide_", ast.Load()), [node.left, node.right], [])


def _expression(text):
    """An expression of C in Python."""
    if choice := _CHOICE.fullmatch(text):
        return "({1} if {0} else {2})".format(*map(_expression, choice.groups()))
    text = re.sub(r"static_cast<(\w+)>", r"\1", text).strip()
    return ast.unparse(_Division().visit(ast.parse(text, mode="eval")))


def _statements(source, types):
    """Statements of C in Python, compiled; ``types`` holds the type of each name."""
    types, lines, depth = dict(types), [], 0
    for part in re.split(r"(?<=[{};])", " ".join(source.split()) + ";"):
        text = part.strip("; ")
        indent = "    " * depth
        if text == "}":
            depth -= 1
        elif condition := re.fullmatch(r"if \((.+)\) {", text):
            lines.append(f"{indent}if {_expression(condition[1])}:")
            depth += 1
        elif text == "else {":
            lines.append(f"{indent}else:")
            depth += 1
        elif assignment := _ASSIGNMENT.fullmatch(text):
            kind, name, index, operation, value = assignment.groups("")
            kind = types.setdefault(name, kind)
            if not kind:
                raise SyntaxError(f"{name} is not declared: {text}")
            before = f"{name}{index} {operation}" if operation else ""
            lines.append(f"{indent}{name}{index} = {kind}({before}({_expression(value)}))")
        elif text:
            raise SyntaxError(f"cannot run this as a kernel: {text}")
    return compile("\n".join(lines), f"<{source}>", "exec")


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
        scope = dict(_SCOPE)
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
        self._code = _statements(operation, self._types)

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
        self._map, self._reduce = _expression(map_expr), _expression(reduce_expr)
        self._post_map = _statements(post_map_expr, self._types)
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
