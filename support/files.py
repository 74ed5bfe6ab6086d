"""Files that are complete or absent, and arrays that are intact or refused.

A file is written under a temporary name, flushed to the disk, then renamed. So it is complete or
absent, and nothing is written through a link that somebody has left there. Arrays go into NumPy's
npz format, which any ``numpy.load`` reads. A SHA-256 of all other bytes, in the archive's comment,
seals them. Reading never unpickles, and never allocates
memory only because a damaged or hostile file says so.
"""

import contextlib
import errno
import fcntl
import hashlib
import math
import os
import re
import secrets
import stat
import struct
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import BufferedReader, FileIO
from typing import IO, BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

_KINDS = "biufSU"  # types of arrays that may be read: numbers and text
_SEAL = b"sha256:"
_DIGEST_LENGTH = 64  # hexadecimal digits
_MAX_RATIO = 32  # of size in memory to size on disk; trained parameters hardly compress
# Errors that mean that there is no file of that name.
_NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)
# Opens what stands under a name itself, and does not wait where that is a pipe.
_ITSELF = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_HOLDER = b"process "  # what a lock file begins with
_LONGEST_HOLDER = 1024  # bytes


class BadFile(Exception):
    """A file that cannot be used; the text says why, as the end of a sentence about the file."""


class NoFile(BadFile):
    """There is no file of that name."""


class Unreadable(BadFile):
    """The operating system cannot read the file now; the file itself may be good."""


class InUse(Exception):
    """Another process holds the file; the text is what that process says of itself."""


@contextlib.contextmanager
def naming(path: str) -> Iterator[None]:
    """Add the file's name to an OSError; those from reading and writing lack it."""
    try:
        yield
    except OSError as error:
        error.filename = path
        raise


def write_file(path: str, write: Callable[[BinaryIO], object]) -> None:
    """Make a file appear under its name only when complete.

    Args:
        path (str): the file; an existing one is replaced.
        write: called with a binary file open for reading and writing.

    Raises:
        OSError: if that fails; an existing file is then unchanged.
    """
    folder = os.path.dirname(path)
    temporary = os.path.join(folder, f"{_beginning()}{secrets.token_hex(16)}.tmp")
    try:
        with open(temporary, "x+b") as file:  # "x" follows no link
            _lock(file)
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        if isinstance(error, OSError):
            error.filename = path  # the name the user knows
        raise
    _sync_folder(folder)


def _beginning() -> str:
    """How the names of this command's temporary files begin."""
    command = os.path.splitext(os.path.basename(sys.argv[0]))[0]
    return f".{re.sub(r'[^A-Za-z0-9_]', '_', command)[:64]}-"


def check_writable(folder: str) -> None:
    """Raise OSError if no file can be made in the folder."""
    probe = os.path.join(folder, f"{_beginning()}{secrets.token_hex(16)}.tmp")
    with open(probe, "xb"):
        pass
    os.remove(probe)


def _sync_folder(folder: str) -> None:
    """Make the renaming durable, on systems where a folder can be opened."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder or ".", os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_temporary_files(folder: str) -> None:
    """Remove what this command, killed while writing, has left in ``folder``.

    Call this only while :func:`held` keeps other processes of the command from writing there.
    Files of other users and of other commands stay.
    """
    ours = re.compile(re.escape(_beginning()) + r"[0-9a-f]{32}\.tmp")
    for name in filter(ours.fullmatch, os.listdir(folder)):
        path = os.path.join(folder, name)
        with contextlib.suppress(OSError), open(os.open(path, os.O_RDONLY | _ITSELF), "rb") as file:
            status = os.fstat(file.fileno())
            if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and _lock(file):
                os.remove(path)


def _lock(file: BinaryIO | FileIO) -> bool:
    """Lock the file until it is closed; return whether no other process has it locked."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # the file system has no such locks
    return True


@contextlib.contextmanager
def held(path: str, holder: str) -> Iterator[None]:
    """Hold a lock file, so that no other process can.

    The kernel releases it when the process ends, however it ends. On a file system without locks
    nobody is kept out.

    Args:
        path (str): the lock file; it is made, and removed at the end.
        holder (str): what other processes are told meanwhile; it begins with "process ".

    Raises:
        InUse: if another process holds it.
        BadFile: if something else has that name; it is unchanged then.
        OSError: if the file cannot be made.
    """
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _ITSELF, 0o666)
        except OSError as error:
            if os.path.islink(path):
                raise BadFile("is a link") from error
            raise
        with open(descriptor, "r+b", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise BadFile("is not a regular file")
            locked, text = _lock(file), file.read(_LONGEST_HOLDER)
            # Its last holder may have removed it after we opened it.
            if locked and not _is_at(file, path):
                continue
            if os.fstat(descriptor).st_nlink > 1:
                raise BadFile("has another name too")
            if text[: len(_HOLDER)] != _HOLDER[: len(text)]:
                raise BadFile("is not a lock file")
            if not locked:
                raise InUse(text.decode(errors="replace"))
            with contextlib.suppress(OSError):  # on a full disk the holder stays unnamed
                file.truncate(0)
                file.seek(0)
                file.write(holder.encode(errors="replace")[:_LONGEST_HOLDER])
            try:
                yield
            finally:
                with contextlib.suppress(OSError):
                    if _is_at(file, path):
                        os.remove(path)
            return


def _is_at(file: FileIO, path: str) -> bool:
    """Whether the open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.lstat(path))
    except FileNotFoundError:
        return False


def move_files(paths: Iterable[str], folder: str) -> None:
    """Move files, in this order, into a new folder on the same file system.

    Raises:
        OSError: if that fails; each file is then in its old or its new place.
    """
    os.mkdir(folder)
    try:
        for path in paths:
            os.rename(path, os.path.join(folder, os.path.basename(path)))
    except OSError:
        with contextlib.suppress(OSError):  # it holds what could be moved
            os.rmdir(folder)
        raise
    _sync_folder(folder)


def write_arrays(path: str, arrays: Mapping[str, ArrayLike]) -> None:
    """Write a sealed npz file.

    Args:
        path (str): the file.
        arrays (dict): arrays by name, without objects.

    Raises:
        OSError: if that fails; an existing file is then unchanged.
    """

    def write(file: BinaryIO) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            for name, array in arrays.items():
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
        # A zip file without a comment ends with the comment's length.
        file.seek(-2, os.SEEK_END)
        file.write(struct.pack("<H", len(_SEAL) + _DIGEST_LENGTH) + _SEAL)
        file.write(_digest(file, file.tell()))

    write_file(path, write)


def _digest(file: BinaryIO, length: int) -> bytes:
    """SHA-256 of the first ``length`` bytes, in hexadecimal; leaves the file at ``length``."""
    sha = hashlib.sha256()
    file.seek(0)
    while length > 0 and (block := file.read(min(length, 1 << 20))):
        sha.update(block)
        length -= len(block)
    return sha.hexdigest().encode()


def read_arrays(
    path: str, only: str | None = None, sealed: bool = True, limit: int | None = None
) -> dict[str, NDArray]:
    """Read an npz file without trusting it.

    Args:
        path (str): the file.
        only (str or None): read only the array of this name, and do not check the seal.
        sealed (bool): refuse a file without a seal. Model files of other programs have none; only
            the zip format's checksums protect them.
        limit (int or None): how many bytes of memory the arrays may take at most.

    Returns:
        dict: arrays by name.

    Raises:
        NoFile, Unreadable: see :func:`open_file`.
        BadFile: if the file is damaged, holds objects, or would take too much memory.
    """
    with open_file(path) as file:
        try:
            size = os.fstat(file.fileno()).st_size
            if size == 0:
                raise BadFile("is empty")
            if only is None:
                _check_seal(file, sealed)
            with zipfile.ZipFile(file) as archive:
                return _read_archive(archive, min(_MAX_RATIO * size, limit or math.inf), only)
        except (BadFile, MemoryError):
            raise
        except Exception as error:
            # On damaged input the zip and npy readers raise almost anything. The zip reader reports
            # a read error as damage, and damage can make it seek to nowhere.
            for reason in error, error.__context__:
                if isinstance(reason, OSError) and reason.errno != errno.EINVAL:
                    raise Unreadable(f"cannot be read: {reason.strerror}") from error
            raise BadFile("is damaged or of another format") from error


def open_file(path: str) -> BufferedReader:
    """Open a regular file for reading in binary.

    Raises:
        NoFile: if there is none.
        Unreadable: if it cannot be opened.
    """
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise NoFile("is a folder")
        if not stat.S_ISREG(mode):
            raise NoFile("is not a regular file")  # opening a pipe could take forever
        return open(path, "rb")
    except FileNotFoundError:
        raise NoFile("does not exist") from None
    except PermissionError:
        raise Unreadable("may not be read") from None
    except OSError as error:
        kind = NoFile if error.errno in _NOWHERE else Unreadable
        raise kind(f"cannot be read: {error.strerror}") from error
    except ValueError as error:  # a name that no file can have
        raise NoFile(f"cannot be read: {error}") from error


def _check_seal(file: BinaryIO, required: bool) -> None:
    length = file.seek(0, os.SEEK_END) - _DIGEST_LENGTH
    file.seek(max(length - len(_SEAL), 0))
    if file.read(len(_SEAL)) != _SEAL:
        if required:
            raise BadFile("is damaged or of another format: it has no checksum")
        # A zip file without a comment ends with this record. If not, the seal may be cut off.
        file.seek(max(length + _DIGEST_LENGTH - 22, 0))
        record = file.read()
        if record[:4] != b"PK\5\6" or record[-2:] != b"\0\0":
            raise BadFile("is damaged or of another format")
        return
    digest = file.read()
    if _digest(file, length) != digest:
        raise BadFile("is damaged: its checksum does not match")


def _read_archive(archive: zipfile.ZipFile, limit: float, only: str | None) -> dict[str, NDArray]:
    members = archive.infolist()
    if sum(member.file_size for member in members) > limit:
        raise BadFile(f"would unpack to more than the {limit:,} bytes that it may hold")
    if any(m.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for m in members):
        raise BadFile("is compressed in a way that NumPy does not use")
    names = [member.filename.removesuffix(".npy") for member in members]
    if len(set(names)) < len(names):
        raise BadFile("holds an array twice")
    arrays = {}
    for name, member in zip(names, members, strict=True):
        if only is None or name == only:
            with archive.open(member) as file:
                arrays[name] = _read_array(file, member.file_size, name)
    return arrays


def _read_array(file: IO[bytes], size: int, name: str) -> NDArray:
    """One array in npy format; its type and size are checked before memory is allocated."""
    shape, fortran_order, dtype = read_npy_header(file)
    if dtype.hasobject:
        raise BadFile(f"holds objects ({name}), which are never loaded")
    if dtype.kind not in _KINDS:
        raise BadFile(f"holds something other than numbers and text ({name})")
    count = math.prod(shape)
    n_bytes = count * dtype.itemsize
    if min(shape, default=0) < 0 or n_bytes != size - file.tell():
        raise BadFile(f"is damaged: {name} does not have the size that it says")
    data = bytearray(file.read(n_bytes))
    file.read(1)  # reading to the end verifies the zip format's checksum
    flat = np.frombuffer(data, dtype, count) if count else np.empty(0, dtype)
    return flat.reshape(shape, order="F" if fortran_order else "C")


def read_npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether in Fortran order, and type of the array in npy format that begins here.

    Raises:
        BadFile: if none begins here.
    """
    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            header = np.lib.format.read_array_header_1_0(file)
        elif version == (2, 0):
            header = np.lib.format.read_array_header_2_0(file)
        else:
            raise BadFile("holds an array in an unknown version of the npy format")
        if bool in map(type, header[0]):
            raise ValueError("True, which is an int to Python, is no length")
    except (BadFile, OSError):
        raise
    except Exception as error:
        # On damaged input NumPy's readers raise almost anything.
        raise BadFile("is damaged or of another format") from error
    return header
