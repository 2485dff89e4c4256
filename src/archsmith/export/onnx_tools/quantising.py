"""ONNX files with some layers quantised: the layers of a file, the ranges of their inputs, the QDQ file.

Inputs and outputs of int8 layers are quantised with scales from calibration on the user's data, their weights with one
scale per channel (post-training static quantisation, Jacob et al. 2018, arXiv:1712.05877; Nagel et al. 2021,
arXiv:2106.08295). int4 layers have weights in blocks of 32 with one scale each and compute in the precision of the
network. ONNX Runtime's own quantiser computes scales and nodes; this module decides which nodes, and from what ranges.
"""

from __future__ import annotations

import ast
import copy
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from archsmith.errors import InvalidModel, InvalidOption, require
from archsmith.export.onnx_tools.inputs import as_arrays
from archsmith.export.onnx_tools.scopes import NAME_SCOPES, place_of
from archsmith.export.onnx_tools.simplifying import session_of, simplified

FULL_PRECISION = "fp32"
"""Precision of a layer that is left as it is."""
PRECISIONS = (FULL_PRECISION, "int8", "int4")
"""Precisions of a layer, the widest first."""
INT4_BLOCK = 32
"""How many weights of an int4 layer share a scale."""
ESTIMATORS = ("minmax", "percentile")
"""How ranges follow from the values seen: their minimum and maximum, or without the outermost in 10,000."""
_TAIL_SHARE = 1e-4
_WEIGHT_INPUTS = {"Conv": 1, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1, "Gather": 0}
"""Operators with weights -> the number of the input that holds these."""
_INT8_PASSING = frozenset({"Relu", "Clip", "Add", "Concat", "MaxPool", "AveragePool", "GlobalAveragePool", "Flatten"})
"""Operators between int8 layers that stay in int8 if all their inputs are in int8."""

Estimator = Literal["minmax", "percentile"]
Ranges = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Policy:
    """The precision of every layer.

    Args:
        by: name of a module -> precision of all layers in it; the longest matching name counts.
        default: of layers that are in none of them.
    """

    by: Mapping[str, str] = field(default_factory=dict)
    default: str = FULL_PRECISION

    def of(self, layer: str) -> str:
        """The precision of one layer.

        >>> Policy({"layer1": "int8", "layer1.0.conv1": "fp32"}).of("layer1.0.conv1")
        'fp32'
        """
        parts = layer.split(".")
        names = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
        return next((self.by[name] for name in names if name in self.by), self.default)

    @property
    def full(self) -> bool:
        """Whether nothing is quantised."""
        return {*self.by.values(), self.default} == {FULL_PRECISION}


class Quantisable:
    """One network's file, prepared once and then quantised by any number of policies.

    Args:
        content: bytes of an fp32 file.
        modules: names of the network's modules, since an exporter may have wrapped all of them in one more.

    Attributes:
        layers: name of a layer -> the precisions that it can have, in the order in which layers run.

    Raises:
        MissingExtra: without onnx and onnxruntime.
        InvalidModel: when the runtime cannot read the file.
    """

    def __init__(self, content: bytes, modules: Iterable[str] = ()) -> None:
        self._model = simplified(_renamed(content, frozenset(modules)))
        _unshare(self._model)
        nodes = self._model.graph.node
        weights = {w.name: tuple(w.dims) for w in self._model.graph.initializer}
        self._weighted = {
            n.name: n for n in nodes if _WEIGHT_INPUTS.get(n.op_type, 9) < len(n.input) and _has(n, weights)
        }
        possible: dict[str, list[set[str]]] = defaultdict(list)
        for name, node in self._weighted.items():
            possible[_layer(name)].append({FULL_PRECISION, "int8"} | ({"int4"} if _blocks(node, weights) else set()))
        self.layers = {
            layer: tuple(p for p in PRECISIONS if p in set.intersection(*found)) for layer, found in possible.items()
        }

    def ranges(self, batches: Iterable[tuple[Any, ...]], estimator: Estimator = "minmax") -> dict[str, Any]:
        """The range of every tensor that may be quantised: name -> lowest and highest value.

        Args:
            batches: inputs of one call each, as the file takes them.
            estimator: of :data:`ESTIMATORS`.

        Raises:
            InvalidOption: for another one, or no batches.
        """
        if estimator not in ESTIMATORS:
            raise InvalidOption(f"ranges={estimator!r} must be one of {', '.join(ESTIMATORS)}")
        known = {w.name for w in self._model.graph.initializer}
        nodes = [n for n in self._model.graph.node if n.name in self._weighted or n.op_type in _INT8_PASSING]
        wanted = list(dict.fromkeys(t for n in nodes for t in (*n.input, *n.output) if t and t not in known))
        found: dict[str, list[tuple[float, float]]] = defaultdict(list)
        names = [i.name for i in self._model.graph.input]
        session = session_of(_giving(self._model, wanted).SerializeToString())
        outputs = [o.name for o in session.get_outputs() if o.type == "tensor(float)"]
        for inputs in batches:
            feed = dict(zip(names, as_arrays(inputs), strict=True))
            seen = dict(zip(outputs, session.run(outputs, feed), strict=True))
            seen |= {name: x for name, x in feed.items() if x.dtype == np.float32 and name in wanted}
            for name, x in seen.items():
                found[name].append(_span(x, estimator))
        if not found:
            raise InvalidOption("quantising needs calibration data; pass calibration=train_loader")
        if estimator == "minmax":
            return {n: (min(low for low, _ in all_), max(high for _, high in all_)) for n, all_ in found.items()}
        means = {name: np.mean(spans, axis=0) for name, spans in found.items()}
        return {name: (float(low), float(high)) for name, (low, high) in means.items()}

    def precisions(self, policy: Policy) -> dict[str, str]:
        """Layer -> the precision that it gets: that of the policy where it can have it, else fp32."""
        return {
            layer: wanted if (wanted := policy.of(layer)) in can else FULL_PRECISION
            for layer, can in self.layers.items()
        }

    def quantised(self, policy: Policy, ranges: Ranges, *, weight_bits: int = 8) -> bytes:
        """The file with the layers of ``policy`` quantised, by QuantizeLinear and DequantizeLinear (QDQ).

        Args:
            policy: precision of the layers; a layer that cannot have its precision stays as it is.
            ranges: of :meth:`ranges`.
            weight_bits: of int8 layers: 7 on processors whose sums of 8-bit products saturate.

        Raises:
            InvalidModel: when ONNX Runtime's quantiser refuses the network.
        """
        precisions = self.precisions(policy)
        chosen = {name: precisions[_layer(name)] for name in self._weighted}
        eights = [name for name, precision in chosen.items() if precision == "int8"]
        fours = [name for name, precision in chosen.items() if precision == "int4"]
        model = copy.deepcopy(self._model)
        with _silent():
            try:
                if fours:
                    model = _in_blocks(model, fours)
                if eights:
                    model = _in_eight_bits(model, {*eights, *self._carried(eights, ranges)}, ranges, weight_bits)
            except Exception as error:  # the quantiser raises many kinds
                lines = str(error).strip().splitlines() or [type(error).__name__]
                raise InvalidModel(f"the network cannot be quantised: {lines[0][:300]}") from error
        content: bytes = model.SerializeToString(deterministic=True)
        return content

    def _carried(self, eights: Sequence[str], ranges: Ranges) -> set[str]:
        """Nodes between int8 layers that can stay in int8: all their inputs come from there, and have a range."""
        constants = {w.name for w in self._model.graph.initializer}
        inside, given = set(), set()
        for node in self._model.graph.node:
            reads = [name for name in node.input if name]
            bounds = node.op_type == "Clip"  # beyond the first, its inputs are the bounds
            sources = reads[:1] if bounds else reads
            if node.name in eights or (
                node.op_type in _INT8_PASSING
                and all(n in given and n not in constants for n in sources)
                and all(np.isfinite(ranges[n]).all() for n in node.output if n in ranges)
            ):
                inside.add(node.name)
                given.update(node.output)
        return inside - {*eights}


def is_quantised(content: bytes) -> bool:
    """Whether a file has quantised operators, without reading it whole."""
    return b"QuantizeLinear" in content or b"DequantizeLinear" in content


# Reading ------------------------------------------------------------------------------------------------------------


def _renamed(content: bytes, modules: frozenset[str]) -> Any:
    """The file's model with every node called after its module: ``layer1.0.conv1#17``."""
    onnx = require("onnx", extra="onnx", purpose="Quantising")
    model = onnx.ModelProto.FromString(content)
    owners = {w.name: w.name.rpartition(".")[0] for w in model.graph.initializer if len(w.dims) > 1}
    places = [_place(node, owners, modules) for node in model.graph.node]
    inner = [p.removeprefix("network.") for p in places]
    wrapped = sum(p in modules for p in inner) > sum(p in modules for p in places)
    for i, (node, place) in enumerate(zip(model.graph.node, inner if wrapped else places, strict=True)):
        node.name = f"{place}#{i}"
    return model


def _place(node: Any, owners: Mapping[str, str], modules: frozenset[str]) -> str:
    """The module that a node's weights belong to; else the module that either exporter names as its origin.

    An exporter that merges a batch norm into the convolution before it names both after the batch norm.
    """
    for name in node.input:
        if (owner := owners.get(name, "")) and {owner, owner.removeprefix("network.")} & modules:
            return owner
    for entry in node.metadata_props:
        if entry.key == NAME_SCOPES:
            return next((s for s in reversed(ast.literal_eval(entry.value)[:-1]) if s), "")
    return place_of(node.name)


def _layer(name: str) -> str:
    return name.rpartition("#")[0]


def _has(node: Any, weights: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether a node computes with weights: a matrix product may be of two tensors, a lookup may be in shapes."""
    return len(weights.get(node.input[_WEIGHT_INPUTS[node.op_type]], ())) > 1


def _blocks(node: Any, weights: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether the weights can be int4: of a matrix product, in whole blocks."""
    shape = weights[node.input[_WEIGHT_INPUTS[node.op_type]]]
    return bool(node.op_type == "MatMul" and len(shape) == 2 and shape[0] % INT4_BLOCK == 0)


def _unshare(model: Any) -> None:
    """Give every operator its own weights and biases: shared ones could have one scale only."""
    constants = {w.name: w for w in model.graph.initializer}
    taken: set[str] = set()
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if node.op_type in _WEIGHT_INPUTS and name in constants:
                if name in taken:
                    own = model.graph.initializer.add()
                    own.CopyFrom(constants[name])
                    own.name = node.input[place] = f"{name} of {node.name}.{place}"
                taken.add(name)


def _giving(model: Any, wanted: Sequence[str]) -> Any:
    """The model with further outputs."""
    import onnx

    more = copy.deepcopy(model)
    known = {x.name for x in (*more.graph.output, *more.graph.input)}
    more.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted if name not in known)
    return more


def _span(x: NDArray[Any], estimator: Estimator) -> tuple[float, float]:
    if estimator == "minmax":
        return float(x.min()), float(x.max())
    low, high = np.quantile(x, (_TAIL_SHARE, 1 - _TAIL_SHARE))
    return float(low), float(high)


# Writing ------------------------------------------------------------------------------------------------------------


def _in_eight_bits(model: Any, nodes: Iterable[str], ranges: Ranges, weight_bits: int) -> Any:
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorData, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    nodes = {*nodes}
    touched = {name for node in model.graph.node if node.name in nodes for name in (*node.input, *node.output)}
    spans = {
        name: TensorData(lowest=np.float32(low), highest=np.float32(high))
        for name, (low, high) in ranges.items()
        if name in touched
    }
    if endless := [name for name in spans if not np.isfinite(ranges[name]).all()]:
        raise InvalidModel(f"{endless[0]} takes values that are not finite on the calibration data")
    quantiser = QDQQuantizer(
        model,
        per_channel=True,
        reduce_range=weight_bits == 7,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, spans),
        nodes_to_quantize=sorted(nodes),
        nodes_to_exclude=[],
        op_types_to_quantize=[*_WEIGHT_INPUTS, *_INT8_PASSING],
        extra_options={},
    )
    quantiser.quantize_model()
    quantiser.model.topological_sort()
    return quantiser.model.model


def _in_blocks(model: Any, nodes: Sequence[str]) -> Any:
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer, QuantFormat

    quantiser = MatMulNBitsQuantizer(
        model,
        bits=4,
        block_size=INT4_BLOCK,
        is_symmetric=True,
        nodes_to_exclude=[n.name for n in model.graph.node if n.name not in nodes],  # to include only adds
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=("MatMul",),
    )
    quantiser.process()
    return quantiser.model.model


@contextmanager
def _silent() -> Any:
    """Keep the quantiser from logging every node, and from configuring the user's logging when it is imported."""
    root = logging.getLogger()
    disabled, level, handlers = root.manager.disable, root.level, list(root.handlers)
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(disabled)
        root.setLevel(level)
        root.handlers[:] = handlers
