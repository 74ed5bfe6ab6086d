"""Evaluation over windows: as Chainer's Evaluator, but not one step at a time.

For the built-in sequence it also measures how well the network counts.
"""

from collections import Counter, defaultdict
from collections.abc import Callable

import numpy as np
from chainer import Link, Variable, as_array, no_backprop_mode
from chainer.reporter import report_scope
from chainer.training.extensions import Evaluator
from chainer.types import DeviceSpec, NdArray
from numpy.typing import NDArray

from counting.lies import keeps_place, why_not_told
from counting.scores import first_mistake, free_run, run_ends, runs_foreseen
from parallel_sequential_iterator import ParallelSequentialIterator
from support.devices import keep_freed_memory
from support.processes import here


class WindowEvaluator(Evaluator):
    """Reports the mean over every prediction of one pass through the iterator.

    Chainer's Evaluator would call the model for each step, and weight a short last window like a
    full one.

    Args:
        iterator (ParallelSequentialIterator): made with ``repeat=False``.
        target (chainer.Link): called as ``target(x, t)``, see :class:`bptt_updater.BPTTUpdater`.
            Give a copy of the trained model, so that the evaluation has its own state.
        window (int): steps in a window; affects speed and memory only.
        device: where the windows go; a negative number is the CPU.
        eval_hook: called with the evaluator before each evaluation; reset the state there.
        two_periods (numpy.ndarray or None): of the built-in sequence, int32. With it two more
            values are reported. ``boundary_accuracy`` is the accuracy at the ends of runs, the
            share of changes that are predicted; absent if a pass meets none. ``free_run`` is how
            many of these tokens the model generates correctly from a reset state, see
            :func:`counting.scores.free_run`. ``target`` is then an ``L.Classifier``.
        lies (bool): with ``two_periods``, and if the vocabulary allows lies, report
            ``keeps_place`` as well, see :func:`counting.lies.keeps_place`.
        run_lengths (bool): report ``run_length_accuracy``, the share of the runs whose length is
            predicted, see :func:`counting.scores.runs_foreseen`. ``target`` is then an
            ``L.Classifier``.
    """

    def __init__(
        self,
        iterator: ParallelSequentialIterator,
        target: Link,
        window: int = 256,
        device: DeviceSpec | int | None = None,
        eval_hook: Callable[[Evaluator], None] | None = None,
        two_periods: NDArray[np.int32] | None = None,
        lies: bool = False,
        run_lengths: bool = False,
    ) -> None:
        super().__init__(iterator, target, device=device, eval_hook=eval_hook)
        self.window = window
        self.lies = (
            lies and two_periods is not None and not why_not_told(int(two_periods.max()) + 1)
        )
        if two_periods is not None and self.device is not None:
            two_periods = self.device.send(two_periods)
        self.two_periods = two_periods
        self.run_lengths = run_lengths
        keep_freed_memory()

    def evaluate(self) -> dict[str, float]:
        """Run the model over the data; return the means by name."""
        iterator = self.get_iterator("main")
        target = self.get_target("main")
        if self.eval_hook:
            self.eval_hook(self)
        iterator.reset()
        sums: defaultdict[str, float] = defaultdict(float)
        counts: Counter[str] = Counter()
        for x, t in iter(lambda: self._next_window(iterator), None):
            for name, (mean, count) in self.evaluate_window(target, x, t).items():
                sums[name] += mean * count
                counts[name] += count
        shares = here.gather((sums, counts))
        means = {
            name: sum(sums[name] for sums, _ in shares) / sum(counts[name] for _, counts in shares)
            for name in dict.fromkeys(name for sums, _ in shares for name in sums)
        }
        if self.two_periods is not None:
            if self.lies:
                # Both begin with the same two periods, which are read once.
                target.predictor.reset_state()
                means["free_run"] = first_mistake(target.predictor, self.two_periods, whole=True)
                means["keeps_place"] = keeps_place(target.predictor)
            else:
                means["free_run"] = free_run(target.predictor, self.two_periods)
        return means

    def evaluate_window(self, target: Link, x: NdArray, t: NdArray) -> dict[str, tuple[float, int]]:
        """Means over a window and the number of predictions in each, by name."""
        observation: dict[str, Variable | NdArray | float] = {}
        with report_scope(observation), no_backprop_mode():
            target(x, t.ravel())
        means = {name: (float(as_array(mean)), x.size) for name, mean in observation.items()}
        if self.two_periods is not None:
            ends = run_ends(x, t)
            n_ends = int(ends.sum())
            if n_ends:
                # Counted on the logits' device: selecting the ends would make a GPU wait.
                right = target.y.array.argmax(axis=1) == t.ravel()
                means["boundary_accuracy"] = int((right & ends).sum()) / n_ends, n_ends
        if self.run_lengths:
            n_right, n_runs = runs_foreseen(x, t, target.y.array.argmax(axis=1).reshape(t.shape))
            if n_runs:
                means["run_length_accuracy"] = n_right / n_runs, n_runs
        return means

    def _next_window(self, iterator: ParallelSequentialIterator) -> tuple[NdArray, NdArray] | None:
        try:
            window = iterator.next_window(self.window)
        except StopIteration:
            return None
        return window if self.device is None else self.device.send(window)


def window_length(bprop_len: int, batch_size: int, n_vocab: int) -> int:
    """Steps in an evaluation's window: as in training, or more while the logits stay small.

    Long windows are quicker, but all logits of a window are in memory at once.
    """
    return max(bprop_len, 2**18 // (batch_size * n_vocab))
