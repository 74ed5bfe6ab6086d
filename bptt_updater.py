"""Truncated back-propagation through time: a window forward and backward, cut, update."""

import chainer_compat
import numpy as np
from chainer import Optimizer, Variable, config
from chainer.dataset import Iterator
from chainer.serializer import AbstractSerializer
from chainer.training.updaters import StandardUpdater
from chainer.types import DeviceSpec, NdArray

from support.devices import keep_freed_memory


class BPTTUpdater(StandardUpdater):
    """Trains a stateful recurrent model on consecutive windows of a sequence.

    The recurrent state carries over from one window to the next; the gradient does not, because
    the graph is cut after each backward pass (R. J. Williams and J. Peng, "An efficient
    gradient-based algorithm for on-line training of recurrent network trajectories", Neural
    Computation 2, 1990). The loss of an update is the sum over the window's steps of the
    mean over the batch, as in Chainer's PTB example.

    The optimizer's target is called as ``target(x, t)`` with ids ``x`` of shape ``(T, B)`` and
    ``t`` of shape ``(T * B,)``, in order of time, and returns the mean loss over all ``T * B``
    predictions, as ``chainer.links.Classifier`` does.

    Args:
        train_iter (chainer.dataset.Iterator): gives windows by ``next_window(length)``, or else
            steps by ``next()``, each a list of pairs (current, next).
        optimizer (chainer.Optimizer): set up with the model to train.
        bprop_len (int): steps in a window, ``T``, at least 1.
        device: where the model and the windows go; a negative number is the CPU.

    Raises:
        ValueError: if ``bprop_len`` is below 1.
    """

    def __init__(
        self,
        train_iter: Iterator,
        optimizer: Optimizer,
        bprop_len: int,
        device: DeviceSpec | int | None = None,
    ) -> None:
        if bprop_len < 1:
            raise ValueError(f"bprop_len must be at least 1, not {bprop_len}")
        super().__init__(train_iter, optimizer, device=device)
        self.bprop_len = bprop_len
        self._new_epoch = False
        self._uncut_loss: Variable | None = None
        keep_freed_memory()

    def update_core(self) -> None:
        """One update: forward over a window, backward, truncate, step of the optimizer."""
        iterator = self.get_iterator("main")
        optimizer = self.get_optimizer("main")
        self._truncate()
        epoch = getattr(iterator, "epoch", 0)
        x, t = self._read_window(iterator)

        loss = optimizer.target(x, t.ravel())
        # The mean over T * B predictions is 1 / T of the loss to minimise.
        loss.grad = loss.xp.full_like(loss.array, len(x))
        optimizer.target.cleargrads()
        loss.backward()
        self._uncut_loss = loss
        if not config.keep_graph_on_report:
            self._truncate()
        optimizer.update()

        self._new_epoch = getattr(iterator, "epoch", 0) > epoch
        if self.auto_new_epoch and self._new_epoch:
            optimizer.new_epoch(auto=True)

    def _truncate(self) -> None:
        """Cut the last window's graph, so that no later gradient reaches into it.

        An extension that draws the graph (``DumpGraph``) asks to keep it until the update is
        over; then the cut comes before the next one.
        """
        if self._uncut_loss is not None:
            self._uncut_loss.unchain_backward()
            self._uncut_loss = None

    def _read_window(self, iterator: Iterator) -> tuple[NdArray, NdArray]:
        """Ids and targets ``(T, B)`` of the next window, on the device."""
        if hasattr(iterator, "next_window"):
            window = iterator.next_window(self.bprop_len)
        else:
            steps = [self.converter(iterator.next()) for _ in range(self.bprop_len)]
            window = tuple(np.stack(ids) for ids in zip(*steps, strict=True))
        return window if self.device is None else self.device.send(window)

    @property
    def is_new_epoch(self) -> bool:
        """bool: whether the last window, at any of its steps, completed a sweep over the data."""
        return self._new_epoch

    def serialize(self, serializer: AbstractSerializer) -> None:
        """Save or restore iterator, optimizer, model and recurrent state."""
        super().serialize(serializer)
        for path, link in self.get_optimizer("main").target.namedlinks():
            if hasattr(link, "serialize_state"):
                link.serialize_state(serializer["state" + path])
