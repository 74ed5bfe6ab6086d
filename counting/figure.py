"""A figure of how a network counts: what it writes, how sure it is, and which units count."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from counting.scores import periods
from counting.traces import correlations, position_in_run, record, recurrent_layers
from models import Model
from models.generation import generate
from support.drawing import MISTAKE, STYLES, Style, new_figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

# The network reads step by step, and the picture has some 500 columns.
_MOST_TOKENS = 10_000
_BLUE = STYLES[0]["color"]


def why_not_drawn(n_vocab: int) -> str | None:
    """Why :func:`draw_counting` cannot draw a vocabulary of this size; None if it can."""
    n_tokens = n_vocab * (n_vocab - 1)
    if 0 < n_tokens <= _MOST_TOKENS:
        return None
    return (
        f"two periods of a vocabulary of {n_vocab} are {n_tokens:,} tokens; "
        f"from 1 to {_MOST_TOKENS:,} can be drawn"
    )


def draw_counting(model: Model, arch: str, layer: int = 1) -> "Figure":
    """Draw how a model does on two periods of the sequence.

    Four panels share the place in the sequence: the true and the generated numbers as steps, with
    the mistakes marked; the probability that the model, reading the true sequence, gives each next
    number; the state of one layer's best counter, over the position in the run that it should
    count; and the states of all units of that layer, as a heat map. The map sorts the units by
    their correlation with the position in the run, best counters first, and a curve beside it shows
    the correlation. Units that fall along a run are shown with the sign turned: otherwise two
    equally good counters would look like opposites.

    Args:
        model: one of the architectures. Its state is lost.
        arch (str): its name, for the title.
        layer (int): the recurrent layer whose units are shown, from 1.

    Returns:
        matplotlib.figure.Figure
    """
    tokens = periods(len(model.embed.W), 2)
    generated = generate(model, tokens[:1], len(tokens) - 1)
    states, probabilities = record(model, model.xp.asarray(tokens), layer)
    position = position_in_run(tokens)
    r = correlations(states, tokens)
    order = np.argsort(-abs(r), kind="stable")
    best = order[0]
    link = recurrent_layers(model)[layer - 1]
    unit = "cell" if link.state_names[0] == "c" else "unit"

    figure = new_figure(7.8, layout="constrained")
    grid = figure.subplots(
        4,
        2,
        sharex="col",
        gridspec_kw={"height_ratios": (1.3, 0.75, 0.9, 2.6), "width_ratios": (7, 1)},
    )
    (sequence, probability, counter, units), (*corners, curve) = grid.T
    for corner in corners:
        corner.set_axis_off()
    lines = _draw_sequence(sequence, tokens, generated)
    _draw_legend(corners[0], lines, ["true", "generated", "mistake"])
    _draw_probability(probability, probabilities)
    line, area = _draw_counter(counter, states[:, best], position)
    counter.set_ylabel(f"value of\n{unit} {best}")
    counted = "position in\nthe run (tokens,\nright axis)"
    _draw_legend(corners[2], [line, area], [f"{unit} {best}", counted])
    image = _draw_units(units, (np.where(r < 0, -1, 1) * states)[:, order])
    _draw_correlations(curve, abs(r[order]))
    label = f"value of the {unit}, sign turned where it falls along a run"
    figure.colorbar(image, ax=grid[3], label=label, location="bottom", aspect=50, pad=0.02)
    for axes, color in ((sequence, "0.75"), (probability, "0.75"), (counter, "0.75"), (units, "1")):
        for end in np.flatnonzero(np.diff(tokens)) + 0.5:
            axes.axvline(end, color=color, linewidth=0.6, zorder=0.5 + (axes is units))

    wrong = np.flatnonzero(generated != tokens)
    count = len(tokens) - 1
    outcome = f"all {count} tokens generated with no mistake"
    if wrong.size:
        outcome = f"{wrong[0] - 1} of {count} tokens generated before the first mistake"
    figure.suptitle(f"{arch}: {outcome}")
    counter.set_title(
        f"best counter of layer {layer}: {unit} {best}, correlation {r[best]:+.2f} "
        "with the position in a run",
        fontsize=10,
        loc="left",
    )
    units.set_xlim(-0.5, len(tokens) - 0.5)
    units.set_xlabel("place in the sequence (tokens after the first)")
    units.set_ylabel(f"{unit}s of layer {layer},\nbest counters first")
    return figure


def _draw_legend(corner: "Axes", handles: "Sequence[Artist]", labels: list[str]) -> None:
    """Put a legend beside its panel, where it hides nothing."""
    options: Style = {"frameon": False, "fontsize": 9, "handlelength": 1.4, "borderaxespad": 0}
    corner.legend(handles, labels, loc="center left", **options)


def _draw_sequence(
    axes: "Axes", tokens: NDArray[np.int32], generated: NDArray[np.int32]
) -> "Sequence[Artist]":
    from matplotlib.ticker import MaxNLocator

    place = np.arange(len(tokens))
    wide: Style = {"color": _BLUE, "linewidth": 4, "alpha": 0.5}
    axes.step(place, tokens, where="mid", label="true", **wide)
    thin: Style = {"color": "black", "linestyle": "--", "linewidth": 1}
    axes.step(place, generated, where="mid", label="generated", **thin)
    wrong = generated != tokens
    cross: Style = {"color": MISTAKE, "marker": "x", "markersize": 5, "linestyle": ""}
    axes.plot(place[wrong], generated[wrong], label="mistake", **cross)
    axes.set_ylabel("number")
    axes.yaxis.set_major_locator(MaxNLocator("auto", integer=True))
    return axes.lines


def _draw_probability(axes: "Axes", probabilities: NDArray) -> None:
    axes.plot(np.arange(1, len(probabilities) + 1), probabilities, color=_BLUE)
    axes.set_ylim(0, 1.05)
    axes.set_ylabel("probability of\nthe right token")


def _draw_counter(
    axes: "Axes", state: NDArray, position: NDArray[np.integer]
) -> tuple["Artist", "Artist"]:
    """A unit's value, over the position in the run (right axis)."""
    from matplotlib.ticker import MaxNLocator

    place = np.arange(len(position))
    right = axes.twinx()
    area = right.fill_between(place, position, step="mid", color="0.85", linewidth=0)
    right.set_ylim(0, 1.1 * position.max())
    right.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.set_zorder(right.get_zorder() + 1)  # the line before the area
    axes.patch.set_visible(False)
    (line,) = axes.plot(place, state, color=_BLUE, marker=".", markersize=4)
    return line, area


def _draw_units(axes: "Axes", states: NDArray) -> "AxesImage":
    """Heat map of ``states``, ``(n, U)``, a row for each unit; return the image."""
    # Cividis runs from dark to bright for any colour vision and in grey. Without the limit a few
    # large values would leave all others in one shade.
    limit = float(np.percentile(abs(states), 99)) or 1.0
    extent = (-0.5, len(states) - 0.5, states.shape[1] - 0.5, -0.5)
    options: Style = {"vmin": -limit, "vmax": limit, "cmap": "cividis", "interpolation": "nearest"}
    return axes.imshow(states.T, aspect="auto", extent=extent, **options)


def _draw_correlations(axes: "Axes", correlations: NDArray) -> None:
    axes.plot(correlations, np.arange(len(correlations)), color="black")
    axes.set_xlim(0, 1)
    axes.set_ylim(len(correlations) - 0.5, -0.5)  # like the heat map beside it
    axes.set_xticks([0, 0.5, 1], ["0", "½", "1"])
    axes.set_yticks([])
    axes.set_xlabel("|correlation|")
    axes.grid(alpha=0.3)
