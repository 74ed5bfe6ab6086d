"""Runs the C of CuPy's elementwise and reduction kernels on NumPy arrays.

Only what such kernels are made of is understood: declarations, assignments, ``if`` and ``else``,
and expressions without side effects. Anything else is a ``SyntaxError``, never a guess. A whole
array takes the place of the one element that the C is about.
"""

import re

import numpy as np

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?f?)|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<sign>[-+*/]=|[=!<>]=|&&|\|\||[-+*/%<>=!?:;,(){}\[\]]))"
)
_TYPES = {
    "bool": np.bool_,
    "int": np.int32,
    "int32": np.int32,
    "int64": np.int64,
    "uint32": np.uint32,
    "float": np.float32,
    "float32": np.float32,
    "double": np.float64,
    "float64": np.float64,
}
_FUNCTIONS = {
    "exp": np.exp,
    "log": np.log,
    "max": np.fmax,  # in CUDA as here, the other one where one is NaN
    "min": np.fmin,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
}


def _divide(a, b):
    if all(np.asarray(value).dtype.kind in "biu" for value in (a, b)):
        return np.floor_divide(a, b) if np.all(np.multiply(a, b) >= 0) else _refuse_negative()
    return np.true_divide(a, b)


def _remainder(a, b):
    return np.remainder(a, b) if np.all(np.multiply(a, b) >= 0) else _refuse_negative()


def _refuse_negative():
    raise ValueError("C rounds the quotient of a negative number otherwise than NumPy does")


# By how strongly they bind, the weakest first; those of a row from left to right.
_OPERATORS = [
    {"||": np.logical_or},
    {"&&": np.logical_and},
    {"==": np.equal, "!=": np.not_equal},
    {"<": np.less, ">": np.greater, "<=": np.less_equal, ">=": np.greater_equal},
    {"+": np.add, "-": lambda a, b: _number(a) - _number(b)},
    {"*": np.multiply, "/": _divide, "%": _remainder},
]


def _number(a):
    """In C a truth value counts as 0 or 1; NumPy does not subtract such."""
    return a.astype(np.int32) if getattr(a, "dtype", None) == np.bool_ else a


class Kernel:
    """A piece of C: statements, or one expression.

    Args:
        source (str): the C.
        expression (bool): whether it is an expression.
    """

    def __init__(self, source, expression=False):
        self._tokens = _tokens(source)
        self._next = 0
        self._source = source
        parse = self._expression if expression else self._statements
        self._run = parse()
        if self._peek() is not None:
            self._fail()

    def __call__(self, values, types, raw=()):
        """Run it.

        Args:
            values (dict): NumPy arrays by name; the C's assignments are found here afterwards.
            types (dict): dtype by the name of a type that is a parameter, such as ``T``.
            raw: names of the arrays that are indexed.

        Returns:
            array or None: the value of an expression.
        """
        with np.errstate(all="ignore"):
            return self._run(_Scope(values, {**_TYPES, **types}, raw))

    def _statements(self):
        parts = []
        while self._peek() not in (None, "}"):
            parts.append(self._statement())

        def run(scope):
            for part in parts:
                part(scope)

        return run

    def _statement(self):
        if self._accept(";"):
            return lambda scope: None
        if self._accept("if"):
            return self._if()
        is_constant = self._accept("const")
        name = self._name()
        kind = None
        if is_constant or self._peek() not in ("=", "+=", "-=", "*=", "/="):
            kind, name = name, self._name()
        sign = self._take()
        if sign not in ("=", "+=", "-=", "*=", "/=") or (kind and sign != "="):
            self._fail()
        value = self._expression()
        if self._peek() is not None:  # CuPy puts a semicolon after the last statement
            self._expect(";")
        if kind:
            return lambda scope: scope.declare(kind, name, value(scope))
        if sign == "=":
            return lambda scope: scope.assign(name, value(scope))
        operation = {**_OPERATORS[-1], **_OPERATORS[-2]}[sign[0]]
        return lambda scope: scope.assign(name, operation(scope.read(name), value(scope)))

    def _if(self):
        self._expect("(")
        condition = self._expression()
        self._expect(")")
        then = self._block()
        otherwise = self._block() if self._accept("else") else lambda scope: None

        def run(scope):
            holds = np.asarray(condition(scope), np.bool_)
            scope.where(holds, then)
            scope.where(~holds, otherwise)

        return run

    def _block(self):
        self._expect("{")
        statements = self._statements()
        self._expect("}")
        return statements

    def _expression(self):
        condition = self._binary(0)
        if not self._accept("?"):
            return condition
        then = self._expression()
        self._expect(":")
        otherwise = self._expression()
        return lambda scope: np.where(condition(scope), then(scope), otherwise(scope))

    def _binary(self, level):
        if level == len(_OPERATORS):
            return self._unary()
        left = self._binary(level + 1)
        while self._peek() in _OPERATORS[level]:
            operation = _OPERATORS[level][self._take()]
            left = _apply(operation, left, self._binary(level + 1))
        return left

    def _unary(self):
        if self._accept("-"):
            return _apply(lambda a: 0 - _number(a), self._unary())
        if self._accept("!"):
            return _apply(np.logical_not, self._unary())
        return self._primary()

    def _primary(self):
        if self._accept("("):
            inside = self._expression()
            self._expect(")")
            return inside
        token = self._take() or self._fail()
        if token[0].isdigit() or token[0] == ".":
            number = float(token.rstrip("f")) if re.search(r"[.ef]", token) else int(token)
            return lambda scope: number
        if not token.isidentifier():
            self._fail()
        if token == "static_cast":
            self._expect("<")
            kind = self._name()
            self._expect(">")
            return self._cast(kind)
        if self._peek() == "(":
            return self._call(_FUNCTIONS[token]) if token in _FUNCTIONS else self._cast(token)
        if self._accept("["):
            index = self._expression()
            self._expect("]")
            return lambda scope: scope.item(token, index(scope))
        return lambda scope: scope.read(token)

    def _cast(self, kind):
        return self._call(lambda scope, value: scope.cast(kind, value), with_scope=True)

    def _call(self, function, with_scope=False):
        self._expect("(")
        arguments = [self._expression()]
        while self._accept(","):
            arguments.append(self._expression())
        self._expect(")")
        if with_scope:
            return lambda scope: function(scope, *(argument(scope) for argument in arguments))
        return _apply(function, *arguments)

    def _peek(self):
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _take(self):
        token = self._peek()
        self._next += 1
        return token

    def _accept(self, token):
        found = self._peek() == token
        self._next += found
        return found

    def _expect(self, token):
        if not self._accept(token):
            self._fail()

    def _name(self):
        token = self._take()
        if token is None or not token.isidentifier():
            self._fail()
        return token

    def _fail(self):
        raise SyntaxError(f"cannot run this as a kernel, from {self._peek()!r} on: {self._source}")


def _tokens(source):
    tokens, place = [], 0
    source = source.rstrip()
    while place < len(source):
        match = _TOKEN.match(source, place)
        if match is None:
            raise SyntaxError(f"cannot run this as a kernel: {source[place:]}")
        tokens.append(match[match.lastgroup])
        place = match.end()
    return tokens


def _apply(function, *arguments):
    return lambda scope: function(*(argument(scope) for argument in arguments))


class _Scope:
    """The variables of one run, and where in the arrays the present statement counts."""

    def __init__(self, values, types, raw):
        self._values = values
        self._types = types
        self._raw = raw
        self._mask = None

    def cast(self, kind, value):
        if kind not in self._types:
            raise SyntaxError(f"{kind} is neither a type nor a function that is known here")
        return np.asarray(value).astype(self._types[kind])

    def declare(self, kind, name, value):
        if name in self._values:
            raise SyntaxError(f"{name} is declared twice")
        self._values[name] = self.cast(kind, value)

    def read(self, name):
        if name in self._raw:
            raise SyntaxError(f"{name} is raw, it must be indexed")
        if name not in self._values:
            raise SyntaxError(f"{name} is not declared")
        return self._values[name]

    def assign(self, name, value):
        before = self.read(name)
        if self._mask is not None:
            value = np.where(self._mask, value, before)
        self._values[name] = np.asarray(value).astype(before.dtype)

    def item(self, name, index):
        if name not in self._raw:
            raise SyntaxError(f"{name} is not raw, it cannot be indexed")
        index = np.asarray(index)
        array = self._values[name].reshape(-1)
        if index.dtype.kind not in "iu" or index.min() < 0 or index.max() >= array.size:
            raise IndexError(f"{name} holds {array.size} elements")
        return array[index]

    def where(self, holds, run):
        before = self._mask
        self._mask = holds if before is None else before & holds
        run(self)
        self._mask = before
