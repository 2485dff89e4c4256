"""ONNX files assembled from parts: unchanged nodes, nodes with other numbers, weights straight from memory.

A file is a protobuf message of messages, each a field number, a length and its bytes; weights are appended without
being copied into another object first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from archsmith.export.onnx_tools.fast_exporter import OPSET
from archsmith.export.slicing.onnx_graph import UNKNOWN_SIZE, Graph, GraphValue, NotSliceable, OnnxNode
from archsmith.export.slicing.symbolic_sizes import Key
from archsmith.export.slicing.template import Make

Array = NDArray[Any]
Part = bytes | memoryview
LARGEST_FILE = 2**31 - 1
"""Largest size of a message in bytes."""
GRAPH, NODE, INITIALIZER, RAW = 7, 1, 5, 9
"""Field numbers: of the graph in a model, of nodes and weights in a graph, of the values in a weight."""


class Assembly:
    """Makes the files of all subnets whose graphs have the same nodes.

    Args:
        graph: without marks.
        numbers: of each node, by which ``makers`` knows it; -1 for nodes that do not vary.
        makers: number of a node -> attribute -> function that computes it.
        outputs: number of the first output.
    """

    def __init__(
        self, graph: Graph, numbers: Sequence[int], makers: Mapping[int, Mapping[str, Make]], outputs: int
    ) -> None:
        import onnx

        self._graph = graph
        self._nodes: list[tuple[bytes, OnnxNode, Mapping[str, Make]]] = []
        for node, number in zip(graph.nodes, numbers, strict=True):
            varies = makers.get(number, {})
            ready = b"" if varies else _field(NODE, node.proto().SerializeToString())
            self._nodes.append((ready, node, varies))
        self._outputs = [(n, makers.get(outputs + i, {})) for i, n in enumerate(graph.outputs)]
        opset = [onnx.helper.make_opsetid("", OPSET)]
        self._head = onnx.ModelProto(ir_version=8, producer_name="archsmith", opset_import=opset).SerializeToString()

    def __call__(self, sizes: Mapping[Key, int], tensors: Mapping[str, Tensor], arrays: Mapping[str, Array]) -> bytes:
        """The file of one subnet."""
        import onnx

        graph = onnx.GraphProto(name="subnet")
        for name, value in self._graph.inputs.items():
            graph.input.append(_described(name, value))
        for node, varies in self._outputs:
            shape = varies["shape"](sizes, arrays) if varies else node.attributes["shape"].value
            kind = int(node.attributes["kind"].value)
            graph.output.append(_described(node.inputs[0], GraphValue(kind, tuple(shape.tolist()))))
        parts: list[Part] = [graph.SerializeToString()]
        for ready, node, varies in self._nodes:
            made = {name: make(sizes, arrays) for name, make in varies.items()}
            parts.append(ready or _field(NODE, node.proto(made).SerializeToString()))
        for name, value in self._graph.weights.items():
            parts += _weight(name, value.kind, tensors[name])
        length = sum(len(p) for p in parts)
        if length + len(self._head) + 20 > LARGEST_FILE:
            raise NotSliceable("its file would be larger than 2 GiB")
        return b"".join([self._head, _tag(GRAPH, length), *parts])


def _described(name: str, value: GraphValue) -> Any:
    import onnx

    shape = [None if size == UNKNOWN_SIZE else size for size in value.shape]
    return onnx.helper.make_tensor_value_info(name, value.kind, shape)


def _weight(name: str, kind: int, tensor: Tensor) -> list[Part]:
    import onnx

    raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
    head = onnx.TensorProto(name=name, data_type=kind, dims=tensor.shape).SerializeToString() + _tag(RAW, len(raw))
    return [_tag(INITIALIZER, len(head) + len(raw)) + head, raw]


def _field(number: int, content: bytes) -> bytes:
    return _tag(number, len(content)) + content


def _tag(number: int, length: int) -> bytes:
    """Start of a part of a message: its field number, and its length in seven bits per byte."""
    found = bytearray([number << 3 | 2])
    while length > 127:
        found.append(length & 127 | 128)
        length >>= 7
    found.append(length)
    return bytes(found)
