import chainer
import chainer.links as L
import numpy as np
import pytest
from chainer import optimizers
from chainer.training import Trainer, extensions

from bptt_updater import BPTTUpdater
from counting.lies import keeps_place
from counting.scores import free_run, mistakes, periods
from extensions.evaluation import WindowEvaluator
from models import ARCHS
from parallel_sequential_iterator import ParallelSequentialIterator
from simple_sequence.simple_sequence_dataset import get_shuffled_runs, get_simple_sequence
from tests.counting.liars import Restless, Stubborn

V, U, B = 6, 8, 4
DATA = get_simple_sequence(V, 7)  # 105 tokens: 26.25 steps of 4 streams
each_arch = pytest.mark.parametrize("arch", ARCHS)


def classifier(arch):
    np.random.seed(4)
    model = L.Classifier(ARCHS[arch](V, U))
    for _, param in sorted(model.namedparams()):
        param.array[...] = np.random.uniform(-1, 1, param.shape)
    return model


def evaluator(model, window=10, data=DATA, n_vocab=V, counting=True, **options):
    iterator = ParallelSequentialIterator(data, B, repeat=False)
    return WindowEvaluator(
        iterator,
        model,
        window=window,
        device=-1,
        eval_hook=lambda _: model.predictor.reset_state(),
        two_periods=periods(n_vocab, 2) if counting else None,
        **options,
    )


def accuracy_at_run_ends(model):
    """One step and one stream at a time."""
    iterator = ParallelSequentialIterator(DATA, B, repeat=False)
    model.predictor.reset_state()
    right = []
    with chainer.using_config("train", False), chainer.no_backprop_mode():
        for step in iterator:
            x, t = np.array(step, np.int32).T
            logits = model.predictor(x).array
            for token, true, row in zip(x, t, logits, strict=True):
                if token != true:
                    right.append(row.argmax() == true)
    return np.mean(right)


@pytest.mark.parametrize(
    ("arch", "window"), [*((arch, 10) for arch in ARCHS), ("rnn", 1), ("lstm", 256)]
)
def test_boundary_accuracy_is_that_at_the_ends_of_runs(arch, window):
    model = classifier(arch)
    expected = accuracy_at_run_ends(model)
    np.testing.assert_allclose(evaluator(model, window)()["boundary_accuracy"], expected)


class Table(chainer.Chain):
    """Predicts, whatever it has read, a number that depends on the last one only."""

    def __init__(self, predictions):
        super().__init__()
        self.predictions = np.array(predictions)

    def forward(self, x):
        return chainer.Variable(np.eye(V, dtype=np.float32)[self.predictions[x.ravel()]])

    def reset_state(self):
        pass


@pytest.mark.parametrize(
    ("predictions", "boundary_accuracy", "accuracy"),
    [([0, 1, 2, 3, 4, 5], 0, 10 / 15), ([0, 2, 3, 4, 5, 1], 1, 5 / 15)],
    ids=["repeat", "move on"],
)
def test_the_two_accuracies_of_who_does_not_count(predictions, boundary_accuracy, accuracy):
    data = get_simple_sequence(V, 4)  # each stream reads one period
    means = evaluator(L.Classifier(Table(predictions)), data=data)()
    assert means["boundary_accuracy"] == boundary_accuracy
    np.testing.assert_allclose(means["main/accuracy"], accuracy, rtol=1e-6)


@each_arch
def test_free_run_is_that_of_the_model(arch):
    model = classifier(arch)
    expected = free_run(model.predictor, periods(V, 2))
    assert evaluator(model)()["free_run"] == expected


@each_arch
def test_keeps_place_is_that_of_the_model(arch):
    model = classifier(arch)
    model.predictor.reset_state()
    mistakes(model.predictor, periods(V, 2))
    expected = keeps_place(model.predictor)
    means = evaluator(model, lies=True)()
    assert means["keeps_place"] == expected
    assert means["free_run"] == free_run(model.predictor, periods(V, 2))


def test_a_vocabulary_that_cannot_be_told_lies_has_no_keeps_place():
    np.random.seed(0)
    model = L.Classifier(ARCHS["rnn"](3, U))
    means = evaluator(model, data=get_simple_sequence(3, 9), n_vocab=3, lies=True)()
    assert "free_run" in means and "keeps_place" not in means


@pytest.mark.parametrize("window", [30, 256])
@pytest.mark.parametrize(("rule", "share"), [(Restless, 1), (Stubborn, 0)])
def test_run_length_accuracy_is_the_share_of_runs_foreseen(rule, share, window):
    data = get_shuffled_runs(V, 40)
    options = {"counting": False, "run_lengths": True}
    means = evaluator(L.Classifier(rule(V)), window, data, **options)()
    assert means["run_length_accuracy"] == share
    assert "boundary_accuracy" not in means and "free_run" not in means


@each_arch
def test_the_other_means_are_those_without_counting(arch):
    means = evaluator(classifier(arch))()
    del means["boundary_accuracy"], means["free_run"]
    assert means == evaluator(classifier(arch), counting=False)()


def test_costs_one_short_window_more():
    model = classifier("rnn")
    sizes = []
    forward = model.predictor.forward
    model.predictor.forward = lambda x: sizes.append(x.shape) or forward(x)
    evaluator(model, window=20)()
    assert sizes == [(20, B), (7, B), (len(periods(V, 2)) - 1, 1)]


def test_where_no_run_ends_there_is_no_boundary_accuracy():
    ones = np.ones(20, np.int32)
    means = evaluator(classifier("rnn"), data=ones, n_vocab=2)()
    assert means.keys() == {"main/loss", "main/accuracy", "free_run"}


def test_each_evaluation_gives_the_same():
    validation = evaluator(classifier("lstm"))
    assert validation() == validation()


def test_tokens_are_sent_to_the_device(monkeypatch):
    sent = []
    device = type(evaluator(classifier("rnn")).device)
    monkeypatch.setattr(device, "send", lambda self, array: sent.append(array) or array)
    evaluator(classifier("rnn"))
    assert sent[0].tolist() == periods(V, 2).tolist()


def test_log_holds_both_for_every_epoch(tmp_path):
    model = classifier("rnn")
    optimizer = optimizers.Adam(0.01).setup(model)
    updater = BPTTUpdater(ParallelSequentialIterator(DATA, B), optimizer, 9, -1)
    trainer = Trainer(updater, (3, "epoch"), out=tmp_path)
    evaluated = model.copy()
    trainer.extend(evaluator(evaluated))
    trainer.extend(extensions.LogReport())
    trainer.run()
    log = trainer.get_extension("LogReport").log
    assert [row["epoch"] for row in log] == [1, 2, 3]
    assert log[-1]["free_run"] == free_run(evaluated.predictor, periods(V, 2))
    np.testing.assert_allclose(log[-1]["boundary_accuracy"], accuracy_at_run_ends(evaluated))
