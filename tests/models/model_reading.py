"""What the tests of the models share: random parameters and ids, two ways to read, comparisons."""

import chainer.functions as F
import numpy as np

V, U, T, B = 7, 5, 4, 3


def randomised(model, scale=0.5):
    """The model with every parameter, biases too, well away from zero."""
    random = np.random.RandomState(0)
    for _, param in sorted(model.namedparams()):
        param.array[...] = random.normal(0, scale, param.shape)
    return model


def ids(n_steps=T, batch=B, n_vocab=V, seed=0):
    random = np.random.RandomState(seed)
    return random.randint(n_vocab, size=(n_steps, batch)).astype(np.int32)


def step_by_step(model, x):
    """Logits ``(T * B, V)`` of a model that is called once for each step of the window."""
    return F.concat([model(x_t) for x_t in x], axis=0)


def gradients(model, logits):
    """Of a loss in which every logit has a weight of its own."""
    weights = np.random.RandomState(1).normal(size=logits.shape).astype(logits.dtype)
    model.cleargrads()
    F.sum(logits * weights).backward()
    return {path: param.grad for path, param in model.namedparams()}


def assert_close(ours, expected):
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)


def assert_gradients_close(ours, expected):
    assert ours.keys() == expected.keys()
    for path, gradient in ours.items():
        # A parameter that no step has used has no gradient in stock Chainer; zero is the same.
        reference = 0 if expected[path] is None else expected[path]
        np.testing.assert_allclose(gradient, reference, rtol=1e-5, atol=1e-5, err_msg=path)
