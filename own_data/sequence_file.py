"""Reads the user's own file as one long sequence of ids, whatever its size.

A small NumPy array is copied; a large one is mapped into memory. Text of numbers, characters or
words becomes ids piece by piece. They go into an unnamed temporary file, which is also mapped and
which disappears with the process, however it ends. The ids of a large text are kept for the next
run as well. So the memory taken does not grow with the file.
"""

import codecs
import contextlib
import hashlib
import io
import os
import tempfile
from collections.abc import Iterator

import numpy as np

from own_data.kept_ids import WORTH, KeptIds
from own_data.mapped_ids import Watch, map_ids
from own_data.vocabulary import BadToken, IntegerVocabulary, Vocabulary
from support.files import BadFile, Unreadable, open_file, read_npy_header

_SMALL = 2**26  # bytes; a smaller array is copied, to be safe from changes of the file
_BLOCK = 2**16  # bytes of text, or ids, at a time: few enough to stay in the cache
_LONGEST_WORD = 2**20  # characters; a file with a longer word is not text
_N_SAMPLES = 64  # blocks in a fingerprint


def read_sequence(path: str, vocabulary: Vocabulary, keep: bool = True) -> np.ndarray:
    """The ids in a file, checked to be in the vocabulary.

    Args:
        path: with an :class:`IntegerVocabulary` a NumPy array (``.npy``) or whole numbers separated
            by white space, else text; text is in UTF-8.
        vocabulary: learns new tokens.
        keep: whether to keep the ids of a large text beside it. Keeping and finding them prints a
            line.

    Returns:
        numpy.ndarray: at least two ids, one-dimensional, of any integer type. A large array and
        kept ids are :class:`own_data.mapped_ids.MappedIds`.

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
                ids = _read_array(file, path, vocabulary)
        else:
            ids = _read_text(file, path, vocabulary, keep)
    if len(ids) < 2:
        count = "only one token" if len(ids) else "no token"
        raise BadFile(f"holds {count}, and predicting one from another takes two")
    return ids


def fingerprint(ids: np.ndarray, vocabulary: Vocabulary) -> str:
    """What tells two sequences apart, without reading long ones completely.

    Length, vocabulary, and 64 evenly spaced blocks of 65,536 ids, which are all of up to 4 million.

    Returns:
        str: continues "data", as in "of 100 tokens with fingerprint 0123456789abcdef".
    """
    sha = hashlib.sha256()
    sha.update("\n".join(vocabulary.tokens()).encode())
    starts = np.linspace(0, max(len(ids) - _BLOCK, 0), _N_SAMPLES).astype(np.int64)
    for start in np.unique(starts):
        sha.update(ids[start : start + _BLOCK].astype("<i4").tobytes())
    return f"of {len(ids):,} tokens with fingerprint {sha.hexdigest()[:16]}"


def _read_array(file: io.BufferedReader, path: str, vocabulary: IntegerVocabulary) -> np.ndarray:
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
    n_ids = length if 0 < n_bytes <= _SMALL else _BLOCK
    ids = np.empty(n_ids, dtype)
    for start in range(0, length, n_ids):
        part = ids[: length - start]
        if file.readinto(part.view(np.uint8).data) < part.nbytes:
            raise BadFile("became shorter while it was read")
        try:
            vocabulary.learn_ids(part)
        except BadToken as error:
            raise BadFile(f"holds {error.at(start)}") from None
    watch.check()
    if n_bytes <= _SMALL:
        return ids[:length]
    return map_ids(file, watch, dtype, offset, length)


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """Distinguish errors of the file being read from those of a temporary file being written."""
    try:
        yield
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}") from error


def _read_text(
    file: io.BufferedReader, path: str, vocabulary: Vocabulary, keep: bool
) -> np.ndarray:
    """The ids of an open text, the kept ones if there are any."""
    if os.fstat(file.fileno()).st_size < WORTH:
        return _tokenise(file, vocabulary).map()
    with _reading():
        kept = KeptIds(file, path, vocabulary)
    found = kept.find()
    if found is not None:
        return found
    ids = _tokenise(file, vocabulary)
    if keep and len(ids) > 1:
        kept.keep(ids.file, ids.dtype)
    return ids.map()


def _tokenise(file: io.BufferedReader, vocabulary: Vocabulary) -> "_IdFile":
    ids = _IdFile()
    for piece in _pieces(file, vocabulary.whole_words):
        try:
            ids.append(vocabulary.learn(piece), len(vocabulary))
        except BadToken as error:
            raise BadFile(f"holds {error.at(len(ids))}") from None
    ids.file.flush()
    return ids


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
        if whole_words and block:
            end = max(piece.rfind(" "), piece.rfind("\n")) + 1
        rest = piece[end:]
        if len(rest) > _LONGEST_WORD:
            raise BadFile(f"is not text: it holds a word of more than {_LONGEST_WORD:,} characters")
        yield piece[:end]


class _IdFile:
    """Ids in a temporary file, each in as few bytes as the largest needs."""

    def __init__(self) -> None:
        self.file = tempfile.TemporaryFile()  # noqa: SIM115 - as long as it is mapped
        self.dtype = np.dtype(np.uint8)
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, ids: np.ndarray, n_vocab: int) -> None:
        dtype = np.min_scalar_type(max(n_vocab, 1) - 1)
        if dtype != self.dtype:
            self._widen(dtype)
        self.file.write(ids.astype(dtype).tobytes())
        self._length += len(ids)

    def _widen(self, dtype: np.dtype) -> None:
        narrow, self.file = self.file, tempfile.TemporaryFile()  # noqa: SIM115
        with narrow:
            narrow.seek(0)
            while block := narrow.read(_BLOCK):
                self.file.write(np.frombuffer(block, self.dtype).astype(dtype).tobytes())
        self.dtype = dtype

    def map(self) -> np.ndarray:
        if not self._length:
            return np.empty(0, self.dtype)
        with self.file:
            return np.memmap(self.file, self.dtype, "r", shape=(self._length,))
