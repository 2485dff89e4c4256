"""Code shared by the devices that run ONNX files."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from archsmith.errors import DamagedFile, InvalidOption, MeasurementFailed
from archsmith.export.onnx_tools.inputs import as_arrays, resized
from archsmith.hardware._options import first_line
from archsmith.hardware.base import Call, Device


class OnnxDevice(Device):
    """A device that runs ONNX files; the fast exporter turns modules into files, in memory."""

    files: ClassVar[tuple[str, ...]] = (".onnx",)

    def prepare(self, module: Any, example_inputs: tuple[Any, ...], *, batch: int | None = None) -> Call:
        """Export a copy of ``module`` in memory and open it.

        Raises:
            MeasurementFailed: when the exporter or the runtime refuses the network.
        """
        return from_module(self, module, example_inputs, batch or self.batch, self._opened)

    def prepare_onnx(self, content: bytes, example_inputs: tuple[Any, ...], *, batch: int | None = None) -> Call:
        """Open the content of an ``.onnx`` file.

        Raises:
            InvalidOption: when it was made for another batch.
            MeasurementFailed: when the runtime refuses it.
        """
        return from_bytes(self, content, example_inputs, batch or self.batch, self._opened)

    def prepare_file(self, path: str, example_inputs: tuple[Any, ...]) -> Call:
        """Open an ``.onnx`` file.

        Raises:
            InvalidOption: when it is no ONNX file, or was made for another batch.
            DamagedFile: when the runtime cannot load it, or the inputs do not fit it.
        """
        return from_file(self, path, example_inputs, self.batch, self._opened)

    def synchronize(self) -> None:
        """Return at once: nothing is queued, and a call returns when it is done."""

    @abstractmethod
    def _opened(self, source: str | bytes, arrays: list[NDArray[Any]]) -> Call:
        """Load a file, or its content, and call it once; ``arrays`` are in the order of its inputs."""


Opened = Callable[[str | bytes, list[NDArray[Any]]], Call]
"""Loads a file, or its content, to be called on arrays in the order of its inputs."""
Shape = Sequence[int | None]


def from_module(device: Device, module: Any, example_inputs: tuple[Any, ...], batch: int, opened: Opened) -> Call:
    """Export a copy of ``module`` in memory and open it.

    Raises:
        MeasurementFailed: when the exporter or the runtime refuses the network.
    """
    from archsmith.export.onnx_tools.fast_exporter import candidate_onnx

    inputs = resized(example_inputs, batch)

    def make() -> Call:
        return opened(in_precision(device, candidate_onnx(module, inputs), inputs), as_arrays(inputs))

    return _measurable(device, make)


def from_bytes(device: Device, content: bytes, example_inputs: tuple[Any, ...], batch: int, opened: Opened) -> Call:
    """Open the content of a file.

    Raises:
        MeasurementFailed: when the runtime refuses it.
    """
    inputs = resized(example_inputs, batch)
    return _measurable(device, lambda: opened(in_precision(device, content, inputs), as_arrays(inputs)))


def from_file(device: Device, path: str, example_inputs: tuple[Any, ...], batch: int, opened: Opened) -> Call:
    """Open a file.

    Raises:
        InvalidOption: when it is no ONNX file, or was made for another batch.
        DamagedFile: when the runtime cannot load it, or the inputs do not fit it.
    """
    if not path.endswith(device.files):
        raise InvalidOption(f"{device.name} reads .onnx files, got {path}")
    if not Path(path).is_file():
        raise InvalidOption(f"there is no file {path}")
    inputs = resized(example_inputs, batch)
    try:
        if device.precision == "int8":
            return opened(in_precision(device, Path(path).read_bytes(), inputs), as_arrays(inputs))
        return opened(path, as_arrays(inputs))
    except InvalidOption:
        raise
    except Exception as error:  # the runtime raises many kinds
        raise DamagedFile(f"{device.name} cannot run {path}: {first_line(error)}") from error


def in_precision(device: Device, content: bytes, inputs: tuple[Any, ...]) -> bytes:
    """The content of a file in the device's precision: for int8 with all layers quantised.

    Ranges come from random values for floating-point inputs. A file that is quantised already stays as it is.
    """
    from archsmith.export.onnx_tools.quantising import Policy, Quantisable, is_quantised

    if device.precision != "int8" or is_quantised(content):
        return content
    network = Quantisable(content)
    return network.quantised(Policy(default="int8"), network.ranges([drawn(inputs)]), weight_bits=device.weight_bits)


def drawn(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Arrays with standard normal values in place of floating-point ones."""
    rng = np.random.default_rng(0)
    return tuple(rng.standard_normal(x.shape).astype(x.dtype) if x.dtype.kind == "f" else x for x in as_arrays(inputs))


def check_inputs(name: str, shapes: Sequence[Shape], arrays: Sequence[NDArray[Any]]) -> None:
    """Refuse arrays of another number or batch than the network's inputs.

    Args:
        name: of the device.
        shapes: of the network's inputs; ``None`` for a size that is not fixed.
        arrays: to run it on.

    Raises:
        InvalidOption: naming the device that would fit.
    """
    if len(shapes) != len(arrays):
        raise InvalidOption(f"the network reads {len(shapes)} inputs, the example has {len(arrays)}")
    for shape, array in zip(shapes, arrays, strict=True):
        size = shape[0] if shape else None
        if size is not None and array.ndim and size != array.shape[0]:
            raise InvalidOption(
                f"the file was made for batches of {size}, the device runs {array.shape[0]}: "
                f"use {name}:batch={size}, or export with a dynamic batch"
            )


def _measurable(device: Device, make: Callable[[], Call]) -> Call:
    try:
        return make()
    except (InvalidOption, MeasurementFailed):
        raise
    except Exception as error:  # exporters and runtime raise many kinds
        raise MeasurementFailed(f"{device.spec} cannot run this network: {first_line(error)}") from error
