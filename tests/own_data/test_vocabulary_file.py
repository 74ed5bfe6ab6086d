"""The file beside a model of version 1."""

import pytest

from own_data.vocabulary import (
    CharVocabulary,
    IntegerVocabulary,
    WordVocabulary,
    load_vocabulary,
    to_json,
    vocabulary_path,
)
from support.files import BadFile


@pytest.fixture
def model(tmp_path):
    return str(tmp_path / "lstm_simple_sequence.model")


@pytest.mark.parametrize(
    "vocabulary", [CharVocabulary("\u00e9\n"), WordVocabulary(["\n", "be"]), IntegerVocabulary(2)]
)
def test_is_read(model, tmp_path, vocabulary):
    path = tmp_path / "lstm_simple_sequence.vocab.json"
    path.write_text(to_json(vocabulary), encoding="utf-8")
    again = load_vocabulary(model, 2)
    assert type(again) is type(vocabulary) and again.tokens() == vocabulary.tokens()


def test_need_not_be(model):
    assert load_vocabulary(model, 2) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"{}", b'{"kind": "char", "tokens": ["a", "b", "c"]}', 100_000 * b"["],
    ids=["empty", "garbage", "other", "of another size", "deep"],
)
def test_that_is_none_is_refused(model, content):
    with open(vocabulary_path(model), "wb") as file:
        file.write(content)
    with pytest.raises(BadFile, match="is not a vocabulary of the model's 2 tokens"):
        load_vocabulary(model, 2)


def test_that_is_a_folder_is_refused(model, tmp_path):
    (tmp_path / "lstm_simple_sequence.vocab.json").mkdir()
    with pytest.raises(BadFile, match="is a folder"):
        load_vocabulary(model, 2)


def test_that_would_fill_the_memory_is_refused(model):
    with open(vocabulary_path(model), "wb") as file:
        file.truncate(2**32)  # takes no room on the disk
    with pytest.raises(BadFile, match="is too large"):
        load_vocabulary(model, 2)
