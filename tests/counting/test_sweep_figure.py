import itertools

import pytest
from matplotlib.colors import to_hex

from counting.sweep import Cell, Outcome
from counting.sweep_figure import draw_limits
from models import ARCHS
from support.drawing import style_of

COLOURS = {arch: style_of(arch)["color"] for arch in ("rnn", "lstm")}


def outcome(arch, n_vocab, seed, updates, primed=None):
    cell = Cell(arch, n_vocab, seed, unit=50, bproplen=20, budget=4000)
    return Outcome(cell, updates, primed or updates, 5, 1.0)


OUTCOMES = [
    *(outcome("rnn", 5, seed, updates) for seed, updates in enumerate([30, 10, 20, 60])),
    *(outcome("rnn", 10, seed, updates) for seed, updates in enumerate([None, 300, None, None])),
    *(outcome("lstm", 5, seed, None, primed) for seed, primed in enumerate([70, 90, 50, None])),
    *(outcome("lstm", 10, seed, None) for seed in range(4)),
]


@pytest.fixture(scope="module")
def figure():
    figure = draw_limits(OUTCOMES)
    figure.draw_without_rendering()
    return figure


def bars(figure, arch, filled):
    """Height of the bars of an architecture by the vocabulary that they stand over."""
    shares = figure.axes[0]
    found = {}
    for bar in shares.patches:
        colour = bar.get_facecolor() if bar.get_fill() else bar.get_edgecolor()
        if bar.get_fill() == filled and to_hex(colour).upper() == COLOURS[arch]:
            found[(5, 10)[round(bar.get_x() + bar.get_width() / 2)]] = bar.get_height()
    return found


def marks(figure, arch, hollow):
    """Updates of the marks of an architecture by vocabulary."""
    found = {5: [], 10: []}
    for line in figure.axes[1].lines:
        if line.get_linestyle() == "None" and line.get_color() == COLOURS[arch]:
            inside = "white" if hollow else COLOURS[arch]
            if line.get_markerfacecolor() == inside:
                for x, y in zip(*line.get_data(), strict=True):
                    found[(5, 10)[round(x)]].append(y)
    return found


def test_bars_are_the_shares_that_succeed(figure):
    assert bars(figure, "rnn", filled=True) == {5: 1.0, 10: 0.25}
    assert bars(figure, "lstm", filled=True) == {5: 0.0, 10: 0.0}


def test_outlines_are_the_shares_that_succeed_when_primed(figure):
    assert bars(figure, "lstm", filled=False) == {5: 0.75}
    assert bars(figure, "rnn", filled=False) == {}


def test_marks_are_the_updates_of_each_seed(figure):
    assert marks(figure, "rnn", hollow=False) == {5: [30, 10, 20, 60], 10: [300]}
    assert marks(figure, "lstm", hollow=True) == {5: [70, 90, 50], 10: []}
    assert marks(figure, "lstm", hollow=False) == {5: [], 10: []}


def test_lines_are_the_medians(figure):
    medians = [
        line.get_ydata()[0]
        for line in figure.axes[1].lines
        if line.get_color() == "black" and line.get_ydata()[0] != 4000
    ]
    assert sorted(medians) == [25, 70, 300]


def test_bars_of_a_vocabulary_do_not_overlap(figure):
    spans = sorted(
        (bar.get_x(), bar.get_x() + bar.get_width())
        for bar in figure.axes[0].patches
        if bar.get_fill()
    )
    assert all(right < left for (_, right), (left, _) in itertools.pairwise(spans))


def test_nothing_is_told_by_colour_alone(figure):
    filled = [bar for bar in figure.axes[0].patches if bar.get_fill()]
    assert len({bar.get_hatch() for bar in filled}) == 2


def test_text_tells_the_settings(figure):
    title = figure.get_suptitle()
    for text in ("50 units", "20 steps", "4,000 updates", "4 seeds"):
        assert text in title


def test_axes_are_labelled_with_units(figure):
    shares, updates = figure.axes
    assert "(%)" in shares.get_ylabel() and "updates" in updates.get_ylabel()
    assert "vocabulary" in updates.get_xlabel()
    assert [tick.get_text() for tick in updates.get_xticklabels()] == ["5", "10"]


def test_legend_names_the_architectures_there_are(figure):
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["rnn", "lstm", "only after reading two periods"]


def test_fits_a_readme_whatever_is_compared():
    figure = draw_limits([outcome(arch, 5, 0, None) for arch in ARCHS])
    figure.draw_without_rendering()
    assert 750 <= figure.canvas.get_width_height()[0] <= 850
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1


def test_all_may_have_failed():
    draw_limits([outcome("rnn", 5, 0, None)]).draw_without_rendering()
