"""The file beside a large text: what reading gives, with it as without."""

import errno
import fcntl
import hashlib
import io
import json
import os
import stat
import traceback
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import own_data.sequence_file
from own_data import kept_ids
from own_data.mapped_ids import FileChanged, MappedIds
from own_data.sequence_file import fingerprint, read_sequence
from own_data.vocabulary import CharVocabulary, IntegerVocabulary, WordVocabulary
from support.files import BadFile

KINDS = {"integer": IntegerVocabulary, "char": CharVocabulary, "word": WordVocabulary}
WORDS = st.lists(
    st.sampled_from(["to", "be", "or", "not", "\u00fcber", "\n", "x" * 20]), min_size=2
)
NUMBERS = st.lists(st.integers(0, 70_000).map(str), min_size=2)
TEXT = "to be or not to be\nthat is the question\n"


@pytest.fixture(autouse=True)
def every_text_is_large(monkeypatch):
    monkeypatch.setattr(own_data.sequence_file, "WORTH", 1)


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text"
    path.write_text(TEXT)
    return path


@pytest.fixture
def kept(text):
    """The file of this text's words, just made."""
    read(text)
    return text.with_name("text.word-ids")


def read(path, kind="word", before="", keep=True):
    """All that reading a text gives, when that of ``before`` is known."""
    vocabulary = KINDS[kind]()
    vocabulary.learn(before)
    ids = read_sequence(str(path), vocabulary, keep)
    return (
        *(ids.dtype, ids.tolist(), len(vocabulary), vocabulary.tokens()),
        [vocabulary.encode(token).tolist() for token in vocabulary.tokens()],
        fingerprint(ids, vocabulary),
    )


def read_afresh(path, *args):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own_data.sequence_file, "WORTH", 2**40)
        return read(path, *args)


def forge(path, change):
    """Change the first line of the file, and seal it again."""
    content = path.read_bytes()
    line, _, rest = content.split(b"\n", 2)
    start = -(-(len(content) - len(rest)) // 64) * 64
    ids = content[start:]
    about = json.loads(line)
    ids = change(about, ids) or ids
    line = json.dumps(about).encode() + b"\n"
    line += hashlib.sha256(line).hexdigest().encode() + b"\n"
    path.write_bytes(line + b"\0" * (-len(line) % 64) + ids)


class TestWhatIsRead:
    @given(data=st.data(), block=st.integers(1, 8).map(lambda n: 4 * n))
    @settings(deadline=None, max_examples=60)
    @pytest.mark.parametrize("kind", KINDS)
    def test_is_the_same_as_without(self, tmp_path_factory, kind, data, block):
        path = tmp_path_factory.mktemp("kept") / "text"
        texts = NUMBERS if kind == "integer" else WORDS
        path.write_text(" ".join(data.draw(texts)))
        before = " ".join(data.draw(st.one_of(st.just([]), texts)))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(own_data.sequence_file, "_BLOCK", block)
            expected = read_afresh(path, kind, before)
            assert read(path, kind, before) == expected
            patch.setattr(own_data.sequence_file, "_pieces", lambda *_: pytest.fail("read again"))
            assert read(path, kind, before) == expected

    def test_is_mapped_and_told(self, text, capsys):
        vocabulary = WordVocabulary()
        read_sequence(str(text), vocabulary)
        told = f"the ids of {text} %s {text}.word-ids, which may be deleted at any time\n"
        assert capsys.readouterr().out == "Kept " + told % "in"
        ids = read_sequence(str(text), WordVocabulary())
        assert isinstance(ids, MappedIds) and not ids.flags.writeable and ids.flags.aligned
        assert capsys.readouterr().out == "Took " + told % "from"

    def test_depends_on_what_was_known(self, text, kept):
        for before in "is that", "is", "that is", "":
            assert read(text, "word", before) == read_afresh(text, "word", before)

    def test_differs_by_kind(self, text, kept):
        assert read(text, "char") == read_afresh(text, "char")
        os.replace(text.with_name("text.char-ids"), kept)
        assert read(text) == read_afresh(text)

    @pytest.mark.parametrize("size", [None, 10, 99])
    def test_is_within_the_vocabulary_that_is_given(self, text, size):
        text.write_text("3 1 4 1 5 9 2 6")
        read(text, "integer")
        vocabulary = IntegerVocabulary(size)
        assert read_sequence(str(text), vocabulary).tolist() == [3, 1, 4, 1, 5, 9, 2, 6]
        assert len(vocabulary) == (size or 10)
        for size, first in (2, "3 at index 0"), (9, "9 at index 5"):
            with pytest.raises(BadFile, match=f"holds the id {first}, beyond the vocabulary"):
                read_sequence(str(text), IntegerVocabulary(size))

    def test_is_not_read_any_more_once_somebody_has_changed_it(self, text, kept):
        ids = read_sequence(str(text), WordVocabulary())
        os.utime(kept, (1, 1))
        with pytest.raises(FileChanged, match=r"text\.word-ids is no longer what it was when"):
            ids[[0, 1]]

    def test_is_refused_where_it_is_beyond_the_vocabulary(self, text, kept, monkeypatch):
        """As where the disk has failed between two blocks of the sample."""
        monkeypatch.setattr(kept_ids, "_sample", lambda *_: "the same")
        read(text)
        content = kept.read_bytes()
        kept.write_bytes(content[:-1] + b"\x09")
        ids = read_sequence(str(text), WordVocabulary())
        assert ids[[0, -2]].tolist() == [0, 8]
        for part in ids, ids[5:]:
            with pytest.raises(FileChanged, match=r"text\.word-ids is damaged and has to be del"):
                part[np.array([[0, -1]])]


class TestAChangedText:
    @pytest.mark.parametrize(
        "change", [("to be", "do be"), ("or not", "or now"), ("ion\n", "ion ")]
    )
    @pytest.mark.parametrize("blind", ["sample", "times"])
    def test_of_the_same_size_and_time_is_noticed(self, text, monkeypatch, change, blind):
        """By its time of change, or by its content where there is no such time."""
        if blind == "sample":
            monkeypatch.setattr(kept_ids, "_sample", lambda *_: "the same")
        else:

            def fstat(descriptor):
                status = os.fstat(descriptor)
                same = dict.fromkeys(("st_mtime_ns", "st_ctime_ns"), 1)
                return SimpleNamespace(st_size=status.st_size, st_mode=status.st_mode, **same)

            monkeypatch.setattr(kept_ids, "os", SimpleNamespace(**{**vars(os), "fstat": fstat}))
        read(text)
        status = text.stat()
        text.write_text(TEXT.replace(*change, 1))
        os.utime(text, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert text.stat().st_size == status.st_size
        assert read(text) == read_afresh(text)

    def test_is_not_kept_when_that_happens_meanwhile(self, text, monkeypatch):
        class Vocabulary(WordVocabulary):
            def learn(self, piece):
                text.write_text(TEXT + "more")
                return super().learn(piece)

        read_sequence(str(text), Vocabulary())
        assert os.listdir(text.parent) == ["text"]

    def test_of_another_length_alone_is_noticed(self):
        samples = {kept_ids._sample(io.BytesIO(bytes(n)), 0, n) for n in (10**7, 10**7 + 1)}
        assert len(samples) == 2

    @pytest.mark.parametrize("place", [0, 10**6, 2 * 10**6, 5 * 10**6, -1])
    def test_of_megabytes_is_sampled_from_end_to_end(self, place):
        content = bytearray(4_194_304 if place != 5 * 10**6 else 5_000_001)
        before = kept_ids._sample(io.BytesIO(content), 0, len(content))
        content[place] = 1
        assert kept_ids._sample(io.BytesIO(content), 0, len(content)) != before
        assert kept_ids._sample(io.BytesIO(b"abc" + content), 3, 3 + len(content)) != before


class TestADamagedFile:
    @pytest.mark.parametrize(
        "damage",
        [
            lambda content: content[:-1],
            lambda content: content[: len(content) // 2],
            lambda content: content[:7],
            lambda content: b"",
            lambda content: content + b"\0",
            lambda content: content[:-1] + bytes([content[-1] ^ 1]),
            lambda content: content.replace(b"question", b"Question"),
            lambda content: content.replace(b'"ids of"', b'"Ids of"'),
            lambda content: content[:100].replace(b"\n", b""),
            lambda content: b"garbage\xff\x00\n" * 20,
            lambda content: b'{"ids of": {' + b"[" * 10**6,
        ],
        ids=range(11),
    )
    def test_is_not_used(self, text, kept, damage):
        before = kept.read_bytes()
        assert damage(before) != before
        kept.write_bytes(damage(before))
        assert read(text) == read_afresh(text)

    @pytest.mark.parametrize(
        "change",
        [
            lambda about, ids: about.update(type="|O"),
            lambda about, ids: about.update(type="<i8"),
            lambda about, ids: about.update(type=["<u4"]),
            lambda about, ids: (
                about.update(type="<u4", sample=sample_of(ids + b"\0")) or ids + b"\0"
            ),
            lambda about, ids: about.update(sample=None),
            lambda about, ids: about.update(learnt="to\0be\0to"),
            lambda about, ids: about.update(learnt="\ud800"),
            lambda about, ids: about.update(learnt=None),
            lambda about, ids: about.update({"ids of": {**about["ids of"], "format": 0}}),
            lambda about, ids: about.pop("learnt") and None,
            lambda about, ids: about.update(sample=sample_of(b"")) or b"\n",
        ],
        ids=range(11),
    )
    @pytest.mark.parametrize("kind", ["char", "word"])
    def test_is_not_used_though_it_was_sealed(self, text, change, kind):
        read(text, kind)
        forge(text.with_name(f"text.{kind}-ids"), change)
        assert read(text, kind) == read_afresh(text, kind)

    def test_of_something_longer_than_characters_is_not_used(self, text):
        read(text, "char")
        path = text.with_name("text.char-ids")
        forge(path, lambda about, _: about.update(learnt="to\0be"))
        assert read(text, "char") == read_afresh(text, "char")

    def test_is_made_again(self, text, kept):
        right = kept.read_bytes()
        for damaged in right[:-1], b"":
            kept.write_bytes(damaged)
            read(text)
            assert kept.read_bytes() == right


def sample_of(ids):
    return kept_ids._sample(io.BytesIO(ids), 0, len(ids))


class TestIsNotMade:
    @pytest.fixture(autouse=True)
    def reading_gives_the_same(self, text, capsys):
        yield
        capsys.readouterr()
        assert read(text) == read_afresh(text)
        assert "Kept" not in capsys.readouterr().out

    def test_of_a_small_text(self, text, monkeypatch):
        monkeypatch.setattr(own_data.sequence_file, "WORTH", kept_ids.WORTH)
        assert kept_ids.WORTH >= 2**25

    def test_by_a_process_that_is_told_not_to(self, text, monkeypatch):
        read(text, keep=False)
        assert os.listdir(text.parent) == ["text"]
        read(text)  # but used by it
        monkeypatch.setattr(own_data.sequence_file, "_pieces", lambda *_: pytest.fail("read again"))
        read(text, keep=False)
        monkeypatch.undo()
        monkeypatch.setattr(own_data.sequence_file, "WORTH", 2**40)

    @pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOSPC])
    def test_where_nothing_can_be_written(self, text, monkeypatch, code):
        def fail(*_):
            raise OSError(code, os.strerror(code))

        full = code == errno.ENOSPC  # which is noticed in the midst
        monkeypatch.setattr(*("shutil.copyfileobj",) if full else (kept_ids, "write_file"), fail)
        read(text)
        assert os.listdir(text.parent) == ["text"]

    def test_where_it_would_leave_no_room(self, text, monkeypatch):
        length = len(read_afresh(text)[1])
        monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=2 * length))
        read(text)
        assert os.listdir(text.parent) == ["text"]

    @pytest.mark.parametrize("content", ["my own", '{"ids": 1}'])
    def test_in_place_of_the_users_own(self, text, content):
        path = text.with_name("text.word-ids")
        path.write_text(content)
        read(text)
        assert path.read_text() == content

    @pytest.mark.parametrize("there", [True, False])
    def test_through_a_link(self, text, kept, there):
        text.write_text(TEXT * 2)
        target = kept.rename(kept.with_name("other"))
        if not there:
            target.unlink()
        before = there and target.read_bytes()
        kept.symlink_to(target)
        read(text)
        assert kept.is_symlink() and target.exists() == there
        assert not there or target.read_bytes() == before

    def test_in_place_of_a_folder(self, text):
        text.with_name("text.word-ids").mkdir()

    def test_while_another_process_makes_it(self, text, tmp_path):
        with open(tmp_path / ".text.word-ids.1.tmp", "wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            read(text)
            assert sorted(os.listdir(tmp_path)) == [".text.word-ids.1.tmp", "text"]
        read(text)  # the other was killed
        assert sorted(os.listdir(tmp_path)) == ["text", "text.word-ids"]


def test_is_not_made_of_what_is_no_sequence(text):
    for content in " \t ", "alone":
        text.write_text(content)
        with pytest.raises(BadFile, match="token"):
            read(text)
    assert os.listdir(text.parent) == ["text"]


def test_that_another_process_has_made_meanwhile_stays(text, tmp_path):
    made = []

    class Vocabulary(WordVocabulary):
        def learn(self, piece):
            if not made:
                read(text)
                made.append((tmp_path / "text.word-ids").stat().st_ino)
            return super().learn(piece)

    read_sequence(str(text), Vocabulary())
    assert made == [(tmp_path / "text.word-ids").stat().st_ino]


def test_what_others_were_writing_is_left_alone(text, tmp_path):
    (tmp_path / ".other.1.tmp").touch()
    read(text)
    assert sorted(os.listdir(tmp_path)) == [".other.1.tmp", "text", "text.word-ids"]


@pytest.mark.parametrize("mode", [0o600, 0o664, 0o444])
def test_is_as_private_as_the_text(text, mode):
    text.chmod(mode)
    read(text)
    assert stat.S_IMODE(text.with_name("text.word-ids").stat().st_mode) == mode


def test_lies_beside_a_text_in_this_folder(text, monkeypatch):
    monkeypatch.chdir(text.parent)
    read("text")
    assert sorted(os.listdir()) == ["text", "text.word-ids"]


def test_is_whole_when_several_start_at_once(text, tmp_path):
    text.write_text(TEXT * 20_000)
    expected = read_afresh(text)
    pids = []
    for _ in range(4):
        pid = os.fork()
        if not pid:
            code = 1
            try:
                code = int(read(text) != expected)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        pids.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0, 0, 0]
    assert sorted(os.listdir(tmp_path)) == ["text", "text.word-ids"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own_data.sequence_file, "_pieces", lambda *_: pytest.fail("read again"))
        assert read(text) == expected
