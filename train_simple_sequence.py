"""Train a recurrent network to predict the next number of 1 2 2 3 3 3 ..., by counting.

python train_simple_sequence.py
python train_simple_sequence.py -a rnn2
python train_simple_sequence.py -a rnn2 -e 20 -r result/snapshot_iter_225
python train_simple_sequence.py -a lstm --data book.txt --tokens char --valid-fraction 0.1
mpiexec -n 2 python train_simple_sequence.py --distributed
"""

if __name__ == "__main__":
    from support.start import start

    start()

import sys

import chainer_compat
import chainer
import numpy as np
from chainer.optimizer_hooks import GradientClipping
from chainer.training import Trainer

from bptt_updater import BPTTUpdater
from extensions.best import Best
from extensions.cosine import Cosine
from extensions.evaluation import WindowEvaluator, window_length
from extensions.snapshot import Snapshot
from models import ARCHS
from models.adam import Adam
from models.classifier import Classifier
from models.model_file import files_of_version_1, model_path, save_model
from parallel_sequential_iterator import ParallelSequentialIterator
from support.processes import here, run
from training.data import read_data
from training.folder import go_on, output_folder
from training.options import STEERING, changeable_options, fixed_options, parse_arguments
from training.report import naming_the_last_snapshot, reports, show_beginning, show_end, show_stop
from training.stop import Stop


def main(argv: list[str], whole: str | None = None) -> int:
    """Run the command; return its exit code. ``whole`` is the command that resumes a larger job."""
    args = parse_arguments(__doc__, argv)
    data = read_data(args)
    show_beginning(args, data)

    # 1. Set up the model, and a copy to evaluate: same parameters, its own recurrent state.
    np.random.seed(args.seed)
    model = Classifier(ARCHS[args.arch](data.n_vocab, args.unit))
    if args.dropout is not None:
        model.predictor.dropout_ratio = args.dropout
    device = chainer.get_device(args.gpu)
    device.use()
    model.to_device(device)
    evaluated = model.copy()

    # 2. Set up an optimizer. "here" is this process, alone or one of several (--distributed).
    optimizer = here.set_up(Adam(alpha=args.lr), model, args.batchsize)
    if args.gradclip:
        optimizer.add_hook(GradientClipping(args.gradclip))

    # 3. Take the datasets. For the built-in sequence the test data are the training data.
    train, test = data.train, data.test

    # 4. Set up the iterators.
    batch_size, test_batch_size = args.batchsize, min(args.batchsize, len(test))
    train_iter = ParallelSequentialIterator(train, batch_size, streams=here.streams(batch_size))
    test_iter = ParallelSequentialIterator(
        test, test_batch_size, repeat=False, streams=here.streams(test_batch_size)
    )

    # 5. Set up the updater: truncated back-propagation through time.
    updater = BPTTUpdater(train_iter, optimizer, args.bproplen, device)

    # 6. Set up the trainer and what plugs into it.
    stop = Stop(args.epoch)
    trainer = Trainer(updater, stop, args.out)
    evaluator = WindowEvaluator(
        test_iter,
        evaluated,
        window_length(args.bproplen, batch_size, data.n_vocab),
        device,
        eval_hook=lambda _: evaluated.predictor.reset_state(),
        two_periods=data.two_periods,
        lies=args.counting,
        run_lengths=data.shuffled,
    )
    trainer.extend(evaluator)
    if args.lr_cosine:
        trainer.extend(Cosine())
    best_path = model_path(args.out, args.arch, best=True)
    if data.held_out or args.lr_decay:
        kept = best_path if data.held_out else None
        trainer.extend(Best(model.predictor, kept, data.trained, args.lr_decay))
    fixed, changeable = {**data.fixed, **fixed_options(args)}, changeable_options(args)
    beside = dict.fromkeys([best_path, *files_of_version_1(args.out, args.arch)])
    snapshot = Snapshot(fixed, changeable, STEERING, args.keep, data.vocabulary, beside)
    trainer.extend(snapshot, trigger=args.snapshot_every)
    for extension in reports(args, data, evaluated.predictor):
        trainer.extend(extension)

    with output_folder(args.out):
        # Resume from a snapshot.
        go_on(args.resume, snapshot, trainer)

        # Run the training, then save the model.
        with stop.on_signals(), naming_the_last_snapshot(snapshot):
            trainer.run(show_loop_exception_msg=False)
            signal = stop.any_signal()
            if not signal:
                path = model_path(args.out, args.arch)
                here.once(save_model, path, model.predictor, data.trained)
    if signal:
        show_stop(argv, snapshot, whole)
        return 128 + signal
    show_end(argv, args, data, trainer)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
