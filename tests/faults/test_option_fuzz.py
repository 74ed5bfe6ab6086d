"""Whatever is typed: one line at the most, an exit code that means something, and never a hang.

Random command lines of all four commands, each in a copy of a folder with a model, snapshots and
files of every kind. A case depends on the seed and its number alone. ``FUZZ_SEED=7 make
test-faults`` tries those of seed 7; a failure tells the seed and the command.
"""

import os
import random
import shlex
import shutil

import numpy as np
import pytest

from models import ARCHS
from tests.faults.forked import SIGNALS, run

SMALL = {
    "train_simple_sequence.py": shlex.split("-u 3 -l 5 -b 2 -e 1"),
    "predict_simple_sequence.py": [],
    "compare_architectures.py": shlex.split("-u 3 -l 5 -b 2 -e 1"),
    "count_limits.py": shlex.split(
        "--archs rnn --vocabularies 2 --seeds 1 --budget 10 --processes 1"
    ),
}
# No number among them makes a training long that is not refused.
WORDS = shlex.split(
    "0 -1 -0 +1 1 2 3 1.5 1e3 1e-400 nan inf 0x10 1_0 ٣ ² 2147483648 18446744073709551616 auto "
    "result text pipe missing x rnn -- -x --unit é \udcff * None [] % {} /dev/full /proc/self/mem "
    "'' ' ' '\n' 'a b' ../../.. '\\' -r=auto --out="
)
WORDS += ["x" * 300, "9" * 5000]
FILES = shlex.split("text ids.npy ids.txt empty result pipe cut.npy missing /dev/zero /proc/kmsg")
SNAPSHOTS = ["auto", "result/snapshot_iter_2", "result/snapshot_iter_1", *FILES, "cut.snapshot"]
TRAIN = {
    "-a --arch": [*ARCHS],
    "-u --unit": ["1", "2", "5"],
    "-l --bproplen": ["1", "3", "50"],
    "-b --batchsize": ["1", "3", "7", "1000"],
    "-e --epoch": ["1", "2"],
    "-g --gpu": ["-1", "-7", "0"],
    "-o --out": ["result", "new", "new/deep", "text", "pipe", "text/no", "."],
    "-r --resume": SNAPSHOTS,
    "--seed": ["0", "1", "4294967295"],
    "--lr": ["0.1", "1e30", "1e-30", "1e300"],
    "--dropout": ["0", "0.3", "0.999"],
    "--lr-cosine": None,
    "--lr-decay": ["0.5", "1e-300"],
    "--gradclip": ["1", "1e-30", "1e300"],
    "--n-vocab": ["2", "3", "5"],
    "--repeat": ["1", "3"],
    "--data": FILES,
    "--tokens": ["char", "word"],
    "--valid": FILES,
    "--valid-fraction": ["0.1", "0.5", "0.999", "1e-9"],
    "--snapshot-every": ["1", "2", "1e", "2e", "10000000000e", "0e"],
    "--keep": ["1", "2"],
    "--counting": None,
    "--shuffle-runs": None,
    "--tensorboard": None,
    "--communicator": ["naive", "pure_nccl"],
    "--help": None,
}
OPTIONS = {
    "train_simple_sequence.py": TRAIN,
    "predict_simple_sequence.py": {
        "-a --arch": [*ARCHS],
        "-u --unit": ["3", "4"],
        "-g --gpu": ["-1", "0"],
        "-p --primeindex": ["0", "1", "3", "4"],
        "--prime": ["1 2", "a", "3", "1 9"],
        "-l --length": ["1", "2", "30"],
        "--temperature": ["1", "1e-300", "1e300"],
        "--top-k": ["1", "2", "4", "5"],
        "--seed": ["0", "5"],
        "-m --modelpath": ["result/rnn_simple_sequence.model", "text.model", "cut.model", *FILES],
        "--plot": ["a.png", "a.PDF", "a.svg", "missing/a.png", "a.txt", "pipe", "result"],
        "--layer": ["1", "2"],
        "--lies": ["a.png", "missing/a.png", "a.txt", "pipe"],
        "--page": ["a.html", "missing/a.html", "a.png", "pipe"],
    },
    "compare_architectures.py": TRAIN,
    "count_limits.py": {
        "--archs": [*ARCHS],
        "--vocabularies": ["2", "3"],
        "--seeds": ["1", "2"],
        "--budget": ["1", "11"],
        "-u --unit": ["1", "3"],
        "-l --bproplen": ["1", "7"],
        "-o --out": ["result", "new", "text", "damaged", "piped"],
        "--processes": ["1", "2", "1000"],
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A trained model with its snapshots, and files of every kind."""
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "text").write_text("a few words, of which some are a few words again\n" * 9)
    (folder / "ids.txt").write_text(" ".join(map(str, 30 * [1, 2, 2, 3, 3, 3])))
    (folder / "empty").touch()
    os.mkfifo(folder / "pipe")
    np.save(folder / "ids.npy", np.arange(200) % 7)
    (folder / "cut.npy").write_bytes((folder / "ids.npy").read_bytes()[:-9])
    for name in "damaged", "piped":
        (folder / name).mkdir()
    (folder / "damaged" / "count_limits.csv").write_text("arch,n_vocab\nrnn")
    os.mkfifo(folder / "piped" / "count_limits.csv")
    small = [*SMALL["train_simple_sequence.py"], "--snapshot-every", "1"]
    run("train_simple_sequence.py", [*small, "--n-vocab", "4", "--repeat", "2"], folder).check()
    run("train_simple_sequence.py", [*small, "--data", "text", "--tokens", "word"], folder).check()
    model = folder / "result" / "rnn_simple_sequence.model"
    for path in model.parent.glob("rnn_simple_sequence.*"):
        path.rename(folder / path.name.replace("rnn_simple_sequence", "text"))
    run("train_simple_sequence.py", [*small, "--n-vocab", "4", "--repeat", "2"], folder).check()
    (folder / "cut.model").write_bytes(model.read_bytes()[:-9])
    snapshot = folder / "result" / "snapshot_iter_2"
    (folder / "cut.snapshot").write_bytes(snapshot.read_bytes()[:-9])
    return folder


def random_words(chance, script):
    """What is typed after the command."""
    words = list(SMALL[script])
    options = OPTIONS[script]
    chosen = chance.sample(sorted(options), chance.choice([0, 1, 2, 2, 3, 4, 6]))
    if options is TRAIN and "--data" not in chosen:
        words += ["--n-vocab", "4", "--repeat", "2"]
    if script.startswith("compare"):
        words[:0] = chance.sample([*ARCHS], chance.choice([1, 1, 2]))
    for names in chosen:
        name = chance.choice(names.split())
        if name.startswith("--") and chance.random() < 0.2:
            name = name[: chance.randrange(3, len(name) + 1)]  # options can be shortened
        values = options[names]
        value = chance.choice(values or [""]) if chance.random() < 0.8 else chance.choice(WORDS)
        if values is None:
            words.append(name)
        elif chance.random() < 0.2:
            words.append(f"{name}={value}" if name.startswith("--") else name + value)
        else:
            words += [name, value]
    if chance.random() < 0.1:
        words.insert(chance.randrange(len(words) + 1), chance.choice(WORDS))
    return words


def try_cases(folder, tmp_path, seed, cases):
    failures = []
    for case in cases:
        chance = random.Random(f"{seed} {case}")
        script = chance.choice([*OPTIONS, "train_simple_sequence.py", "predict_simple_sequence.py"])
        words = random_words(chance, script)
        stop = None
        if chance.random() < 0.1:
            stop = chance.uniform(0, 0.3), chance.choice(SIGNALS)
        place = tmp_path / "place"
        shutil.copytree(folder, place, copy_function=link_or_make)
        before = sorted(place.rglob("*"))
        ended = run(script, words, place, stop=stop)
        try:
            ended.check(*([128 + stop[1]] if stop else []))
            assert ended.code != 2 or sorted(place.rglob("*")) == before, ended
        except AssertionError as error:
            failures.append(f"case {case}: {error}")
        shutil.rmtree(place)
    assert not failures, "\n".join([f"FUZZ_SEED={seed}", *failures])


def link_or_make(source, target):
    """Copies of files that are only ever replaced; a pipe would be read for ever."""
    if source.endswith("pipe") or "piped" in source:
        os.mkfifo(target)
    else:
        os.link(source, target)


def test_a_few_commands(folder, tmp_path):
    try_cases(folder, tmp_path, seed=os.environ.get("FUZZ_SEED", "0"), cases=range(60))


@pytest.mark.faults
@pytest.mark.parametrize("first", range(0, 2000, 250))
def test_many_commands(folder, tmp_path, trials, first):
    """250 of the 2,000, so that each core has its share."""
    seed = os.environ.get("FUZZ_SEED") or str(random.SystemRandom().randrange(10**6))
    try_cases(folder, tmp_path, seed, trials(range(first, first + 250)))
