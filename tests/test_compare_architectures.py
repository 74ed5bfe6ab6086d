import json
import os
import signal
import subprocess
import sys
import time

import pytest

from compare_architectures import draw, main
from models import ARCHS
from support.drawing import style_of
from tests.commands import ROOT

QUICK = ("-e", 2, "-u", 5, "--repeat", 20, "--seed", 7)

LOGS = {
    arch: [
        {
            "epoch": epoch,
            "validation/main/loss": 1 / (epoch + number),
            "validation/main/accuracy": 1 - 1 / (epoch + number),
        }
        for epoch in (1, 2, 3)
    ]
    for number, arch in enumerate(ARCHS)
}


def log_of(folder):
    """The log without the times in it."""
    log = json.loads((folder / "log").read_text())
    return [{name: entry[name] for name in entry if name != "elapsed_time"} for entry in log]


def test_trains_each_as_it_is_trained_alone_and_goes_on_with_resume_auto(run, tmp_path):
    done = run("compare_architectures.py", "rnn", "lstm", *QUICK)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "Written: result/comparison.png"
    assert (tmp_path / "result" / "comparison.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "result" / "rnn" / "rnn_simple_sequence.model").exists()

    done = run("compare_architectures.py", "rnn", "lstm", "-e", 3, *QUICK[2:], "-r", "auto")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Resuming from") == 2

    run("train_simple_sequence.py", "-a", "lstm", "-e", 3, *QUICK[2:], "-o", "alone")
    assert log_of(tmp_path / "result" / "lstm") == log_of(tmp_path / "alone")
    assert len(log_of(tmp_path / "result" / "rnn")) == 3


def test_stopped_prints_a_command_that_makes_the_picture(tmp_path):
    """In the first training of two; in a shell, with a space in the folder's name."""
    options = [*QUICK[2:], "-e", "100", "-o", "my result", "--snapshot-every", "1"]
    command = [sys.executable, ROOT / "compare_architectures.py", "rnn", "lstm", *options]
    settings = {"cwd": tmp_path, "text": True, "env": {**os.environ, "OMP_NUM_THREADS": "1"}}
    process = subprocess.Popen(
        [*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **settings
    )
    while not (tmp_path / "my result" / "rnn" / "snapshot_iter_1").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=100)
    assert (process.returncode, err) == (130, "")
    again = out.splitlines()[-1].removeprefix("Stopped. Go on with: ")
    done = subprocess.run(again, shell=True, capture_output=True, check=False, **settings)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("Resuming from") == 1
    assert done.stdout.splitlines()[-1] == "Written: my result/comparison.png"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "required: ARCH"),
        (("mlp",), "argument ARCH: invalid choice: 'mlp'"),
        (("rnn", "-a", "lstm"), "argument -a/--arch: name the architectures first"),
        (("rnn", "-e", "0"), "argument -e/--epoch: '0' is not"),
        (("rnn", "--nonsense"), "unrecognized arguments: --nonsense"),
        (("rnn", "-r", "file"), "argument -r/--resume: invalid choice: 'file'"),
    ],
)
def test_what_makes_no_sense_is_refused(monkeypatch, tmp_path, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(arguments)
    errors = capsys.readouterr().err
    assert end.value.code == 2 and message in errors and len(errors.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def figure():
    return draw(LOGS)


class TestPicture:
    def test_shows_the_numbers_of_the_log(self, figure):
        for axes, name in zip(figure.axes, ("loss", "accuracy"), strict=True):
            assert [line.get_label() for line in axes.lines] == list(ARCHS)
            for line, arch in zip(axes.lines, ARCHS, strict=True):
                assert line.get_xdata().tolist() == [1, 2, 3]
                expected = [entry[f"validation/main/{name}"] for entry in LOGS[arch]]
                assert line.get_ydata().tolist() == expected

    def test_has_one_legend(self, figure):
        (legend,) = figure.legends
        assert [text.get_text() for text in legend.get_texts()] == list(ARCHS)
        assert all(axes.get_legend() is None for axes in figure.axes)

    def test_tells_architectures_apart_without_colour(self, figure):
        lines = figure.axes[0].lines
        assert len({(line.get_marker(), line.get_linestyle()) for line in lines}) == len(ARCHS)

    def test_gives_an_architecture_its_style_whoever_is_beside_it(self):
        (line,) = draw({"lstm": LOGS["lstm"]}).axes[0].lines
        assert line.get_color() == style_of("lstm")["color"]

    def test_is_labelled_with_units(self, figure):
        loss, accuracy = figure.axes
        assert "nats" in loss.get_ylabel() and "share" in accuracy.get_ylabel()
        assert "epoch" in accuracy.get_xlabel()
