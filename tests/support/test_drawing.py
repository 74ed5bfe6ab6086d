import argparse
import os

import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from models import ARCHS
from support.drawing import HATCHES, KINDS, MISTAKE, STYLES, picture, save_figure, style_of

BEGINNINGS = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}


@pytest.mark.parametrize("ending", [*KINDS, ".PNG"])
def test_a_figure_is_written_in_the_format_that_its_name_says(tmp_path, ending):
    path = tmp_path / f"figure{ending}"
    save_figure(Figure(), picture(str(path)))
    assert path.read_bytes().startswith(BEGINNINGS[ending.lower()])


@pytest.mark.parametrize("name", ["counting", "counting.jpg", "png", ".png/x"])
def test_other_endings_are_refused(name):
    with pytest.raises(argparse.ArgumentTypeError, match=r"does not end in \.png, \.pdf, \.svg"):
        picture(name)


def test_a_figure_that_cannot_be_drawn_leaves_the_old_file(tmp_path):
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")
    figure = Figure()
    figure.text(0.5, 0.5, "$\\nosuchcommand$")
    with pytest.raises(ValueError):
        save_figure(figure, str(path))
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["figure.png"]


def test_architectures_differ_in_colour_and_in_all_that_grey_leaves():
    assert [style_of(arch) for arch in ARCHS] == list(STYLES[: len(ARCHS)])
    looks = [[style[name] for style in STYLES] for name in ("color", "marker", "linestyle")]
    for each in (*looks, HATCHES):
        assert len(set(each)) == len(each) == len(STYLES)


def test_colours_differ_for_whom_red_and_green_are_one():
    """A deuteranope's view (G. Vienot et al., 1999), in linear RGB."""
    seen = []
    for color in (*(style["color"] for style in STYLES), MISTAKE):
        red, green, blue = (
            ((c + 0.055) / 1.055) ** 2.4 if c > 0.04045 else c / 12.92 for c in to_rgb(color)
        )
        yellow = 0.293 * red + 0.707 * green
        seen.append((yellow, blue + 0.0223 * (green - red)))
    for number, one in enumerate(seen):
        for other in seen[:number]:
            assert max(abs(a - b) for a, b in zip(one, other, strict=True)) > 0.07
