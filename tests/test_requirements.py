"""The versions that CI installs, beside what is required."""

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.commands import ROOT

CONSTRAINTS = ROOT / "requirements" / "constraints.txt"
# Which CuPy is wanted depends on the GPU, and JAX is measured beside ours only where it can be had.
LEFT_OUT = "cupy-cuda12x", "jax"
FILES = [ROOT / "requirements.txt", *(set(CONSTRAINTS.parent.glob("*.txt")) - {CONSTRAINTS})]


def requirements(path):
    lines = [line for line in path.read_text().splitlines() if line and line[0] not in "#-"]
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13", "3.14", "3.15"])
def test_there_is_one_of_each_that_is_allowed(version):
    pinned = {}
    for pin in requirements(CONSTRAINTS):
        if pin.marker is None or pin.marker.evaluate({"python_version": version}):
            assert canonicalize_name(pin.name) not in pinned, pin
            (specifier,) = pin.specifier
            pinned[canonicalize_name(pin.name)] = specifier.version
    for required in [line for path in FILES for line in requirements(path)]:
        if required.name not in LEFT_OUT:
            assert required.specifier.contains(pinned[canonicalize_name(required.name)]), required
