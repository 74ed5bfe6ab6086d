"""``dropout_mask``: against a hash in Python's integers, and the statistics of fair coins.

Masks are a function of their arguments, so no test here can fail by chance. The bounds on the
statistics are still those of chance: five standard deviations of what fair coins would give.
"""

from itertools import combinations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from models.recurrences.dropout import dropout_mask

SHAPE = (200, 10, 100)  # steps, streams, units: 200,000 elements
N_SIGMAS = 5

each_ratio = pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9])


def mask(ratio=0.5, shape=SHAPE, seed=0, layer=0, first_step=0):
    return dropout_mask(np, ratio, shape, seed, layer, first_step)


def coins(**arguments):
    """1 where kept and -1 where dropped, at ratio 0.5: mean 0 and variance 1."""
    return np.where(mask(**arguments) > 0, 1.0, -1.0)


def assert_fair(values):
    """Check that the mean of values of +1 and -1 is 0, as near as that of fair coins."""
    assert abs(values.mean()) < N_SIGMAS / np.sqrt(values.size)


def hash_loop(ratio, seed, layer, step, stream, unit):
    """One element of the mask, in Python's integers."""
    place = 0
    for coordinate in (seed, layer, step, stream, unit // 2):
        place ^= coordinate % 2**32
        place ^= place >> 16
        place = place * 0x7FEB352D % 2**32
        place ^= place >> 15
        place = place * 0x846CA68B % 2**32
        place ^= place >> 16
    half = place >> 16 * (unit % 2) & 0xFFFF  # one hash decides for two units
    return 1 / (1 - ratio) if half >= ratio * 2**16 else 0


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    ratio=st.sampled_from([0, 0.25, 0.5, 0.75]),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
    seed=st.integers(0, 2**32 - 1),
    layer=st.integers(0, 3),
    first_step=st.integers(0, 2**33),
)
def test_mask_is_the_hash_of_each_place(ratio, shape, seed, layer, first_step):
    expected = np.empty(shape)
    for t, b, u in np.ndindex(*shape):
        expected[t, b, u] = hash_loop(ratio, seed, layer, first_step + t, b, u)
    np.testing.assert_array_equal(
        mask(ratio, shape, seed, layer, first_step), expected.astype(np.float32)
    )


@each_ratio
def test_mask_holds_zero_and_the_inverse_of_the_share_kept(ratio):
    np.testing.assert_array_equal(np.unique(mask(ratio)), np.float32([0, 1 / (1 - ratio)]))


def test_mask_is_float32_of_the_given_shape():
    assert mask(shape=(2, 3, 4)).dtype == np.float32
    assert mask(shape=(2, 3, 4)).shape == (2, 3, 4)


def test_mask_of_some_streams_is_their_part_of_the_mask_of_all():
    some = dropout_mask(np, 0.5, (9, 3, 5), seed=1, layer=2, first_step=4, first_stream=2)
    whole = dropout_mask(np, 0.5, (9, 5, 5), seed=1, layer=2, first_step=4)
    np.testing.assert_array_equal(some, whole[:, 2:])


def test_ratio_zero_drops_nothing():
    np.testing.assert_array_equal(mask(0.0), np.ones(SHAPE))


def test_same_place_gives_the_same_mask():
    np.testing.assert_array_equal(mask(seed=3, layer=1), mask(seed=3, layer=1))


def test_masks_do_not_touch_the_global_generator():
    np.random.seed(0)
    expected = np.random.rand()
    np.random.seed(0)
    mask()
    assert np.random.rand() == expected


@each_ratio
@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1])
def test_share_dropped_is_the_ratio(ratio, seed):
    sigma = np.sqrt(ratio * (1 - ratio) / np.prod(SHAPE))
    assert abs((mask(ratio, seed=seed) == 0).mean() - ratio) < N_SIGMAS * sigma


@each_ratio
@pytest.mark.parametrize("axis", [0, 1, 2], ids=["step", "stream", "unit"])
def test_share_dropped_is_the_ratio_at_each_place(ratio, axis):
    others = tuple({0, 1, 2} - {axis})
    shares = (mask(ratio) == 0).mean(axis=others)
    sigma = np.sqrt(ratio * (1 - ratio) * SHAPE[axis] / np.prod(SHAPE))
    assert np.abs(shares - ratio).max() < N_SIGMAS * sigma


@pytest.mark.parametrize("axis", [0, 1, 2], ids=["step", "stream", "unit"])
def test_shares_dropped_scatter_as_much_as_those_of_coins(axis):
    others = tuple({0, 1, 2} - {axis})
    count = SHAPE[axis]
    standardised = coins().mean(axis=others) * np.sqrt(np.prod(SHAPE) / count)
    chi_squared = (standardised**2).sum()
    assert abs(chi_squared - count) < N_SIGMAS * np.sqrt(2 * count)


@pytest.mark.parametrize("axis", [0, 1, 2], ids=["steps", "streams", "units"])
@pytest.mark.parametrize("lag", [1, 2, 3, 4, 8])
def test_neighbours_are_independent(axis, lag):
    along = np.moveaxis(coins(), axis, 0)
    assert_fair(along[lag:] * along[:-lag])


@pytest.mark.parametrize("axes", [(0, 1), (0, 2), (1, 2)], ids=["step-stream", "step-unit", "rest"])
def test_mirrored_places_are_independent(axes):
    size = min(SHAPE[axis] for axis in axes)
    kept = np.moveaxis(coins(), axes, (0, 1))[:size, :size]
    below, right = np.tril_indices(size, -1)
    assert_fair(kept[below, right] * kept[right, below])


@pytest.mark.parametrize("axes", [(0, 1), (0, 2), (1, 2)], ids=["step-stream", "step-unit", "rest"])
def test_corners_of_a_square_are_independent(axes):
    kept = np.moveaxis(coins(), axes, (0, 1))
    assert_fair(kept[1:, 1:] * kept[1:, :-1] * kept[:-1, 1:] * kept[:-1, :-1])


@pytest.mark.parametrize("one, other", [*combinations(range(4), 2)])
def test_layers_are_independent(one, other):
    assert_fair(coins(layer=one) * coins(layer=other))


@pytest.mark.parametrize("seed", [1, 2, 3, 255, 2**16, 2**31])
def test_seeds_are_independent(seed):
    assert_fair(coins(seed=0) * coins(seed=seed))


@pytest.mark.parametrize("seed, layer", [(0, 1), (1, 2), (7, 0)])
def test_exchanging_seed_and_layer_gives_an_independent_mask(seed, layer):
    assert_fair(coins(seed=seed, layer=layer) * coins(seed=layer, layer=seed))


@pytest.mark.parametrize("seed", [0, 1, 2**16])
def test_layers_of_neighbouring_seeds_are_independent(seed):
    assert_fair(coins(seed=seed, layer=1) * coins(seed=seed + 1, layer=0))


def test_windows_that_follow_each_other_are_independent():
    assert_fair(coins(first_step=0) * coins(first_step=SHAPE[0]))


def test_layers_of_neighbouring_steps_are_independent():
    assert_fair(coins(layer=0, first_step=1) * coins(layer=1, first_step=0))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    shape=st.tuples(st.integers(1, 6), st.integers(1, 4), st.integers(1, 4)),
    first_step=st.integers(0, 2**34),
)
def test_mask_of_a_window_is_the_masks_of_its_steps(shape, first_step):
    n_steps, *rest = shape
    steps = [mask(shape=(1, *rest), first_step=first_step + t) for t in range(n_steps)]
    window = mask(shape=shape, first_step=first_step)
    np.testing.assert_array_equal(window, np.concatenate(steps))


@pytest.mark.parametrize("shape", [(200, 3, 100), (200, 10, 7)], ids=["streams", "units"])
def test_mask_of_fewer_is_part_of_the_mask_of_more(shape):
    expected = mask()[: shape[0], : shape[1], : shape[2]]
    np.testing.assert_array_equal(mask(shape=shape), expected)


@pytest.mark.parametrize("first_step", [2**31 - 2, 2**32 - 2, 2**32, 2**40, 2**63 + 5])
def test_steps_beyond_32_bits_count_from_zero_again(first_step):
    steps = [mask(shape=(1, 3, 2), first_step=(first_step + t) % 2**32) for t in range(4)]
    window = mask(shape=(4, 3, 2), first_step=first_step)
    np.testing.assert_array_equal(window, np.concatenate(steps))


@pytest.mark.parametrize("first_step", [0, 2**31 - 100, 2**32 - 100])
def test_steps_stay_independent_where_they_outgrow_32_bits(first_step):
    kept = coins(first_step=first_step)
    assert_fair(kept[1:] * kept[:-1])
