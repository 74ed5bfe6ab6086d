"""Lossless compression of a log's entries, for snapshots.

An entry takes some 340 bytes as JSON and about 10 here, mostly for the random digits of two losses
and the time. A block holds up to 256 entries, packed by zlib after a line that gives the number of
bytes. A full block never changes, so it is packed only once.
"""

import io
import itertools
import json
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

Entry = dict[str, float]

BLOCK = 256  # entries
_MAX_RATIO = 100  # of unpacked to packed size; a real clock alone keeps it below 25
_ALWAYS = 2**20  # bytes that any log may unpack to


def pack(entries: Sequence[Mapping[str, float]]) -> bytes:
    """Pack entries, a block for each group of up to 256 with the same names and types."""
    blocks = []
    for start in range(0, len(entries), BLOCK):
        alike = itertools.groupby(entries[start : start + BLOCK], key=_form)
        blocks += [_pack_block(form, list(group)) for form, group in alike]
    return b"".join(blocks)


def _form(entry: Mapping[str, float]) -> list[tuple[str, bool]]:
    return [(name, isinstance(value, int)) for name, value in entry.items()]


def _pack_block(form: list[tuple[str, bool]], entries: Sequence[Mapping[str, float]]) -> bytes:
    described, steps = [], []
    for name, whole in form:
        column = np.array([entry[name] for entry in entries], "<f8")
        with np.errstate(all="ignore"):
            millionths = np.round(column * 1e6).astype("<i8")
        bits, scaled = column.view("<u8"), millionths / 1e6
        is_exact = np.array_equal(scaled.view("<u8"), bits)
        if is_exact:
            bits = millionths.view("<u8")
        described.append((name, whole, is_exact))
        # From one number to the next few bits change, mostly in the low bytes.
        steps.append(np.diff(bits, prepend=np.uint64(0)))
    # zlib exploits that if all first bytes of a column are together, all second ones, and so on.
    planes = np.array(steps, "<u8").view(np.uint8).reshape(len(form), -1, 8).transpose(0, 2, 1)
    packed = zlib.compress(f"{json.dumps(described)}\n".encode() + planes.tobytes())
    return f"{len(packed)}\n".encode() + packed


def unpack(packed: bytes) -> list[Entry]:
    """The entries that :func:`pack` was given.

    Raises:
        ValueError, TypeError, zlib.error: if these are not entries, or would unpack to far more
            than a log can.
    """
    entries: list[Entry] = []
    left = _MAX_RATIO * len(packed) + _ALWAYS
    file = io.BytesIO(packed)
    while head := file.readline():
        unpacked = zlib.decompressobj().decompress(file.read(int(head)), left)
        left -= len(unpacked)
        if left <= 0:
            raise ValueError("its log is larger than it can be")
        line, _, data = unpacked.partition(b"\n")
        form = json.loads(line)
        planes = np.frombuffer(data, np.uint8).reshape(len(form), 8, -1)
        steps = np.ascontiguousarray(planes.transpose(0, 2, 1)).view("<u8")[..., 0]
        columns = []
        for bits, (_, whole, is_exact) in zip(steps.cumsum(axis=1, dtype="<u8"), form, strict=True):
            column = bits.view("<i8") / 1e6 if is_exact else bits.view("<f8")
            columns.append([int(value) for value in column] if whole else column.tolist())
        names = [name for name, *_ in form]
        entries += [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    return entries
