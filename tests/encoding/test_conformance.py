"""Every encoding of the folder keeps the contract."""

import numpy as np
import pytest

from archsmith import method
from archsmith.errors import InvalidSpace
from archsmith.space import Choice, ChoiceSpace
from archsmith.testing.encodings import EncodingConformance, wired_space


def _free(rows):
    return np.where(rows[:, :2] == 0, np.nan, rows[:, :2])


OPTIONS = {
    "known_values": {"function": _free, "names": ["a", "b"]},
    "concatenated": {"parts": ["one_hot", "graph_features"]},
}


class _WithOptions(EncodingConformance):
    def options(self, space):
        return OPTIONS.get(self.name, {})


_WithOptions.__test__ = False
OF_GRAPHS = ["adjacency", "graph_features", "path", "weisfeiler_lehman"]

for _name in method.names("encoding"):
    _title = f"Test{_name.title().replace('_', '')}"
    globals()[_title] = type(_title, (_WithOptions,), {"name": _name})


@pytest.mark.parametrize("name", [n for n in OF_GRAPHS if n in method.names("encoding")])
def test_without_a_graph_view_the_message_says_so(name):
    plain = ChoiceSpace([Choice("a", (1, 2))], name="plain")
    with pytest.raises(InvalidSpace, match=rf"{name} reads operator graphs.*plain.*wiring=Wiring.*one_hot"):
        method.make("encoding", name, plain)


def test_the_space_of_the_suite_has_dead_operators():
    space = wired_space()
    graphs = space.graphs(space.enumerate_rows())
    assert space.size().value == len(graphs) == 480
    assert not graphs.live.all()
