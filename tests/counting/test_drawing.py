import argparse
import os

import pytest
from matplotlib.figure import Figure

from counting.drawing import KINDS, STYLES, picture, save_figure, style_of
from models import ARCHS

BEGINNINGS = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}


@pytest.mark.parametrize("ending", KINDS)
def test_a_figure_is_written_in_the_format_that_its_name_says(tmp_path, ending):
    path = tmp_path / f"figure{ending}"
    save_figure(Figure(), str(path))
    assert path.read_bytes().startswith(BEGINNINGS[ending])


def test_the_ending_may_be_in_capitals(tmp_path):
    path = tmp_path / "FIGURE.PNG"
    save_figure(Figure(), picture(str(path)))
    assert path.read_bytes().startswith(b"\x89PNG")


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


def test_every_architecture_has_a_style_of_its_own_even_without_colour():
    styles = [style_of(arch) for arch in ARCHS]
    assert styles == list(STYLES[: len(ARCHS)])
    for attribute in ("color", "marker", "linestyle"):
        assert len({style[attribute] for style in STYLES}) == len(STYLES)
