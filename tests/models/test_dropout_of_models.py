"""Dropout of every architecture, against Chainer's own functions with the same masks."""

import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np
import pytest
from chainer import serializers

from models import ARCHS
from models.recurrences.dropout import dropout_mask

T, B, V, U = 4, 3, 5, 6
RATIO = 0.4

# of the embedding, and of each layer's output
N_LAYERS = {"rnn": 2, "rnn2": 4, "rnn3": 4, "lstm": 3, "gru": 2}
each_arch = pytest.mark.parametrize("arch", ARCHS)


def new_model(arch, ratio=RATIO, dtype=np.float32):
    with chainer.using_config("dtype", dtype):
        model = ARCHS[arch](V, U)
    random = np.random.RandomState(0)
    for _, param in sorted(model.namedparams()):
        param.array[...] = random.normal(0, 0.7, param.shape)
    model.dropout_ratio = ratio
    model.seed = 3
    return model


def ids(n_steps=T):
    return np.random.RandomState(1).randint(V, size=(n_steps, B)).astype(np.int32)


def training(model, x):
    with chainer.using_config("train", True):
        return model(x)


def layers_of(arch, model):
    """Each recurrent layer, as a function of its input and its state that gives both anew."""
    if arch == "rnn":
        return [lambda x, h: 2 * (F.tanh(model.l1(x) + (0 if h is None else model.r1(h))),)]
    if arch == "gru":
        return [lambda x, h: (L.StatefulGRU.forward(model.l1, x), None)]
    if arch == "lstm":
        return [
            lambda x, h: (L.LSTM.forward(model.l1, x), None),
            lambda x, h: (L.LSTM.forward(model.l2, x), None),
        ]
    blocks = model.r1, model.r2, model.r3
    if arch == "rnn2":

        def make(block):
            return lambda x, h: 2 * (F.tanh(block.l(x) + (0 if h is None else block.r(h))),)

        return [make(block) for block in blocks]

    def make(block):
        def joining(x, h):
            h = np.zeros((B, U), x.dtype) if h is None else h
            return F.split_axis(F.tanh(block.l(F.concat((x, h)))), 2, axis=1)

        return joining

    return [make(block) for block in blocks]


def by_chainer(arch, model, x, masks):
    """Logits, step by step; ``masks`` for the embedding and each layer's output."""
    layers = layers_of(arch, model)
    output = {"rnn": "l2", "gru": "l2", "lstm": "l3"}.get(arch, "l5")
    states = [None] * len(layers)
    logits = []
    for t, x_t in enumerate(x):
        h = model.embed(x_t) * masks[0][t]
        for k, layer in enumerate(layers):
            h, states[k] = layer(h, states[k])
            h = h * masks[k + 1][t]
        logits.append(model[output](h))
    model.reset_state()
    return F.concat(logits, axis=0)


def masks_of(arch, model, first_step=0):
    return [
        dropout_mask(np, RATIO, (T, B, U), model.seed, layer, first_step)
        for layer in range(N_LAYERS[arch])
    ]


@each_arch
def test_values_are_those_of_the_masked_steps(arch):
    model = new_model(arch, dtype=np.float64)
    model.steps = 7
    expected = by_chainer(arch, model, ids(), masks_of(arch, model, first_step=7))
    np.testing.assert_allclose(training(model, ids()).array, expected.array, rtol=1e-9, atol=1e-9)


@each_arch
def test_gradients_are_those_of_the_masked_steps(arch):
    model = new_model(arch, dtype=np.float64)
    weights = np.random.RandomState(2).normal(size=(T * B, V))
    model.cleargrads()
    F.sum(by_chainer(arch, model, ids(), masks_of(arch, model)) * weights).backward()
    expected = {path: param.grad.copy() for path, param in model.namedparams()}
    model.cleargrads()
    F.sum(training(model, ids()) * weights).backward()
    for path, param in model.namedparams():
        np.testing.assert_allclose(param.grad, expected[path], rtol=1e-9, atol=1e-9, err_msg=path)


@each_arch
def test_evaluation_drops_nothing(arch):
    with chainer.using_config("train", False):
        expected = new_model(arch, ratio=0)(ids()).array
        np.testing.assert_array_equal(new_model(arch)(ids()).array, expected)


@each_arch
def test_evaluation_draws_no_mask_and_does_not_advance(arch, monkeypatch):
    drawn = []
    monkeypatch.setattr("models.dropout.dropout_mask", lambda *place: drawn.append(place))
    model = new_model(arch)
    with chainer.using_config("train", False):
        model(ids())
    assert not drawn
    assert model.steps == 0


@each_arch
def test_ratio_zero_draws_no_mask(arch, monkeypatch):
    drawn = []
    monkeypatch.setattr("models.dropout.dropout_mask", lambda *place: drawn.append(place))
    training(new_model(arch, ratio=0), ids())
    assert not drawn


@each_arch
def test_step_by_step_the_same_is_dropped_as_in_a_window(arch):
    steps, window = new_model(arch), new_model(arch)
    expected = np.concatenate([training(steps, x_t).array for x_t in ids()])
    np.testing.assert_allclose(training(window, ids()).array, expected, rtol=1e-4, atol=1e-5)


@each_arch
def test_a_restored_model_goes_on_with_the_next_masks(arch):
    model, other = new_model(arch), new_model(arch)
    other.seed = 0
    training(model, ids())
    serializer = serializers.DictionarySerializer()
    model.serialize_state(serializer)
    other.serialize_state(serializers.NpzDeserializer(serializer.target))
    assert (other.seed, other.steps) == (3, T)


@each_arch
def test_a_model_goes_on_from_a_state_that_knows_no_dropout(arch):
    model = new_model(arch)
    model.steps = 9
    serializer = serializers.DictionarySerializer()
    model.serialize_state(serializer)
    before = {n: a for n, a in serializer.target.items() if n not in ("seed", "steps")}
    model.serialize_state(serializers.NpzDeserializer(before))
    assert (model.seed, model.steps) == (3, 9)


@each_arch
def test_numpys_seed_decides_the_masks(arch):
    seeds = []
    for seed in (5, 5, 6):
        np.random.seed(seed)
        seeds.append(ARCHS[arch](V, U).seed)
    assert seeds[0] == seeds[1] != seeds[2]


def test_only_the_language_model_drops_by_default():
    ratios = {arch: ARCHS[arch](V, U).dropout_ratio for arch in ARCHS}
    assert ratios == {"rnn": 0, "rnn2": 0, "rnn3": 0, "lstm": 0.5, "gru": 0}
