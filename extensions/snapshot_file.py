"""Snapshot files: what they say of themselves, and loading them completely or not at all.

``snapshot.py`` decides when one is saved and which one is resumed.
"""

import contextlib
import json
import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from chainer import no_backprop_mode, using_config
from chainer.serializers import DictionarySerializer, NpzDeserializer
from chainer.training import Trainer
from numpy.typing import ArrayLike, NDArray

from support.files import BadFile, read_arrays, write_arrays
from support.processes import here

NAME = "snapshot_iter_"  # followed by the number of the update
_FORMAT = 3  # since then the fingerprint of the data covers every byte
_MODEL = "updater/model:main"
_OPTIMIZER = "updater/optimizer:main"
_STATE = "updater/state"
_MOMENTS = ("m", "v")  # Adam keeps them for each parameter
# What a snapshot says of itself, as JSON.
_FIELDS = {
    "run": str,
    "iteration": int,
    "fixed": dict,
    "changeable": dict,
    "arithmetic": dict,
    "arrays": dict,
}


def save_snapshot(path: str, about: Mapping[str, Any], arrays: Mapping[str, ArrayLike]) -> None:
    """Write a snapshot; the file is there complete or not at all.

    Args:
        path (str): the file.
        about (dict): what it says of itself, except ``arrays``; see ``_FIELDS``.
        arrays (dict): state of the trainer, see :func:`arrays_of`.

    Raises:
        OSError: if that fails.
    """
    about = {**about, "format": _FORMAT, "arrays": _manifest(arrays)}
    write_arrays(path, {"snapshot": json.dumps(about), **arrays})


def numbered(folder: str, name: str = NAME) -> dict[int, str]:
    """Paths of the entries ``name`` plus a number in the folder, by number, lowest first.

    Raises:
        OSError: if the folder is there but cannot be listed.
    """
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        names = []
    matches = map(re.compile(re.escape(name) + "([1-9][0-9]*)").fullmatch, names)
    found = {int(match[1]): os.path.join(folder, match[0]) for match in matches if match}
    return dict(sorted(found.items()))


def read_about(path: str) -> dict[str, Any]:
    """What a snapshot says of itself.

    Raises:
        BadFile: if it says nothing, or is unreadable. The seal is not checked.
    """
    return _parse(read_arrays(path, only="snapshot").get("snapshot"))


def _parse(text: object) -> dict[str, Any]:
    try:
        about = json.loads(str(text))
        version = about["format"]
        if version in range(1, _FORMAT):
            raise BadFile(f"is of format {version}, which only earlier versions can resume")
        if version != _FORMAT:
            raise BadFile("is a snapshot of another version of this program")
        known = all(type(about[name]) is _FIELDS[name] for name in _FIELDS)
    except (ValueError, TypeError, KeyError, RecursionError):
        known = False
    if not known:
        raise BadFile("is not a snapshot of this program")
    return about


def load_snapshot(path: str, about: Mapping[str, Any], trainer: Trainer) -> dict[str, NDArray]:
    """Bring the trainer to the snapshot's state, or raise BadFile and leave it unchanged.

    Returns:
        dict: the arrays of the snapshot by name, for :func:`restore` in other processes.
    """
    optimizer = trainer.updater.get_optimizer("main")
    n_bytes = sum(param.array.nbytes for param in optimizer.target.params())
    # Parameters, Adam's two moments, the best parameters, and ample room for state and log.
    arrays = read_arrays(path, limit=5 * n_bytes + 2**28)
    if _parse(arrays.pop("snapshot", None)) != about or _manifest(arrays) != about["arrays"]:
        raise BadFile("does not hold the arrays that it lists")
    for name, expected in _expected(trainer).items():
        array = arrays.get(name)
        if array is None or (array.shape, array.dtype) != (expected.shape, expected.dtype):
            raise BadFile(f"does not hold {name.removeprefix('updater/')} as it is here")
    bad = not_finite(arrays)
    if bad:
        raise BadFile(f"holds a number that is not finite, {bad}")
    now = DictionarySerializer()
    with contextlib.suppress(RuntimeError):  # raised last: a new trainer has no elapsed time
        now.save(trainer)
    before = {name: np.array(array) for name, array in now.target.items()}
    try:
        restore(arrays, trainer)
        iterations = trainer.updater.iteration, optimizer.t, about["iteration"]
        if min(iterations) < 1 or len(set(iterations)) > 1:
            raise ValueError("its iterations contradict each other")
    except Exception as error:
        # Only a forged file comes here. State that the trainer did not have yet is set to zero.
        new = {name: np.zeros_like(arrays[name]) for name in arrays.keys() - before.keys()}
        NpzDeserializer({**new, **before}).load(trainer)
        raise BadFile(f"does not fit this version of the program ({error})") from error
    return arrays


def _expected(trainer: Trainer) -> dict[str, NDArray]:
    """Arrays of the shapes and types that a snapshot's arrays must have, by name.

    Chainer loads whatever can be cast, and a state of any shape. The model reads a token of each
    stream to show the shapes of its state.
    """
    expected = {}
    model = trainer.updater.get_optimizer("main").target.copy()
    for name, param in model.namedparams():
        for key in (_MODEL + name, *(f"{_OPTIMIZER}{name}/{moment}" for moment in _MOMENTS)):
            expected[key] = param.array
    stateful = [pair for pair in model.namedlinks() if hasattr(pair[1], "serialize_state")]
    for _, link in stateful:
        link.reset_state()
    ids = model.xp.zeros(trainer.updater.get_iterator("main").batch_size, np.int32)
    with no_backprop_mode(), using_config("train", False):
        model(ids[None], ids)
    states = DictionarySerializer()
    for path, link in stateful:
        link.serialize_state(states[_STATE + path])
    # Plain numbers, as of dropout, need no check; snapshots of 1.0 hold them for the LSTM only.
    return {**expected, **{name: array for name, array in states.target.items() if np.ndim(array)}}


def restore(arrays: Mapping[str, NDArray], trainer: Trainer) -> None:
    """Bring the trainer to the state in the arrays, with this process's streams only."""
    states = {name: here.own(array) for name, array in _states(arrays).items()}
    # Copies, because Chainer trains in some of the arrays that it is given.
    own = {name: array.copy() for name, array in {**arrays, **states}.items()}
    NpzDeserializer(own).load(trainer)


def all_streams(arrays: Mapping[str, NDArray]) -> dict[str, NDArray]:
    """The arrays of one process, with the states of all processes' streams."""
    shares = here.gather(_states(arrays))
    states = {name: np.concatenate([share[name] for share in shares]) for name in shares[0]}
    return {**arrays, **states}


def _states(arrays: Mapping[str, NDArray]) -> dict[str, NDArray]:
    """The recurrent states among the arrays, by name, each with a row for every stream."""
    return {n: array for n, array in arrays.items() if n.startswith(_STATE) and np.ndim(array) == 2}


def arrays_of(trainer: Trainer) -> dict[str, NDArray]:
    """Arrays by name; the trainer's own, not copies."""
    serializer = DictionarySerializer()
    serializer.save(trainer)
    return serializer.target


def _manifest(arrays: Mapping[str, ArrayLike]) -> dict[str, list]:
    """Type and shape of each array by its name, as JSON keeps them."""
    return {
        name: [array.dtype.str, list(array.shape)]
        for name, array in ((name, np.asarray(array)) for name, array in arrays.items())
    }


def updater_arrays(trainer: Trainer) -> dict[str, NDArray]:
    """The part of :func:`arrays_of` that an update changes."""
    serializer = DictionarySerializer()
    trainer.updater.serialize(serializer["updater"])
    return serializer.target


def not_finite(arrays: Mapping[str, ArrayLike]) -> str | None:
    """Name of a parameter, moment or state that holds NaN or infinity; None if none does.

    An infinite second moment of Adam's becomes NaN in the next update: infinity minus infinity.
    """
    for name, values in arrays.items():
        array = np.asarray(values)
        if name.startswith("updater/") and array.dtype.kind == "f" and not np.isfinite(array).all():
            if name.startswith(_MODEL):
                return f"parameter {name.removeprefix(_MODEL)}"
            return name.removeprefix("updater/")
    return None
