"""PyTorch, eager: ``nn.RNN``, ``nn.LSTM`` and ``nn.GRU`` over whole windows."""

import re
from typing import TypeAlias

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.workload import (
    DEFAULT,
    DROPOUT,
    LANGUAGE_MODEL,
    LARGE,
    LEARNING_RATE,
    Size,
    make_windows,
    run_measure,
    time_updates,
)

State: TypeAlias = torch.Tensor | tuple[torch.Tensor, ...]

ARCHS = {
    "rnn": lambda n_units: nn.RNN(n_units, n_units),
    "rnn2": lambda n_units: nn.RNN(n_units, n_units, num_layers=3),
    "lstm": lambda n_units: nn.LSTM(n_units, n_units, num_layers=2, dropout=DROPOUT),
    "gru": lambda n_units: nn.GRU(n_units, n_units),
}


class Model(nn.Module):
    """Embedding, recurrent layers, output layer; dropout around the layers of the LSTM."""

    def __init__(self, arch: str, n_vocab: int, n_units: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(n_vocab, n_units)
        self.layers = ARCHS[arch](n_units)
        self.output = nn.Linear(n_units, n_vocab)
        self.dropout = nn.Dropout(DROPOUT if arch == "lstm" else 0.0)

    def forward(self, x: torch.Tensor, state: State | None) -> tuple[torch.Tensor, State]:
        """Logits ``(T, B, V)`` of a window of ids ``(T, B)``, and the state after it."""
        h, state = self.layers(self.dropout(self.embed(x)), state)
        return self.output(self.dropout(h)), state


class Training:
    """A model, its Adam and the state that is carried from window to window.

    Args:
        arch (str): a key of ``ARCHS``.
        size (Size): of the model.
        device (str): where it is.
        lr (float): Adam's learning rate.
        clip (float or None): largest L2 norm of the gradient, None for no limit.
    """

    def __init__(
        self,
        arch: str,
        size: Size,
        device: str = "cpu",
        lr: float = LEARNING_RATE,
        clip: float | None = None,
    ) -> None:
        torch.manual_seed(0)
        self.clip = clip
        self.model = Model(arch, size.n_vocab, size.n_units).to(device)
        # The fused Adam is the quickest of the three (since PyTorch 2.4).
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=lr, fused=True)
        self.state: State | None = None

    def update(self, x: torch.Tensor, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """One update on a window of ids ``x`` and next ids ``t``, int64 ``(T, B)``.

        Returns:
            tuple of Tensor: loss, summed over the steps and averaged over the batch, and accuracy.
        """
        logits, state = self.model(x, self.state)
        self.state = (
            tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
        )
        logits = logits.flatten(0, 1)
        t = t.flatten()
        loss = F.cross_entropy(logits, t) * len(x)
        self.optimizer.zero_grad()
        loss.backward()
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        with torch.no_grad():
            accuracy = (logits.argmax(1) == t).float().mean()
        return loss.detach(), accuracy


def time_training(arch: str, size: Size, count: int, repetitions: int) -> list[float]:
    """Seconds of ``count`` updates, a list."""
    x, t = (torch.from_numpy(ids).long() for ids in make_windows(size))
    return time_updates(Training(arch, size).update, zip(x, t, strict=True), count, repetitions)


def updates(arch: str, count: int, repetitions: int) -> list[float]:
    """Seconds of ``count`` updates of the default size, a list."""
    return time_training(arch, DEFAULT, count, repetitions)


def language_model(arch: str, count: int, repetitions: int) -> list[float]:
    """Seconds of ``count`` updates of the language-model size, a list."""
    return time_training(arch, LANGUAGE_MODEL, count, repetitions)


def large(arch: str, count: int, repetitions: int) -> list[float]:
    """Seconds of ``count`` updates of a size at which threads pay, a list."""
    return time_training(arch, LARGE, count, repetitions)


def arithmetic() -> str:
    """What multiplies beneath PyTorch, as far as it says so itself."""
    said = r"Math Kernel Library Version \S+|MKL-DNN v\S+|BLAS_INFO=\w+|CPU capability usage: \S+"
    found = re.findall(said, torch.__config__.show())
    return ", ".join([f"PyTorch {torch.__version__}", *found, f"threads {torch.get_num_threads()}"])


if __name__ == "__main__":
    measures = {"updates": updates, "large": large, "language_model": language_model}
    run_measure(measures, arithmetic)
