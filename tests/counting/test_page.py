"""The page's file; what it does in a browser is in ``browser/test_page.py``."""

import base64
import json
import re

import numpy as np
import pytest

from counting.page import page_data, principal_axes, write_page
from models import ARCHS
from models.model_file import UNKNOWN, Trained
from own_data.vocabulary import CharVocabulary, IntegerVocabulary, WordVocabulary


def data_of(path):
    text = path.read_text(encoding="utf-8")
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text)
    return text, json.loads(data)


@pytest.mark.parametrize("arch", ARCHS)
def test_holds_every_parameter_as_it_is(tmp_path, arch):
    model = ARCHS[arch](5, 4)
    write_page(str(tmp_path / "page.html"), model, arch, UNKNOWN)
    _, data = data_of(tmp_path / "page.html")
    weights = np.frombuffer(base64.b64decode(data["weights"]), "<f4")
    for path, param in sorted(model.namedparams()):
        name, shape = data["shapes"].pop(0)
        assert (f"/{name}", tuple(shape)) == (path, param.shape)
        head, weights = np.split(weights, [param.size])
        np.testing.assert_array_equal(head.reshape(shape), param.array)
    assert not data["shapes"] and not weights.size


def test_names_no_other_address(tmp_path):
    write_page(str(tmp_path / "page.html"), ARCHS["rnn"](5, 4), "rnn", UNKNOWN)
    text, _ = data_of(tmp_path / "page.html")
    assert "{{" not in text
    assert "default-src 'none'" in text
    assert not re.search(r"https?:|\bsrc=|@import|url\(", text)


@pytest.mark.parametrize(
    ("vocabulary", "tokens", "characters"),
    [
        (CharVocabulary("</script>"[:5]), ["<", "/", "s", "c", "r"], True),
        (WordVocabulary(["</script>", "\n", "a"]), ["</script>", "\n", "a"], False),
        (IntegerVocabulary(3), ["0", "1", "2"], False),
    ],
)
def test_of_ones_own_data_holds_the_tokens_and_no_period(tmp_path, vocabulary, tokens, characters):
    model = ARCHS["gru"](len(vocabulary), 3)
    write_page(str(tmp_path / "page.html"), model, "gru", Trained("own data", vocabulary))
    _, data = data_of(tmp_path / "page.html")
    assert (data["tokens"], data["characters"], data["cycle"]) == (tokens, characters, False)
    assert data["layers"][0].keys() == {"limit", "order"}


def test_units_stand_in_the_order_of_their_correlations():
    layers = page_data(ARCHS["lstm"](5, 6), "lstm", UNKNOWN)["layers"]
    assert len(layers) == 2
    for layer in layers:
        assert sorted(layer["order"]) == list(range(6))
        sizes = np.abs(layer["correlations"])
        assert (np.diff(sizes) <= 0).all() and sizes[0] > 0


@pytest.mark.parametrize(
    ("source", "ordered"), [("ordered", True), ("shuffled", False), (None, None)]
)
def test_order_is_that_of_the_training(source, ordered):
    assert page_data(ARCHS["rnn"](5, 4), "rnn", Trained(source))["ordered"] is ordered


def test_principal_axes_are_those_of_the_covariance():
    states = np.random.RandomState(0).normal(size=(90, 5)) * [1, 9, 2, 5, 1] + [7, 0, 0, 0, 0]
    mean, axes = principal_axes(states.astype(np.float32))
    values, vectors = np.linalg.eigh(np.cov(states.T))
    np.testing.assert_allclose(mean, states.mean(axis=0), atol=1e-5)
    for axis, vector in zip(axes, vectors[:, ::-1].T, strict=False):
        assert abs(axis @ vector) == pytest.approx(1, abs=1e-5)
        assert axis[abs(axis).argmax()] > 0
    assert values[-1] > values[-2]


def test_one_unit_has_a_second_axis_of_zeros():
    _, axes = principal_axes(np.array([[0.0], [1.0]]))
    assert axes.tolist() == [[1], [0]]
