"""Writing the ONNX files of networks, quantised where their architectures say so."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from torch import nn

from archsmith.architecture import Architecture
from archsmith.candidates.quantised_files import calibration_calls
from archsmith.certificate import Quantised
from archsmith.export.base import WrittenFile
from archsmith.export.onnx import Onnx
from archsmith.export.onnx_tools.inputs import batch_size
from archsmith.export.onnx_tools.onnx_file import OnnxFile
from archsmith.export.onnx_tools.quantising import FULL_PRECISION, Policy, Quantisable
from archsmith.files import replacing
from archsmith.runs.context import SearchContext

CALIBRATION_BATCH = 16
"""Calibration inputs of one call, where the file takes any batch."""


def write_onnx(
    context: SearchContext, own: Architecture, policy: Policy, module: nn.Module, path: Path
) -> tuple[WrittenFile, Quantised | None]:
    """Write the ONNX file of ``own``, with its layers in the precisions of ``policy``.

    Args:
        context: of the run.
        own: of the supernet's space.
        policy: the precision of every layer.
        module: the network in fp32.
        path: of the file.

    Returns:
        The written file, and how it was quantised; ``None`` where it was not.

    Raises:
        InvalidModel: when the network cannot be exported or quantised: nothing is written.
        StorageFull: when the disk is full.
    """
    supernet = context.supernet
    inputs, names = supernet.inputs_of(own), supernet.input_names
    if policy.full or context.joint is None:
        return Onnx().write(module, inputs, path, names=names), None
    with tempfile.TemporaryDirectory(prefix="archsmith-") as folder:
        full = Path(folder) / "network.onnx"
        written = Onnx().write(module, inputs, full, names=names)
        before = full.read_bytes()
    network = Quantisable(before, [name for name, _ in supernet.model.named_modules()])
    wanted, bits = context.joint.wanted, context.weight_bits
    batch = CALIBRATION_BATCH if written.details["dynamic_batch"] else batch_size(inputs)
    ranges = network.ranges(calibration_calls(supernet, own, batch, wanted.items), wanted.ranges)
    content = network.quantised(policy, ranges, weight_bits=bits)
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    described: dict[str, Any] = {
        "layers": {
            layer: precision for layer, precision in network.precisions(policy).items() if precision != FULL_PRECISION
        },
        "of": len(network.layers),
        "weight_bits": bits,
        "ranges": wanted.ranges,
        "items": wanted.items,
        "format": "QDQ",
        "mib": {"before": len(before) / 2**20, "after": len(content) / 2**20},
    }
    return WrittenFile(paths=(path,), details=written.details), Quantised(OnnxFile(before), described)
