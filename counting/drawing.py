"""What the pictures share: colours, and files of the kind that their name says."""

import argparse
import os

from safe_files import write_file

# Blue, orange, green and purple of Okabe and Ito, told apart with any colour vision; in grey, by
# marker and line. In the order of models.ARCHS where each stands for an architecture.
STYLES = (
    {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    {"color": "#E69F00", "marker": "s", "linestyle": "--"},
    {"color": "#009E73", "marker": "^", "linestyle": "-."},
    {"color": "#CC79A7", "marker": "D", "linestyle": ":"},
)
MISTAKE = "#D55E00"
KINDS = (".png", ".pdf", ".svg")


def picture(text):
    """An argparse type: a path whose ending is one of ``KINDS``."""
    if os.path.splitext(text)[1].lower() not in KINDS:
        raise argparse.ArgumentTypeError(f"{text!r} does not end in {', '.join(KINDS)}")
    return text


def save_figure(figure, path):
    """Write a matplotlib Figure; the file is there complete or not at all.

    Raises:
        OSError: if that fails.
    """
    kind = os.path.splitext(path)[1].lower()[1:]
    write_file(path, lambda file: figure.savefig(file, format=kind))
