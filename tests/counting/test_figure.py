import chainer_compat

import numpy as np
import pytest

from counting.figure import draw_counting
from counting.scores import free_run, periods
from counting.traces import correlations, generate, position_in_run, record
from models import ARCHS

V, U = 5, 6
LAYERS = [("rnn", 1), ("rnn2", 1), ("rnn2", 3), ("rnn3", 2), ("lstm", 1), ("lstm", 2)]
TOKENS = periods(V, 2)
N = len(TOKENS) - 1  # two periods


def model_of(arch):
    np.random.seed(2)
    model = ARCHS[arch](V, U)
    for _, param in sorted(model.namedparams()):
        param.array[...] = np.random.uniform(-1, 1, param.shape)
    return model


class Drawn:
    """A figure with its panels by name."""

    def __init__(self, model, arch="rnn", layer=1):
        self.figure = draw_counting(model, arch, layer)
        self.figure.draw_without_rendering()
        panels = [axes for axes in self.figure.axes if axes.axison]
        self.sequence, self.probability, self.units, self.curve, self.colours = panels

    def line(self, label):
        return next(line for line in self.sequence.lines if line.get_label() == label)


@pytest.fixture(scope="module", params=LAYERS, ids=lambda each: f"{each[0]}-{each[1]}")
def case(request):
    arch, layer = request.param
    model = model_of(arch)
    drawn = Drawn(model, arch, layer)
    return drawn, model, layer


class TestSequence:
    def test_true_one_is_two_periods_and_what_follows(self, case):
        x, y = case[0].line("true").get_data()
        assert x.tolist() == list(range(N + 1)) and y.tolist() == TOKENS.tolist()

    def test_generated_one_is_what_the_model_writes(self, case):
        drawn, model, _ = case
        x, y = drawn.line("generated").get_data()
        assert x.tolist() == list(range(N + 1))
        assert y.tolist() == generate(model, 1, N + 1).tolist()

    def test_mistakes_are_marked_where_the_two_differ(self, case):
        drawn, model, _ = case
        written = generate(model, 1, N + 1)
        x, y = drawn.line("mistake").get_data()
        assert x.tolist() == [place for place in range(N + 1) if written[place] != TOKENS[place]]
        assert y.tolist() == written[x].tolist()

    def test_lines_differ_without_colour(self, case):
        lines = [case[0].line(label) for label in ("true", "generated", "mistake")]
        looks = {(line.get_linestyle(), line.get_marker(), line.get_linewidth()) for line in lines}
        assert len(looks) == 3

    def test_title_tells_the_free_run(self, case):
        drawn, model, _ = case
        count = free_run(model, TOKENS)
        assert f": {count} of {N} tokens" in drawn.figure.get_suptitle()


def test_title_tells_that_there_is_no_mistake(monkeypatch):
    monkeypatch.setattr("counting.figure.generate", lambda *_: TOKENS)
    drawn = Drawn(model_of("rnn"))
    assert drawn.figure.get_suptitle() == f"rnn: all {N} tokens generated with no mistake"
    assert drawn.line("mistake").get_xdata().size == 0


def test_probability_of_each_token_stands_at_its_place(case):
    drawn, model, layer = case
    x, y = drawn.probability.lines[0].get_data()
    _, probabilities = record(model, TOKENS, layer)
    assert x.tolist() == list(range(1, N + 1))
    np.testing.assert_array_equal(y, probabilities)


class TestUnits:
    def test_stand_with_the_best_counters_first(self, case):
        drawn, model, layer = case
        states, _ = record(model, TOKENS, layer)
        drawn_states = np.asarray(drawn.units.images[0].get_array()).T
        r = abs(correlations(drawn_states, position_in_run(TOKENS[:-1])))
        assert (np.diff(r) <= 1e-12).all()
        assert sorted(map(tuple, drawn_states.T)) == sorted(map(tuple, states.T))

    def test_best_one_is_named_with_its_correlation(self, case):
        drawn, model, layer = case
        states, _ = record(model, TOKENS, layer)
        r = [np.corrcoef(unit, position_in_run(TOKENS[:-1]))[0, 1] for unit in states.T]
        best = int(np.argmax(np.abs(r)))
        kind = "cell" if model.__class__.__name__ == "RNNForLM" else "unit"
        title = drawn.units.get_title(loc="left")
        assert title.startswith(f"best counter: {kind} {best}, correlation {r[best]:+.2f} ")

    def test_correlations_are_drawn_beside_them(self, case):
        drawn, model, layer = case
        states, _ = record(model, TOKENS, layer)
        r = abs(correlations(states, position_in_run(TOKENS[:-1])))
        x, y = drawn.curve.lines[0].get_data()
        np.testing.assert_allclose(x, np.sort(r)[::-1])
        assert y.tolist() == list(range(U))

    def test_stand_under_the_tokens_that_they_have_read(self, case):
        left, right, bottom, top = case[0].units.images[0].get_extent()
        assert (left, right, bottom, top) == (-0.5, N - 0.5, U - 0.5, -0.5)
        assert case[0].units.get_xlim() == case[0].sequence.get_xlim() == (-0.5, N + 0.5)

    def test_colours_run_from_dark_to_bright(self, case):
        colours = case[0].units.images[0].get_cmap()(np.linspace(0, 1, 32))[:, :3]
        assert (np.diff(colours @ (0.299, 0.587, 0.114)) > 0).all()

    def test_colour_of_zero_is_in_the_middle(self, case):
        low, high = case[0].units.images[0].get_clim()
        assert low == -high < 0

    @pytest.mark.filterwarnings("error")
    def test_may_be_constant(self):
        model = model_of("rnn")
        for param in model.params():
            param.array[...] = 0
        drawn = Drawn(model)
        assert not drawn.units.images[0].get_array().any()
        assert "correlation +0.00" in drawn.units.get_title(loc="left")


def test_every_axis_is_labelled(case):
    drawn = case[0]
    assert "place in the sequence (tokens" in drawn.units.get_xlabel()
    labels = [drawn.sequence.get_ylabel(), drawn.probability.get_ylabel(), drawn.units.get_ylabel()]
    labels += [drawn.curve.get_xlabel(), drawn.colours.get_ylabel()]
    assert all(labels)


def test_fits_a_readme(case):
    width, _ = case[0].figure.canvas.get_width_height()
    assert 750 <= width <= 850


def test_the_smallest_vocabulary_can_be_drawn():
    np.random.seed(0)
    draw_counting(ARCHS["rnn"](2, 3), "rnn")
