"""Everything that runs on a GPU, beside the same on the CPU.

Each test runs on ``strict_array`` first, which stands for CuPy and refuses to be mixed with NumPy,
so that no NumPy array slips into what runs on a device; then, marked ``gpu``, on a real one.
"""

import json

import chainer
import chainer.functions as F
import numpy as np
import pytest
import strict_array
from chainer.backends import cuda
from chainer.optimizer_hooks import GradientClipping
from chainer.serializers import DictionarySerializer, NpzDeserializer

import predict_simple_sequence
import train_simple_sequence
from bptt_updater import BPTTUpdater
from counting.traces import record
from extensions.evaluation import WindowEvaluator
from extensions.finite_loss import NotFinite
from models import ARCHS, RNN, RNN2, RNN3
from models.adam import Adam
from models.classifier import Classifier
from models.generation import generate
from models.recurrences.dropout import dropout_mask
from parallel_sequential_iterator import ParallelSequentialIterator
from support.command_line import CommandError, UsageError
from tests.extensions.test_finite_loss import Training

CPU = chainer.get_device("@numpy")
V, U, B, T = 7, 5, 3, 4
TOKENS = np.random.RandomState(7).randint(V, size=50).astype(np.int32)

each_arch = pytest.mark.parametrize("arch", ARCHS)


def classifier(device, model):
    """A classifier that depends on nothing but its kind; the parameters are large enough to matter.

    Args:
        device (chainer.backend.Device): where it goes.
        model: called without arguments, gives the model.
    """
    np.random.seed(0)
    link = Classifier(model())
    for _, param in sorted(link.namedparams()):
        param.array[...] = np.random.uniform(-0.8, 0.8, param.shape)
    link.to_device(device)
    return link


def of(arch, n_vocab=V, n_units=U):
    return lambda: ARCHS[arch](n_vocab, n_units)


def bptt_updater(device, model, batch_size=B):
    optimizer = Adam(0.01).setup(classifier(device, model))
    optimizer.add_hook(GradientClipping(0.5))
    return BPTTUpdater(ParallelSequentialIterator(TOKENS, batch_size), optimizer, T, device)


def trained(device, model, n_updates=4, **options):
    updater = bptt_updater(device, model, **options)
    for _ in range(n_updates):
        updater.update()
    return updater


def saved(updater):
    """All that a snapshot holds of the updater, as NumPy arrays."""
    serializer = DictionarySerializer()
    serializer.save(updater)
    return serializer.target


def assert_close(arrays, expected):
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        if name.startswith("model:main/"):
            assert expected[name].dtype == array.dtype == np.float32
        np.testing.assert_allclose(array, expected[name], 1e-4, 1e-4, err_msg=name)


@each_arch
class TestTraining:
    # With more words than predictions the embedding's gradient is computed in another way.
    @pytest.mark.parametrize("sizes", [(V, U, B), (T * B + 1, 1, B), (V, 3, 1)])
    def test_equals_that_on_the_cpu(self, arch, sizes, gpu):
        n_vocab, n_units, batch_size = sizes
        model = of(arch, n_vocab, n_units)
        updaters = (trained(device, model, batch_size=batch_size) for device in (gpu, CPU))
        assert_close(*map(saved, updaters))

    def test_keeps_everything_on_the_device(self, arch, gpu):
        target = trained(gpu, of(arch)).get_optimizer("main").target
        arrays = [target.loss.array, target.accuracy.array]
        for param in target.params():
            arrays += [param.array, param.grad, *param.update_rule.state.values()]
        for link in target.links():
            arrays += [getattr(link, name).array for name in getattr(link, "state_names", ())]
        assert {type(array) for array in arrays} == {cuda.ndarray}

    def test_moves_the_ids_and_the_targets_once_an_update_and_nothing_back(self, arch, strict):
        updater = trained(chainer.get_device(0), of(arch), 1)
        strict.transfers.clear()
        for _ in range(3):
            updater.update()
        assert strict.transfers == 3 * 2 * [("to device", (T, B))]


@pytest.mark.parametrize(("model", "activation"), [(RNN2, F.relu), (RNN3, F.identity)])
def test_training_equals_that_on_the_cpu_for_other_activations(model, activation, gpu):
    updaters = (trained(device, lambda: model(V, U, activation), 2) for device in (gpu, CPU))
    assert_close(*map(saved, updaters))


@pytest.mark.parametrize("model", [RNN2, RNN3])
def test_training_equals_that_on_the_cpu_step_by_step(model, gpu):
    updaters = (trained(device, lambda: model(V, U, F.sigmoid), 2) for device in (gpu, CPU))
    assert_close(*map(saved, updaters))


# The second ratio is just the hash of the first unit, which is kept then. Steps go beyond 32 bits.
@pytest.mark.parametrize("ratio", [0.25, 486 / 2**16])
@pytest.mark.parametrize("first_stream", [0, 2])
def test_dropout_masks_are_those_of_the_cpu(ratio, first_stream, gpu):
    arguments = ratio, (T, B, U), 2**31 + 5, 2, 2**32 - 2, first_stream
    mask = dropout_mask(gpu.xp, *arguments)
    np.testing.assert_array_equal(mask.get(), dropout_mask(np, *arguments))


@each_arch
class TestEvaluation:
    def evaluator(self, device, arch):
        return WindowEvaluator(
            ParallelSequentialIterator(TOKENS, B, repeat=False),
            classifier(device, of(arch)),
            window=7,
            device=device,
            two_periods=TOKENS,
            eval_hook=lambda evaluator: evaluator.get_target("main").predictor.reset_state(),
        )

    def test_equals_that_on_the_cpu(self, arch, gpu):
        result, expected = (self.evaluator(device, arch)() for device in (gpu, CPU))
        assert result == pytest.approx(expected, abs=1e-4)

    def test_moves_each_window_once(self, arch, strict):
        evaluator = self.evaluator(chainer.get_device(0), arch)
        strict.transfers.clear()
        evaluator()
        moved = [shape for direction, shape in strict.transfers if direction == "to device"]
        assert moved == 2 * [(7, B)] + 2 * [(7, B)] + 2 * [(3, B)]  # 50 tokens are 17 steps


@each_arch
def test_prediction_and_traces_equal_those_on_the_cpu(arch, gpu):
    models = [classifier(device, of(arch)).predictor for device in (gpu, CPU)]
    written, expected = (generate(model, [1], 20).tolist() for model in models)
    assert written == expected
    traces, expected = (record(model, model.xp.asarray(TOKENS), layer=1) for model in models)
    for trace, on_the_cpu in zip(traces, expected, strict=True):
        np.testing.assert_allclose(trace, on_the_cpu, 1e-4, 1e-4)


@each_arch
@pytest.mark.parametrize("way", ["to the GPU", "from the GPU"])
def test_snapshot_goes_on_on_the_other_device(arch, way, gpu):
    before, after = (CPU, gpu) if way == "to the GPU" else (gpu, CPU)
    updater = bptt_updater(after, of(arch))
    NpzDeserializer(saved(trained(before, of(arch), 3))).load(updater)
    for _ in range(2):
        updater.update()
    assert_close(saved(updater), saved(trained(CPU, of(arch), 5)))


@each_arch
def test_state_moves_with_the_model(arch, gpu):
    x = TOKENS.reshape(-1, 2)
    moved, stayed = (classifier(CPU, of(arch)).predictor for _ in range(2))
    with chainer.using_config("train", False):
        for device in (CPU, gpu, CPU):
            moved.to_device(device)
            logits, expected = moved(device.send(x)).array, stayed(x).array
            np.testing.assert_allclose(CPU.send(logits), expected, 1e-4, 1e-4)


def test_losses_are_read_together_once_an_epoch(strict):
    training = Training(lambda loss: strict.asarray(np.float32(loss)))
    for _ in range(5):
        training.update(1.0)
    strict.transfers.clear()
    training.update(1.0, is_new_epoch=True)
    assert [copy for copy in strict.transfers if copy[0] == "to host"] == [("to host", "get")]
    training.update(1.0)
    with pytest.raises(NotFinite, match="the loss is nan at iteration 8"):
        training.update(np.nan, is_new_epoch=True)


class TestCommands:
    OPTIONS = ("-alstm", "-u6", "-b4", "-l5", "--n-vocab=6", "--repeat=6", "--gradclip=1")

    def train(self, folder, device, *options):
        argv = [*self.OPTIONS, f"-g{device}", f"-o{folder}", *options]
        assert train_simple_sequence.main(argv) == 0
        return json.loads((folder / "log").read_text())

    def test_resume_on_another_device_and_predict(self, gpu, tmp_path, capsys):
        self.train(tmp_path / "moved", 0, "-e1")
        self.train(tmp_path / "moved", -1, "-e2", "-rauto")
        moved = self.train(tmp_path / "moved", 0, "-e3", "-rauto")
        assert "Changed since: --gpu is 0, was -1" in capsys.readouterr().out
        stayed = self.train(tmp_path / "stayed", -1, "-e3")
        assert len(moved) == len(stayed) == 3
        for entry, expected in zip(moved, stayed, strict=True):
            del entry["elapsed_time"], expected["elapsed_time"]
            assert entry == pytest.approx(expected, abs=1e-4)
        written = set()
        for device in (0, -1):
            capsys.readouterr()
            model = tmp_path / "moved" / "lstm_simple_sequence.model"
            assert predict_simple_sequence.main([f"-g{device}", f"-m{model}", "-l20"]) == 0
            written.add(capsys.readouterr().out)
        assert len(written) == 1

    def test_nan_stops_the_run_and_is_never_saved(self, gpu, tmp_path):
        with pytest.raises(CommandError, match=r"iteration \d+; "):
            self.train(tmp_path, 0, "-arnn2", "-e9", "--lr=1e38", "--snapshot-every=1")
        snapshots = [np.load(path) for path in tmp_path.glob("snapshot_iter_*")]
        assert snapshots
        for snapshot in snapshots:
            assert all(np.isfinite(snapshot[name]).all() for name in snapshot if "model" in name)

    @pytest.mark.parametrize("command", [train_simple_sequence, predict_simple_sequence])
    def test_device_that_is_not_there_is_refused(self, command, gpu):
        with pytest.raises(
            UsageError, match="-g/--gpu: 99 is not a CUDA device of this machine; choose from 0"
        ):
            command.main(["-g99"])


class WrongRNN(RNN):
    """Does something with the ids on their way that works on the CPU only."""

    def __init__(self, wrong):
        super().__init__(V, U)
        self.wrong = wrong

    def forward(self, x):
        return super().forward(self.wrong(x))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: np.zeros(B, np.int32) + x,
        lambda x: np.maximum(x, 0),
        lambda x: x[np.arange(T)],
    ],
)
def test_tests_above_would_see_numpy_in_a_model(wrong, strict):
    trained(CPU, lambda: WrongRNN(wrong))
    with pytest.raises(TypeError):
        trained(chainer.get_device(0), lambda: WrongRNN(wrong))


def test_tests_above_would_see_a_model_that_waits(strict):
    wait = lambda x: x if x.max() >= 0 else -x  # noqa: E731
    trained(chainer.get_device(0), lambda: WrongRNN(wait), 1)
    assert ("to host", "bool") in strict_array.transfers
