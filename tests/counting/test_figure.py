import numpy as np
import pytest

from counting.figure import draw_counting
from counting.scores import free_run, periods
from counting.traces import correlations, position_in_run, record
from models import ARCHS
from models.generation import generate

V, U = 5, 6
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
        self.sequence, self.probability, self.counter, self.units, self.curve = panels[:5]
        self.colours, self.position = sorted(panels[5:], key=lambda axes: axes.get_xlim()[1] > N)

    def line(self, label):
        return next(line for line in self.sequence.lines if line.get_label() == label)


@pytest.fixture(scope="module", params=[("rnn", 1), ("lstm", 2)], ids=["rnn", "lstm"])
def case(request):
    arch, layer = request.param
    model = model_of(arch)
    return Drawn(model, arch, layer), model, layer


def test_sequences_are_the_true_and_the_generated_one(case):
    drawn, model, _ = case
    written = generate(model, [1], N)
    for label, tokens in (("true", TOKENS), ("generated", written)):
        x, y = drawn.line(label).get_data()
        assert x.tolist() == list(range(N + 1)) and y.tolist() == tokens.tolist()
    x, y = drawn.line("mistake").get_data()
    assert x.tolist() == [place for place in range(N + 1) if written[place] != TOKENS[place]]
    assert y.tolist() == written[x].tolist()


def test_title_tells_the_free_run(case):
    drawn, model, _ = case
    assert f": {free_run(model, TOKENS)} of {N} tokens" in drawn.figure.get_suptitle()


def test_title_tells_that_there_is_no_mistake(monkeypatch):
    monkeypatch.setattr("counting.figure.generate", lambda *_: TOKENS)
    drawn = Drawn(model_of("rnn"))
    assert drawn.figure.get_suptitle() == f"rnn: all {N} tokens generated with no mistake"
    assert drawn.line("mistake").get_xdata().size == 0


def test_probability_of_each_token_stands_at_its_place(case):
    drawn, model, layer = case
    x, y = drawn.probability.lines[0].get_data()
    assert x.tolist() == list(range(1, N + 1))
    np.testing.assert_array_equal(y, record(model, TOKENS, layer)[1])


def test_best_counter_is_drawn_and_named_with_its_correlation(case):
    drawn, model, layer = case
    states, _ = record(model, TOKENS, layer)
    r = correlations(states, TOKENS)
    best = int(np.argmax(np.abs(r)))
    kind = "cell" if layer == 2 else "unit"
    title = drawn.counter.get_title(loc="left")
    assert title.startswith(
        f"best counter of layer {layer}: {kind} {best}, correlation {r[best]:+.2f} "
    )
    x, y = drawn.counter.lines[0].get_data()
    assert x.tolist() == list(range(N + 1))
    np.testing.assert_array_equal(y, states[:, best])


def test_position_in_the_run_is_drawn_behind_the_counter(case):
    (area,) = case[0].position.collections
    corners = area.get_paths()[0].vertices
    for place, count in enumerate(position_in_run(TOKENS)[1:-1], 1):
        heights = corners[np.abs(corners[:, 0] - place) <= 0.5, 1]
        assert count in heights


def test_units_stand_with_the_best_counters_first_and_none_falling(case):
    drawn, model, layer = case
    states, _ = record(model, TOKENS, layer)
    shown = np.asarray(drawn.units.images[0].get_array())
    r = correlations(shown.T, TOKENS)
    assert (r >= 0).all() and (np.diff(r) <= 1e-12).all()
    for unit in shown:
        assert any(np.array_equal(unit, sign * state) for state in states.T for sign in (1, -1))
    x, y = drawn.curve.lines[0].get_data()
    np.testing.assert_allclose(x, r, rtol=1e-6)
    assert y.tolist() == list(range(U))


def test_units_stand_under_the_tokens_that_they_have_read(case):
    drawn = case[0]
    assert drawn.units.images[0].get_extent() == [-0.5, N + 0.5, U - 0.5, -0.5]
    assert drawn.units.get_xlim() == drawn.sequence.get_xlim() == (-0.5, N + 0.5)


def test_colours_run_from_dark_to_bright_with_zero_in_the_middle(case):
    image = case[0].units.images[0]
    low, high = image.get_clim()
    assert low == -high < 0
    colours = image.get_cmap()(np.linspace(0, 1, 32))[:, :3]
    assert (np.diff(colours @ (0.299, 0.587, 0.114)) > 0).all()


@pytest.mark.filterwarnings("error")
def test_units_may_be_constant():
    model = model_of("rnn")
    for param in model.params():
        param.array[...] = 0
    drawn = Drawn(model)
    assert not drawn.units.images[0].get_array().any()
    assert "correlation +0.00" in drawn.counter.get_title(loc="left")


def test_every_axis_is_labelled_within_a_readme(case):
    drawn = case[0]
    assert "place in the sequence (tokens" in drawn.units.get_xlabel()
    panels = drawn.sequence, drawn.probability, drawn.counter, drawn.units
    assert all(axes.get_ylabel() for axes in panels)
    assert drawn.curve.get_xlabel() and drawn.colours.get_xlabel()
    assert 750 <= drawn.figure.canvas.get_width_height()[0] <= 850


def test_the_smallest_vocabulary_can_be_drawn():
    draw_counting(ARCHS["rnn"](2, 3), "rnn")
