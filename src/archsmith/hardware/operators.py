"""A network's ONNX file split into its operators, each as a file of its own."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archsmith.errors import MeasurementFailed, require
from archsmith.export.onnx_tools.simplifying import simplified

FREE_OPERATORS = frozenset({"Constant", "Identity", "Shape", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Dropout"})
"""Operators that cost nothing: runtimes pass the same memory on."""
FUSED_ACTIVATIONS = frozenset({"Relu", "Clip", "LeakyRelu"})
"""Activations that runtimes fuse into the operator before them."""


@dataclass(frozen=True)
class Operator:
    """One operator of a network, with the activation that is fused into it.

    Args:
        name: kind and name, for messages.
        content: an ONNX file of this operator alone.
        inputs: random arrays of its input shapes.
        key: sixteen hexadecimal digits: equal for operators of one kind, settings and shapes, whatever their weights.
    """

    name: str
    content: bytes
    inputs: tuple[NDArray[Any], ...]
    key: str


def operators_of(content: bytes) -> list[Operator]:
    """The operators of a file for one shape of inputs, as a runtime sees them, in the order in which they run.

    Raises:
        MissingExtra: without onnx and onnxruntime.
        InvalidModel: when the runtime cannot read the file.
        MeasurementFailed: where a shape is not known.
    """
    onnx = require("onnx", extra="onnx", purpose="Splitting networks into operators")
    model = onnx.shape_inference.infer_shapes(simplified(onnx.ModelProto.FromString(content)), data_prop=True)
    graph = model.graph
    made = {name for node in graph.node for name in node.output}
    known = {v.name: v for v in (*graph.input, *graph.value_info, *graph.output)}
    weights = {w.name: w for w in graph.initializer}
    uses = Counter(name for node in graph.node for name in node.input)
    after = {
        node.input[0]: node
        for node in graph.node
        if node.op_type in FUSED_ACTIVATIONS and node.input[0] in made and uses[node.input[0]] == 1
    }
    found = []
    for node in graph.node:
        if node.op_type in FREE_OPERATORS or node in after.values():
            continue
        nodes = [node, *([after[node.output[0]]] if node.output[0] in after else [])]
        found.append(_operator(onnx, nodes, known, weights, model.opset_import))
    return found


def _operator(
    onnx: Any, nodes: list[Any], known: Mapping[str, Any], weights: Mapping[str, Any], opsets: Any
) -> Operator:
    made = {name for node in nodes for name in node.output}
    read = dict.fromkeys(name for node in nodes for name in node.input if name and name not in made)
    given = [name for name in read if name not in weights]
    held = [weights[name] for name in read if name in weights]
    inputs = [_known(name, known) for name in given]
    outputs = [onnx.ValueInfoProto(name=name) for name in nodes[-1].output if name]
    graph = onnx.helper.make_graph(nodes, "operator", inputs, outputs, initializer=held)
    model = onnx.helper.make_model(graph, opset_imports=list(opsets), ir_version=8)
    shapes = [(i.type.tensor_type.elem_type, _sizes(i)) for i in inputs]
    settings = [sorted((a.name, a.SerializeToString()) for a in node.attribute) for node in nodes]
    small = [(tuple(w.dims), w.data_type, _value(w)) for w in held]
    text = repr(([n.op_type for n in nodes], settings, shapes, small))
    name = f"{nodes[0].op_type} {nodes[0].name}".strip()
    arrays = tuple(_drawn(onnx, kind, sizes) for kind, sizes in shapes)
    return Operator(name, model.SerializeToString(), arrays, hashlib.sha256(text.encode()).hexdigest()[:16])


def _value(weight: Any) -> bytes:
    """A weight in the key: integers (axes, sizes) in full; floats left out, as the time does not depend on them."""
    return b"" if weight.data_type in (1, 10, 11, 16) else bytes(weight.SerializeToString())


def _known(name: str, known: Mapping[str, Any]) -> Any:
    if name not in known or not known[name].type.HasField("tensor_type") or None in _sizes(known[name]):
        raise MeasurementFailed(f"the shape of {name} is not known, so its operator cannot be measured alone")
    return known[name]


def _sizes(info: Any) -> tuple[int | None, ...]:
    return tuple(d.dim_value if d.HasField("dim_value") else None for d in info.type.tensor_type.shape.dim)


def _drawn(onnx: Any, kind: int, sizes: tuple[int | None, ...]) -> NDArray[Any]:
    """Standard normal values; zeros for whole numbers, which may be indices."""
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
    if dtype.kind == "f":
        return np.random.default_rng(0).standard_normal([s or 1 for s in sizes]).astype(dtype)
    return np.zeros([s or 1 for s in sizes], dtype)
