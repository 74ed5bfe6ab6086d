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
    assert "install" not in make(checkout, "-n", "train").stdout


def test_an_environment_whose_interpreter_has_gone_is_made_anew(checkout):
    python = checkout / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/no/such/python")
    (checkout / ".venv" / "pyvenv.cfg").touch()
    (checkout / "python").symlink_to(sys.executable)
    plan = make(checkout, "-n", "test", "PYTHON=./python").stdout
    assert "./python -m venv --clear .venv\n" in plan
    assert "install --quiet -r requirements/build.txt" in plan


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


@pytest.fixture
def fake_python(checkout):
    """Make the interpreter one whose pip notes what it is asked, and does what a test says."""

    def install(pip=""):
        (checkout / "train_simple_sequence.py").touch()
        for stamp in (checkout / ".venv").glob(f"*-{VERSION}"):
            stamp.unlink()
        python = checkout / ".venv" / "bin" / "python"
        python.unlink()
        python.write_text(
            f'#!/bin/sh\ntest "$2" = pip || exec {shlex.quote(sys.executable)} "$@"\n'
            f'echo "$@" >> installed\nwhile test "$1" != --log; do shift; done\n{pip}\n'
        )
        python.chmod(0o755)

    return install


def test_an_environment_that_runs_is_installed_into_and_never_cleared(checkout, fake_python):
    fake_python()
    (checkout / ".venv" / "pyvenv.cfg").touch()
    assert make(checkout, "train").returncode == 0
    assert (checkout / ".venv" / "pyvenv.cfg").exists()
    assert "-r requirements.txt\n" in (checkout / "installed").read_text()
    (checkout / "installed").unlink()
    assert make(checkout, "train").returncode == 0
    assert not (checkout / "installed").exists()


def test_a_folder_that_is_no_environment_is_not_cleared(checkout):
    plan = make(checkout, "-n", "train", "VENV=requirements", "PYTHON=python3").stdout
    assert "-m venv  requirements\n" in plan
    assert "--clear" not in plan


def test_an_environment_of_another_version_is_refused(checkout, fake_python):
    fake_python()
    python = checkout / "python"
    python.write_text(
        '#!/bin/sh\ncase "$2" in *%d.%d*) echo 3.99; exit;; esac\n'
        f'exec {shlex.quote(sys.executable)} "$@"\n'
    )
    python.chmod(0o755)
    done = make(checkout, "train", "PYTHON=./python")
    assert done.returncode
    assert done.stderr.startswith(".venv is there, with another Python than ./python: ")
    assert "VENV=.venv-3.99" in done.stderr
    assert not (checkout / "installed").exists()


def test_without_a_network_the_last_line_says_so(checkout, fake_python):
    fake_python(pip="echo WARNING: Retrying after connection broken by 'Error' | tee $2; exit 1")
    done = make(checkout, "train")
    assert done.returncode
    assert "no package registry can be reached" in done.stderr.splitlines()[-1]
    fake_python(pip="exit 1")
    done = make(checkout, "train")
    assert done.returncode
    assert "registry" not in done.stderr
    fake_python()
    assert make(checkout, "train").returncode == 0


def test_a_read_only_checkout_is_left_alone(checkout, tmp_path_factory):
    checkout.chmod(0o555)
    if os.access(checkout, os.W_OK):
        pytest.skip("this user may write everywhere")
    plan = make(checkout, "-n", "test", f"VENV={tmp_path_factory.mktemp('elsewhere')}").stdout
    assert "-o cache_dir=" in plan


def test_tests_on_all_pythons_fail_where_there_is_none(checkout):
    done = make(checkout, "test-all-pythons", PATH="/nonexistent")
    assert done.returncode
    assert done.stdout == ("Tests passed on: none. Not found: 3.10 3.11 3.12 3.13 3.14 3.15.\n")
