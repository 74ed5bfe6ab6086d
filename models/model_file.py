"""Model files: the parameters of a model by their Chainer paths, as the tutorial saves them.

One array more, ``about``, says what the model was trained on, as JSON in UTF-8. Chainer's
``load_npz`` asks for the parameters only, so it reads the file as well.
"""

import json
import os
from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

import numpy as np
from chainer import Link, as_array
from chainer.serializers import DictionarySerializer, NpzDeserializer
from numpy.typing import NDArray

from models import ARCHS, Model
from own_data.vocabulary import (
    Vocabulary,
    described,
    description,
    load_vocabulary,
    vocabulary_path,
)
from support.files import BadFile, read_arrays, write_arrays

_MOST_BYTES = 2**28  # of ``about``, which is mostly the vocabulary
_Source = Literal["ordered", "shuffled", "own data"]


class Trained(NamedTuple):
    """What a model was trained on.

    Attributes:
        source: the built-in sequence, its runs in order or shuffled, or the user's own data; None
            if the file does not say, as those of version 1 and of the tutorial.
        vocabulary: of the user's own data; it knows how they were cut.
    """

    source: _Source | None = None
    vocabulary: Vocabulary | None = None


UNKNOWN = Trained()


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


def files_of_version_1(folder: str, arch: str) -> list[str]:
    """Vocabularies beside the models in a folder, each after the model that it belongs to."""
    models = (model_path(folder, arch, best) for best in (False, True))
    pairs = ((model, vocabulary_path(model)) for model in models)
    return [path for pair in pairs if os.path.lexists(pair[1]) for path in pair]


def save_model(path: str, model: Link, trained: Trained = UNKNOWN) -> None:
    """Write a model and what it was trained on; the file is there complete or not at all.

    Equal models give equal files, although Chainer orders the parameters differently in every run.

    Raises:
        OSError: if that fails.
    """
    save_parameters(path, parameters_of(model), trained)


def save_parameters(path: str, parameters: Mapping[str, NDArray], trained: Trained) -> None:
    """Write what :func:`parameters_of` gave, see :func:`save_model`."""
    arrays = dict(parameters)
    if trained.source is not None:
        vocabulary = trained.vocabulary and description(trained.vocabulary)
        about = {"trained on": trained.source, "vocabulary": vocabulary}
        arrays["about"] = np.frombuffer(json.dumps(about, ensure_ascii=False).encode(), np.uint8)
    write_arrays(path, dict(sorted(arrays.items())))


def parameters_of(model: Link) -> dict[str, NDArray]:
    """The model's parameters by their paths; on the CPU the arrays themselves, not copies."""
    serializer = DictionarySerializer()
    serializer.save(model)
    return serializer.target


def load_model(path: str) -> tuple[str, Model, Trained]:
    """Build the model that a file holds; the file determines architecture and sizes.

    Args:
        path (str): written by :func:`save_model`, or by the tutorial's own code.

    Returns:
        tuple: name of the architecture, the model, on the CPU, and what it was trained on.

    Raises:
        BadFile: if the file is not a complete model of one of the architectures.
    """
    arrays = read_arrays(path, sealed=False)
    about = arrays.pop("about", None)
    arch, n_vocab, n_units = _recognise(arrays)
    trained = _beside(path, n_vocab) if about is None else _said(about, n_vocab)
    model = ARCHS[arch](n_vocab, n_units)
    with np.errstate(over="ignore"):
        NpzDeserializer(arrays).load(model)
    for name, param in model.namedparams():
        if not np.isfinite(as_array(param)).all():
            raise BadFile(f"holds parameters that are not finite ({name.lstrip('/')})")
    return arch, model, trained


def _said(about: NDArray, n_vocab: int) -> Trained:
    """What a model file says of itself."""
    try:
        if about.dtype != np.uint8 or about.ndim != 1 or about.size > _MOST_BYTES:
            raise ValueError("no text")
        said = json.loads(about.tobytes().decode())
        if not isinstance(said, dict) or said.keys() != {"trained on", "vocabulary"}:
            raise ValueError("another description")
        source, vocabulary = said["trained on"], said["vocabulary"]
        if source == "own data":
            return Trained(source, described(vocabulary, n_vocab))
        if source not in get_args(_Source) or vocabulary is not None:
            raise ValueError("another source")
        return Trained(source)
    except (ValueError, RecursionError) as error:
        expected = f"what it was trained on, with a vocabulary of {n_vocab} tokens"
        raise BadFile(f"is damaged or of another version: it does not say {expected}") from error


def _beside(path: str, n_vocab: int) -> Trained:
    """What is known of a model whose file does not say it: its vocabulary may lie beside it."""
    try:
        vocabulary = load_vocabulary(path, n_vocab)
    except BadFile as error:
        raise BadFile(f"has beside it {vocabulary_path(path)}, which {error}") from error
    return UNKNOWN if vocabulary is None else Trained("own data", vocabulary)


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
