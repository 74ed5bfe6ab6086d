"""``Classifier``: loss, its gradient and accuracy, against Chainer's own and finite differences."""

import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np
import pytest
from chainer import Variable, gradient_check
from chainer.utils.type_check import InvalidType

from models.classifier import Classifier, accuracy, softmax_cross_entropy

SHAPES = [(6, 5), (1, 4), (3, 1)]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def logits_and_targets(shape, dtype=np.float64):
    random = np.random.RandomState(0)
    return random.normal(size=shape).astype(dtype), random.randint(shape[1], size=shape[0])


@each_shape
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1, 1e4], ids=["usual", "huge"])
def test_loss_and_gradient_agree_with_chainers(shape, dtype, scale):
    array, t = logits_and_targets(shape, dtype)
    results = []
    for function in (softmax_cross_entropy, F.softmax_cross_entropy):
        y = Variable(array * dtype(scale))
        loss = function(y, t)
        loss.grad = np.array(3, dtype)
        loss.backward()
        assert (loss.shape, loss.dtype) == ((), dtype)
        results.append((loss.array, y.grad))
    (loss, grad), (expected_loss, expected_grad) = results
    rtol = 1e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(loss, expected_loss, rtol)
    np.testing.assert_allclose(grad, expected_grad, rtol, atol=rtol)
    assert grad.dtype == dtype


@each_shape
def test_gradient_agrees_with_finite_differences(shape):
    y, t = logits_and_targets(shape)
    gradient_check.check_backward(
        lambda y: softmax_cross_entropy(y, t), y, np.array(0.7), dtype=np.float64
    )


def test_gradients_add_up_when_differentiated_twice_over():
    array, t = logits_and_targets((6, 5))
    y = Variable(array)
    loss = softmax_cross_entropy(y, t)
    loss.backward()
    once = y.grad.copy()
    loss.grad = None
    loss.backward()
    np.testing.assert_allclose(y.grad, 2 * once)


@each_shape
def test_accuracy_agrees_with_chainers(shape):
    y, t = logits_and_targets(shape, np.float32)
    for y_ in (y, -y, np.zeros_like(y)):  # the first of equals is taken
        ours, expected = accuracy(Variable(y_), t), F.accuracy(y_, t)
        assert ours.array == expected.array
        assert (ours.shape, ours.dtype) == ((), np.float32)


@pytest.mark.parametrize(
    ("y", "t"),
    [
        (np.zeros((2, 3, 4), "f"), np.zeros(2, "i")),
        (np.zeros((2, 3), "i"), np.zeros(2, "i")),
        (np.zeros((2, 3), "f"), np.zeros((2, 1), "i")),
        (np.zeros((2, 3), "f"), np.zeros(2, "f")),
        (np.zeros((2, 3), "f"), np.zeros(3, "i")),
        (np.zeros((2, 3), "f"), np.zeros(1, "i")),
        (np.zeros((2, 3), "f"), np.zeros((), "i")),
        (np.zeros(2, "f"), np.zeros(2, "i")),
        (np.zeros((2, 3), "F"), np.zeros(2, "i")),
        (np.zeros((2, 3), "f"), np.zeros(2, "u4")),
    ],
)
def test_types_are_checked(y, t):
    with pytest.raises(InvalidType):
        softmax_cross_entropy(y, t)


def test_classifier_reports_what_chainers_does():
    random = np.random.RandomState(0)
    x, t = random.normal(size=(6, 3)).astype("f"), random.randint(4, size=6)
    predictor = L.Linear(3, 4)
    reported = []
    for classifier in (Classifier(predictor), L.Classifier(predictor)):
        observation = {}
        reporter = chainer.Reporter()
        reporter.add_observer("main", classifier)
        with reporter.scope(observation):
            classifier(x, t)
        reported.append({name: float(value.array) for name, value in observation.items()})
    assert reported[0].keys() == {"main/loss", "main/accuracy"}
    assert reported[0] == pytest.approx(reported[1])
