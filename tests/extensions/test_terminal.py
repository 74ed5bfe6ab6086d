import types

import pytest

from extensions import terminal


@pytest.mark.parametrize("epoch_before, epoch", [(0.0, 1e-9), (1e9, 1e9)])
def test_the_bar_of_a_training_without_end_is_drawn(monkeypatch, capsys, epoch_before, epoch):
    updater = types.SimpleNamespace(
        epoch_detail=epoch_before,
        iteration=1,
        get_iterator=lambda name: types.SimpleNamespace(dataset=range(10**9)),
    )
    stop = types.SimpleNamespace(get_training_length=lambda: (2**31 - 1, "epoch"))
    trainer = types.SimpleNamespace(updater=updater, stop_trigger=stop)
    times = iter([100.0, 101.0])
    monkeypatch.setattr(terminal.time, "monotonic", lambda: next(times))
    monkeypatch.setenv("COLUMNS", "200")
    bar = terminal.ProgressBar()
    bar.initialize(trainer)
    updater.epoch_detail = epoch
    bar(trainer)
    assert "tokens/s, 115740740 days" in capsys.readouterr().out
