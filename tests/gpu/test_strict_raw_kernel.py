"""That the stand-in for raw kernels runs C, and refuses what on a device would be luck."""

import numpy as np
import pytest
from strict_kernels import RawKernel

SOURCE = """
typedef float T;

// Turns n numbers round; all threads have to have read before any writes.
__device__ void turn(T* x, ptrdiff_t n) {
    extern __shared__ T turned[];
    for (ptrdiff_t j = threadIdx.x; j < n; j += blockDim.x) {
        turned[n - 1 - j] = x[j];
    }
    __syncthreads();
    for (ptrdiff_t j = threadIdx.x; j < n; j += blockDim.x) {
        x[j] = turned[j];
    }
}

extern "C" __global__ void __launch_bounds__(512) k(T* x, ptrdiff_t n) {
    STATEMENTS
}
"""
TURN = "turn(x + blockIdx.x * n, n);"


@pytest.fixture
def run(strict):
    """Run statements as a kernel on the numbers 0 to 5, by 2 blocks of 2 threads."""

    def run(statements, x=None, n=3, grid=(2,), block=(2,), shared_mem=12):
        kernel = RawKernel(SOURCE.replace("STATEMENTS", statements), "k")
        x = strict.asarray(np.arange(6, dtype=np.float32)) if x is None else x
        kernel(grid, block, (x, n), shared_mem=shared_mem)
        return x.get().tolist()

    return run


def test_blocks_run_from_barrier_to_barrier(run):
    assert run(TURN) == [2, 1, 0, 5, 4, 3]


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        ("x[blockIdx.x] = 9;", [9, 9, 2, 3, 4, 5]),
        ("x[n + blockIdx.x] += 0.5;", [0, 1, 2, 3.5, 4.5, 5]),
        (
            "for (ptrdiff_t m = n; m > 1; m--) { T y = m; x[2 * blockIdx.x] = y; }",
            [2, 1, 2, 3, 4, 5],
        ),
        ("ptrdiff_t m = 0; while (m < 5) { m += 2; } x[blockIdx.x] = m;", [6, 6, 2, 3, 4, 5]),
    ],
)
def test_runs_c(statements, expected, run):
    assert run(f"if (threadIdx.x == 1) {{ {statements} }}") == expected


@pytest.mark.parametrize(
    "statements",
    [
        TURN.replace("* n", ""),  # blocks meet
        "x[0] = threadIdx.x;",
        "x[threadIdx.x] = x[0];",
        "x[3 * blockIdx.x + threadIdx.x] = 1; T y = x[3 * blockIdx.x + 1 - threadIdx.x];",
    ],
)
def test_a_race_is_an_error(statements, run):
    with pytest.raises(RuntimeError, match=r"x\[\d\] is used by two threads"):
        run(statements)


def test_a_barrier_that_some_threads_leave_out_is_an_error(run):
    with pytest.raises(RuntimeError, match="not all threads of k reach the same barrier"):
        run("if (threadIdx.x == 0) { __syncthreads(); }")


@pytest.mark.parametrize("index", ["6", "-1"])
def test_a_place_outside_is_an_error(index, run):
    with pytest.raises(IndexError):
        run(f"T y = x[{index}];")


def test_shared_memory_is_what_the_launch_says_and_holds_nothing(run):
    with pytest.raises(IndexError):
        run(TURN, shared_mem=8)
    shared = "extern __shared__ T y[]; x[3 * blockIdx.x + threadIdx.x] = y[threadIdx.x];"
    assert np.isnan(run(shared)[:2]).all()


@pytest.mark.parametrize(
    "options", [{"block": (1025,)}, {"grid": (0,)}, {"shared_mem": 48 * 2**10 + 4}]
)
def test_a_launch_beyond_the_limits_is_refused(options, run):
    with pytest.raises(ValueError, match="k cannot run with"):
        run(TURN, **options)


@pytest.mark.parametrize(
    ("error", "options"),
    [
        (TypeError, {"n": 3.0}),
        (TypeError, {"x": np.zeros(6, np.float32)}),
        (TypeError, {"x": lambda xp: xp.zeros(6, np.float64)}),
        (ValueError, {"x": lambda xp: xp.zeros(12, np.float32)[::2]}),
    ],
)
def test_refuses_arguments_that_its_parameters_do_not_say(error, options, run, strict):
    options = {name: v(strict) if callable(v) else v for name, v in options.items()}
    with pytest.raises(error):
        run(TURN, **options)


def test_refuses_arrays_that_share_memory(strict):
    x = strict.zeros(6, np.float32)
    source = SOURCE.replace("T* x, ptrdiff_t n) {\n    STATEMENTS", "T* x, const T* y) {")
    RawKernel(source, "k")((1,), (1,), (x[:3], x[3:]))
    with pytest.raises(ValueError, match="share memory"):
        RawKernel(source, "k")((1,), (1,), (x[:4], x[3:]))


@pytest.mark.parametrize(
    "statements", ["x[0]++;", "y = x[0];", "do { } while (n);", "atomicAdd(x, n);"]
)
def test_refuses_c_that_is_not_understood(statements, run):
    with pytest.raises(SyntaxError):
        run(statements)
