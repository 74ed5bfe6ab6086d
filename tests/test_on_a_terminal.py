"""What a training shows on a terminal."""

import contextlib
import os
import pty
import re

import pytest

from tests.trainings import COLUMNS, ENVIRONMENT, SMALL, numbers, start, succeed


def open_terminal():
    """Both ends of a pseudo-terminal, which a bare chroot cannot give."""
    try:
        return pty.openpty()
    except OSError as error:
        pytest.skip(f"there is no pseudo-terminal: {error}")


def read_terminal(master):
    """All that is written to a pseudo-terminal until its other end is closed."""
    text = b""
    with contextlib.suppress(OSError):
        while piece := os.read(master, 4096):
            text += piece
    os.close(master)
    return text.decode()


def screen(text):
    """Lines that a terminal shows after this text."""
    lines, column = [""], 0
    for part in re.findall(r"\033\[J|\r|\n|[^\033\r\n]+", text):
        if part == "\033[J":
            lines[-1] = lines[-1][:column]
        elif part == "\r":
            column = 0
        elif part == "\n":
            lines.append("")
        else:
            lines[-1] = lines[-1][:column] + part + lines[-1][column + len(part) :]
            column += len(part)
    assert "".join(re.findall(r"\033\[J|\r|\n|[^\033\r\n]+", text)) == text
    return lines


CLIPBOARD = "\033]52;c;aGk=\a"  # sets it, on a terminal that obeys
ESCAPED = r"\x1b]52;c;aGk=\x07"


class TestOnATerminal:
    @staticmethod
    def train(folder, *arguments, width=120):
        master, slave = open_terminal()
        environment = {**ENVIRONMENT, "COLUMNS": str(width)}
        process = start(folder, *arguments, stdout=slave, env=environment)
        os.close(slave)
        text = read_terminal(master)
        assert (process.wait(), process.stderr.read()) == (0, "")
        process.stderr.close()
        return text

    def test_shows_a_progress_bar(self, tmp_path):
        text = self.train(tmp_path, *SMALL, "-e", "1")
        assert re.search(
            r"\[#*\.*\] epoch \d+\.\d\d/1, iteration \d+, [\d,]+ tokens/s, \d:\d\d:\d\d left\r",
            text,
        )

    def test_takes_the_bar_away_at_the_end(self, tmp_path):
        lines = screen(self.train(tmp_path, *SMALL))
        assert lines[:6] == [
            "GPU: -1",
            "# Architecture: rnn",
            "# Minibatch-size: 3",
            "# epoch: 3",
            "",
            COLUMNS,
        ]
        assert [line.split()[0] for line in lines[6:9]] == ["1", "2", "3"]
        assert lines[9].startswith("Written to result")
        assert not [line for line in lines if "tokens/s" in line]

    def test_shows_a_table_that_fits(self, tmp_path):
        lines = screen(self.train(tmp_path, *SMALL, "-e", "1", width=60))
        assert lines[5].split() == ["epoch", "loss", "val", "loss", "acc", "val", "acc", "time"]
        assert max(map(len, lines[:7])) < 60

    def test_resumes_what_was_begun_without_one(self, folder_with, undisturbed):
        folder = folder_with(30)
        self.train(folder.parent, *SMALL, "-r", "auto")
        assert numbers(folder) == numbers(undisturbed())

    def test_shows_control_characters_from_outside_escaped(self, tmp_path):
        (tmp_path / f"{CLIPBOARD}data").write_text("1 2 3 " * 30)
        options = ["-u", "6", "-e", "1", "--data", f"{CLIPBOARD}data"]
        lines = screen(self.train(tmp_path, *options, "-o", f"\r\x7f\x9b{CLIPBOARD}"))
        assert [line for line in lines if line.startswith(f"# Data: {ESCAPED}data, ")]
        assert [line for line in lines if line.startswith(rf"Written to \r\x7f\x9b{ESCAPED}: ")]


def test_a_file_gets_control_characters_as_they_are(tmp_path):
    lines = succeed(tmp_path, *SMALL, "-e", "1", "-o", CLIPBOARD)
    assert [line for line in lines if line.startswith(f"Written to {CLIPBOARD}: ")]
