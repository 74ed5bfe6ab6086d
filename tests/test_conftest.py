"""What tests leave is left in the checkout, or where that is read-only in the environment."""

import os
import pathlib
import tempfile

import matplotlib

from tests.conftest import KEPT


def test_nothing_is_written_elsewhere(tmp_path):
    places = tmp_path, tempfile.gettempdir(), os.environ["TMPDIR"], matplotlib.get_cachedir()
    for place in (*places, matplotlib.get_configdir()):
        assert KEPT in pathlib.Path(place).parents
