import bz2
import errno
import hashlib
import io
import lzma
import os
import pickle
import signal
import struct
import tracemalloc
import warnings
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from support import files
from support.files import BadFile, read_arrays, remove_temporary_files, write_arrays, write_file

SEAL = b"sha256:"
SEAL_LENGTH = len(SEAL) + 64


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "file")


def content(path):
    with open(path, "rb") as file:
        return file.read()


def overwrite(path, data):
    with open(path, "wb") as file:
        file.write(data)


def seal(data):
    """An archive without a comment, sealed as the module says it is."""
    data = data[:-2] + struct.pack("<H", SEAL_LENGTH) + SEAL
    return data + hashlib.sha256(data).hexdigest().encode()


def npy(array=None, header=None, data=b"", version=(1, 0)):
    """A member of an npz file; with ``header``, one that says what its data may not keep."""
    file = io.BytesIO()
    if header is None:
        np.lib.format.write_array(file, np.asarray(array), version)
        return file.getvalue()
    text = repr(header).encode()
    text += b" " * (-(10 + len(text) + 1) % 64) + b"\n"
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H", len(text)) + text + data


def archive(*members, compression=zipfile.ZIP_STORED):
    """Bytes of a zip file of members ``(name, data)``, in this order."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that is there twice
        with zipfile.ZipFile(file, "w", compression) as out:
            for name, data in members:
                out.writestr(name, data)
    return file.getvalue()


def assert_equal(actual, expected):
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        array = np.asarray(array)
        assert (actual[name].dtype, actual[name].shape) == (array.dtype, array.shape)
        assert actual[name].tobytes() == array.tobytes()


class TestWriteFile:
    @pytest.mark.parametrize("name", [255 * "a", 63 * "\U0001f600"])
    def test_takes_a_name_as_long_as_names_can_be(self, tmp_path, name):
        write_file(str(tmp_path / name), lambda file: file.write(b"new"))
        assert os.listdir(tmp_path) == [name]

    def test_writes_what_is_written(self, path):
        write_file(path, lambda file: file.write(b"new"))
        assert content(path) == b"new"

    def test_replaces_what_was_there(self, path):
        overwrite(path, b"old and longer")
        write_file(path, lambda file: file.write(b"new"))
        assert content(path) == b"new"

    def test_leaves_no_other_file(self, path, tmp_path):
        write_file(path, lambda file: file.write(b"new"))
        assert os.listdir(tmp_path) == ["file"]

    def test_takes_a_name_without_a_folder(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        write_file("file", lambda file: file.write(b"new"))
        assert content("file") == b"new"

    def test_shows_the_file_under_its_name_only_when_complete(self, path):
        overwrite(path, b"old")

        def write(file):
            file.write(b"new")
            file.flush()
            assert content(path) == b"old"

        write_file(path, write)

    def test_flushes_to_the_disk_before_it_renames_and_the_name_thereafter(self, path, monkeypatch):
        steps = []
        fsync, replace = os.fsync, os.replace

        def recorded_fsync(descriptor):
            is_folder = os.path.isdir(f"/proc/self/fd/{descriptor}")
            size = os.fstat(descriptor).st_size
            steps.append("fsync of the folder" if is_folder else f"fsync of {size} bytes")
            fsync(descriptor)

        def recorded_replace(*names):
            steps.append("replace")
            replace(*names)

        monkeypatch.setattr(os, "fsync", recorded_fsync)
        monkeypatch.setattr(os, "replace", recorded_replace)
        write_file(path, lambda file: file.write(b"123"))
        assert steps == ["fsync of 3 bytes", "replace", "fsync of the folder"]

    @pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), KeyboardInterrupt()])
    def test_failing_while_writing_leaves_all_as_it_was(self, path, tmp_path, error):
        overwrite(path, b"old")

        def write(file):
            file.write(b"new")
            raise error

        with pytest.raises(type(error)):
            write_file(path, write)
        assert os.listdir(tmp_path) == ["file"]
        assert content(path) == b"old"


class TestWriteFileOnAFailingDisk:
    """An error of the operating system at each step; the old file stays, and nothing else."""

    class Full(io.BufferedRandom):
        """A file on which one operation fails."""

        def __init__(self, path, operation):
            super().__init__(io.FileIO(path, "w+"))
            if operation != "close":
                setattr(self, operation, self.fail)
            self.operation = operation

        @staticmethod
        def fail(*arguments):
            raise OSError(errno.ENOSPC, "full")

        def close(self):
            was_open = not self.closed
            super().close()
            if was_open and self.operation == "close":
                self.fail()

    @pytest.fixture(params=["open", "write", "flush", "fsync", "close", "replace"])
    def failing(self, request, monkeypatch):
        def fail(*arguments):
            raise OSError(errno.ENOSPC, "full", "a name that the user does not know")

        if request.param == "open":
            monkeypatch.setattr(files, "open", fail, raising=False)
        elif hasattr(os, request.param) and request.param not in ("write", "close"):
            monkeypatch.setattr(os, request.param, fail)
        else:
            full = lambda path, mode: self.Full(path, request.param)  # noqa: E731
            monkeypatch.setattr(files, "open", full, raising=False)

    def write(self, path):
        with pytest.raises(OSError) as error:
            write_file(path, lambda file: file.write(b"new"))
        return error.value

    def test_keeps_the_old_file(self, path, failing):
        overwrite(path, b"old")
        self.write(path)
        assert content(path) == b"old"

    def test_makes_no_file_where_there_was_none(self, path, tmp_path, failing):
        self.write(path)
        assert os.listdir(tmp_path) == []

    def test_keeps_no_temporary_file(self, path, tmp_path, failing):
        overwrite(path, b"old")
        self.write(path)
        assert os.listdir(tmp_path) == ["file"]

    def test_names_the_file_in_the_error(self, path, failing):
        assert self.write(path).filename == path

    def test_keeps_the_reason_of_the_error(self, path, failing):
        assert self.write(path).strerror == "full"

    def test_keeps_the_old_file_where_arrays_are_written(self, path, tmp_path, failing):
        overwrite(path, b"old")
        with pytest.raises(OSError) as error:
            write_arrays(path, {"a": np.arange(3)})
        assert error.value.filename == path
        assert content(path) == b"old"
        assert os.listdir(tmp_path) == ["file"]

    def test_does_not_mind_a_folder_that_cannot_be_flushed(self, path, monkeypatch):
        """As on file systems that do not know of that."""
        fsync = os.fsync

        def fail_on_folders(descriptor):
            if os.path.isdir(f"/proc/self/fd/{descriptor}"):
                raise OSError(errno.EINVAL, "not here")
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", fail_on_folders)
        write_file(path, lambda file: file.write(b"new"))
        assert content(path) == b"new"


class TestRemoveTemporaryFiles:
    def test_removes_what_a_killed_run_has_left(self, path, tmp_path, monkeypatch):
        class Killed(BaseException):
            """Stands for the end of the process: nothing is cleaned up."""

        def die(*arguments):
            monkeypatch.setattr(os, "remove", die)
            raise Killed

        remove = os.remove
        monkeypatch.setattr(os, "replace", die)
        with pytest.raises(Killed):
            write_file(path, lambda file: file.write(b"new"))
        assert len(os.listdir(tmp_path)) == 1
        monkeypatch.setattr(os, "remove", remove)
        remove_temporary_files(tmp_path)
        assert os.listdir(tmp_path) == []

    @pytest.mark.parametrize("name", ["log", "log.tmp", ".hidden", "tmp", ".notes.tmp"])
    def test_keeps_files_of_others(self, tmp_path, name):
        (tmp_path / name).touch()
        remove_temporary_files(tmp_path)
        assert os.listdir(tmp_path) == [name]

    def test_keeps_what_another_run_is_writing(self, path, tmp_path):
        def write(file):
            file.write(b"new")
            remove_temporary_files(str(tmp_path))

        write_file(path, write)
        assert content(path) == b"new"


DTYPES = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?"),
    hnp.unicode_string_dtypes(max_len=5),
    hnp.byte_string_dtypes(max_len=5),
)
ARRAYS = DTYPES.flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0))
)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)


class TestRoundTrip:
    @given(st.dictionaries(NAMES, ARRAYS, max_size=4))
    @settings(
        max_examples=60,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    def test_gives_what_was_written(self, path, arrays):
        write_arrays(path, arrays)
        assert_equal(read_arrays(path), arrays)

    @pytest.mark.parametrize(
        "array",
        [
            np.float32(3.5),
            np.array(7),
            np.empty(0),
            np.empty((3, 0, 2), np.int8),
            np.array("counting"),
            np.array(""),
            np.array(["a", "bcd"]),
            np.array(b"bytes"),
            np.asfortranarray(np.arange(6.0).reshape(2, 3)),
            np.arange(20)[::3],
            np.arange(3, dtype=">i4"),
            np.array([np.nan, np.inf, -0.0]),
            np.array([True, False]),
        ],
        ids=lambda array: f"{array.dtype}{array.shape}",
    )
    def test_keeps_type_shape_and_value(self, path, array):
        write_arrays(path, {"a": array})
        assert_equal(read_arrays(path), {"a": array})

    def test_keeps_a_text(self, path):
        write_arrays(path, {"a": '{"unit": 100}'})
        assert str(read_arrays(path)["a"]) == '{"unit": 100}'

    def test_gives_arrays_that_can_be_written_to(self, path):
        write_arrays(path, {"a": np.zeros(3)})
        read_arrays(path)["a"][1] = 1

    def test_of_one_array_alone(self, path):
        write_arrays(path, {"a": np.zeros(3), "b": np.ones(2)})
        assert_equal(read_arrays(path, only="b"), {"b": np.ones(2)})

    def test_of_one_array_that_is_not_there_gives_none(self, path):
        write_arrays(path, {"a": np.zeros(3)})
        assert read_arrays(path, only="b") == {}

    def test_is_read_by_numpy(self, path):
        arrays = {"layer/W": np.arange(6.0).reshape(2, 3), "b": np.array("text")}
        write_arrays(path, arrays)
        with np.load(path, allow_pickle=False) as file:
            assert_equal(dict(file), arrays)

    def test_is_a_zip_file(self, path):
        write_arrays(path, {"a": np.zeros(3)})
        with zipfile.ZipFile(path) as file:
            assert file.testzip() is None

    def test_writes_no_objects(self, path):
        with pytest.raises(ValueError):
            write_arrays(path, {"a": np.array([{}])})
        assert not os.path.exists(path)


class TestSeal:
    @pytest.fixture
    def sealed(self, path):
        """A small sealed file."""
        write_arrays(path, {"W": np.arange(4, dtype=np.float32), "t": np.array("x")})
        return content(path)

    def test_is_the_sha256_of_all_before_it(self, sealed):
        assert sealed[-SEAL_LENGTH:-64] == SEAL
        assert sealed[-64:] == hashlib.sha256(sealed[:-64]).hexdigest().encode()

    def test_is_broken_by_any_byte_that_is_changed(self, path, sealed):
        for place in range(len(sealed)):
            for change in 1, 0xFF:
                damaged = bytearray(sealed)
                damaged[place] ^= change
                overwrite(path, damaged)
                with pytest.raises(BadFile):
                    read_arrays(path)

    def test_is_broken_by_a_cut_at_any_length(self, path, sealed):
        for length in range(len(sealed)):
            overwrite(path, sealed[:length])
            with pytest.raises(BadFile):
                read_arrays(path)

    @pytest.mark.parametrize("addition", [b"\0", b"\n", b"0" * 64, b"PK"])
    def test_is_broken_by_what_is_added(self, path, sealed, addition):
        overwrite(path, sealed + addition)
        with pytest.raises(BadFile):
            read_arrays(path)

    def test_is_broken_by_the_loss_of_any_byte(self, path, sealed):
        for place in range(len(sealed)):
            overwrite(path, sealed[:place] + sealed[place + 1 :])
            with pytest.raises(BadFile):
                read_arrays(path)

    def test_that_is_missing_is_refused(self, path):
        np.savez(open(path, "wb"), a=np.zeros(3))  # noqa: SIM115
        with pytest.raises(BadFile, match="no checksum"):
            read_arrays(path)

    def test_that_is_missing_is_accepted_on_demand(self, path):
        overwrite(path, archive(("a.npy", npy(np.arange(3)))))
        assert_equal(read_arrays(path, sealed=False), {"a": np.arange(3)})

    def test_that_is_wrong_is_refused_even_where_it_may_be_missing(self, path, sealed):
        overwrite(path, sealed[:-1] + bytes([sealed[-1] ^ 1]))
        with pytest.raises(BadFile, match="its checksum does not match"):
            read_arrays(path, sealed=False)

    def test_that_was_cut_is_refused_even_where_it_may_be_missing(self, path, sealed):
        for length in range(len(sealed)):
            overwrite(path, sealed[:length])
            with pytest.raises(BadFile):
                read_arrays(path, sealed=False)


class TestFileOfNoUse:
    @pytest.mark.parametrize(
        "data, reason",
        [
            (b"", "is empty"),
            (b"text", "no checksum"),
            (1000 * b"\0", "no checksum"),
            (SEAL + 64 * b"0", "checksum does not match"),
            (SEAL + hashlib.sha256(SEAL).hexdigest().encode(), "of another format"),
            (seal(b"no zip file at all\0\0"), "of another format"),
            (seal(archive(("a.npy", b""))), "of another format"),
            (seal(archive(("a.npy", b"\x93NUMPY"))), "of another format"),
            (seal(archive(("a.npy", b"no array"))), "of another format"),
            (seal(archive(("a.npy", npy(np.zeros(3), version=(3, 0))))), "unknown version"),
        ],
    )
    def test_is_refused_with_its_reason(self, path, data, reason):
        overwrite(path, data)
        with pytest.raises(BadFile, match=reason):
            read_arrays(path)

    def test_that_is_empty_is_called_so_even_if_only_one_array_is_wanted(self, path):
        overwrite(path, b"")
        with pytest.raises(BadFile, match="is empty"):
            read_arrays(path, only="a")

    def test_that_does_not_exist_is_called_so(self, path):
        with pytest.raises(BadFile, match="does not exist"):
            read_arrays(path)

    def test_that_is_a_folder_is_called_so(self, tmp_path):
        with pytest.raises(BadFile, match="is a folder"):
            read_arrays(tmp_path)

    def test_that_may_not_be_read_is_called_so(self, path, monkeypatch):
        def refuse(*arguments):
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(files, "open", refuse, raising=False)
        with pytest.raises(BadFile, match="may not be read"):
            read_arrays(path)

    @pytest.mark.parametrize("name", [256 * "n", "file/below"], ids=["too long", "below a file"])
    def test_whose_name_cannot_be_is_not_called_damaged(self, tmp_path, name):
        (tmp_path / "file").touch()
        with pytest.raises(BadFile) as refusal:
            read_arrays(str(tmp_path / name))
        assert "damaged" not in str(refusal.value)

    def test_that_is_a_pipe_is_refused_at_once(self, path):
        """Nobody writes into it: whoever opens it, waits."""

        class Waited(BaseException):
            pass

        def interrupt(number, frame):
            raise Waited

        os.mkfifo(path)
        before = signal.signal(signal.SIGALRM, interrupt)
        signal.alarm(2)
        try:
            with pytest.raises(BadFile):
                read_arrays(path)
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)

    def test_that_is_a_device_is_refused_at_once(self):
        with pytest.raises(BadFile):
            read_arrays("/dev/zero", sealed=False)


class WouldWriteAFile:
    """Unpickling this makes a file named ``executed``."""

    def __reduce__(self):
        return open, ("executed", "w")


class TestObjects:
    @pytest.fixture(autouse=True)
    def nothing_is_executed(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        yield
        assert not os.path.exists("executed")

    def test_would_be_executed_by_a_careless_reader(self, tmp_path):
        """Otherwise the other tests would show nothing."""
        file = io.BytesIO()
        np.savez(file, a=np.array([WouldWriteAFile()], dtype=object))
        file.seek(0)
        np.load(file, allow_pickle=True)["a"][0].close()
        assert os.path.exists("executed")
        os.remove("executed")

    @pytest.mark.parametrize("only", [None, "a"])
    def test_are_refused(self, path, only):
        objects = np.array([WouldWriteAFile()], dtype=object)
        file = io.BytesIO()
        np.savez(file, a=objects)
        overwrite(path, seal(file.getvalue()))
        with pytest.raises(BadFile, match=r"holds objects \(a\), which are never loaded"):
            read_arrays(path, only)

    @pytest.mark.parametrize("dtype", ["c8", "M8[s]", "i4,f4", "V3"])
    def test_of_kinds_that_nobody_writes_are_refused(self, path, dtype):
        overwrite(path, seal(archive(("a.npy", npy(np.zeros(2, dtype))))))
        with pytest.raises(BadFile, match="other than numbers and text"):
            read_arrays(path)

    def test_within_a_structure_are_refused(self, path):
        array = np.array([(1, WouldWriteAFile())], dtype=[("number", "i4"), ("thing", "O")])
        file = io.BytesIO()
        np.savez(file, a=array)
        overwrite(path, seal(file.getvalue()))
        with pytest.raises(BadFile, match="holds objects"):
            read_arrays(path)

    @pytest.mark.parametrize("sealed", [True, False])
    def test_pickled_in_place_of_an_archive_are_refused(self, path, sealed):
        overwrite(path, pickle.dumps(WouldWriteAFile()))
        with pytest.raises(BadFile):
            read_arrays(path, sealed=sealed)

    def test_pickled_in_place_of_an_array_are_refused(self, path):
        overwrite(path, seal(archive(("a.npy", pickle.dumps(WouldWriteAFile())))))
        with pytest.raises(BadFile):
            read_arrays(path)


def peak_memory(function):
    """Most bytes that Python and NumPy held at once while the function ran."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class TestBomb:
    """Small files that would be large in memory: refused, and memory is not taken first."""

    SIZE = 2**26

    def refuse(self, path, data, **options):
        overwrite(path, data)

        def read():
            with pytest.raises(BadFile) as refusal:
                read_arrays(path, **options)
            reasons.append(str(refusal.value))

        reasons = []
        assert peak_memory(read) < 2**24
        return reasons[0]

    def zeros(self):
        return npy(header=self.header(self.SIZE), data=bytes(self.SIZE))

    @staticmethod
    def header(length):
        return {"descr": "|u1", "fortran_order": False, "shape": (length,)}

    @pytest.mark.parametrize("only", [None, "a"])
    @pytest.mark.parametrize("sealed", [True, False])
    def test_of_zeros(self, path, only, sealed):
        data = archive(("a.npy", self.zeros()), compression=zipfile.ZIP_DEFLATED)
        assert len(data) < self.SIZE / 500
        options = {"only": only, "sealed": sealed}
        reason = self.refuse(path, seal(data) if sealed else data, **options)
        assert reason.startswith("would unpack to more than")

    def test_of_many_arrays(self, path):
        members = [(f"{i}.npy", npy(np.zeros(2**17))) for i in range(256)]
        data = seal(archive(*members, compression=zipfile.ZIP_DEFLATED))
        assert self.refuse(path, data).startswith("would unpack to more than")

    @pytest.mark.parametrize("method", ["deflate", "bzip2", "lzma"])
    def test_that_lies_about_its_size(self, path, method):
        """The archive says a few bytes, what is compressed are many."""
        honest = npy(header=self.header(1000), data=bytes(1000))
        zeros = self.zeros()
        kinds = {"deflate": 8, "bzip2": 12, "lzma": 14}
        if method == "deflate":
            packer = zlib.compressobj(wbits=-15)
            packed = packer.compress(zeros) + packer.flush()
        elif method == "bzip2":
            packed = bz2.compress(zeros)
        else:
            lzma1 = {"id": lzma.FILTER_LZMA1}
            properties = lzma._encode_filter_properties(lzma1)
            raw = lzma.compress(zeros, format=lzma.FORMAT_RAW, filters=[lzma1])
            packed = struct.pack("<BBH", 9, 4, len(properties)) + properties + raw
        data = archive(("a.npy", packed))
        central = data.index(b"PK\x01\x02")
        kind, size = struct.pack("<H", kinds[method]), struct.pack("<I", len(honest))
        data = bytearray(data)
        data[8:10] = data[central + 10 : central + 12] = kind
        data[22:26] = data[central + 24 : central + 28] = size
        self.refuse(path, seal(bytes(data)))

    @pytest.mark.parametrize(
        "shape", [(2**40,), (2**31, 2**31), (2**62, 4), (2**20, 2**20, 2**20, 2**20), (10**400,)]
    )
    @pytest.mark.parametrize("data", [b"", bytes(1000)], ids=["empty", "1000 bytes"])
    def test_of_a_huge_shape(self, path, shape, data):
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        member = npy(header=header, data=data)
        assert "size that it says" in self.refuse(path, seal(archive(("a.npy", member))))

    def test_of_a_huge_type(self, path):
        header = {"descr": f"|S{2**30}", "fortran_order": False, "shape": (4,)}
        self.refuse(path, seal(archive(("a.npy", npy(header=header, data=bytes(100))))))

    def test_of_a_long_header(self, path):
        header = {"descr": "<f4", "fortran_order": False, "shape": (1,) * 20_000}
        self.refuse(path, seal(archive(("a.npy", npy(header=header, data=bytes(4))))))


class TestLimit:
    @pytest.fixture
    def archived(self, path):
        """Two arrays of 4000 bytes in all."""
        arrays = {"a": np.zeros(250), "b": np.ones(500, np.float32)}
        write_arrays(path, arrays)
        return arrays

    def test_lets_pass_what_is_within_it(self, path, archived):
        assert_equal(read_arrays(path, limit=4300), archived)

    @pytest.mark.parametrize("limit", [1, 2200, 3999])
    def test_refuses_what_is_beyond_it(self, path, archived, limit):
        with pytest.raises(BadFile, match=f"more than the {limit:,} bytes that it may hold"):
            read_arrays(path, limit=limit)


class TestOddArchive:
    @pytest.mark.parametrize(
        "header",
        [
            {"descr": "<f4", "fortran_order": False, "shape": (2,)},
            {"descr": "<f4", "fortran_order": False, "shape": (4,)},
            {"descr": "<f8", "fortran_order": False, "shape": (3,)},
            {"descr": "<f4", "fortran_order": False, "shape": ()},
            {"descr": "<f4", "fortran_order": False, "shape": (-3,)},
            {"descr": "<f4", "fortran_order": False, "shape": (-1, -3)},
            {"descr": "<f4", "fortran_order": False, "shape": (3, 0)},
            {"descr": "<f4", "fortran_order": False, "shape": (3.0,)},
            {"descr": "<f4", "fortran_order": False, "shape": 3},
            {"descr": "<f4", "fortran_order": 2, "shape": (3,)},
            {"descr": "<f4", "fortran_order": False},
            {"descr": "nonsense", "fortran_order": False, "shape": (3,)},
            {"descr": None, "fortran_order": False, "shape": (3,)},
            {"descr": "<U0", "fortran_order": False, "shape": (2**40,)},
            [],
        ],
        ids=str,
    )
    def test_whose_header_lies_about_12_bytes_is_refused(self, path, header):
        overwrite(path, seal(archive(("a.npy", npy(header=header, data=bytes(12))))))
        with pytest.raises(BadFile):
            read_arrays(path)

    def test_that_holds_a_name_twice_is_refused(self, path):
        members = [("a.npy", npy(np.zeros(3))), ("a.npy", npy(np.ones(3)))]
        overwrite(path, seal(archive(*members)))
        with pytest.raises(BadFile, match="holds an array twice"):
            read_arrays(path)

    def test_that_holds_a_name_with_and_without_suffix_is_refused(self, path):
        members = [("a.npy", npy(np.zeros(3))), ("a", npy(np.ones(3)))]
        overwrite(path, seal(archive(*members)))
        with pytest.raises(BadFile, match="holds an array twice"):
            read_arrays(path)

    def test_that_is_encrypted_is_refused(self, path):
        data = bytearray(archive(("a.npy", npy(np.zeros(3)))))
        central = data.index(b"PK\x01\x02")
        data[6] |= 1
        data[central + 8] |= 1
        overwrite(path, seal(bytes(data)))
        with pytest.raises(BadFile):
            read_arrays(path)

    @pytest.mark.filterwarnings("ignore:Overlapped entries:UserWarning")  # of Python itself
    def test_whose_members_overlap_is_refused(self, path):
        """Both entries of the directory point at the first member, as in some bombs."""
        data = bytearray(archive(("a.npy", npy(np.zeros(3))), ("b.npy", npy(np.ones(3)))))
        second = data.rindex(b"PK\x01\x02")
        data[second + 42 : second + 46] = bytes(4)
        overwrite(path, seal(bytes(data)))
        with pytest.raises(BadFile):
            read_arrays(path)

    def test_that_is_compressed_is_read(self, path):
        data = archive(("a.npy", npy(np.arange(30))), compression=zipfile.ZIP_DEFLATED)
        overwrite(path, seal(data))
        assert_equal(read_arrays(path), {"a": np.arange(30)})

    def test_without_members_is_read(self, path):
        overwrite(path, seal(archive()))
        assert read_arrays(path) == {}

    def test_damaged_in_any_byte_of_an_array_is_refused_by_the_checksum_of_zip(self, path):
        array = np.arange(4, dtype=np.float32)
        data = archive(("a.npy", npy(array)))
        start = data.index(array.tobytes())
        for place in range(start, start + array.nbytes):
            damaged = bytearray(data)
            damaged[place] ^= 1
            overwrite(path, damaged)
            with pytest.raises(BadFile):
                read_arrays(path, sealed=False)
