"""The picture of the lies: after which of them a network keeps its place or counts anew."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from counting.lies import (
    CHANGES,
    Answer,
    Lie,
    Outcome,
    changed_runs,
    other_numbers,
    read_lies,
    shares,
)
from models import Model
from support.drawing import STYLES, Style, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's blue and orange, and no colour: distinct with any colour vision, and in grey.
COLORS = {
    Answer.KEPT: STYLES[0]["color"],
    Answer.ANEW: STYLES[1]["color"],
    Answer.LOST: "#BBBBBB",
}
_TEXT = {Answer.KEPT: "white", Answer.ANEW: "black", Answer.LOST: "black"}
Outcomes = Mapping[Lie, Outcome]


def read_all(model: Model) -> tuple[Outcomes, Outcomes]:
    """The outcomes of all other numbers and of all changed runs; see ``counting.lies``."""
    n_vocab = len(model.embed.W)
    return read_lies(model, other_numbers(n_vocab)), read_lies(model, changed_runs(n_vocab))


def summary(numbers: Outcomes) -> str:
    """The shares of the three answers to other numbers, as the end of a sentence."""
    found = shares(list(numbers.values()))
    return ", ".join(f"{answer.value} {share:.0%}" for answer, share in found.items())


def draw_lies(numbers: Outcomes, changes: Outcomes, name: str) -> "Figure":
    """Draw the answers to all lies as colours, over the run that precedes each lie.

    Above, another number instead of the next; below, a run of a wrong length. A figure in a cell
    counts the tokens until the network is right again, if it is not so at once.

    Args:
        numbers, changes (dict): from :func:`read_all`.
        name (str): of the network, for the title.

    Returns:
        matplotlib.figure.Figure
    """
    figure = new_figure(6.2, layout="constrained")
    from matplotlib.patches import Patch

    n_numbers = max(lie.column for lie in numbers)
    above, below = figure.subplots(
        2, sharex=True, gridspec_kw={"height_ratios": (n_numbers, len(CHANGES))}
    )
    for axes, outcomes in ((above, numbers), (below, changes)):
        draw_answers(axes, outcomes, with_figures=n_numbers <= 15)
    above.set_title("told another number in place of the next:", fontsize=10, loc="left")
    above.set_ylabel("number told")
    below.set_title("told the run itself wrongly, then the next number:", fontsize=10, loc="left")
    below.set_xlabel("number whose run comes before")
    figure.suptitle(f"{name}, told other numbers: {summary(numbers)}", fontsize=11)
    handles = [Patch(facecolor=color, label=answer.value) for answer, color in COLORS.items()]
    figure.legend(
        handles=handles,
        title="a figure: tokens until it is right again, if not at once",
        title_fontsize=9,
        fontsize=9,
        ncols=3,
        frameon=False,
        loc="outside lower center",
    )
    return figure


def draw_answers(axes: "Axes", outcomes: Outcomes, with_figures: bool) -> None:
    """Draw a cell for each lie in ``axes``, numbers upward or changes downward."""
    from matplotlib.patches import Rectangle

    n_numbers = max(lie.column for lie in outcomes)
    size = 0.92  # of a cell, where 1 is the distance to the next
    for lie, outcome in outcomes.items():
        row = CHANGES.index(lie.row) if isinstance(lie.row, str) else lie.row
        corner = lie.column - size / 2, row - size / 2
        color = COLORS[outcome.answer]
        axes.add_patch(Rectangle(corner, size, size, facecolor=color, linewidth=0))
        if with_figures and outcome.right_after:
            never = outcome.right_after == len(outcome.written)
            text = "never" if never else str(outcome.right_after)
            options: Style = {"ha": "center", "va": "center", "color": _TEXT[outcome.answer]}
            axes.text(lie.column, row, text, fontsize=8, **options)
    axes.set_xlim(0.4, n_numbers + 0.6)
    step = 1 if n_numbers <= 15 else 5
    ticks = [v for v in range(1, n_numbers + 1) if v == 1 or v % step == 0]
    axes.set_xticks(ticks)
    if isinstance(next(iter(outcomes)).row, str):
        axes.set_ylim(len(CHANGES) - 0.4, -0.6)
        axes.set_yticks(range(len(CHANGES)), CHANGES)
    else:
        axes.set_ylim(0.4, n_numbers + 0.6)
        axes.set_yticks(ticks)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
