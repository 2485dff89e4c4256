"""Bring the constants of a graph into a form in which two networks can be compared number by number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archsmith.export.onnx_tools.fast_exporter import OPSET
from archsmith.export.slicing.onnx_graph import Attribute, Graph, OnnxNode, Shapes

Array = NDArray[Any]
MAX_FOLDED_VALUES = 4096
"""Constants with more values stay as the nodes that compute them."""
_RANDOM = frozenset({"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli"})


def plain(graph: Graph) -> Graph:
    """The same network with small constants computed, a separate constant for every use, and transpositions joined."""
    before = -1
    shapes: Shapes = {}
    while before != (before := sum(n.op == "Constant" for n in graph.nodes)):  # folding makes more shapes known
        shapes = graph.shapes()
        graph = replace(graph, nodes=tuple(_folded(graph.nodes, shapes)))
    nodes = _unshared(graph.nodes, graph.outputs)
    kept, outputs = joined([(node, 0) for node in nodes], graph.outputs)
    return replace(graph, nodes=tuple(n for n, _ in kept), outputs=tuple(_shaped(n, shapes) for n in outputs))


def _shaped(output: OnnxNode, shapes: Shapes) -> OnnxNode:
    if output.inputs[0] not in shapes:
        return output
    shape = replace(output.attributes["shape"], value=np.array(shapes[output.inputs[0]], np.int64))
    return replace(output, attributes={**output.attributes, "shape": shape})


def joined(
    nodes: Sequence[tuple[OnnxNode, int]], outputs: Sequence[OnnxNode]
) -> tuple[list[tuple[OnnxNode, int]], tuple[OnnxNode, ...]]:
    """Join successive transpositions into one, or none: the exporter does so where no module lies between them.

    Args:
        nodes: with numbers; one that is new has -1.
        outputs: of the graph.
    """
    instead: dict[str, str] = {}
    turned: dict[str, OnnxNode] = {}
    kept: list[tuple[OnnxNode, int]] = []
    for given, number in nodes:
        node = replace(given, inputs=tuple(instead.get(name, name) for name in given.inputs))
        if node.op == "Transpose":
            before = turned.get(node.inputs[0])
            if before is not None:
                node, number = _composed(before, node), -1  # noqa: PLW2901
            if _order(node) == sorted(_order(node)):
                instead[node.outputs[0]] = node.inputs[0]
                continue
            turned[node.outputs[0]] = node
        kept.append((node, number))
    ends = [replace(n, inputs=tuple(instead.get(name, name) for name in n.inputs)) for n in outputs]
    return kept, tuple(ends)


def _order(node: OnnxNode) -> list[int]:
    return [int(i) for i in node.attributes["perm"].value]


def _composed(first: OnnxNode, second: OnnxNode) -> OnnxNode:
    order = np.array([_order(first)[i] for i in _order(second)], np.int64)
    perm = replace(second.attributes["perm"], value=order)
    return replace(second, inputs=first.inputs, attributes={"perm": perm})


def _folded(nodes: Sequence[OnnxNode], shapes: Shapes) -> list[OnnxNode]:
    """Replace nodes that compute a few numbers from constants, such as sizes, by constants.

    Runtimes do the same when they load a file.
    """
    import onnx

    known: dict[str, Array] = {}
    found = []
    for node in nodes:
        value = _constant(node, known, shapes)
        if value is None:
            found.append(node)
        else:
            known[node.outputs[0]] = value
            attributes = {"value": Attribute(onnx.AttributeProto.TENSOR, value)}
            found.append(OnnxNode("Constant", "", (), node.outputs, attributes, node.place))
    return found


def _constant(node: OnnxNode, known: Mapping[str, Array], shapes: Shapes) -> Array | None:
    """The value of a node, where it is small and depends on constants only."""
    from onnx.reference import ReferenceEvaluator

    if node.op == "Constant" and "value" in node.attributes:
        return node.attributes["value"].value  # type: ignore[no-any-return]
    if node.op == "Shape" and node.inputs[0] in shapes and not node.attributes:
        return np.array(shapes[node.inputs[0]], np.int64)
    if node.domain or len(node.outputs) != 1 or node.op in _RANDOM or not node.inputs:
        return None
    inputs = {name: known.get(name) for name in node.inputs if name}
    if any(value is None or value.size > MAX_FOLDED_VALUES for value in inputs.values()):
        return None
    try:
        runner = ReferenceEvaluator(node.proto(), opsets={"": OPSET})
        value = np.asarray(runner.run(None, inputs)[0])  # type: ignore[index] # said to be a string
    except Exception:  # noqa: BLE001 - what cannot be computed here is computed where the file runs
        return None
    return value if value.size <= MAX_FOLDED_VALUES else None


def _unshared(nodes: Sequence[OnnxNode], outputs: Sequence[OnnxNode]) -> list[OnnxNode]:
    """Give every use its own constant: two sizes that are equal by chance may share one."""
    constants = {n.outputs[0]: n for n in nodes if n.op == "Constant"}
    found = []
    for node in nodes:
        if node.op == "Constant":
            continue
        inputs = list(node.inputs)
        for i, name in enumerate(inputs):
            if name in constants:
                inputs[i] = f"c:{node.outputs[0]}:{i}"
                place = node.place or constants[name].place
                found.append(replace(constants[name], outputs=(inputs[i],), place=place))
        found.append(replace(node, inputs=tuple(inputs)))
    found += [constants[name] for node in outputs for name in node.inputs if name in constants]
    return found
