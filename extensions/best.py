"""The best model of a training, and a learning rate that falls after an epoch without one."""

import math

from chainer import Link, Serializer, report
from chainer.serializer import AbstractSerializer
from chainer.training import PRIORITY_WRITER, Extension, Trainer
from numpy.typing import NDArray

from models.model_file import UNKNOWN, Trained, parameters_of, save_parameters
from support.processes import here

_LOSS = "validation/main/loss"


class Best(Extension):
    """Keeps the parameters after the epoch with the lowest validation loss, in their own file.

    Snapshots hold them too, so a resumed training, in whichever folder, ends with the same file as
    an unbroken one.

    The learning rate is multiplied by ``decay`` after each epoch whose loss is not the lowest so
    far, as in PyTorch's example of a word language model, and reported as ``lr``.

    Args:
        model (chainer.Link): the trained model, without its loss.
        path (str or None): the model file; None to keep none.
        trained (Trained): what the file says of the data.
        decay (float or None): in (0, 1); None leaves the learning rate alone.

    Attributes:
        epoch (int): the best epoch so far, 0 before the first evaluation.
        loss (float): its validation loss, in nats a token.
    """

    priority = PRIORITY_WRITER - 1  # after the evaluation, before the log
    default_name = "Best"

    def __init__(
        self,
        model: Link,
        path: str | None = None,
        trained: Trained = UNKNOWN,
        decay: float | None = None,
    ) -> None:
        self.model = model
        self.path = path
        self.trained = trained
        self.decay = decay
        self.epoch = 0
        self.loss = math.inf
        self._parameters: dict[str, NDArray] = {}
        self._written = True
        self._n_decays = 0
        self._first_lr = math.nan

    @staticmethod
    def trigger(trainer: Trainer) -> bool:  # type: ignore[override]
        """After each evaluation. Chainer's triggers would add their state to snapshots."""
        return _LOSS in trainer.observation

    def initialize(self, trainer: Trainer) -> None:
        """Set the learning rate that a snapshot has left."""
        self._first_lr = trainer.updater.get_optimizer("main").alpha
        self._set_lr(trainer)

    def _set_lr(self, trainer: Trainer) -> None:
        if self.decay is not None:
            optimizer = trainer.updater.get_optimizer("main")
            optimizer.alpha = self._first_lr * self.decay**self._n_decays

    def __call__(self, trainer: Trainer) -> None:
        """Compare this epoch with the best before.

        Raises:
            OSError: if the file cannot be written.
        """
        if self.decay is not None:
            report({"lr": trainer.updater.get_optimizer("main").alpha})
        if trainer.observation[_LOSS] < self.loss:
            self.epoch, self.loss = trainer.updater.epoch, float(trainer.observation[_LOSS])
            if self.path is not None:
                self._parameters = {n: a.copy() for n, a in parameters_of(self.model).items()}
                self._written = False
        else:
            self._n_decays += 1
            self._set_lr(trainer)
        self._write()

    def finalize(self) -> None:
        """Write the parameters from a snapshot, if no epoch has been trained since."""
        self._write()

    def _write(self) -> None:
        if not self._written:
            self._written = True  # a failure at the end would keep others from writing theirs
            here.once(save_parameters, self.path, self._parameters, self.trained)

    def serialize(self, serializer: AbstractSerializer) -> None:
        """Save or restore it; start afresh if a snapshot does not hold it."""
        try:
            self.epoch = serializer("epoch", self.epoch)
            self.loss = float(serializer("loss", self.loss))
            self._n_decays = serializer("n_decays", self._n_decays)
        except KeyError:
            return
        kept = self.epoch > 0 and self.path is not None
        names = [path.lstrip("/") for path, _ in self.model.namedparams()] if kept else []
        values = serializer["model"]
        self._parameters = {name: values(name, self._parameters.get(name)) for name in names}
        if not isinstance(serializer, Serializer):
            self._written = not kept
