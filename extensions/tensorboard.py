"""The training for TensorBoard: scalars, parameter histograms and a picture each epoch.

TensorBoard's own package writes the format. Readers of the events have it anyway; tensorboardX
would be a second package for the same bytes.
"""

import contextlib
import io
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from chainer.backends import cuda
from chainer.training import Extension, Trainer
from chainer.types import NdArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

_N_BUCKETS = 30  # of a histogram, as TensorBoard's own


class TensorBoard(Extension):
    """Writes events into the folder ``tensorboard`` of the trainer's output folder.

    Each value in the trainer's LogReport becomes a scalar, each parameter of the trained model a
    histogram; the step is the epoch. A training that is resumed or restarted writes a new file, and
    TensorBoard then drops the same and later epochs of earlier files.

    Args:
        picture: called each epoch without arguments; returns a ``matplotlib.figure.Figure``, shown
            as "counting"; None for no picture.

    Raises:
        ImportError: if TensorBoard is not installed.
    """

    trigger = 1, "epoch"
    priority = -250  # after LogReport, the snapshot and the plots
    default_name = "TensorBoard"

    def __init__(self, picture: "Callable[[], Figure] | None" = None) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self.picture = picture
        self._event_pb2 = event_pb2
        self._summary_pb2 = summary_pb2
        self._record_writer = RecordWriter
        self._writer: RecordWriter | None = None
        self._path: str | None = None  # of the events, even if they can no longer be written

    def __call__(self, trainer: Trainer) -> None:
        """Write the epoch that has ended; if that fails, warn and write no more."""
        log = trainer.get_extension("LogReport").log
        if not log or log[-1]["iteration"] != trainer.updater.iteration:
            return
        epoch = log[-1]["epoch"]
        try:
            if self._path is None:
                self._open(os.path.join(trainer.out, "tensorboard"), epoch)
            if self._writer is not None:
                self._add(self._writer, epoch, summary=self._summary(trainer, log[-1]))
                self._writer.flush()
        except OSError as error:
            # This must not end a training.
            print(f"warning: {self._path}: {error.strerror}", file=sys.stderr)
            self._writer = None

    def finalize(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()

    def _open(self, folder: str, epoch: int) -> None:
        path = os.path.join(folder, f"events.out.tfevents.{time.time():.0f}.{os.getpid()}")
        self._path = path
        os.makedirs(folder, exist_ok=True)
        writer = self._record_writer(open(path, "wb"))  # noqa: SIM115 - finalize closes it
        self._writer = writer
        self._add(writer, 0, file_version="brain.Event:2")
        # From this epoch on, earlier files belong to a training that was abandoned.
        session = self._event_pb2.SessionLog
        self._add(writer, epoch, session_log=session(status=session.START))

    def _add(self, writer: "RecordWriter", epoch: int, **content: object) -> None:
        event = self._event_pb2.Event(wall_time=time.time(), step=epoch, **content)
        writer.write(event.SerializeToString())

    def _summary(self, trainer: Trainer, entry: Mapping[str, float]) -> "Summary":
        value = self._summary_pb2.Summary.Value
        values = [
            value(tag=name, simple_value=number)
            for name, number in entry.items()
            if name not in ("epoch", "iteration")
        ]
        model = trainer.updater.get_optimizer("main").target.predictor
        for path, param in sorted(model.namedparams()):
            values.append(value(tag=f"parameters{path}", histo=self._histogram(param.array)))
        # A free run that overflows has no picture, but must not end the training here.
        with contextlib.suppress(FloatingPointError):
            if self.picture is not None:
                values.append(value(tag="counting", image=self._image(self.picture())))
        return self._summary_pb2.Summary(value=values)

    def _histogram(self, array: NdArray) -> "HistogramProto":
        array = cuda.to_cpu(array).astype(np.float64)
        counts, edges = np.histogram(array, _N_BUCKETS)
        return self._summary_pb2.HistogramProto(
            min=array.min(),
            max=array.max(),
            num=array.size,
            sum=array.sum(),
            sum_squares=np.square(array).sum(),
            bucket_limit=edges[1:],
            bucket=counts,
        )

    def _image(self, figure: "Figure") -> "Summary.Image":
        file = io.BytesIO()
        figure.savefig(file, format="png")
        width, height = figure.canvas.get_width_height()
        return self._summary_pb2.Summary.Image(
            width=width, height=height, colorspace=4, encoded_image_string=file.getvalue()
        )
