"""What the tests of the updater share: small models, iterators, and comparisons."""

import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np
from chainer import optimizers
from chainer.dataset import Iterator

from benchmarks.peer_step_by_step import RNN as StepRNN
from bptt_updater import BPTTUpdater
from parallel_sequential_iterator import ParallelSequentialIterator

V, U, B, T = 6, 5, 3, 4
TOKENS = np.random.RandomState(7).randint(V, size=50).astype(np.int32)


class Biases(chainer.Chain):
    """A model without memory, in which nothing is ours: the logits are the same for every id."""

    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.b = chainer.Parameter(np.zeros((1, V), np.float32))

    def forward(self, x):
        return F.broadcast_to(self.b, (x.size, V))


class StepsOnly(Iterator):
    """An iterator with ``next()`` and not one attribute more."""

    def __init__(self, steps):
        self._steps = iter(steps)

    def __next__(self):
        return next(self._steps)


class StepsAndEpochs(StepsOnly):
    """As Chainer's own iterators: steps and epochs, but no windows."""

    epoch = property(lambda self: self._steps.epoch)
    epoch_detail = property(lambda self: self._steps.epoch_detail)
    previous_epoch_detail = property(lambda self: self._steps.previous_epoch_detail)
    is_new_epoch = property(lambda self: self._steps.is_new_epoch)


def iterator(batch_size=B, repeat=True, tokens=TOKENS):
    return ParallelSequentialIterator(tokens, batch_size, repeat)


def classifier(predictor, seed=0):
    """A classifier whose parameters depend on the seed and on nothing else."""
    random = np.random.RandomState(seed)
    for _, param in sorted(predictor.namedparams()):
        param.array[...] = random.uniform(-0.8, 0.8, param.shape)
    return L.Classifier(predictor)


def bptt_updater(model, optimizer=None, train_iter=None, bprop_len=T, device=-1, **options):
    optimizer = (optimizer or optimizers.SGD(0.05)).setup(model)
    return BPTTUpdater(train_iter or iterator(), optimizer, bprop_len, device, **options)


def standing_still(model, **options):
    """An updater that computes gradients and leaves the parameters as they are."""
    return bptt_updater(model, optimizers.SGD(0), **options)


def run(updater, n_updates):
    for _ in range(n_updates):
        updater.update()


def params(model):
    return {name: param.array.copy() for name, param in model.namedparams()}


def grads(model):
    return {name: param.grad.copy() for name, param in model.namedparams()}


def assert_close(arrays, expected, tolerance=1e-5):
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        np.testing.assert_allclose(array, expected[name], 0, tolerance, err_msg=name)


def assert_same(arrays, expected):
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def step_losses(model, steps):
    """The loss of each step, computed one by one."""
    losses = []
    for step in steps:
        x, t = (np.array(ids, np.int32) for ids in zip(*step, strict=True))
        losses.append(F.softmax_cross_entropy(model(x), t))
    return losses


def steps(n, first=0):
    """Steps ``first`` to ``first + n`` of the tokens, as ``next()`` gives them."""
    starts = [stream * len(TOKENS) // B for stream in range(B)]
    tokens = np.tile(TOKENS, 10)
    places = [[start + step for start in starts] for step in range(first, first + n)]
    return [[(tokens[place], tokens[place + 1]) for place in step] for step in places]


def train_step_by_step(optimizer, n_updates):
    """What training must amount to: a loop over Chainer's own functions, one step at a time."""
    model = classifier(StepRNN(V, U))
    optimizer.setup(model)
    for update in range(n_updates):
        loss = sum(step_losses(model.predictor, steps(T, first=update * T)))
        model.cleargrads()
        loss.backward()
        loss.unchain_backward()
        optimizer.update()
    return model
