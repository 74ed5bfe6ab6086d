"""What tests leave is left in the checkout."""

import os
import pathlib
import tempfile

import matplotlib

from tests.commands import ROOT


def test_nothing_is_written_elsewhere(tmp_path):
    places = tmp_path, tempfile.gettempdir(), os.environ["TMPDIR"], matplotlib.get_cachedir()
    for place in (*places, matplotlib.get_configdir()):
        assert ROOT in pathlib.Path(place).parents
