"""Measurements that were written down, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def measured_line(part: Mapping[str, Any], said: Mapping[str, Any] | None) -> str:
    """What was measured on one device, beside what the search found.

    Args:
        part: ``latency`` with ``of`` (``"file"`` or ``"module"``) and ``device``, as a certificate holds them.
        said: value and interval that the search found; ``None`` where it did not measure.

    >>> latency = {"of": "file", "latency_ms": 2.31, "low": 2.2, "high": 2.4}
    >>> measured_line({"latency": latency, "device": {"spec": "onnxruntime:threads=1"}}, {"value": 2.25})
    'latency of the file 2.31 ms [2.2, 2.4] (the search found 2.25) on onnxruntime:threads=1'
    """
    latency = part["latency"]
    interval = f" [{said['low']:.4g}, {said['high']:.4g}]" if said and "low" in said else ""
    belief = f" (the search found {said['value']:.4g}{interval})" if said else ""
    return (
        f"latency of the {latency['of']} {latency['latency_ms']:.4g} ms "
        f"[{latency['low']:.4g}, {latency['high']:.4g}]{belief} on {part['device']['spec']}"
    )
