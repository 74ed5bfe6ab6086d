"""The predicting command on models of text: how it reads the prime, and how it writes."""

import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from models import ARCHS
from models.model_file import Trained, save_model
from own_data.vocabulary import CharVocabulary, WordVocabulary
from tests.commands import ROOT
from tests.test_on_a_terminal import CLIPBOARD, open_terminal, read_terminal
from tests.test_predict_simple_sequence import generated

SCRIPT = str(ROOT / "predict_simple_sequence.py")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
ENVIRONMENT.pop("PYTHONUNBUFFERED", None)  # output is to be buffered, as it is for a user
CHARS = "aI t\u00efwsM\n"
WORDS = ["It", "was", "\n", "all."]
ENDLESS = ["-l", "2000000000"]


def random_model(arch, n_vocab):
    model = ARCHS[arch](n_vocab, 6)
    random = np.random.RandomState(5)
    for _, param in sorted(model.namedparams()):
        param.array[...] = random.uniform(-2, 2, param.shape)
    return model


def text_after(prime, length, arch="rnn"):
    """What the model of characters writes, by reading all that is there again for each."""
    ids = [CHARS.index(char) for char in prime]
    model = random_model(arch, len(CHARS))
    return "".join(CHARS[id_] for id_ in generated(model, ids, length))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    (folder / "result").mkdir()
    for name, arch, vocabulary in (
        ("rnn_simple_sequence", "rnn", CharVocabulary(CHARS)),
        ("gru_simple_sequence", "gru", CharVocabulary(CHARS)),
        ("lstm_simple_sequence", "lstm", WordVocabulary(WORDS)),
    ):
        path = str(folder / "result" / f"{name}.model")
        model = random_model(arch, len(vocabulary))
        save_model(path, model, Trained("own data", vocabulary))
    return folder


def start(folder, *arguments, **options):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, SCRIPT, *arguments]
    return subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, **{**pipes, **options})


def predict(folder, *arguments, stdin=b""):
    """Exit code, output, and stderr."""
    with start(folder, *arguments, stdin=subprocess.PIPE) as process:
        out, err = process.communicate(stdin, timeout=60)
    return process.returncode, out.decode(), err.decode()


class TestStandardInput:
    @pytest.mark.parametrize("arch", ["rnn", "gru"])
    def test_is_what_the_network_goes_on_with(self, models, arch):
        done = predict(models, "-a", arch, "--prime", "-", "-l", "30", stdin=b"It was\n")
        assert done == (0, text_after("It was", 30, arch) + "\n", "")

    def test_has_the_ends_of_lines_and_the_characters_of_a_text(self, models):
        prime = "\ufeffIt\r\nwas t\u00ef\r\n".encode()
        done = predict(models, "--prime", "-", "-l", "9", stdin=prime)
        assert done == (0, text_after("It\nwas t\u00ef", 9) + "\n", "")

    def test_may_be_long(self, models):
        prime = "It was " * 30_000
        code, out, err = predict(models, "--prime", "-", "-l", "9", stdin=prime.encode())
        assert (code, err) == (0, "")
        assert out == prime + text_after("It was " * 9, 9)[63:] + "\n"  # older ones are forgotten

    def test_of_words_ends_a_line_only_where_it_is_meant(self, models):
        def written(prime):
            return predict(models, "-a", "lstm", "--prime", "-", "-l", "2", stdin=prime)[1]

        assert written(b"It was\n") == written(b"It  was") != written(b"It was\n\n")
        assert written(b"It was\n\n").startswith("It was\n")

    @pytest.mark.parametrize(
        ("prime", "told"),
        [
            (b"", "holds no token; expected at least one"),
            (b"\n", "holds no token; expected at least one"),
            (b"It \xff", "is not UTF-8 text: byte 3 is 0xff; expected tokens of the data that"),
            (b"It is", "has 'i' at index 3, which is not in the vocabulary; expected tokens of"),
            (b"a" * (2**20 + 1), "holds more than 1,048,576 bytes; expected tokens of the data"),
        ],
        ids=["empty", "end of line", "no UTF-8", "unknown", "too long"],
    )
    def test_is_refused_in_one_line(self, models, prime, told):
        code, out, err = predict(models, "--prime", "-", stdin=prime)
        assert (code, out, err.count("\n")) == (1, "", 1)
        script = "predict_simple_sequence.py: error: "
        assert err.startswith(f"{script}argument --prime: standard input {told}")

    def test_that_is_closed_is_told(self, models):
        with start(models, "--prime", "-", preexec_fn=lambda: os.close(0)) as process:
            err = process.communicate(timeout=60)[1].decode()
        assert process.returncode == 1
        assert "argument --prime: standard input is closed; expected tokens of" in err
        assert err.count("\n") == 1

    def test_is_not_waited_for_where_something_else_is_wrong(self, models):
        reader, writer = os.pipe()
        with start(models, "--prime", "-", "--top-k", "99", stdin=reader) as process:
            assert process.wait(60) == 2
        for end in (reader, writer):
            os.close(end)


def read_at_least(descriptor, count):
    text = b""
    while len(text) < count:
        text += os.read(descriptor, 4096)
    return text


class TestWriting:
    def test_goes_on_while_the_network_does(self, models):
        """Into a pipe, until Ctrl-C, which leaves what is written and says nothing."""
        with start(models, "--prime", "It", *ENDLESS) as process:
            text = read_at_least(process.stdout.fileno(), 100_000)
            process.send_signal(signal.SIGINT)
            rest, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (130, b"")
        text = (text + rest).decode()
        assert text.startswith(text_after("It", 40))
        assert text.endswith("\n")

    def test_on_a_terminal_shows_each_token_at_once(self, models):
        master, slave = open_terminal()
        with start(models, "-a", "gru", "--prime", "It", *ENDLESS, stdout=slave) as process:
            os.close(slave)
            pieces = [os.read(master, 4096) for _ in range(30)]
            process.send_signal(signal.SIGINT)
            read_terminal(master)
            assert (process.wait(60), process.stderr.read()) == (130, b"")
        # Text that is held back comes by the thousands. A busy machine collects some tokens, too.
        assert sum(map(len, pieces)) < 1000 * len(pieces)
        text = b"".join(pieces).decode(errors="ignore").replace("\r\n", "\n")
        assert text.startswith(text_after("It", 8, "gru")[: len(text)])

    def test_controls_no_terminal(self, tmp_path):
        """Only a file gets control characters as they are; the network writes what it has read."""
        words = [CLIPBOARD, "\x9b2J", "a\x7f\b", "\n", "\u00ef"]
        model = random_model("rnn", len(words))
        path = tmp_path / f"\x9b{CLIPBOARD}.model"
        save_model(str(path), model, Trained("own data", WordVocabulary(words)))
        options = ["-m", path.name, "--prime", " ".join(words), "--page", f"{CLIPBOARD}.html"]
        code, text, err = predict(tmp_path, *options)
        assert (code, err) == (0, "") and text.endswith(f"Written: {CLIPBOARD}.html\n")
        master, slave = open_terminal()
        with start(tmp_path, *options, stdout=slave) as process:
            os.close(slave)
            shown = read_terminal(master)
            assert (process.wait(60), process.stderr.read()) == (0, b"")
        escaped = {"\033": r"\x1b", "\a": r"\x07", "\x9b": r"\x9b", "\x7f": r"\x7f"}
        expected = text.translate(str.maketrans({**escaped, "\b": r"\x08", "\n": "\r\n"}))
        assert shown == expected

    def test_ends_where_nobody_reads(self, models):
        with start(models, *ENDLESS) as process:
            os.read(process.stdout.fileno(), 10)
            process.stdout.close()
            assert process.wait(60) == 128 + signal.SIGPIPE
            assert process.stderr.read() == b""

    def test_of_logits_that_overflow_says_it_in_a_line_of_its_own(self, models, tmp_path):
        """After some of the text: one token leads to numbers that are too large."""
        shutil.copytree(models, tmp_path, dirs_exist_ok=True)
        model = ARCHS["rnn"](len(CHARS), 6)
        for _, param in model.namedparams():
            param.array[...] = 0
        model.l1.W.array[...] = np.eye(6)
        # From "I" to "t", to "w", whose logits are the sum of two that are almost too large.
        i, t, w, after = (CHARS.index(char) for char in "Itwa")
        for unit, token, then, weight in (
            (0, i, t, 9),
            (1, t, w, 9),
            (2, w, after, 3e38),
            (3, w, after, 3e38),
        ):
            model.embed.W.array[token, unit] = 10
            model.l2.W.array[then, unit] = weight
        path = str(tmp_path / "result" / "rnn_simple_sequence.model")
        save_model(path, model, Trained("own data", CharVocabulary(CHARS)))
        code, out, err = predict(tmp_path, "--prime", "I")
        assert code == 1
        assert "predicts nothing, the logits after token 2 are not finite; expected" in err
        assert out == "Itw\n"


class TestTheBestModel:
    @pytest.fixture
    def folder(self, models, tmp_path):
        """Where the best model of ``rnn`` knows words, and what it writes after one of them."""
        shutil.copytree(models, tmp_path, dirs_exist_ok=True)
        best = tmp_path / "result" / "rnn_simple_sequence.best.model"
        model = random_model("rnn", len(WORDS))
        save_model(str(best), model, Trained("own data", WordVocabulary(WORDS)))
        ids = generated(model, [WORDS.index("was")], 9)
        return tmp_path, WordVocabulary(WORDS).decode(ids) + "\n"

    def test_is_taken_and_named(self, folder):
        code, out, err = predict(folder[0], "--prime", "was", "-l", "9")
        assert (code, out) == (0, folder[1])
        assert err.startswith("Using result/rnn_simple_sequence.best.model, ")
        assert err.count("\n") == 1

    def test_of_another_architecture_is_not(self, folder):
        done = predict(folder[0], "-a", "gru", "--prime", "was", "-l", "9")
        assert done == (0, text_after("was", 9, "gru") + "\n", "")

    def test_gives_way_to_what_is_typed(self, folder):
        path = "result/rnn_simple_sequence.model"
        done = predict(folder[0], "-m", path, "--prime", "was", "-l", "9")
        assert done == (0, text_after("was", 9) + "\n", "")
