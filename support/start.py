"""What each command does first: check its interpreter, and handle signals.

This is imported first, imports nothing slow, and runs on interpreters too old for the rest.
"""

import importlib.util
import os
import shlex
import sys

_NEEDED = ("chainer", "matplotlib", "numpy")  # as requirements.txt has them


def start() -> None:
    """Check the interpreter; until the command handles signals itself, let them end it quietly."""
    check_interpreter()
    from support.signals import end_on_signals

    end_on_signals()


def check_interpreter() -> None:
    """Exit with code 2 if this interpreter cannot run the command; name the one that can."""
    if sys.version_info < (3, 10):  # noqa: UP036 - this is what tells them
        lack = f"is Python {sys.version.split()[0]}, and 3.10 or newer is needed"
    else:
        missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
        if not missing:
            return
        lack = f"lacks {', '.join(missing)}"
    python = os.path.join(os.path.dirname(sys.argv[0]), ".venv", "bin", "python")
    advice = f"use {shlex.quote(python)}"
    if not os.path.exists(python) or os.path.samefile(sys.prefix, os.path.dirname(python) + "/.."):
        advice = f"'make train' makes one that has all of it: {shlex.quote(python)}"
    program = os.path.basename(sys.argv[0])
    print(f"{program}: error: {sys.executable} {lack}; {advice}", file=sys.stderr)
    sys.exit(2)
