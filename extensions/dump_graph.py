"""The computational graph of one window, as a file for Graphviz."""

import os

import chainer_compat

from chainer import config
from chainer.computational_graph import build_computational_graph
from chainer.training import Trainer, extensions

from support.files import write_file


class DumpGraph(extensions.DumpGraph):
    """Chainer's DumpGraph, but the file is whole or not there, and drawing it is the user's."""

    default_name = "DumpGraph"

    def __call__(self, trainer: Trainer) -> None:
        """Write ``cg.dot`` into the output folder."""
        config.keep_graph_on_report = self._original_flag
        graph = build_computational_graph(
            [trainer.observation[self._root_name]],
            variable_style=self._variable_style,
            function_style=self._function_style,
        )
        path = os.path.join(trainer.out, self._filename)
        write_file(path, lambda file: file.write(graph.dump().encode()))
