import json
import math
import random
import zlib

import numpy as np
import pytest

from extensions.packed_log import BLOCK, pack, unpack


def log_of(n_entries, seed=0):
    """A log as long trainings have them: losses in single precision, shares, times."""
    chance = random.Random(seed)
    seconds = 0.0
    entries = []
    for epoch in range(1, n_entries + 1):
        seconds += 0.02 * chance.uniform(1, 2)
        entries.append(
            {
                "main/loss": float(np.float32(chance.uniform(1e-6, 2e-6))),
                "validation/main/loss": float(np.float32(chance.uniform(1e-6, 2e-6))),
                "main/accuracy": chance.choice([1.0, 0.995]),
                "validation/main/accuracy": 1.0,
                "boundary_accuracy": 1.0,
                "free_run": 90.0,
                "epoch": epoch,
                "iteration": -(-45 * epoch // 2),
                "elapsed_time": round(seconds, 6),
            }
        )
    return entries


@pytest.mark.parametrize("n_entries", [0, 1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7])
def test_is_unpacked_to_the_last_bit(n_entries):
    log = log_of(n_entries)
    # As text, which tells 1 from 1.0, and in which order names stand.
    assert json.dumps(unpack(pack(log))) == json.dumps(log)


def test_holds_any_number():
    values = [0.0, -0.0, 1e-320, math.pi, -1.7e308, math.inf, -math.inf, math.nan, 0.1, 2.0**53]
    log = [{"value": value, "number": n} for n, value in enumerate(values)]
    assert json.dumps(unpack(pack(log))) == json.dumps(log)


@pytest.mark.parametrize("value", [0.1, 1e-6, 123.456789, -5e-7, 2.5e-7, 9e9, 1e13, 1e300, -0.0])
def test_holds_millionths_and_what_is_hardly_any(value):
    log = [{"value": number} for number in (1.0, value, 2.000001)]
    assert json.dumps(unpack(pack(log))) == json.dumps(log)


def test_names_may_come_and_go():
    log = [{"a": 1.5}, {"a": 2.5, "b": 1}, {"b": 2, "a": 3.5}, {"a": 1}, {"a": 1.0}, {"a": 2.0}]
    assert json.dumps(unpack(pack(log))) == json.dumps(log)


def test_takes_few_bytes_an_entry():
    log = log_of(4 * BLOCK)
    assert len(pack(log)) < 15 * len(log)  # nine are chance: two losses and a time
    assert len(json.dumps(log, indent=4)) > 250 * len(log)


def test_full_blocks_never_change():
    """So a log that grows is packed once."""
    log = log_of(3 * BLOCK)
    assert pack(log[: 2 * BLOCK]) + pack(log[2 * BLOCK :]) == pack(log)


def test_however_alike_entries_are_they_are_unpacked():
    log = log_of(1) * (8 * BLOCK)
    assert unpack(pack(log)) == log


def block(form=(("a", False, False),), values=bytes(8), n_bytes=None):
    packed = zlib.compress(f"{json.dumps(form)}\n".encode() + values)
    return f"{n_bytes or len(packed)}\n".encode() + packed


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        b"[]\n",
        b"\xff\n",
        b"3\nabc",
        pack(log_of(3))[:-20],
        pack(log_of(3)) + b"{}",
        block(values=bytes(7)),
        block(form=[]),
        block(form=3),
        block(form="a"),
        block(form=[["a"]]),
        block(n_bytes=3),
        block(form=[["a", True, False]], values=np.float64(math.nan).tobytes()),
    ],
)
def test_what_is_none_is_refused(data):
    assert unpack(block()) == [{"a": 0.0}]
    with pytest.raises((ValueError, TypeError, zlib.error)):
        unpack(data)


def test_what_would_fill_the_memory_is_refused():
    """128 MiB of zeros in 130 kB."""
    with pytest.raises(ValueError, match="larger"):
        unpack(block(values=bytes(2**27)))
