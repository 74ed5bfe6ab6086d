"""Files that are whole or not there."""

import errno
import io
import os

import numpy as np
import pytest
from archives import content, overwrite

from support import files
from support.files import (
    BadFile,
    InUse,
    held,
    move_files,
    remove_temporary_files,
    write_arrays,
    write_file,
)


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

    def test_writes_through_no_link_that_has_its_temporary_name(self, path, tmp_path, monkeypatch):
        monkeypatch.setattr(files.secrets, "token_hex", lambda n: 2 * n * "0")
        link = tmp_path / f"{files._beginning()}{32 * '0'}.tmp"
        link.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(FileExistsError):
            write_file(path, lambda file: file.write(b"new"))
        assert not (tmp_path / "elsewhere").exists()

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

    OURS = f"{files._beginning()}{32 * '0'}.tmp"

    @pytest.mark.parametrize(
        "name",
        [
            "log",
            "log.tmp",
            ".hidden",
            "tmp",
            ".notes.tmp",
            ".my thesis.1.tmp",
            f".other-{32 * '0'}.tmp",
        ],
    )
    def test_keeps_files_of_others(self, tmp_path, name):
        (tmp_path / name).touch()
        remove_temporary_files(tmp_path)
        assert os.listdir(tmp_path) == [name]

    @pytest.mark.parametrize(
        "make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/null", path)]
    )
    def test_keeps_what_is_no_regular_file(self, tmp_path, make):
        make(str(tmp_path / self.OURS))
        remove_temporary_files(tmp_path)
        assert os.listdir(tmp_path) == [self.OURS]

    def test_keeps_a_file_of_another_user(self, tmp_path, monkeypatch):
        (tmp_path / self.OURS).touch()
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        remove_temporary_files(tmp_path)
        assert os.listdir(tmp_path) == [self.OURS]

    def test_keeps_what_another_run_is_writing(self, path, tmp_path):
        def write(file):
            file.write(b"new")
            remove_temporary_files(str(tmp_path))

        write_file(path, write)
        assert content(path) == b"new"


class TestHeld:
    """A lock of the kernel's belongs to an open file, so one process stands for two here."""

    def test_lets_nobody_else_in_and_says_who_is(self, path):
        with held(path, "process 7, ü"), pytest.raises(InUse) as refusal, held(path, "process 8"):
            pytest.fail("two are in")
        assert str(refusal.value) == "process 7, ü"

    def test_lets_others_in_afterwards_and_leaves_no_file(self, path, tmp_path):
        for _ in range(2):
            with held(path, "process 1"):
                assert content(path) == b"process 1"
            assert os.listdir(tmp_path) == []

    def test_lets_others_in_after_a_failure(self, path):
        with pytest.raises(KeyError), held(path, "process 1"):
            raise KeyError
        with held(path, "process 2"):
            pass

    def test_does_not_mind_what_a_killed_process_has_left(self, path):
        overwrite(path, b"process 7, which had much to say of itself")
        with held(path, "process 8"):
            assert content(path) == b"process 8"

    def test_holds_the_file_of_that_name_and_not_one_that_was_removed(self, path, monkeypatch):
        """Between our opening and our locking, its holder can have removed it."""
        lock = files._lock

        def end_of_the_holder(file):
            monkeypatch.setattr(files, "_lock", lock)
            os.remove(path)
            return lock(file)

        monkeypatch.setattr(files, "_lock", end_of_the_holder)
        with held(path, "process 1"), pytest.raises(InUse), held(path, "process 2"):
            pytest.fail("two are in")

    def test_lets_everybody_in_where_there_are_no_locks(self, path, monkeypatch):
        def without_locks(file, operation):
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(files.fcntl, "flock", without_locks)
        with held(path, "process 1"), held(path, "process 2"):
            pass

    @pytest.mark.parametrize("dangling", [False, True])
    def test_follows_no_link(self, path, tmp_path, dangling):
        thesis = tmp_path / "thesis.txt"
        if not dangling:
            thesis.write_text("years of work")
        os.symlink(thesis, path)
        with pytest.raises(BadFile, match="is a link"), held(path, "process 1"):
            pytest.fail("in")
        assert os.path.islink(path)
        assert dangling != thesis.exists()
        assert dangling or thesis.read_text() == "years of work"

    def test_spares_a_file_with_another_name(self, path, tmp_path):
        (tmp_path / "thesis.txt").write_text("process 1, of writing")
        os.link(tmp_path / "thesis.txt", path)
        with pytest.raises(BadFile, match="another name"), held(path, "process 1"):
            pytest.fail("in")
        assert (tmp_path / "thesis.txt").read_text() == "process 1, of writing"
        assert os.path.exists(path)

    def test_spares_a_file_that_is_no_lock(self, path):
        overwrite(path, b"years of work")
        with pytest.raises(BadFile, match="is not a lock file"), held(path, "process 1"):
            pytest.fail("in")
        assert content(path) == b"years of work"

    def test_does_not_wait_for_a_pipe(self, path):
        os.mkfifo(path)
        with pytest.raises(BadFile, match="is not a regular file"), held(path, "process 1"):
            pytest.fail("in")

    def test_reads_little_of_who_holds_it(self, path):
        one, two = held(path, "process " + 5000 * "x"), held(path, "process 2")
        with one, pytest.raises(InUse) as refusal, two:
            pytest.fail("two are in")
        assert str(refusal.value) == "process " + 1016 * "x"

    def test_leaves_alone_a_file_that_another_has_put_there(self, path):
        with held(path, "process 1"):
            os.remove(path)
            overwrite(path, b"another's")
        assert content(path) == b"another's"


def test_moved_files_stand_in_a_new_folder(path, tmp_path):
    overwrite(path, b"it")
    move_files([path], str(tmp_path / "new"))
    assert not os.path.exists(path)
    assert content(tmp_path / "new" / "file") == b"it"


def test_a_move_that_fails_leaves_no_empty_folder(tmp_path):
    with pytest.raises(FileNotFoundError):
        move_files([str(tmp_path / "missing")], str(tmp_path / "new"))
    assert os.listdir(tmp_path) == []


def test_files_are_not_moved_into_a_folder_that_is_there(path, tmp_path):
    """Where they could replace others."""
    overwrite(path, b"it")
    with pytest.raises(FileExistsError):
        move_files([path], str(tmp_path))
    assert content(path) == b"it"
