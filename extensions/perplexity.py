"""Perplexity beside the loss: among how many tokens the network is, on average, undecided."""

import math

_LARGEST_LOSS = math.log(1e300)


def add_perplexity(entry: dict[str, float]) -> None:
    """Add ``perplexity`` and ``val_perplexity`` to an entry of the log.

    Perplexity is the exponential of the mean loss in nats a token; where that is beyond all
    numbers, it is left out. The names are those of Chainer's PTB example.
    """
    for name, loss in (("perplexity", "main/loss"), ("val_perplexity", "validation/main/loss")):
        if entry.get(loss, math.inf) < _LARGEST_LOSS:
            entry[name] = math.exp(entry[loss])
