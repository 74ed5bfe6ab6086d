"""The architectures, and the table of the names that the commands know them by."""

from models.gru import GRU
from models.rnn import RNN
from models.rnn2 import RNN2
from models.rnn3 import RNN3
from models.rnn_for_lm import RNNForLM

ARCHS = {
    "rnn": RNN,
    "rnn2": RNN2,
    "rnn3": RNN3,
    "lstm": RNNForLM,
    "gru": GRU,
}

__all__ = ["ARCHS", "RNN", "RNN2", "RNN3", "RNNForLM"]
