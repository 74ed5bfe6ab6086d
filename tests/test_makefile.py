"""How the Makefile finds its interpreter, with make's own plan of what it would run."""

import os
import shlex
import shutil
import subprocess
import sys

import pytest

from tests.commands import ROOT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture
def checkout(tmp_path):
    """A folder with an environment that is complete as far as make can see."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    shutil.copy(ROOT / "requirements.txt", tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    for kind in "main", "dev":
        (tmp_path / ".venv" / f"{kind}-{VERSION}").touch()
    return tmp_path


def make(checkout, *words, **environment):
    # Not what a make that runs the tests has told its own commands.
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("MAKE")}
    for name in "VENV", "PYTHON", "ARGS", "MFLAGS":
        inherited.pop(name, None)
    command = [shutil.which("make"), *words]
    return subprocess.run(
        command,
        cwd=checkout,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_environment_that_runs_is_kept(checkout):
    assert "pip" not in make(checkout, "-n", "train").stdout


def test_an_environment_whose_interpreter_has_gone_is_made_anew(checkout):
    python = checkout / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/no/such/python")
    (checkout / "python").symlink_to(sys.executable)
    plan = make(checkout, "-n", "test", "PYTHON=./python").stdout
    assert "./python -m venv --clear .venv\n" in plan
    assert "pip --disable-pip-version-check install --quiet -r requirements/build.txt" in plan


def test_without_venv_the_package_is_named(checkout):
    shutil.rmtree(checkout / ".venv")
    python = checkout / "python"
    without = 'case "$2" in *ensurepip*) exit 1;; esac'
    python.write_text(f'#!/bin/sh\n{without}\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    done = make(checkout, "train", "PYTHON=./python")
    assert done.returncode
    assert done.stderr.startswith("./python cannot make .venv: ")
    assert "apt install python3-venv\n" in done.stderr
    assert not (checkout / ".venv").exists()


def test_tests_on_all_pythons_fail_where_there_is_none(checkout):
    done = make(checkout, "test-all-pythons", PATH="/nonexistent")
    assert done.returncode
    assert done.stdout == ("Tests passed on: none. Not found: 3.10 3.11 3.12 3.13 3.14 3.15.\n")
