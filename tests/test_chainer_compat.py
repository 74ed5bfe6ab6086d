"""Each test runs a fresh interpreter: what an import does can be seen only the first time."""

import ast
import os
import subprocess
import sys

import pytest

from tests.commands import ROOT

PLACES = ("*.py", "counting/*.py", "extensions/*.py", "models/*.py", "simple_sequence/*.py")
MODULES = [
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for place in PLACES
    for file in sorted(ROOT.glob(place))
]
SEEN_BY_CHAINERS_USERS = "chainer.functions, chainer.links, chainer.training.extensions"


def python(code, **environment):
    """Run the code as a user would, in the project's folder; what it printed."""
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=inherited | environment,
        capture_output=True,
        text=True,
    )


def assert_quiet_success(process):
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")


def test_walk_finds_the_modules():
    assert {
        "chainer_compat",
        "bptt_updater",
        "models",
        "models.rnn",
        "extensions.evaluation",
        "simple_sequence.simple_sequence_dataset",
    } <= set(MODULES)


def test_import_of_chainer_prints_nothing():
    assert_quiet_success(python(f"import chainer_compat, chainer, {SEEN_BY_CHAINERS_USERS}"))


def test_import_prints_nothing_where_chainer_must_be_compiled_first(tmp_path):
    environment = {"PYTHONPYCACHEPREFIX": str(tmp_path)}  # an empty folder, so no file is compiled
    assert_quiet_success(python("import chainer_compat, chainer", **environment))


@pytest.mark.parametrize("module", ["pkg_resources", "numpy.distutils"])
def test_import_of_chainer_does_not_import(module):
    code = f"import sys, chainer_compat, {SEEN_BY_CHAINERS_USERS}\n"
    assert_quiet_success(python(code + f"assert {module!r} not in sys.modules"))


@pytest.mark.parametrize("module", ["pkg_resources", "numpy.distutils"])
def test_chainer_can_be_imported_without(module):
    code = f"import sys; sys.modules[{module!r}] = None; import chainer_compat, chainer"
    assert_quiet_success(python(code))


def test_warnings_are_shown_again_after_the_import():
    process = python("import chainer_compat, warnings; warnings.warn('the next warning')")
    assert "the next warning" in process.stderr


def test_sctypes_is_restored_where_numpy_has_none():
    code = """
import numpy
vars(numpy).pop("sctypes", None)
import chainer_compat
assert numpy.sctypes["int"] == [numpy.int8, numpy.int16, numpy.int32, numpy.int64]
assert numpy.sctypes["float"] == [numpy.float16, numpy.float32, numpy.float64]
"""
    assert_quiet_success(python(code))


def test_sctypes_is_left_alone_where_numpy_has_it():
    code = """
import numpy
numpy.sctypes = own = {"int": [numpy.int64], "float": [numpy.float64], "others": [bool]}
import chainer_compat
assert numpy.sctypes is own
assert own == {"int": [numpy.int64], "float": [numpy.float64], "others": [bool]}
"""
    assert_quiet_success(python(code))


def test_as_strided_can_be_differentiated():
    code = """
import chainer_compat, chainer, numpy
x = chainer.Variable(numpy.arange(3.0))
y = chainer.functions.as_strided(x, (2, 2), (1, 1))  # [[x0, x1], [x1, x2]]
y.grad = numpy.ones((2, 2))
y.backward()
assert x.grad.tolist() == [1, 2, 1]
"""
    assert_quiet_success(python(code))


CHAINER_FIRST = """
import sys, types, numpy
numpy.sctypes = {"int": [numpy.int32, numpy.int64], "float": [numpy.float32]}
check = types.ModuleType("chainer._environment_check")
check.check = lambda: None
sys.modules[check.__name__] = check
import chainer
"""


def test_harmless_when_chainer_has_been_imported_already():
    code = """
before = dict(vars(chainer))
import chainer_compat
assert sys.modules["chainer._environment_check"] is check
assert sys.modules["chainer"] is chainer and vars(chainer) == before
"""
    assert_quiet_success(python(CHAINER_FIRST + code))


def test_harmless_when_chainer_has_been_imported_already_and_its_check_forgotten():
    code = """
del sys.modules[check.__name__]
import chainer_compat
assert check.__name__ not in sys.modules
"""
    assert_quiet_success(python(CHAINER_FIRST + code))


def test_environment_check_that_is_loaded_already_stays():
    code = """
import sys, types
check = types.ModuleType("chainer._environment_check")
check.check = lambda: None
sys.modules[check.__name__] = check
import chainer_compat
assert sys.modules[check.__name__] is check
"""
    assert_quiet_success(python(code))


def test_harmless_when_run_twice():
    code = """
import chainer_compat, chainer, importlib, numpy, sys
check, sctypes = sys.modules["chainer._environment_check"], numpy.sctypes
importlib.reload(chainer_compat)
assert sys.modules["chainer._environment_check"] is check and numpy.sctypes is sctypes
"""
    assert_quiet_success(python(code))


@pytest.mark.parametrize(("setting", "expected"), [({}, "0"), ({"CHAINER_CUDNN": "1"}, "1")])
def test_cudnn_is_left_out_unless_it_was_asked_for(setting, expected):
    code = f"import os, chainer_compat; assert os.environ['CHAINER_CUDNN'] == {expected!r}"
    assert_quiet_success(python(code, **setting))


def test_warning_of_cupy_that_nccl_is_missing_is_not_shown():
    warning = "\nnccl library could not be loaded.\n\nReason: ImportError"
    assert_quiet_success(python(f"import chainer_compat, warnings; warnings.warn({warning!r})"))


def test_each_module_can_be_imported_first_and_prints_nothing():
    """Of the project's modules, that is: Chainer stays, which takes long."""
    code = f"""
import importlib, sys
for module in {MODULES}:
    importlib.import_module(module)
    for name in {MODULES}:
        sys.modules.pop(name, None)
"""
    assert_quiet_success(python(code))


def imports(module):
    """The packages that a module or a package imports, in this order."""
    file = ROOT / module.replace(".", "/")
    file = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
    return [
        name.partition(".")[0]
        for node in ast.parse(file.read_text()).body
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    ]


@pytest.mark.parametrize("module", MODULES)
def test_module_or_its_package_imports_chainer_compat_before_chainer(module):
    package = module.partition(".")[0]
    before = imports(package) if package != module else []
    found = [*before, *imports(module)]
    assert "chainer" not in found or found.index("chainer_compat") < found.index("chainer")
