"""Vocabularies: which id stands for which token of a text, and how ids become text again.

A token is a number, a character or a word. White space separates words. The end of a line is a word
too, so that a network writes lines.
A model file holds its vocabulary. Those of version 1 have it in a file beside them.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from support.files import BadFile, naming, open_file

_LARGEST_ID = 2**31 - 2  # ids and the size of a vocabulary are int32
_MOST_BYTES = 2**28


class BadToken(Exception):
    """A token without an id.

    Args:
        token: what it is, with its article.
        why: what is wrong with it, as a relative clause.
        index: its place in the text.
    """

    def __init__(self, token: str, why: str, index: int):
        super().__init__(token, why, index)
        self.token, self.why, self.index = token, why, index

    def at(self, start: int) -> str:
        """The message for a text that began at index ``start``."""
        return f"{self.token} at index {start + self.index:,}, {self.why}"


class IntegerVocabulary:
    """Tokens that are ids already: whole numbers from 0.

    Args:
        size: ids from here on are refused; None to grow with the data.
    """

    kind = "integer"
    whole_words = True  # a text must not be cut within one

    def __init__(self, size: int | None = None):
        self._size = size
        self._largest = 1  # at least two tokens
        self._ids = _Numbers()

    def __len__(self) -> int:
        return self._size or self._largest + 1

    def learn(self, text: str) -> np.ndarray:
        """Ids of a text's numbers, int64; see :meth:`learn_ids`.

        Raises:
            BadToken: if a word is not a whole number, or is outside the vocabulary.
        """
        words = text.split()
        try:
            ids = np.fromiter(map(self._ids.__getitem__, words), np.int64, len(words))
        except KeyError as error:
            word = error.args[0]
            index = words.index(word)
            raise BadToken(_quoted(word), "which is not a whole number", index) from None
        self.learn_ids(ids)
        return ids

    encode = learn

    def learn_ids(self, ids: np.ndarray) -> None:
        """Widen the vocabulary to these ids, if it was given no size.

        Raises:
            BadToken: if one is negative or too large.
        """
        if not len(ids):
            return
        largest = self._size - 1 if self._size else _LARGEST_ID
        if ids.min() < 0:
            index = int((ids < 0).argmax())
            raise BadToken(f"the negative id {ids[index]}", "which no token can have", index)
        if ids.max() > largest:
            index = int((ids > largest).argmax())
            why = f"beyond the vocabulary, whose last id is {largest}"
            raise BadToken(f"the id {ids[index]}", why, index)
        self._largest = max(self._largest, int(ids.max()))

    def decode(self, ids: Sequence[int]) -> str:
        """Numbers separated by spaces."""
        return " ".join(map(str, ids))

    def tokens(self) -> list[str]:
        """No tokens: the ids say it all."""
        return []


class _Numbers(dict):
    """The number that each word spells, cached because a long text has few different ones."""

    def __missing__(self, word: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,18}", word):
            raise KeyError(word)
        number = self[word] = int(word)
        return number


class CharVocabulary:
    """Tokens that are characters, numbered in the order in which they are learnt.

    Args:
        tokens: the characters known already.
    """

    kind = "char"
    whole_words = False

    def __init__(self, tokens: Iterable[str] = ()):
        self._tokens: list[str] = []
        self._ids = np.full(0x110000, -1, np.int32)  # by code point
        self._add(tokens)

    def __len__(self) -> int:
        return len(self._tokens)

    def learn(self, text: str) -> np.ndarray:
        """Ids of a text's characters, int32; new ones get the next numbers."""
        codes = _code_points(text)
        ids = self._ids[codes]
        unknown = ids < 0
        if unknown.any():
            self._add(map(chr, np.unique(codes[unknown])))
            ids = self._ids[codes]
        return ids

    def encode(self, text: str) -> np.ndarray:
        """Ids of a text's characters, int32.

        Raises:
            BadToken: if one is not in the vocabulary.
        """
        ids = self._ids[_code_points(text)]
        if ids.min(initial=0) < 0:
            index = int(ids.argmin())
            raise BadToken(_quoted(text[index]), "which is not in the vocabulary", index)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text that ids stand for."""
        return "".join(self.pieces(ids))

    def pieces(self, ids: Iterable[int]) -> Iterator[str]:
        """The same text in pieces: what each id adds to it, as soon as the id comes."""
        return map(self._tokens.__getitem__, ids)

    def tokens(self) -> list[str]:
        """The characters, in the order of their ids."""
        return self._tokens

    def _add(self, tokens: Iterable[str]) -> None:
        """Number new characters, in this order."""
        for token in tokens:
            self._ids[ord(token)] = len(self._tokens)
            self._tokens.append(token)


class WordVocabulary:
    """Tokens that are words or ends of lines, numbered in the order in which they are learnt.

    Args:
        tokens: the words known already.
    """

    kind = "word"
    whole_words = True

    def __init__(self, tokens: Iterable[str] = ()):
        self._ids = _Numbering((token, id_) for id_, token in enumerate(tokens))

    def __len__(self) -> int:
        return len(self._ids)

    def learn(self, text: str) -> np.ndarray:
        """Ids of a text's words, int32; new ones get the next numbers."""
        words = _words(text)
        return np.fromiter(map(self._ids.__getitem__, words), np.int32, len(words))

    def encode(self, text: str) -> np.ndarray:
        """Ids of a text's words, int32.

        Raises:
            BadToken: if one is not in the vocabulary.
        """
        words = _words(text)
        for index, word in enumerate(words):
            if word not in self._ids:
                raise BadToken(_quoted(word), "which is not in the vocabulary", index)
        return self.learn(text)

    def decode(self, ids: Sequence[int]) -> str:
        """The text that ids stand for, with single spaces between words."""
        return "".join(self.pieces(ids))

    def pieces(self, ids: Iterable[int]) -> Iterator[str]:
        """The same text in pieces: what each id adds to it, as soon as the id comes."""
        tokens = self.tokens()
        before = "\n"
        for id_ in ids:
            word = tokens[id_]
            yield word if "\n" in (before, word) else f" {word}"
            before = word

    def tokens(self) -> list[str]:
        """The words, in the order of their ids."""
        return list(self._ids)


class _Numbering(dict):
    """Gives every new key the next number."""

    def __missing__(self, key: str) -> int:
        number = self[key] = len(self)
        return number


Vocabulary = IntegerVocabulary | CharVocabulary | WordVocabulary


def to_json(vocabulary: Vocabulary) -> str:
    """A vocabulary as JSON: its kind, and its tokens in the order of their ids, a line each."""
    return json.dumps(description(vocabulary), ensure_ascii=False, indent=0)


def description(vocabulary: Vocabulary) -> dict[str, Any]:
    """A vocabulary as what JSON can hold, see :func:`to_json`."""
    return {"kind": vocabulary.kind, "tokens": vocabulary.tokens()}


def described(about: object, size: int) -> Vocabulary:
    """Make the vocabulary of which this is the :func:`description`.

    Args:
        about: not trusted to be one.
        size: how many ids it must have.

    Raises:
        ValueError: if it does not describe a vocabulary of that size.
    """
    if not isinstance(about, dict) or about.keys() != {"kind", "tokens"}:
        raise ValueError("no vocabulary")
    kind, tokens = about["kind"], about["tokens"]
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise ValueError("no tokens")
    if kind == "integer" and not tokens:
        return IntegerVocabulary(size)
    if len(set(tokens)) != size or len(tokens) != size:
        raise ValueError("another number of tokens")
    if kind == "char" and all(len(token) == 1 for token in tokens):
        return CharVocabulary(tokens)
    if kind == "word":
        return WordVocabulary(tokens)
    raise ValueError("another kind")


def _code_points(text: str) -> np.ndarray:
    # A shell may pass on halves of characters.
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _words(text: str) -> list[str]:
    first, *lines = text.split("\n")
    words = first.split()
    for line in lines:
        words.append("\n")
        words += line.split()
    return words


def _quoted(token: str) -> str:
    return repr(token if len(token) <= 40 else token[:40] + "...")


def vocabulary_path(model_path: str) -> str:
    """Path of the vocabulary of a model of version 1."""
    return model_path.removesuffix(".model") + ".vocab.json"


def load_vocabulary(model_path: str, size: int) -> Vocabulary | None:
    """Read the vocabulary beside a model of version 1.

    Args:
        model_path: the model file.
        size: how many ids the model knows.

    Returns:
        the vocabulary, None if there is none.

    Raises:
        BadFile: if the file is not a vocabulary of that size.
        OSError: if it cannot be read.
    """
    path = vocabulary_path(model_path)
    if not os.path.lexists(path):
        return None
    with naming(path), open_file(path) as file:
        if os.fstat(file.fileno()).st_size > _MOST_BYTES:
            raise BadFile("is too large for a vocabulary")
        content = file.read()
    try:
        return described(json.loads(content.decode()), size)
    except (ValueError, RecursionError) as error:
        raise BadFile(f"is not a vocabulary of the model's {size} tokens") from error
