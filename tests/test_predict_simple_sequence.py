"""The predicting command as a user runs it: in a process of its own, on models of known numbers."""

import ast
import os
import re
import shutil
import signal
import subprocess
import sys

import chainer
import numpy as np
import pytest
from chainer.serializers import load_npz, save_npz

from models import ARCHS
from models.model_file import UNKNOWN, Trained
from predict_simple_sequence import parse_arguments, prime_ids, score, score_of
from tests.commands import ROOT

SCRIPT = str(ROOT / "predict_simple_sequence.py")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
ENVIRONMENT.pop("PYTHONUNBUFFERED", None)  # output is to be buffered, as it is for a user
V, U = 6, 5
TRUE = [1, 2, 2, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 5, 1, 2, 2]

each_arch = pytest.mark.parametrize("arch", ARCHS)


def predict(folder, *arguments):
    """Run the command; give the lines that it prints."""
    result = subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.splitlines()


def sequence(lines):
    """The numbers in the first line."""
    return ast.literal_eval(lines[0].removeprefix("Predicted sequence: "))


def random_model(arch):
    """A model of parameters so large that what it generates is anything but constant."""
    model = ARCHS[arch](V, U)
    random = np.random.RandomState(4)
    for _, param in sorted(model.namedparams()):
        param.array[...] = random.uniform(-2, 2, param.shape)
    return model


def generated(model, prime, length):
    """What a model generates after an id or several: for each, it reads all those before."""
    ids = list(np.ravel(prime))
    for _ in range(length):
        model.reset_state()
        with chainer.using_config("train", False):
            logits = model(np.array(ids, np.int32)[:, np.newaxis]).array
        ids.append(int(logits[-1].argmax()))
    return ids


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a model of each architecture lies under the name that training gives it."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "result").mkdir()
    for arch in ARCHS:
        path = folder / "result" / f"{arch}_simple_sequence.model"
        save_npz(str(path), random_model(arch))
    return folder


class TestSequence:
    @each_arch
    def test_is_what_an_independent_loop_generates(self, folder, arch):
        lines = predict(folder, "-a", arch, "-p", 3, "-l", 40)
        assert sequence(lines) == generated(random_model(arch), 3, 40)

    def test_has_by_default_100_numbers_after_the_first_1(self, folder):
        ids = sequence(predict(folder))
        assert len(ids) == 101
        assert ids[0] == 1

    @pytest.mark.parametrize("prime", [0, V - 1])
    def test_begins_with_the_number_given(self, folder, prime):
        assert sequence(predict(folder, "-p", prime, "-l", 1))[0] == prime

    def test_is_printed_as_a_list_of_python(self, folder):
        lines = predict(folder, "-l", 3)
        assert re.fullmatch(r"Predicted sequence: \[1, \d, \d, \d\]", lines[0])
        assert len(lines) == 2


@pytest.mark.parametrize("n_vocab, prime", [(1, 0), (2, 1), (10, 1)])
def test_by_default_begins_with_1_or_with_the_only_token(n_vocab, prime):
    assert prime_ids(parse_arguments([]), "a.model", None, n_vocab) == [prime]


class TestModelFile:
    def test_tells_architecture_and_sizes(self, folder):
        lines = predict(folder, "-m", "result/rnn3_simple_sequence.model", "-l", 20)
        assert sequence(lines) == generated(random_model("rnn3"), 1, 20)

    def test_that_agrees_with_the_options_is_taken(self, folder):
        path = "result/lstm_simple_sequence.model"
        lines = predict(folder, "-a", "lstm", "-u", U, "-m", path, "-l", 20)
        assert sequence(lines) == generated(random_model("lstm"), 1, 20)

    def test_is_not_changed(self, folder):
        path = folder / "result" / "rnn_simple_sequence.model"
        before = path.read_bytes(), path.stat().st_mtime_ns
        predict(folder)
        assert (path.read_bytes(), path.stat().st_mtime_ns) == before

    def test_may_lie_where_nothing_can_be_written(self, folder, tmp_path):
        shutil.copytree(folder, tmp_path / "copy")
        before = sorted(tmp_path.rglob("*"))
        predict(tmp_path / "copy")
        assert sorted(tmp_path.rglob("*")) == before

    def test_that_training_wrote_is_scored(self, tmp_path):
        """The two commands together, and Chainer's loader as the judge."""
        train = [sys.executable, str(ROOT / "train_simple_sequence.py"), "-a", "lstm"]
        options = ["-u", "6", "--n-vocab", "5", "--repeat", "3", "-b", "2", "-e", "1"]
        subprocess.run([*train, *options], cwd=tmp_path, env=ENVIRONMENT, check=True)
        model = ARCHS["lstm"](5, 6)
        load_npz(str(tmp_path / "result" / "lstm_simple_sequence.model"), model)
        lines = predict(tmp_path, "-a", "lstm", "-l", 12)
        expected = generated(model, 1, 12)
        assert sequence(lines) == expected
        true = [1, 2, 2, 3, 3, 3, 4, 4, 4, 4, 1, 2, 2]
        right = sum(a == b for a, b in zip(expected[1:], true[1:], strict=True))
        assert lines[1].startswith(f"{right} of 12 agree with the true continuation")


class TestScore:
    """Of a sequence that is known, against the sequence by hand."""

    def test_of_the_true_sequence_is_perfect(self):
        assert score(TRUE, 6) == "17 of 17 agree with the true continuation."

    def test_counts_what_agrees_place_by_place(self):
        wrong = [*TRUE[:5], 0, 0, *TRUE[7:]]
        assert score(wrong, 6).startswith("15 of 17 agree with the true continuation")

    def test_says_how_many_were_right_before_the_first_mistake(self):
        wrong = [*TRUE[:5], 0, 0, *TRUE[7:]]
        assert score(wrong, 6).endswith(", the first 4 without a mistake.")

    def test_takes_the_first_number_for_the_first_of_its_kind(self):
        assert score([4, 4, 4, 4, 5], 6) == "4 of 4 agree with the true continuation."

    def test_goes_on_with_1_after_the_largest_number(self):
        assert score([5, 5, 5, 5, 5, 1, 2], 6) == "6 of 6 agree with the true continuation."

    def test_of_a_number_that_never_appears_says_so(self):
        assert score([0, 1, 2], 6).startswith("0 never appears in the sequence")


class TestScoreOfRuns:
    """In whichever order they come; what a network of ordered runs writes is scored as above."""

    @pytest.mark.parametrize(
        ("written", "told"),
        [
            ([1, 4, 4, 4, 4, 2, 2, 3], "7 of 7"),
            ([1, 4, 4, 4, 4, 2, 2], "5 of 5"),  # the last might go on
            ([1, 4, 4, 4, 4, 2, 2, 2], "5 of 8"),  # and here it has
            ([3, 3, 2, 2, 5, 5, 5, 5, 1], "2 of 8"),
            ([0, 1, 2, 2, 0], "3 of 5"),
            ([0, 0], "0 of 2"),
            ([3], "0 of 0"),
        ],
    )
    def test_counts_the_numbers_in_runs_that_are_right(self, written, told):
        text = score_of(written, 6, Trained("shuffled"))
        assert text == f"{told} tokens in runs of the right length."

    def test_is_not_that_of_ordered_runs(self):
        assert score_of(TRUE, 6, Trained("ordered")) == score(TRUE, 6)

    def test_of_an_older_file_says_what_is_not_known(self):
        note = " This older file does not say in which order the runs were."
        assert score_of(TRUE, 6, UNKNOWN) == score(TRUE, 6) + note


CANNOT_BE_WRITTEN = "predict_simple_sequence.py: error: standard output cannot be written"


class TestStandardOutput:
    @staticmethod
    def predict(folder, stdout):
        command = [sys.executable, SCRIPT]
        return subprocess.Popen(
            command, cwd=folder, env=ENVIRONMENT, stdout=stdout, stderr=subprocess.PIPE, text=True
        )

    def test_that_is_full_ends_the_command_in_one_line(self, folder):
        with open("/dev/full", "w") as full, self.predict(folder, full) as process:
            err = process.stderr.read()
        assert process.returncode == 1
        assert err == f"{CANNOT_BE_WRITTEN}: No space left on device\n"

    def test_that_nobody_reads_ends_the_command_quietly(self, folder):
        with self.predict(folder, subprocess.PIPE) as process:
            process.stdout.close()
            err = process.stderr.read()
        assert (process.returncode, err) == (128 + signal.SIGPIPE, "")


@pytest.fixture(scope="module")
def help_text(folder):
    return " ".join(" ".join(predict(folder, "-h")).partition("options:")[2].split())


class TestHelp:
    @pytest.mark.parametrize(
        "short, long, default",
        [
            ("-a", "--arch", "the model's"),
            ("-u", "--unit", "the model's"),
            ("-g", "--gpu", "-1"),
            ("-p", "--primeindex", "1"),
            ("-l", "--length", "100"),
            ("", "--temperature", "take the likeliest"),
            ("", "--top-k", "from all"),
            ("", "--seed", "0"),
            (
                "-m",
                "--modelpath",
                "result/{arch}_simple_sequence.best.model if there is one, "
                "else result/{arch}_simple_sequence.model",
            ),
        ],
    )
    def test_names_every_option_and_its_default(self, help_text, short, long, default):
        assert re.search(rf"{short}\b.*?{long} (.*?)\(default: (.*?)\)", help_text)[2] == default
