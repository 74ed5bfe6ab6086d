import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from own_data.vocabulary import (
    BadToken,
    CharVocabulary,
    IntegerVocabulary,
    WordVocabulary,
    described,
    to_json,
)

# All that UTF-8 can hold.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
LINES = "The cat sat.\n\nThe  dog\tsat, too.\n"


class TestIntegers:
    def test_are_ids(self):
        vocabulary = IntegerVocabulary()
        assert vocabulary.learn(" 3 0\n\n7\t3 003 ").tolist() == [3, 0, 7, 3, 3]
        assert len(vocabulary) == 8

    def test_of_one_kind_make_a_vocabulary_of_two(self):
        vocabulary = IntegerVocabulary()
        vocabulary.learn("0 0 0")
        assert len(vocabulary) == 2

    def test_leave_a_given_size_as_it_is(self):
        vocabulary = IntegerVocabulary(9)
        vocabulary.learn("8 0")
        assert len(vocabulary) == 9

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("5 -3 1 -4", "the negative id -3 at index 1, which no token can have"),
            ("5 1 9 8", "the id 9 at index 2, beyond the vocabulary, whose last id is 7"),
            (
                "5 9223372036854775808",
                "'9223372036854775808' at index 1, which is not a whole number",
            ),
            ("5 1.5", "'1.5' at index 1, which is not a whole number"),
            ("5 1_0", "'1_0' at index 1, which is not a whole number"),
            ("\u0665", "'\u0665' at index 0, which is not a whole number"),
            ("5 6 Call me", "'Call' at index 2, which is not a whole number"),
            (100 * "9", f"'{40 * '9'}...' at index 0, which is not a whole number"),
        ],
    )
    def test_are_refused_by_name_and_place(self, text, told):
        with pytest.raises(BadToken) as error:
            IntegerVocabulary(8).learn(text)
        assert error.value.at(0) == told

    def test_stay_within_int32(self):
        assert len(IntegerVocabulary()) < 2**31
        vocabulary = IntegerVocabulary()
        vocabulary.learn_ids(np.array([2**31 - 2]))
        assert len(vocabulary) == 2**31 - 1
        with pytest.raises(BadToken, match="the id 2147483647"):
            vocabulary.learn_ids(np.array([2**31 - 1], np.uint64))

    def test_are_written_between_blanks(self):
        assert IntegerVocabulary().decode(np.array([3, 10, 3])) == "3 10 3"


class TestChars:
    def test_are_numbered_as_they_come(self):
        vocabulary = CharVocabulary()
        first = vocabulary.learn("ba")
        assert first.dtype == np.int32
        then = vocabulary.learn("zab\U0001f40d")
        assert vocabulary.tokens() == ["a", "b", "z", "\U0001f40d"]
        assert [*first, *then] == [1, 0, 2, 0, 1, 3]

    @given(st.lists(TEXTS))
    def test_become_the_same_text_again(self, pieces):
        vocabulary = CharVocabulary()
        ids = [vocabulary.learn(piece) for piece in pieces]
        assert [vocabulary.decode(each) for each in ids] == pieces
        assert len(vocabulary) == len(set("".join(pieces)))
        assert [vocabulary.encode(piece).tolist() for piece in pieces] == [i.tolist() for i in ids]

    @pytest.mark.parametrize("stranger", ["\u00e9", "\udcff"])
    def test_unknown_are_refused_by_name_and_place(self, stranger):
        vocabulary = CharVocabulary("caf")
        with pytest.raises(BadToken) as error:
            vocabulary.encode("caf" + stranger)
        assert error.value.at(0) == f"{stranger!r} at index 3, which is not in the vocabulary"
        assert len(vocabulary) == 3


class TestWords:
    def test_stand_between_white_space_and_ends_of_lines_are_some(self):
        vocabulary = WordVocabulary()
        ids = vocabulary.learn(LINES)
        expected = ["The", "cat", "sat.", "\n", "\n", "The", "dog", "sat,", "too.", "\n"]
        assert [vocabulary.tokens()[id_] for id_ in ids] == expected
        assert len(vocabulary) == len(set(expected))
        assert ids.dtype == np.int32

    def test_are_numbered_as_they_come(self):
        vocabulary = WordVocabulary(["a", "b"])
        assert vocabulary.learn("c b a c d").tolist() == [2, 1, 0, 2, 3]

    def test_become_text_with_lines_and_single_blanks(self):
        vocabulary = WordVocabulary()
        ids = vocabulary.learn(LINES)
        assert vocabulary.decode(ids) == "The cat sat.\n\nThe dog sat, too.\n"

    @given(st.lists(st.sampled_from(["a", "b,", "\n"])))
    def test_add_to_the_text_one_by_one(self, words):
        vocabulary = WordVocabulary(["a", "b,", "\n"])
        seen = []
        pieces = vocabulary.pieces(
            seen.append(word) or vocabulary.tokens().index(word) for word in words
        )
        text = ""
        for count, piece in enumerate(pieces, 1):
            text += piece
            assert text == re.sub(" ?\n ?", "\n", " ".join(words[:count]))
            assert len(seen) == count
        assert len(seen) == len(words)

    @given(TEXTS)
    def test_of_a_text_are_those_of_the_text_that_they_become(self, text):
        vocabulary = WordVocabulary()
        ids = vocabulary.learn(text)
        assert vocabulary.encode(vocabulary.decode(ids)).tolist() == ids.tolist()

    def test_unknown_are_refused_by_name_and_place(self):
        vocabulary = WordVocabulary(["the", "cat"])
        with pytest.raises(BadToken) as error:
            vocabulary.encode("the cat the dog")
        assert error.value.at(0) == "'dog' at index 3, which is not in the vocabulary"
        assert len(vocabulary) == 2


class TestAsJson:
    def test_is_readable_by_anyone(self):
        text = to_json(WordVocabulary(["\u00fcber", "\n"]))
        assert json.loads(text) == {"kind": "word", "tokens": ["\u00fcber", "\n"]}
        assert "\u00fcber" in text

    @pytest.mark.parametrize("vocabulary", [CharVocabulary("a\nb"), WordVocabulary(["to", "be"])])
    def test_comes_back(self, vocabulary):
        again = described(json.loads(to_json(vocabulary)), len(vocabulary))
        assert type(again) is type(vocabulary)
        assert again.tokens() == vocabulary.tokens()
        assert again.decode([1, 0]) == vocabulary.decode([1, 0])

    def test_of_integers_comes_back_with_the_models_size(self):
        assert len(described(json.loads(to_json(IntegerVocabulary())), 12)) == 12

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "[1, 2]",
            "7",
            '{"kind": "char"}',
            '{"kind": "char", "tokens": "ab"}',
            '{"kind": "char", "tokens": ["a", 1]}',
            '{"kind": "char", "tokens": ["a"]}',
            '{"kind": "char", "tokens": ["a", "a"]}',
            '{"kind": "char", "tokens": ["a", "a", "b"]}',
            '{"kind": "char", "tokens": ["a", "bc"]}',
            '{"kind": "bytes", "tokens": ["a", "b"]}',
            '{"kind": ["char"], "tokens": ["a", "b"]}',
        ],
    )
    def test_that_is_no_vocabulary_of_the_size_is_refused(self, text):
        with pytest.raises(ValueError):
            described(json.loads(text), 2)
