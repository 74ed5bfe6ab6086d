"""An HTML file in which a trained network runs, to play with; made from ``page_template/``.

The page computes by itself. It holds the parameters, and for the built-in sequence what is better
computed here in float64: principal components of the states, and correlations of the units.
"""

import base64
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from chainer import as_array
from chainer.backends import cuda
from numpy.typing import NDArray

from counting.traces import correlations, record, recurrent_layers
from models import Model
from models.generation import generate
from models.model_file import Trained
from own_data.vocabulary import CharVocabulary
from simple_sequence.simple_sequence_dataset import get_simple_sequence
from support.files import write_file

_FOLDER = pathlib.Path(__file__).parent / "page_template"
_PARTS = ("page.css", "network.js", "sequence.js", "page.js")
_ORDERED = {"ordered": True, "shuffled": False}
_FREE = 200  # tokens that a network of the user's text writes, to see how large its states become


def write_page(path: str, model: Model, arch: str, trained: Trained) -> None:
    """Write the page of a model; the file is there complete or not at all.

    Args:
        path (str): of the HTML file.
        model: one of the architectures. Its state is lost.
        arch (str): its name.
        trained (Trained): what the model was trained on.

    Raises:
        OSError: if that fails.
    """
    # The data must not contain "<": "</script>" would end them.
    data = json.dumps(page_data(model, arch, trained), separators=(",", ":"))
    page = (_FOLDER / "page.html").read_text(encoding="utf-8")
    for part in _PARTS:
        page = page.replace("{{" + part + "}}", (_FOLDER / part).read_text(encoding="utf-8"))
    page = page.replace("{{data}}", data.replace("<", "\\u003c"))
    write_file(path, lambda file: file.write(page.encode()))


def page_data(model: Model, arch: str, trained: Trained) -> dict[str, Any]:
    """All that the page has to know of the model, ready for JSON."""
    arrays = {
        path: cuda.to_cpu(as_array(param)).astype("<f4")
        for path, param in sorted(model.namedparams())
    }
    weights = b"".join(array.tobytes() for array in arrays.values())
    about: dict[str, Any]
    vocabulary = trained.vocabulary
    if vocabulary is None:
        period = get_simple_sequence(len(model.embed.W), 1)
        about = {"cycle": True, "ordered": _ORDERED.get(trained.source or "")}
        tokens = [str(number) for number in range(len(model.embed.W))]
        read, unread = np.tile(period, 3), len(period)
    else:
        tokens = [vocabulary.decode([id_]) for id_ in range(len(vocabulary))]
        first = tokens.index("\n") if "\n" in tokens else 0
        characters = isinstance(vocabulary, CharVocabulary)
        about = {"cycle": False, "characters": characters, "first": first}
        read, unread = generate(model, [first], _FREE), 0
    layers = [
        _about_layer(record(model, model.xp.asarray(read), layer)[0][unread:], read[unread:], about)
        for layer in range(1, len(recurrent_layers(model)) + 1)
    ]
    return {
        "arch": arch,
        "shapes": [(path.lstrip("/"), array.shape) for path, array in arrays.items()],
        "weights": base64.b64encode(weights).decode(),
        "tokens": tokens,
        "layers": layers,
        **about,
    }


def _about_layer(
    states: NDArray, tokens: NDArray[np.integer], about: Mapping[str, Any]
) -> dict[str, Any]:
    """How to show the states of a layer, ``(n, U)``, after these tokens."""
    shown: dict[str, Any] = {"limit": float(np.percentile(abs(states), 99)) or 1.0}
    if not about["cycle"]:
        return {**shown, "order": list(range(states.shape[1]))}
    r = correlations(states, tokens)
    order = np.argsort(-abs(r), kind="stable")
    mean, axes = principal_axes(states)
    return {
        **shown,
        "order": order.tolist(),
        "correlations": r[order].round(4).tolist(),
        "mean": mean.round(7).tolist(),
        "axes": axes.round(7).tolist(),
    }


def principal_axes(states: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean of the states and the two directions in which they vary most, in float64.

    Args:
        states (numpy.ndarray): ``(n, U)``, at least two states.

    Returns:
        tuple of numpy.ndarray: the mean ``(U,)``, and directions of length 1, ``(2, U)``, whose
        largest component in size is positive. With one unit the second is zero.
    """
    states = states.astype(np.float64)
    mean = states.mean(axis=0)
    axes = np.linalg.svd(states - mean, full_matrices=False)[2][:2]
    axes = np.pad(axes, ((0, 2 - len(axes)), (0, 0)))
    largest = np.take_along_axis(axes, abs(axes).argmax(axis=1)[:, np.newaxis], axis=1)
    return mean, axes * np.where(largest < 0, -1, 1)
