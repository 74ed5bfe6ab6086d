"""What all pictures share: matplotlib's set-up, looks, size, files of the kind that they name."""

import argparse
import functools
import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import chainer_compat

from models import ARCHS
from support.files import write_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_T = TypeVar("_T")
Style = dict[str, Any]  # keyword arguments of matplotlib's functions

# Colours of Okabe and Ito, told apart with any colour vision; in grey, by marker and line, or as
# bars by hatch.
STYLES: tuple[Style, ...] = (
    {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    {"color": "#E69F00", "marker": "s", "linestyle": "--"},
    {"color": "#009E73", "marker": "^", "linestyle": "-."},
    {"color": "#CC79A7", "marker": "D", "linestyle": ":"},
    {"color": "#56B4E9", "marker": "v", "linestyle": (0, (6, 2, 1, 2, 1, 2))},
    {"color": "#000000", "marker": "P", "linestyle": (0, (1, 4))},
)
HATCHES = ("", "//", "..", "xx", "\\\\", "oo")  # one for each style
MISTAKE = "#D55E00"  # no curve's
BEST: Style = {"color": MISTAKE, "marker": "*", "markersize": 12, "linestyle": "", "zorder": 3}
# As wide as a README shows a picture, some 800 pixels, with letters as large as its own.
_WIDTH = 6.7  # inches
_DPI = 120
_MOST_POINTS = 2000  # of a curve; a picture is 800 pixels wide
_MOST_MARKS = 50
KINDS = (".png", ".pdf", ".svg")


def style_of(arch: str) -> Style:
    """Colour, marker and line of an architecture, the same in every picture."""
    return STYLES[list(ARCHS).index(arch) % len(STYLES)]


def picture(text: str, kinds: tuple[str, ...] = KINDS) -> str:
    """An argparse type: a path whose ending is one of ``kinds``."""
    if os.path.splitext(text)[1].lower() not in kinds:
        raise argparse.ArgumentTypeError(f"{text!r} does not end in {', '.join(kinds)}")
    return text


def new_figure(height: float, **options: Any) -> "Figure":
    """An empty matplotlib Figure of the common width. Import no other part of matplotlib before.

    Args:
        height (float): inches.
        options: of ``Figure``.
    """
    _set_up_matplotlib()
    # Imported here because it takes as long as some trainings, and without pyplot, which would look
    # for a screen.
    from matplotlib.figure import Figure

    return Figure(figsize=(_WIDTH, height), dpi=_DPI, **options)


@functools.cache
def _set_up_matplotlib() -> None:
    """Draw alike everywhere, whatever the user's environment and matplotlibrc say."""
    # A notebook names a backend that only its own environment has; importing would fail.
    os.environ["MPLBACKEND"] = "agg"
    # It warns of settings, which are not used, and of having no folder for its cache; then it takes
    # a temporary one, and removes that at the end.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    import matplotlib

    matplotlib.rcParams.update(matplotlib.rcParamsDefault)


def thinned(log: Sequence[_T]) -> Sequence[_T]:
    """As many of the entries, evenly apart, as a curve can show; the last one is among them."""
    step = -(-len(log) // _MOST_POINTS) or 1
    return log[(len(log) - 1) % step :: step]


def marks(points: Sequence[object]) -> int:
    """Every how-manyth point has a marker; where all had, they would hide one another."""
    return -(-len(points) // _MOST_MARKS) or 1


def save_figure(figure: "Figure", path: str, **options: Any) -> None:
    """Write a matplotlib Figure; the file is there complete or not at all.

    Args:
        figure: to write.
        path: where to; its ending says in which format.
        options: of ``Figure.savefig``.

    Raises:
        OSError: if that fails.
    """
    kind = os.path.splitext(path)[1].lower()[1:]
    write_file(path, lambda file: figure.savefig(file, format=kind, **options))
