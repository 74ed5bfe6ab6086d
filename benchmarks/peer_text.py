"""PyTorch's curves of ``text.py``: validation loss over seconds of training.

python -m benchmarks.peer_text gru topics.txt 60 12 '[256, 32, 64, 0.003, 5.0, 0.0]'
"""

import argparse
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from benchmarks.peer_pytorch import Training
from benchmarks.peer_transformer import TransformerTraining
from benchmarks.text import VALID_FRACTION, Recipe
from benchmarks.workload import Size

Window = tuple[torch.Tensor, torch.Tensor]  # current and next ids, int64, (T, B) each


class Learner(Protocol):
    """What can be trained and validated."""

    def update(self, progress: float) -> object:
        """One update, at this share of the time."""

    def validate(self) -> float:
        """Mean loss over the held-out part, nats a character."""


class RecurrentTraining:
    """PyTorch's GRU or LSTM, trained as ours is: the same streams, windows, clipping and Adam.

    Args:
        arch (str): gru or lstm.
        n_vocab (int): size of the vocabulary.
        train, test (numpy.ndarray): ids, one-dimensional.
        recipe (Recipe): sizes and Adam.
    """

    def __init__(
        self,
        arch: str,
        n_vocab: int,
        train: NDArray[np.int64],
        test: NDArray[np.int64],
        recipe: Recipe,
    ) -> None:
        size = Size(n_vocab, recipe.n_units, recipe.batch, recipe.window)
        self.training = Training(arch, size, lr=recipe.lr, clip=recipe.clip)
        model = self.training.model
        model.dropout.p = model.layers.dropout = recipe.dropout
        if arch == "lstm":
            for param in model.parameters():
                nn.init.uniform_(param, -0.1, 0.1)  # as ours
        self.windows = windows(train, recipe.batch, recipe.window)
        self.test = next(windows(test, recipe.batch, -(-len(test) // recipe.batch)))

    def update(self, progress: float) -> None:
        """One update; the learning rate stays."""
        del progress
        self.training.update(*next(self.windows))

    @torch.no_grad()
    def validate(self) -> float:
        """Over the whole held-out part, its streams from a reset state."""
        x, t = self.test
        model = self.training.model
        model.eval()
        loss = F.cross_entropy(model(x, None)[0].flatten(0, 1), t.flatten()).item()
        model.train()
        return loss


def windows(ids: NDArray[np.int64], batch: int, length: int) -> Iterator[Window]:
    """Consecutive windows without end; streams as ``ParallelSequentialIterator`` has them."""
    offsets = np.arange(batch) * len(ids) // batch
    for start in itertools.count(0, length):
        steps = np.arange(start, start + length + 1)[:, None]
        rows = torch.from_numpy(ids[(steps + offsets) % len(ids)])
        yield rows[:-1], rows[1:]


def take_curve(learner: Learner, seconds: float, n_points: int) -> dict[str, object]:
    """Train for so many seconds; the clock stands still during each validation."""
    elapsed, n_updates = 0.0, 0
    points: list[tuple[float, float]] = []
    while elapsed < seconds:
        start = time.perf_counter()
        learner.update(elapsed / seconds)
        elapsed += time.perf_counter() - start
        n_updates += 1
        if elapsed >= seconds * (len(points) + 1) / n_points:
            points.append((elapsed, learner.validate()))
    return {"updates": n_updates, "points": points}


def main() -> None:
    """Print a curve as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("arch", choices=("gru", "lstm", "transformer"))
    parser.add_argument("text", type=Path, help="file to learn")
    parser.add_argument("seconds", type=float)
    parser.add_argument("points", type=int, help="how often to validate")
    parser.add_argument("recipe", type=json.loads, help="of gru and lstm: " + str(Recipe._fields))
    args = parser.parse_args()
    text = args.text.read_text("utf-8")
    ids_of = {char: number for number, char in enumerate(sorted(set(text)))}
    ids = np.array([ids_of[char] for char in text])
    train, test = np.split(ids, [len(ids) - round(len(ids) * VALID_FRACTION)])
    learner: Learner
    if args.arch == "transformer":
        learner = TransformerTraining(len(ids_of), *map(torch.from_numpy, (train, test)))
    else:
        learner = RecurrentTraining(args.arch, len(ids_of), train, test, Recipe(*args.recipe))
    print(json.dumps(take_curve(learner, args.seconds, args.points)))


if __name__ == "__main__":
    main()
