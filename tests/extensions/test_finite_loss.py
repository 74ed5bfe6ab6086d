import types

import numpy as np
import pytest

from extensions.finite_loss import FiniteLoss, NotFinite


class OnGPU:
    """A loss that lies on a GPU, as far as the extension can tell; notes when it is read."""

    n_reads = 0

    def __init__(self, loss):
        self.loss = loss

    def __float__(self):
        OnGPU.n_reads += 1
        return float(self.loss)


class Training:
    """Stands for a Trainer: what the extension reads of one."""

    def __init__(self, array, first_iteration=0):
        self.array = array
        self.updater = types.SimpleNamespace(iteration=first_iteration)
        self.extension = FiniteLoss()
        self.confirmed = []

    def get_extension(self, name):
        confirm = lambda: self.confirmed.append(self.updater.iteration)  # noqa: E731
        return types.SimpleNamespace(confirm=confirm)

    def update(self, loss, is_new_epoch=False, validation=0.0):
        self.updater.iteration += 1
        self.updater.is_new_epoch = is_new_epoch
        self.observation = {
            "main/loss": types.SimpleNamespace(array=self.array(loss)),
            "validation/main/loss": validation,
        }
        self.extension(self)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_on_the_cpu_stops_at_once(value):
    training = Training(np.array, first_iteration=20)
    training.update(1)
    with pytest.raises(NotFinite) as stop:
        training.update(value)
    assert str(stop.value) == f"the loss is {value} at iteration 22"
    assert training.confirmed == [21]


def test_stops_for_the_validation_which_says_nothing_against_snapshots_before():
    training = Training(np.array, first_iteration=20)
    with pytest.raises(NotFinite, match=r"the validation loss is inf at iteration 21$"):
        training.update(1, validation=np.inf)
    assert training.confirmed == [21]


class TestOnTheGPU:
    def test_stops_at_the_end_of_the_epoch_naming_the_first(self):
        training = Training(OnGPU, first_iteration=20)
        training.update(1, is_new_epoch=True)
        for loss in (1, np.inf, np.nan):
            training.update(loss)
        with pytest.raises(NotFinite, match=r"the loss is inf at iteration 23$"):
            training.update(np.nan, is_new_epoch=True)

    def test_stops_after_a_hundred_updates_and_reads_nothing_before(self, monkeypatch):
        monkeypatch.setattr(OnGPU, "n_reads", 0)
        training = Training(OnGPU)
        training.update(np.nan)
        for _ in range(98):
            training.update(1)
        assert OnGPU.n_reads == 0
        with pytest.raises(NotFinite, match=r"the loss is nan at iteration 1$"):
            training.update(1)
