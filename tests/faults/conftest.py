"""Say where a long test is, also from a process of pytest-xdist."""

import sys
import time
from collections.abc import Iterable, Iterator

import pytest


@pytest.fixture
def trials(request, capsys):
    """Go through trials; every ten seconds standard error is told how many of them are done."""

    def each(things: Iterable) -> Iterator:
        things = list(things)
        told = time.monotonic()
        for done, thing in enumerate(things):
            if time.monotonic() - told > 10:
                told = time.monotonic()
                with capsys.disabled():
                    line = f"{request.node.name}: {done} of {len(things)}"
                    print(line, file=sys.stderr, flush=True)
            yield thing

    return each
