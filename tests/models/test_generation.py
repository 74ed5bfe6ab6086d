import chainer
import numpy as np
import pytest

from models import ARCHS
from models.generation import generate, most_likely, sampler, stream

V, U = 6, 8
each_arch = pytest.mark.parametrize("arch", ARCHS)


def model_of(arch):
    """A model with parameters so large that the state matters."""
    np.random.seed(1)
    model = ARCHS[arch](V, U)
    for _, param in sorted(model.namedparams()):
        param.array[...] = np.random.uniform(-2, 2, param.shape)
    return model


def read(model, tokens):
    """Logits of a model that reads the tokens as one window from a reset state."""
    model.reset_state()
    with chainer.using_config("train", False), chainer.no_backprop_mode():
        return model(np.asarray(tokens)[:, np.newaxis]).array


@each_arch
class TestGenerate:
    def test_reads_the_prime_then_feeds_each_prediction_back(self, arch):
        model = model_of(arch)
        written = generate(model, [4, 0, 2], 20)
        assert written.dtype == np.int32
        assert written[:3].tolist() == [4, 0, 2] and len(written) == 23
        expected = read(model, written[:-1]).argmax(axis=1)[2:]
        np.testing.assert_array_equal(written[3:], expected)

    def test_chooses_as_told(self, arch):
        seen = []
        written = generate(model_of(arch), [1], 5, lambda logits: seen.append(logits.copy()) or 3)
        assert written.tolist() == [1, 3, 3, 3, 3, 3]
        expected = read(model_of(arch), written[:-1])
        np.testing.assert_allclose(seen, expected, rtol=1e-4, atol=1e-5)

    def test_begins_from_a_reset_state_and_leaves_one(self, arch):
        model = model_of(arch)
        read(model, [5, 5, 1])
        first = generate(model, [1], 9)
        np.testing.assert_array_equal(first, generate(model_of(arch), [1], 9))
        with chainer.using_config("train", False):
            after = model(np.array([[2]])).array
        np.testing.assert_allclose(after, read(model_of(arch), [2]), rtol=1e-6)

    @pytest.mark.parametrize("choose", [most_likely, sampler(), sampler(top_k=1)])
    def test_refuses_logits_that_overflow(self, arch, choose):
        model = model_of(arch)
        for _, param in model.namedparams():
            param.array[...] = 1e38
        message = r"^the logits after token \d are not finite$"
        with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match=message):
            generate(model, [1], 3, choose)


@each_arch
class TestStream:
    def test_gives_each_id_when_it_is_chosen(self, arch):
        chosen = []

        def choose(logits):
            chosen.append(most_likely(logits))
            return chosen[-1]

        for count, token in enumerate(stream(model_of(arch), [4, 0], 9, choose), 1):
            assert (len(chosen), chosen[-1]) == (count, token)
        np.testing.assert_array_equal(chosen, generate(model_of(arch), [4, 0], 9)[2:])

    def test_reads_a_prime_of_any_length(self, arch, monkeypatch):
        monkeypatch.setattr("models.generation._CHUNK", 7)
        model = model_of(arch)
        prime = np.random.RandomState(2).randint(V, size=7 * 3 + 2)
        for length in (7, 8, 21, 23):
            written = generate(model, prime[:length], 3)
            expected = read(model, written[:-1]).argmax(axis=1)[length - 1 :]
            np.testing.assert_array_equal(written[length:], expected)

    def test_leaves_chainers_configuration_alone_in_between(self, arch):
        ids = stream(model_of(arch), [1], 3)
        for _ in range(2):
            next(ids)
            assert chainer.config.train and chainer.config.enable_backprop

    def test_that_is_not_read_to_its_end_leaves_a_reset_state(self, arch):
        model = model_of(arch)
        ids = stream(model, [4, 0], 9)
        next(ids)
        ids.close()
        with chainer.using_config("train", False):
            after = model(np.array([[2]])).array
        np.testing.assert_allclose(after, read(model_of(arch), [2]), rtol=1e-6)


class TestSampler:
    LOGITS = np.array([0.5, -1.0, 2.0, 1.5, -3.0, 0.0], np.float32)

    def frequencies(self, draw, n=5000):
        return np.bincount([draw(self.LOGITS) for _ in range(n)], minlength=V) / n

    @pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
    def test_draws_as_often_as_the_softmax_says(self, temperature):
        weights = [np.e ** (float(logit) / temperature) for logit in self.LOGITS]
        expected = np.array(weights) / sum(weights)
        # More than four standard deviations of 5,000 draws.
        np.testing.assert_allclose(self.frequencies(sampler(temperature)), expected, atol=0.03)

    def test_draws_of_the_k_likeliest_only(self):
        expected = np.zeros(V)
        expected[[2, 3]] = np.array([1, np.e**-0.5]) / (1 + np.e**-0.5)
        np.testing.assert_allclose(self.frequencies(sampler(top_k=2)), expected, atol=0.03)

    @pytest.mark.parametrize("options", [{"temperature": 1e-300}, {"top_k": 1}])
    def test_at_its_limits_takes_the_likeliest(self, options):
        logits = np.random.RandomState(0).normal(size=(50, V)).astype(np.float32)
        draw = sampler(**options)
        assert [draw(row) for row in logits] == [most_likely(row) for row in logits]

    def test_of_a_seed_draws_the_same_again(self):
        first, again, other = sampler(seed=3), sampler(seed=3), sampler(seed=4)
        drawn = [[draw(self.LOGITS) for _ in range(40)] for draw in (first, again, other)]
        assert drawn[0] == drawn[1] != drawn[2]

    def test_of_a_seed_draws_the_same_in_every_version_of_numpy(self):
        """By a generator that never changes, and the cumulative distribution in a loop."""
        uniform = np.random.RandomState(3).random_sample(40)
        weights = np.exp(self.LOGITS.astype(float))
        expected = []
        for number in uniform:
            for id_ in sorted(range(V), key=lambda i: -weights[i]):
                number -= weights[id_] / weights.sum()
                if number < 0:
                    break
            expected.append(id_)
        draw = sampler(seed=3)
        assert [draw(self.LOGITS) for _ in range(40)] == expected

    def test_draws_what_numpys_choice_draws(self):
        """Of a flat, a steep, and an almost certain distribution."""
        random = np.random.RandomState(7)
        draw = sampler(0.5, 20, seed=7)
        for scale in (0.1, 2, 30) * 50:
            logits = np.random.RandomState(int(10 * scale)).normal(size=40) * scale
            ids = np.argsort(-logits, kind="stable")[:20]
            weights = np.exp(2 * (logits[ids] - logits.max()))
            assert draw(logits) == random.choice(ids, p=weights / weights.sum())

    @pytest.mark.parametrize("k", [1, 2, 3])
    def test_of_equal_logits_takes_exactly_k(self, k):
        draw = sampler(top_k=k)
        assert {draw(np.zeros(V, np.float32)) for _ in range(200)} == set(range(k))
