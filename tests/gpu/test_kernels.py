"""Each fast form of a recurrence on a GPU, beside the reference on the CPU."""

import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np
import pytest
from chainer import Variable

from models.gru import gru
from models.recurrences import kernels
from models.recurrences.elman import concat_elman, elman
from models.recurrences.lstm import lstm

CPU = chainer.get_device("@numpy")
T, B, U, R = 3, 2, 5, 4  # steps, streams, units, units of a state that is not the output

# By name: the links, their widths of in- and output, those of the state's parts, the call.
RECURRENCES = {
    **{
        f"elman {act.__name__}": (
            lambda: [L.Linear(U, U), L.Linear(U, U)],
            [U],
            lambda x, state, links, act=act: elman(x, *(state or [None]), *links, act),
        )
        for act in (F.tanh, F.relu, F.identity)
    },
    **{
        f"concat_elman {act.__name__}": (
            lambda: [L.Linear(U + R, U + R)],
            [R],
            lambda x, state, links, act=act: concat_elman(x, *(state or [None]), *links, act),
        )
        for act in (F.tanh, F.relu, F.identity)
    },
    "lstm": (
        lambda: [L.Linear(U, 4 * U), L.Linear(U, 4 * U, nobias=True)],
        [U, U],
        lambda x, state, links: lstm(x, *(state or [None, None]), *links),
    ),
    "gru": (
        lambda: [L.StatefulGRU(U, U)],
        [U],
        lambda x, state, links: gru(x, *(state or [None]), *links),
    ),
}

each_recurrence = pytest.mark.parametrize("name", RECURRENCES)
each_form = pytest.mark.parametrize("largest", [2**20, 0], ids=["whole windows", "single steps"])


def results(name, device, dtype, has_state=True, used=lambda k: True):
    """Outputs, and gradients of all that they depend on, as NumPy arrays."""
    make_links, states, call = RECURRENCES[name]
    random = np.random.RandomState(0)

    def variable(*shape):
        return Variable(device.send(random.normal(size=shape).astype(dtype)))

    with chainer.using_config("dtype", dtype):
        links = make_links()
    variables = []
    for link in links:
        for _, param in sorted(link.namedparams()):
            param.array[...] = random.normal(size=param.shape) / 2
            variables.append(param)
        link.to_device(device)
    x, *state = variable(T, B, U), *[variable(B, width) for width in states if has_state]
    outputs = call(x, state, links)
    variables += [x, *state]
    for link_or_variable in (*links, *variables):
        getattr(link_or_variable, "cleargrads", lambda: None)()
    gradients = [variable(*output.shape) for output in outputs]
    chosen = [k for k in range(len(outputs)) if used(k)]
    chainer.backward([outputs[k] for k in chosen], [gradients[k] for k in chosen])
    return [CPU.send(array) for array in [v.array for v in outputs] + [v.grad for v in variables]]


def assert_equal(arrays, expected, tolerance):
    for array, on_the_cpu in zip(arrays, expected, strict=True):
        assert array.dtype == on_the_cpu.dtype
        np.testing.assert_allclose(array, on_the_cpu, tolerance, tolerance)


@each_recurrence
@each_form
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("has_state", [True, False], ids=["state", "no state"])
def test_equals_the_reference(name, largest, dtype, has_state, gpu, monkeypatch):
    monkeypatch.setattr(kernels, "LARGEST_MATRIX", largest)
    arrays, expected = (results(name, device, dtype, has_state) for device in (gpu, CPU))
    assert_equal(arrays, expected, 1e-5 if dtype == np.float32 else 1e-12)


@each_recurrence
@pytest.mark.parametrize("k", [0, 1], ids=["outputs", "last state"])
def test_equals_the_reference_for_a_loss_of_one_output(name, k, gpu):
    arrays, expected = (
        results(name, device, np.float64, used=lambda other: other == k) for device in (gpu, CPU)
    )
    assert_equal(arrays, expected, 1e-12)


@each_recurrence
@each_form
def test_threads_may_be_fewer_than_units(name, largest, gpu, monkeypatch):
    monkeypatch.setattr(kernels, "LARGEST_MATRIX", largest)
    monkeypatch.setattr(kernels, "_THREADS", 3)
    arrays, expected = (results(name, device, np.float64) for device in (gpu, CPU))
    assert_equal(arrays, expected, 1e-12)


@each_recurrence
def test_half_precision_takes_the_reference(name, strict, monkeypatch):
    monkeypatch.setattr(kernels, "_run", None)
    device = chainer.get_device(0)
    arrays, expected = (results(name, place, np.float16) for place in (device, CPU))
    assert_equal(arrays, expected, 1e-2)


@each_recurrence
def test_one_kernel_serves_a_whole_window_while_its_matrix_is_small(name, strict, monkeypatch):
    starts = []

    def run(self, grid, block, arguments, **options):
        starts.append(arguments[:3])

    monkeypatch.setattr("strict_kernels.RawKernel.__call__", run)
    for largest in (2**20, 0):
        monkeypatch.setattr(kernels, "LARGEST_MATRIX", largest)
        results(name, chainer.get_device(0), np.float32)
    stages = range(2 if name == "gru" else 1)
    forward = [(stage, t, t + 1) for t in range(T) for stage in stages]
    backward = [(stage, t, t + 1) for t in reversed(range(T)) for stage in stages]
    assert starts == [(-1, 0, T), (-1, 0, T), *forward, *backward]
