"""The two commands on data of the user's own: a real text, learnt, resumed, and written again."""

import codecs
import contextlib
import io
import json
import math
import os
import pathlib
import re
import shutil

import numpy as np
import pytest
from chainer.serializers import load_npz

import predict_simple_sequence
import train_simple_sequence
from models import RNN
from models.generation import generate
from models.model_file import load_model
from support.command_line import CommandError, UsageError
from support.files import read_arrays

with contextlib.redirect_stdout(io.StringIO()):
    import this
ZEN = codecs.decode(this.s, "rot13") + "\n"
NUMBERS = "7 3 0 3 7 7 1 " * 20
MODEL = "result/rnn_simple_sequence.model"
# 857 characters, of which 771 are trained on, in windows of 60: 12.85 updates an epoch.
TEXT = ["--data", "zen", "--tokens", "char", "--valid-fraction", "0.1", "-a", "lstm", "-u", "5"]
TEXT += ["-b", "6", "-l", "10", "-e", "3"]


def command(main, *arguments):
    """Run a command in this process; give what it prints."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main([str(argument) for argument in arguments]) == 0
    return out.getvalue()


def train(*arguments):
    return command(train_simple_sequence.main, *arguments)


def predict(*arguments):
    return command(predict_simple_sequence.main, *arguments)


def read_log(folder="result"):
    with open(os.path.join(folder, "log")) as file:
        return json.load(file)


def numbers(folder, arch):
    """What two runs have in common if they computed the same, bit by bit."""
    arrays = read_arrays(os.path.join(folder, f"{arch}_simple_sequence.model"))
    log = [{**entry, "elapsed_time": None} for entry in read_log(folder)]
    return {name: array.tobytes() for name, array in arrays.items()}, log


@pytest.fixture(scope="module")
def zen(tmp_path_factory):
    """A folder where a network has learnt the Zen of Python, and what that printed.

    In ``whole`` another one has, just begun to, with a snapshot in the midst of an epoch.
    """
    folder = tmp_path_factory.mktemp("zen")
    with contextlib.chdir(folder) if hasattr(contextlib, "chdir") else _chdir(folder):
        (folder / "zen").write_text(ZEN)
        (folder / "verse").write_text(ZEN[100:300])
        (folder / "numbers").write_text(NUMBERS)
        options = ["-b", "5", "-e", "60", "--lr", "0.005", "--gradclip", "5"]
        printed = train("--data", "zen", "--tokens", "char", *options, "--snapshot-every", "60e")
        train(*TEXT, "-o", "whole", "--snapshot-every", "17")
    return folder, printed


@contextlib.contextmanager
def _chdir(folder):
    """``contextlib.chdir``, which Python 3.10 has not got."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@pytest.fixture
def learnt(zen, tmp_path, monkeypatch):
    """A copy of that folder, to work in."""
    shutil.copytree(zen[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


class TestTheZen:
    def test_is_learnt(self, learnt):
        assert read_log()[0]["val_perplexity"] > 8
        assert read_log()[-1]["val_perplexity"] < 1.3

    @pytest.mark.parametrize("prime", ["Readability ", "Special cases "])
    def test_is_recited(self, learnt, prime):
        written = predict("--prime", prime, "-l", "20")
        assert written == ZEN[ZEN.index(prime) :][: len(prime) + 20] + "\n"

    def test_is_described_in_the_header(self, zen):
        lines = zen[1].splitlines()
        assert lines[4:6] == ["# Data: zen, 857 tokens, vocabulary of 45", ""]
        assert lines[6].split() == [
            "epoch",
            *("main/loss", "validation/main/loss", "main/accuracy", "validation/main/accuracy"),
            *("perplexity", "val_perplexity", "elapsed_time"),
        ]

    def test_has_its_perplexity_logged_and_drawn(self, learnt):
        for entry in read_log():
            assert entry["perplexity"] == pytest.approx(math.exp(entry["main/loss"]))
            expected = math.exp(entry["validation/main/loss"])
            assert entry["val_perplexity"] == pytest.approx(expected)
            assert not {"boundary_accuracy", "free_run"}.intersection(entry)
        pictures = {name for name in os.listdir("result") if name.endswith(".png")}
        assert pictures == {"loss.png", "accuracy.png", "perplexity.png"}

    def test_has_its_vocabulary_in_the_model_and_in_the_snapshot(self, learnt):
        source, vocabulary = load_model(MODEL)[2]
        assert (source, sorted(vocabulary.tokens())) == ("own data", sorted(set(ZEN)))
        (snapshot,) = [name for name in os.listdir("result") if name.startswith("snapshot")]
        within = read_arrays(os.path.join("result", snapshot))["vocabulary"]
        assert json.loads(bytes(within)) == {"kind": "char", "tokens": vocabulary.tokens()}

    def test_leaves_a_model_that_chainer_loads(self, learnt):
        model = RNN(45, 100)
        load_npz(MODEL, model)
        tokens = load_model(MODEL)[2].vocabulary.tokens()
        ids = generate(model, [tokens.index(char) for char in "Flat "], 30)
        written = predict("--prime", "Flat ", "-l", "30")
        assert written == "".join(tokens[id_] for id_ in ids) + "\n"


class TestSampling:
    def test_begins_with_the_prime_and_differs_by_seed_only(self, learnt):
        options = ["--prime", "The ", "-l", "80", "--temperature", "1.5"]
        first, again = predict(*options), predict(*options, "--seed", "0")
        assert first == again
        assert first.startswith("The ") and set(first) <= set(ZEN)
        assert predict(*options, "--seed", "1") != first

    def test_of_one_token_only_is_the_default(self, learnt):
        options = ["--prime", "Now ", "-l", "50"]
        assert predict(*options, "--top-k", "1") == predict(*options)

    def test_colder_is_closer_to_the_text(self, learnt):
        """Share of the pieces of five characters that are in the Zen."""
        shares = []
        for temperature in (0.2, 1.0, 3.0):
            text = predict("-l", "300", "--temperature", temperature)
            shares.append(np.mean([text[n : n + 5] in ZEN for n in range(290)]))
        assert shares[0] > 0.9 > 0.6 > shares[2]
        assert shares[0] >= shares[1] > shares[2]


class TestResumed:
    def test_run_ends_as_if_not_stopped(self, learnt):
        os.rename("zen", "moved")
        options = ["moved" if option == "zen" else option for option in TEXT]
        printed = train(*options, "-r", "whole/snapshot_iter_17", "-o", "again")
        assert "Changed since: --data is moved, was zen" in printed
        assert numbers("again", "lstm") == numbers("whole", "lstm")

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            (["--data", "verse"], "with --data of 857 tokens with fingerprint "),
            (["--tokens", "word"], "with --tokens char, not --tokens word; give --tokens char"),
            (["--valid-fraction", "0.2"], "with --valid-fraction 0.1, not --valid-fraction 0.2"),
            (["-u", "6"], "with --unit 5, not --unit 6; give --unit 5 or"),
        ],
    )
    def test_run_of_something_else_is_refused(self, learnt, change, told):
        with pytest.raises(UsageError) as error:
            train(*TEXT, *change, "-r", "whole/snapshot_iter_17", "-o", "other")
        assert f"-r/--resume: whole/snapshot_iter_17 was trained {told}" in str(error.value)
        assert not os.path.exists("other")

    def test_run_of_the_built_in_sequence_is_another(self, learnt):
        with pytest.raises(UsageError, match=r"trained with --tokens char, not no --tokens"):
            train("-a", "lstm", "-u", "5", "-r", "whole/snapshot_iter_17", "-o", "other")

    def test_automatically_passes_over_other_data(self, learnt):
        printed = train(*TEXT, "--data", "verse", "-e", "1", "-o", "whole", "-r", "auto")
        assert "snapshots in whole: trained with --data of" in printed
        assert "starting afresh" in printed


class TestNumbers:
    OPTIONS = ("--data", "numbers", "-b", "2", "-e", "2", "-u", "6")

    def test_are_written_without_a_score(self, learnt):
        train(*self.OPTIONS)
        (line,) = predict("-p", "3", "-l", "5").splitlines()
        assert line.startswith("Predicted sequence: [3, ") and line.count(",") == 5
        (line,) = predict("--prime", "7 3 0", "-l", "5").splitlines()
        assert line.startswith("Predicted sequence: [7, 3, 0, ") and line.count(",") == 7

    def test_of_the_built_in_sequence_are_scored_by_the_order_they_were_learnt_in(self, learnt):
        train("-e", "1", "--repeat", "5", "-u", "6")
        assert "agree with the true continuation" in predict("-l", "5")
        train("-e", "1", "--repeat", "5", "-u", "6", "--shuffle-runs")
        best = "result/rnn_simple_sequence.best.model"
        for path in MODEL, best:
            written = predict("-l", "5", "-m", path)
            assert "agree" not in written
            assert written.endswith(" tokens in runs of the right length.\n")


class TestAModelOfVersion1:
    """As version 1 left it, the vocabulary in a file of its own."""

    FILES = (MODEL, "result/rnn_simple_sequence.vocab.json")

    @pytest.fixture
    def files(self, learnt):
        """What the two files hold, in a folder without snapshots."""
        arrays = read_arrays(MODEL)
        vocabulary = json.loads(arrays.pop("about").tobytes())["vocabulary"]
        shutil.rmtree("result")
        os.mkdir("result")
        np.savez(MODEL, **arrays)
        os.rename(f"{MODEL}.npz", MODEL)
        with open(self.FILES[1], "w", encoding="utf-8") as file:
            json.dump(vocabulary, file)
        return [pathlib.Path(path).read_bytes() for path in self.FILES]

    def test_writes_as_before(self, files):
        prime = "Readability "
        assert predict("--prime", prime, "-l", "8") == ZEN[ZEN.index(prime) :][:20] + "\n"

    def test_makes_way_together_with_its_vocabulary(self, files):
        """Although no snapshot does."""
        train("-e", "1", "--repeat", "5", "-u", "6")
        moved = [pathlib.Path("result/earlier-1", os.path.basename(path)) for path in self.FILES]
        assert [path.read_bytes() for path in moved] == files
        assert not os.path.exists(self.FILES[1])

    def test_is_refused_with_a_vocabulary_that_is_damaged(self, files):
        os.truncate(self.FILES[1], 100)
        told = rf"^argument -m/--modelpath: {MODEL} has beside it {self.FILES[1]}, which is not a"
        with pytest.raises(CommandError) as error:
            predict("-m", MODEL)
        assert re.match(told, str(error.value))

    def test_without_its_vocabulary_is_taken_for_one_of_the_built_in_sequence(self, files):
        os.remove(self.FILES[1])
        with pytest.raises(UsageError, match=r"--prime: .* is a model of the built-in sequence"):
            predict("--prime", "1")
        assert predict("-l", "5").endswith("does not say in which order the runs were.\n")


class TestPredictRefuses:
    @pytest.mark.parametrize(
        ("options", "told"),
        [
            (["--prime", "Na\u00efve"], "--prime: 'Na\u00efve' has '\u00ef' at index 2, which is"),
            (["--prime", ""], "--prime: '' holds no token"),
            (["-p", "45"], "-p/--primeindex: 45 is not in the vocabulary"),
            (["--top-k", "46"], "--top-k: result/rnn_simple_sequence.model knows 45 tokens"),
            (["--seed", "3"], "--seed: works only with --temperature or --top-k"),
            (["--plot", "counting.png"], "--plot: works only for a model of the built"),
        ],
    )
    def test_what_is_typed(self, learnt, options, told):
        with pytest.raises(UsageError) as error:
            predict(*options)
        assert f"argument {told}" in str(error.value)

    @pytest.mark.parametrize(
        ("option", "told"),
        [
            (["--temperature", "0"], "--temperature: '0' is not a number above 0"),
            (["--top-k", "0"], "--top-k: '0' is not a whole number from 1"),
            (["-p", "1", "--prime", "a"], "--prime: not allowed with argument -p/--primeindex"),
        ],
    )
    def test_what_makes_no_sense(self, learnt, option, told, capsys):
        with pytest.raises(SystemExit):
            predict(*option)
        assert f"argument {told}" in capsys.readouterr().err

    def test_words_of_other_texts(self, learnt):
        train("--data", "zen", "--tokens", "word", "-e", "1", "-u", "3")
        assert predict("--prime", "Now is", "-l", "1").startswith("Now is ")
        with pytest.raises(UsageError, match="'Now was' has 'was' at index 1, which is not in"):
            predict("--prime", "Now was")
