"""The strict stand-in for CuPy, as a fixture."""

import pytest
import strict_array


@pytest.fixture
def strict(monkeypatch):
    """The module :mod:`strict_array`, which Chainer takes for CuPy during the test."""
    strict_array.install(monkeypatch)
    return strict_array
