"""The whole job as the tutorial's command does it: Chainer's stock Trainer, one step at a time.

python -m benchmarks.command_step_by_step -a rnn -o result
"""

import argparse
import os

import matplotlib

matplotlib.use("Agg")
# Where Graphviz is installed, Chainer's dump_graph would spend its time too. Ours leaves that to
# the user.
os.environ["PATH"] = ""

from chainer import serializers
from chainer.training import Trainer, extensions

from benchmarks.peer_step_by_step import ARCHS, make_evaluator, make_updater
from benchmarks.workload import EPOCHS


def main() -> None:
    """Train with the default options; write what the tutorial writes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-a", "--arch", choices=ARCHS, default="rnn")
    parser.add_argument("-o", "--out", default="result")
    args = parser.parse_args()

    updater = make_updater(args.arch)
    model = updater.get_optimizer("main").target
    trainer = Trainer(updater, (EPOCHS, "epoch"), args.out)
    trainer.extend(make_evaluator(model))
    trainer.extend(extensions.dump_graph("main/loss"))
    trainer.extend(extensions.snapshot(), trigger=(1, "epoch"))
    trainer.extend(extensions.LogReport())
    loss = ["main/loss", "validation/main/loss"]
    accuracy = ["main/accuracy", "validation/main/accuracy"]
    trainer.extend(extensions.PrintReport(["epoch", *loss, *accuracy, "elapsed_time"]))
    trainer.extend(extensions.PlotReport(loss, x_key="epoch", file_name="loss.png"))
    trainer.extend(extensions.PlotReport(accuracy, x_key="epoch", file_name="accuracy.png"))
    trainer.run()
    model_file = f"{args.arch}_simple_sequence.model"
    serializers.save_npz(os.path.join(args.out, model_file), model.predictor)


if __name__ == "__main__":
    main()
