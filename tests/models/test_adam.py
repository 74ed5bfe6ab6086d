"""``Adam``: bit for bit what Chainer's does, in the plain case and in every other."""

import chainer
import numpy as np
import pytest
from chainer import Chain, Parameter, optimizers
from chainer.optimizer_hooks import GradientClipping, WeightDecay
from chainer.optimizers.adam import AdamRule
from chainer.serializers import DictionarySerializer, NpzDeserializer

from models.adam import _BLOCK, Adam, _blocks

# The third and fourth are updated in several blocks, the fourth in single rows.
SHAPES = [(), (5,), (70, 1000), (2, 3, 40_000)]


def pair(dtype=np.float32, **hyperparameters):
    """Two equal links, one with an optimizer of each kind."""
    made = []
    for cls in (Adam, optimizers.Adam):
        random = np.random.RandomState(0)
        link = Chain()
        with link.init_scope():
            for number, shape in enumerate(SHAPES):
                setattr(link, f"p{number}", Parameter(random.normal(size=shape).astype(dtype)))
        made.append((link, cls(alpha=0.01, **hyperparameters).setup(link)))
    return made


def update(made, count=3, without=()):
    """Update both with the same random gradients."""
    for number in range(count):
        for link, optimizer in made:
            random = np.random.RandomState(number)
            link.cleargrads()
            for name, param in sorted(link.namedparams()):
                grad = np.asarray(random.normal(size=param.shape), param.dtype)
                if name not in without:
                    param.grad = grad
            optimizer.update()


def assert_same(made):
    (ours, our_optimizer), (chainers, chainers_optimizer) = made
    assert our_optimizer.t == chainers_optimizer.t
    for param, expected in zip(ours.params(), chainers.params(), strict=True):
        np.testing.assert_array_equal(param.array, expected.array)
        assert param.array.dtype == expected.array.dtype
        assert param.update_rule.t == expected.update_rule.t
        for key, array in expected.update_rule.state.items():
            np.testing.assert_array_equal(param.update_rule.state[key], array)


@pytest.fixture
def updated_by_chainer(monkeypatch):
    """A list that grows by each parameter that one of our rules has left to Chainer."""
    left = []
    original = AdamRule.update_core

    def update_core(self, param):
        if type(self) is not AdamRule:
            left.append(param)
        original(self, param)

    monkeypatch.setattr(AdamRule, "update_core", update_core)
    return left


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_plain_updates(dtype, updated_by_chainer):
    made = pair(dtype, beta1=0.4, beta2=0.45, eps=1e-5)
    update(made, 10)
    assert_same(made)
    assert len(updated_by_chainer) == len(SHAPES)  # the first update, which makes the state


def test_a_rule_that_is_put_in_place_of_ours_counts():
    made = pair()
    update(made)
    for link, optimizer in made:
        rule = optimizer.create_update_rule()
        rule.t = 3
        rule._state = {"m": np.ones(5, np.float32), "v": np.ones(5, np.float32)}
        link.p1.update_rule = rule
    update(made)
    assert_same(made)


def test_blocks_are_as_large_as_fits_and_hold_each_element_once():
    array = np.arange(7 * 30_000).reshape(30_000, 7)
    blocks = list(_blocks(array, -array))
    np.testing.assert_array_equal(np.concatenate([block for block, _ in blocks]), array)
    np.testing.assert_array_equal(np.concatenate([block for _, block in blocks]), -array)
    assert _BLOCK - 7 < blocks[0][0].size <= _BLOCK
    assert len(blocks) == -(-array.size // _BLOCK)


def test_hyperparameters_may_change_between_updates():
    made = pair()
    for alpha in (0.1, 0.001):
        for _, optimizer in made:
            optimizer.alpha = alpha
        update(made)
        assert_same(made)


@pytest.mark.parametrize(
    "hyperparameters",
    [{"eta": 0.5}, {"eta": 2.0}, {"weight_decay_rate": 0.1}, {"amsgrad": True}, {"adabound": True}],
    ids=str,
)
def test_variants(hyperparameters):
    made = pair(**hyperparameters)
    update(made)
    assert_same(made)


def test_half_precision():
    made = pair(np.float16)
    for _, optimizer in made:
        optimizer.eps = 1e-3
    update(made)
    assert_same(made)


def test_hooks_of_the_optimizer_are_called_around_the_update():
    made = pair()
    calls = []
    for link, optimizer in made:
        optimizer.add_hook(GradientClipping(0.1))
        for timing in ("pre", "post"):

            def note(_, link=link, timing=timing):
                calls.append((timing, float(link.p1.array[0])))

            optimizer.add_hook(note, timing, timing)
    update(made, 2)
    assert_same(made)
    ours, chainers = calls[:2] + calls[4:6], calls[2:4] + calls[6:]
    assert ours == chainers
    assert [timing for timing, _ in ours] == ["pre", "post"] * 2


@pytest.mark.parametrize(
    "change",
    [
        lambda rule: rule.add_hook(WeightDecay(0.1)),
        lambda rule: setattr(rule.hyperparam, "alpha", 0.5),
        lambda rule: rule.state.update(m=np.full_like(rule.state["m"], 0.25)),
    ],
    ids=["hook", "learning rate", "moments"],
)
def test_a_parameter_with_something_of_its_own(change):
    made = pair()
    update(made)
    for link, _ in made:
        change(link.p1.update_rule)
    update(made)
    assert_same(made)


def test_a_parameter_that_is_not_updated_for_a_while():
    made = pair()
    update(made)
    for link, _ in made:
        link.p1.update_rule.enabled = False
    before = made[0][0].p1.array.copy()
    update(made)
    np.testing.assert_array_equal(made[0][0].p1.array, before)
    for link, _ in made:
        link.p1.update_rule.enabled = True
    update(made)
    assert_same(made)


def test_a_parameter_without_gradient_decays_as_chainers_does():
    made = pair()
    update(made)
    update(made, without=["/p1"])
    assert_same(made)


def test_another_rule_in_place_of_the_own():
    made = pair()
    for link, _ in made:
        link.p1.update_rule = optimizers.SGD(0.1).create_update_rule()
    update(made)
    np.testing.assert_array_equal(made[0][0].p1.array, made[1][0].p1.array)


def test_scaled_loss():
    made = pair()
    update(made)
    for link, optimizer in made:
        optimizer.loss_scaling(scale=8.0)
        for _ in range(3):
            link.cleargrads()
            loss = sum(chainer.functions.sum(param * param) for param in link.params())
            loss.backward(loss_scale=8.0)
            optimizer.update()
    assert_same(made)


def test_a_loss_function_is_differentiated():
    made = pair()
    for link, optimizer in made:
        for _ in range(3):
            optimizer.update(lambda link=link: chainer.functions.sum(link.p1 * link.p1))
    assert_same(made)


def test_goes_on_from_what_the_other_has_saved():
    made = pair()
    update(made)
    saved = []
    for _, optimizer in made:
        serializer = DictionarySerializer()
        serializer.save(optimizer)
        saved.append({key: np.array(value) for key, value in serializer.target.items()})
    fresh = pair()
    for (link, optimizer), (other, _), npz in zip(fresh, made, reversed(saved), strict=True):
        NpzDeserializer(npz).load(optimizer)
        for param, trained in zip(link.params(), other.params(), strict=True):
            param.array[...] = trained.array
    for both in (made, fresh):
        update(both)
        assert_same(both)
    for param, expected in zip(fresh[0][0].params(), made[0][0].params(), strict=True):
        np.testing.assert_array_equal(param.array, expected.array)
