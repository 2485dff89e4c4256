"""The fast exporter: makes the files that candidates are measured as, in memory.

It is torch's TorchScript-based one, some ten times faster than the exporter that makes the files we hand out
(:mod:`archsmith.export.onnx`); the two give equal outputs, and every file that is handed out is measured again.
"""

from __future__ import annotations

import copy
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from archsmith.export.onnx_tools.by_position import Positional, flattened

OPSET = 20
"""Operator set of every ONNX file that archsmith makes."""
_refused: set[type[nn.Module]] = set()
"""Classes of networks that the fast exporter refused once; it is not tried again for each of their subnets."""


def candidate_onnx(module: nn.Module, inputs: tuple[Any, ...]) -> bytes:
    """``module`` in evaluation mode as an ONNX file for exactly these shapes.

    Networks that the fast exporter refuses go through the other one.

    Args:
        module: not changed; a copy is exported.
        inputs: tensors of one call.

    Raises:
        Exception: whatever torch's exporters raise when both refuse; the callers say what it means to them.
    """
    import torch

    copied = copy.deepcopy(module).eval()
    kind = type(copied.network if isinstance(copied, Positional) else copied)
    buffer = io.BytesIO()
    with quiet_exporter():
        copied, _ = flattened(copied, inputs)  # if the network does not run, its own error is the best message
        if kind not in _refused:
            try:
                with plain_attention():
                    torch.onnx.export(copied, inputs, buffer, dynamo=False, opset_version=OPSET)  # type: ignore[arg-type]  # files too
            except Exception:  # noqa: BLE001 - torch raises many kinds here; the second exporter decides
                if kind.__module__.partition(".")[0] != "torch":  # a Sequential may hold anything
                    _refused.add(kind)
            else:
                return buffer.getvalue()
        program = torch.onnx.export(copied, inputs, dynamo=True, opset_version=OPSET, verbose=False)
    return program.model_proto.SerializeToString(deterministic=True)  # type: ignore[union-attr, no-any-return]


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Hide torch's warnings and log lines about its own exporters, only inside the ``with``.

    torch prints the whole graph of a network that the fast exporter refuses, whatever its log level.
    """
    import torch

    log, printed = logging.getLogger("torch.onnx"), getattr(torch._C, "_jit_onnx_log", None)
    level = log.level
    log.setLevel(logging.ERROR)
    if printed is not None:
        torch._C._jit_onnx_log = lambda *_: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
        if printed is not None:
            torch._C._jit_onnx_log = printed


@contextmanager
def plain_attention() -> Iterator[None]:
    """Attention in terms that the fast exporter knows.

    Where queries share keys and values each group repeats them; torch's fused encoder layers run operator by operator.
    """
    import torch
    from torch.nn import functional

    original, fused = functional.scaled_dot_product_attention, torch.backends.mha.get_fastpath_enabled()

    def expanded(query: Any, key: Any, value: Any, *args: Any, enable_gqa: bool = False, **kwargs: Any) -> Any:
        if enable_gqa and query.dim() == key.dim() == 4:
            key, value = (_repeated(x, query.size(1) // x.size(1)) for x in (key, value))
        return original(query, key, value, *args, **kwargs)

    functional.scaled_dot_product_attention = expanded
    torch.backends.mha.set_fastpath_enabled(value=False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        functional.scaled_dot_product_attention = original


def _repeated(x: Any, times: int) -> Any:
    batch, heads, *rest = x.shape
    return x[:, :, None].expand(batch, heads, times, *rest).reshape(batch, heads * times, *rest)
