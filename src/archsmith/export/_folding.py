"""Constants of a graph put into a form in which two networks can be compared number by number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archsmith.export._candidate import OPSET
from archsmith.export._onnx_graph import Attribute, Graph, Node

Array = NDArray[Any]
SMALL = 4096
"""Larger constants stay computed in the file, as the exporter computes them."""
_RANDOM = frozenset({"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli"})


def plain(graph: Graph) -> Graph:
    """The same network with small constants computed, and one of its own for every use."""
    return replace(graph, nodes=tuple(_unshared(_folded(graph.nodes), graph.outputs)))


def _folded(nodes: Sequence[Node]) -> list[Node]:
    """Nodes that compute small numbers from constants become constants: sizes are put together so.

    Runtimes do the same when they load a file.
    """
    import onnx

    known: dict[str, Array] = {}
    found = []
    for node in nodes:
        value = _constant(node, known)
        if value is None:
            found.append(node)
        else:
            known[node.outputs[0]] = value
            attributes = {"value": Attribute(onnx.AttributeProto.TENSOR, value)}
            found.append(Node("Constant", "", (), node.outputs, attributes, node.place))
    return found


def _constant(node: Node, known: Mapping[str, Array]) -> Array | None:
    """What a node computes, where that is small and needs no more than constants."""
    from onnx.reference import ReferenceEvaluator

    if node.op == "Constant" and "value" in node.attributes:
        return node.attributes["value"].value  # type: ignore[no-any-return]
    if node.domain or len(node.outputs) != 1 or node.op in _RANDOM or not node.inputs:
        return None
    inputs = {name: known.get(name) for name in node.inputs if name}
    if any(value is None or value.size > SMALL for value in inputs.values()):
        return None
    try:
        runner = ReferenceEvaluator(node.proto(), opsets={"": OPSET})
        value = np.asarray(runner.run(None, inputs)[0])  # type: ignore[index] # said to be a string
    except Exception:  # noqa: BLE001 - what cannot be computed here is computed where the file runs
        return None
    return value if value.size <= SMALL else None


def _unshared(nodes: Sequence[Node], outputs: Sequence[Node]) -> list[Node]:
    """Every use has a constant of its own: in one network two sizes may be equal, and one constant, by chance."""
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
