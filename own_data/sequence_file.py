"""Reads the user's own file as one long sequence of ids, whatever its size.

A small NumPy array is copied; a large one is mapped into memory. Text of numbers, characters or
words becomes ids piece by piece. They go into an unnamed temporary file, which is also mapped and
which disappears with the process, however it ends. So the memory taken does not grow with the file.
"""

import codecs
import contextlib
import hashlib
import io
import os
import tempfile
from collections.abc import Iterator

import numpy as np

from own_data.mapped_ids import Watch, map_ids
from own_data.vocabulary import BadToken, IntegerVocabulary, Vocabulary
from support.files import BadFile, Unreadable, open_file, read_npy_header

_SMALL = 2**26  # bytes; a smaller array is copied, to be safe from changes of the file
_BLOCK = 2**16  # bytes of text, or ids, at a time: few enough to stay in the cache
_LONGEST_WORD = 2**20  # characters; a file with a longer word is not text


class Fingerprint:
    """What tells two sequences apart: their length, every id, and the tokens of the vocabulary.

    It does not depend on the type of the ids, so the same numbers as text and as array agree.
    """

    def __init__(self) -> None:
        self._sha = hashlib.sha256()
        self._length = 0

    def add(self, ids: np.ndarray) -> None:
        """Go on with these ids, which are in a vocabulary and so fit into int32."""
        self._sha.update(np.ascontiguousarray(ids, "<i4").data)
        self._length += len(ids)

    def of(self, vocabulary: Vocabulary) -> str:
        """It continues "data", as in "of 100 tokens with fingerprint 0123456789abcdef"."""
        sha = self._sha.copy()
        sha.update("\n".join(vocabulary.tokens()).encode())
        return f"of {self._length:,} tokens with fingerprint {sha.hexdigest()[:16]}"


def read_sequence(
    path: str, vocabulary: Vocabulary, fingerprint: Fingerprint | None = None
) -> np.ndarray:
    """The ids in a file, checked to be in the vocabulary.

    Args:
        path: with an :class:`IntegerVocabulary` a NumPy array (``.npy``) or whole numbers separated
            by white space, else text; text is in UTF-8.
        vocabulary: learns new tokens.
        fingerprint: takes all ids while they are read; None saves the time.

    Returns:
        numpy.ndarray: at least two ids, one-dimensional, of any integer type. A large array is
        an :class:`own_data.mapped_ids.MappedIds`.

    Raises:
        BadFile: if the file is missing, damaged or cannot be read, or holds something else.
        FileChanged: if somebody changes it meanwhile.
        OSError: if there is no room for a temporary file.
    """
    with open_file(path) as file:
        with _reading():
            if not os.fstat(file.fileno()).st_size:
                raise BadFile("is empty")  # or a special file of the system, which may never end
            is_array = path.endswith(".npy") or file.read(6) == b"\x93NUMPY"
            file.seek(0)
        if isinstance(vocabulary, IntegerVocabulary) and is_array:
            with _reading():
                ids = _read_array(file, path, vocabulary, fingerprint)
        else:
            ids = _read_text(file, vocabulary, fingerprint)
    if len(ids) < 2:
        count = "only one token" if len(ids) else "no token"
        raise BadFile(f"holds {count}, and predicting one from another takes two")
    return ids


def _read_array(
    file: io.BufferedReader,
    path: str,
    vocabulary: IntegerVocabulary,
    fingerprint: Fingerprint | None,
) -> np.ndarray:
    """The array of an open ``.npy`` file. One pass at the speed of the disk checks its ids."""
    watch = Watch(file, path)
    shape, _, dtype = read_npy_header(file)
    if dtype.hasobject:
        raise BadFile("holds objects, which are never loaded")
    if dtype.kind not in "iu":
        raise BadFile(f"holds values of type {dtype}")
    if len(shape) != 1:
        raise BadFile(f"holds an array of shape {shape}, not one long sequence")
    (length,), offset = shape, file.tell()
    n_bytes = length * dtype.itemsize
    if n_bytes != os.fstat(file.fileno()).st_size - offset:
        raise BadFile("is damaged: it does not have the size that it says")
    # Checked by reading: a map would count as this program's memory.
    small = n_bytes <= _SMALL
    ids = np.empty(length if small else _BLOCK, dtype)
    for start in range(0, length, _BLOCK):
        part = ids[start : start + _BLOCK] if small else ids[: length - start]
        if file.readinto(part.view(np.uint8).data) < part.nbytes:
            raise BadFile("became shorter while it was read")
        try:
            vocabulary.learn_ids(part)
        except BadToken as error:
            raise BadFile(f"holds {error.at(start)}") from None
        if fingerprint:
            fingerprint.add(part)
    watch.check()
    return ids if small else map_ids(file, watch, dtype, offset, length)


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """Distinguish errors of the file being read from those of a temporary file being written."""
    try:
        yield
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}") from error


def _read_text(
    file: io.BufferedReader, vocabulary: Vocabulary, fingerprint: Fingerprint | None
) -> np.ndarray:
    ids = _IdFile()
    for piece in _pieces(file, vocabulary.whole_words):
        try:
            learnt = vocabulary.learn(piece)
        except BadToken as error:
            raise BadFile(f"holds {error.at(len(ids))}") from None
        ids.append(learnt, len(vocabulary))
        if fingerprint:
            fingerprint.add(learnt)
    return ids.map()


def _pieces(file: io.BufferedReader, whole_words: bool) -> Iterator[str]:
    """The text in pieces, with universal newlines."""
    decoder = io.IncrementalNewlineDecoder(
        codecs.getincrementaldecoder("utf-8-sig")(), translate=True
    )
    rest = ""
    block = None
    while block != b"":
        with _reading():
            block = file.read(_BLOCK)
        try:
            piece = rest + decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            place = file.tell() - len(error.object) + error.start
            byte = error.object[error.start]
            raise BadFile(f"is not UTF-8 text: byte {place:,} is 0x{byte:02x}") from None
        if "\0" in piece:
            raise BadFile("is not text: it holds bytes that are 0")
        # The part after the last white space may be half a word.
        end = len(piece)
        if whole_words and block and piece and not piece[-1].isspace():
            end -= len(piece.rsplit(maxsplit=1)[-1])
        rest = piece[end:]
        if len(rest) > _LONGEST_WORD:
            raise BadFile(f"is not text: it holds a word of more than {_LONGEST_WORD:,} characters")
        yield piece[:end]


class _IdFile:
    """Ids in a temporary file, each in as few bytes as the largest needs."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - as long as it is mapped
        self._dtype = np.dtype(np.uint8)
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, ids: np.ndarray, n_vocab: int) -> None:
        dtype = np.min_scalar_type(max(n_vocab, 1) - 1)
        if dtype != self._dtype:
            self._widen(dtype)
        self._file.write(ids.astype(dtype).tobytes())
        self._length += len(ids)

    def _widen(self, dtype: np.dtype) -> None:
        narrow, self._file = self._file, tempfile.TemporaryFile()  # noqa: SIM115
        with narrow:
            narrow.seek(0)
            while block := narrow.read(_BLOCK):
                self._file.write(np.frombuffer(block, self._dtype).astype(dtype).tobytes())
        self._dtype = dtype

    def map(self) -> np.ndarray:
        if not self._length:
            return np.empty(0, self._dtype)
        with self._file:
            self._file.flush()
            return np.memmap(self._file, self._dtype, "r", shape=(self._length,))
