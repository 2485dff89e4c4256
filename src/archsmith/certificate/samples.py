"""A few inputs and outputs in a certificate, so that a file can be checked without rebuilding its model.

Inputs are random numbers rounded to one byte: an image of 3x224x224 takes 200 kB of text. Of large outputs, evenly
spaced values are kept.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from archsmith.errors import DamagedFile
from archsmith.export.onnx_tools.comparing import Difference, difference, tensors
from archsmith.export.onnx_tools.inputs import random_like, resized
from archsmith.export.onnx_tools.onnx_file import OnnxFile

RECORDED_INPUTS = 2
"""Batch of the call that is recorded."""
STEPS_PER_UNIT = 32
"""Steps in one unit of a recorded floating-point input: values are between -4 and 4."""
RECORDED_VALUES = 1024
"""Values of each output that are recorded at most."""


class Recorded(TypedDict):
    """One tensor: all values of an input, in units of ``step``; some values of an output."""

    shape: list[int]
    dtype: str
    step: float
    data: str


class Samples(TypedDict):
    """One call: its inputs, and the file's outputs."""

    inputs: list[Recorded]
    outputs: list[Recorded]


def sampled(file: OnnxFile, inputs: tuple[Any, ...], seed: int) -> Samples:
    """Run a file on random inputs like ``inputs`` and record both.

    Args:
        file: the exported network.
        inputs: of one call, tensors in the file's order; floating-point ones are drawn anew.
        seed: of the draw.
    """
    recorded = [_input(x) for x in random_like(resized(inputs, RECORDED_INPUTS), seed) if isinstance(x, Tensor)]
    outputs = tensors(file(*map(_tensor, recorded)))
    return Samples(inputs=recorded, outputs=[_output(y) for y in outputs])


def compare_samples(file: OnnxFile, samples: Samples) -> Difference:
    """The largest difference between a file's outputs on the recorded inputs and the recorded outputs.

    Raises:
        DamagedFile: when the recorded tensors cannot be read, or the file's outputs have other shapes.
    """
    found = tensors(file(*map(_tensor, samples["inputs"])))
    if [list(y.shape) for y in found] != [y["shape"] for y in samples["outputs"]]:
        raise DamagedFile(
            f"the file's outputs have the shapes {[list(y.shape) for y in found]}, recorded are "
            f"{[y['shape'] for y in samples['outputs']]}"
        )
    return difference([_values(y) for y in samples["outputs"]], [_some(x) for x in found])


def _input(x: Tensor) -> Recorded:
    if x.is_floating_point():
        steps = (x.double() * STEPS_PER_UNIT).round().clamp(-128, 127).to(torch.int8)
        return _recorded(steps.numpy(), str(x.dtype), 1 / STEPS_PER_UNIT, x.shape)
    return _recorded(_narrow(x.numpy()), str(x.dtype), 1.0, x.shape)


def _output(y: Tensor) -> Recorded:
    return _recorded(_some(y).float().numpy(), "torch.float32", 1.0, y.shape)


def _recorded(array: NDArray[Any], dtype: str, step: float, shape: Sequence[int]) -> Recorded:
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    text = f"{little.dtype.str}:{base64.b64encode(little.tobytes()).decode()}"
    return Recorded(shape=list(shape), dtype=dtype.removeprefix("torch."), step=step, data=text)


def _narrow(whole: NDArray[Any]) -> NDArray[Any]:
    """Integers in the narrowest type that holds them."""
    kinds = ("int8", "int16", "int32")
    fits = [k for k in kinds if whole.size == 0 or np.abs(whole.astype(np.int64)).max() <= np.iinfo(k).max]
    return whole.astype(fits[0] if fits else "int64")


def _some(y: Tensor) -> Tensor:
    """At most ``RECORDED_VALUES`` values, evenly spaced."""
    flat = y.detach().flatten()
    places = np.linspace(0, max(0, len(flat) - 1), min(len(flat), RECORDED_VALUES)).astype(np.int64)
    return flat[torch.from_numpy(places)].double()


def _tensor(recorded: Mapping[str, Any]) -> Tensor:
    """The tensor of a recorded input."""
    array, kind = _array(recorded), getattr(torch, recorded["dtype"], None)
    shape = recorded["shape"]
    if not isinstance(kind, torch.dtype) or min(shape, default=1) < 0 or math.prod(shape) != array.size:
        raise DamagedFile(f"a recorded input of shape {shape} and type {recorded['dtype']} holds {array.size} values")
    values = torch.from_numpy(array.astype(np.float64 if kind.is_floating_point else np.int64)).reshape(shape)
    return (values * recorded["step"]).to(kind) if kind.is_floating_point else values.to(kind)


def _values(recorded: Mapping[str, Any]) -> Tensor:
    return torch.from_numpy(_array(recorded).astype(np.float64))


def _array(recorded: Mapping[str, Any]) -> NDArray[Any]:
    kind, _, text = recorded["data"].partition(":")
    if kind not in ("|i1", "<i1", "<i2", "<i4", "<i8", "|b1", "<f4"):
        raise DamagedFile(f"recorded values are integers or floating-point numbers, not {kind!r}")
    try:
        return np.frombuffer(base64.b64decode(text, validate=True), dtype=kind)
    except (binascii.Error, ValueError) as error:
        raise DamagedFile(f"recorded values cannot be read: {error}") from error
