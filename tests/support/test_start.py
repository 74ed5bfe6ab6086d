"""A command on an interpreter that cannot run it."""

import subprocess
import sys

import pytest

from support import start
from tests.commands import ROOT

COMMANDS = ["train_simple_sequence", "predict_simple_sequence", "compare_architectures"]
COMMANDS += ["count_limits"]


@pytest.mark.parametrize("command", COMMANDS)
def test_without_packages_names_them_and_an_interpreter_in_one_line(command):
    script = f"{command}.py"
    # -S leaves site-packages out.
    words = [sys.executable, "-S", script]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    line, end, rest = done.stderr.partition("\n")
    assert line.startswith(f"{script}: error: {sys.executable} lacks chainer, matplotlib, numpy; ")
    assert ".venv/bin/python" in line
    assert (end, rest) == ("\n", "")


@pytest.mark.parametrize("command", COMMANDS)
def test_without_docstrings_a_command_works(run, command):
    words = [sys.executable, "-OO", ROOT / f"{command}.py", "--help"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--out" in done.stdout or "--plot" in done.stdout


class TestCheckInterpreter:
    @pytest.fixture
    def said(self, monkeypatch, capsys, tmp_path):
        """What is said by a command in a checkout that is a folder with a blank in its name."""
        monkeypatch.setattr(sys, "argv", [str(tmp_path / "my folder" / "command.py")])

        def call():
            with pytest.raises(SystemExit) as end:
                start.check_interpreter()
            assert end.value.code == 2
            return capsys.readouterr().err

        return call

    def test_does_nothing_where_all_is_there(self):
        start.check_interpreter()

    def test_names_the_environment_that_is_there(self, said, monkeypatch, tmp_path):
        monkeypatch.setattr(start, "_NEEDED", ("sys", "nosuchmodule"))
        folder = tmp_path / "my folder" / ".venv" / "bin"
        folder.mkdir(parents=True)
        (folder / "python").touch()
        assert said() == (
            f"command.py: error: {sys.executable} lacks nosuchmodule; use '{folder}/python'\n"
        )

    def test_says_how_to_make_one_that_is_not(self, said, monkeypatch, tmp_path):
        monkeypatch.setattr(start, "_NEEDED", ("nosuchmodule",))
        python = tmp_path / "my folder" / ".venv" / "bin" / "python"
        assert said().endswith(f"; 'make train' makes one that has all of it: '{python}'\n")

    def test_does_not_name_the_one_that_lacks_something(self, said, monkeypatch, tmp_path):
        monkeypatch.setattr(start, "_NEEDED", ("nosuchmodule",))
        folder = tmp_path / "my folder" / ".venv" / "bin"
        folder.mkdir(parents=True)
        (folder / "python").touch()
        monkeypatch.setattr(sys, "prefix", str(folder.parent))
        assert "; 'make train' makes one" in said()

    def test_refuses_a_python_that_is_too_old(self, said, monkeypatch):
        monkeypatch.setattr(sys, "version_info", (3, 9, 18))
        monkeypatch.setattr(sys, "version", "3.9.18 (main)")
        assert " is Python 3.9.18, and 3.10 or newer is needed; " in said()
