"""ONNX by torch's dynamo exporter."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, final

import torch
from torch import nn

from archsmith.errors import InvalidModel, require
from archsmith.export.base import FileFormat, Origin, WrittenFile, check_suffix
from archsmith.export.onnx_tools.by_position import Positional, flattened, positional
from archsmith.export.onnx_tools.comparing import Difference, difference
from archsmith.export.onnx_tools.fast_exporter import OPSET, quiet_exporter
from archsmith.export.onnx_tools.inputs import batch_size, has_batch, random_like, resized
from archsmith.export.onnx_tools.onnx_file import OnnxFile
from archsmith.export.onnx_tools.scopes import NAME_SCOPES
from archsmith.files import replacing
from archsmith.method import OURS

SEED = 0
"""Seed of the random inputs on which a new file is checked."""


@final
class Onnx(FileFormat):
    """ONNX by torch's dynamo exporter, for any batch where the network allows, checked in ONNX Runtime.

    One file with the weights inside, opset 20, without file paths of the machine that made it: equal networks give
    equal bytes with equal versions of torch. The file is run on random inputs at two batch sizes before it is written.
    Inputs that the network takes by name keep their names, and so do the fields of what it returns.
    """

    paper = OURS
    suffix: ClassVar[str] = ".onnx"

    def write(
        self,
        module: nn.Module,
        example_inputs: tuple[Any, ...],
        path: Path,
        *,
        names: Sequence[str] = (),
        origin: Origin | None = None,  # noqa: ARG002 - the file holds the whole network
    ) -> WrittenFile:
        """Export, check against ``module``, write.

        Raises:
            InvalidOption: when ``path`` does not end in ``.onnx``.
            InvalidModel: when the exporter refuses the network, or the file computes something else.
            StorageFull: when the disk is full.
        """
        check_suffix(path, self.suffix)
        require("onnxscript", extra="onnx", purpose="Exporting to ONNX")
        network = positional(copy.deepcopy(module).cpu().eval().requires_grad_(requires_grad=False), names)
        try:
            network, outputs = flattened(network, example_inputs)
        except Exception as error:  # a user's network may raise anything
            raise InvalidModel(f"the network cannot run on the example inputs: {error}") from error
        content, dynamic, apart = _checked(network, example_inputs, _input_names(example_inputs, names), outputs)
        with replacing(path) as temporary:
            temporary.write_bytes(content)
        details = {
            "exporter": f"torch {torch.__version__} dynamo",
            "opset": OPSET,
            "dynamic_batch": dynamic,
            "absolute_difference": apart.absolute,
            "relative_difference": apart.relative,
        }
        return WrittenFile(paths=(path,), details=details)


def _input_names(inputs: tuple[Any, ...], names: Sequence[str]) -> list[str]:
    """Of the tensors among the inputs: those by which the network takes them, else ``input`` or ``input_0`` ..."""
    tensors = [i for i, x in enumerate(inputs) if isinstance(x, torch.Tensor)]
    if names:
        return [names[i] for i in tensors]
    return ["input"] if len(tensors) == 1 else [f"input_{i}" for i in range(len(tensors))]


def _checked(
    network: nn.Module, inputs: tuple[Any, ...], names: Sequence[str], outputs: Sequence[str]
) -> tuple[bytes, bool, Difference]:
    """The file for any batch, or else for the example's batch: the first that computes what the network does."""
    size = batch_size(inputs)
    tried = []
    for dynamic in (True, False):
        # the tracer treats a batch of 1 as a constant
        example = resized(inputs, max(2, size)) if dynamic else inputs
        try:
            content = _export(network, example, names, outputs, dynamic=dynamic)
            file = OnnxFile(content)
            sizes = (size, size + 1) if dynamic else (size,)
            apart = [_apart(network, file, random_like(resized(inputs, n), SEED)) for n in sizes]
        except Exception as error:  # noqa: BLE001 - exporter and runtime raise many kinds; all become one message
            tried.append(f"{'any' if dynamic else 'fixed'} batch: {str(error).strip().splitlines()[0][:200]}")
            continue
        worst = max(apart, key=lambda d: d.relative)
        if worst.equal:
            return content, dynamic, worst
        tried.append(f"{'any' if dynamic else 'fixed'} batch: outputs differ by {worst.relative:.2g} of the largest")
    raise InvalidModel(f"this network cannot be exported to ONNX: {'; '.join(tried)}")


def _apart(network: nn.Module, file: OnnxFile, inputs: tuple[Any, ...]) -> Difference:
    with torch.no_grad():
        return difference(network(*inputs), file(*inputs))


def _export(
    network: nn.Module, inputs: tuple[Any, ...], names: Sequence[str], outputs: Sequence[str], *, dynamic: bool
) -> bytes:
    size = batch_size(inputs)
    batch = torch.export.Dim("batch")
    shapes: Any = tuple({0: batch} if has_batch(x, size) else None for x in inputs) if dynamic else None
    if dynamic and isinstance(network, Positional):
        shapes = (shapes,)  # its forward has one parameter, *inputs
    with quiet_exporter():
        program = torch.onnx.export(
            network,
            inputs,
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=shapes,
            input_names=list(names),
            output_names=list(outputs) or None,
            verbose=False,
        )
    if program is None:
        raise InvalidModel("torch's exporter gave no program")
    proto = program.model_proto
    _forget_origin(proto)
    return proto.SerializeToString(deterministic=True)  # type: ignore[no-any-return]


def _forget_origin(proto: Any) -> None:
    """Remove the exporter's notes on source files and folders of this machine; names of modules stay.

    From these :mod:`archsmith.hardware.profiling`, and viewers of ONNX files, know which module an operator is from.
    """
    graph = proto.graph
    scopes = [[(e.key, e.value) for e in node.metadata_props if e.key == NAME_SCOPES] for node in graph.node]
    for part in (proto, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for node, kept in zip(graph.node, scopes, strict=True):
        for key, value in kept:
            node.metadata_props.add(key=key, value=value)
    for function in proto.functions:
        for part in (function, *function.node):
            part.ClearField("metadata_props")
            part.ClearField("doc_string")
