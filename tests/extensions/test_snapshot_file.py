"""Snapshots that were made on purpose: sealed as they should be, and wrong within."""

import json

import numpy as np
import pytest
from snapshot_trainings import about, assert_same_state, state, train, training

from support.files import BadFile, read_arrays, write_arrays


def forge(path, **changes):
    """Change arrays of a snapshot, by the end of their names, and all that vouches for them."""
    path = str(path)
    arrays = read_arrays(path)
    said = json.loads(str(arrays.pop("snapshot")))
    said.update(changes.pop("about", {}))
    for end, value in changes.items():
        (name,) = [name for name in arrays if name.endswith(end)]
        arrays[name] = np.asarray(value)
    said["arrays"] = {n: [a.dtype.str, list(a.shape)] for n, a in arrays.items()}
    write_arrays(path, {"snapshot": json.dumps(said), **arrays})


def assert_fresh(trainer, fresh):
    """As :func:`assert_same_state`, but moments may be there, as zeros, before the first update."""
    arrays, log = state(trainer)
    for name in arrays.keys() - fresh[0].keys():
        assert not arrays[name].any(), name
    assert all(arrays[name].tobytes() == array.tobytes() for name, array in fresh[0].items())
    assert log == fresh[1]


ENTRY = {"epoch": 1, "iteration": 6, "elapsed_time": 1.0}
FORGED = {
    "a log that is no JSON": {"_log": "no JSON"},
    "a log that is no list": {"_log": "{}"},
    "a log of words": {"_log": '["a", "b"]'},
    "a log without iterations": {"_log": '[{"epoch": 1}]'},
    "a log of texts": {"_log": json.dumps([{**ENTRY, "main/loss": "low"}])},
    "a log nested without end": {"_log": "[" * 100_000},
    "a log of numbers": {"_log": 7.0},
    "a negative iteration": {"updater/iteration": -7, "about": {"iteration": -7}},
    "no iteration yet": {
        "updater/iteration": 0,
        "optimizer:main/t": 0,
        "about": {"iteration": 0},
    },
    "an iteration that is another": {"updater/iteration": 3},
    "an optimizer that counts otherwise": {"optimizer:main/t": 3},
    "an iteration in words": {"updater/iteration": "seven"},
    "a place in the data in words": {"iterator:main/iteration": "far"},
    "NaN in a moment": {"l1/W/m": np.full((3, 3), np.nan, np.float32)},
    "NaN in the recurrent state": {"predictor/h": np.full((1, 3), np.nan, np.float32)},
    "a recurrent state of more streams": {"predictor/h": np.zeros((2, 3), np.float32)},
    "a recurrent state of fewer units": {"predictor/h": np.zeros((1, 2), np.float32)},
    "a recurrent state of another type": {"predictor/h": np.zeros((1, 3), np.float64)},
    "a recurrent state of one number": {"predictor/h": np.zeros((), np.float32)},
    "a recurrent state without rows": {"predictor/h": np.zeros((0, 3), np.float32)},
    "no recurrent state": {"predictor/h": np.zeros(0, np.float32)},
    "a moment of another shape": {"l1/W/v": np.zeros((1, 3), np.float32)},
    "a text for a run": {"about": {"run": 1}},
    "a list of options": {"about": {"fixed": ["--unit"]}},
}


@pytest.mark.parametrize("changes", FORGED.values(), ids=FORGED)
def test_is_refused_or_passed_over_and_the_training_stays_as_it_was(tmp_path, capsys, changes):
    train(tmp_path, every=7, epochs=1)
    path = tmp_path / "snapshot_iter_6"
    forge(path, **changes)
    trainer, snapshot = training(tmp_path)
    fresh = state(trainer)
    with pytest.raises(BadFile):
        snapshot.resume(str(path), trainer)
    assert_fresh(trainer, fresh)
    snapshot.resume_newest(trainer)
    assert f"Passed over {path}: it " in capsys.readouterr().out
    assert_fresh(trainer, fresh)
    trainer.run(show_loop_exception_msg=False)
    assert_same_state(trainer, state(train(tmp_path / "undisturbed")[0]))


def test_with_a_log_that_was_only_moved_in_time_is_loaded(tmp_path):
    """Otherwise the tests above would show nothing: a forged snapshot would never be loaded."""
    train(tmp_path, every=7, epochs=1)
    path = tmp_path / "snapshot_iter_6"
    forge(path, _log=json.dumps([ENTRY]), about={"run": "another"})
    trainer, snapshot = training(tmp_path)
    snapshot.resume(str(path), trainer)
    assert trainer.get_extension("LogReport").log == [ENTRY]
    assert about(path)["run"] == snapshot.about["run"] == "another"
