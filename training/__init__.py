"""A training apart from the network: options, data, folder, report, and when it stops."""

import chainer_compat
