"""One figure of a network that counts: what it writes, how sure it is, and which units count."""

from typing import TYPE_CHECKING

import chainer_compat

import numpy as np
from numpy.typing import NDArray

from counting.drawing import MISTAKE, STYLES, Style
from counting.scores import periods
from counting.traces import correlations, generate, position_in_run, record, recurrent_layers
from models import Model

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

# The picture is read step by step, and has some 500 columns.
MOST_TOKENS = 10_000


def draw_counting(model: Model, arch: str, layer: int = 1) -> "Figure":
    """Draw how a model does on two periods of the sequence.

    Three panels share the place in the sequence: the true and the generated numbers as steps, with
    the mistakes marked; the probability that the model, reading the true sequence, gives each
    number before it comes; and the state of every unit of one layer meanwhile, as a heat map. The
    units stand in the order of how well their value correlates with the position within the run,
    counters first, and a curve beside the map gives this correlation.

    Args:
        model: one of the architectures. Its state is lost.
        arch (str): its name, for the title.
        layer (int): the recurrent layer whose units are shown, the first is 1.

    Returns:
        matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    tokens = periods(len(model.embed.W), 2)
    generated = generate(model, tokens[0], len(tokens))
    states, probabilities = record(model, model.xp.asarray(tokens), layer)
    r = correlations(states, position_in_run(tokens[:-1]))
    order = np.argsort(-abs(r), kind="stable")

    link = recurrent_layers(model)[layer - 1]
    unit = "cell" if link.state_names[0] == "c" else "unit"

    figure = Figure(figsize=(6.7, 7.4), dpi=120, layout="constrained")
    grid = figure.subplots(
        3,
        2,
        sharex="col",
        sharey="row",
        gridspec_kw={"height_ratios": (1.3, 0.8, 2.2), "width_ratios": (9, 1)},
    )
    (sequence, probability, units), (*corners, curve) = grid.T
    for corner in corners:
        corner.set_axis_off()
    _draw_sequence(sequence, tokens, generated)
    _draw_probability(probability, probabilities)
    image = _draw_units(units, states[:, order])
    figure.colorbar(image, ax=[units, curve], label=f"value of the {unit}", fraction=0.05, pad=0.02)
    _draw_correlations(curve, abs(r[order]))
    for axes in (sequence, probability, units):
        for end in np.flatnonzero(np.diff(tokens)) + 0.5:
            axes.axvline(end, color="0.6", linewidth=0.5)

    wrong = np.flatnonzero(generated != tokens)
    count = len(tokens) - 1
    outcome = f"all {count} tokens generated with no mistake"
    if wrong.size:
        outcome = f"{wrong[0] - 1} of {count} tokens generated before the first mistake"
    figure.suptitle(f"{arch}: {outcome}")
    units.set_xlim(-0.5, len(tokens) - 0.5)
    units.set_xlabel("place in the sequence (tokens after the first)")
    units.set_ylabel(f"{unit}s of layer {layer}, best counters first")
    units.set_title(
        f"best counter: {unit} {order[0]}, correlation {r[order[0]]:+.2f} "
        "with the position in the run",
        fontsize=10,
        loc="left",
    )
    return figure


def _draw_sequence(axes: "Axes", tokens: NDArray[np.int32], generated: NDArray[np.int32]) -> None:
    from matplotlib.ticker import MaxNLocator

    place = np.arange(len(tokens))
    wide: Style = {"color": STYLES[0]["color"], "linewidth": 4, "alpha": 0.5}
    axes.step(place, tokens, where="mid", label="true", **wide)
    thin: Style = {"color": "black", "linestyle": "--", "linewidth": 1}
    axes.step(place, generated, where="mid", label="generated", **thin)
    wrong = generated != tokens
    cross: Style = {"color": MISTAKE, "marker": "x", "markersize": 5, "linestyle": ""}
    axes.plot(place[wrong], generated[wrong], label="mistake", **cross)
    axes.set_ylabel("number")
    axes.yaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, borderaxespad=0)


def _draw_probability(axes: "Axes", probabilities: NDArray) -> None:
    axes.plot(np.arange(1, len(probabilities) + 1), probabilities, color=STYLES[0]["color"])
    axes.set_ylim(0, 1.05)
    axes.set_ylabel("probability of\nthe right token")


def _draw_units(axes: "Axes", states: NDArray) -> "AxesImage":
    """Heat map of ``states``, ``(n, U)``, a row for each unit; return the image."""
    # Cividis runs from dark to bright, alike for any colour vision and in grey. A few large values
    # would leave all others one shade.
    limit = float(np.percentile(abs(states), 99)) or 1.0
    extent = (-0.5, len(states) - 0.5, states.shape[1] - 0.5, -0.5)
    options: Style = {"vmin": -limit, "vmax": limit, "cmap": "cividis", "interpolation": "nearest"}
    return axes.imshow(states.T, aspect="auto", extent=extent, **options)


def _draw_correlations(axes: "Axes", correlations: NDArray) -> None:
    axes.plot(correlations, np.arange(len(correlations)), color="black")
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 1])
    axes.set_xlabel("|correlation|")
    axes.grid(alpha=0.3)
