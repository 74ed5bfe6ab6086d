import chainer
import chainer.links as L
import numpy as np
import pytest
from chainer import optimizers

from benchmarks.peer_step_by_step import RNN as StepRNN
from benchmarks.peer_step_by_step import StepUpdater
from bptt_updater import BPTTUpdater
from models import ARCHS, RNN
from tests.updating import (
    TOKENS,
    B,
    Biases,
    StepsAndEpochs,
    StepsOnly,
    T,
    U,
    V,
    assert_close,
    assert_same,
    bptt_updater,
    classifier,
    grads,
    iterator,
    params,
    run,
    standing_still,
    step_losses,
    steps,
    train_step_by_step,
)


class TestTraining:
    @pytest.mark.parametrize(
        "optimizer",
        [lambda: optimizers.SGD(0.05), lambda: optimizers.Adam(0.005)],
        ids=["sgd", "adam"],
    )
    def test_equals_training_step_by_step(self, optimizer):
        model = classifier(RNN(V, U))
        run(bptt_updater(model, optimizer()), 15)
        assert_close(params(model), params(train_step_by_step(optimizer(), 15)))

    def test_moves_every_parameter(self):
        model = classifier(RNN(V, U))
        before = params(model)
        run(bptt_updater(model), 2)
        assert all(np.any(array != before[name]) for name, array in params(model).items())

    @pytest.mark.parametrize("arch", ARCHS)
    def test_equals_the_tutorials_updater_on_our_models(self, arch):
        ours, tutorials = (classifier(ARCHS[arch](V, U)) for _ in range(2))
        if arch == "lstm":
            tutorials.predictor.seed = ours.predictor.seed  # dropout is on
        run(bptt_updater(ours), 8)
        optimizer = optimizers.SGD(0.05).setup(tutorials)
        run(StepUpdater(iterator(), optimizer, T, -1), 8)
        assert_close(params(ours), params(tutorials))

    @pytest.mark.parametrize("device", [None, -1, "@numpy"])
    def test_device(self, device):
        model, expected = (classifier(RNN(V, U)) for _ in range(2))
        run(bptt_updater(model, device=device), 3)
        run(bptt_updater(expected), 3)
        assert_same(params(model), params(expected))

    def test_windows_are_sent_to_the_device(self, monkeypatch):
        sent = []
        updater = bptt_updater(classifier(RNN(V, U)), device=-1)
        device = type(updater.device)
        monkeypatch.setattr(device, "send", lambda self, window: sent.append(window) or window)
        updater.update()
        assert [array.shape for array in sent[0]] == [(T, B), (T, B)]

    def test_device_is_the_cpu_unless_told(self):
        model = classifier(RNN(V, U))
        BPTTUpdater(iterator(), optimizers.SGD().setup(model), T).update()
        assert model.xp is np

    def test_windows_need_not_divide_the_data(self):
        model, tutorials = (classifier(RNN(V, U)) for _ in range(2))
        run(bptt_updater(model, bprop_len=37), 4)
        optimizer = optimizers.SGD(0.05).setup(tutorials)
        run(StepUpdater(iterator(), optimizer, 37, -1), 4)
        assert_close(params(model), params(tutorials))

    def test_hooks_of_the_optimizer_see_the_gradients_of_the_window(self):
        seen = []
        model = classifier(RNN(V, U))
        updater = bptt_updater(model)
        updater.get_optimizer("main").add_hook(
            lambda optimizer: seen.append(grads(optimizer.target)), name="look"
        )
        updater.update()
        assert_same(seen[0], grads(model))

    def test_counts_its_updates(self):
        updater = bptt_updater(classifier(RNN(V, U)))
        run(updater, 3)
        assert updater.iteration == 3

    def test_reads_one_window_an_update(self):
        updater = bptt_updater(classifier(RNN(V, U)))
        run(updater, 3)
        assert updater.get_iterator("main").iteration == 3 * T


class TestLoss:
    @pytest.mark.parametrize("bprop_len", [1, 2, 5])
    def test_gradient_is_that_of_the_sum_over_the_steps(self, bprop_len):
        """The tokens are all the same, so every step of a window has the same gradient."""
        model = L.Classifier(Biases())
        train_iter = iterator(tokens=np.full(50, 2, np.int32))
        standing_still(model, train_iter=train_iter, bprop_len=bprop_len).update()
        of_one_step = np.full(V, 1 / V)
        of_one_step[2] -= 1
        np.testing.assert_allclose(
            model.predictor.b.grad[0], bprop_len * of_one_step, rtol=1e-5, atol=1e-6
        )

    @pytest.mark.parametrize("batch_size", [1, 2, 7])
    def test_gradient_is_that_of_the_mean_over_the_batch(self, batch_size):
        model = L.Classifier(Biases())
        train_iter = iterator(batch_size, tokens=np.full(50, 2, np.int32))
        standing_still(model, train_iter=train_iter, bprop_len=1).update()
        np.testing.assert_allclose(model.predictor.b.grad[0, 2], 1 / V - 1, rtol=1e-5)

    def test_gradients_of_the_update_before_are_cleared(self):
        model, expected = (classifier(RNN(V, U)) for _ in range(2))
        for param in model.params():
            param.grad = np.full_like(param.array, 1000)
        standing_still(model).update()
        standing_still(expected).update()
        assert_same(grads(model), grads(expected))

    def test_targets_stand_in_order_of_time(self):
        seen = []

        def target(x, t):
            seen.append((x, t))
            return model(x, t)

        model = classifier(RNN(V, U))
        updater = bptt_updater(model)
        updater.get_optimizer("main").target = LinkAround(model, target)
        updater.update()
        ((x, t),) = seen
        expected = [[list(ids) for ids in zip(*step, strict=True)] for step in steps(T)]
        assert x.tolist() == [ids for ids, _ in expected]
        assert t.tolist() == [target for _, targets in expected for target in targets]

    def test_ids_are_int32(self):
        seen = []

        def target(x, t):
            seen.extend([x.dtype, t.dtype])
            return model(x, t)

        model = classifier(RNN(V, U))
        updater = bptt_updater(model, train_iter=iterator(tokens=TOKENS.astype(np.int64)))
        updater.get_optimizer("main").target = LinkAround(model, target)
        updater.update()
        assert seen == [np.int32, np.int32]


class LinkAround(chainer.Chain):
    """Calls a function instead of the link that it holds."""

    def __init__(self, link, function):
        super().__init__()
        self.function = function
        with self.init_scope():
            self.link = link

    def forward(self, x, t):
        return self.function(x, t)


class TestState:
    def test_carries_over_from_window_to_window(self):
        model = classifier(RNN(V, U))
        run(standing_still(model), 3)
        expected = classifier(StepRNN(V, U)).predictor
        step_losses(expected, steps(3 * T))
        np.testing.assert_allclose(model.predictor.h.array, expected.h.array, atol=1e-6)

    def test_of_the_window_before_is_a_constant_to_the_gradient(self):
        model = classifier(RNN(V, U))
        run(standing_still(model), 2)
        expected = classifier(StepRNN(V, U))
        with chainer.no_backprop_mode():
            step_losses(expected.predictor, steps(T))
        expected.predictor.h = chainer.Variable(expected.predictor.h.array)
        expected.cleargrads()
        sum(step_losses(expected.predictor, steps(T, first=T))).backward()
        assert_close(grads(model), grads(expected))

    @pytest.mark.parametrize("arch", ARCHS)
    def test_has_no_past_after_an_update(self, arch):
        model = classifier(ARCHS[arch](V, U))
        run(bptt_updater(model), 2)
        states = [getattr(link, name, None) for link in model.links() for name in ("c", "h")]
        states = [state for state in states if state is not None]
        assert states and all(state.creator is None for state in states)

    def test_reset_between_updates_is_respected(self):
        model, expected = (classifier(RNN(V, U)) for _ in range(2))
        updater = standing_still(model)
        updater.update()
        model.predictor.reset_state()
        updater.update()
        train_iter = iterator()
        train_iter.next_window(T)
        standing_still(expected, train_iter=train_iter).update()
        assert_same(grads(model), grads(expected))


class TestKeptGraph:
    """``DumpGraph`` asks Chainer to keep the graph behind a report until it has drawn it."""

    @pytest.fixture(autouse=True)
    def keep_graph(self):
        with chainer.using_config("keep_graph_on_report", True):
            yield

    def test_is_there_after_the_update(self):
        model = classifier(RNN(V, U))
        bptt_updater(model).update()
        assert model.loss.creator is not None

    def test_is_cut_by_the_next_update(self):
        model = classifier(RNN(V, U))
        updater = bptt_updater(model)
        updater.update()
        first_loss, first_state = model.loss, model.predictor.h
        updater.update()
        assert first_loss.creator is None and first_state.creator is None

    def test_does_not_change_the_training(self):
        model, expected = (classifier(RNN(V, U)) for _ in range(2))
        run(bptt_updater(model), 5)
        with chainer.using_config("keep_graph_on_report", False):
            run(bptt_updater(expected), 5)
        assert_same(params(model), params(expected))


class TestIteratorOfSteps:
    def test_gives_the_training_that_windows_give(self):
        model, expected = (classifier(RNN(V, U)) for _ in range(2))
        run(bptt_updater(model, train_iter=StepsAndEpochs(iterator())), 15)
        run(bptt_updater(expected), 15)
        assert_same(params(model), params(expected))

    def test_gives_the_epochs_that_windows_give(self):
        updater, expected = (
            bptt_updater(classifier(RNN(V, U)), train_iter=train_iter)
            for train_iter in (StepsAndEpochs(iterator()), iterator())
        )
        for _ in range(15):
            updater.update()
            expected.update()
            assert (updater.epoch, updater.is_new_epoch) == (expected.epoch, expected.is_new_epoch)

    def test_needs_no_attribute_but_next(self):
        model, expected = (classifier(RNN(V, U)) for _ in range(2))
        updater = bptt_updater(model, train_iter=StepsOnly(steps(3 * T)))
        run(updater, 3)
        run(bptt_updater(expected), 3)
        assert_same(params(model), params(expected))
        assert (updater.is_new_epoch, updater.get_optimizer("main").epoch) == (False, 0)

    def test_may_give_the_numbers_of_python(self):
        model, expected = (classifier(RNN(V, U)) for _ in range(2))
        python_steps = StepsAndEpochs(iterator(tokens=TOKENS.tolist()))
        run(bptt_updater(model, train_iter=python_steps), 3)
        run(bptt_updater(expected), 3)
        assert_same(params(model), params(expected))

    @pytest.mark.parametrize("bprop_len", [17, 5])  # 50 tokens in 3 streams are 17 steps
    def test_that_stops_stops_the_training(self, bprop_len):
        train_iter = StepsAndEpochs(iterator(repeat=False))
        updater = bptt_updater(classifier(RNN(V, U)), train_iter=train_iter, bprop_len=bprop_len)
        run(updater, 17 // bprop_len)
        with pytest.raises(StopIteration):
            updater.update()

    def test_that_stops_in_mid_window_leaves_the_parameters_as_they_are(self):
        model = classifier(RNN(V, U))
        train_iter = StepsAndEpochs(iterator(repeat=False))
        updater = bptt_updater(model, train_iter=train_iter, bprop_len=10)
        updater.update()
        before = params(model)
        with pytest.raises(StopIteration):
            updater.update()
        assert_same(params(model), before)


class TestEndOfTheData:
    def test_short_last_window_is_trained_on_as_the_steps_that_it_has(self):
        model, expected = (classifier(RNN(V, U)) for _ in range(2))
        updater = standing_still(model, train_iter=iterator(repeat=False), bprop_len=10)
        run(updater, 2)
        rest = standing_still(expected, bprop_len=10)
        rest.update()
        rest.bprop_len = 7
        rest.update()
        assert_same(grads(model), grads(expected))

    def test_stops_when_no_step_is_left(self):
        updater = bptt_updater(
            classifier(RNN(V, U)), train_iter=iterator(repeat=False), bprop_len=17
        )
        updater.update()
        with pytest.raises(StopIteration):
            updater.update()


class TestEpochs:
    @pytest.mark.parametrize("bprop_len", [1, 4, 13, 17, 40])
    def test_is_new_when_any_step_of_the_window_completes_a_sweep(self, bprop_len):
        updater = bptt_updater(classifier(RNN(V, U)), bprop_len=bprop_len)
        n_steps = 12 * bprop_len
        sweeps = np.arange(n_steps + 1) * B // len(TOKENS)  # completed after so many steps
        expected = (np.diff(sweeps) > 0).reshape(12, bprop_len).any(axis=1)
        for is_new in expected:
            updater.update()
            assert updater.is_new_epoch == is_new

    def test_is_not_new_before_the_first_update(self):
        assert bptt_updater(classifier(RNN(V, U))).is_new_epoch is False

    @pytest.mark.parametrize("bprop_len", [1, 4, 13, 17, 40])
    def test_optimizer_is_told_of_a_new_one(self, bprop_len):
        updater = bptt_updater(classifier(RNN(V, U)), bprop_len=bprop_len)
        told = 0
        for _ in range(12):
            updater.update()
            told += updater.is_new_epoch
            assert updater.get_optimizer("main").epoch == told

    def test_optimizer_is_told_after_its_update(self):
        calls = []

        class Optimizer(optimizers.SGD):
            def update(self, *args, **kwargs):
                calls.append("update")
                super().update(*args, **kwargs)

            def new_epoch(self, auto=False):
                calls.append("new epoch")
                super().new_epoch(auto)

        bptt_updater(classifier(RNN(V, U)), Optimizer(), bprop_len=17).update()
        assert calls == ["update", "new epoch"]

    def test_optimizer_is_not_told_where_the_user_tells_it(self):
        updater = bptt_updater(classifier(RNN(V, U)), bprop_len=17)
        updater.auto_new_epoch = False
        updater.update()
        assert updater.is_new_epoch and updater.get_optimizer("main").epoch == 0

    def test_are_the_iterators(self):
        updater = bptt_updater(classifier(RNN(V, U)), bprop_len=20)
        updater.update()
        assert (updater.epoch, updater.epoch_detail) == (1, 60 / 50)


@pytest.mark.parametrize("bprop_len", [0, -1])
def test_window_without_a_step_is_refused(bprop_len):
    with pytest.raises(ValueError, match=f"bprop_len must be at least 1, not {bprop_len}"):
        bptt_updater(classifier(RNN(V, U)), bprop_len=bprop_len)
