"""Draw the pictures of how-it-works.md: streams and windows, truncated BPTT, a window at once.

python -m docs.draw

The pictures depend only on the code: drawn again, they are the same.
"""

import math
import pathlib
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from parallel_sequential_iterator import ParallelSequentialIterator
from simple_sequence.simple_sequence_dataset import get_simple_sequence
from support.drawing import STYLES, save_figure

FOLDER = pathlib.Path(__file__).resolve().parent
BLUE, ORANGE, GREEN, *_ = (style["color"] for style in STYLES)
BROWN = "#9A5B00"  # for text about something orange, which would be too pale
GREY = "0.35"

Point = tuple[float, float]


def main() -> None:
    """Write every picture beside this file."""
    for name, draw in PICTURES.items():
        save_figure(draw(), str(FOLDER / name))


def draw_streams() -> Figure:
    """The sequence, split into streams, and the first two windows that are read from them."""
    length, left, top = 4, 5.2, 5.9
    places = [left + 1.2 * step + 0.5 * (step >= length) for step in range(2 * length)]
    colours = (BLUE, ORANGE, GREEN)
    iterator = ParallelSequentialIterator(get_simple_sequence(5, repeat=2), batch_size=3)
    figure, axes = _canvas(width=20.6, height=11.4)
    axes.text(0, 0.7, "The sequence: 20 tokens. Each of B = 3 streams begins at another place.")
    for place, token in enumerate(iterator.dataset):
        _cell(axes, place, 1.2, token, "0.6", width=1)
    for stream, (place, colour) in enumerate(zip(iterator.offsets, colours, strict=True)):
        _cell(axes, place, 1.2, iterator.dataset[place], colour, width=3.5)
        _arrow(axes, (place + 0.45, 3.0), (place + 0.45, 2.25), colour)
        axes.text(place + 0.45, 3.6, f"b = {stream}", ha="center")
        axes.text(left - 0.5, top + 1.1 * stream + 0.45, f"b = {stream}", ha="right", va="center")
    for number in range(2):
        x, _ = iterator.next_window(length)
        steps = places[number * length : (number + 1) * length]
        for (step, stream), token in np.ndenumerate(x):
            _cell(axes, steps[step], top + 1.1 * stream, token, colours[stream])
        _frame(axes, (steps[0] - 0.2, top - 0.2), (steps[-1] + 1.1, top + 3.3), "black", "-")
        axes.text(
            (steps[0] + steps[-1] + 0.9) / 2, top + 5.1, f"x of window {number + 1}", ha="center"
        )
    axes.text(left - 0.5, top + 4.2, "step", ha="right", color=GREY)
    for step, left_of_step in enumerate(places):
        axes.text(left_of_step + 0.45, top + 4.2, str(step), ha="center", color=GREY)
    _frame(axes, (places[1] - 0.15, top - 0.45), (places[length] + 1.05, top + 3.55), GREY, "--")
    middle = (places[1] + places[length] + 0.9) / 2
    axes.text(
        middle, top - 0.75, "t of window 1: the targets, one step later", ha="center", color=GREY
    )
    return figure


def draw_truncated_bptt() -> Figure:
    """The network unrolled over two windows: how far the state goes, and how far the gradient."""
    length, gap = 4, 1.2
    places = [1.5 + step + gap * (step >= length) for step in range(2 * length)]
    figure, axes = _canvas(width=11.3, height=6.4)
    axes.text(0.5, 2.9, "$h_0$", ha="center", va="center")
    for step, place in enumerate(places, 1):
        _box(axes, (place, 3.0), f"$h_{step}$", BLUE)
        axes.text(place, 4.85, f"$x_{step}$", ha="center", va="center")
        axes.text(place, 1.15, f"$L_{step}$", ha="center", va="center")
        _arrow(axes, (place, 4.55), (place, 3.42), BLUE)
        _arrow(axes, (place - 0.1, 2.58), (place - 0.1, 1.42), BLUE)
        _arrow(axes, (place + 0.1, 1.42), (place + 0.1, 2.58), ORANGE, dashed=True)
        before = places[step - 2] if step > 1 else 0.5
        _arrow(axes, (before + 0.28, 2.86), (place - 0.27, 2.86), BLUE)
        if step % length != 1:
            _arrow(axes, (place - 0.28, 3.16), (before + 0.27, 3.16), ORANGE, dashed=True)
    _arrow(axes, (places[-1] + 0.28, 2.86), (places[-1] + 1, 2.86), BLUE)
    cut = (places[length - 1] + places[length]) / 2
    axes.plot([cut, cut], [0.8, 5.2], color="black", linewidth=3)
    axes.text(cut, 0.6, "the graph is cut", ha="center")
    for number in range(2):
        first, last = places[number * length], places[number * length + length - 1]
        axes.plot([first - 0.3, last + 0.3], [5.2, 5.2], color="black", linewidth=1)
        text = f"window {number + 1}: forward, backward, update"
        axes.text((first + last) / 2, 5.58, text, ha="center")
    _arrow(axes, (1.2, 6.05), (1.8, 6.05), BLUE)
    axes.text(1.95, 6.05, "values: the state goes on", va="center", color=BLUE)
    _arrow(axes, (7.0, 6.05), (6.4, 6.05), ORANGE, dashed=True)
    axes.text(7.15, 6.05, "gradients: within a window", va="center", color=BROWN)
    return figure


def draw_window() -> Figure:
    """Which part of a window's work is one product and which is a loop, forward and backward."""
    figure, axes = _canvas(width=14.6, height=9.8)
    for left, title, above, below in (
        (
            0.1,
            "forward",
            "$h_t D^{\\mathsf{T}} + d$ for all steps",
            "$x_t W^{\\mathsf{T}} + b + c$ for all steps",
        ),
        (
            7.7,
            "backward",
            "$g_{y_t} D$ for all steps",
            "$g_W, g_R, g_b, g_x$ from all $g_{a_t}$",
        ),
    ):
        axes.text(left + 3.3, 0.55, title, ha="center", weight="bold")
        _slab(axes, (left, 1.0), above)
        _slab(axes, (left, 6.0), below)
        _frame(axes, (left - 0.1, 2.75), (left + 6.7, 7.95), GREY, ":")
        axes.text(left + 3.3, 7.65, "Elman, one function node", ha="center", color=GREY)
        forward = title == "forward"
        for step in range(6):
            place = left + 0.7 + 1.04 * step
            name = f"$h_{step + 1}$" if forward else f"$g_{{a_{step + 1}}}$"
            _box(axes, (place, 4.3), name, ORANGE)
            for start, end in (((place, 5.95), (place, 4.78)), ((place, 3.82), (place, 2.2))):
                _arrow(axes, *((start, end) if forward else (end, start)), GREY)
            if step:
                start, end = (place - 0.74, 4.3), (place - 0.3, 4.3)
                _arrow(axes, *((start, end) if forward else (end, start)), ORANGE)
    _slab(axes, (0.1, 8.4), "", width=1.0)
    axes.text(1.35, 9.0, "a matrix product for the whole window", va="center")
    _box(axes, (8.2, 9.0), "", ORANGE)
    axes.text(8.65, 9.0, "a small product each step, in turn", va="center")
    return figure


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """Axes without a frame, ``y`` downwards; text is set for a page of 800 pixels."""
    figure = Figure(figsize=(8, 8 * height / width), dpi=200)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(-0.2, width)
    axes.set_ylim(height, 0)
    axes.set_axis_off()
    return figure, axes


def _cell(
    axes: Axes, left: float, top: float, token: int | np.integer, edge: str, width: float = 1.8
) -> None:
    """One token: its number, on a darker square the larger it is."""
    shade = str(1 - 0.1 * int(token))
    square = Rectangle((left, top), 0.9, 0.9, facecolor=shade, edgecolor=edge, linewidth=width)
    axes.add_patch(square)
    axes.text(left + 0.45, top + 0.47, str(token), ha="center", va="center")


def _frame(axes: Axes, corner: Point, opposite: Point, colour: str, line: str) -> None:
    size = [end - start for start, end in zip(corner, opposite, strict=True)]
    style: dict[str, Any] = {"edgecolor": colour, "linestyle": line, "linewidth": 2, "fill": False}
    axes.add_patch(Rectangle(corner, *size, **style))


def _box(axes: Axes, centre: Point, text: str, colour: str) -> None:
    """A step of the recurrence."""
    x, y = centre
    style: dict[str, Any] = {
        "boxstyle": "round,pad=0.05",
        "facecolor": "white",
        "edgecolor": colour,
    }
    axes.add_patch(FancyBboxPatch((x - 0.2, y - 0.33), 0.4, 0.66, linewidth=2, **style))
    axes.text(x, y, text, ha="center", va="center")


def _slab(axes: Axes, corner: Point, text: str, width: float = 6.6) -> None:
    """Something done for all steps of a window at once."""
    x, y = corner
    style: dict[str, Any] = {
        "boxstyle": "round,pad=0.05",
        "facecolor": "#CCE3F0",
        "edgecolor": BLUE,
    }
    axes.add_patch(FancyBboxPatch((x + 0.05, y + 0.1), width - 0.1, 0.95, **style))
    axes.text(x + width / 2, y + 0.6, text, ha="center", va="center")


def _arrow(axes: Axes, start: Point, end: Point, colour: str, dashed: bool = False) -> None:
    length = math.dist(start, end)
    part = max(0, 1 - 0.01 * axes.get_xlim()[1] / length)  # of the shaft; the rest is the head
    neck = start[0] + part * (end[0] - start[0]), start[1] + part * (end[1] - start[1])
    shaft: dict[str, Any] = {
        "color": colour,
        "linewidth": 2,
        "linestyle": (0, (2.5, 1)) if dashed else "-",
    }
    axes.plot(*zip(start, neck, strict=True), solid_capstyle="butt", **shaft)
    head: dict[str, Any] = {
        "arrowstyle": "-|>",
        "color": colour,
        "mutation_scale": 13,
        "linewidth": 1,
    }
    axes.annotate("", end, neck, arrowprops={**head, "shrinkA": 0, "shrinkB": 0})


PICTURES = {
    "streams.png": draw_streams,
    "truncated-bptt.png": draw_truncated_bptt,
    "window.png": draw_window,
}

if __name__ == "__main__":
    main()
