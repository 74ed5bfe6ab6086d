"""``Stateful``: resetting, copying, moving and saving the state of a link."""

import numpy as np
import pytest
from chainer import Chain, Parameter, Sequential, Variable, serializers
from chainer.device_resident import DeviceResidentsVisitor

from models.stateful import Stateful


class Total(Stateful, Chain):
    """Adds up what it is given, scaled; the sum is its state ``h``."""

    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.scale = Parameter(np.ones((), np.float32))
        self.reset_state()

    def forward(self, x):
        step = x * self.scale
        self.h = step if self.h is None else self.h + step
        return self.h


class TwoStates(Stateful, Chain):
    state_names = ("c", "h")

    def __init__(self):
        super().__init__()
        self.reset_state()


class Recorder(DeviceResidentsVisitor):
    """Remembers the variables that it was shown."""

    def __init__(self):
        self.variables = []

    def visit_device_resident(self, device_resident):
        pass

    def visit_array(self, array):
        return array

    def visit_variable(self, variable):
        self.variables.append(variable)


def numbers(*values):
    return np.float32(values)


def saved_state(link):
    """What a snapshot keeps of the link's state."""
    serializer = serializers.DictionarySerializer()
    link.serialize_state(serializer)
    return serializer.target


def load_state(link, target):
    link.serialize_state(serializers.NpzDeserializer(target))


def test_a_link_without_constructor_of_its_own_can_be_reset():
    link = Total()
    link.reset_state()
    assert link.h is None


def test_reset_forgets_each_state():
    link = TwoStates()
    link.c, link.h = Variable(numbers(1)), Variable(numbers(2))
    link.reset_state()
    assert (link.c, link.h) == (None, None)


def test_reset_of_a_copy_leaves_the_original_state():
    link = Total()
    link(numbers(1, 2))
    link.copy().reset_state()
    np.testing.assert_array_equal(link.h.array, [1, 2])


def test_a_copy_goes_on_from_the_state():
    link = Total()
    link(numbers(1, 2))
    np.testing.assert_array_equal(link.copy()(numbers(10, 10)).array, [11, 12])


def test_calling_a_copy_leaves_the_original_state():
    link = Total()
    link(numbers(1, 2))
    link.copy()(numbers(10, 10))
    np.testing.assert_array_equal(link.h.array, [1, 2])


def test_state_is_no_parameter():
    link = Total()
    link(numbers(1, 2))
    assert [name for name, _ in link.namedparams()] == ["/scale"]


def test_a_model_file_holds_no_state(tmp_path):
    link = Total()
    link(numbers(1, 2))
    serializers.save_npz(str(tmp_path / "model"), link)
    with np.load(tmp_path / "model") as arrays:
        assert arrays.files == ["scale"]


def test_moving_the_link_takes_each_state_along():
    link = TwoStates()
    link.c, link.h = Variable(numbers(1)), Variable(numbers(2))
    recorder = Recorder()
    link.device_resident_accept(recorder)
    assert {id(variable) for variable in recorder.variables} == {id(link.c), id(link.h)}


def test_moving_the_link_takes_its_parameters_along():
    link = Total()
    link(numbers(1))
    recorder = Recorder()
    link.device_resident_accept(recorder)
    assert any(variable is link.scale for variable in recorder.variables)


def test_moving_a_link_without_state_visits_parameters_only():
    link = Total()
    recorder = Recorder()
    link.device_resident_accept(recorder)
    assert [variable is link.scale for variable in recorder.variables] == [True]


def test_moving_a_chain_takes_the_states_of_its_links_along():
    chain = Sequential(Total(), Total())
    chain(numbers(1))
    recorder = Recorder()
    chain.device_resident_accept(recorder)
    visited = {id(variable) for variable in recorder.variables}
    assert {id(link.h) for link in chain} <= visited


def test_state_on_the_same_device_survives_moving():
    link = Total()
    link(numbers(1, 2))
    link.to_device("@numpy")
    np.testing.assert_array_equal(link.h.array, [1, 2])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_saved_state_comes_back_exactly(dtype):
    link, other = TwoStates(), TwoStates()
    link.c = Variable(np.array([[1 / 3, 2], [3, 4]], dtype))
    link.h = Variable(np.array([[5 / 7, 6]], dtype))
    load_state(other, saved_state(link))
    for ours, expected in ((other.c, link.c), (other.h, link.h)):
        assert ours.dtype == dtype
        np.testing.assert_array_equal(ours.array, expected.array)


def test_restored_state_is_a_variable_without_history():
    link, other = Total(), Total()
    link(numbers(1))
    load_state(other, saved_state(link))
    assert isinstance(other.h, Variable)
    assert other.h.creator_node is None


def test_a_restored_link_goes_on_as_the_saved_one():
    link, other = Total(), Total()
    link(numbers(1, 2))
    load_state(other, saved_state(link))
    np.testing.assert_array_equal(other(numbers(5, 5)).array, link(numbers(5, 5)).array)


def test_saving_leaves_the_state():
    link = Total()
    link(numbers(1, 2))
    saved_state(link)
    np.testing.assert_array_equal(link.h.array, [1, 2])


def test_absent_state_comes_back_as_absent():
    other = Total()
    other(numbers(1, 2))
    load_state(other, saved_state(Total()))
    assert other.h is None


def test_states_are_absent_one_by_one():
    link, other = TwoStates(), TwoStates()
    link.h = Variable(numbers(1))
    load_state(other, saved_state(link))
    assert other.c is None
    np.testing.assert_array_equal(other.h.array, [1])


@pytest.mark.parametrize("has_state", [True, False], ids=["state", "no state"])
def test_a_file_of_the_state_loads_without_pickle(tmp_path, has_state):
    link = Total()
    if has_state:
        link(numbers(1, 2))
    np.savez(tmp_path / "state.npz", **saved_state(link))
    other = Total()
    with np.load(tmp_path / "state.npz", allow_pickle=False) as arrays:
        load_state(other, arrays)
    assert (other.h is not None) == has_state
