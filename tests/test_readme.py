"""README, typed line by line into a shell, in a fresh clone, by somebody who has nothing else."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from support.devices import missing_for_gpu
from tests.commands import ROOT
from tests.test_docs import agrees

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ["bash", "git", "make"])), reason="needs bash, git and make"
)
BLOCKS = re.findall(
    r"^```\w*\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE
)
WITHOUT_MAKE = next(block for block in BLOCKS if block.startswith("python3 -m venv"))
WITH_MPI = next(block for block in BLOCKS if "mpiexec" in block)

# What is added to a line, because as it stands it takes minutes.
SHORTER = {
    "make test": ' ARGS="-n0 tests/test_conftest.py"',  # all tests, of which this is one
    "python count_limits.py": " --archs rnn --seeds 1 --budget 20",  # sixty trainings, ten minutes
    "python train_simple_sequence.py -a gru": " -e 1 -u 16",  # three epochs of 37 s
}

# In place of python3: it makes an environment that has already what pip would download in minutes,
# and that is in no other way the one in which the tests run.
PYTHON3 = """#!/bin/sh
test "$1 $2" = "-m venv" || exec {python} "$@"
{python} -m venv --without-pip "$3"
cp {folder}/packages.pth {folder}/pip.py "$3"/lib/python*/site-packages
printf '#!/bin/sh\\nexec "%s/bin/python" -m pip "$@"\\n' "$PWD/$3" > "$3/bin/pip"
chmod +x "$3/bin/pip"
"""
# MPI is there once it has been asked for.
PIP = """
import os, pathlib, sys
words = sys.argv[1:]
assert "install" in words and all(os.path.exists(word) for word in words if ".txt" in word), words
if not {{"requirements/dev.txt", "requirements/mpi.txt"}}.isdisjoint(words):
    for pattern in "bin/mpi*", "bin/hydra*", "lib/*mpi*":
        for path in pathlib.Path({mpi!r}).glob(pattern):
            link = pathlib.Path(sys.prefix, path.relative_to({mpi!r}))
            link.is_symlink() or link.symlink_to(path)
"""


@pytest.fixture
def environment(tmp_path):
    """Of a machine with every program that this one has, but for Python's."""
    folders = os.environ["PATH"].split(os.pathsep)
    ours = os.path.dirname(sys.executable)
    mpiexec = shutil.which("mpiexec", path=os.pathsep.join([ours, *folders]))
    if mpiexec is None:
        pytest.skip("there is no MPI; pip install -r requirements/mpi.txt")
    programs = tmp_path / "programs"
    programs.mkdir()
    pythons = re.compile("python|pip|py|mpi|conda|uv")
    known = {*os.listdir(ours)}
    for folder in filter(os.path.isdir, reversed(folders)):
        for name in {*os.listdir(folder)} - known:
            if not pythons.match(name):
                (programs / name).unlink(missing_ok=True)
                (programs / name).symlink_to(os.path.join(folder, name))
    (tmp_path / "packages.pth").write_text(
        "\n".join(path for path in sys.path if path.endswith("-packages"))
    )
    (tmp_path / "pip.py").write_text(PIP.format(mpi=os.path.dirname(os.path.dirname(mpiexec))))
    python3 = programs / "python3"
    python3.write_text(
        PYTHON3.format(python=shlex.quote(sys.executable), folder=shlex.quote(str(tmp_path)))
    )
    python3.chmod(0o755)
    foreign = re.compile("MAKE|MFLAGS|PYTEST|PYTHON|VIRTUAL_ENV|VENV|ARGS|GIT_|COVERAGE")
    kept = {name: text for name, text in os.environ.items() if not foreign.match(name)}
    return {**kept, "PATH": str(programs), "OMP_NUM_THREADS": "1"}


def git(clone, *words):
    identity = ["-c", "user.name=test", "-c", "user.email="]
    command = ["git", *identity, *words]
    return subprocess.run(command, cwd=clone, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def clone(tmp_path):
    """A fresh clone of what is in the checkout, committed or not."""
    left_out = shutil.ignore_patterns(
        ".git", ".venv*", "__pycache__", ".*_cache", ".hypothesis", ".coverage*", "result"
    )
    shutil.copytree(ROOT, tmp_path / "clone", ignore=left_out, symlinks=True)
    git(tmp_path / "clone", "init", "--quiet")
    git(tmp_path / "clone", "add", "--all")
    git(tmp_path / "clone", "commit", "--quiet", "-m", "all")
    return tmp_path / "clone"


def lines(block):
    """Each command of a block, with the output that is written below it, None for none."""
    if not block.startswith("$ "):
        return [(line, None) for line in block.splitlines()]
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    return [tuple(part.split("\n", 1)) for part in parts]


def type_in(clone, environment, blocks):
    """Type the blocks into one shell; each command, what is to be printed, what was, exit code."""
    steps = [step for block in blocks for step in lines(block)]
    script = ""
    for command, _ in steps:
        more = [more for start, more in SHORTER.items() if command.startswith(start)]
        script += f'{"".join([command, *more])}\necho "<ended with $?>"\n'
    done = subprocess.run(
        [shutil.which("bash"), "--noprofile", "--norc", "-c", script],
        cwd=clone,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=True,
    )
    ended = re.findall(r"(.*?)<ended with (\d+)>\n", done.stdout, re.DOTALL)
    assert len(ended) == len(steps), done.stdout
    return [(*step, output, int(code)) for step, (output, code) in zip(steps, ended, strict=True)]


def comparable(text):
    """Without the time that an epoch has taken, and what only a first or a second training says."""
    text = re.sub(r"^(Installing|Earlier snapshots) .*\n", "", text, flags=re.MULTILINE)
    return re.sub(r"^(\d+( +\S+){4}) .*$", r"\1", text, flags=re.MULTILINE)


def check(results):
    for command, written, printed, code in results:
        told = f"$ {command}\n{printed}"
        if command.endswith('"-g 0"') and missing_for_gpu(0):
            assert code and "error: argument -g/--gpu: " in printed, told
        else:
            assert code == 0, told
            assert written is None or agrees(comparable(printed), comparable(written)), told


def test_every_block_can_be_typed_and_leaves_nothing_for_git(clone, environment):
    check(type_in(clone, environment, [block for block in BLOCKS if block != WITHOUT_MAKE]))
    assert git(clone, "status", "--porcelain") == ""


def test_without_make_an_environment_is_made_that_make_keeps(clone, environment):
    """The other way to start. After it ``make train`` has nothing to clear."""
    check(type_in(clone, environment, [WITHOUT_MAKE, WITH_MPI, "mpiexec -n 2 python -V"]))
