"""An exported ONNX file as a function on tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from archsmith.errors import DamagedFile, InvalidOption, require
from archsmith.export._inputs import batch_size, has_batch, resized


class OnnxFile:
    """Runs a file in ONNX Runtime on one thread; a drop-in for the module that it was made from.

    A file with a fixed batch is called as often as needed, the last time with repeated items.

    Args:
        source: the file, or its bytes.

    Raises:
        DamagedFile: when the runtime cannot load it.
    """

    def __init__(self, source: Path | bytes) -> None:
        runtime = require("onnxruntime", extra="onnx", purpose="Running an ONNX file")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        given = source if isinstance(source, bytes) else str(source)
        try:
            self._session = runtime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime raises many kinds
            name = "the exported network" if isinstance(source, bytes) else str(source)
            raise DamagedFile(f"ONNX Runtime cannot load {name}: {str(error).splitlines()[0][:300]}") from error
        self._inputs = [(i.name, i.shape) for i in self._session.get_inputs()]

    @property
    def batch(self) -> int | None:
        """The batch that the file was made for; ``None`` where it takes any."""
        size = self._inputs[0][1][0] if self._inputs and self._inputs[0][1] else None
        return size if isinstance(size, int) else None

    def __call__(self, *inputs: Any) -> Any:
        """Outputs as a tensor, or a tuple of them where there are several.

        Raises:
            InvalidOption: when the inputs do not fit the file.
        """
        size = batch_size(inputs)
        step = self.batch or size
        parts = [self._run(resized(_cut(inputs, size, at, step), step)) for at in range(0, size, step)]
        joined = tuple(
            torch.cat(column)[:size] if len(column) > 1 else column[0][:size] for column in zip(*parts, strict=True)
        )
        return joined[0] if len(joined) == 1 else joined

    def _run(self, inputs: tuple[Any, ...]) -> list[Tensor]:
        arrays = [x.detach().cpu().numpy() for x in inputs if isinstance(x, Tensor)]
        if len(arrays) != len(self._inputs):
            raise InvalidOption(f"the file reads {len(self._inputs)} inputs, got {len(arrays)}")
        feed = {name: array for (name, _), array in zip(self._inputs, arrays, strict=True)}
        try:
            return [torch.from_numpy(y) for y in self._session.run(None, feed)]
        except Exception as error:  # the runtime raises many kinds
            raise InvalidOption(f"the file cannot run these inputs: {str(error).splitlines()[0][:300]}") from error


def _cut(inputs: tuple[Any, ...], size: int, start: int, step: int) -> tuple[Any, ...]:
    return tuple(x[start : start + step] if has_batch(x, size) else x for x in inputs)
