"""Every attribute of CuPy that our code, and Chainer's below it, name exists in the CuPy installed.

What is below it is found by running the commands on ``strict_array``. The names are read from the
source: ``xp.dot``, ``cuda.cupy.add.at``, and methods of arrays. No GPU is needed, nor the libraries
of CUDA; without CuPy the check itself is skipped.
"""

import ast
import functools
import pathlib
import re
import sys

import chainer
import numpy as np
import pytest
import strict_array

import predict_simple_sequence
import train_simple_sequence
from tests.commands import ROOT

CHAINER = pathlib.Path(chainer.__file__).resolve().parent
# Of arrays; in Chainer, to_device is one of links and variables.
METHODS = {*dir(np.ndarray), *dir(strict_array.ndarray)} - {"to_device"}


class _Reader(ast.NodeVisitor):
    """Collects (line, name) of what is CuPy's in a syntax tree; ``ndarray.sum`` for a method.

    What runs with NumPy only, or with cuDNN, which Chainer goes without, is left out.
    """

    def __init__(self):
        self.uses = set()
        self._in_try = False

    def visit_If(self, node):
        test = ast.unparse(node.test)
        on_cupy = re.search(r"xp is (\w+\.)*cupy$", test)
        elsewhere = re.search(r"xp is (numpy|np|chainerx)$|cudnn", test)
        for part in [*([] if elsewhere else node.body), *([] if on_cupy else node.orelse)]:
            self.visit(part)

    def visit_Attribute(self, node):
        text = ast.unparse(node)
        if path := re.fullmatch(r"(?:\w+\.)*?(?:cupy|_?xp)\.([\w.]+)", text):
            self._add(node, path[1])
            return
        is_numpys = re.match(r"(np|numpy)\.", text) or node.attr.startswith("__")
        if node.attr in METHODS and not is_numpys:
            self._add(node, f"ndarray.{node.attr}")
        self.generic_visit(node)

    def visit_Try(self, node):
        before, self._in_try = self._in_try, True
        self.generic_visit(node)
        self._in_try = before

    def visit_ImportFrom(self, node):
        module, *inner = (node.module or "").split(".")
        if node.level == 0 and module == "cupy" and not self._in_try:  # in a try it may be missing
            for alias in node.names:
                self._add(node, ".".join([*inner, alias.name]))

    def _add(self, node, name):
        if "cudnn" not in name:
            self.uses.add((node.lineno, name))


def uses(source):
    reader = _Reader()
    reader.visit(ast.parse(source))
    return reader.uses


def is_missing(name, cupy):
    try:
        functools.reduce(getattr, name.split("."), cupy)
    except AttributeError:
        return True
    return False


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Our files, and those of Chainer in which any function ran in training and predicting."""
    ran = set()

    def profile(frame, event, argument):
        if event == "call":
            ran.add(frame.f_code.co_filename)

    out = tmp_path_factory.mktemp("lstm")
    options = "-alstm -u2 -b2 -l9 --n-vocab=4 --repeat=6 --gradclip=1"
    train = ["-g0", *options.split(), f"-o{out}"]
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
    folders = [
        ROOT,
        *(
            ROOT / name
            for name in ("models", "models/recurrences", "training", "extensions", "counting")
        ),
    ]
    ours = [path for folder in folders for path in folder.glob("*.py")]
    others = [pathlib.Path(name).resolve() for name in ran]  # an environment may be a link
    chainers = [path for path in others if CHAINER in path.parents]
    return {path: uses(path.read_text()) for path in sorted([*ours, *chainers])}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("xp.dot(a, b, out=c)", {"dot"}),
        ("chainer.cuda.cupy.cuda.runtime.getDeviceCount()", {"cuda.runtime.getDeviceCount"}),
        ("from cupy.cuda import Device", {"cuda.Device"}),
        ("x.reshape(-1).swapaxes(0, 1)", {"ndarray.reshape", "ndarray.swapaxes"}),
        ("xp.zeros(3)[0].get()", {"zeros", "ndarray.get"}),
        ("if xp is numpy:\n xp.a()\nelse:\n xp.b()", {"b"}),
        ("if xp is cuda.cupy:\n xp.a()\nelse:\n xp.b()", {"a"}),
        ("numpy.dot(a, b).frobnicate()", set()),
        ("if cuda.cudnn_enabled:\n cupy.frobnicate()", set()),
        ("try:\n from cupy.no import such\nexcept E:\n pass", set()),
    ],
)
def test_names_are_found_in_a_source(source, expected):
    assert {name for _, name in uses(source)} == expected


def test_sources_are_ours_and_chainers(sources):
    names = {name for found in sources.values() for _, name in found}
    assert {"add.reduce", "dot", "ElementwiseKernel", "ndarray.astype"} <= names
    assert CHAINER / "optimizer_hooks" / "gradient_clipping.py" in sources
    assert {
        CHAINER / "optimizers" / "adam.py",
        ROOT / "models" / "recurrences" / "elman.py",
    } <= set(sources)


def test_cupy_has_every_name_in_the_sources(sources):
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    assert is_missing("no_such_function", cupy) and is_missing("ndarray.resize", cupy)
    missing = [
        f"{path}:{line}: {name}"
        for path, found in sources.items()
        for line, name in sorted(found)
        if is_missing(name, cupy)
    ]
    assert not missing, "\n".join(missing)
