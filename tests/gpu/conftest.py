"""Devices for the tests: the strict stand-in for CuPy, and a real GPU where there is one."""

import chainer
import pytest
import strict_array


@pytest.fixture
def strict(monkeypatch):
    """The module :mod:`strict_array`, which Chainer takes for CuPy during the test."""
    strict_array.install(monkeypatch)
    return strict_array


@pytest.fixture(params=["stand-in", pytest.param("GPU", marks=pytest.mark.gpu)])
def gpu(request, monkeypatch):
    """Chainer's device 0: with the stand-in for CuPy, and then, marked ``gpu``, the real one."""
    if request.param == "stand-in":
        strict_array.install(monkeypatch)
    return chainer.get_device(0)
