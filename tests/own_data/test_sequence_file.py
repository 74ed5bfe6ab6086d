import errno
import io
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import own_data.sequence_file
from own_data.mapped_ids import MappedIds
from own_data.sequence_file import Fingerprint, read_sequence
from own_data.vocabulary import CharVocabulary, IntegerVocabulary, WordVocabulary
from support.files import BadFile
from tests.commands import ROOT

KINDS = {"integer": IntegerVocabulary, "char": CharVocabulary, "word": WordVocabulary}
# All that a text can hold; a file of text in UTF-8 has no byte 0.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def write(path, content):
    if isinstance(content, np.ndarray):
        with open(path, "wb") as file:
            np.save(file, content)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


class TestArrays:
    @pytest.mark.parametrize("dtype", ["<i4", ">i8", "u1", "<u2", ">u4", "i1"])
    @pytest.mark.parametrize("mapped", [False, True])
    def test_of_any_integers_are_read(self, tmp_path, monkeypatch, dtype, mapped):
        monkeypatch.setattr(own_data.sequence_file, "_SMALL", 0 if mapped else 5 * 8)
        array = np.array([5, 0, 3, 100, 5], dtype)
        vocabulary = IntegerVocabulary()
        ids = read_sequence(write(tmp_path / "ids.npy", array), vocabulary)
        assert isinstance(ids, np.memmap) == mapped
        assert ids.dtype == array.dtype and ids.tolist() == array.tolist()
        assert len(vocabulary) == 101

    def test_need_no_name_of_their_own(self, tmp_path):
        path = write(tmp_path / "ids", np.arange(4))
        assert read_sequence(path, IntegerVocabulary()).tolist() == [0, 1, 2, 3]

    @pytest.mark.parametrize(
        ("array", "told"),
        [
            (np.zeros(4, np.float32), "holds values of type float32"),
            (np.zeros(4, bool), "holds values of type bool"),
            (np.array(["1", "2"]), "holds values of type <U1"),
            (np.zeros(4, "i4,i4"), "holds values of type [('f0', '<i4'), ('f1', '<i4')]"),
            (np.zeros((2, 3), int), "holds an array of shape (2, 3), not one long sequence"),
            (np.array(7), "holds an array of shape (), not one long sequence"),
            (np.array([1, None]), "holds objects, which are never loaded"),
            (np.zeros(0, int), "holds no token"),
            (np.zeros(1, int), "holds only one token"),
            (np.array([3, 2, -7, -8]), "holds the negative id -7 at index 2"),
            (np.array([3, 2**40, 2**41]), f"holds the id {2**40} at index 1"),
            (np.array([3, 2**63], np.uint64), f"holds the id {2**63} at index 1"),
        ],
        ids=lambda each: each if isinstance(each, str) else "",
    )
    def test_of_something_else_are_refused(self, tmp_path, array, told):
        path = write(tmp_path / "ids.npy", array)
        with pytest.raises(BadFile) as error:
            read_sequence(path, IntegerVocabulary())
        assert str(error.value).startswith(told)

    @pytest.mark.parametrize("index", [0, 65_535, 65_536, 199_999])
    @pytest.mark.parametrize("id_", [-1, 10])
    @pytest.mark.parametrize("small", [0, 2**26])
    def test_are_seen_to_be_in_the_vocabulary_to_the_last_id(
        self, tmp_path, monkeypatch, index, id_, small
    ):
        monkeypatch.setattr(own_data.sequence_file, "_SMALL", small)
        array = np.full(200_000, 9, np.int64)
        array[index] = id_
        path = write(tmp_path / "ids.npy", array)
        with pytest.raises(BadFile, match=f"id {id_} at index {index:,}, "):
            read_sequence(path, IntegerVocabulary(10))

    @pytest.mark.parametrize(
        "damage",
        [
            lambda content: content[:-1],
            lambda content: content + b"\0",
            lambda content: content[:60],
            lambda content: content[:7],
            lambda content: content.replace(b"(100,)", b"(-99,)"),
            lambda content: content.replace(b"(100,)", b"(1e2,)"),
            lambda content: content.replace(b"(100,)", b"(True)"),
            lambda content: content.replace(b"(100,), } ", b"(True,), }")[: 128 + 8],
            lambda content: content.replace(b"'<i8'", b"'<x8'"),
            lambda content: content.replace(b"(100,)", b"(100,2"),
            lambda content: content[:6] + b"\x09" + content[7:],
            lambda content: b"garbage\xff\x00" * 20,
            lambda content: b"",
        ],
        ids=range(13),
    )
    def test_that_are_damaged_are_refused(self, tmp_path, damage):
        path = tmp_path / "ids.npy"
        write(path, np.arange(100, dtype="<i8"))
        before = path.read_bytes()
        assert damage(before) != before
        path.write_bytes(damage(before))
        with pytest.raises(BadFile, match=r"damaged|another format|unknown version|empty"):
            read_sequence(str(path), IntegerVocabulary())


class TestText:
    @pytest.fixture(autouse=True)
    def blocks(self, monkeypatch):
        """Blocks so small that every text is cut everywhere."""
        monkeypatch.setattr(own_data.sequence_file, "_BLOCK", 5)

    @given(text=TEXTS, block=st.integers(1, 20))
    @settings(deadline=None, max_examples=200)
    def test_of_characters_is_that_of_python_wherever_it_is_cut(
        self, tmp_path_factory, text, block
    ):
        own_data.sequence_file._BLOCK = block
        path = tmp_path_factory.getbasetemp() / "text"
        write(path, "ab" + text)
        vocabulary = CharVocabulary()
        ids = read_sequence(str(path), vocabulary)
        assert vocabulary.decode(ids) == path.read_text(encoding="utf-8")

    @given(text=TEXTS, block=st.integers(1, 20))
    @settings(deadline=None, max_examples=200)
    def test_of_words_is_the_same_wherever_it_is_cut(self, tmp_path_factory, text, block):
        own_data.sequence_file._BLOCK = block
        path = tmp_path_factory.getbasetemp() / "text"
        write(path, "a b\n" + text)
        vocabulary = WordVocabulary()
        ids = read_sequence(str(path), vocabulary)
        lines = path.read_text(encoding="utf-8").split("\n")
        expected = lines[0].split()
        for line in lines[1:]:
            expected += ["\n", *line.split()]
        assert [vocabulary.tokens()[id_] for id_ in ids] == expected

    def test_of_numbers_is_read_wherever_it_is_cut(self, tmp_path):
        numbers = np.random.RandomState(0).randint(100_000, size=500)
        path = write(tmp_path / "ids", "\n".join(map(str, numbers)))
        vocabulary = IntegerVocabulary()
        assert read_sequence(path, vocabulary).tolist() == numbers.tolist()
        assert len(vocabulary) == numbers.max() + 1

    def test_may_begin_with_a_byte_order_mark_and_have_other_ends_of_lines(self, tmp_path):
        vocabulary = CharVocabulary()
        path = write(tmp_path / "text", b"\xef\xbb\xbfone\r\ntwo\rthree\n")
        assert vocabulary.decode(read_sequence(path, vocabulary)) == "one\ntwo\nthree\n"

    @pytest.mark.parametrize(
        ("kind", "count", "dtype"),
        [
            ("char", 256, "u1"),
            ("char", 257, "u2"),
            ("integer", 2**16, "u2"),
            ("word", 2**16 + 1, "u4"),
        ],
    )
    def test_takes_as_few_bytes_an_id_as_the_vocabulary_needs(self, tmp_path, kind, count, dtype):
        tokens = map(chr, range(300, 300 + count)) if kind == "char" else map(str, range(count))
        path = write(tmp_path / "text", ("" if kind == "char" else " ").join(tokens))
        own_data.sequence_file._BLOCK = 2**12
        ids = read_sequence(path, KINDS[kind]())
        assert isinstance(ids, np.memmap) and ids.dtype == np.dtype(dtype)
        assert ids.tolist() == list(range(count))

    @pytest.mark.parametrize(
        ("kind", "content", "told"),
        [
            ("char", b"", "is empty"),
            ("word", b"\xef\xbb\xbf", "holds no token"),
            ("word", b" \t ", "holds no token"),
            ("integer", b"\n\n", "holds no token"),
            ("char", b"a", "holds only one token"),
            ("word", b"alone", "holds only one token"),
            ("integer", b"7\n", "holds only one token"),
            ("char", b"0123456789\xff\xfe", "is not UTF-8 text: byte 10 is 0xff"),
            ("word", b"\xef\xbb\xbfab cd \xc3\xa9\xc3", "is not UTF-8 text: byte 11 is 0xc3"),
            ("integer", b"1 2 3 \x93NUMPY", "is not UTF-8 text: byte 6 is 0x93"),
            ("char", "text".encode("utf-16"), "is not UTF-8 text: byte 0 is 0xff"),
            ("char", "text".encode("utf-16-le"), "is not text: it holds bytes that are 0"),
            ("integer", b"5 6 7 8 9 -3 4", "holds the negative id -3 at index 5"),
            ("integer", b"5 6 7 8 nine 10", "holds 'nine' at index 4"),
        ],
    )
    def test_of_something_else_is_refused(self, tmp_path, kind, content, told):
        path = write(tmp_path / "text", content)
        with pytest.raises(BadFile) as error:
            read_sequence(path, KINDS[kind]())
        assert str(error.value).startswith(told)

    @pytest.mark.parametrize("space", ["\t", "\v", "\u2003", " \t"])
    def test_of_numbers_between_any_white_space_may_be_long(self, tmp_path, monkeypatch, space):
        monkeypatch.setattr(own_data.sequence_file, "_BLOCK", 2**16)
        path = write(tmp_path / "ids", space.join(["12"] * 600_000))
        ids = read_sequence(path, IntegerVocabulary())
        assert len(ids) == 600_000 and (ids == 12).all()

    def test_without_white_space_is_no_words_but_may_be_characters(self, tmp_path, monkeypatch):
        monkeypatch.setattr(own_data.sequence_file, "_LONGEST_WORD", 1000)
        path = write(tmp_path / "text", 1010 * "ACGT")
        with pytest.raises(BadFile, match="it holds a word of more than 1,000 characters"):
            read_sequence(path, WordVocabulary())
        assert len(read_sequence(path, CharVocabulary())) == 4040


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "told"), [("no", "does not exist"), ("", "is a folder")])
def test_what_is_no_file_is_refused(tmp_path, kind, name, told):
    with pytest.raises(BadFile, match=told):
        read_sequence(str(tmp_path / name), KINDS[kind]())


def test_one_of_the_systems_own_that_never_ends_is_refused_at_once(monkeypatch, tmp_path):
    """As /proc/kmsg: a regular file that says it is empty, and is waited for when it is read."""
    (tmp_path / "kmsg").touch()
    monkeypatch.setattr("own_data.sequence_file._pieces", lambda *_: pytest.fail("read"))
    with pytest.raises(BadFile, match="is empty"):
        read_sequence(str(tmp_path / "kmsg"), CharVocabulary())


def test_a_disk_that_fails_is_not_taken_for_damage_nor_for_want_of_room(monkeypatch, tmp_path):
    class Failing(io.BufferedReader):
        def read(self, *_):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        readinto = read

    def open_file(path):
        return Failing(io.FileIO(path))

    monkeypatch.setattr("own_data.sequence_file.open_file", open_file)
    for name, content in ("ids.npy", np.arange(9)), ("text", "text"):
        path = write(tmp_path / name, content)
        with pytest.raises(BadFile, match="cannot be read: Input/output error"):
            read_sequence(path, IntegerVocabulary())


def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadFile, match="not a regular file"):
        read_sequence(str(tmp_path / "pipe"), CharVocabulary())


def test_leaves_no_file_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    path = write(tmp_path / "text", "some text")
    ids = read_sequence(path, CharVocabulary())
    assert len(ids) == 9 and os.listdir(tmp_path / "temporary") == []


MEASURE = """
import resource, sys
from own_data.sequence_file import read_sequence
from own_data.vocabulary import *
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
ids = read_sequence(sys.argv[1], eval(sys.argv[2])())
print(len(ids), peak() - before)
"""


@pytest.mark.parametrize("kind", KINDS)
def test_memory_does_not_grow_with_the_file(tmp_path, kind):
    """Peak of a process that reads 80 MB of numbers, or 17 MB of text."""
    path = tmp_path / "file"
    if kind == "integer":
        write(path, np.ones(10_000_000, np.int64))
    else:
        path.write_bytes(
            250_000 * b"Of a long text a piece at a time is held,\nsays Andr\xc3\xa9, no more.\n"
        )
    result = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path), KINDS[kind].__name__],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    length, megabytes = result.stdout.split()
    assert int(length) >= 4_000_000
    assert float(megabytes) < 8


class TestFingerprint:
    def of(self, path, vocabulary):
        seen = Fingerprint()
        read_sequence(path, vocabulary, seen)
        return seen.of(vocabulary)

    def test_tells_length_order_and_tokens_apart(self, tmp_path):
        texts = "a b c b", "a b c", "a b b c", "a b c b a", "a b d b"
        seen = [self.of(write(tmp_path / "text", text), WordVocabulary()) for text in texts]
        assert len(set(seen)) == 5
        assert seen[0].startswith("of 4 tokens with fingerprint ")

    @pytest.mark.parametrize("small", [0, 2**26])
    def test_does_not_depend_on_the_type_nor_on_where_it_is_cut(self, tmp_path, monkeypatch, small):
        monkeypatch.setattr(own_data.sequence_file, "_SMALL", small)
        ids = np.arange(100)
        seen = {self.of(write(tmp_path / "ids", " ".join(map(str, ids))), IntegerVocabulary())}
        for dtype, block in ("u1", 7), (">i2", 64), ("<i4", 99), ("<u8", 1000):
            monkeypatch.setattr(own_data.sequence_file, "_BLOCK", block)
            path = write(tmp_path / "ids.npy", ids.astype(dtype))
            seen.add(self.of(path, IntegerVocabulary()))
        assert len(seen) == 1

    @pytest.mark.parametrize("kind", ["array", "mapped array", "text"])
    def test_covers_every_id_of_a_long_sequence(self, tmp_path, monkeypatch, kind):
        """The one that is changed lay between the 64 blocks that an earlier version read."""
        monkeypatch.setattr(
            own_data.sequence_file, "_SMALL", 0 if kind == "mapped array" else 2**26
        )
        seen = set()
        for id_ in 48, 49:
            ids = np.full(10_000_001, 48, np.uint8)
            ids[100_000] = id_
            content, vocabulary = ids, IntegerVocabulary()
            if kind == "text":
                content, vocabulary = ids.tobytes(), CharVocabulary("01")
            seen.add(self.of(write(tmp_path / "data", content), vocabulary))
        assert len(seen) == 2

    def test_is_taken_while_the_ids_are_checked(self, tmp_path, monkeypatch):
        """A second pass would read the map."""
        monkeypatch.setattr(own_data.sequence_file, "_SMALL", 0)
        monkeypatch.setattr(MappedIds, "__getitem__", lambda *_: pytest.fail("read again"))
        self.of(write(tmp_path / "ids.npy", np.arange(9)), IntegerVocabulary())
