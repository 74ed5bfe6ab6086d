"""What must hold on a GPU, checked without one: no NumPy array slips into what runs there.

The models, the updater, the evaluation and the commands run on ``strict_array``, which stands for
CuPy and refuses to be mixed with NumPy; their numbers must be those of the CPU.
"""

import chainer_compat

import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np
import pytest
from chainer import optimizers
from chainer.optimizer_hooks import GradientClipping
from chainer.serializers import DictionarySerializer, NpzDeserializer

import predict_simple_sequence
import train_simple_sequence
from bptt_updater import BPTTUpdater
from command_line import UsageError
from extensions.window_evaluator import WindowEvaluator
from models import ARCHS, RNN, RNN2, RNN3
from parallel_sequential_iterator import ParallelSequentialIterator

CPU, GPU = -1, 0
V, U, B, T = 7, 5, 3, 4
TOKENS = np.random.RandomState(7).randint(V, size=50).astype(np.int32)


def classifier(device, model):
    """A classifier that depends on nothing but its kind; the parameters are large enough to matter.

    Args:
        device (int): number of the device.
        model: called without arguments, gives the model.
    """
    np.random.seed(0)
    link = L.Classifier(model())
    for _, param in sorted(link.namedparams()):
        param.array[...] = np.random.uniform(-0.8, 0.8, param.shape)
    link.to_device(chainer.get_device(device))
    return link


def of(arch, n_vocab=V, n_units=U):
    return lambda: ARCHS[arch](n_vocab, n_units)


def bptt_updater(device, model, batch_size=B):
    optimizer = optimizers.Adam(0.01).setup(classifier(device, model))
    optimizer.add_hook(GradientClipping(0.5))
    iterator = ParallelSequentialIterator(TOKENS, batch_size)
    return BPTTUpdater(iterator, optimizer, T, chainer.get_device(device))


def trained(device, model, n_updates=4, **options):
    updater = bptt_updater(device, model, **options)
    for _ in range(n_updates):
        updater.update()
    return updater


def target(updater):
    return updater.get_optimizer("main").target


def on_the_host(array):
    return array if isinstance(array, np.ndarray) else array.get()


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
        np.testing.assert_allclose(array, expected[name], 1e-6, 1e-6, err_msg=name)


@pytest.mark.parametrize("arch", ARCHS)
class TestTraining:
    def test_equals_that_on_the_cpu(self, arch, strict):
        assert_close(saved(trained(GPU, of(arch))), saved(trained(CPU, of(arch))))

    def test_equals_that_on_the_cpu_with_more_words_than_predictions(self, arch, strict):
        model = of(arch, n_vocab=T * B + 1)
        assert_close(saved(trained(GPU, model)), saved(trained(CPU, model)))

    @pytest.mark.parametrize(("n_units", "batch_size"), [(1, 1), (1, B), (U, 1)])
    def test_equals_that_on_the_cpu_however_thin(self, arch, n_units, batch_size, strict):
        updaters = (
            trained(d, of(arch, n_units=n_units), batch_size=batch_size) for d in (GPU, CPU)
        )
        assert_close(*map(saved, updaters))

    def test_moves_the_ids_and_the_targets_once_an_update_and_nothing_back(self, arch, strict):
        updater = trained(GPU, of(arch), 1)
        strict.transfers.clear()
        for _ in range(3):
            updater.update()
        assert strict.transfers == 3 * 2 * [("to device", (T, B))]

    def test_keeps_everything_on_the_device(self, arch, strict):
        updater = trained(GPU, of(arch))
        arrays = [target(updater).loss.array, target(updater).accuracy.array]
        for param in target(updater).params():
            arrays += [param.array, param.grad, *param.update_rule.state.values()]
        for link in target(updater).links():
            arrays += [getattr(link, name).array for name in getattr(link, "state_names", ())]
        assert {type(array) for array in arrays} == {strict.ndarray}


@pytest.mark.parametrize("model", [RNN2, RNN3])
@pytest.mark.parametrize("activation", [F.relu, F.identity, F.sigmoid])
def test_training_equals_that_on_the_cpu_for_other_activations(model, activation, strict):
    trainings = (trained(device, lambda: model(V, U, activation), 2) for device in (GPU, CPU))
    assert_close(*map(saved, trainings))


@pytest.mark.parametrize("arch", ARCHS)
class TestEvaluation:
    def evaluator(self, device, arch):
        iterator = ParallelSequentialIterator(TOKENS, B, repeat=False)
        return WindowEvaluator(
            iterator,
            classifier(device, of(arch)),
            window=7,
            device=chainer.get_device(device),
            eval_hook=lambda evaluator: evaluator.get_target("main").predictor.reset_state(),
        )

    def test_equals_that_on_the_cpu(self, arch, strict):
        result, expected = (self.evaluator(device, arch)() for device in (GPU, CPU))
        assert result == pytest.approx(expected, abs=1e-6)

    def test_moves_each_window_once_and_its_two_means_back(self, arch, strict):
        evaluator = self.evaluator(GPU, arch)
        strict.transfers.clear()
        evaluator()
        expected = []
        for length in (7, 7, 3):  # 50 tokens in 3 streams are 17 steps
            expected += 2 * [("to device", (length, B))] + 2 * [("to host", "float")]
        assert strict.transfers == expected


@pytest.mark.parametrize("arch", ARCHS)
class TestPrediction:
    def test_equals_that_on_the_cpu(self, arch, strict):
        result, expected = (
            predict_simple_sequence.generate(classifier(device, of(arch)).predictor, 1, 20)
            for device in (GPU, CPU)
        )
        assert result == expected

    def test_moves_one_id_to_the_device_and_one_back_for_each_that_it_writes(self, arch, strict):
        model = classifier(GPU, of(arch)).predictor
        strict.transfers.clear()
        predict_simple_sequence.generate(model, 1, 5)
        assert strict.transfers == 5 * [("to device", (1,)), ("to host", "int")]


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize(("before", "after"), [(GPU, CPU), (CPU, GPU), (GPU, GPU)])
class TestSnapshot:
    def test_taken_on_one_device_goes_on_on_another(self, arch, before, after, strict):
        updater = bptt_updater(after, of(arch))
        NpzDeserializer(saved(trained(before, of(arch), 3))).load(updater)
        for _ in range(2):
            updater.update()
        assert_close(saved(updater), saved(trained(CPU, of(arch), 5)))


@pytest.mark.parametrize("arch", ARCHS)
class TestCommands:
    OPTIONS = ("-u6", "-b4", "-l5", "--n-vocab=6", "--repeat=6")

    def train(self, arch, *options):
        assert train_simple_sequence.main(["-a", arch, *self.OPTIONS, *options]) == 0

    def log(self, folder):
        with open(folder / "log") as file:
            return chainer.training.extensions.log_report.json.load(file)

    @pytest.mark.parametrize(("before", "after"), [(GPU, CPU), (CPU, GPU)])
    def test_snapshot_resumes_on_another_device(self, arch, before, after, strict, tmp_path):
        self.train(arch, f"-g{before}", "-e1", f"-o{tmp_path / 'moved'}")
        self.train(arch, f"-g{after}", "-e2", f"-o{tmp_path / 'moved'}", "-rauto")
        self.train(arch, f"-g{CPU}", "-e2", f"-o{tmp_path / 'stayed'}")
        moved, stayed = self.log(tmp_path / "moved"), self.log(tmp_path / "stayed")
        assert len(moved) == len(stayed) == 2
        for entry, expected in zip(moved, stayed, strict=True):
            del entry["elapsed_time"], expected["elapsed_time"]
            assert entry == pytest.approx(expected, abs=1e-6)

    def test_model_trained_on_the_device_predicts_on_either(self, arch, strict, tmp_path, capsys):
        self.train(arch, f"-g{GPU}", "-e1", f"-o{tmp_path}")
        capsys.readouterr()
        written = []
        for device in (GPU, CPU):
            model = tmp_path / f"{arch}_simple_sequence.model"
            assert predict_simple_sequence.main([f"-g{device}", f"-m{model}", "-l20"]) == 0
            written.append(capsys.readouterr().out)
        assert written[0] == written[1]


@pytest.mark.parametrize("command", [train_simple_sequence, predict_simple_sequence])
def test_device_number_that_is_too_high_is_refused(command, strict):
    with pytest.raises(UsageError, match="-g/--gpu: there is no CUDA device 1; choose from 0 to 0"):
        command.main(["-g1"])


class WrongRNN(RNN):
    """Does something with the ids on their way that works on the CPU only."""

    def __init__(self, wrong):
        super().__init__(V, U)
        self.wrong = wrong

    def forward(self, x):
        return super().forward(self.wrong(x))


class TestWrongModel:
    """That the tests above would see a mistake: these models train well on the CPU."""

    @pytest.mark.parametrize(
        "wrong",
        [
            lambda x: x + np.zeros_like(np.arange(B), np.int32),
            lambda x: np.zeros(B, np.int32) + x,
            lambda x: np.maximum(x, 0),
            lambda x: np.stack(list(x)),
            lambda x: np.asarray(x),
            lambda x: x[np.arange(T)],
            lambda x: x.clip(np.zeros(B, np.int32)),
        ],
    )
    def test_that_uses_numpy_is_caught(self, wrong, strict):
        trained(CPU, lambda: WrongRNN(wrong))
        with pytest.raises(TypeError):
            trained(GPU, lambda: WrongRNN(wrong))

    @pytest.mark.parametrize(
        ("wrong", "name"),
        [
            (lambda x: x * int(x[0, 0] >= 0), "int"),
            (lambda x: x if x.max() >= 0 else -x, "bool"),
            (lambda x: x * round(float(x[0, 0]) ** 0), "float"),
        ],
    )
    def test_that_waits_for_the_device_is_noted(self, wrong, name, strict):
        trained(GPU, lambda: WrongRNN(wrong), 1)
        assert ("to host", name) in strict.transfers

    def test_that_sends_a_window_to_and_fro_is_noted(self, strict):
        trained(GPU, lambda: WrongRNN(lambda x: strict.asarray(x.get())), 1)
        assert strict.transfers[-1] == ("to device", (T, B))
