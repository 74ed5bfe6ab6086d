import argparse
import os
import signal
import sys

import pytest

from support.command_line import (
    ArgumentParser,
    CommandError,
    UsageError,
    output_folder,
    positive_number,
    progress_bar,
    run_command,
    whole_number,
)
from support.files import _beginning


class TestWholeNumber:
    @pytest.mark.parametrize(
        "text, number", [("1", 1), ("007", 7), ("+3", 3), (" 5 ", 5), ("2147483647", 2147483647)]
    )
    def test_is_read(self, text, number):
        assert whole_number(1)(text) == number

    @pytest.mark.parametrize("text", ["3", "5"])
    def test_may_be_at_its_bounds(self, text):
        assert whole_number(3, 5)(text) == int(text)

    @pytest.mark.parametrize(
        "text", ["2", "6", "-4", "", " ", "four", "4.0", "4e0", "0x4", "nan", "inf", "9" * 5000]
    )
    def test_that_is_none_or_out_of_bounds_is_refused(self, text):
        with pytest.raises(argparse.ArgumentTypeError) as refusal:
            whole_number(3, 5)(text)
        assert str(refusal.value) == f"{text!r} is not a whole number from 3 to 5"


class TestPositiveNumber:
    @pytest.mark.parametrize("text, number", [("1", 1), ("0.5", 0.5), ("1e-9", 1e-9), (".1", 0.1)])
    def test_is_read(self, text, number):
        assert positive_number(text) == number

    @pytest.mark.parametrize(
        "text", ["0", "-0", "-1", "", "nan", "inf", "-inf", "1e999", "1e-999", "half", "1,5"]
    )
    def test_that_is_none_is_refused(self, text):
        with pytest.raises(argparse.ArgumentTypeError) as refusal:
            positive_number(text)
        assert str(refusal.value) == f"{text!r} is not a number above 0"


class TestArgumentParser:
    def test_says_what_is_wrong_in_one_line_and_exits_with_2(self, capsys, monkeypatch):
        monkeypatch.setattr(sys, "argv", ["/folder/command.py"])
        parser = ArgumentParser("what it does")
        parser.add_argument("--unit", type=whole_number(1))
        with pytest.raises(SystemExit) as end:
            parser.parse_args(["--unit", "0"])
        assert end.value.code == 2
        assert capsys.readouterr().err == (
            "command.py: error: argument --unit: '0' is not a whole number from 1 to 2147483647 "
            "(see --help)\n"
        )

    def test_says_it_in_one_line_whatever_was_typed(self, capsys):
        with pytest.raises(SystemExit):
            ArgumentParser("what it does").parse_args(["--a\nb"])
        assert capsys.readouterr().err.count("\n") == 1

    @pytest.mark.parametrize("words", [["--length=--"], ["-l--"], ["--names=--"]])
    def test_takes_two_dashes_for_no_list(self, capsys, words):
        parser = ArgumentParser("what it does")
        parser.add_argument("-l", "--length", type=whole_number(1))
        parser.add_argument("--names", nargs="+", choices=["a"])
        with pytest.raises(SystemExit) as end:
            parser.parse_args(words)
        assert end.value.code == 2
        err = capsys.readouterr().err
        assert "error: argument -" in err and "'--'" in err

    def test_describes_by_the_first_line(self):
        assert ArgumentParser("what it does\n\nand more").description == "what it does"

    def test_does_without_a_description(self):
        assert not ArgumentParser(None).description

    def test_names_the_default_where_there_is_one(self):
        parser = ArgumentParser("what it does")
        parser.add_argument("--unit", default=100, help="units")
        parser.add_argument("--resume", help="from here")
        text = " ".join(parser.format_help().split())
        assert "units (default: 100)" in text
        assert text.endswith("from here")


@pytest.fixture
def command(capsys, monkeypatch):
    """Run a command that raises an error; give its exit code and what it writes to stderr."""

    def run(error, *arguments):
        def main(argv):
            raise error

        monkeypatch.setattr(sys, "argv", ["/folder/command.py", *arguments])
        code = run_command(main)
        return code, capsys.readouterr().err

    return run


class TestRunCommand:
    def test_gives_the_command_its_arguments(self, monkeypatch):
        monkeypatch.setattr(sys, "argv", ["command.py", "-u", "3"])
        given = []
        run_command(given.extend)
        assert given == ["-u", "3"]

    def test_gives_the_command_other_arguments_on_demand(self):
        given = []
        run_command(given.extend, ["-u", "4"])
        assert given == ["-u", "4"]

    @pytest.mark.parametrize("returned, code", [(None, 0), (0, 0), (3, 3), (143, 143)])
    def test_gives_the_exit_code_of_the_command(self, returned, code):
        assert run_command(lambda argv: returned, []) == code

    @pytest.mark.parametrize(
        "error, code, message",
        [
            (CommandError("it broke"), 1, "it broke"),
            (UsageError("argument -u: no"), 2, "argument -u: no"),
            (KeyboardInterrupt(), 130, "interrupted"),
            (MemoryError(), 1, "not enough memory for these sizes"),
            (OSError(28, "No space left", "result/log"), 1, "result/log: No space left"),
            (OSError("odd"), 1, "unexpected OSError: odd (--debug tells more)"),
            (KeyError("a"), 1, "unexpected KeyError: 'a' (--debug tells more)"),
        ],
        ids=repr,
    )
    def test_turns_an_error_into_one_line(self, command, error, code, message):
        assert command(error) == (code, f"command.py: error: {message}\n")

    def test_turns_a_message_of_several_lines_into_one(self, command):
        assert command(CommandError("one\n  two\n"))[1] == "command.py: error: one two\n"

    def test_shows_no_control_characters(self, command):
        assert command(CommandError("a\x1b[31m\udcffb"))[1] == (
            "command.py: error: a\\x1b[31m\\udcffb\n"
        )

    @pytest.mark.parametrize("error", [CommandError("it broke"), ValueError("bad"), MemoryError()])
    def test_shows_the_traceback_and_then_the_line_on_demand(self, command, error):
        lines = command(error, "--debug")[1].splitlines()
        assert lines[0] == "Traceback (most recent call last):"
        assert any(f"{__file__}" in line for line in lines)
        assert lines[-1].startswith("command.py: error: ")

    def test_shows_no_traceback_where_nothing_went_wrong(self, capsys):
        run_command(lambda argv: 0, ["--debug"])
        assert capsys.readouterr().err == ""

    def test_gives_the_exit_code_of_argparse(self, capsys):
        assert run_command(ArgumentParser("what it does").parse_args, ["--unknown"]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


LOCK = ".the.lock"
TEMPORARY = f"{_beginning()}{32 * '0'}.tmp"


def enter(path):
    """Enter and leave the output folder."""
    with output_folder(str(path), LOCK, str(path)):
        pass


class TestOutputFolder:
    def test_makes_the_folder_and_those_above(self, tmp_path):
        with output_folder(str(tmp_path / "a" / "b"), LOCK, "b"):
            (tmp_path / "a" / "b" / "log").touch()
        assert os.listdir(tmp_path / "a" / "b") == ["log"]

    def test_leaves_nothing_where_nothing_was_written(self, tmp_path):
        enter(tmp_path / "a" / "b")
        assert os.listdir(tmp_path) == []

    def test_leaves_an_empty_folder_that_was_there(self, tmp_path):
        (tmp_path / "mine").mkdir()
        enter(tmp_path / "mine")
        assert os.listdir(tmp_path) == ["mine"]

    def test_that_is_in_use_is_not_touched(self, tmp_path):
        """What the other process is writing is not cleared away."""
        with output_folder(str(tmp_path), LOCK, "it"):
            (tmp_path / TEMPORARY).touch()
            with pytest.raises(CommandError, match="is in use by process"):
                enter(tmp_path)
            assert sorted(os.listdir(tmp_path)) == sorted([LOCK, TEMPORARY])

    def test_whose_lock_is_a_link_destroys_no_file(self, tmp_path):
        (tmp_path / "thesis").write_text("years of work")
        (tmp_path / LOCK).symlink_to("thesis")
        with pytest.raises(CommandError, match=r"\.the\.lock is a link; expected a lock file"):
            enter(tmp_path)
        assert (tmp_path / "thesis").read_text() == "years of work"

    @pytest.mark.parametrize("name", ["writable", "log", "snapshot_iter_1", ".hidden"])
    def test_keeps_what_is_there(self, tmp_path, name):
        (tmp_path / name).write_text("mine")
        enter(tmp_path)
        assert (tmp_path / name).read_text() == "mine"

    def test_clears_away_what_a_crash_has_left(self, tmp_path):
        (tmp_path / TEMPORARY).touch()
        enter(tmp_path)
        assert os.listdir(tmp_path) == []

    @pytest.mark.parametrize("path", ["file", "file/below", "/proc/none/below", "/proc", ""])
    def test_names_what_cannot_be_a_folder(self, tmp_path, monkeypatch, path):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "file").touch()
        with pytest.raises(UsageError) as refusal:
            enter(path)
        assert str(refusal.value).startswith(f"argument -o/--out: {path or repr(path)} cannot")

    def test_says_why_a_folder_cannot_be_made(self, tmp_path, monkeypatch):
        def refuse(*arguments, **options):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "mkdir", refuse)
        with pytest.raises(UsageError, match="Permission denied"):
            enter(tmp_path / "new")


@pytest.mark.parametrize("script", ["train_simple_sequence", "predict_simple_sequence"])
def test_importing_a_command_changes_no_signal_handler(script):
    handler = signal.getsignal(signal.SIGINT)
    __import__(script)
    assert signal.getsignal(signal.SIGINT) is handler


class TestProgressBar:
    TEXT = "epoch 3.96/12, iteration 89, 5,072 tokens/s, 0:00:07 left"  # 57 characters

    @pytest.mark.parametrize(
        ("columns", "line"),
        [
            (120, f"[{'#' * 5}{'.' * 15}] {TEXT}"),
            (80, f"[{'#' * 4}{'.' * 15}] {TEXT}"),
            (60, TEXT),
            (40, TEXT[:39]),
        ],
    )
    def test_fits_the_terminal(self, monkeypatch, columns, line):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert progress_bar(0.25, self.TEXT) == f"\033[J{line}\r"

    def test_is_full_beyond_the_end(self, monkeypatch):
        monkeypatch.setenv("COLUMNS", "30")
        assert progress_bar(1.1, "done") == f"\033[J[{'#' * 20}] done\r"
