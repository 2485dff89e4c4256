"""The graph of a network without some of its modules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from archsmith.export.slicing.folding import joined
from archsmith.export.slicing.onnx_graph import Graph, NotSliceable, OnnxNode


def cut(graph: Graph, dropped: Sequence[str], silenced: Sequence[str], zeros: Graph | None) -> tuple[Graph, list[int]]:
    """A graph without some modules and without marks.

    Args:
        graph: of the largest network, marked.
        dropped: modules whose input takes the place of their output.
        silenced: modules that ``zeros`` replaces.
        zeros: a graph with one input and one output.

    Returns:
        the graph, and for each of its nodes its number in ``graph``, or -1 for one of ``zeros``.

    Raises:
        NotSliceable: where the graph does not show where a module begins and ends.
    """
    marks = {(_text(n, "name"), _text(n, "side")): n for n in graph.nodes if n.is_mark}
    instead = {m.outputs[0]: m.inputs[0] for m in marks.values()}
    added: dict[str, list[OnnxNode]] = {}
    for name in (*dropped, *silenced):
        if (name, "in") not in marks or (name, "out") not in marks:
            raise NotSliceable(f"the exported graph does not show where {name} begins and ends")
        begins, ends = marks[name, "in"], marks[name, "out"]
        instead[ends.outputs[0]] = begins.outputs[0]
        if zeros is not None and name in silenced:
            added[ends.inputs[0]] = placed = _placed(zeros, begins.outputs[0], f"z:{name}:")
            instead[ends.outputs[0]] = placed[-1].outputs[0]

    def moved(node: OnnxNode) -> OnnxNode:
        return replace(node, inputs=tuple(_followed(name, instead) for name in node.inputs))

    nodes: list[tuple[OnnxNode, int]] = []
    for number, node in enumerate(graph.nodes):
        if not node.is_mark:
            nodes.append((moved(node), number))
        nodes += [(moved(new), -1) for output in node.outputs for new in added.get(output, [])]
    return _reachable(graph, *joined(nodes, [moved(n) for n in graph.outputs]))


def _text(node: OnnxNode, attribute: str) -> str:
    return str(node.attributes[attribute].value.decode())


def _followed(name: str, instead: Mapping[str, str]) -> str:
    while name in instead:
        name = instead[name]
    return name


def _placed(zeros: Graph, entry: str, prefix: str) -> list[OnnxNode]:
    [given] = zeros.inputs
    names = {given: entry}

    def name(old: str) -> str:
        return names.get(old, prefix + old)

    return [replace(n, inputs=tuple(map(name, n.inputs)), outputs=tuple(map(name, n.outputs))) for n in zeros.nodes]


def _reachable(
    graph: Graph, nodes: Sequence[tuple[OnnxNode, int]], outputs: tuple[OnnxNode, ...]
) -> tuple[Graph, list[int]]:
    needed = {name for node in outputs for name in node.inputs}
    kept = []
    for node, number in reversed(nodes):
        if any(name in needed for name in node.outputs):
            needed.update(node.inputs)
            kept.append((node, number))
    kept.reverse()
    weights = {name: value for name, value in graph.weights.items() if name in needed}
    return Graph(graph.inputs, weights, tuple(n for n, _ in kept), outputs), [i for _, i in kept]
