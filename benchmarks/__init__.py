"""Ours beside its peers: the same work, one process at a time; ``python -m benchmarks.run -h``."""

import chainer_compat
