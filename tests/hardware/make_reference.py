"""Writes src/archsmith/hardware/reference.onnx anew: python tests/hardware/make_reference.py

The file is part of what a latency is relative to: whoever changes it raises ``archsmith.hardware.reference.VERSION``.
"""

import io

import onnx
import torch

from archsmith.export.onnx_tools.fast_exporter import OPSET, quiet_exporter
from archsmith.hardware.reference import FILE, reference_module


def reference_bytes():
    """The reference network as the fast exporter writes it, for any batch."""
    buffer = io.BytesIO()
    with quiet_exporter():
        torch.onnx.export(
            reference_module(),
            (torch.zeros(16, 3, 16, 16),),
            buffer,
            dynamo=False,
            opset_version=OPSET,
            input_names=["input"],
            output_names=["output"],
            dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
        )
    proto = onnx.load_from_string(buffer.getvalue())
    for node in proto.graph.node:
        node.ClearField("doc_string")
    return proto.SerializeToString(deterministic=True)


if __name__ == "__main__":
    FILE.write_bytes(reference_bytes())
