"""``predict_simple_sequence.py --lies`` and ``--page``; their content is tested elsewhere."""

import pytest

import predict_simple_sequence
from models import ARCHS
from models.model_file import UNKNOWN, Trained, save_model
from own_data.vocabulary import CharVocabulary
from support.command_line import UsageError


@pytest.fixture
def model(tmp_path, monkeypatch):
    """Write a model file: ``model(5)`` gives its path. The test runs in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def write(n_vocab=5, vocabulary=None):
        trained = UNKNOWN if vocabulary is None else Trained("own data", vocabulary)
        save_model("net.model", ARCHS["rnn"](n_vocab, 3), trained)
        return "net.model"

    return write


def predict(*arguments):
    return predict_simple_sequence.main(list(map(str, arguments)))


def test_lies_are_drawn_and_their_shares_printed(model, tmp_path, capsys):
    assert predict("-m", model(), "--lies", "lies.png") == 0
    assert (tmp_path / "lies.png").read_bytes().startswith(b"\x89PNG")
    *_, shares, written = capsys.readouterr().out.splitlines()
    assert shares.startswith("Told 8 other numbers: kept its place ")
    assert written == "Written: lies.png"


def test_the_page_is_written(model, tmp_path, capsys):
    assert predict("-m", model(), "--page", "counter.html") == 0
    assert (tmp_path / "counter.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert capsys.readouterr().out.splitlines()[-1] == "Written: counter.html"


def test_a_model_of_ones_own_text_has_a_page_and_no_lies(model, tmp_path):
    path = model(3, CharVocabulary("abc"))
    assert predict("-m", path, "--page", "counter.html") == 0
    assert (tmp_path / "counter.html").exists()
    with pytest.raises(UsageError, match="argument --lies: works only for a model of the built-in"):
        predict("-m", path, "--lies", "lies.png")


@pytest.mark.parametrize("option", ["--lies lies.png", "--page counter.html"])
@pytest.mark.parametrize("n_vocab", [3, 31])
def test_a_vocabulary_that_cannot_be_told_lies_is_refused(model, tmp_path, option, n_vocab):
    name, path = option.split()
    message = rf"argument {name}: its vocabulary is {n_vocab}; lies need one from 4 to 30"
    with pytest.raises(UsageError, match=message):
        predict("-m", model(n_vocab), name, path)
    assert not (tmp_path / path).exists()


@pytest.mark.parametrize(
    ("option", "message"),
    [("--lies", "'x.txt' does not end in .png"), ("--page", "'x.txt' does not end in .html")],
)
def test_other_kinds_of_file_are_refused(model, capsys, option, message):
    with pytest.raises(SystemExit) as end:
        predict("-m", model(), option, "x.txt")
    assert end.value.code == 2
    assert f"argument {option}: {message}" in capsys.readouterr().err
