import types

import numpy as np
import pytest
from PIL import Image

from extensions.plot_log import PlotLog

LOG = [
    {"epoch": 1, "main/loss": 2.0, "validation/main/loss": 1.5, "free_run": 9},
    {"epoch": 2, "main/loss": 1.0, "free_run": 45},
    {"epoch": 3, "main/loss": 0.5, "validation/main/loss": 0.25, "free_run": 90},
]
LOSS = {"main/loss": "training", "validation/main/loss": "validation"}


def trainer_with(log, folder):
    report = types.SimpleNamespace(log=log)
    return types.SimpleNamespace(out=str(folder), get_extension=lambda name: report)


def test_curves_are_the_numbers_of_the_log():
    (axes,) = PlotLog(LOSS, "loss (nats)", "loss.png")._figure(LOG).axes
    curves = {line.get_label(): np.transpose(line.get_data()).tolist() for line in axes.lines}
    assert curves == {"training": [[1, 2], [2, 1], [3, 0.5]], "validation": [[1, 1.5], [3, 0.25]]}
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(curves)
    assert axes.get_ylabel() == "loss (nats)" and "epoch" in axes.get_xlabel()
    looks = [(line.get_color(), line.get_marker(), line.get_linestyle()) for line in axes.lines]
    assert all(one != other for one, other in zip(*looks, strict=True))


def test_long_curves_are_drawn_with_some_of_their_points_to_the_last():
    log = [{"epoch": epoch, "main/loss": 1 / epoch} for epoch in range(1, 100_001)]
    (line,) = PlotLog(LOSS, "loss", "loss.png")._figure(log).axes[0].lines
    epochs = line.get_xdata()
    assert 1000 <= len(epochs) <= 2000
    assert epochs[-1] == 100_000 and epochs[0] <= 100
    assert set(np.diff(epochs)) == {50}
    np.testing.assert_allclose(line.get_ydata(), 1 / np.array(epochs))
    assert len(epochs) / line.get_markevery() <= 50


@pytest.mark.parametrize("n_entries", [1, 2, 49, 50])
def test_short_curves_have_all_their_points_and_markers(n_entries):
    log = [{"epoch": epoch, "main/loss": 1 / epoch} for epoch in range(1, n_entries + 1)]
    (line,) = PlotLog(LOSS, "loss", "loss.png")._figure(log).axes[0].lines
    assert list(line.get_xdata()) == list(range(1, n_entries + 1))
    assert line.get_markevery() == 1


def test_values_may_be_scaled():
    plot = PlotLog({"free_run": "free run"}, "share", "counting.png", {"free_run": 1 / 90})
    (line,) = plot._figure(LOG).axes[0].lines
    np.testing.assert_allclose(line.get_ydata(), [0.1, 0.5, 1])


def test_legend_is_within_the_picture_and_above_the_curves():
    long = {"main/loss": "boundary accuracy", "free_run": "free run (of 39,800 tokens)"}
    figure = PlotLog(long, "share", "counting.png")._figure(LOG)
    figure.draw_without_rendering()
    box = figure.axes[0].get_legend().get_window_extent()
    assert figure.bbox.x0 < box.x0 and box.x1 < figure.bbox.x1 and box.y1 <= figure.bbox.y1
    assert box.y0 >= figure.axes[0].bbox.y1


def test_picture_is_drawn_at_the_end_and_as_wide_as_a_readme(tmp_path):
    plot = PlotLog(LOSS, "loss", "loss.png")
    trainer = trainer_with(LOG, tmp_path)
    plot.initialize(trainer)
    plot(trainer)  # a moment after the beginning
    assert not list(tmp_path.iterdir())
    plot.finalize()
    assert 750 <= Image.open(tmp_path / "loss.png").width <= 850


@pytest.mark.parametrize("failed", [False, True])
def test_failure_to_write_is_a_warning_unless_the_training_has_failed(tmp_path, capsys, failed):
    plot = PlotLog(LOSS, "loss", "loss.png")
    plot.initialize(trainer_with(LOG, tmp_path / "nowhere"))
    if failed:
        plot.on_error(None, Exception(), None)
    plot.finalize()
    assert capsys.readouterr().err.startswith("warning: ") != failed


def test_the_lowest_value_is_marked_and_named():
    log = [{"epoch": n, "validation/main/loss": v} for n, v in enumerate([3.0, 1.25, 2.0], start=1)]
    plot = PlotLog(LOSS, "loss", "loss.png", lowest="validation/main/loss")
    _, mark = plot._figure(log).axes[0].lines
    assert (list(mark.get_xdata()), list(mark.get_ydata())) == ([2], [1.25])
    assert mark.get_label() == "best: 1.25, epoch 2"


def test_without_such_a_value_nothing_is_marked():
    plot = PlotLog(LOSS, "loss", "loss.png", lowest="validation/main/loss")
    (curve,) = plot._figure([{"epoch": 1, "main/loss": 1.0}]).axes[0].lines
    assert curve.get_label() == "training"
