"""Train a recurrent network to predict the next number of 1 2 2 3 3 3 ..., by counting.

python train_simple_sequence.py
python train_simple_sequence.py -a rnn2
python train_simple_sequence.py -a rnn2 -e 20 -r result/snapshot_iter_225
python train_simple_sequence.py -a lstm --data book.txt --tokens char --valid-fraction 0.1
mpiexec -n 2 python train_simple_sequence.py --distributed
"""

if __name__ == "__main__":
    import quiet_end

    quiet_end.end_on_signals()  # until the training can save itself

import os
import sys
from functools import partial
from typing import Any

import chainer_compat

import chainer
import chainer.links as L
import numpy as np
from chainer import optimizers
from chainer.optimizer_hooks import GradientClipping
from chainer.training import Trainer

from bptt_updater import BPTTUpdater
from command_line import CommandError, prepare_folder, run_command
from counting.figure import MOST_TOKENS, draw_counting
from counting.scores import periods
from distributed import Alone, Together, run_distributed
from extensions.counting_report import CountingEvaluator
from extensions.dump_graph import DumpGraph
from extensions.finite_loss import FiniteLoss
from extensions.global_means import GlobalMeans
from extensions.log_report import LogReport
from extensions.perplexity import add_perplexity
from extensions.plot_log import PlotLog
from extensions.snapshot import Snapshot
from extensions.stop import Stop
from extensions.tensorboard import TensorBoard
from extensions.terminal import ProgressBar, print_report
from extensions.window_evaluator import WindowEvaluator, window_length
from models import ARCHS
from models.model_file import save_model
from parallel_sequential_iterator import ParallelSequentialIterator
from simple_sequence.vocabulary import to_json
from simple_sequence.vocabulary_file import save_vocabulary
from training_data import read_data
from training_options import CHANGEABLE, FIXED, parse_arguments, resume_command, trigger


def main(argv: list[str]) -> int:
    """Run the command; return its exit code."""
    args = parse_arguments(__doc__.split("\n")[0], argv)
    processes = Alone()
    if args.distributed:
        processes = Together(args.communicator, args.batchsize, args.gpu)
    print(f"GPU: {args.gpu}")
    print(f"# Architecture: {args.arch}")
    print(f"# Minibatch-size: {args.batchsize}")
    print(f"# epoch: {args.epoch}", flush=True)
    data = read_data(args)  # whose vocabulary decides the sizes of the model
    if args.data is not None:
        print(f"# Data: {args.data}, {data}")
    if args.distributed:
        print(f"# Processes: {processes.size}")
    print("", flush=True)

    # 1. Set up the model, and a copy to evaluate: same parameters, a recurrent state of its own.
    np.random.seed(args.seed)
    model = L.Classifier(ARCHS[args.arch](data.n_vocab, args.unit))
    device = chainer.get_device(processes.gpu(args.gpu))
    device.use()
    model.to_device(device)
    evaluated = model.copy()

    # 2. Set up an optimizer.
    optimizer = processes.set_up(optimizers.Adam(alpha=args.lr), model)
    if args.gradclip:
        optimizer.add_hook(GradientClipping(args.gradclip))

    # 3. Take the datasets. Where counting is all there is to learn, the test is the same sequence.
    train, test = data.train, data.test

    # 4. Set up the iterators.
    train_iter = ParallelSequentialIterator(
        train, args.batchsize, streams=processes.streams(args.batchsize)
    )
    test_batch = min(args.batchsize, len(test))
    test_iter = ParallelSequentialIterator(
        test, test_batch, repeat=False, streams=processes.streams(test_batch)
    )

    # 5. Set up the updater: truncated back-propagation through time.
    updater = BPTTUpdater(train_iter, optimizer, args.bproplen, device, processes.weight)

    # 6. Set up the trainer and what plugs into it.
    stop = Stop(args.epoch, processes)
    trainer = Trainer(updater, stop, args.out)
    if args.distributed:
        trainer.extend(GlobalMeans(processes))
    trainer.extend(FiniteLoss())
    evaluation: dict[str, Any] = {
        "window": window_length(args.bproplen, args.batchsize, data.n_vocab),
        "device": device,
        "eval_hook": lambda _: evaluated.predictor.reset_state(),
        "processes": processes,
    }
    if args.data is None:
        two_periods = periods(data.n_vocab, 2)
        trainer.extend(CountingEvaluator(test_iter, evaluated, two_periods, **evaluation))
    else:
        trainer.extend(WindowEvaluator(test_iter, evaluated, **evaluation))
    options = vars(args)
    snapshot = Snapshot(
        fixed={**data.fixed, **{name: options[key] for key, name in FIXED.items()}},
        changeable={name: options[key] for key, name in CHANGEABLE.items()},
        keep=args.keep,
        vocabulary=None if data.vocabulary is None else to_json(data.vocabulary),
        processes=processes,
    )
    trainer.extend(snapshot, trigger=trigger(args.snapshot_every))
    if processes.rank == 0:
        picture = None
        if args.data is None:
            n_free = len(two_periods) - 1
            trainer.extend(LogReport())
            columns = ["boundary_accuracy", "free_run"] if args.counting else []
            curves = {
                "boundary_accuracy": "boundary accuracy",
                "free_run": f"free run (of {n_free:,} tokens)",
            }
            scales = {"free_run": 1 / n_free}
            trainer.extend(PlotLog(curves, "share of right tokens", "counting.png", scales))
            if n_free <= MOST_TOKENS:
                picture = partial(draw_counting, evaluated.predictor, args.arch)
        else:
            trainer.extend(LogReport(add_perplexity))
            columns = ["perplexity", "val_perplexity"]
            curves = {"perplexity": "training", "val_perplexity": "validation"}
            trainer.extend(PlotLog(curves, "perplexity", "perplexity.png"))
        trainer.extend(DumpGraph("main/loss"))
        trainer.extend(
            print_report(
                [
                    "epoch",
                    "main/loss",
                    "validation/main/loss",
                    "main/accuracy",
                    "validation/main/accuracy",
                    *columns,
                    "elapsed_time",
                ]
            )
        )
        curves = {"main/{}": "training", "validation/main/{}": "validation"}
        loss = {key.format("loss"): label for key, label in curves.items()}
        trainer.extend(PlotLog(loss, "loss (nats a token)", "loss.png"))
        accuracy = {key.format("accuracy"): label for key, label in curves.items()}
        trainer.extend(PlotLog(accuracy, "accuracy (share of right tokens)", "accuracy.png"))
        if args.tensorboard:
            trainer.extend(TensorBoard(picture))
        if sys.stdout.isatty():
            trainer.extend(ProgressBar())

    # Go on from a snapshot.
    if args.resume == "auto":
        snapshot.resume_newest(trainer)
    elif args.resume is not None:
        snapshot.resume(args.resume, trainer)

    # Run the training, then save the model.
    processes.once(lambda: prepare_folder(args.out))
    model_path = os.path.join(args.out, f"{args.arch}_simple_sequence.model")
    with stop.on_signals():
        try:
            trainer.run(show_loop_exception_msg=False)
            signal = stop.any_signal()
            if not signal:
                processes.once(lambda: save_vocabulary(model_path, data.vocabulary))
                processes.once(lambda: save_model(model_path, model.predictor))
        except OSError as error:
            if error.filename is None:
                raise
            raise CommandError(
                f"{error.filename} cannot be written: {error.strerror}; {snapshot.advice()}"
            ) from error
    if signal:
        command = snapshot.last and processes.command(resume_command(argv, snapshot.last))
        print(f"Stopped. Go on with: {command}" if command else "Stopped before the first update.")
        return 128 + signal
    pictures = "loss.png, accuracy.png, "
    pictures += "counting.png" if args.data is None else "perplexity.png"
    pictures += ", tensorboard" * args.tensorboard
    print(f"Written to {args.out}: {os.path.basename(model_path)}, log, {pictures}")
    sampled = " --temperature 0.5" if args.tokens else ""
    print(f"Let it run free: python predict_simple_sequence.py -m {model_path}{sampled}")
    assert snapshot.last is not None  # saved when the training ended
    longer = processes.command(resume_command(argv, snapshot.last, epoch=2 * args.epoch))
    print(f"Train longer: {longer}")
    return 0


if __name__ == "__main__":
    # An option can be shortened, as --dist.
    distributed = any(word.startswith("--di") for word in sys.argv)
    sys.exit(run_distributed(main) if distributed else run_command(main))
