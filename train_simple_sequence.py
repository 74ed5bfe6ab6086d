"""Train a recurrent network to predict the next number of 1 2 2 3 3 3 ..., by counting.

python train_simple_sequence.py
python train_simple_sequence.py -a rnn2
python train_simple_sequence.py -a rnn2 -e 20 -r result/snapshot_iter_225
python train_simple_sequence.py -a lstm --data book.txt --tokens char --valid-fraction 0.1
mpiexec -n 2 python train_simple_sequence.py --distributed
"""

if __name__ == "__main__":
    from support import quiet_end

    quiet_end.end_on_signals()  # until the training can save itself

import sys
from typing import Any

import chainer_compat

import chainer
import numpy as np
from chainer.optimizer_hooks import GradientClipping
from chainer.training import Trainer

from bptt_updater import BPTTUpdater
from counting.scores import periods
from extensions.counting_report import CountingEvaluator
from extensions.evaluation import WindowEvaluator, window_length
from extensions.finite_loss import FiniteLoss
from extensions.global_means import GlobalMeans
from extensions.snapshot import Snapshot
from models import ARCHS
from models.classifier import Classifier
from models.model_file import model_path, save_model
from own_data.vocabulary import to_json
from own_data.vocabulary_file import save_vocabulary
from parallel_sequential_iterator import ParallelSequentialIterator
from support.command_line import prepare_folder, run_command
from training.adam import Adam
from training.data import read_data
from training.options import changeable_options, fixed_options, parse_arguments, trigger
from training.processes import Alone, Together, run_distributed
from training.report import naming_the_last_snapshot, reports, show_beginning, show_end, show_stop
from training.stop import Stop


def main(argv: list[str]) -> int:
    """Run the command; return its exit code."""
    args = parse_arguments(__doc__.split("\n")[0], argv)
    processes = Alone()
    if args.distributed:
        processes = Together(args.communicator, args.batchsize, args.gpu)
    data = read_data(args)
    show_beginning(args, data, processes)

    # 1. Set up the model, and a copy to evaluate: same parameters, a recurrent state of its own.
    np.random.seed(args.seed)
    model = Classifier(ARCHS[args.arch](data.n_vocab, args.unit))
    device = chainer.get_device(processes.gpu(args.gpu))
    device.use()
    model.to_device(device)
    evaluated = model.copy()

    # 2. Set up an optimizer.
    optimizer = processes.set_up(Adam(alpha=args.lr), model)
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
    snapshot = Snapshot(
        fixed={**data.fixed, **fixed_options(args)},
        changeable=changeable_options(args),
        keep=args.keep,
        vocabulary=None if data.vocabulary is None else to_json(data.vocabulary),
        processes=processes,
    )
    trainer.extend(snapshot, trigger=trigger(args.snapshot_every))
    if processes.rank == 0:
        for report in reports(args, data, evaluated.predictor):
            trainer.extend(report)

    # Go on from a snapshot.
    if args.resume == "auto":
        snapshot.resume_newest(trainer)
    elif args.resume is not None:
        snapshot.resume(args.resume, trainer)

    # Run the training, then save the model.
    processes.once(lambda: prepare_folder(args.out))
    path = model_path(args.out, args.arch)
    with stop.on_signals(), naming_the_last_snapshot(snapshot):
        trainer.run(show_loop_exception_msg=False)
        signal = stop.any_signal()
        if not signal:
            processes.once(lambda: save_vocabulary(path, data.vocabulary))
            processes.once(lambda: save_model(path, model.predictor))
    if signal:
        show_stop(argv, snapshot, processes)
        return 128 + signal
    show_end(argv, args, data, snapshot, processes)
    return 0


if __name__ == "__main__":
    # An option can be shortened, as --dist.
    distributed = any(word.startswith("--di") for word in sys.argv)
    sys.exit(run_distributed(main) if distributed else run_command(main))
