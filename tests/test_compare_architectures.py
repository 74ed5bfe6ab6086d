import json

import pytest

from compare_architectures import draw
from counting.drawing import style_of
from models import ARCHS

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


class TestCommand:
    @pytest.fixture
    def done(self, run):
        return run("compare_architectures.py", "rnn", "lstm", *QUICK)

    def test_trains_each_as_it_is_trained_alone(self, done, run, tmp_path):
        assert done.returncode == 0, done.stderr
        for arch in ("rnn", "lstm"):
            run("train_simple_sequence.py", "-a", arch, *QUICK, "-o", arch)
            assert log_of(tmp_path / "result" / arch) == log_of(tmp_path / arch)
            assert (tmp_path / "result" / arch / f"{arch}_simple_sequence.model").exists()
        picture = tmp_path / "result" / "comparison.png"
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert done.stdout.splitlines()[-1] == "Written: result/comparison.png"

    def test_goes_on_with_resume_auto(self, done, run, tmp_path):
        options = ("-e", 3, *QUICK[2:], "-r", "auto")
        done = run("compare_architectures.py", "rnn", "lstm", *options)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("Resuming from") == 2
        assert [len(log_of(tmp_path / "result" / arch)) for arch in ("rnn", "lstm")] == [3, 3]


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((), "required: ARCH"),
            (("mlp",), "argument ARCH: invalid choice: 'mlp'"),
            (("rnn", "-a", "lstm"), "argument -a/--arch: the architectures are named first"),
            (("rnn", "-e", "0"), "argument -e/--epoch: '0' is not"),
            (("rnn", "--nonsense"), "unrecognized arguments: --nonsense"),
            (("rnn", "-r", "file"), "argument -r/--resume: invalid choice: 'file'"),
        ],
    )
    def test_are_one_line(self, run, tmp_path, arguments, message):
        done = run("compare_architectures.py", *arguments)
        assert done.returncode == 2
        assert message in done.stderr and len(done.stderr.splitlines()) == 1
        assert list(tmp_path.iterdir()) == []


class TestPicture:
    @pytest.fixture(scope="class")
    def figure(self):
        return draw(LOGS)

    @pytest.mark.parametrize("panel", [0, 1])
    @pytest.mark.parametrize("arch", ARCHS)
    def test_shows_the_numbers_of_the_log(self, figure, panel, arch):
        key = ("validation/main/loss", "validation/main/accuracy")[panel]
        line = next(line for line in figure.axes[panel].lines if line.get_label() == arch)
        assert line.get_xdata().tolist() == [1, 2, 3]
        assert line.get_ydata().tolist() == [entry[key] for entry in LOGS[arch]]

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
