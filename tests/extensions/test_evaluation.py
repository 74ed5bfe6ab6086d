import chainer
import chainer.links as L
import numpy as np
import pytest
from chainer import optimizers
from chainer.training import Trainer, extensions
from hypothesis import given, settings
from hypothesis import strategies as st

from bptt_updater import BPTTUpdater
from extensions.evaluation import WindowEvaluator
from models import ARCHS
from parallel_sequential_iterator import ParallelSequentialIterator
from support.processes import Processes

V, U, B = 7, 6, 4
N_STEPS = 23
TOKENS = np.random.RandomState(3).randint(V, size=90).astype(np.int32)  # 22.5 steps of 4 streams


class Recorder(chainer.Chain):
    """Reports what it is told to, and keeps what it was called with and under which config."""

    def __init__(self, report=None):
        super().__init__()
        self.report = report or (lambda x, t: {})
        self.calls = []
        self.configs = []

    def forward(self, x, t):
        self.calls.append((x.copy(), t.copy()))
        self.configs.append((chainer.config.train, chainer.config.enable_backprop))
        chainer.report(self.report(x, t), self)


def iterator():
    return ParallelSequentialIterator(TOKENS, B, repeat=False)


def classifier(arch):
    """A classifier, the same each time, with parameters so large that the state matters."""
    np.random.seed(0)  # the model draws the seed of its dropout masks
    model = L.Classifier(ARCHS[arch](V, U))
    for _, param in sorted(model.namedparams()):
        param.array[...] = np.random.uniform(-1, 1, param.shape)
    return model


def reset(model):
    return lambda _: model.predictor.reset_state()


def evaluator(model, **options):
    """A window evaluator with the hook that the state of the model asks for."""
    return WindowEvaluator(iterator(), model, device=-1, eval_hook=reset(model), **options)


def step_by_step(model):
    """The result of Chainer's own evaluator, which calls ``next()`` for each step."""
    return extensions.Evaluator(iterator(), model, device=-1, eval_hook=reset(model))()


def assert_equal_means(result, expected):
    assert result.keys() == expected.keys()
    for name, mean in expected.items():
        np.testing.assert_allclose(float(result[name]), float(mean), rtol=1e-6, err_msg=name)


each_arch = pytest.mark.parametrize("arch", ARCHS)


class TestMeans:
    @each_arch
    @pytest.mark.parametrize("window", [5, 256])
    def test_equal_those_of_chainers_evaluator(self, arch, window):
        model = classifier(arch)
        assert_equal_means(evaluator(model, window=window)(), step_by_step(model))

    def test_are_of_loss_and_accuracy(self):
        assert evaluator(classifier("rnn"))().keys() == {"main/loss", "main/accuracy"}

    @given(st.integers(1, 2 * N_STEPS))
    @settings(deadline=None, max_examples=30)
    def test_do_not_depend_on_the_window(self, window):
        model = classifier("rnn")
        assert_equal_means(evaluator(model, window=window)(), step_by_step(model))

    @pytest.mark.parametrize("window", [1, 10, 22, 23, 100])
    def test_weigh_every_token_alike(self, window):
        """Here the value of a window is the mean of its tokens; the last window is short."""
        target = Recorder(lambda x, t: {"token": chainer.Variable(np.array(x.mean()))})
        result = WindowEvaluator(iterator(), target, window, device=-1)()
        starts = [stream * len(TOKENS) // B for stream in range(B)]
        read = [np.tile(TOKENS, 2)[start : start + N_STEPS] for start in starts]
        np.testing.assert_allclose(result["main/token"], np.mean(read), rtol=1e-6)

    @pytest.mark.parametrize(
        "number", [float, np.float32, np.array], ids=lambda kind: kind.__name__
    )
    def test_may_be_of_plain_numbers(self, number):
        target = Recorder(lambda x, t: {"one": number(1)})
        assert WindowEvaluator(iterator(), target, 10, device=-1)() == {"main/one": 1}

    def test_are_summed_in_double_precision(self):
        reports = iter([2**24] + [1] * (N_STEPS - 1))  # in float32, 2**24 + 1 is 2**24
        target = Recorder(lambda x, t: {"size": chainer.Variable(np.array(next(reports), "f"))})
        result = WindowEvaluator(iterator(), target, window=1, device=-1)()
        assert result["main/size"] == (2**24 + N_STEPS - 1) / N_STEPS

    def test_are_those_over_the_streams_of_all_processes(self, monkeypatch):
        """Here two, one after the other; some windows have no value of the name ``even``."""

        class Process(Processes):
            def gather(self, value):
                shares.append(value)
                return shares

        def report(x, t):
            token = chainer.Variable(np.array(x.mean()))
            return {"token": token, **({"even": token} if x.max() % 2 == 0 else {})}

        shares = []
        monkeypatch.setattr("extensions.evaluation.here", Process())
        for streams in range(1), range(1, B):
            share = ParallelSequentialIterator(TOKENS, B, repeat=False, streams=streams)
            target = Recorder(report)
            result = WindowEvaluator(share, target, 1, device=-1)()
        read = [TOKENS[(np.arange(N_STEPS) + b * len(TOKENS) // B) % len(TOKENS)] for b in range(B)]
        np.testing.assert_allclose(result["main/token"], np.mean(read), rtol=1e-6)
        alone, together = read[0][read[0] % 2 == 0], np.array(read[1:])
        together = together[:, together.max(axis=0) % 2 == 0]
        even = np.concatenate([alone, together.ravel()]).mean()
        np.testing.assert_allclose(result["main/even"], even, rtol=1e-6)

    def test_are_plain_numbers_without_a_graph(self):
        result = evaluator(classifier("rnn"))()
        assert all(np.isscalar(mean) for mean in result.values())

    def test_are_reported_to_whoever_listens(self):
        reporter = chainer.Reporter()
        with reporter:
            result = evaluator(classifier("rnn"))()
        assert reporter.observation == result

    def test_bear_the_evaluators_name(self):
        validation = evaluator(classifier("rnn"))
        validation.name = "validation"
        assert validation().keys() == {"validation/main/loss", "validation/main/accuracy"}


class TestWindows:
    @pytest.fixture
    def target(self):
        return Recorder()

    def test_have_the_given_length_but_the_last(self, target):
        WindowEvaluator(iterator(), target, window=10, device=-1)()
        assert [x.shape for x, _ in target.calls] == [(10, B), (10, B), (3, B)]

    def test_last_one_is_full_where_the_length_divides_the_steps(self, target):
        WindowEvaluator(iterator(), target, window=N_STEPS, device=-1)()
        assert [x.shape for x, _ in target.calls] == [(N_STEPS, B)]

    def test_hold_256_steps_unless_told(self, target):
        WindowEvaluator(ParallelSequentialIterator(TOKENS, 1, False), target, device=-1)()
        WindowEvaluator(
            ParallelSequentialIterator(np.tile(TOKENS, 4), 1, False), target, device=-1
        )()
        assert [len(x) for x, _ in target.calls] == [90, 256, 104]

    def test_targets_stand_in_order_of_time(self, target):
        WindowEvaluator(iterator(), target, window=2, device=-1)()
        x, t = target.calls[0]
        assert x.tolist() == TOKENS[[[0, 22, 45, 67], [1, 23, 46, 68]]].tolist()
        assert t.tolist() == TOKENS[[1, 23, 46, 68, 2, 24, 47, 69]].tolist()

    @pytest.mark.parametrize("device", [None, -1, "@numpy"])
    def test_stay_on_the_cpu(self, target, device):
        WindowEvaluator(iterator(), target, device=device)()
        assert [type(array) for array in target.calls[0]] == [np.ndarray, np.ndarray]

    def test_are_sent_to_the_device(self, target, monkeypatch):
        sent = []
        validation = WindowEvaluator(iterator(), target, device=-1)
        device = type(validation.device)
        monkeypatch.setattr(device, "send", lambda self, window: sent.append(window) or window)
        validation()
        assert [array.shape for array in sent[0]] == [(N_STEPS, B), (N_STEPS, B)]

    def test_without_a_step_are_refused(self, target):
        with pytest.raises(ValueError, match="window"):
            WindowEvaluator(iterator(), target, window=0, device=-1)()


class TestEachEvaluation:
    @each_arch
    def test_begins_from_a_reset_state(self, arch):
        model = classifier(arch)
        with chainer.using_config("train", False):
            model.predictor(np.zeros((3, B), np.int32))
        fresh = classifier(arch)
        assert evaluator(model)() == evaluator(fresh)()

    @each_arch
    def test_gives_the_same_result(self, arch):
        validation = evaluator(classifier(arch))
        assert validation() == validation()

    def test_reads_the_data_from_the_start(self):
        target = Recorder()
        validation = WindowEvaluator(iterator(), target, device=-1)
        validation()
        validation.get_iterator("main").reset()
        validation.get_iterator("main").next()
        validation()
        (first, _), (second, _) = target.calls
        assert np.array_equal(first, second)

    def test_calls_the_hook_once_with_the_evaluator(self):
        called_with = []
        validation = WindowEvaluator(
            iterator(), Recorder(), window=5, device=-1, eval_hook=called_with.append
        )
        validation()
        assert called_with == [validation]

    def test_calls_the_hook_before_the_model(self):
        target = Recorder()
        calls_before = []
        WindowEvaluator(
            iterator(),
            target,
            device=-1,
            eval_hook=lambda _: calls_before.append(len(target.calls)),
        )()
        assert calls_before == [0]

    def test_needs_no_hook(self):
        target = Recorder()
        WindowEvaluator(iterator(), target)()
        assert len(target.calls) == 1


class TestConfig:
    @pytest.fixture
    def target(self):
        return Recorder()

    def test_train_is_off(self, target):
        with chainer.using_config("train", True):
            WindowEvaluator(iterator(), target, window=10, device=-1)()
        assert [train for train, _ in target.configs] == [False, False, False]

    def test_backprop_is_off(self, target):
        WindowEvaluator(iterator(), target, window=10, device=-1)()
        assert [backprop for _, backprop in target.configs] == [False, False, False]

    def test_is_what_it_was_afterwards(self, target):
        with chainer.using_config("train", True), chainer.using_config("enable_backprop", True):
            WindowEvaluator(iterator(), target, device=-1)()
            assert (chainer.config.train, chainer.config.enable_backprop) == (True, True)

    def test_dropout_is_off(self):
        model = classifier("lstm")
        model.predictor.dropout_ratio = 0.99
        with chainer.using_config("train", True):
            assert_equal_means(evaluator(model)(), step_by_step(classifier("lstm")))


@each_arch
def test_no_graph_is_kept(arch):
    model = classifier(arch)
    evaluator(model)()
    states = [getattr(link, name, None) for link in model.links() for name in ("c", "h")]
    states = [state for state in states if state is not None]
    assert states and all(state.creator is None for state in states)


@each_arch
class TestTraining:
    """One that has made three updates when a copy of its model is evaluated."""

    def updater(self, arch):
        optimizer = optimizers.SGD(0.01).setup(classifier(arch))
        updater = BPTTUpdater(ParallelSequentialIterator(TOKENS, B), optimizer, 5, -1)
        for _ in range(3):
            updater.update()
        return updater

    def test_keeps_its_state(self, arch):
        updater = self.updater(arch)
        model = updater.get_optimizer("main").target
        states = [
            (link, name, getattr(link, name), getattr(link, name).array.copy())
            for link in model.links()
            for name in ("c", "h")
            if getattr(link, name, None) is not None
        ]
        evaluator(model.copy())()
        assert states
        for link, name, state, array in states:
            assert getattr(link, name) is state
            np.testing.assert_array_equal(state.array, array)

    def test_goes_on_as_if_there_had_been_no_evaluation(self, arch):
        evaluated, undisturbed = self.updater(arch), self.updater(arch)
        evaluator(evaluated.get_optimizer("main").target.copy())()
        evaluated.update()
        undisturbed.update()
        params, expected = (
            each.get_optimizer("main").target.params() for each in (evaluated, undisturbed)
        )
        for param, expected_param in zip(params, expected, strict=True):
            np.testing.assert_array_equal(param.array, expected_param.array)

    def test_keeps_its_place_in_the_data(self, arch):
        updater = self.updater(arch)
        evaluator(updater.get_optimizer("main").target.copy())()
        assert updater.get_iterator("main").iteration == 15

    def test_keeps_its_gradients(self, arch):
        model = self.updater(arch).get_optimizer("main").target
        before = [param.grad.copy() for param in model.params()]
        evaluator(model.copy())()
        for param, grad in zip(model.params(), before, strict=True):
            np.testing.assert_array_equal(param.grad, grad)


def test_trainer_logs_the_means_of_every_epoch(tmp_path):
    model = classifier("rnn")
    train_iter = ParallelSequentialIterator(TOKENS, B)
    updater = BPTTUpdater(train_iter, optimizers.SGD(0.01).setup(model), 5, -1)
    trainer = Trainer(updater, (3, "epoch"), out=tmp_path)
    trainer.extend(evaluator(model.copy()))
    trainer.extend(extensions.LogReport())
    trainer.run()
    log = trainer.get_extension("LogReport").log
    assert [row["epoch"] for row in log] == [1, 2, 3]
    assert all("validation/main/accuracy" in row for row in log)
    np.testing.assert_allclose(
        log[-1]["validation/main/loss"], step_by_step(model)["main/loss"], rtol=1e-6
    )
