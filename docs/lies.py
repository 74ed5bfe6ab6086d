"""Draw the pictures of what-it-learned.md, after training the networks that they show.

python -m docs.lies FOLDER

This trains twenty networks into the folder, half an hour on one core. Existing ones are kept.
"""

import os
import pathlib
import sys
from typing import TYPE_CHECKING

import train_simple_sequence
from counting.lies import Answer, other_numbers, read_lies, shares
from counting.lies_figure import COLORS, draw_answers, read_all
from models import ARCHS, Model
from models.generation import generate
from models.model_file import load_model, model_path
from simple_sequence.simple_sequence_dataset import get_simple_sequence
from support.drawing import MISTAKE, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOCS = pathlib.Path(__file__).resolve().parent
# Ways to train, by their names in the pictures.
TRAININGS = {
    "10 epochs": "-e 10",
    "80 epochs": "-e 80",
    "80 epochs, 1 to 11": "-e 80 --n-vocab 12",
    "runs in random order": "--shuffle-runs --repeat 1000 -b 50 -e 10 --lr 0.003",
}
ORDERED, SHUFFLED = "80 epochs", "runs in random order"


def main(folder: str) -> None:
    """Train what is missing, and write both pictures beside this file."""
    networks = {
        (arch, name): trained(os.path.join(folder, f"{arch} {name}"), arch, options)
        for arch in ARCHS
        for name, options in TRAININGS.items()
    }
    save_figure(
        draw_one_lie(networks["rnn3", ORDERED], networks["rnn3", SHUFFLED]), str(DOCS / "lies.png")
    )
    save_figure(draw_all(networks), str(DOCS / "lies_all.png"))


def trained(folder: str, arch: str, options: str) -> Model:
    """The network that these options of train_simple_sequence.py make."""
    path = model_path(folder, arch)
    if not os.path.exists(path):
        argv = ["-a", arch, *options.split(), "-o", folder, "--keep", "1"]
        if train_simple_sequence.main(argv):
            sys.exit(1)
    return load_model(path)[1]


def draw_one_lie(ordered: Model, shuffled: Model) -> "Figure":
    """What two networks write after the same lie, as tiles."""
    figure = new_figure(2.2)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, 23.5)
    axes.set_ylim(-0.2, 7.5)
    axes.set_axis_off()
    n_vocab = len(ordered.embed.W)
    period = get_simple_sequence(n_vocab, 1)
    true, lie = [1, 2, 2, 3, 3, 3], 7
    prime = [*period, *period, *true, lie]
    rows = (
        (
            4.2,
            ordered,
            Answer.KEPT,
            "white",
            "Trained on 1 2 2 3 3 3 4 4 4 4 …",
            "It keeps its place",
        ),
        (0.2, shuffled, Answer.ANEW, "black", "Trained on these runs in random order", "It counts"),
    )
    for y, model, answer, ink, training, outcome in rows:
        written = generate(model, prime, 9)[len(prime) :]
        found = shares(list(read_lies(model, other_numbers(n_vocab)).values()))
        axes.text(0.3, y + 2.2, training, fontsize=11, weight="bold", va="center")
        for place, number in enumerate(true):
            draw_tile(axes, 0.3 + place, y, number, "#E4E4E4", "black")
        draw_tile(axes, 6.6, y, lie, "white", MISTAKE)
        axes.text(7.05, y + 1.4, "told", fontsize=9, color=MISTAKE, ha="center", va="center")
        axes.text(7.65, y + 0.46, "→", fontsize=13, va="center")
        for place, number in enumerate(written):
            draw_tile(axes, 8.7 + place, y, number, COLORS[answer], ink)
        axes.text(8.7, y + 1.4, "goes on with", fontsize=9, color="0.35", va="center")
        text = f"{outcome}\nafter {found[answer]:.0%}\nof such lies."
        axes.text(18.2, y + 0.55, text, fontsize=10, va="center")
    return figure


def draw_tile(axes: "Axes", x: float, y: float, number: int, color: str, ink: str) -> None:
    """A number in a box."""
    from matplotlib.patches import FancyBboxPatch

    edge = ink if color == "white" else color
    style = "round,pad=0,rounding_size=0.15"
    axes.add_patch(
        FancyBboxPatch((x, y), 0.88, 0.95, style, facecolor=color, edgecolor=edge, lw=1.5)
    )
    axes.text(x + 0.44, y + 0.44, str(number), ha="center", va="center", color=ink, fontsize=11)


def draw_all(networks: dict[tuple[str, str], Model]) -> "Figure":
    """The answers of every network to every lie, in small panels."""
    figure = new_figure(10.5, layout="constrained")
    from matplotlib.patches import Patch

    figure.set_figwidth(8)
    panels = figure.subplots(
        2 * len(ARCHS), len(TRAININGS), gridspec_kw={"height_ratios": (9, 4) * len(ARCHS)}
    )
    for column, name in enumerate(TRAININGS):
        for row, arch in enumerate(ARCHS):
            numbers, changes = read_all(networks[arch, name])
            above, below = panels[2 * row : 2 * row + 2, column]
            draw_answers(above, numbers, with_figures=False)
            draw_answers(below, changes, with_figures=False)
            found = shares(list(numbers.values()))
            text = " · ".join(f"{found[answer]:.0%}" for answer in Answer)
            above.set_title(f"{name}\n{text}" if row == 0 else text, fontsize=9)
            above.set_xticks([])
            if row < len(ARCHS) - 1:
                below.set_xticks([])
            if column:
                above.set_yticks([])
                below.set_yticks([])
            else:
                above.set_ylabel(arch, fontsize=11, weight="bold")
            for axes in (above, below):
                axes.tick_params(labelsize=7)
    handles = [Patch(facecolor=color, label=answer.value) for answer, color in COLORS.items()]
    figure.legend(handles=handles, ncols=3, frameon=False, loc="outside upper center")
    figure.supxlabel("number whose run comes before", fontsize=9)
    figure.supylabel("number told, or what is done to the run", fontsize=9)
    return figure


if __name__ == "__main__":
    main(*sys.argv[1:])
