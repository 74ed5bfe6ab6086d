"""A fresh interpreter, because malloc never forgets what it has learned."""

import platform
import subprocess
import sys

import pytest

from tests.commands import ROOT

CODE = """
import resource
import numpy as np
from support.freed_memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        arrays = [np.ones(2**18, np.uint8) for _ in range(20)]  # 64 pages each
        del arrays
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
keep_freed_memory()
assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 1024, "it took memory itself"
faults()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another malloc than glibc's")
def test_arrays_made_anew_touch_no_new_pages():
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 100
