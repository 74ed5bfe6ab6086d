import argparse
import os
import subprocess
import sys

import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from models import ARCHS
from support.drawing import (
    HATCHES,
    KINDS,
    MISTAKE,
    STYLES,
    new_figure,
    picture,
    save_figure,
    style_of,
)
from tests.commands import ROOT

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


DRAW = """
from support.drawing import new_figure, save_figure
figure = new_figure(1)
figure.text(0.5, 0.5, "text")
save_figure(figure, "figure.png")
"""


@pytest.fixture
def draw(tmp_path):
    """What another process draws, in an empty folder and an environment that is changed."""

    def run(**environment):
        words = [sys.executable, "-c", DRAW]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, check=True)
        assert done.stdout == done.stderr == b""
        return (tmp_path / "figure.png").read_bytes()

    return run


@pytest.fixture
def expected(tmp_path):
    path = tmp_path / "expected.png"
    figure = new_figure(1)
    figure.text(0.5, 0.5, "text")
    save_figure(figure, str(path))
    return path.read_bytes()


@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", "nosuchbackend"])
def test_a_notebooks_backend_is_not_used(draw, expected, backend):
    assert draw(MPLBACKEND=backend) == expected


def test_a_users_settings_are_not_used(draw, expected, tmp_path):
    settings = ["text.usetex: True", "backend: nosuchbackend", "nosuchkey: 1", "font.size: 30"]
    (tmp_path / "matplotlibrc").write_text("\n".join(settings))
    assert draw() == expected


def test_without_a_home_no_cache_is_left(draw, expected, tmp_path, monkeypatch):
    monkeypatch.delenv("MPLCONFIGDIR", raising=False)
    (tmp_path / "temporary").mkdir()
    # Not even root makes a folder there.
    assert draw(HOME="/proc/none", TMPDIR=str(tmp_path / "temporary")) == expected
    assert list((tmp_path / "temporary").iterdir()) == []


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
