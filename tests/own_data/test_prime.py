import io

import pytest

from own_data import prime
from own_data.prime import read_prime
from support.files import BadFile, Unreadable


def standard_input(content):
    return io.TextIOWrapper(io.BytesIO(content), encoding="ascii")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"It was", "It was"),
        (b"It was\n", "It was"),
        (b"It was\n\n", "It was\n"),
        (b"It was\r\n", "It was"),
        (b"\nIt\r\nwas\rall ", "\nIt\nwas\nall "),
        ("\ufeffna\u00efve".encode(), "na\u00efve"),
        (b"", ""),
        (b"\n", ""),
    ],
)
def test_is_the_text_without_the_last_end_of_line(content, text):
    assert read_prime(standard_input(content)) == text


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"abc\xffd", "is not UTF-8 text: byte 3 is 0xff"),
        ("\ufeff\u00ef".encode()[:-1], "is not UTF-8 text: byte 3 is 0xc3"),
        (b"x" * 11, "holds more than 10 bytes"),
    ],
)
def test_says_what_is_wrong(content, told, monkeypatch):
    monkeypatch.setattr(prime, "_LONGEST", 10)
    with pytest.raises(BadFile) as error:
        read_prime(standard_input(content))
    assert str(error.value) == told


def test_of_the_greatest_length_is_taken(monkeypatch):
    monkeypatch.setattr(prime, "_LONGEST", 10)
    assert read_prime(standard_input(b"x" * 10)) == "x" * 10


def test_that_is_closed_or_cannot_be_read_is_told(tmp_path):
    with pytest.raises(Unreadable, match=r"^is closed$"):
        read_prime(None)
    with open(tmp_path / "file", "w") as file, pytest.raises(BadFile):  # not open for reading
        read_prime(file)
