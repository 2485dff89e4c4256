"""Two graphs of the same form, node by node."""

from __future__ import annotations

from archsmith.export.slicing.onnx_graph import Graph, NotSliceable, OnnxNode


class Pairing:
    """Walks two graphs from their outputs to their inputs.

    Args:
        one: made from the largest network's.
        other: of a subnet that was exported.

    Attributes:
        nodes: pairs of nodes, those of the outputs among them.
        weights: name in the one -> name in the other.

    Raises:
        NotSliceable: where they differ in more than numbers.
    """

    def __init__(self, one: Graph, other: Graph) -> None:
        if len(one.outputs) != len(other.outputs):
            raise NotSliceable(f"a subnet has {len(other.outputs)} outputs, the largest {len(one.outputs)}")
        self._one, self._other = one, other
        self._makers = [{name: (n, i) for n in g.nodes for i, name in enumerate(n.outputs)} for g in (one, other)]
        self._inputs = [list(g.inputs) for g in (one, other)]
        self._known: dict[str, str] = {}
        self.nodes: list[tuple[OnnxNode, OnnxNode]] = []
        self.weights: dict[str, str] = {}
        met: dict[int, OnnxNode] = {}
        left = list(zip(one.outputs, other.outputs, strict=True))
        while left:
            a, b = left.pop()
            if id(a) not in met:
                met[id(a)] = b
                _check(a, b)
                self.nodes.append((a, b))
                left += self._before(a, b)
            elif met[id(a)] is not b:
                raise NotSliceable(f"a subnet runs {a.op} more often than the largest")

    def _before(self, a: OnnxNode, b: OnnxNode) -> list[tuple[OnnxNode, OnnxNode]]:
        """The nodes that two nodes read from."""
        found = []
        for x, y in zip(a.inputs, b.inputs, strict=True):
            if self._known.setdefault(x, y) != y or _sort(x, self._one) != _sort(y, self._other):
                raise NotSliceable(f"in a subnet {a.op} reads something else than in the largest")
            if x in self._one.weights:
                self.weights[x] = y
            elif x in self._one.inputs:
                if self._inputs[0].index(x) != self._inputs[1].index(y):
                    raise NotSliceable(f"in a subnet {a.op} reads another input than in the largest")
            elif x:
                (one, i), (other, j) = self._makers[0][x], self._makers[1][y]
                if i != j:
                    raise NotSliceable(f"in a subnet {a.op} reads another output of {one.op} than in the largest")
                found.append((one, other))
        return found


def _sort(name: str, graph: Graph) -> int:
    """What a name stands for: nothing, a weight, an input of the network, or the output of a node."""
    return 0 if not name else 1 if name in graph.weights else 2 if name in graph.inputs else 3


def _check(a: OnnxNode, b: OnnxNode) -> None:
    if (a.op, a.domain) != (b.op, b.domain):
        raise NotSliceable(f"a subnet has {b.op} where the largest has {a.op}")
    if len(a.inputs) != len(b.inputs) or len(a.outputs) != len(b.outputs):
        raise NotSliceable(f"a subnet's {a.op} has {len(b.inputs)} inputs, the largest's {len(a.inputs)}")
    kinds = [{name: x.kind for name, x in n.attributes.items()} for n in (a, b)]
    if kinds[0] != kinds[1]:
        raise NotSliceable(f"{a.op} has other attributes in a subnet than in the largest")
