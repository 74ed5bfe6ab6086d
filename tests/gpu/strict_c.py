"""C as kernels use it, put into Python.

Functions, declarations, assignments, ``if`` with ``else``, ``for``, ``while`` and expressions are
understood, the rest is a SyntaxError. What is assigned is converted as C would.
"""

import ast
import re

import numpy as np

_ASSIGNMENT = re.compile(r"(?:const )?(?:(\w+) )?(\w+)(\[.+?\])? ?([-+*^]?)= ?([^=].*)")
_CHOICE = re.compile(r"(.+?) \? (.+?) : (.+)")
_LOOP = re.compile(r"for \((.+); (.+); (.+)\) {")
_FUNCTION = re.compile(
    r"(?:extern \"C\" __global__ void __launch_bounds__\(\d+\)|__device__ void) (\w+)\((.+)\) {"
)


def _divide(a, b):
    whole = all(isinstance(value, int | np.integer) for value in (a, b))
    return a // b if whole else a / b


SCOPE = {
    "bool": np.bool_,
    "double": np.float64,
    "float": np.float32,
    "int": np.int32,
    "ptrdiff_t": int,
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


def expression(text):
    """An expression of C in Python."""
    if choice := _CHOICE.fullmatch(text):
        return "({1} if {0} else {2})".format(*map(expression, choice.groups()))
    text = re.sub(r"static_cast<(\w+)>", r"\1", text).strip()
    return ast.unparse(_Division().visit(ast.parse(text, mode="eval")))


def _parts(source):
    """Statements, heads of blocks with their ``{``, and ``}``."""
    start = depth = 0
    source = " ".join(source.split()) + ";"
    for place, character in enumerate(source):
        depth += (character == "(") - (character == ")")
        if character in "{};" and depth == 0:
            yield source[start : place + 1].strip("; ")
            start = place + 1


class _Translator:
    def __init__(self, types):
        self.types = dict(types)  # of each name
        self.lines = []
        self.functions = {}  # name: parameters, pairs of type and name
        self.blocks = []  # those that are open: what is done at their end

    def add(self, line):
        self.lines.append("    " * len(self.blocks) + line)

    def open(self, line, at_end="pass"):
        self.add(line)
        self.blocks.append(at_end)

    def translate(self, text):
        if text == "}":
            self.add(self.blocks[-1])
            self.blocks.pop()
        elif loop := _LOOP.fullmatch(text):
            first, condition, step = loop.groups()
            self.add(self.assignment(first))
            step = re.sub(r"(\w+)([-+])\2", r"\1 \2= 1", step)
            self.open(f"while {expression(condition)}:", self.assignment(step))
        elif condition := re.fullmatch(r"(if|while) \((.+)\) {", text):
            self.open(f"{condition[1]} {expression(condition[2])}:")
        elif text == "else {":
            self.open("else:")
        elif function := _FUNCTION.fullmatch(text):
            self.function(*function.groups())
        elif text == "__syncthreads()":
            self.add(f"yield {len(self.lines)}")
        elif kind := re.fullmatch(r"typedef (\w+) T", text):
            self.add(f"T = {kind[1]}")
        elif name := re.fullmatch(r"extern __shared__ T (\w+)\[\]", text):
            self.types[name[1]] = "T"
            self.add(f"{name[1]} = shared_memory")
        elif (call := re.fullmatch(r"(\w+)\(.*\)", text)) and call[1] in self.functions:
            self.add(f"yield from {expression(text)}")
        else:
            self.add(self.assignment(text))

    def assignment(self, text):
        assignment = _ASSIGNMENT.fullmatch(text)
        if not assignment:
            raise SyntaxError(f"cannot run this as a kernel: {text}")
        kind, name, index, operation, value = assignment.groups("")
        kind = self.types.setdefault(name, kind)
        if not kind:
            raise SyntaxError(f"{name} is not declared: {text}")
        before = f"{name}{index} {operation}" if operation else ""
        return f"{name}{index} = {kind}({before}({expression(value)}))"

    def function(self, name, parameters):
        pairs = [parameter.removeprefix("const ").split() for parameter in parameters.split(", ")]
        self.types = {name: kind.rstrip("*") for kind, name in pairs}
        self.functions[name] = pairs
        self.open(f"def {name}({', '.join(name for _, name in pairs)}):", "yield from ()")


def _translated(source, types):
    translator = _Translator(types)
    for text in filter(None, _parts(source)):
        translator.translate(text)
    code = compile("\n".join(translator.lines), "<kernel>", "exec")
    return code, translator.functions


def statements(source, types):
    """Statements of C in Python, compiled; ``types`` holds the type of each name."""
    return _translated(source, types)[0]


def functions(source, name):
    """Functions of C as generators that stop at barriers, compiled, and parameters of one of them.

    The parameters are pairs of type and name.
    """
    source = re.sub(r"//.*", "", source)
    code, found = _translated(source, {})
    return code, found[name]


def scope_of(code, names=()):
    """What :func:`functions` define, able to see these names."""
    scope = {**SCOPE, **dict(names)}
    exec(code, scope)
    return scope
