"""The loops over time on a GPU, where launching kernels takes most of a small network's update.

Each function computes the same as its namesake in ``elman.py``, ``lstm.py`` or ``models/gru.py``,
which explains the arithmetic. While the recurrent matrix is small, one kernel takes all steps of a
window: streams do not depend on each other, so each has its own block of threads, which waits for
no other. With a large matrix, every block would read it in every step. So each step is then one
matrix product for all streams, and a launch of the same kernel for the rest of that step.

In the kernels ``T`` is the number type, ``B`` the number of streams, ``U`` the number of units,
``b`` the block's stream, and ``j`` a unit. With a negative ``stage`` the kernel computes the
products itself. Otherwise it does what follows the product of that number, or, backward, what
precedes it.
"""

import functools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from chainer.backends import cuda
from chainer.types import NdArray

if TYPE_CHECKING:
    from models.recurrences.elman import Activation

LARGEST_MATRIX = 2**20  # bytes that each block may read in each step
_LARGEST_SHARED = 48 * 2**10  # bytes of shared memory that a block has on every GPU
_THREADS = 512  # of a block, at most
_TYPES = {"f": "float", "d": "double"}

_FRAME = """
typedef TYPE T;

// out = v M for a vector of K numbers and a matrix (K, N); what v holds may just have been written.
__device__ void product(const T* v, const T* M, T* out, ptrdiff_t K, ptrdiff_t N) {
    extern __shared__ T shared[];
    __syncthreads();
    for (ptrdiff_t k = threadIdx.x; k < K; k += blockDim.x) {
        shared[k] = v[k];
    }
    __syncthreads();
    for (ptrdiff_t j = threadIdx.x; j < N; j += blockDim.x) {
        T sum = 0;
        for (ptrdiff_t k = 0; k < K; k++) {
            sum += shared[k] * M[k * N + j];
        }
        out[j] = sum;
    }
    __syncthreads();
}

extern "C" __global__ void __launch_bounds__(512) NAME(
    ptrdiff_t stage, ptrdiff_t first, ptrdiff_t last, ptrdiff_t B, ptrdiff_t U, PARAMETERS) {
    ptrdiff_t b = blockIdx.x;
    STEPS
}
"""


class _Kernel(NamedTuple):
    name: str
    parameters: str
    steps: str


class _Product(NamedTuple):
    """A matrix product of every step."""

    vectors: NdArray  # (T, B, K)
    matrix: NdArray  # (K, N)
    out: NdArray  # (B, N)


def serve(x: NdArray) -> bool:
    """Whether these functions apply to the array: on a GPU, and not of half precision."""
    return isinstance(x, cuda.ndarray) and x.dtype.char in _TYPES


@functools.cache
def _source(kernel: _Kernel, dtype: str, act: "Activation | None") -> str:
    text = _FRAME.replace("TYPE", _TYPES[dtype]).replace("NAME", kernel.name)
    text = text.replace("PARAMETERS", kernel.parameters).replace("STEPS", kernel.steps)
    return (
        text
        if act is None
        else text.replace("ACT(z)", act.cuda).replace("SLOPE(h)", act.cuda_slope)
    )


def _run(
    kernel: _Kernel,
    n_units: int,
    products: list[_Product],
    *arrays: NdArray | int,
    act: "Activation | None" = None,
    backward: bool = False,
) -> None:
    """Take every step of a window, from the first, or backward from the last.

    Args:
        kernel: its parameters are ``matrix`` and ``out`` of each product, and then ``arrays``.
        n_units (int): ``U``.
        products: in the order in which a step needs them.
    """
    n_steps, batch = products[0].vectors.shape[:2]
    widths = [product.out.shape[1] for product in products]
    block = (min(_THREADS, -(-max(widths) // 32) * 32),)
    raw = cuda.raw(_source(kernel, products[0].out.dtype.char, act), kernel.name)
    arguments = [batch, n_units]
    for _, matrix, out in products:
        arguments += [matrix, out]
    arguments += arrays
    shared = max(len(matrix) * matrix.itemsize for _, matrix, _ in products)
    n_bytes = sum(matrix.nbytes for _, matrix, _ in products)
    if n_bytes <= LARGEST_MATRIX and shared <= _LARGEST_SHARED:
        raw((batch,), block, (-1, 0, n_steps, *arguments), shared_mem=shared)
        return
    for t in reversed(range(n_steps)) if backward else range(n_steps):
        for stage, (vectors, matrix, out) in enumerate(products):
            if not backward:
                vectors[t].dot(matrix, out)
            raw((batch,), block, (stage, t, t + 1, *arguments))
            if backward:
                vectors[t].dot(matrix, out)


def elman(states: NdArray, R: NdArray, act: "Activation") -> None:
    """As ``models.recurrences.elman._unroll``."""
    xp = cuda.cupy
    before = states[:-1]
    products = [_Product(before, xp.ascontiguousarray(R.T), xp.empty_like(states[0]))]
    _run(_ELMAN, len(R), products, states, act=act)


_ELMAN = _Kernel(
    "elman",
    "const T* M, T* lateral, T* states",
    """
    for (ptrdiff_t t = first; t < last; t++) {
        if (stage < 0) {
            product(states + (t * B + b) * U, M, lateral + b * U, U, U);
        }
        for (ptrdiff_t j = threadIdx.x; j < U; j += blockDim.x) {
            ptrdiff_t i = ((t + 1) * B + b) * U + j;
            T z = states[i] + lateral[b * U + j];
            states[i] = ACT(z);
        }
    }
    """,
)


def elman_backward(g: NdArray, hs: NdArray, R: NdArray, act: "Activation") -> NdArray:
    """As ``models.recurrences.elman._unroll_backward``."""
    xp = cuda.cupy
    into_h = xp.zeros_like(g[0])
    products = [_Product(g, xp.ascontiguousarray(R), into_h)]
    _run(_ELMAN_BACKWARD, len(R), products, g, hs, act=act, backward=True)
    return into_h


_ELMAN_BACKWARD = _Kernel(
    "elman_backward",
    "const T* M, T* into_h, T* g, const T* hs",
    """
    for (ptrdiff_t t = last - 1; t >= first; t--) {
        for (ptrdiff_t j = threadIdx.x; j < U; j += blockDim.x) {
            ptrdiff_t i = (t * B + b) * U + j;
            T h = hs[i];
            g[i] = (g[i] + into_h[b * U + j]) * (SLOPE(h));
        }
        if (stage < 0) {
            product(g + (t * B + b) * U, M, into_h + b * U, U, U);
        }
    }
    """,
)


def concat_elman(
    joined: NdArray, states: NdArray, from_state: NdArray, act: "Activation"
) -> NdArray:
    """Every step of ``[y_t ; h_t] = act(joined_t + from_state h_{t-1})``.

    Args:
        joined (array): the share of inputs and bias, ``(T, B, U + R)``.
        states (array): ``(T + 1, B, R)``; filled beyond its first row.
        from_state (array): columns of the layer's matrix that multiply the state, ``(U + R, R)``.

    Returns:
        array: the outputs ``y``, ``(T, B, U)``.
    """
    xp = cuda.cupy
    n_units = joined.shape[2] - states.shape[2]
    ys = xp.empty((*joined.shape[:2], n_units), joined.dtype)
    M = xp.ascontiguousarray(from_state.T)
    products = [_Product(states[:-1], M, xp.empty_like(joined[0]))]
    _run(_CONCAT_ELMAN, n_units, products, states.shape[2], joined, ys, states, act=act)
    return ys


_CONCAT_ELMAN = _Kernel(
    "concat_elman",
    "const T* M, T* lateral, ptrdiff_t R, const T* joined, T* ys, T* states",
    """
    for (ptrdiff_t t = first; t < last; t++) {
        if (stage < 0) {
            product(states + (t * B + b) * R, M, lateral + b * (U + R), R, U + R);
        }
        for (ptrdiff_t j = threadIdx.x; j < U + R; j += blockDim.x) {
            T z = joined[(t * B + b) * (U + R) + j] + lateral[b * (U + R) + j];
            if (j < U) {
                ys[(t * B + b) * U + j] = ACT(z);
            } else {
                states[((t + 1) * B + b) * R + j - U] = ACT(z);
            }
        }
    }
    """,
)


def concat_elman_backward(
    g_ys: NdArray,
    into_h: NdArray,
    ys: NdArray,
    hs: NdArray,
    from_state: NdArray,
    act: "Activation",
) -> NdArray:
    """Every step of :func:`concat_elman` from the last.

    Args:
        g_ys (array): gradients of the outputs, ``(T, B, U)``.
        into_h (array): gradient of the last state from outside, ``(B, R)``; becomes that of the
            state before the window.
        ys, hs (array): outputs ``(T, B, U)`` and states after each step ``(T, B, R)``.
        from_state: as there.

    Returns:
        array: gradient before the activation, ``(T, B, U + R)``.
    """
    xp = cuda.cupy
    n_steps, batch, n_units = ys.shape
    g = xp.empty((n_steps, batch, len(from_state)), ys.dtype)
    products = [_Product(g, xp.ascontiguousarray(from_state), into_h)]
    arrays = hs.shape[2], xp.ascontiguousarray(g_ys), ys, hs, g
    _run(_CONCAT_ELMAN_BACKWARD, n_units, products, *arrays, act=act, backward=True)
    return g


_CONCAT_ELMAN_BACKWARD = _Kernel(
    "concat_elman_backward",
    "const T* M, T* into_h, ptrdiff_t R, const T* g_ys, const T* ys, const T* hs, T* g",
    """
    for (ptrdiff_t t = last - 1; t >= first; t--) {
        for (ptrdiff_t j = threadIdx.x; j < U + R; j += blockDim.x) {
            ptrdiff_t i = (t * B + b) * (U + R) + j;
            if (j < U) {
                T h = ys[(t * B + b) * U + j];
                g[i] = g_ys[(t * B + b) * U + j] * (SLOPE(h));
            } else {
                T h = hs[(t * B + b) * R + j - U];
                g[i] = into_h[b * R + j - U] * (SLOPE(h));
            }
        }
        if (stage < 0) {
            product(g + (t * B + b) * (U + R), M, into_h + b * R, U + R, R);
        }
    }
    """,
)


def lstm(gates: NdArray, cs: NdArray, hs: NdArray, R: NdArray) -> tuple[NdArray, NdArray]:
    """As ``models.recurrences.lstm._unroll``; the gates stay interleaved, ``(T, B, U, 4)``."""
    xp = cuda.cupy
    tanh_cs = xp.empty_like(cs[1:])
    lateral = xp.empty((len(hs[0]), len(R)), R.dtype)
    products = [_Product(hs[:-1], xp.ascontiguousarray(R.T), lateral)]
    _run(_LSTM, R.shape[1], products, gates, cs, tanh_cs, hs)
    return gates, tanh_cs


_LSTM = _Kernel(
    "lstm",
    "const T* M, T* lateral, T* gates, T* cs, T* tanh_cs, T* hs",
    """
    for (ptrdiff_t t = first; t < last; t++) {
        if (stage < 0) {
            product(hs + (t * B + b) * U, M, lateral + b * 4 * U, U, 4 * U);
        }
        for (ptrdiff_t j = threadIdx.x; j < U; j += blockDim.x) {
            ptrdiff_t k = (b * U + j) * 4;
            ptrdiff_t before = (t * B + b) * U + j;
            ptrdiff_t after = before + B * U;
            ptrdiff_t gate = before * 4;
            T a = tanh(gates[gate] + lateral[k]);
            T i = T(0.5) + T(0.5) * tanh(T(0.5) * (gates[gate + 1] + lateral[k + 1]));
            T f = T(0.5) + T(0.5) * tanh(T(0.5) * (gates[gate + 2] + lateral[k + 2]));
            T o = T(0.5) + T(0.5) * tanh(T(0.5) * (gates[gate + 3] + lateral[k + 3]));
            gates[gate] = a;
            gates[gate + 1] = i;
            gates[gate + 2] = f;
            gates[gate + 3] = o;
            T c = f * cs[before] + a * i;
            T tanh_c = tanh(c);
            cs[after] = c;
            tanh_cs[before] = tanh_c;
            hs[after] = o * tanh_c;
        }
    }
    """,
)


def lstm_backward(
    g_h: NdArray, g_c: NdArray, gates: NdArray, cs: NdArray, tanh_cs: NdArray, R: NdArray
) -> tuple[NdArray, NdArray]:
    """As ``models.recurrences.lstm._unroll_backward``; the gates stay interleaved."""
    xp = cuda.cupy
    g_gates = xp.empty_like(gates)
    into_h = xp.zeros_like(g_c)
    vectors = g_gates.reshape(*g_h.shape[:2], -1)
    products = [_Product(vectors, xp.ascontiguousarray(R), into_h)]
    arrays = g_h, g_c, gates, cs, tanh_cs, g_gates
    _run(_LSTM_BACKWARD, R.shape[1], products, *arrays, backward=True)
    return g_gates, into_h


_LSTM_BACKWARD = _Kernel(
    "lstm_backward",
    "const T* M, T* into_h, const T* g_h, T* g_c, const T* gates, const T* cs, const T* tanh_cs, "
    "T* g_gates",
    """
    for (ptrdiff_t t = last - 1; t >= first; t--) {
        for (ptrdiff_t j = threadIdx.x; j < U; j += blockDim.x) {
            ptrdiff_t unit = b * U + j;
            ptrdiff_t place = t * B * U + unit;
            ptrdiff_t gate = place * 4;
            T a = gates[gate];
            T i = gates[gate + 1];
            T f = gates[gate + 2];
            T o = gates[gate + 3];
            T tanh_c = tanh_cs[place];
            T into_o = g_h[place] + into_h[unit];
            T into_c = g_c[unit] + into_o * o * (1 - tanh_c * tanh_c);
            g_gates[gate] = into_c * i * (1 - a * a);
            g_gates[gate + 1] = into_c * a * (i - i * i);
            g_gates[gate + 2] = into_c * cs[place] * (f - f * f);
            g_gates[gate + 3] = into_o * tanh_c * (o - o * o);
            g_c[unit] = into_c * f;
        }
        if (stage < 0) {
            product(g_gates + (t * B + b) * 4 * U, M, into_h + b * U, 4 * U, U);
        }
    }
    """,
)


def gru(gates: NdArray, hs: NdArray, U: NdArray) -> tuple[NdArray, NdArray]:
    """As ``models.gru._unroll``; the gates stay in the order of streams, ``(T, B, 3, U)``."""
    xp = cuda.cupy
    n_units = U.shape[2]
    ps = xp.empty_like(hs[1:])
    U_rz = xp.ascontiguousarray(U[:2].reshape(-1, n_units).T)
    products = [
        _Product(hs[:-1], U_rz, xp.empty((len(hs[0]), 2 * n_units), hs.dtype)),
        _Product(ps, xp.ascontiguousarray(U[2].T), xp.empty_like(hs[0])),
    ]
    _run(_GRU, n_units, products, gates, hs, ps)
    return gates, ps


_GRU = _Kernel(
    "gru",
    "const T* M_rz, T* lateral_rz, const T* M_a, T* lateral_a, T* gates, T* hs, T* ps",
    """
    for (ptrdiff_t t = first; t < last; t++) {
        if (stage < 0) {
            product(hs + (t * B + b) * U, M_rz, lateral_rz + b * 2 * U, U, 2 * U);
        }
        if (stage != 1) {
            for (ptrdiff_t j = threadIdx.x; j < U; j += blockDim.x) {
                ptrdiff_t i = (t * B + b) * U + j;
                ptrdiff_t gate = (t * B + b) * 3 * U + j;
                ptrdiff_t k = b * 2 * U + j;
                T r = T(0.5) + T(0.5) * tanh(T(0.5) * (gates[gate] + lateral_rz[k]));
                T z = T(0.5) + T(0.5) * tanh(T(0.5) * (gates[gate + U] + lateral_rz[k + U]));
                gates[gate] = r;
                gates[gate + U] = z;
                ps[i] = r * hs[i];
            }
        }
        if (stage < 0) {
            product(ps + (t * B + b) * U, M_a, lateral_a + b * U, U, U);
        }
        if (stage != 0) {
            for (ptrdiff_t j = threadIdx.x; j < U; j += blockDim.x) {
                ptrdiff_t i = (t * B + b) * U + j;
                ptrdiff_t gate = (t * B + b) * 3 * U + j;
                T a = tanh(gates[gate + 2 * U] + lateral_a[b * U + j]);
                gates[gate + 2 * U] = a;
                hs[i + B * U] = hs[i] + gates[gate + U] * (a - hs[i]);
            }
        }
    }
    """,
)


def gru_backward(g_h: NdArray, gates: NdArray, hs: NdArray, U: NdArray) -> tuple[NdArray, NdArray]:
    """As ``models.gru._unroll_backward``; the gates stay in the order of streams."""
    xp = cuda.cupy
    n_units = U.shape[2]
    g_rz = xp.empty((*g_h.shape[:2], 2 * n_units), g_h.dtype)
    g_a = xp.empty_like(g_h)
    kept, lateral = xp.zeros_like(hs[0]), xp.zeros_like(hs[0])  # the two parts of g_h_{t-1}
    products = [
        _Product(g_a, U[2], xp.empty_like(hs[0])),
        _Product(g_rz, U[:2].reshape(-1, n_units), lateral),
    ]
    arrays = g_h, gates, hs, g_rz, g_a, kept
    _run(_GRU_BACKWARD, n_units, products, *arrays, backward=True)
    g_gates = xp.concatenate((g_rz, g_a), axis=2)
    return g_gates.reshape(*g_h.shape[:2], 3, n_units), kept + lateral


_GRU_BACKWARD = _Kernel(
    "gru_backward",
    "const T* M_a, T* g_p, const T* M_rz, T* lateral, T* g_h, const T* gates, const T* hs, "
    "T* g_rz, T* g_a, T* kept",
    """
    for (ptrdiff_t t = last - 1; t >= first; t--) {
        if (stage != 1) {
            for (ptrdiff_t j = threadIdx.x; j < U; j += blockDim.x) {
                ptrdiff_t i = (t * B + b) * U + j;
                ptrdiff_t gate = (t * B + b) * 3 * U + j;
                T z = gates[gate + U];
                T a = gates[gate + 2 * U];
                T g = g_h[i] + kept[b * U + j] + lateral[b * U + j];
                g_h[i] = g;
                g_rz[(t * B + b) * 2 * U + U + j] = g * (a - hs[i]) * (z - z * z);
                g_a[i] = g * z * (1 - a * a);
            }
        }
        if (stage < 0) {
            product(g_a + (t * B + b) * U, M_a, g_p + b * U, U, U);
        }
        if (stage != 0) {
            for (ptrdiff_t j = threadIdx.x; j < U; j += blockDim.x) {
                ptrdiff_t i = (t * B + b) * U + j;
                ptrdiff_t gate = (t * B + b) * 3 * U + j;
                T r = gates[gate];
                T g = g_p[b * U + j];
                g_rz[(t * B + b) * 2 * U + j] = g * hs[i] * (r - r * r);
                kept[b * U + j] = g * r + g_h[i] * (1 - gates[gate + U]);
            }
        }
        if (stage < 0) {
            product(g_rz + (t * B + b) * 2 * U, M_rz, lateral + b * U, 2 * U, U);
        }
    }
    """,
)


def sum_by_id(ids: NdArray, vectors: NdArray, n_vocab: int) -> NdArray:
    """As ``models.recurrences.function.sum_by_id``, in the order of the places.

    Atomic additions (``cupy.add.at``) run in a different order each time, and so round differently.
    """
    xp = cuda.cupy
    n_places, n_units = vectors.shape
    first = xp.full(n_vocab, -1, np.int32)  # place of each id
    later = xp.empty(n_places, np.int32)  # the next place of the same id, or -1
    cuda.elementwise(
        "raw S ids, int64 n_places",
        "int32 later, raw int32 first",
        """
        S id = ids[i];
        int before = 0;
        for (int k = 0; k < i; k++) {
            before += ids[k] == id;
        }
        int next = -1;
        for (int k = n_places - 1; k > i; k--) {
            if (ids[k] == id) {
                next = k;
            }
        }
        later = next;
        if (before == 0) {
            first[id] = i;
        }
        """,
        "places_by_id",
    )(ids, n_places, later, first)
    out = xp.empty((n_vocab, n_units), vectors.dtype)
    cuda.elementwise(
        "raw int32 first, raw int32 later, raw T vectors, int64 n_units",
        "T out",
        """
        T sum = 0;
        int k = first[i / n_units];
        while (k >= 0) {
            sum += vectors[k * n_units + i % n_units];
            k = later[k];
        }
        out = sum;
        """,
        "sum_by_id",
    )(first, later, vectors, n_units, out)
    return out
