"""How well the network counts, reported with every evaluation."""

from typing import Any

import chainer_compat

import chainer.links as L
import numpy as np
from chainer.types import NdArray
from numpy.typing import NDArray

from counting.scores import free_run, run_ends
from extensions.evaluation import WindowEvaluator
from parallel_sequential_iterator import ParallelSequentialIterator


class CountingEvaluator(WindowEvaluator):
    """A WindowEvaluator that also reports ``boundary_accuracy`` and ``free_run``.

    ``boundary_accuracy`` is the accuracy on the last token of each run, the share of places where
    the next number changes that are foreseen; absent where there is none. ``free_run`` is how many
    tokens the model generates correctly from a reset state, see :func:`counting.scores.free_run`.
    The first takes the logits that the evaluation computes anyway, the second one more window.

    Args:
        iterator, target, options: as for :class:`WindowEvaluator`; ``target`` is a
            ``chainer.links.Classifier``.
        tokens (numpy.ndarray): the true sequence to generate, int32, see
            :func:`counting.scores.periods`.
    """

    def __init__(
        self,
        iterator: ParallelSequentialIterator,
        target: L.Classifier,
        tokens: NDArray[np.int32],
        **options: Any,
    ) -> None:
        super().__init__(iterator, target, **options)
        self._tokens = tokens if self.device is None else self.device.send(tokens)

    def evaluate(self) -> dict[str, float]:
        """Run the model over the data; return the means by name."""
        means = super().evaluate()
        return {**means, "free_run": free_run(self.get_target("main").predictor, self._tokens)}

    def evaluate_window(
        self, target: L.Classifier, x: NdArray, t: NdArray
    ) -> dict[str, tuple[float, int]]:
        """Means over a window and the number of predictions that each is over, by name."""
        means = super().evaluate_window(target, x, t)
        ends = run_ends(x, t)
        n_ends = int(ends.sum())
        if n_ends:
            # Counted where the logits are: to select the ends would make a GPU wait.
            right = target.y.array.argmax(axis=1) == t.ravel()
            means["boundary_accuracy"] = int((right & ends).sum()) / n_ends, n_ends
        return means
