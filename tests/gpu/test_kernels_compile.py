"""The C of every kernel that a training runs, through NVIDIA's compiler, which needs no GPU.

The trainings run on ``strict_kernels``, which notes each kernel and what it was called with. CuPy
then wraps their C as it would for a device, and NVRTC compiles that. This is skipped where CuPy, or
what its extra ``ctk`` brings, is not installed.
"""

import chainer_compat

import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np
import pytest
import strict_array
import strict_kernels
from chainer import optimizers

from bptt_updater import BPTTUpdater
from models import ARCHS, RNN2
from parallel_sequential_iterator import ParallelSequentialIterator

cupy = pytest.importorskip("cupy")
FLOATS = "float32", 2, True
MODELS = {**ARCHS, "relu": lambda *n: RNN2(*n, F.relu), "identity": lambda *n: RNN2(*n, F.identity)}


@pytest.fixture(scope="module")
def compile_():
    """A function that compiles CUDA source, or fails the test with what the compiler says."""
    from cupy._core import core
    from cupy.cuda import nvrtc

    headers = "".join(f"#include <{name}>\n" for name in core._cupy_header_list)

    def compile_source(source):
        program = nvrtc.createProgram(headers + source, "kernel.cu", [], [])
        try:
            nvrtc.compileProgram(program, (*options, "-ftz=true", "-arch=sm_80"))
        except nvrtc.NVRTCError:
            pytest.fail(nvrtc.getProgramLog(program) + source)

    try:
        options = core.assemble_cupy_compiler_options(())
        compile_source("")
    except (pytest.fail.Exception, RuntimeError, ImportError) as error:
        text = " ".join(str(error).split())[:200]
        pytest.skip(f"NVRTC or the headers of CUDA are not installed: {text}")
    return compile_source


def noted_kernels(model, dtype):
    """The kernels of a few updates, noted in ``strict_kernels``."""
    with pytest.MonkeyPatch.context() as patch, chainer.using_config("dtype", np.dtype(dtype)):
        strict_array.install(patch)
        strict_kernels.kernels.clear()
        device = chainer.get_device(0)
        classifier = L.Classifier(model(7, 5))
        classifier.to_device(device)
        iterator = ParallelSequentialIterator(np.arange(50) % 7, 3)
        updater = BPTTUpdater(iterator, optimizers.Adam().setup(classifier), 4, device)
        for _ in range(2):
            updater.update()
        return sorted(strict_kernels.kernels, key=repr)


def cuda_source(noted):
    """What CuPy makes of such a kernel, by the private functions that its own calls go through."""
    from cupy._core import _carray, _kernel, _reduction, _scalar

    kind, name, in_params, out_params, parts, arguments = noted
    kernel = getattr(cupy, kind)(in_params, out_params, name=name, **dict(parts))
    parameters = (*kernel.in_params, *kernel.out_params)
    looped = kernel.in_params if kind == "ReductionKernel" else parameters
    n_dimensions = max(
        about[1] for about, p in zip(arguments, looped, strict=False) if about and not p.raw
    )

    def dtype_of(name):
        return np.dtype(name).type if cupy.__version__.startswith("13.") else np.dtype(name)

    def number(dtype):
        return _kernel._ArgInfo(3, _scalar.CScalar, dtype, 0, True, True)

    def array(parameter, dtype, dimensions, is_contiguous):
        if not parameter.raw and parameter in looped and dimensions < n_dimensions:
            dimensions, is_contiguous = n_dimensions, False  # it is broadcast
        return _kernel._ArgInfo(1, cupy.ndarray, dtype, dimensions, is_contiguous, True)

    def index(dimensions):
        return _kernel._ArgInfo(2, _carray.Indexer, None, dimensions, True, True)

    dtypes = [about and dtype_of(about[0]) for about in arguments]
    in_types, out_types, type_map = _kernel._decide_params_type(
        kernel.in_params,
        kernel.out_params,
        tuple(dtypes[: kernel.nin]),
        tuple(dtypes[kernel.nin :]),
    )
    infos = [
        array(parameter, dtype, *about[1:]) if about else number(dtype)
        for parameter, about, dtype in zip(
            parameters, arguments, (*in_types, *out_types), strict=True
        )
    ]
    if kind == "ElementwiseKernel":
        return _kernel._get_elementwise_kernel_code(
            (*infos, index(n_dimensions)), type_map, kernel.params, kernel.operation, name, ""
        )
    return _reduction._ReductionKernel_get_cached_function_code(
        kernel.nin,
        kernel.nout,
        kernel._params,
        (*infos, index(n_dimensions), index(0), number(dtype_of("int32"))),
        type_map,
        name,
        512,
        kernel.reduce_type,
        kernel.identity,
        kernel.map_expr,
        kernel.reduce_expr,
        kernel.post_map_expr,
        "typedef int IndexT;",  # which CuPy adds to the types when it knows the size
        (),
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("model", MODELS)
def test_kernels_of_a_training_compile(model, dtype, compile_):
    noted = noted_kernels(MODELS[model], dtype)
    assert {"adam", "crossent_fwd", "softmax_crossent_bwd"} <= {kernel[1] for kernel in noted}
    for kernel in noted:
        compile_(cuda_source(kernel))


def test_wrong_c_does_not_compile(compile_):
    noted = ("ElementwiseKernel", "k", "T x", "T y", (("operation", "y = x +"),), 2 * (FLOATS,))
    with pytest.raises(pytest.fail.Exception, match="expected an expression"):
        compile_(cuda_source(noted))
