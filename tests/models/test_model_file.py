import json
import os
import pathlib
import random

import numpy as np
import pytest
from chainer import Chain
from chainer import links as L
from chainer.serializers import load_npz, save_npz
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models import ARCHS
from models.model_file import (
    UNKNOWN,
    Trained,
    files_of_version_1,
    load_model,
    parameter_shapes,
    save_model,
)
from own_data.vocabulary import CharVocabulary, IntegerVocabulary, WordVocabulary
from support.files import BadFile, read_arrays, write_arrays

V, U = 7, 5

each_arch = pytest.mark.parametrize("arch", ARCHS)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "file")


def parameters(model):
    return {name.lstrip("/"): param.array for name, param in model.namedparams()}


def assert_equal(actual, expected):
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        assert actual[name].dtype == array.dtype
        np.testing.assert_array_equal(actual[name], array)


class TestParameterShapes:
    @each_arch
    @given(st.integers(2, 40), st.integers(1, 40))
    @example(10, 5)  # one size a multiple of the other
    @example(3, 5)  # those within the function
    @example(5, 3)
    @settings(max_examples=20, deadline=None)
    def test_are_those_of_a_model_of_any_size(self, arch, n_vocab, n_units):
        model = ARCHS[arch](n_vocab, n_units)
        expected = {name: array.shape for name, array in parameters(model).items()}
        assert parameter_shapes(arch, n_vocab, n_units) == expected

    @each_arch
    def test_take_no_memory_for_a_model(self, arch):
        shapes = parameter_shapes(arch, 10**9, 10**9)
        assert shapes["embed/W"] == (10**9, 10**9)

    @each_arch
    def test_leave_the_global_random_state_alone(self, arch):
        np.random.seed(3)
        expected = np.random.rand(3)
        np.random.seed(3)
        parameter_shapes(arch, V, U)
        np.testing.assert_array_equal(np.random.rand(3), expected)


class TestSavedModel:
    @each_arch
    def test_is_loaded_as_it_was(self, path, arch):
        model = ARCHS[arch](V, U)
        save_model(path, model)
        loaded_arch, loaded, _ = load_model(path)
        assert loaded_arch == arch
        assert type(loaded) is type(model)
        assert_equal(parameters(loaded), parameters(model))

    @each_arch
    @pytest.mark.parametrize("n_vocab, n_units", [(2, 1), (5, 10)])
    def test_is_recognised_at_any_size(self, path, arch, n_vocab, n_units):
        save_model(path, ARCHS[arch](n_vocab, n_units))
        loaded_arch, loaded, _ = load_model(path)
        assert (loaded_arch, loaded.embed.W.shape) == (arch, (n_vocab, n_units))

    @each_arch
    def test_is_loaded_by_chainer(self, path, arch):
        model, other = ARCHS[arch](V, U), ARCHS[arch](V, U)
        save_model(path, model)
        load_npz(path, other)
        assert_equal(parameters(other), parameters(model))

    @each_arch
    def test_has_the_names_that_chainer_gives(self, path, tmp_path, arch):
        model = ARCHS[arch](V, U)
        save_model(path, model)
        save_npz(str(tmp_path / "chainers"), model)
        with np.load(path) as ours, np.load(tmp_path / "chainers") as theirs:
            assert set(ours) == set(theirs)

    @each_arch
    def test_holds_the_parameters_in_an_order_that_no_run_changes(self, path, arch):
        save_model(path, ARCHS[arch](V, U))
        with np.load(path) as file:
            assert file.files == sorted(file.files)

    @each_arch
    def test_holds_no_recurrent_state(self, path, arch):
        model = ARCHS[arch](V, U)
        save_model(path, model)
        before = read_arrays(path)
        model(np.zeros((3, 2), np.int32))
        save_model(path, model)
        assert_equal(read_arrays(path), before)

    def test_is_sealed(self, path):
        save_model(path, ARCHS["rnn"](V, U))
        read_arrays(path, sealed=True)

    def test_predicts_from_a_fresh_state(self, path):
        save_model(path, ARCHS["lstm"](V, U))
        _, model, _ = load_model(path)
        assert model.l1.h is None


class TestChainersModel:
    @each_arch
    @pytest.mark.parametrize("compression", [True, False])
    def test_is_loaded(self, path, arch, compression):
        model = ARCHS[arch](V, U)
        save_npz(path, model, compression=compression)
        loaded_arch, loaded, _ = load_model(path)
        assert loaded_arch == arch
        assert_equal(parameters(loaded), parameters(model))

    @pytest.mark.parametrize("dtype", [np.float16, np.float64])
    def test_of_another_precision_is_loaded_in_ours(self, path, dtype):
        arrays = parameters(ARCHS["rnn"](V, U))
        write_arrays(path, {name: array.astype(dtype) for name, array in arrays.items()})
        loaded = parameters(load_model(path)[1])
        for name, array in arrays.items():
            assert loaded[name].dtype == np.float32
            np.testing.assert_array_equal(loaded[name], array.astype(dtype).astype(np.float32))


OWN_DATA = [
    CharVocabulary("ab c\n\u00e9\U0001f600"),
    WordVocabulary(["\n", "to", "be", '"or"', "not", "\u00e9", "["]),
    IntegerVocabulary(V),
]


def told(trained):
    """What can be compared."""
    vocabulary = trained.vocabulary
    return trained.source, vocabulary and (vocabulary.kind, vocabulary.tokens(), len(vocabulary))


class TestWhatAModelWasTrainedOn:
    @pytest.mark.parametrize(
        "trained",
        [
            UNKNOWN,
            Trained("ordered"),
            Trained("shuffled"),
            *(Trained("own data", vocabulary) for vocabulary in OWN_DATA),
        ],
        ids=lambda trained: f"{trained.source} {trained.vocabulary and trained.vocabulary.kind}",
    )
    def test_is_in_the_file_and_nowhere_else(self, path, tmp_path, trained):
        save_model(path, ARCHS["rnn"](V, U), trained)
        assert os.listdir(tmp_path) == ["file"]
        assert told(load_model(path)[2]) == told(trained)

    def test_does_not_keep_stock_chainer_from_loading_the_model(self, path):
        model, other = ARCHS["rnn"](V, U), Chain()
        with other.init_scope():
            other.embed = L.EmbedID(V, U)
            other.l1, other.r1, other.l2 = L.Linear(U, U), L.Linear(U, U), L.Linear(U, V)
        save_model(path, model, Trained("own data", OWN_DATA[0]))
        load_npz(path, other)
        assert_equal(parameters(other), parameters(model))

    def test_is_read_by_numpy_as_text(self, path):
        save_model(path, ARCHS["rnn"](V, U), Trained("own data", OWN_DATA[0]))
        with np.load(path) as file:
            said = json.loads(file["about"].tobytes())
        tokens = {"kind": "char", "tokens": OWN_DATA[0].tokens()}
        assert said == {"trained on": "own data", "vocabulary": tokens}

    def test_and_equal_parameters_make_equal_bytes(self, path):
        model, contents = ARCHS["lstm"](V, U), set()
        for _ in range(3):
            save_model(path, model, Trained("own data", WordVocabulary(OWN_DATA[1].tokens())))
            contents.add(pathlib.Path(path).read_bytes())
        assert len(contents) == 1


class TestAModelOfVersion1:
    """Its vocabulary lies beside it, and nothing tells in which order runs were."""

    @pytest.fixture
    def beside(self, tmp_path):
        path = tmp_path / "file.vocab.json"
        path.write_text(json.dumps({"kind": "char", "tokens": list("abcdefg")}))
        return path

    def test_is_loaded_with_its_vocabulary(self, path, beside):
        save_model(path, ARCHS["rnn"](V, U))
        assert told(load_model(path)[2]) == ("own data", ("char", list("abcdefg"), V))

    def test_is_refused_with_another_one(self, path, beside):
        save_model(path, ARCHS["rnn"](V + 1, U))
        message = r"^has beside it \S*file.vocab.json, which is not a vocabulary of the model's 8"
        with pytest.raises(BadFile, match=message):
            load_model(path)

    @pytest.mark.parametrize("trained", [Trained("shuffled"), Trained("own data", OWN_DATA[1])])
    def test_leaves_a_vocabulary_that_a_later_one_does_not_look_at(self, path, beside, trained):
        beside.write_text("garbage")
        save_model(path, ARCHS["rnn"](V, U), trained)
        assert told(load_model(path)[2]) == told(trained)

    def test_is_named_with_its_vocabulary(self, tmp_path):
        names = [
            f"{arch}_simple_sequence{best}.{kind}"
            for arch, best, kind in [
                ("rnn", "", "model"),
                ("rnn", ".best", "model"),
                ("rnn", ".best", "vocab.json"),
                ("gru", "", "vocab.json"),
            ]
        ]
        for name in names:
            (tmp_path / name).touch()
        assert files_of_version_1(str(tmp_path), "rnn") == [
            str(tmp_path / name) for name in names[1:3]
        ]


DESCRIPTION = {"trained on": "own data", "vocabulary": {"kind": "char", "tokens": list("abcdefg")}}


class TestWrongFile:
    """Refused with a reason; each begins as the parameters of a good ``rnn3``."""

    @pytest.fixture
    def arrays(self):
        return parameters(ARCHS["rnn3"](V, U))

    def refuse(self, path, arrays, reason):
        write_arrays(path, arrays)
        with pytest.raises(BadFile, match=reason):
            load_model(path)

    def test_that_lacks_any_parameter(self, path, arrays):
        for name in arrays:
            rest = {other: arrays[other] for other in arrays if other != name}
            self.refuse(path, rest, "holds no model of the architectures rnn, rnn2, rnn3, lstm")

    def test_that_holds_a_parameter_more(self, path, arrays):
        for name in "l9/W", "About", "about/W":
            self.refuse(path, {**arrays, name: np.zeros(3)}, "holds no model")

    def test_that_holds_a_parameter_of_another_shape(self, path, arrays):
        for name, array in arrays.items():
            for other in array[None], array[:-1], np.concatenate((array, array)):
                self.refuse(path, {**arrays, name: other}, "holds no model")

    @pytest.mark.parametrize(
        "said",
        [
            "",
            "{",
            "7",
            "[]",
            "NaN",
            100_000 * "[",
            "\udc80",
            {},
            {**DESCRIPTION, "more": 1},
            {"trained on": "own data"},
            {**DESCRIPTION, "trained on": "a later version's"},
            {**DESCRIPTION, "trained on": ["own data"]},
            {**DESCRIPTION, "trained on": {}},
            {**DESCRIPTION, "trained on": None},
            {**DESCRIPTION, "trained on": "ordered"},
            {**DESCRIPTION, "vocabulary": None},
            {**DESCRIPTION, "vocabulary": "abcdefg"},
            {**DESCRIPTION, "vocabulary": {"kind": "char", "tokens": list("abcdef")}},
            {**DESCRIPTION, "vocabulary": {"kind": "char", "tokens": list("abcdeff")}},
            {**DESCRIPTION, "vocabulary": {"kind": "char", "tokens": [*"abcdef", "gh"]}},
            {**DESCRIPTION, "vocabulary": {"kind": "char", "tokens": [*"abcdef", 7]}},
            {**DESCRIPTION, "vocabulary": {"kind": ["char"], "tokens": list("abcdefg")}},
            {**DESCRIPTION, "vocabulary": {"kind": "bytes", "tokens": list("abcdefg")}},
        ],
        ids=str,
    )
    def test_that_does_not_say_what_it_was_trained_on(self, path, arrays, said):
        text = said if isinstance(said, str) else json.dumps(said)
        about = np.frombuffer(text.encode(errors="surrogateescape"), np.uint8)
        self.refuse(path, {**arrays, "about": about}, "^is damaged or of another version: it does")

    @pytest.mark.parametrize(
        "change",
        [
            lambda about: about[None],
            lambda about: about.astype(np.int8),
            lambda about: about.astype(np.float32),
            lambda about: np.array(about.tobytes()),
            lambda about: np.array(about.tobytes().decode()),
        ],
        ids=range(5),
    )
    def test_that_says_it_in_another_type(self, path, arrays, change):
        about = np.frombuffer(json.dumps(DESCRIPTION).encode(), np.uint8)
        self.refuse(path, {**arrays, "about": change(about)}, "it does not say what it was trained")

    def test_that_says_too_much(self, path, arrays, monkeypatch):
        about = np.frombuffer(json.dumps(DESCRIPTION).encode(), np.uint8)
        monkeypatch.setattr("models.model_file._MOST_BYTES", about.size - 1)
        self.refuse(path, {**arrays, "about": about}, "it does not say what it was trained on")

    @pytest.mark.parametrize("dtype", [np.int32, np.bool_, "U3", "S3"])
    def test_that_holds_no_floating_point_numbers(self, path, arrays, dtype):
        wrong = {**arrays, "l5/W": np.zeros_like(arrays["l5/W"]).astype(dtype)}
        self.refuse(path, wrong, "not floating-point numbers")

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_that_holds_numbers_that_are_not_finite(self, path, arrays, value):
        for name, array in arrays.items():
            wrong = array.copy()
            wrong.flat[random.Random(name).randrange(array.size)] = value
            self.refuse(path, {**arrays, name: wrong}, rf"are not finite \({name}\)")

    def test_that_holds_numbers_that_are_not_finite_in_our_precision(self, path, arrays):
        wrong = {**arrays, "l5/W": np.full(arrays["l5/W"].shape, 1e300)}
        self.refuse(path, wrong, r"are not finite \(l5/W\)")

    @pytest.mark.parametrize("shape", [(), (3,), (0, 0), (0, 5), (3, 0), (2, 3, 4)])
    def test_whose_embedding_is_none(self, path, arrays, shape):
        self.refuse(path, {**arrays, "embed/W": np.zeros(shape, np.float32)}, "holds no model")

    def test_that_holds_nothing(self, path):
        self.refuse(path, {}, "holds no model")

    def test_that_is_a_snapshot(self, path, arrays):
        snapshot = {f"updater/model:main/predictor/{name}": arrays[name] for name in arrays}
        self.refuse(path, {"snapshot": "{}", **snapshot}, "is a snapshot, not a model")

    def test_that_is_none(self, path):
        with open(path, "w") as file:
            file.write("1 2 2 3 3 3")
        with pytest.raises(BadFile, match="is damaged or of another format"):
            load_model(path)

    def test_that_does_not_exist(self, path):
        with pytest.raises(BadFile, match="does not exist"):
            load_model(path)


class TestFailingDisk:
    def test_leaves_the_model_of_before(self, path, tmp_path, monkeypatch):
        old, new = ARCHS["rnn"](V, U), ARCHS["rnn"](V, U)
        save_model(path, old)

        def fail(*arguments):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(OSError):
            save_model(path, new)
        assert os.listdir(tmp_path) == ["file"]
        assert_equal(parameters(load_model(path)[1]), parameters(old))
