"""Arrays that are what was written, or refused."""

import errno
import hashlib
import os
import signal
import zipfile

import numpy as np
import pytest
from archives import SEAL, SEAL_LENGTH, archive, assert_equal, content, npy, overwrite, seal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from support import files
from support.files import BadFile, NoFile, Unreadable, read_arrays, write_arrays

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
        with pytest.raises(NoFile, match="does not exist"):
            read_arrays(path)

    def test_that_is_a_folder_is_called_so(self, tmp_path):
        with pytest.raises(NoFile, match="is a folder"):
            read_arrays(tmp_path)

    def test_that_may_not_be_read_is_called_so(self, path, monkeypatch):
        def refuse(*arguments):
            raise PermissionError(errno.EACCES, "Permission denied")

        write_arrays(path, {"a": 1})
        monkeypatch.setattr(files, "open", refuse, raising=False)
        with pytest.raises(Unreadable, match="may not be read"):
            read_arrays(path)

    @pytest.mark.parametrize("step", ["stat", "open"])
    def test_that_cannot_be_reached_is_called_so(self, path, monkeypatch, step):
        def refuse(*arguments):
            raise OSError(errno.ESTALE, "Stale file handle")

        write_arrays(path, {"a": 1})
        where, name = (files, "open") if step == "open" else (os, "stat")
        with monkeypatch.context() as patch:
            patch.setattr(where, name, refuse, raising=False)
            with pytest.raises(Unreadable, match="cannot be read: Stale file handle"):
                read_arrays(path)

    def test_is_not_one_for_which_there_is_no_memory(self, path, monkeypatch):
        def refuse(file, length):
            raise MemoryError

        write_arrays(path, {"a": 1})
        monkeypatch.setattr(files, "_digest", refuse)
        with pytest.raises(MemoryError):
            read_arrays(path)

    @pytest.mark.parametrize("name", [256 * "n", "file/below"], ids=["too long", "below a file"])
    def test_whose_name_cannot_be_is_not_called_damaged(self, tmp_path, name):
        (tmp_path / "file").touch()
        with pytest.raises(NoFile):
            read_arrays(str(tmp_path / name))

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
