"""``predict_simple_sequence.py --plot``; what it draws is in ``counting/test_figure.py``."""

import subprocess
import sys

import pytest

import predict_simple_sequence
from models import ARCHS
from models.model_file import save_model
from support.command_line import UsageError, run_command
from tests.commands import ROOT


@pytest.fixture
def model(tmp_path, monkeypatch):
    """Write a model file: ``model("rnn2")`` gives its path. The test runs in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def write(arch, n_vocab=5):
        path = f"{arch}.model"
        save_model(path, ARCHS[arch](n_vocab, 3))
        return path

    return write


def predict(*arguments):
    return predict_simple_sequence.main(list(map(str, arguments)))


@pytest.fixture
def drawn(monkeypatch):
    """What was given to ``draw_counting``, call by call."""
    calls = []
    draw = predict_simple_sequence.draw_counting

    def spy(*arguments):
        calls.append(arguments)
        return draw(*arguments)

    monkeypatch.setattr(predict_simple_sequence, "draw_counting", spy)
    return calls


@pytest.mark.parametrize(
    ("arch", "options", "layer"),
    [("rnn3", (), 1), ("lstm", ("--layer", 2), 2)],
)
def test_draws_the_layer_asked_for(model, drawn, capsys, tmp_path, arch, options, layer):
    path = model(arch)
    assert predict("-m", path, "--plot", "counting.png", *options) == 0
    ((network, name, number),) = drawn
    assert isinstance(network, ARCHS[arch]) and (name, number) == (arch, layer)
    assert (tmp_path / "counting.png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.splitlines()[-1] == "Written: counting.png"


def test_says_what_it_says_without_a_plot(model, capsys):
    path = model("rnn")
    predict("-m", path)
    plain = capsys.readouterr().out
    predict("-m", path, "--plot", "counting.svg")
    assert capsys.readouterr().out == f"{plain}Written: counting.svg\n"


@pytest.mark.parametrize(
    ("arch", "options", "message"),
    [
        (
            "rnn",
            ("--layer", 2),
            "argument --layer: rnn has no recurrent layer 2; choose from 1 to 1",
        ),
        ("lstm", ("--layer", 3), "lstm has no recurrent layer 3; choose from 1 to 2"),
    ],
)
def test_refuses_a_layer_that_is_not_there(model, tmp_path, arch, options, message):
    with pytest.raises(UsageError, match=message):
        predict("-m", model(arch), "--plot", "counting.png", *options)
    assert not (tmp_path / "counting.png").exists()


@pytest.mark.parametrize(("n_vocab", "n_tokens"), [(1, "0"), (101, "10,100")])
def test_refuses_a_vocabulary_that_cannot_be_drawn(model, n_vocab, n_tokens):
    options = ("-p", n_vocab - 1, "--plot", "counting.png")
    with pytest.raises(UsageError, match=f"argument --plot: .* {n_vocab} are {n_tokens} tokens"):
        predict("-m", model("rnn", n_vocab), *options)


def test_refuses_a_layer_without_a_plot(model):
    with pytest.raises(UsageError, match="argument --layer: works only with --plot"):
        predict("-m", model("rnn"), "--layer", 1)


def test_refuses_other_kinds_of_file(model, capsys):
    with pytest.raises(SystemExit) as end:
        predict("-m", model("rnn"), "--plot", "counting.jpg")
    assert end.value.code == 2
    assert "argument --plot: 'counting.jpg' does not end in" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--plot a.png", "--lies a.png", "--page a.html"])
@pytest.mark.parametrize(
    ("folder", "reason"),
    [
        ("nowhere/", "No such file or directory"),
        ("rnn.model/", "Not a directory"),
        ("folder/", "Is a directory"),
        ("/proc/", ""),
    ],
)
def test_file_that_cannot_be_written_is_refused_first(
    model, capsys, tmp_path, option, folder, reason
):
    option, name = option.split()
    (tmp_path / "folder" / name).mkdir(parents=True)
    arguments = ["-m", model("rnn"), option, folder + name]
    assert run_command(predict_simple_sequence.main, arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert f"error: argument {option}: {folder}{name} cannot be written ({reason}" in err
    assert err.endswith("; expected a file in a folder that is there and can be written\n")


def test_interrupted_while_it_writes_the_picture_leaves_nothing(model, tmp_path):
    path = model("rnn")
    interrupt = (
        "import os, runpy, signal, sys\n"
        "os.fsync = lambda descriptor: signal.raise_signal(signal.SIGINT)\n"
        "sys.argv = sys.argv[1:]\n"
        "sys.path[0] = os.path.dirname(sys.argv[0])\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    script = str(ROOT / "predict_simple_sequence.py")
    command = [sys.executable, "-c", interrupt, script, "-m", path, "--plot", "counting.png"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "")
    assert [file.name for file in tmp_path.iterdir()] == [path]
