"""Write options.md, the options of every command, from the commands themselves.

python -m docs.options
"""

import argparse
import pathlib
from collections.abc import Callable, Iterator
from unittest import mock

import compare_architectures
import count_limits
import predict_simple_sequence
from support.command_line import ArgumentParser
from training import options

PATH = pathlib.Path(__file__).with_name("options.md")
COMMANDS: dict[str, Callable[[list[str]], object]] = {
    "train_simple_sequence.py": lambda argv: options.parse_arguments("", argv),
    "predict_simple_sequence.py": predict_simple_sequence.parse_arguments,
    "compare_architectures.py": compare_architectures.parse_arguments,
    "count_limits.py": count_limits.parse_arguments,
}


class _Made(Exception):
    """Carries a command's parser, which is about to read a command line."""


def parser_of(parse: Callable[[list[str]], object]) -> argparse.ArgumentParser:
    """The parser with which a command reads its options."""

    def made(parser: ArgumentParser, *_: object) -> None:
        raise _Made(parser)

    with (
        mock.patch.object(ArgumentParser, "parse_known_args", made),
        mock.patch.object(ArgumentParser, "parse_args", made),
    ):
        try:
            parse([])
        except _Made as error:
            return error.args[0]
    raise AssertionError("the command has read no options")


def rows(parser: argparse.ArgumentParser) -> Iterator[str]:
    """A row of a Markdown table for each option."""
    formatter = parser._get_formatter()
    for action in parser._actions:
        if action.help == argparse.SUPPRESS or action.dest == "help":
            continue
        value = "" if action.nargs == 0 else formatter._format_args(action, _metavar(action))
        names = ", ".join(f"`{name}`" for name in action.option_strings) or f"`{value}`"
        takes = f" `{value}`" if value and action.option_strings else ""
        meaning = formatter._expand_help(action).replace("|", "\\|")
        yield f"| {names}{takes} | {meaning} |"


def _metavar(action: argparse.Action) -> str:
    if action.choices is not None:
        return "{" + ",".join(map(str, action.choices)) + "}"
    return (action.dest if action.metavar is None else str(action.metavar)).upper()


def text() -> str:
    """The whole of options.md."""
    parts = ["# Options\n\n`python -m docs.options` writes this page from the commands' own help."]
    for command, parse in COMMANDS.items():
        parser = parser_of(parse)
        table = "\n".join(["| option | meaning |", "|---|---|", *rows(parser)])
        note = f"\n\n{parser.epilog}" if parser.epilog else ""
        parts.append(f"## `{command}`\n\n{table}{note}")
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    PATH.write_text(text())
