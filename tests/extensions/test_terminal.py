import sys
import types

import pytest
from chainer.training.extensions import PrintReport

from extensions import terminal
from extensions.terminal import print_report

COLUMNS = ["main/loss", "validation/main/loss", "main/accuracy", "validation/main/accuracy"]
COUNTING = [*COLUMNS, "boundary_accuracy", "free_run"]
OWN_DATA = [*COLUMNS, "perplexity", "val_perplexity"]
ENTRY = {
    "epoch": 10,
    "main/loss": 1.2345678e-05,
    "validation/main/loss": 0.87654321,
    "main/accuracy": 0.97512345,
    "validation/main/accuracy": 1.0,
    "boundary_accuracy": 0.44444444,
    "free_run": 90.0,
    "perplexity": 3.7912345,
    "val_perplexity": 1234567.8,
    "elapsed_time": 12345.678,
}


@pytest.fixture
def table(monkeypatch, capsys):
    """Heading and row that are printed on a terminal so wide, or, without a width, into a file."""

    def show(columns, width=None):
        monkeypatch.setattr(sys.stdout, "isatty", lambda: width is not None, raising=False)
        monkeypatch.setenv("COLUMNS", str(width))
        report = print_report(["epoch", *columns, "elapsed_time"])
        log = types.SimpleNamespace(log=[ENTRY])
        report(types.SimpleNamespace(get_extension=lambda name: log))
        return capsys.readouterr().out.replace("\033[J", "").splitlines()

    return show


@pytest.fixture
def tutorials(capsys):
    """What Chainer's own PrintReport prints."""

    def show(columns):
        report = PrintReport(["epoch", *columns, "elapsed_time"], out=sys.stdout)
        log = types.SimpleNamespace(log=[ENTRY])
        report(types.SimpleNamespace(get_extension=lambda name: log))
        return capsys.readouterr().out.replace("\033[J", "").splitlines()

    return show


@pytest.mark.parametrize("columns", [COLUMNS, COUNTING, OWN_DATA])
class TestTable:
    def test_into_a_file_is_the_tutorials(self, table, tutorials, columns):
        assert table(columns) == tutorials(columns)

    def test_on_a_wide_terminal_is_the_tutorials(self, table, tutorials, columns):
        expected = tutorials(columns)
        width = len(expected[0]) + 2  # rows end with two spaces
        assert table(columns, width) == expected
        assert table(columns, width - 1) != expected

    @pytest.mark.parametrize("width", [60, 61, 72, 80, 96])
    def test_fits_a_narrow_terminal(self, table, columns, width):
        heading, row = table(columns, width)
        assert max(len(heading), len(row)) < width

    def test_on_a_narrow_terminal_has_each_number_below_its_heading(self, table, columns):
        heading, row = table(columns, 80)
        assert len(row.split()) == len(columns) + 2
        start = heading.index("val loss")
        assert row[start:].split()[0] == "0.876543" and row[start - 1 : start + 1] == " 0"


def test_shortens_numbers_only_as_far_as_it_must(table):
    heading, row = table(COLUMNS, 50)
    assert heading.split() == ["epoch", "loss", "val", "loss", "acc", "val", "acc", "time"]
    assert row.split() == ["10", "1e-05", "0.876543", "0.9751", "1", "12346"]
    assert table(COLUMNS, 80)[1].split()[1] == "1.2346e-05"


def test_leaves_a_gap_where_a_value_is_missing(table, monkeypatch):
    monkeypatch.delitem(ENTRY, "validation/main/loss")
    heading, row = table(COLUMNS, 80)
    start = heading.index("val loss")
    assert row[start : start + 8].isspace()


@pytest.mark.parametrize("epoch_before, epoch", [(0.0, 1e-9), (1e9, 1e9)])
def test_the_bar_of_a_training_without_end_is_drawn(monkeypatch, capsys, epoch_before, epoch):
    updater = types.SimpleNamespace(
        epoch_detail=epoch_before,
        iteration=1,
        get_iterator=lambda name: types.SimpleNamespace(dataset=range(10**9)),
    )
    stop = types.SimpleNamespace(get_training_length=lambda: (2**31 - 1, "epoch"))
    trainer = types.SimpleNamespace(updater=updater, stop_trigger=stop)
    times = iter([100.0, 101.0])
    monkeypatch.setattr(terminal.time, "monotonic", lambda: next(times))
    monkeypatch.setenv("COLUMNS", "200")
    bar = terminal.ProgressBar()
    bar.initialize(trainer)
    updater.epoch_detail = epoch
    bar(trainer)
    assert "tokens/s, 115740740 days" in capsys.readouterr().out
