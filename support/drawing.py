"""What all pictures share: matplotlib's set-up, looks, size, and file types."""

import argparse
import functools
import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from models import ARCHS
from support.files import write_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_T = TypeVar("_T")
Style = dict[str, Any]  # keyword arguments of matplotlib's functions

# Okabe and Ito's colours, distinct with any colour vision. In grey, marker and line tell curves
# apart, and hatches tell bars apart.
STYLES: tuple[Style, ...] = (
    {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    {"color": "#E69F00", "marker": "s", "linestyle": "--"},
    {"color": "#009E73", "marker": "^", "linestyle": "-."},
    {"color": "#CC79A7", "marker": "D", "linestyle": ":"},
    {"color": "#56B4E9", "marker": "v", "linestyle": (0, (6, 2, 1, 2, 1, 2))},
    {"color": "#000000", "marker": "P", "linestyle": (0, (1, 4))},
)
HATCHES = ("", "//", "..", "xx", "\\\\", "oo")  # one for each style
MISTAKE = "#D55E00"  # no curve has this colour
BEST: Style = {"color": MISTAKE, "marker": "*", "markersize": 12, "linestyle": "", "zorder": 3}
# As wide as a README shows a picture, some 800 pixels, with letters of the README's size.
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
    """An empty matplotlib Figure of the common width. Call this before importing from matplotlib.

    Args:
        height (float): inches.
        options: of ``Figure``.
    """
    _set_up_matplotlib()
    # Imported here because it takes as long as some trainings; without pyplot, which would look for
    # a screen.
    from matplotlib.figure import Figure

    return Figure(figsize=(_WIDTH, height), dpi=_DPI, **options)


@functools.cache
def _set_up_matplotlib() -> None:
    """Draw the same everywhere, whatever the user's environment and matplotlibrc say."""
    # A notebook names a backend that only its own environment has, and the import would fail.
    os.environ["MPLBACKEND"] = "agg"
    # It warns about settings, which are not used, and about a missing cache folder, for which it
    # then uses a temporary one.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    import matplotlib

    matplotlib.rcParams.update(matplotlib.rcParamsDefault)


def thinned(log: Sequence[_T]) -> Sequence[_T]:
    """As many evenly spaced entries as a curve can show, including the last."""
    step = -(-len(log) // _MOST_POINTS) or 1
    return log[(len(log) - 1) % step :: step]


def marks(points: Sequence[object]) -> int:
    """Draw a marker at every how-manyth point; markers at all points would hide one another."""
    return -(-len(points) // _MOST_MARKS) or 1


def save_figure(figure: "Figure", path: str, **options: Any) -> None:
    """Write a matplotlib Figure; the file is there complete or not at all.

    Args:
        figure: to write.
        path: the file; its ending chooses the format.
        options: of ``Figure.savefig``.

    Raises:
        OSError: if that fails.
    """
    kind = os.path.splitext(path)[1].lower()[1:]
    write_file(path, lambda file: figure.savefig(file, format=kind, **options))
