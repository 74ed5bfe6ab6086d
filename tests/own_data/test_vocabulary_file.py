import json

import pytest

from own_data.vocabulary import (
    CharVocabulary,
    IntegerVocabulary,
    WordVocabulary,
    load_vocabulary,
    save_vocabulary,
    vocabulary_path,
)
from support.files import BadFile


@pytest.fixture
def model(tmp_path):
    return str(tmp_path / "lstm_simple_sequence.model")


def test_lies_beside_the_model(model, tmp_path):
    save_vocabulary(model, CharVocabulary("ab"))
    assert [path.name for path in tmp_path.iterdir()] == ["lstm_simple_sequence.vocab.json"]
    content = (tmp_path / "lstm_simple_sequence.vocab.json").read_text(encoding="utf-8")
    assert json.loads(content) == {"kind": "char", "tokens": ["a", "b"]}


@pytest.mark.parametrize(
    "vocabulary", [CharVocabulary("\u00e9\n"), WordVocabulary(["\n", "be"]), IntegerVocabulary(2)]
)
def test_comes_back(model, vocabulary):
    save_vocabulary(model, vocabulary)
    again = load_vocabulary(model, 2)
    assert type(again) is type(vocabulary) and again.tokens() == vocabulary.tokens()


def test_of_a_model_before_is_taken_away(model, tmp_path):
    """Else numbers would be printed as that model's characters."""
    save_vocabulary(model, CharVocabulary("ab"))
    save_vocabulary(model, None)
    assert list(tmp_path.iterdir()) == []
    save_vocabulary(model, None)
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
