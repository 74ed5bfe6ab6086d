"""The documents: their commands run and print what they say, and their links lead somewhere."""

import os
import re
import subprocess
import sys

import pytest

from docs import options
from own_data.sequence_file import read_sequence
from own_data.vocabulary import IntegerVocabulary
from tests.commands import ROOT

DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
)
NUMBER = r"\d+\.\d+"


def sessions(text):
    """Each command of the document's ``console`` blocks, with the output that is written below."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


def outputs(commands, folder):
    """Run the commands one after another in one shell; what each has printed."""
    end = "<the next command>"
    script = "".join(f"{command}\necho '{end}'\n" for command in commands)
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]),
        "OMP_NUM_THREADS": "1",
        "LC_ALL": "C",
    }
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=True,
    )
    return done.stdout.split(f"{end}\n")


def agrees(printed, written):
    """Whether the output is as written.

    Three dots stand for anything; numbers with a fraction, which rounding may change a little from
    machine to machine, agree to one per cent; spaces count as one.
    """
    printed, written = (" ".join(text.split()) for text in (printed, written))
    pattern = re.escape(written).replace(re.escape("..."), ".*")
    pattern = re.sub(r"\d+\\\.\d+", lambda number: f"({NUMBER})", pattern)
    match = re.fullmatch(pattern, printed)
    if match is None:
        return False
    pairs = zip(match.groups(), re.findall(NUMBER, written), strict=True)
    return all(float(ours) == pytest.approx(float(theirs), rel=0.01) for ours, theirs in pairs)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_prints_what_is_written(document, tmp_path):
    steps = sessions((ROOT / document).read_text())
    for path in ROOT.iterdir():
        if path.suffix == ".py" or any(path.glob("*.py")):
            (tmp_path / path.name).symlink_to(
                path
            )  # so that the folder is a checkout without results
    printed = outputs([command for command, _ in steps], tmp_path)
    for (command, written), output in zip(steps, printed, strict=False):
        assert agrees(output, written), f"$ {command}\n{output}"


def test_the_program_that_makes_ids_makes_a_file_that_can_be_trained_on(tmp_path):
    (program,) = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs/text.md").read_text(), re.DOTALL | re.MULTILINE
    )
    (tmp_path / "book.txt").write_text("to be or not to be")
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    ids = read_sequence(str(tmp_path / "book.npy"), IntegerVocabulary())
    assert ids.tolist() == [3, 0, 2, 1, 3, 0]


def test_the_options_are_those_of_the_commands():
    assert options.PATH.read_text() == options.text()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_within_the_project_leads_somewhere(document):
    path = ROOT / document
    for target in re.findall(r"\]\(([^)#]+)", path.read_text()):
        assert target.startswith("http") or (path.parent / target).exists(), target


@pytest.mark.parametrize(
    ("printed", "written", "agree"),
    [
        ("1 0.501   2\n3\n", "1 0.5 2\n3\n", True),
        ("1 0.51 2\n", "1 0.5 2\n", False),
        ("2 0.5\n", "1 0.5\n", False),
        ("a\nb\nc\n", "a\n...\nc\n", True),
        ("a\nb\n", "a\n...\nc\n", False),
        ("a\nb\n", "a\n", False),
    ],
)
def test_what_agrees(printed, written, agree):
    assert agrees(printed, written) == agree
