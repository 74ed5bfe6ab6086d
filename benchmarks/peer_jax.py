"""JAX: ``lax.scan`` over the window, loss, gradient and Adam in one function under ``jit``.

Compilation takes place in the warm-up and is not counted. Parameters, moments and state are
donated, so that XLA may update them in place.
"""

import functools
import os
from collections.abc import Mapping
from typing import Any

# Set before JAX reads them.
os.environ["JAX_PLATFORMS"] = "cpu"
if os.environ.get("OMP_NUM_THREADS") == "1":  # a variable that JAX itself does not know
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
from numpy.typing import NDArray

from benchmarks.workload import (
    DEFAULT,
    DROPOUT,
    LEARNING_RATE,
    Size,
    make_windows,
    run_measure,
    time_updates,
)

Layer = Mapping[str, jax.Array]
LayerState = tuple[jax.Array, ...]
Params = dict[str, Any]  # a tree of arrays: of the embedding, of each layer, of the output
Training = tuple[Params, Params, Params, jax.Array, jax.Array]  # as update_step has it

N_LAYERS = {"rnn": 1, "rnn2": 3, "lstm": 2}


def elman_layer(params: Layer, xs: jax.Array, state: LayerState) -> tuple[jax.Array, LayerState]:
    """Outputs ``(T, B, U)`` and next state of one Elman layer."""

    def step(h: jax.Array, a: jax.Array) -> tuple[jax.Array, jax.Array]:
        h = jnp.tanh(a + h @ params["R"])
        return h, h

    h, hs = jax.lax.scan(step, state[0], xs @ params["W"] + params["b"])
    return hs, (h,)


def lstm_layer(params: Layer, xs: jax.Array, state: LayerState) -> tuple[jax.Array, LayerState]:
    """Outputs ``(T, B, U)`` and next state of one LSTM layer."""

    def step(state: LayerState, gates: jax.Array) -> tuple[LayerState, jax.Array]:
        h, c = state
        a, i, f, o = jnp.split(gates + h @ params["R"], 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(a)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    state, hs = jax.lax.scan(step, state, xs @ params["W"] + params["b"])
    return hs, state


def initial(arch: str, size: Size) -> tuple[Params, list[LayerState]]:
    """Parameters and state of an architecture."""
    n_vocab, n_units, batch, _ = size
    gates, n_states = (4, 2) if arch == "lstm" else (1, 1)
    keys = iter(jax.random.split(jax.random.key(0), 8))

    def weight(*shape: int) -> jax.Array:
        return jax.random.uniform(next(keys), shape, minval=-0.1, maxval=0.1)

    layers = [
        {
            "W": weight(n_units, gates * n_units),
            "R": weight(n_units, gates * n_units),
            "b": jnp.zeros(gates * n_units),
        }
        for _ in range(N_LAYERS[arch])
    ]
    output = {"W": weight(n_units, n_vocab), "b": jnp.zeros(n_vocab)}
    params = {"embed": weight(n_vocab, n_units), "layers": layers, "output": output}
    state = [tuple(jnp.zeros((batch, n_units)) for _ in range(n_states)) for _ in layers]
    return params, state


def loss_of_window(
    params: Params,
    state: list[LayerState],
    key: jax.Array,
    x: jax.Array,
    t: jax.Array,
    arch: str,
) -> tuple[jax.Array, tuple[list[LayerState], jax.Array]]:
    """Loss, summed over the steps and averaged over the batch; accuracy and state beside it."""
    layer = lstm_layer if arch == "lstm" else elman_layer
    keys = iter(jax.random.split(key, len(state) + 1))

    def drop(h: jax.Array) -> jax.Array:
        if arch != "lstm":
            return h
        return h * jax.random.bernoulli(next(keys), 1 - DROPOUT, h.shape) / (1 - DROPOUT)

    h = drop(params["embed"][x])
    states = []
    for layer_params, layer_state in zip(params["layers"], state, strict=True):
        h, layer_state = layer(layer_params, h, layer_state)
        h = drop(h)
        states.append(layer_state)
    logits = h @ params["output"]["W"] + params["output"]["b"]
    log_p = jax.nn.log_softmax(logits)
    loss = -jnp.take_along_axis(log_p, t[..., None], axis=2).sum() / x.shape[1]
    return loss, (states, (logits.argmax(axis=2) == t).mean())


@functools.partial(jax.jit, static_argnames="arch", donate_argnums=(0, 1))
def update_step(
    training: Training, state: list[LayerState], x: jax.Array, t: jax.Array, arch: str
) -> tuple[Training, list[LayerState], jax.Array, jax.Array]:
    """One update by Adam; ``training`` holds parameters, both moments, count and key."""
    params, m, v, n_updates, key = training
    key, dropout_key = jax.random.split(key)
    gradient = jax.value_and_grad(loss_of_window, has_aux=True)
    (loss, (state, accuracy)), g = gradient(params, state, dropout_key, x, t, arch)
    n_updates += 1
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
    rate = LEARNING_RATE * jnp.sqrt(1 - 0.999**n_updates) / (1 - 0.9**n_updates)
    params = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + 1e-8), params, m, v)
    return (params, m, v, n_updates, key), state, loss, accuracy


def updates(arch: str, count: int, repetitions: int) -> list[float]:
    """Seconds of ``count`` updates, a list."""
    params, state = initial(arch, DEFAULT)
    m, v = (jax.tree.map(jnp.zeros_like, params) for _ in range(2))
    training = params, m, v, jnp.zeros((), jnp.int32), jax.random.key(1)

    def update(x: NDArray[np.int32], t: NDArray[np.int32]) -> None:
        nonlocal training, state
        training, state, loss, _ = update_step(training, state, x, t, arch)
        loss.block_until_ready()

    windows = zip(*make_windows(DEFAULT), strict=True)
    return time_updates(update, windows, count, repetitions)


def arithmetic() -> str:
    """What multiplies beneath JAX, as far as the program compiled for one product shows it."""
    arrays = jnp.ones((DEFAULT.batch, DEFAULT.n_units)), jnp.ones((DEFAULT.n_units,) * 2)
    program = jax.jit(jnp.dot).lower(*arrays).compile().as_text().lower()
    marks = {"ynn": "YNNPACK", "onednn": "oneDNN", "xnn": "XNNPACK"}
    library = next((name for mark, name in marks.items() if mark in program), "XLA or Eigen")
    threads = "one thread" if "XLA_FLAGS" in os.environ else "threads as XLA chooses"
    return f"jaxlib {jaxlib.__version__}, products by {library}, {threads}"


if __name__ == "__main__":
    run_measure({"updates": updates}, arithmetic)
