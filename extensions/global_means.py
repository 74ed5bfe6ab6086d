"""What an update reports, over the streams of all processes."""

from types import TracebackType

import chainer_compat

from chainer.training import PRIORITY_WRITER, Extension, Trainer

from training.processes import here


class GlobalMeans(Extension):
    """Puts the means over the batch in place of those over this process's streams.

    ChainerMN's ObservationAggregator sends pickled objects to and fro for each value, weighs all
    processes alike, and takes away the graph that DumpGraph draws.
    """

    priority = PRIORITY_WRITER + 1  # before the evaluation, whose means are over the batch already

    @staticmethod
    def trigger(trainer: Trainer) -> bool:  # type: ignore[override]
        """Every iteration. A trigger of Chainer's would leave its mark in snapshots."""
        return True

    def __call__(self, trainer: Trainer) -> None:
        """Replace the values within the arrays observed."""
        arrays = [variable.array for variable in trainer.observation.values()]
        batch_size = trainer.updater.get_iterator("main").batch_size
        here.average(arrays, batch_size)

    def on_error(
        self, trainer: Trainer, exception: Exception, traceback: TracebackType | None
    ) -> None:
        """Tell the other processes at once; to save and draw what there is may take a while."""
        here.leave()
