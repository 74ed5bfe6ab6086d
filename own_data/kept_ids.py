"""The ids of a large text, kept in a file beside it, so that the next run starts at once.

The file is a line of JSON that identifies the text, a line with its SHA-256, and the ids, aligned
to 64 bytes. It is used only with the same text, kind of tokens and vocabulary. Deleting it costs
nothing but time.
"""

import contextlib
import glob
import hashlib
import json
import os
import shutil
import stat
from io import BufferedReader
from typing import IO, Any, BinaryIO

import numpy as np

from own_data.mapped_ids import MappedIds, Watch, map_ids
from own_data.vocabulary import BadToken, Vocabulary
from support.command_line import one_line
from support.files import BadFile, open_file, remove_temporary_files, write_file

# From this many bytes of text a file is worth it. A text of this size takes 1.4 to 5 seconds to
# read as words, a third of a second as characters; kept ids take hundredths of a second.
WORTH = 2**26
_FORMAT = 1
_BEGINNING = b'{"ids of": {'
_TYPES = [np.dtype(name).str for name in ("u1", "u2", "u4")]
_MOST_BYTES = 2**28  # of the first line, which is mostly the vocabulary
_BLOCK = 2**16  # bytes at a time; copying by the megabyte takes three times as long
_N_SAMPLES = 64


class KeptIds:
    """The file for the ids of one text.

    Args:
        text: the open text, at least :data:`WORTH` bytes of it.
        path: of the text.
        vocabulary: as known before the text is read.

    Raises:
        OSError: if the text cannot be read.
    """

    def __init__(self, text: BufferedReader, path: str, vocabulary: Vocabulary) -> None:
        self._text, self._text_path, self._vocabulary = text, path, vocabulary
        self._path = f"{path}.{vocabulary.kind}-ids"
        self._n_known = len(vocabulary)
        known = "\0".join([str(self._n_known), *vocabulary.tokens()])
        self._of = {
            "format": _FORMAT,
            "kind": vocabulary.kind,
            "known": hashlib.sha256(known.encode()).hexdigest(),
            "text": _state(text),
        }

    def find(self) -> MappedIds | None:
        """The ids, if they are kept; the vocabulary then learns what the text would teach it."""
        found = self._read()
        if found is None:
            return None
        ids, tokens = found
        try:
            self._vocabulary.add(tokens)
        except BadToken:  # reading the text will report it, with its place
            return None
        ids.n_vocab = len(self._vocabulary)
        self._say("Took")
        return ids

    def keep(self, ids: BinaryIO, dtype: np.dtype) -> None:
        """Keep the ids of the text if that is safe; else do nothing.

        Args:
            ids: an open file that holds only the ids.
            dtype: their type.
        """
        with contextlib.suppress(OSError, BadFile):
            n_bytes = ids.seek(0, os.SEEK_END)
            about = {
                "ids of": self._of,
                "type": dtype.str,
                "sample": _sample(ids, 0, n_bytes),
                "learnt": "\0".join(self._vocabulary.learnt(self._n_known)),
            }
            line = json.dumps(about, ensure_ascii=False).encode() + b"\n"
            if len(line) <= _MOST_BYTES and self._may_be_written(n_bytes):
                write_file(self._path, lambda file: self._write(file, line, ids))
                self._say("Kept")

    def _say(self, verb: str) -> None:
        where = f"{'in' if verb == 'Kept' else 'from'} {self._path}"
        line = f"{verb} the ids of {self._text_path} {where}, which may be deleted at any time"
        print(one_line(line), flush=True)

    def _may_be_written(self, n_bytes: int) -> bool:
        if self._of["text"] != _state(self._text):
            return False  # the text has changed, and the ids may be of either version
        if os.path.lexists(self._path):
            with open_file(self._path) as file:
                beginning = file.read(len(_BEGINNING))
            if os.path.islink(self._path) or beginning not in (b"", _BEGINNING):
                return False  # the user's own
        folder, name = os.path.split(os.path.join(".", self._path))
        remove_temporary_files(folder, f".{name}.")
        being_written = os.path.join(glob.escape(folder), f".{glob.escape(name)}.*.tmp")
        if glob.glob(being_written) or self._read() is not None:
            return False  # another process is writing them, or has written them
        # Leave room for what the training writes.
        return shutil.disk_usage(folder).free > 2 * n_bytes

    def _write(self, file: BinaryIO, line: bytes, ids: BinaryIO) -> None:
        mode = os.fstat(self._text.fileno()).st_mode
        os.chmod(file.name, stat.S_IMODE(mode) & 0o666)  # a private text has private ids
        file.write(line + _seal(line))
        file.seek(_aligned(file.tell()))
        ids.seek(0)
        shutil.copyfileobj(ids, file, _BLOCK)

    def _read(self) -> tuple[MappedIds, list[str]] | None:
        """The ids and the tokens learnt with them; None if none are kept of this text."""
        try:
            with open_file(self._path) as file:
                return self._read_open(file)
        except Exception:  # damage can raise almost anything; the text can be read instead
            return None

    def _read_open(self, file: BufferedReader) -> tuple[MappedIds, list[str]] | None:
        watch = Watch(file, self._path)
        line = file.readline(_MOST_BYTES)
        if file.readline(len(_seal(b""))) != _seal(line):
            return None
        about = json.loads(line)
        start, end = _aligned(file.tell()), os.fstat(file.fileno()).st_size
        if about["ids of"] != self._of or about["type"] not in _TYPES:
            return None
        if about["sample"] != _sample(file, start, end):
            return None
        learnt = about["learnt"].encode().decode()  # refuses what UTF-8 cannot encode
        tokens = learnt.split("\0") if learnt else []
        if len(set(tokens)) < len(tokens):
            return None
        if self._vocabulary.kind == "char" and any(len(token) != 1 for token in tokens):
            return None
        dtype = np.dtype(about["type"])
        length, rest = divmod(end - start, dtype.itemsize)
        return None if rest else (map_ids(file, watch, dtype, start, length), tokens)


def _seal(line: bytes) -> bytes:
    return hashlib.sha256(line).hexdigest().encode() + b"\n"


def _aligned(place: int) -> int:
    return -(-place // 64) * 64


def _state(text: BufferedReader) -> list[Any]:
    """What changes with a text, including its ctime, which cannot be set; rewinds the file.

    The sample is for file systems without that time, or restored ones.
    """
    status = os.fstat(text.fileno())
    sample = _sample(text, 0, status.st_size)
    text.seek(0)
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, sample]


def _sample(file: IO[bytes], start: int, end: int) -> str:
    """SHA-256 of a length and of evenly spaced blocks, including the first and the last."""
    sha = hashlib.sha256(b"%d" % (end - start))
    for place in np.linspace(0, max(end - start - _BLOCK, 0), _N_SAMPLES).astype(int).tolist():
        file.seek(start + place)
        sha.update(file.read(_BLOCK))
    return sha.hexdigest()
