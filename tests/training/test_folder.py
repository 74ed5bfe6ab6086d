import os
import subprocess
import sys
import types

import pytest

from extensions.snapshot import OtherOptions
from support.command_line import CommandError, UsageError
from support.files import BadFile, NoFile
from tests.commands import ROOT
from training.folder import go_on, output_folder


class TestOutputFolder:
    def test_is_made_and_left_as_it_was(self, tmp_path):
        with output_folder(str(tmp_path / "a" / "b")):
            (tmp_path / "a" / "b" / "file").touch()
        assert os.listdir(tmp_path / "a" / "b") == ["file"]

    def test_takes_no_second_training_and_names_the_first(self, tmp_path):
        folder = str(tmp_path)
        with output_folder(folder), pytest.raises(CommandError) as refusal, output_folder(folder):
            pytest.fail("two are in")
        assert refusal.value.exit_code == 1
        message = str(refusal.value)
        first, last = (
            f"argument -o/--out: {tmp_path} is in use by process ",
            "choose another folder",
        )
        assert message.startswith(f"{first}{os.getpid()} of ") and message.endswith(last)
        assert "pytest" in message

    def test_is_free_again_when_its_training_was_killed(self, tmp_path):
        program = (
            "import os, signal, sys\n"
            "from training.folder import output_folder\n"
            "with output_folder(sys.argv[1]):\n"
            "    os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        command = [sys.executable, "-c", program, str(tmp_path)]
        assert subprocess.run(command, cwd=ROOT, check=False).returncode == -9
        assert os.listdir(tmp_path)
        with output_folder(str(tmp_path)):
            pass

    def test_that_cannot_be_written_is_a_mistake_in_typing(self, tmp_path):
        (tmp_path / "file").touch()
        with (
            pytest.raises(UsageError, match="argument -o/--out"),
            output_folder(f"{tmp_path}/file"),
        ):
            pytest.fail("is in")


class TestGoOn:
    def refuse(self, error):
        def resume(path, trainer):
            raise error

        with pytest.raises(CommandError) as refusal:
            go_on("a/path", types.SimpleNamespace(resume=resume), None)
        return refusal.value.exit_code, str(refusal.value)

    def test_words_what_is_wrong_with_a_file(self):
        code, message = self.refuse(BadFile("is damaged"))
        assert code == 1
        assert message == (
            "argument -r/--resume: a/path is damaged; "
            "expected 'auto' or a file snapshot_iter_N that this command has written"
        )

    def test_calls_a_file_that_is_not_there_a_mistake_in_typing(self):
        code, message = self.refuse(NoFile("does not exist"))
        assert code == 2
        assert message.startswith("argument -r/--resume: a/path does not exist; expected 'auto'")

    @pytest.mark.parametrize(
        ("was", "now", "told"),
        [
            ({"--unit": 3}, {"--unit": 4}, "--unit 3, not --unit 4; give --unit 3"),
            ({}, {"--data": "of 9"}, "no --data, not --data of 9; give no --data"),
            ({"--shuffle-runs": ""}, {}, "--shuffle-runs, not no --shuffle-runs; give --shuffle"),
            ({"--data": "of 9"}, {}, "--data of 9, not no --data; give --data of 9"),
            ({"--n-vocab": 9, "--data": "of 9"}, {"--n-vocab": 8}, "--data of 9, not no --data;"),
            ({"--n-vocab": 9}, {"--n-vocab": 8, "--data": "of 9"}, "no --data, not --data of 9;"),
        ],
    )
    def test_names_the_option_that_is_another_and_data_first(self, was, now, told):
        same = {"--arch": "rnn"}
        code, message = self.refuse(OtherOptions({**same, **was}, {**same, **now}))
        assert code == 2
        assert message.startswith(f"argument -r/--resume: a/path was trained with {told}")
        assert message.endswith(" or another snapshot")
