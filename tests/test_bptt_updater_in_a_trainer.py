import gc
import json
import tracemalloc

import chainer
import chainer.links as L
import numpy as np
import pytest
from chainer import optimizers
from chainer.serializers import load_npz, save_npz
from chainer.training import Trainer, extensions

from benchmarks.peer_step_by_step import RNN as StepRNN
from models import ARCHS, RNN, RNNForLM
from tests.updating import (
    B,
    Biases,
    T,
    U,
    V,
    assert_same,
    bptt_updater,
    classifier,
    iterator,
    params,
    run,
    standing_still,
    step_losses,
    steps,
)


class TestReport:
    @pytest.fixture
    def observation(self):
        model = classifier(RNN(V, U))
        reporter = chainer.Reporter()
        reporter.add_observer("main", model)
        with reporter:
            standing_still(model).update()
        return reporter.observation

    def test_loss_is_the_mean_over_every_prediction_of_the_window(self, observation):
        losses = step_losses(classifier(StepRNN(V, U)).predictor, steps(T))
        expected = np.mean([float(loss.array) for loss in losses])
        np.testing.assert_allclose(float(observation["main/loss"].array), expected, rtol=1e-5)

    def test_accuracy_is_the_mean_over_every_prediction_of_the_window(self, observation):
        model = classifier(StepRNN(V, U)).predictor
        right = []
        for step in steps(T):
            x, t = (np.array(ids, np.int32) for ids in zip(*step, strict=True))
            right.extend(model(x).array.argmax(axis=1) == t)
        assert 0 < np.mean(right) < 1
        np.testing.assert_allclose(float(observation["main/accuracy"].array), np.mean(right))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A trainer that has run for two sweeps over the data with extensions of Chainer only."""
    model = classifier(RNN(V, U))
    evaluated = model.copy()
    out = tmp_path_factory.mktemp("result")
    trainer = Trainer(bptt_updater(model), (2, "epoch"), out=out)
    trainer.extend(
        extensions.Evaluator(
            iterator(repeat=False),
            evaluated,
            device=-1,
            eval_hook=lambda _: evaluated.predictor.reset_state(),
        )
    )
    trainer.extend(extensions.DumpGraph("main/loss"))
    trainer.extend(extensions.LogReport())
    trainer.extend(extensions.snapshot(), trigger=(1, "epoch"))
    trainer.run()
    return trainer


class TestTrainerWithStockExtensions:
    @pytest.fixture
    def log(self, trained):
        with open(f"{trained.out}/log") as file:
            return json.load(file)

    def test_train_as_without_a_trainer(self, trained):
        expected = classifier(RNN(V, U))
        run(bptt_updater(expected), 9)
        assert_same(params(trained.updater.get_optimizer("main").target), params(expected))

    def test_log_holds_the_mean_loss_of_the_windows(self, log):
        model = classifier(RNN(V, U))
        updater = bptt_updater(model)
        losses = [float(model.loss.array) for _ in range(5) if updater.update() is None]
        np.testing.assert_allclose(log[0]["main/loss"], np.mean(losses), rtol=1e-5)

    def test_log_holds_epoch_and_iteration(self, log):
        rows = [(row["iteration"], row["epoch"]) for row in log]
        assert rows == [(5, 1), (9, 2)]  # an update reads 12 of the 50 tokens

    def test_evaluation_step_by_step_reads_the_test_data_once(self, trained, log):
        model = classifier(StepRNN(V, U))
        trained_model = trained.updater.get_optimizer("main").target
        for name, array in params(trained_model).items():
            dict(model.namedparams())[name].array[...] = array
        losses = [float(loss.array) for loss in step_losses(model.predictor, steps(17))]
        np.testing.assert_allclose(log[1]["validation/main/loss"], np.mean(losses), rtol=1e-5)

    def test_graph_shows_the_functions_of_the_window(self, trained):
        with open(f"{trained.out}/cg.dot") as file:
            graph = file.read()
        for function in ("Elman", "Project", "SoftmaxCrossEntropy"):
            assert f'label="{function}"' in graph, function

    def test_graph_shows_one_window(self, trained):
        with open(f"{trained.out}/cg.dot") as file:
            assert file.read().count('label="Elman"') == 1

    def test_snapshot_is_written(self, trained):
        with np.load(f"{trained.out}/snapshot_iter_5", allow_pickle=False) as snapshot:
            assert int(snapshot["updater/iteration"]) == 5


class TestResume:
    def trainer(self, model, out, stop, snapshot_at=None):
        updater = bptt_updater(model, optimizers.Adam(0.01))
        trainer = Trainer(updater, (stop, "iteration"), out=out)
        if snapshot_at:
            trainer.extend(extensions.snapshot(), trigger=(snapshot_at, "iteration"))
        return trainer

    @pytest.mark.parametrize("snapshot_at", [1, 7])
    @pytest.mark.parametrize("arch", ARCHS)
    def test_from_a_snapshot_equals_not_stopping_bit_for_bit(self, tmp_path, arch, snapshot_at):
        model = classifier(ARCHS[arch](V, U))
        self.trainer(model, tmp_path, 12, snapshot_at).run()
        resumed = classifier(ARCHS[arch](V, U), seed=1)
        trainer = self.trainer(resumed, tmp_path, 12)
        load_npz(tmp_path / f"snapshot_iter_{snapshot_at}", trainer)
        trainer.run()
        assert trainer.updater.iteration == 12
        assert_same(params(resumed), params(model))

    def test_of_the_lstm_has_to_do_with_dropout(self):
        model, other = (classifier(RNNForLM(V, U)) for _ in range(2))
        other.predictor.seed = model.predictor.seed + 1
        run(bptt_updater(model), 1)
        run(bptt_updater(other), 1)
        assert np.any(params(model)["/predictor/l3/W"] != params(other)["/predictor/l3/W"])

    def test_from_a_snapshot_goes_on_from_its_state(self, tmp_path):
        model = classifier(RNN(V, U))
        self.trainer(model, tmp_path, 3, snapshot_at=3).run()
        resumed = classifier(RNN(V, U), seed=1)
        load_npz(tmp_path / "snapshot_iter_3", self.trainer(resumed, tmp_path, 5))
        np.testing.assert_array_equal(resumed.predictor.h.array, model.predictor.h.array)

    def test_from_a_snapshot_taken_before_the_first_update_begins_without_a_state(self, tmp_path):
        save_npz(tmp_path / "snapshot.npz", bptt_updater(classifier(RNN(V, U))))
        resumed = classifier(RNN(V, U), seed=1)
        resumed.predictor(np.zeros((1, B), np.int32))
        load_npz(tmp_path / "snapshot.npz", bptt_updater(resumed))
        assert resumed.predictor.h is None

    def test_of_a_model_of_foreign_links(self, tmp_path):
        model, resumed = (L.Classifier(Biases()) for _ in range(2))
        self.trainer(model, tmp_path, 6, snapshot_at=4).run()
        trainer = self.trainer(resumed, tmp_path, 6)
        load_npz(tmp_path / "snapshot_iter_4", trainer)
        trainer.run()
        assert_same(params(resumed), params(model))


@pytest.mark.parametrize("keep_graph, n_updates", [(False, 800), (True, 300)])
def test_memory_stays_flat(keep_graph, n_updates):
    """A state that is not freed has 60 bytes of numbers alone, a graph has kilobytes."""
    updater = bptt_updater(classifier(RNN(V, U)), optimizers.Adam())
    with chainer.using_config("keep_graph_on_report", keep_graph):
        run(updater, 50)
        gc.collect()
        tracemalloc.start()
        try:
            for _ in range(
                n_updates // 100
            ):  # not in one go: with the graph left uncut that takes forever
                run(updater, 100)
                gc.collect()
                assert tracemalloc.get_traced_memory()[0] < 100_000
        finally:
            tracemalloc.stop()
