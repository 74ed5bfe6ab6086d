"""Two trainings into one folder at a time: the second is refused, the first not disturbed."""

import re
import shlex
import sys

from tests.trainings import SCRIPT, SMALL, fail, succeed


class TestTwoInOneFolder:
    def test_the_second_ends_and_names_the_first(self, tmp_path, endless):
        first = endless()
        folder = tmp_path / "result"
        line = fail(tmp_path, *SMALL, "--seed", "1", exit_code=1)
        command = re.escape(shlex.join([sys.executable, SCRIPT]))
        assert re.search(
            rf"error: argument -o/--out: result is in use by process {first.pid} of \S+, "
            rf"{command} .*; wait until that ends, or choose another folder$",
            line,
        )
        assert first.poll() is None
        assert not (folder / "earlier-1").exists()

    def test_a_killed_one_is_no_hindrance(self, tmp_path, endless):
        first = endless()
        first.kill()
        first.wait()
        succeed(tmp_path, *SMALL, "-e", "1")
        assert not (tmp_path / "result" / ".training.lock").exists()
