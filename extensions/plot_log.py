"""Pictures of a training: curves of its log, and the graph of one window for Graphviz."""

import functools
import os
import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from chainer import config
from chainer.computational_graph import build_computational_graph
from chainer.training import Extension, Trainer, extensions

from support.command_line import one_line
from support.drawing import BEST, STYLES, marks, new_figure, save_figure, thinned
from support.files import write_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SECONDS_BETWEEN = 5


class PlotLog(Extension):
    """Draws values of the trainer's LogReport when the training ends, and sometimes before.

    Chainer's PlotReport imports pyplot, accumulates again what LogReport has, and spends a good
    part of a short training on a picture each epoch that nobody looks at.

    Args:
        keys (dict): label of the curve by name of the value in the log.
        label (str): what the vertical axis shows.
        file_name (str): the picture, in the trainer's output folder.
        scales (dict or None): factor by name of the value, 1 for missing names.
        lowest (str): name of the value whose lowest point is marked; empty for none.
    """

    trigger = 1, "epoch"
    priority = -200  # after the snapshot, which is then saved even if drawing fails

    def __init__(
        self,
        keys: Mapping[str, str],
        label: str,
        file_name: str,
        scales: Mapping[str, float] | None = None,
        lowest: str = "",
    ) -> None:
        self.keys = keys
        self.label = label
        self.file_name = file_name
        self.scales = scales or {}
        self.lowest = lowest
        self.name = file_name  # type: ignore[assignment] # None in Chainer's
        self._trainer: Trainer | None = None
        self._drawn = 0  # entries of the log in the last picture
        self._drawn_at = 0.0
        self._failed = False

    def initialize(self, trainer: Trainer) -> None:
        """Remember the trainer and the start time."""
        self._trainer = trainer
        self._drawn_at = time.monotonic()

    def __call__(self, trainer: Trainer) -> None:
        """Draw, unless the last picture is only seconds old."""
        if time.monotonic() - self._drawn_at >= _SECONDS_BETWEEN:
            self._draw(trainer)

    def on_error(
        self, trainer: Trainer, exception: Exception, traceback: TracebackType | None
    ) -> None:
        """Note that the training has failed, so the user is told only that."""
        self._failed = True

    def finalize(self) -> None:
        """Draw what the last picture lacks, even if the training was cut short."""
        if self._trainer is not None:
            self._draw(self._trainer)

    def _draw(self, trainer: Trainer) -> None:
        log = trainer.get_extension("LogReport").log
        if len(log) == self._drawn:
            return
        path = os.path.join(trainer.out, self.file_name)
        try:
            figure = self._figure(log)
            # The training waits for this: compress quickly rather than tightly.
            save_figure(figure, path, pil_kwargs={"compress_level": 1})
        except Exception as error:
            # The picture can be drawn again from the log, so its failure does not end the training.
            if not self._failed:
                reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
                print(one_line(f"warning: {path} cannot be drawn: {reason}"), file=sys.stderr)
        self._drawn = len(log)
        self._drawn_at = time.monotonic()

    def _figure(self, log: Sequence[Mapping[str, float]]) -> "Figure":
        figure = _frame()
        (axes,) = figure.axes
        for line in list(axes.lines):
            line.remove()
        shown = thinned(log)
        for (key, label), style in zip(self.keys.items(), STYLES, strict=False):
            scale = self.scales.get(key, 1)
            points = [(entry["epoch"], scale * entry[key]) for entry in shown if key in entry]
            if points:
                style = {"markersize": 4, "markevery": marks(points), **style}
                axes.plot(*zip(*points, strict=True), label=label, **style)
        lowest = self.lowest
        points = [(entry[lowest], entry["epoch"]) for entry in log if lowest in entry]
        if points:
            value, epoch = min(points)
            label = f"best: {value:.4g}, epoch {epoch}"
            axes.plot(epoch, value, label=label, **BEST)
        axes.relim()
        axes.autoscale_view()
        axes.set_ylabel(self.label)
        # Above the axes, where it hides no curve.
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False)
        return figure


@functools.cache
def _frame() -> "Figure":
    """The part common to all pictures, made once: ticks take longer than curves."""
    figure = new_figure(4)
    from matplotlib.ticker import MaxNLocator

    figure.subplots_adjust(left=0.12, right=0.97, bottom=0.13, top=0.91)
    axes = figure.add_subplot()
    axes.set_xlabel("epoch (sweeps over the training data)")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.grid(alpha=0.3)
    return figure


class DumpGraph(extensions.DumpGraph):
    """Chainer's DumpGraph, but the file is complete or absent, and the user draws it."""

    default_name = "DumpGraph"

    def __call__(self, trainer: Trainer) -> None:
        """Write ``cg.dot`` into the output folder."""
        config.keep_graph_on_report = self._original_flag
        graph = build_computational_graph(
            [trainer.observation[self._root_name]],
            variable_style=self._variable_style,
            function_style=self._function_style,
        )
        path = os.path.join(trainer.out, self._filename)
        write_file(path, lambda file: file.write(graph.dump().encode()))
