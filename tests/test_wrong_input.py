"""Every wrong input, typed or found on the disk: one line that says what and what instead.

Each case is given to the real command, run in this process where a process of its own would only
import everything once again. Exit code 2 is for what was typed, 1 for what happened; a traceback is
for no one, and nothing is written.
"""

import contextlib
import io
import os
import pickle
import runpy
import signal
import subprocess
import sys

import numpy as np
import pytest
from chainer.serializers import save_npz

from models import RNN
from support.files import read_arrays, write_arrays
from tests.commands import ROOT
from tests.trainings import listing

SMALL = ["-u", "6", "--repeat", "6", "-b", "3", "-l", "7", "-e", "1"]


def run(script, folder, arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONUNBUFFERED", None)
    return subprocess.run(
        [sys.executable, str(ROOT / script), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def run_here(script, folder, arguments):
    """Exit code of the script, and what it wrote to stderr."""
    err = io.StringIO()
    numbers = signal.SIGINT, signal.SIGTERM
    before = os.getcwd(), sys.argv, [signal.getsignal(number) for number in numbers]
    os.chdir(folder)
    sys.argv = [script, *arguments]
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
            runpy.run_path(str(ROOT / script), run_name="__main__")
    except SystemExit as exit:
        return exit.code, err.getvalue()
    finally:
        folder_before, sys.argv, handlers = before
        os.chdir(folder_before)
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)
    raise AssertionError("a command ends with sys.exit")


class WouldWriteAFile:
    """Unpickling this makes a file named ``executed``."""

    def __reduce__(self):
        return open, ("executed", "w")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A trained model and its snapshots, and wrong files of every kind beside them."""
    folder = tmp_path_factory.mktemp("wrong")
    assert run("train_simple_sequence.py", folder, SMALL).returncode == 0
    model = folder / "result" / "rnn_simple_sequence.model"
    snapshot = folder / "result" / "snapshot_iter_13"
    assert run("train_simple_sequence.py", folder, [*SMALL, "-arnn2", "-orn2"]).returncode == 0
    (folder / "empty").touch()
    (folder / "folder").mkdir()
    (folder / "text").write_text("1 2 2 3 3 3\n")
    (folder / "cut.model").write_bytes(model.read_bytes()[:-1000])
    (folder / "cut.snapshot").write_bytes(snapshot.read_bytes()[:-1000])
    (folder / "pickle").write_bytes(pickle.dumps(WouldWriteAFile()))
    objects = np.array([WouldWriteAFile()], dtype=object)
    for name in "embed/W", "snapshot":
        with open(folder / f"pickled.{name[-1]}", "wb") as file:
            np.savez(file, **{name: objects})
    np.savez(folder / "other.npz", weights=np.ones((3, 3)))
    write_arrays(folder / "odd.snapshot", {"snapshot": "[1, 2]"})
    write_arrays(folder / "wordy.snapshot", {"snapshot": "a word"})
    arrays = read_arrays(snapshot)
    arrays["updater/model:main/predictor/l1/W"][2, 2] = np.nan
    write_arrays(folder / "nan.snapshot", arrays)
    arrays = read_arrays(model)
    arrays["l1/W"][2, 2] = np.nan
    write_arrays(folder / "nan.model", arrays)
    arrays["l1/W"][2, 2] = arrays["l2/W"][...] = 3e38
    write_arrays(folder / "huge.model", arrays)
    save_npz(str(folder / "chainers.model"), RNN(10, 6))
    return folder


def check(script, folder, arguments, exit_code, words):
    before = listing(folder)
    code, err = run_here(script, folder, arguments)
    after = listing(folder)
    assert code == exit_code, err
    (line,) = err.splitlines()
    assert line.startswith(f"{script}: error: ")
    for word in words:
        assert word in line
    assert before == after


TYPED = {
    "unit of 0": ("-u 0", "-u/--unit: '0' is not a whole number from 1 to 2147483647"),
    "negative unit": ("-u -1", "-u/--unit: '-1' is not a whole number from 1"),
    "unit in words": ("-u many", "-u/--unit: 'many' is not a whole number from 1"),
    "fractional unit": ("-u 1.5", "-u/--unit: '1.5' is not a whole number from 1"),
    "unit beyond all bounds": ("-u 2147483648", "-u/--unit: '2147483648' is not a whole number"),
    "unit of a hundred digits": ("-u 1" + 100 * "0", "-u/--unit: '1000000", "from 1 to"),
    "unit larger than the memory": ("-u 1000000", "--unit 1000000", "GiB", "this machine has"),
    "window of 0": ("-l 0", "-l/--bproplen: '0' is not a whole number from 1"),
    "negative window": ("-l -20", "-l/--bproplen: '-20' is not a whole number from 1"),
    "window larger than the memory": ("-l 1000000000", "--bproplen 1000000000", "GiB"),
    "batch of 0": ("-b 0", "-b/--batchsize: '0' is not a whole number from 1"),
    "batch larger than the data": ("-b 271", "-b/--batchsize: 271", "at most 270"),
    "batch beyond all bounds": ("-b 9999999999", "-b/--batchsize: '9999999999' is not a whole"),
    "no epoch": ("-e 0", "-e/--epoch: '0' is not a whole number from 1"),
    "half an epoch": ("-e 0.5", "-e/--epoch: '0.5' is not a whole number from 1"),
    "no vocabulary": ("--n-vocab 0", "--n-vocab: '0' is not a whole number from 2"),
    "vocabulary of 1": ("--n-vocab 1", "--n-vocab: '1' is not a whole number from 2"),
    "vocabulary too large": ("--n-vocab 2000000000", "--n-vocab 2000000000", "GiB"),
    "no data": ("--repeat 0", "--repeat: '0' is not a whole number from 1"),
    "data larger than the memory": ("--repeat 2000000000", "--repeat 2000000000", "GiB"),
    "unknown architecture": ("-a mlp", "-a/--arch: invalid choice: 'mlp' (choose from ", "rnn3"),
    "device in words": ("-g cuda", "-g/--gpu: 'cuda' is not a whole number"),
    "negative seed": ("--seed -1", "--seed: '-1' is not a whole number from 0 to 4294967295"),
    "seed beyond all bounds": ("--seed 4294967296", "--seed: '4294967296' is not a whole number"),
    "learning rate of 0": ("--lr 0", "--lr: '0' is not a number above 0"),
    "negative learning rate": ("--lr -0.1", "--lr: '-0.1' is not a number above 0"),
    "learning rate NaN": ("--lr nan", "--lr: 'nan' is not a number above 0"),
    "infinite learning rate": ("--lr inf", "--lr: 'inf' is not a number above 0"),
    "learning rate in words": ("--lr slow", "--lr: 'slow' is not a number above 0"),
    "everything dropped": ("--dropout 1", "--dropout: '1' is not a number from 0 to below 1"),
    "less than nothing dropped": (
        "--dropout -0.1",
        "--dropout: '-0.1' is not a number from 0 to below 1",
    ),
    "a rate that stays": ("--lr-decay 1", "--lr-decay: '1' is not a number between 0 and 1"),
    "gradients clipped to 0": ("--gradclip 0", "--gradclip: '0' is not a number above 0"),
    "snapshot every 0": ("--snapshot-every 0", "--snapshot-every: '0' is not", "1e"),
    "snapshot every word": ("--snapshot-every day", "--snapshot-every: 'day' is not", "100"),
    "no snapshot kept": ("--keep 0", "--keep: '0' is not a whole number from 1"),
    "unknown option": ("--momentum 0.9", "--momentum 0.9", "see --help"),
    "option without its value": ("-u", "-u/--unit: expected one argument"),
    "word beside the options": ("rnn2", "unrecognized arguments: rnn2"),
    "resuming from nothing": (
        "-r missing",
        "-r/--resume: missing does not exist",
        "snapshot_iter_N",
    ),
    "resuming from a folder": ("-r folder", "-r/--resume: folder is a folder", "snapshot_iter_N"),
    "resuming another architecture": (
        "-a rnn2 -r result/snapshot_iter_13",
        "-r/--resume: result/snapshot_iter_13 was trained with --arch rnn, not --arch rnn2",
    ),
    "writing into a file": ("-o text", "-o/--out: text", "expected a folder"),
    "writing below a file": ("-o text/result", "-o/--out: text/result", "expected a folder"),
    "writing where nothing can be made": ("-o /proc/no/result", "-o/--out: /proc/no/result"),
    "writing into a folder that cannot be written": ("-o /proc", "-o/--out: /proc", "a folder"),
}


@pytest.mark.parametrize("arguments, words", [(a, w) for a, *w in TYPED.values()], ids=TYPED)
def test_train_refuses_what_is_typed(folder, arguments, words):
    check("train_simple_sequence.py", folder, [*SMALL, *arguments.split()], 2, words)


def test_train_refuses_a_name_that_is_empty_for_what_is_resumed(folder):
    """As a variable of a shell that was not set would give."""
    words = ["-r/--resume", "expected 'auto' or a file"]
    check("train_simple_sequence.py", folder, [*SMALL, "-r", ""], 2, words)


@pytest.mark.parametrize(
    "path, word",
    [
        ("empty", "is empty"),
        ("text", "is damaged or of another format"),
        ("cut.snapshot", "is damaged"),
        ("result/rnn_simple_sequence.model", "is not a snapshot"),
        ("chainers.model", "is not a snapshot"),
        ("other.npz", "is not a snapshot"),
        ("odd.snapshot", "is not a snapshot"),
        ("wordy.snapshot", "is not a snapshot"),
        ("pickle", "is damaged or of another format"),
        ("pickled.t", "holds objects (snapshot), which are never loaded"),
        ("nan.snapshot", "is not finite, parameter /predictor/l1/W"),
    ],
)
def test_train_refuses_to_resume_from(folder, path, word):
    words = [f"-r/--resume: {path} ", word, "expected 'auto' or a file snapshot_iter_N"]
    check("train_simple_sequence.py", folder, [*SMALL, "-r", path], 1, words)


PREDICT_TYPED = {
    "nothing to generate": ("-l 0", "-l/--length: '0' is not a whole number from 1"),
    "negative length": ("-l -1", "-l/--length: '-1' is not a whole number from 1"),
    "length in words": ("-l long", "-l/--length: 'long' is not a whole number from 1"),
    "negative prime": ("-p -1", "-p/--primeindex: '-1' is not a whole number from 0"),
    "prime in words": ("-p one", "-p/--primeindex: 'one' is not a whole number from 0"),
    "prime beyond the vocabulary": ("-p 10", "-p/--primeindex: 10", "choose from 0 to 9"),
    "prime beyond all bounds": ("-p 99999999999", "-p/--primeindex: '99999999999' is not a whole"),
    "unit of 0": ("-u 0", "-u/--unit: '0' is not a whole number from 1"),
    "unit unlike the file's": ("-u 7", "-u/--unit", "rnn_simple_sequence.model has 6, not 7"),
    "unknown architecture": ("-a mlp", "-a/--arch: invalid choice: 'mlp' (choose from ", "rnn3"),
    "architecture unlike the file's": (
        "-a rnn2 -m result/rnn_simple_sequence.model",
        "-a/--arch: result/rnn_simple_sequence.model has rnn, not rnn2",
    ),
    "device in words": ("-g cuda", "-g/--gpu: 'cuda' is not a whole number"),
    "unknown option": ("--epoch 3", "unrecognized arguments: --epoch 3"),
    "missing model": ("-m missing", "-m/--modelpath: missing does not exist", "expected a file"),
    "folder as a model": ("-m folder", "-m/--modelpath: folder is a folder", "expected a file"),
}


@pytest.mark.parametrize(
    "arguments, words", [(a, w) for a, *w in PREDICT_TYPED.values()], ids=PREDICT_TYPED
)
def test_predict_refuses_what_is_typed(folder, arguments, words):
    check("predict_simple_sequence.py", folder, arguments.split(), 2, words)


@pytest.mark.parametrize(
    "path, word",
    [
        ("empty", "is empty"),
        ("text", "is damaged or of another format"),
        ("cut.model", "is damaged"),
        ("result/snapshot_iter_13", "is a snapshot, not a model"),
        ("other.npz", "holds no model of the architectures rnn, rnn2, rnn3, lstm"),
        ("pickle", "is damaged or of another format"),
        ("pickled.W", "holds objects (embed/W), which are never loaded"),
        ("nan.model", "holds parameters that are not finite (l1/W)"),
    ],
)
def test_predict_refuses_the_model(folder, path, word):
    words = [f"-m/--modelpath: {path} ", word, "expected a file that train_simple_sequence.py"]
    check("predict_simple_sequence.py", folder, ["-m", path], 1, words)


@pytest.mark.parametrize("options", ["", "--temperature 1", "--top-k 2", "-p 0 -l 1 --plot a.png"])
def test_predict_refuses_a_model_that_overflows(folder, options):
    words = ["-m/--modelpath: huge.model predicts nothing, the logits after token ", "diverge"]
    arguments = ["-m", "huge.model", *options.split()]
    check("predict_simple_sequence.py", folder, arguments, 1, words)


def test_predict_says_that_no_model_of_the_architecture_was_trained(folder):
    words = ["result/lstm_simple_sequence.model does not exist", "train_simple_sequence.py"]
    check("predict_simple_sequence.py", folder, ["-a", "lstm"], 1, words)


@pytest.mark.parametrize("script", ["train_simple_sequence.py", "predict_simple_sequence.py"])
def test_says_how_to_get_a_gpu(folder, script):
    check(script, folder, ["-g", "99"], 2, ["-g/--gpu: 99 ", ", or -1 for the CPU"])


@pytest.mark.parametrize(
    "command, words",
    [
        ("count_limits -u 1000000000", ["--unit 1000000000", "GiB", "this machine has"]),
        ("count_limits --vocabularies 1", ["--vocabularies: '1' is not a whole number from 2"]),
        ("count_limits --archs cnn", ["--archs: invalid choice: 'cnn'"]),
        ("count_limits --seeds 9999999", ["--seeds: '9999999' is not a whole number from 1"]),
        ("count_limits --processes 9999", ["--processes: '9999' is not a whole number from 1"]),
        ("count_limits -o text", ["-o/--out: text cannot be written", "expected a folder"]),
        ("compare_architectures", ["required: ARCH"]),
        ("compare_architectures cnn", ["ARCH: invalid choice: 'cnn'", "rnn3"]),
        ("compare_architectures rnn -u 0", ["-u/--unit: '0' is not a whole number from 1"]),
        ("compare_architectures rnn -r x", ["-r/--resume: invalid choice: 'x'", "auto"]),
        ("compare_architectures rnn -o=", ["-o/--out: '' cannot be written"]),
        ("compare_architectures rnn -o text", ["-o/--out: text/rnn cannot be written"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_others_refuse_what_is_typed(folder, command, words):
    script, *arguments = command.split()
    arguments = [word.removesuffix("=") for word in arguments] + [""] * command.endswith("=")
    check(f"{script}.py", folder, arguments, 2, words)
