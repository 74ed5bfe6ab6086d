"""Extensions for a Chainer Trainer that Chainer does not ship."""

import chainer_compat
