"""An exported ONNX file as a function on tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from archsmith.errors import DamagedFile, InvalidOption, require
from archsmith.export.onnx_tools.inputs import batch_size, resized, some_of

_TYPES = {
    "tensor(float)": torch.float32,
    "tensor(double)": torch.float64,
    "tensor(float16)": torch.float16,
    "tensor(int64)": torch.int64,
    "tensor(int32)": torch.int32,
    "tensor(uint8)": torch.uint8,
    "tensor(bool)": torch.bool,
}


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
        options.log_severity_level = 4  # errors are raised as well; the runtime would print names in files unescaped
        if isinstance(source, Path) and not source.is_file():  # reading a pipe would block
            raise DamagedFile(f"{source} is missing, or no file")
        given = source if isinstance(source, bytes) else str(source)
        try:
            self._session = runtime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime raises many kinds
            name = "the exported network" if isinstance(source, bytes) else str(source)
            raise DamagedFile(f"ONNX Runtime cannot load {name}: {str(error).splitlines()[0][:300]}") from error
        self._inputs = [(i.name, i.shape) for i in self._session.get_inputs()]
        self._outputs = [o.name for o in self._session.get_outputs()]

    @property
    def batch(self) -> int | None:
        """The batch that the file was made for; ``None`` where it takes any."""
        size = self._inputs[0][1][0] if self._inputs and self._inputs[0][1] else None
        return size if isinstance(size, int) else None

    def example_inputs(self) -> tuple[Tensor, ...]:
        """Inputs that the file can run: random numbers, zeros for integers; what may vary in size has size 1."""
        generator = torch.Generator().manual_seed(0)
        found = []
        for given in self._session.get_inputs():
            shape = [d if isinstance(d, int) else 1 for d in given.shape]
            floating = given.type in ("tensor(float)", "tensor(double)", "tensor(float16)")
            drawn = torch.randn(shape, generator=generator) if floating else torch.zeros(shape)
            found.append(drawn.to(_TYPES[given.type]))
        return tuple(found)

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """Outputs as a tensor; where there are several as a tuple, or by name where one of them is called ``logits``.

        Args:
            inputs: by position, in the file's order.
            named: by the file's names instead; others (labels, say) are left out.

        Raises:
            InvalidOption: when the inputs do not fit the file.
        """
        if named:
            inputs = self._by_name(inputs, named)
        size = batch_size(inputs)
        step = self.batch or size
        parts = [self._run(resized(some_of(inputs, at, step), step)) for at in range(0, size, step)]
        joined = tuple(_joined(column, size) for column in zip(*parts, strict=True))
        if len(joined) > 1 and "logits" in self._outputs:
            return dict(zip(self._outputs, joined, strict=True))
        return joined[0] if len(joined) == 1 else joined

    def _by_name(self, inputs: tuple[Any, ...], named: Mapping[str, Any]) -> tuple[Any, ...]:
        wanted = [name for name, _ in self._inputs]
        if inputs or any(name not in named for name in wanted):
            raise InvalidOption(
                f"the file reads {', '.join(wanted)}, got {', '.join(named)}"
                f"{f' and {len(inputs)} by position' if inputs else ''}; give all of them by these names"
            )
        return tuple(named[name] for name in wanted)

    def _run(self, inputs: tuple[Any, ...]) -> list[Tensor]:
        arrays = [x.detach().cpu().numpy() for x in inputs if isinstance(x, Tensor)]
        if len(arrays) != len(self._inputs):
            raise InvalidOption(f"the file reads {len(self._inputs)} inputs, got {len(arrays)}")
        feed = {name: array for (name, _), array in zip(self._inputs, arrays, strict=True)}
        try:
            return [torch.from_numpy(y) for y in self._session.run(None, feed)]
        except Exception as error:  # the runtime raises many kinds
            raise InvalidOption(f"the file cannot run these inputs: {str(error).splitlines()[0][:300]}") from error


def _joined(parts: tuple[Tensor, ...], size: int) -> Tensor:
    if parts[0].ndim == 0:  # a mean over the batch has no items
        return parts[0]
    return torch.cat(parts)[:size] if len(parts) > 1 else parts[0][:size]
