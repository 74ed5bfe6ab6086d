"""What the sequence 1 2 2 3 3 3 ... shows: how far a network counts, and with which units."""

import chainer_compat
