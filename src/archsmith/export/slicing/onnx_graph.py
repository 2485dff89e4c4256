"""ONNX graphs as plain data: nodes whose attributes are arrays, weights by name and without their values."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from archsmith.errors import ArchsmithError
from archsmith.export.onnx_tools.by_position import flattened, positional
from archsmith.export.onnx_tools.fast_exporter import OPSET, plain_attention, quiet_exporter
from archsmith.export.onnx_tools.scopes import place_of

Array = NDArray[Any]


class NotSliceable(ArchsmithError):
    """Subnets of a supernet cannot be cut out of its largest file; the message gives the reason."""


@dataclass(frozen=True)
class Attribute:
    """Of a node.

    Args:
        kind: ONNX's number for its type.
        value: an array for numbers and tensors; anything else as ONNX gives it.
    """

    kind: int
    value: Any


@dataclass(frozen=True)
class OnnxNode:
    """One operator call; an output of the graph is one too, with its shape as an attribute.

    ``place`` is the module that made it, if the exporter names it.
    """

    op: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    place: str = ""

    @property
    def is_mark(self) -> bool:
        """Whether it only marks where a module begins or ends."""
        return f"{self.domain}::{self.op}" == MARK

    def proto(self, made: Mapping[str, Array] | None = None) -> Any:
        """The node as a protobuf message, with ``values`` in place of some attributes."""
        import onnx

        name = f"/{self.place}/{self.op} {''.join(self.outputs[:1]).replace('/', '.')}"  # one of its own for each
        found = onnx.NodeProto(name=name, op_type=self.op, domain=self.domain, input=self.inputs, output=self.outputs)
        for name, attribute in self.attributes.items():
            value = made[name] if made and name in made else attribute.value
            if attribute.kind == onnx.AttributeProto.TENSOR:
                found.attribute.append(onnx.helper.make_attribute(name, onnx.numpy_helper.from_array(value)))
            else:
                plain = value.tolist() if isinstance(value, np.ndarray) else value
                found.attribute.append(onnx.helper.make_attribute(name, plain, attr_type=attribute.kind))
        return found


@dataclass(frozen=True)
class GraphValue:
    """An input or weight: ONNX's number for its type, and its shape."""

    kind: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Graph:
    """A network as it is written to a file, without weights.

    Args:
        inputs: name -> what goes in, in order.
        weights: name of a parameter or buffer that is read -> its type and shape.
        nodes: in an order in which they can run.
        outputs: one node an output, in order.
    """

    inputs: Mapping[str, GraphValue]
    weights: Mapping[str, GraphValue]
    nodes: tuple[OnnxNode, ...]
    outputs: tuple[OnnxNode, ...]

    def shapes(self) -> Shapes:
        """Shapes of the outputs of nodes by ONNX's shape inference; the exporter's own knows fewer, and may differ."""
        import onnx

        def info(name: str, value: GraphValue) -> Any:
            return onnx.helper.make_tensor_value_info(name, value.kind, value.shape)

        inputs = [info(name, value) for name, value in {**self.inputs, **self.weights}.items()]
        nodes = [(replace(n, op="Identity", domain="", attributes={}) if n.is_mark else n).proto() for n in self.nodes]
        graph = onnx.helper.make_graph(nodes, "shapes", inputs, [])
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)])
        found = onnx.shape_inference.infer_shapes(model, data_prop=True).graph.value_info
        return {i.name: shape for i in found if UNKNOWN_SIZE not in (shape := _value(i).shape)}


Shapes = Mapping[str, tuple[int, ...]]
OUTPUT = "output"
UNKNOWN_SIZE = -1
"""Stands for a dimension of an output that the exporter does not know."""
MARK = "archsmith::Mark"


class _Mark(torch.autograd.Function):
    """Marks where a module begins and ends in the exported graph; computes nothing."""

    @staticmethod
    def forward(_context: Any, x: Tensor, _name: str, _side: str, _shape: list[int]) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def symbolic(g: Any, x: Any, name: str, side: str, shape: list[int]) -> Any:
        kind = x.type().with_sizes(shape) if shape else x.type()  # the exporter infers no shapes of this operator
        return g.op(MARK, x, name_s=name, side_s=side).setType(kind)


def exported(
    network: nn.Module, inputs: tuple[Any, ...], *, names: Sequence[str] = (), marked: Sequence[str] = ()
) -> Graph:
    """``network`` as torch's fast exporter writes it, with nothing folded: every weight keeps its name.

    Args:
        network: plain, in evaluation mode; it has hooks during the export.
        inputs: of one call.
        names: of the inputs, where the network takes them by name.
        marked: names of modules before and after which the graph has a node ``archsmith::Mark``.

    Raises:
        NotSliceable: when the exporter refuses it.
    """
    wrapped, _ = flattened(positional(network, names), inputs)
    prefix = "" if wrapped is network else "network."
    handles = [h for name in marked for h in _watched(network.get_submodule(name), name)]
    buffer = io.BytesIO()
    try:
        with quiet_exporter(), plain_attention():
            torch.onnx.export(
                wrapped,
                inputs,
                buffer,  # type: ignore[arg-type] # files too
                dynamo=False,
                opset_version=OPSET,
                export_params=False,
                keep_initializers_as_inputs=True,
                do_constant_folding=False,
                training=torch.onnx.TrainingMode.PRESERVE,
                custom_opsets={"archsmith": 1} if marked else None,
            )
    except Exception as error:  # torch raises many kinds
        lines = str(error).strip().splitlines()
        raise NotSliceable(f"torch's fast exporter refuses it: {lines[0][:200] if lines else type(error)}") from error
    finally:
        for handle in handles:
            handle.remove()
    held = {prefix + name for name, _ in network.named_parameters(remove_duplicate=False)}
    held |= {prefix + name for name, _ in network.named_buffers(remove_duplicate=False)}
    return _read(buffer.getvalue(), held, len(prefix))


def _watched(module: nn.Module, name: str) -> list[Any]:
    """Hooks that mark the first input tensor and the first output tensor."""

    def mark(x: Tensor, side: str) -> Any:
        return _Mark.apply(x, name, side, [int(n) for n in x.shape])  # type: ignore[no-untyped-call]

    def enter(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for i, given in enumerate(args):
            if isinstance(given, Tensor):
                return (*args[:i], mark(given, "in"), *args[i + 1 :]), kwargs
        for key, given in kwargs.items():
            if isinstance(given, Tensor):
                return args, {**kwargs, key: mark(given, "in")}
        return None

    def leave(_module: nn.Module, _args: Any, output: Any) -> Any:
        return mark(output, "out") if isinstance(output, Tensor) else None

    return [module.register_forward_pre_hook(enter, with_kwargs=True), module.register_forward_hook(leave)]


def _read(content: bytes, held: set[str], prefix: int) -> Graph:
    import onnx

    graph = onnx.ModelProto.FromString(content).graph
    renamed = {i.name: i.name[prefix:] if i.name in held else f"in:{i.name}" for i in graph.input}

    def name(given: str) -> str:
        return renamed.get(given, f"v:{given}" if given else "")

    nodes = []
    for node in graph.node:
        attributes = {a.name: _attribute(a) for a in node.attribute}
        nodes.append(
            OnnxNode(
                node.op_type,
                node.domain,
                tuple(map(name, node.input)),
                tuple(map(name, node.output)),
                attributes,
                place_of(node.name)[prefix:],
            )
        )
    values = {i.name: _value(i) for i in graph.input}
    outputs = []
    for output in graph.output:
        value = _value(output)
        shape = {"shape": Attribute(onnx.AttributeProto.INTS, np.array(value.shape, np.int64))}
        kind = Attribute(onnx.AttributeProto.STRING, str(value.kind))
        outputs.append(OnnxNode(OUTPUT, "", (name(output.name),), (), {"kind": kind, **shape}))
    return Graph(
        {renamed[n]: v for n, v in values.items() if n not in held},
        {renamed[n]: v for n, v in values.items() if n in held},
        tuple(nodes),
        tuple(outputs),
    )


def _value(info: Any) -> GraphValue:
    tensor = info.type.tensor_type
    shape = tuple(d.dim_value if d.HasField("dim_value") else UNKNOWN_SIZE for d in tensor.shape.dim)
    return GraphValue(tensor.elem_type, shape)


def _attribute(given: Any) -> Attribute:
    import onnx

    value = onnx.helper.get_attribute_value(given)
    if given.type == onnx.AttributeProto.TENSOR:
        value = onnx.numpy_helper.to_array(value)
    elif given.type in (onnx.AttributeProto.INT, onnx.AttributeProto.INTS):
        value = np.array(value, np.int64)
    elif given.type in (onnx.AttributeProto.FLOAT, onnx.AttributeProto.FLOATS):
        value = np.array(value, np.float32)
    elif given.type not in (onnx.AttributeProto.STRING, onnx.AttributeProto.STRINGS):
        raise NotSliceable("it has branches or loops inside, which the exporter keeps as graphs of their own")
    return Attribute(given.type, value)
