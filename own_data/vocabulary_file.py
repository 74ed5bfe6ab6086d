"""The vocabulary beside a model file, so that what the model predicts can be printed as text.

The model file itself holds parameters only, as the tutorial's do. Beside a model that was trained
on the built-in sequence there is no such file.
"""

import contextlib
import os

from own_data.vocabulary import Vocabulary, from_json, to_json
from support.files import BadFile, naming, open_file, write_file

_MOST_BYTES = 2**28


def vocabulary_path(model_path: str) -> str:
    """Where the vocabulary of a model is."""
    return model_path.removesuffix(".model") + ".vocab.json"


def save_vocabulary(model_path: str, vocabulary: Vocabulary | None) -> None:
    """Write a vocabulary beside its model, or, for None, take away that of a model before.

    Raises:
        OSError: if that fails.
    """
    path = vocabulary_path(model_path)
    if vocabulary is None:
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)
    else:
        content = to_json(vocabulary).encode()
        write_file(path, lambda file: file.write(content))


def load_vocabulary(model_path: str, size: int) -> Vocabulary | None:
    """Read the vocabulary of a model.

    Args:
        model_path: the model file.
        size: how many ids the model knows.

    Returns:
        the vocabulary, None if there is none.

    Raises:
        BadFile: if the file that is there is no vocabulary of that size.
        OSError: if it cannot be read.
    """
    path = vocabulary_path(model_path)
    if not os.path.lexists(path):
        return None
    with naming(path), open_file(path) as file:
        if os.fstat(file.fileno()).st_size > _MOST_BYTES:
            raise BadFile("is too large for a vocabulary")
        content = file.read()
    try:
        return from_json(content.decode(), size)
    except (ValueError, RecursionError) as error:
        raise BadFile(f"is no vocabulary of the model's {size} tokens") from error
