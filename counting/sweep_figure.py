"""The picture of the sweep: how many of the seeds learned to count so far, and how soon."""

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from counting.sweep import Outcome
from models import ARCHS
from support.drawing import HATCHES, STYLES, Style, new_figure, style_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

_WIDTH = 0.8  # of the group of bars of one vocabulary, where 1 is the distance to the next


def draw_limits(outcomes: Sequence[Outcome]) -> "Figure":
    """Draw the outcomes of cells that differ only in architecture, vocabulary and seed.

    Above, bars: the share of the seeds whose free run became perfect, and in outline the share that
    did so after reading two periods. Below, a mark for each of these seeds at the updates it took,
    hollow if it had to read two periods first, and a line at their median.

    Args:
        outcomes (list of counting.sweep.Outcome): not empty.

    Returns:
        matplotlib.figure.Figure
    """
    archs = [arch for arch in ARCHS if any(one.cell.arch == arch for one in outcomes)]
    vocabularies = sorted({one.cell.n_vocab for one in outcomes})
    figure = new_figure(6.2, layout="constrained")
    from matplotlib.ticker import PercentFormatter, StrMethodFormatter

    shares, updates = figure.subplots(2, sharex=True)
    for number, arch in enumerate(archs):
        for group, n_vocab in enumerate(vocabularies):
            cells = [one for one in outcomes if one.cell[:2] == (arch, n_vocab)]
            if cells:
                place = group + _WIDTH * ((number + 0.5) / len(archs) - 0.5)
                _draw_cells(shares, updates, place, _WIDTH / len(archs), arch, cells)
    settings = outcomes[0].cell
    n_seeds = len({one.cell.seed for one in outcomes})
    figure.suptitle(
        "How far does each architecture count?\n"
        f"{settings.unit} units, windows of {settings.bproplen} steps, "
        f"at most {settings.budget:,} updates, {n_seeds} seeds",
        fontsize=11,
    )
    shares.set_ylim(0, 1.05)
    shares.yaxis.set_major_formatter(PercentFormatter(1))
    shares.set_ylabel("seeds with a perfect free run\nover two periods (%)")
    updates.set_yscale("log")
    updates.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    updates.axhline(settings.budget, color="black", linewidth=1)
    updates.annotate(
        "budget",
        (0.005, settings.budget),
        xycoords=("axes fraction", "data"),
        fontsize=8,
        va="bottom",
    )
    updates.set_ylim(top=1.6 * settings.budget)
    updates.set_ylabel("updates it took\n(each seed, and median)")
    updates.set_xticks(range(len(vocabularies)), vocabularies)
    updates.set_xlim(-0.5, len(vocabularies) - 0.5)
    updates.set_xlabel("vocabulary V (the network has to count to V - 1)")
    for axes in (shares, updates):
        axes.grid(axis="y", alpha=0.3)
        axes.set_axisbelow(True)
        for group in range(1, len(vocabularies)):
            axes.axvline(group - 0.5, color="0.8", linewidth=0.8)
    _add_legend(figure, archs)
    return figure


def _draw_cells(
    shares: "Axes",
    updates: "Axes",
    place: float,
    width: float,
    arch: str,
    cells: Sequence[Outcome],
) -> None:
    """One architecture on one vocabulary: a bar above and marks below, at ``place``."""
    style = _style(arch)
    taken = [one.updates for one in cells if one.updates is not None]
    primed = [one for one in cells if one.updates_primed is not None]
    width_of_bar = 0.85 * width
    color = style["color"]
    outline: Style = {"fill": False, "edgecolor": color, "linestyle": "--", "linewidth": 1.5}
    solid: Style = {"facecolor": color, "edgecolor": "black", "hatch": style["hatch"]}
    if len(primed) > len(taken):
        shares.bar(place, len(primed) / len(cells), width_of_bar, **outline)
    shares.bar(place, len(taken) / len(cells), width_of_bar, **solid)
    if not primed:
        shares.annotate("0", (place, 0.01), ha="center", fontsize=8, color="0.3")
    only_primed = [
        one.updates_primed
        for one in cells
        if one.updates is None and one.updates_primed is not None
    ]
    marks: Style = {"color": color, "marker": style["marker"], "markersize": 5, "linestyle": ""}
    for values, fill in ((taken, color), (only_primed, "white")):
        offsets = [width * (0.2 * (number % 3) - 0.2) for number in range(len(values))]
        updates.plot([place + each for each in offsets], values, markerfacecolor=fill, **marks)
    if taken or only_primed:
        middle = median(taken or only_primed)
        updates.plot([place - 0.4 * width, place + 0.4 * width], [middle, middle], color="black")


def _style(arch: str) -> Style:
    """Colour, marker and hatch of an architecture."""
    style = style_of(arch)
    return {**style, "hatch": HATCHES[STYLES.index(style)]}


def _add_legend(figure: "Figure", archs: Sequence[str]) -> None:
    from matplotlib.legend_handler import HandlerTuple
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    def handle(color: str, marker: str, inside: str, **patch: Any) -> "tuple[Patch, Line2D]":
        line = Line2D([], [], color=color, marker=marker, markerfacecolor=inside, linestyle="")
        return Patch(**patch), line

    handles: list[Any] = []  # matplotlib's type hints do not allow pairs
    for arch in archs:
        style = _style(arch)
        color = style["color"]
        patch = {"facecolor": color, "edgecolor": "black", "hatch": style["hatch"]}
        handles.append(handle(color, style["marker"], color, **patch))
    outline = {"fill": False, "edgecolor": "0.3", "linestyle": "--"}
    handles.append(handle("0.3", "o", "white", **outline))
    figure.legend(
        handles,
        [*archs, "only after reading two periods"],
        handler_map={tuple: HandlerTuple(ndivide=None, pad=0.6)},
        handlelength=3,
        loc="outside lower center",
        ncols=3,
        fontsize=9,
    )
