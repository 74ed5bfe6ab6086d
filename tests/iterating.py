"""What the tests of the iterator share: sizes to try, and comparisons."""

from hypothesis import settings
from hypothesis import strategies as st

lengths = st.integers(1, 40)
batch_sizes = st.integers(1, 50)  # larger than the dataset, too
window_lengths = st.integers(1, 60)
quickly = settings(deadline=None)


def state(iterator):
    return {name: getattr(iterator, name) for name in ("iteration", "epoch", "is_new_epoch")} | {
        "epoch_detail": iterator.epoch_detail
    }


def full_state(iterator):
    return state(iterator) | {"previous_epoch_detail": iterator.previous_epoch_detail}


def take(iterator, n_steps):
    return [iterator.next() for _ in range(n_steps)]


def as_lists(window):
    x, t = window
    return x.tolist(), t.tolist()


def window_by_steps(steps):
    """The window ``(x, t)`` that a list of steps, as ``next()`` gives them, amounts to."""
    x = [[current for current, _ in step] for step in steps]
    t = [[following for _, following in step] for step in steps]
    return x, t
