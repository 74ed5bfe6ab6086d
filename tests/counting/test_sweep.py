import os

import chainer
import numpy as np
import pytest

from counting.scores import periods
from counting.sweep import (
    COLUMNS,
    Cell,
    Outcome,
    append_outcome,
    counts_when_primed,
    read_outcomes,
    train_cell,
)
from models import ARCHS
from support.files import BadFile

EASY = Cell("rnn", 4, seed=0, unit=20, bproplen=20, budget=1000)
HEADER = ",".join(COLUMNS) + "\n"
ROWS = [
    Outcome(EASY, 120, 110, 12, 1.25),
    Outcome(EASY._replace(arch="lstm", seed=1), None, 340, 3, 20.0),
    Outcome(EASY._replace(n_vocab=200), None, None, 0, 0.01),
]


@pytest.fixture(scope="module")
def easy():
    return train_cell(EASY)


class TestTraining:
    def test_ends_once_the_network_counts(self, easy):
        assert easy.cell == EASY
        assert 0 < easy.updates < EASY.budget and easy.updates % 10 == 0
        assert easy.longest_free_run == 12

    def test_counts_when_primed_no_later(self, easy):
        assert 0 < easy.updates_primed <= easy.updates

    def test_fails_when_the_budget_is_spent_before(self, easy):
        outcome = train_cell(EASY._replace(budget=easy.updates - 10))
        assert outcome.updates is None
        assert outcome.longest_free_run < 12

    def test_succeeds_with_the_last_update_of_the_budget(self, easy):
        assert train_cell(EASY._replace(budget=easy.updates)).updates == easy.updates

    def test_is_the_same_each_time(self, easy):
        np.random.seed(99)
        assert train_cell(EASY)[:-1] == easy[:-1]

    def test_depends_on_the_seed(self):
        results = {train_cell(EASY._replace(seed=seed))[1:-1] for seed in range(1, 5)}
        assert len(results) > 1

    @pytest.mark.parametrize("arch", ARCHS)
    def test_knows_every_architecture(self, arch):
        outcome = train_cell(Cell(arch, 3, 0, unit=4, bproplen=5, budget=3))
        assert outcome.cell.arch == arch and outcome.updates is None


class Primed:
    """Predicts the sequence 1 2 2 3 3 3 rightly once it has seen as many tokens as told."""

    def __init__(self, needs, tokens):
        self.needs = needs
        self.tokens = tokens

    def reset_state(self):
        self.seen = 0

    def __call__(self, x):
        logits = np.zeros((len(x), 4), np.float32)
        for row in logits:
            self.seen += 1
            row[self.tokens[self.seen % 6] if self.seen > self.needs else 0] = 1
        return chainer.Variable(logits)


@pytest.mark.parametrize(("needs", "counts"), [(0, True), (12, True), (13, False), (23, False)])
def test_priming_is_two_periods(needs, counts):
    model = Primed(needs, periods(4, 1))
    assert counts_when_primed(model, periods(4, 2)) == counts


class TestTable:
    @pytest.fixture
    def path(self, tmp_path):
        return tmp_path / "count_limits.csv"

    def test_that_is_not_there_is_begun(self, path):
        assert read_outcomes(path) == {}
        assert path.read_text() == HEADER

    def test_gives_back_what_was_added(self, path):
        read_outcomes(path)
        for row in ROWS:
            append_outcome(path, row)
        assert read_outcomes(path) == {row.cell: row for row in ROWS}

    def test_is_one_that_others_can_read(self, path):
        read_outcomes(path)
        for row in ROWS:
            append_outcome(path, row)
        table = np.genfromtxt(path, delimiter=",", names=True, dtype=None, encoding="utf-8")
        assert table.dtype.names == COLUMNS
        assert table["arch"].tolist() == ["rnn", "lstm", "rnn"]
        assert table["longest_free_run"].tolist() == [12, 3, 0]

    @pytest.mark.parametrize("cut", [1, 12, 13, 30])
    def test_loses_no_more_than_a_half_written_row(self, path, cut):
        read_outcomes(path)
        for row in ROWS:
            append_outcome(path, row)
        whole = path.read_bytes()
        path.write_bytes(whole[:-cut])
        lines = whole[:-cut].count(b"\n") - 1
        assert list(read_outcomes(path).values()) == ROWS[:lines]
        for row in ROWS[lines:]:
            append_outcome(path, row)
        assert path.read_bytes() == whole

    @pytest.mark.parametrize("text", ["", HEADER[:7], HEADER[:-1]])
    def test_with_half_a_header_is_begun_anew(self, path, text):
        path.write_text(text)
        assert read_outcomes(path) == {}
        assert path.read_text() == HEADER

    @pytest.mark.parametrize("text", ["a,b\n1,2\n", HEADER.upper(), "x" * 500, "\n\n"])
    def test_of_another_kind_is_refused_and_left_alone(self, path, text):
        path.write_text(text)
        with pytest.raises(BadFile, match="not a table of this command"):
            read_outcomes(path)
        assert path.read_text() == text

    @pytest.mark.parametrize(
        "row",
        [
            "rnn,1,2",
            "rnn,5,0,100,20,x,,,0,1.0",
            "rnn" + ",1" * 20,
            ",",
            "rnn,4,0,20,20,1000,,,0," + 131_073 * "1.",
            f"rnn,4,0,20,20,1000,{400 * '9'},,0,1.0",
        ],
        ids=range(6),
    )
    def test_with_a_damaged_row_is_refused(self, path, row):
        path.write_text(f"{HEADER}rnn,4,0,20,20,1000,120,110,12,1.25\n{row}\n")
        with pytest.raises(BadFile, match=r"^is damaged: line 3 is not an outcome$"):
            read_outcomes(path)

    def test_that_is_a_pipe_is_refused_and_not_waited_for(self, path):
        os.mkfifo(path)
        with pytest.raises(BadFile, match="not a regular file"):
            read_outcomes(path)

    def test_that_cannot_be_written_is_named(self, path):
        path.mkdir()
        with pytest.raises(IsADirectoryError) as error:
            append_outcome(path, ROWS[0])
        assert error.value.filename == path

    def test_that_is_no_text_is_refused(self, path):
        path.write_bytes(b"\xff\xfe\x00")
        with pytest.raises(BadFile, match="not a table"):
            read_outcomes(path)
