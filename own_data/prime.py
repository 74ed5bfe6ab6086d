"""Reads from standard input the text that a network continues."""

from typing import TextIO

from support.files import BadFile, Unreadable

_LONGEST = 2**20  # bytes; endless input must not fill the memory


def read_prime(stream: TextIO | None) -> str:
    """Read a text to its end, with line ends as in a training text.

    One line end at the end is left out: ``echo`` and editors add it.

    Args:
        stream: standard input, None if it is closed.

    Raises:
        BadFile: if it is closed, cannot be read, is not UTF-8, or holds more than 1 MiB.
    """
    if stream is None:
        raise Unreadable("is closed")
    try:
        content = stream.buffer.read(_LONGEST + 1)
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}") from error
    if len(content) > _LONGEST:
        raise BadFile(f"holds more than {_LONGEST:,} bytes")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        byte = content[error.start]
        raise BadFile(f"is not UTF-8 text: byte {error.start:,} is 0x{byte:02x}") from None
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return text.removesuffix("\n")
