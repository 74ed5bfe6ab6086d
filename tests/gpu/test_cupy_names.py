"""Every attribute of CuPy that our code, and Chainer's below it, name exists in the CuPy installed.

What is below it is found by running the commands on ``strict_array``. The names are read from the
source: ``xp.dot``, ``cuda.cupy.add.at``, the methods of arrays, and the names of their arguments.
No GPU is needed, nor the libraries of CUDA; without CuPy the check is skipped.
"""

import ast
import inspect
import pathlib
import re
import sys
from typing import NamedTuple

import chainer_compat

import chainer
import numpy as np
import pytest
import strict_array
from chainer.backends import cuda

import predict_simple_sequence
import train_simple_sequence

ROOT = pathlib.Path(train_simple_sequence.__file__).resolve().parent
CHAINER = pathlib.Path(chainer.__file__).resolve().parent
MODULES = {"cupy", "xp", "_xp"}
NUMPY = {"np", "numpy"}
NO_METHODS = {"to_device"}  # of arrays; in Chainer, of links and variables
# Arguments that tell a method of an array from one of the same name, say of a list.
ARGUMENTS = {"axis", "casting", "copy", "dtype", "keepdims", "kind", "order", "out", "subok"}


class Use(NamedTuple):
    """A name of CuPy in some source."""

    line: int
    name: str  # "ndarray.sum" for a method
    arguments: frozenset  # those given by name


class _Reader(ast.NodeVisitor):
    """Collects the uses of CuPy in a syntax tree, but not those that run with NumPy or cuDNN."""

    def __init__(self):
        self.uses = set()
        self._in_try = False

    def visit_If(self, node):
        test = ast.unparse(node.test)
        on_cupy = re.search(r"xp is (\w+\.)*cupy$", test)
        elsewhere = re.search(r"xp is (numpy|np|chainerx)$|cudnn", test)
        for part in [] if elsewhere else node.body:
            self.visit(part)
        for part in [] if on_cupy else node.orelse:
            self.visit(part)

    def visit_Call(self, node):
        self._note(node.func, frozenset(word.arg for word in node.keywords if word.arg))
        self.generic_visit(node)

    def visit_Attribute(self, node):
        self._note(node)
        self.generic_visit(node)

    def visit_Try(self, node):
        before, self._in_try = self._in_try, True
        self.generic_visit(node)
        self._in_try = before

    def visit_ImportFrom(self, node):
        # What is imported in a try may be missing.
        if node.level == 0 and node.module.split(".")[0] == "cupy" and not self._in_try:
            for alias in node.names:
                self._add(node, f"{node.module}.{alias.name}".partition(".")[2])

    def _note(self, node, arguments=frozenset()):
        path = []  # names with a dot before them, from the right
        while isinstance(node, ast.Attribute):
            path.insert(0, node)
            node = node.value
        names = [part.attr for part in path]
        root = node.id if isinstance(node, ast.Name) else None
        for place, name in reversed(list(enumerate([root, *names[:-1]]))):
            if name in MODULES:
                self._add(path[0], ".".join(names[place:]), arguments)
                return
        is_method = path and root not in NUMPY and hasattr(np.ndarray, names[-1])
        if is_method and names[-1] not in NO_METHODS and not names[-1].startswith("__"):
            self._add(path[-1], f"ndarray.{names[-1]}", arguments & ARGUMENTS)

    def _add(self, node, name, arguments=frozenset()):
        if "cudnn" not in name:  # Chainer goes without
            self.uses.add(Use(node.lineno, name, arguments))


def uses(source):
    reader = _Reader()
    reader.visit(ast.parse(source))
    return reader.uses


def complaints(use, cupy):
    """What the module ``cupy`` lacks of a use, one line each."""
    value = cupy
    for name in use.name.split("."):
        if not hasattr(value, name):
            return [f"no {use.name}"]
        value = getattr(value, name)
    accepted = _accepted_arguments(value)
    return [f"{use.name} takes no {name}" for name in use.arguments if not accepted(name)]


def _accepted_arguments(function):
    """Whether a function takes an argument of a name."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        # Compiled functions tell of their arguments in the first line of their documentation.
        first = (function.__doc__ or "").partition("\n")[0]
        return re.findall(r"(\w+)\s*[=,)]", first).__contains__
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return lambda name: takes_any or name in parameters


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Our files, and those of Chainer in which any function ran in training and predicting."""
    ran = set()

    def profile(frame, event, argument):
        if event == "call":
            ran.add(frame.f_code.co_filename)

    out = tmp_path_factory.mktemp("lstm")
    train = ["-g0", "-alstm", f"-o{out}", "-u6", "-b4", "--n-vocab=6", "--repeat=6", "--gradclip=1"]
    with pytest.MonkeyPatch.context() as patch:
        strict_array.install(patch)
        before = sys.getprofile()
        sys.setprofile(profile)
        try:
            train_simple_sequence.main([*train, "-e1"])
            train_simple_sequence.main([*train, "-e2", "-rauto"])
            predict_simple_sequence.main(["-g0", f"-m{out}/lstm_simple_sequence.model", "-l5"])
        finally:
            sys.setprofile(before)
    paths = [pathlib.Path(path) for path in ran]
    ours = [
        path for folder in (".", "models", "extensions") for path in (ROOT / folder).glob("*.py")
    ]
    return sorted({*ours, *(path for path in paths if CHAINER in path.parents)})


class TestReading:
    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("xp.dot(a, b, out=c)", {"dot"}),
            ("cuda.cupy.add.at(a, i, b)", {"add.at"}),
            ("self.xp.empty(0)", {"empty"}),
            (
                "chainer.backends.cuda.cupy.cuda.runtime.getDeviceCount()",
                {"cuda.runtime.getDeviceCount"},
            ),
            ("from cupy.cuda import Device", {"cuda.Device"}),
            ("x.reshape(-1).swapaxes(0, 1)", {"ndarray.reshape", "ndarray.swapaxes"}),
            ("xp.zeros(3)[0].copy()", {"zeros", "ndarray.copy"}),
            ("xp.isnan(x).any()", {"isnan", "ndarray.any"}),
            ("try:\n xp.a()\nexcept E:\n xp.b()", {"a", "b"}),
            ("if xp is numpy:\n xp.a()\nelse:\n xp.b()", {"b"}),
            ("if xp is cuda.cupy:\n xp.a()\nelse:\n xp.b()", {"a"}),
        ],
    )
    def test_finds(self, source, expected):
        assert expected <= {use.name for use in uses(source)}

    @pytest.mark.parametrize(
        "source",
        [
            "numpy.dot(a, b)",
            "np.ndarray.resize(a, b)",
            "x.frobnicate()",
            "model.to_device(device)",
            "if cuda.cudnn_enabled:\n cupy.frobnicate()",
            "cuda.cupy.cudnn.frobnicate()",
            "try:\n from cupy.no import such\nexcept E:\n from cupy.no import such",
        ],
    )
    def test_leaves_out(self, source):
        assert not uses(source)


@pytest.fixture(scope="module")
def cupy():
    return pytest.importorskip("cupy")


class TestCuPy:
    def test_has_every_name_in_the_sources(self, sources, cupy):
        missing = [
            f"{path}:{use.line}: {complaint}"
            for path in sources
            for use in uses(path.read_text())
            for complaint in complaints(use, cupy)
        ]
        assert not missing, "\n".join(sorted(missing))

    @pytest.mark.parametrize(
        "source",
        [
            "xp.no_such_function(x)",
            "cuda.cupy.add.no_such_method(x)",
            "xp.dot(a, b, no_such_argument=1)",
            "x.resize(3)",
            "x.sum(order=1)",
        ],
    )
    def test_lacks_what_is_invented(self, source, cupy):
        assert any(complaints(use, cupy) for use in uses(source))

    def test_is_found_by_chainer_or_lacks_only_the_libraries_of_cuda(self, cupy):
        assert cuda.available or "libcublas" in str(cuda._resolution_error)


class TestSources:
    def test_are_ours_and_chainers(self, sources):
        expected = {
            ROOT / "models" / "recurrence.py",
            ROOT / "bptt_updater.py",
            CHAINER / "functions" / "loss" / "softmax_cross_entropy.py",
            CHAINER / "optimizers" / "adam.py",
        }
        assert expected <= set(sources)

    def test_name_what_they_are_known_to_use(self, sources):
        names = {use.name for path in sources for use in uses(path.read_text())}
        expected = {"add.at", "ascontiguousarray", "dot", "ElementwiseKernel", "ndarray.astype"}
        assert expected <= names
