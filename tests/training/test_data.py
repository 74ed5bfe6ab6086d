import numpy as np
import pytest

from own_data.sequence_file import Fingerprint
from simple_sequence.simple_sequence_dataset import get_shuffled_runs, get_simple_sequence
from support.command_line import CommandError, UsageError
from training.data import read_data
from training.options import parse_arguments

NUMBERS = "3 1 4 1 5 9 2 6 5 3 5 8 9 7 9 3 2 3 8 4"
TEXT = "to be or not to be\n"


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Read what options name in a folder with ``numbers``, ``more``, ``text`` and ``verse``."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "numbers").write_text(NUMBERS)
    (tmp_path / "more").write_text("1 2 12 0")
    (tmp_path / "text").write_text(TEXT)
    (tmp_path / "verse").write_text("not quite")
    np.save(tmp_path / "numbers.npy", np.array(NUMBERS.split(), np.uint8))
    return lambda options: read_data(parse_arguments("", ["-b", "2", *options.split()]))


class TestBuiltIn:
    def test_is_what_there_is_unless_told(self, read):
        data = read("")
        assert data.train.tolist() == get_simple_sequence(10, 100).tolist()
        assert data.test is data.train
        assert (data.n_vocab, data.vocabulary) == (10, None)
        assert data.fixed == {"--n-vocab": 10, "--repeat": 100}

    def test_has_the_sizes_that_are_given(self, read):
        data = read("--n-vocab 5 --repeat 3")
        assert data.train.tolist() == get_simple_sequence(5, 3).tolist()
        assert data.fixed == {"--n-vocab": 5, "--repeat": 3}


class TestShuffledRuns:
    def test_are_two_draws_of_the_length_that_is_given(self, read):
        data = read("--shuffle-runs --n-vocab 5 --repeat 3 --seed 7")
        runs = get_shuffled_runs(5, 6, seed=7).tolist()
        assert data.train.tolist() + data.test.tolist() == runs
        assert len(data.train) == len(data.test) == 30
        assert data.shuffled and data.two_periods is None and data.vocabulary is None

    def test_bind_a_snapshot(self, read):
        assert read("--shuffle-runs").fixed.keys() - read("").fixed.keys() == {"--shuffle-runs"}

    def test_need_two_numbers(self, read):
        with pytest.raises(UsageError, match=r"--shuffle-runs: --n-vocab 2 has .* at least 3"):
            read("--shuffle-runs --n-vocab 2")

    def test_are_not_of_ones_own_data(self, read):
        with pytest.raises(UsageError, match="--shuffle-runs: does not work with --data"):
            read("--shuffle-runs --data numbers")


class TestOwn:
    @pytest.mark.parametrize("name", ["numbers", "numbers.npy"])
    def test_numbers(self, read, name):
        data = read(f"--data {name}")
        assert data.train.tolist() == list(map(int, NUMBERS.split()))
        assert data.test is data.train
        assert data.n_vocab == 10
        assert str(data) == "20 tokens, vocabulary of 10"

    def test_numbers_of_a_larger_vocabulary(self, read):
        assert read("--data numbers --n-vocab 40").n_vocab == 40

    @pytest.mark.parametrize(("kind", "count"), [("char", 8), ("word", 5)])
    def test_text(self, read, kind, count):
        data = read(f"--data text --tokens {kind}")
        assert data.vocabulary.decode(data.train) == TEXT
        assert data.n_vocab == len(data.vocabulary) == count

    def test_held_out_in_another_file_share_the_vocabulary(self, read):
        data = read("--data text --tokens word --valid verse")
        assert data.vocabulary.decode(data.train) == TEXT
        assert data.vocabulary.decode(data.test) == "not quite"
        assert data.n_vocab == 6
        assert read("--data numbers --valid more").n_vocab == 13

    def test_held_out_as_a_fraction_are_the_last(self, read):
        data = read("--data numbers --valid-fraction 0.3")
        assert [*data.train, *data.test] == list(map(int, NUMBERS.split()))
        assert len(data.test) == 6
        assert str(data) == "14 tokens, vocabulary of 10, 6 held out"


class TestWhatASnapshotIsBoundTo:
    def test_is_the_content_and_not_the_path(self, read):
        assert read("--data numbers").fixed == read("--data numbers.npy").fixed

    def test_is_known_to_rank_0(self, read, monkeypatch):
        """The others read the ids and do not take the time for a fingerprint."""
        monkeypatch.setattr("training.data.here.rank", 1)
        monkeypatch.setattr(Fingerprint, "add", lambda *_: pytest.fail("taken"))
        data = read("--data numbers --valid more")
        assert data.fixed["--data"] == data.fixed["--valid"] == ""

    @pytest.mark.parametrize(
        ("options", "option"),
        [
            ("--data more", "--data"),
            ("--data numbers --n-vocab 11", "--n-vocab"),
            ("--data numbers --valid more", "--valid"),
            ("--data numbers --valid-fraction 0.1", "--valid-fraction"),
            ("--data numbers --tokens char", "--tokens"),
            ("", "--data"),
        ],
    )
    def test_differs_first_of_all_in_what_was_changed(self, read, options, option):
        before, now = read("--data numbers").fixed, read(options).fixed
        differing = [each for each in {**before, **now} if before.get(each) != now.get(each)]
        assert option in differing

    def test_of_other_held_out_text_names_that(self, read):
        """Although the vocabulary is another one, too."""
        before = read("--data text --tokens word --valid text").fixed
        now = read("--data text --tokens word --valid verse").fixed
        assert next(each for each in now if before[each] != now[each]) == "--valid"


class TestRefused:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ("--tokens char", ["argument --tokens: works only with --data PATH"]),
            ("--valid more", ["argument --valid: works only with --data PATH"]),
            ("--valid-fraction 0.5", ["argument --valid-fraction: works only with --data PATH"]),
            ("--data numbers --repeat 5", ["argument --repeat: does not work with --data PATH"]),
            ("--data numbers --counting", ["argument --counting: does not work with --data PATH"]),
            ("--data text --tokens char --n-vocab 9", ["argument --n-vocab: text has its own"]),
            ("--data numbers.npy --tokens word", ["argument --tokens: --data numbers.npy holds"]),
            ("--data no", ["argument --data: no does not exist", "expected whole numbers"]),
            ("--data numbers --valid .", ["argument --valid: . is a folder", "expected whole"]),
            ("--data numbers -b 21", ["-b/--batchsize: 21 streams", "20 tokens of --data"]),
            ("--data numbers --valid-fraction 0.01", ["--valid-fraction: 0.01 of 20 tokens are 0"]),
            ("--data text --tokens word -u 900000", ["--unit 900000 --n-vocab 5", "GiB"]),
        ],
    )
    def test_what_is_typed(self, read, options, words):
        with pytest.raises(UsageError) as error:
            read(options)
        for word in words:
            assert word in str(error.value)

    @pytest.mark.parametrize("value", ["0", "1", "-0.1", "nan", "half"])
    def test_a_share_that_is_none(self, read, value, capsys):
        with pytest.raises(SystemExit):
            read(f"--data numbers --valid-fraction {value}")
        assert f"--valid-fraction: '{value}' is not a number between 0 and 1" in (
            capsys.readouterr().err
        )

    def test_held_out_data_of_two_kinds(self, read, capsys):
        with pytest.raises(SystemExit):
            read("--data numbers --valid more --valid-fraction 0.1")
        assert "--valid-fraction: not allowed with argument --valid" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ("--data text", ["--data: text holds 'to' at index 0", "--tokens char or word"]),
            ("--data numbers --n-vocab 9", ["numbers holds the id 9 at index 5", "--n-vocab"]),
            ("--data numbers --valid text", ["argument --valid: text holds 'to' at index 0"]),
        ],
    )
    def test_what_is_found_in_a_file(self, read, options, words):
        with pytest.raises(CommandError) as error:
            read(options)
        assert error.value.exit_code == 1
        for word in words:
            assert word in str(error.value)

    @pytest.mark.parametrize("place", ["/dev/full", "nowhere/file"])
    def test_a_disk_without_room_for_the_ids(self, read, monkeypatch, place):
        monkeypatch.setattr("tempfile.TemporaryFile", lambda: open(place, "w+b"))  # noqa: SIM115
        with pytest.raises(CommandError) as error:
            read("--data text --tokens char")
        assert "--data: the ids of text cannot be written into a temporary file" in str(error.value)
        assert "TMPDIR" in str(error.value) and ".npy" in str(error.value)
