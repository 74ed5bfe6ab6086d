"""Model files: the parameters of a model by their Chainer paths, as the tutorial saves them."""

import os
from collections.abc import Mapping

import numpy as np
from chainer import Link, as_array
from chainer.serializers import DictionarySerializer, NpzDeserializer
from numpy.typing import NDArray

from models import ARCHS, Model
from support.files import BadFile, read_arrays, write_arrays


def model_path(folder: str, arch: str, best: bool = False) -> str:
    """Where a training saves its last or best model, and where the commands look for it."""
    return os.path.join(folder, f"{arch}_simple_sequence{'.best' if best else ''}.model")


def parameter_shapes(arch: str, n_vocab: int, n_units: int) -> dict[str, tuple[int, ...]]:
    """Shape of every parameter by its path, without building the model.

    Each size is the vocabulary or a multiple of the units. A tiny model, whose vocabulary is no
    multiple of its units, shows which.
    """
    random_state = np.random.get_state()
    tiny = ARCHS[arch](3, 5)
    np.random.set_state(random_state)
    return {
        path.lstrip("/"): tuple(n_vocab if n == 3 else n // 5 * n_units for n in param.shape)
        for path, param in tiny.namedparams()
    }


def save_model(path: str, model: Link) -> None:
    """Write the model's parameters; the file is there complete or not at all.

    Equal models give equal files, although Chainer orders the parameters differently in every run.

    Raises:
        OSError: if that fails.
    """
    save_parameters(path, parameters_of(model))


def save_parameters(path: str, parameters: Mapping[str, NDArray]) -> None:
    """Write what :func:`parameters_of` gave, see :func:`save_model`."""
    write_arrays(path, dict(sorted(parameters.items())))


def parameters_of(model: Link) -> dict[str, NDArray]:
    """The model's parameters by their paths; on the CPU the arrays themselves, not copies."""
    serializer = DictionarySerializer()
    serializer.save(model)
    return serializer.target


def load_model(path: str) -> tuple[str, Model]:
    """Build the model that a file holds; the file determines architecture and sizes.

    Args:
        path (str): written by :func:`save_model`, or by the tutorial's own code.

    Returns:
        tuple: name of the architecture, and the model, on the CPU.

    Raises:
        BadFile: if the file is not a complete model of one of the architectures.
    """
    arrays = read_arrays(path, sealed=False)
    arch, n_vocab, n_units = _recognise(arrays)
    model = ARCHS[arch](n_vocab, n_units)
    with np.errstate(over="ignore"):
        NpzDeserializer(arrays).load(model)
    for name, param in model.namedparams():
        if not np.isfinite(as_array(param)).all():
            raise BadFile(f"holds parameters that are not finite ({name.lstrip('/')})")
    return arch, model


def _recognise(arrays: Mapping[str, NDArray]) -> tuple[str, int, int]:
    embedding = arrays.get("embed/W")
    if embedding is not None and embedding.ndim == 2 and embedding.size:
        n_vocab, n_units = embedding.shape
        shapes = {name: array.shape for name, array in arrays.items()}
        for arch in ARCHS:
            if shapes == parameter_shapes(arch, n_vocab, n_units):
                if any(array.dtype.kind != "f" for array in arrays.values()):
                    raise BadFile("holds parameters that are not floating-point numbers")
                return arch, n_vocab, n_units
    if "snapshot" in arrays:
        raise BadFile("is a snapshot, not a model")
    raise BadFile(f"holds no model of the architectures {', '.join(ARCHS)}")
