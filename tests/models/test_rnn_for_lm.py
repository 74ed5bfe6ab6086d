"""What is particular to ``RNNForLM``: its beginning, dropout, and what a snapshot keeps of it."""

import chainer
import chainer.functions as F
import numpy as np
import pytest
from chainer import serializers

from models import RNNForLM
from models.recurrences.dropout import dropout_mask

V, U = 7, 5


def new_model(seed=0):
    np.random.seed(seed)
    return RNNForLM(V, U)


def ids(n_steps=4, batch=3):
    return np.random.RandomState(0).randint(V, size=(n_steps, batch)).astype(np.int32)


def training(model, x):
    with chainer.using_config("train", True):
        return model(x)


def evaluation(model, x):
    with chainer.using_config("train", False):
        return model(x)


def saved_state(link):
    """What a snapshot keeps of the link's state."""
    serializer = serializers.DictionarySerializer()
    link.serialize_state(serializer)
    return serializer.target


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def loop(model, x, masks):
    """The equation, one stream, one step at a time, in float64; ``masks`` of the three layers."""
    p = {name: param.array.astype(np.float64) for name, param in model.namedparams()}
    n_steps, batch = x.shape
    logits = np.empty((n_steps, batch, V))
    for k in range(batch):
        c = {"/l1": np.zeros(U), "/l2": np.zeros(U)}
        h = {"/l1": np.zeros(U), "/l2": np.zeros(U)}
        for t in range(n_steps):
            below = p["/embed/W"][x[t, k]] * masks[0][t, k]
            for layer, mask in zip(("/l1", "/l2"), masks[1:], strict=True):
                gates = p[layer + "/upward/W"] @ below + p[layer + "/upward/b"]
                gates += p[layer + "/lateral/W"] @ h[layer]
                a, i, f, o = gates[0::4], gates[1::4], gates[2::4], gates[3::4]
                c[layer] = sigmoid(i) * np.tanh(a) + sigmoid(f) * c[layer]
                h[layer] = sigmoid(o) * np.tanh(c[layer])
                below = h[layer] * mask[t, k]
            logits[t, k] = p["/l3/W"] @ below + p["/l3/b"]
    return logits.reshape(-1, V)


def spread(model):
    """The model with parameters large enough for every mistake to show."""
    random = np.random.RandomState(0)
    for _, param in sorted(model.namedparams()):
        param.array[...] = random.normal(0, 0.7, param.shape)
    return model


PATHS = [
    "/embed/W",
    "/l1/upward/W",
    "/l1/upward/b",
    "/l1/lateral/W",
    "/l2/upward/W",
    "/l2/upward/b",
    "/l2/lateral/W",
    "/l3/W",
    "/l3/b",
]


@pytest.mark.parametrize("path", PATHS)
def test_each_parameter_begins_uniform_between_minus_and_plus_a_tenth(path):
    np.random.seed(0)
    values = np.sort(dict(RNNForLM(100, 100).namedparams())[path].array, axis=None)
    # Kolmogorov-Smirnov: the largest distance of the empirical distribution from the straight line
    quantiles = (np.arange(values.size) + 0.5) / values.size
    distance = np.abs((values + 0.1) / 0.2 - quantiles).max()
    assert distance < 2.2 / np.sqrt(values.size)
    assert np.abs(values).max() <= np.float32(0.1)


def test_numpys_seed_decides_the_parameters():
    one, other = dict(new_model(3).namedparams()), dict(new_model(3).namedparams())
    for path in PATHS:
        np.testing.assert_array_equal(one[path].array, other[path].array)


def test_numpys_seed_decides_the_masks():
    assert new_model(3).seed == new_model(3).seed


def test_another_seed_gives_other_masks():
    assert new_model(3).seed != new_model(4).seed


def test_a_new_model_has_read_no_steps():
    assert new_model().steps == 0


def test_evaluation_drops_nothing():
    model = spread(new_model())
    logits = evaluation(model, ids())
    expected = loop(model, ids(), np.ones((3, 4, 3, U)))
    np.testing.assert_allclose(logits.array, expected, rtol=1e-5, atol=1e-5)


def test_training_drops_embedding_and_both_outputs_by_masks_of_their_own():
    model = spread(new_model())
    model.steps = 11
    logits = training(model, ids())
    masks = [dropout_mask(np, 0.5, (4, 3, U), model.seed, layer, 11) for layer in range(3)]
    np.testing.assert_allclose(logits.array, loop(model, ids(), masks), rtol=1e-5, atol=1e-5)


def test_training_drops_half():
    assert RNNForLM.dropout_ratio == 0.5


def test_gradients_pass_through_the_masks_of_training():
    model = spread(new_model())
    weights = np.random.RandomState(1).normal(size=(12, V)).astype(np.float32)
    model.cleargrads()
    F.sum(training(model, ids()) * weights).backward()
    masks = [dropout_mask(np, 0.5, (4, 3, U), model.seed, layer, 0) for layer in range(3)]
    for path, param in model.namedparams():
        direction = np.random.RandomState(2).normal(size=param.shape).astype(np.float32)
        kept = param.array.copy()
        losses = []
        for step in (1e-3, -1e-3):
            param.array[...] = kept + np.float32(step) * direction
            losses.append((loop(model, ids(), masks) * weights).sum())
        param.array[...] = kept
        numeric = (losses[0] - losses[1]) / 2e-3
        ours = (param.grad * direction).sum()
        np.testing.assert_allclose(ours, numeric, rtol=2e-3, atol=2e-3, err_msg=path)


def test_training_step_by_step_gives_the_values_of_a_window():
    steps, window = spread(new_model()), spread(new_model())
    expected = np.concatenate([training(steps, x_t).array for x_t in ids()])
    np.testing.assert_allclose(training(window, ids()).array, expected, rtol=1e-5, atol=1e-5)


def test_training_step_by_step_gives_the_gradients_of_a_window():
    steps, window = spread(new_model()), spread(new_model())
    weights = np.random.RandomState(1).normal(size=(12, V)).astype(np.float32)
    steps.cleargrads()
    F.sum(F.concat([training(steps, x_t) for x_t in ids()], axis=0) * weights).backward()
    window.cleargrads()
    F.sum(training(window, ids()) * weights).backward()
    expected = dict(steps.namedparams())
    for path, param in window.namedparams():
        np.testing.assert_allclose(param.grad, expected[path].grad, rtol=1e-5, atol=1e-5)


def test_training_advances_by_the_steps_of_the_window():
    model = new_model()
    training(model, ids(4))
    training(model, ids(3))
    assert model.steps == 7


def test_training_advances_by_one_for_a_step():
    model = new_model()
    training(model, ids()[0])
    assert model.steps == 1


def test_evaluation_does_not_advance():
    model = new_model()
    evaluation(model, ids())
    assert model.steps == 0


def test_training_twice_drops_other_units():
    model = spread(new_model())
    first = training(model, ids())
    model.reset_state()
    assert not np.allclose(training(model, ids()).array, first.array)


def test_training_on_some_streams_drops_the_units_that_are_dropped_among_all():
    whole, some = spread(new_model()), spread(new_model())
    some.first_stream = 1
    expected = training(whole, ids()).array.reshape(4, 3, V)[:, 1:]
    y = training(some, ids()[:, 1:]).array
    np.testing.assert_allclose(y.reshape(4, 2, V), expected, rtol=1e-5, atol=1e-6)


def test_masks_go_on_after_reset():
    model = new_model()
    training(model, ids())
    model.reset_state()
    assert model.steps == 4


@pytest.mark.parametrize("layer", ["l1", "l2"])
@pytest.mark.parametrize("state", ["c", "h"])
def test_reset_forgets_each_state(layer, state):
    model = new_model()
    training(model, ids())
    model.reset_state()
    assert getattr(model[layer], state) is None


def test_training_a_copy_leaves_the_masks_of_the_original():
    model = new_model()
    training(model.copy(), ids())
    assert model.steps == 0


def test_training_beyond_32_bits_of_steps():
    model = new_model()
    model.steps = 2**32 - 2
    training(model, ids())
    assert model.steps == 2**32 + 2


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_training_keeps_the_type_of_the_parameters(dtype):
    with chainer.using_config("dtype", dtype):
        assert training(new_model(), ids()).dtype == dtype


def test_ratio_zero_gives_the_values_of_evaluation():
    model = spread(new_model())
    expected = evaluation(model, ids()).array
    model.reset_state()
    model.dropout_ratio = 0.0
    np.testing.assert_array_equal(training(model, ids()).array, expected)


def test_a_restored_model_draws_the_next_masks_exactly():
    model, other = spread(new_model(0)), spread(new_model(1))
    training(model, ids())
    other.serialize_state(serializers.NpzDeserializer(saved_state(model)))
    model.reset_state()
    np.testing.assert_array_equal(training(other, ids()).array, training(model, ids()).array)


@pytest.mark.parametrize("steps", [0, 4500, 2**33])
def test_seed_and_steps_come_back_as_integers(steps):
    model, other = new_model(0), new_model(1)
    model.steps = steps
    other.serialize_state(serializers.NpzDeserializer(saved_state(model)))
    assert (other.seed, other.steps) == (model.seed, steps)
    assert isinstance(other.seed, int)
    assert isinstance(other.steps, int)


def test_saved_state_loads_without_pickle(tmp_path):
    np.savez(tmp_path / "state.npz", **saved_state(new_model()))
    other = new_model(1)
    with np.load(tmp_path / "state.npz", allow_pickle=False) as arrays:
        other.serialize_state(serializers.NpzDeserializer(arrays))
    assert other.seed == new_model().seed


@pytest.mark.parametrize("layer", ["l1", "l2"])
def test_a_restored_layer_goes_on_as_the_saved_one(layer):
    saved, restored = spread(new_model())[layer], spread(new_model())[layer]
    random = np.random.RandomState(0)
    first, second = random.normal(size=(2, 4, 3, U)).astype(np.float32)
    saved(first)
    restored.serialize_state(serializers.NpzDeserializer(saved_state(saved)))
    np.testing.assert_array_equal(restored(second).array, saved(second).array)
