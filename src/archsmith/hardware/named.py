"""The devices of a search by name: one without a name, or several, each with its own metrics."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from archsmith.errors import InvalidOption
from archsmith.hardware import open_device
from archsmith.metric import on_device

On = str | Sequence[str] | Mapping[str, str]
"""``"onnxruntime"``, ``["onnxruntime", "pi=remote:10.0.0.7:7465"]`` or ``{"pi": "remote:10.0.0.7:7465"}``."""
UNNAMED = ""
"""The name of the only device, unless it is given one."""
TIMED_METRICS = ("latency_ms", "throughput", "energy_mj")
"""Metrics that need a network timed on a device."""
MEASURED_METRICS = (*TIMED_METRICS, "peak_memory_mib")
"""Metrics that each of several devices has of its own, such as ``latency_ms@pi``."""


def named_devices(on: On) -> dict[str, str]:
    """Name -> spec, in order; the only device has no name unless it is given one.

    >>> named_devices(["onnxruntime:threads=2", "pi=remote:10.0.0.7:7465"])
    {'onnxruntime': 'onnxruntime:threads=2', 'pi': 'remote:10.0.0.7:7465'}
    >>> named_devices("onnxruntime")
    {'': 'onnxruntime'}

    Raises:
        InvalidOption: for what is no device, for none at all, for two of one name, or for a name with other characters
            than letters, digits, ``-``, ``_`` and ``.``.
    """
    listed: Any = [on] if isinstance(on, str) or not isinstance(on, Iterable) else on
    specs = [*on, *on.values()] if isinstance(on, Mapping) else list(listed)
    if not all(isinstance(spec, str) for spec in specs):
        raise InvalidOption(
            f"on={on!r} must be a device such as 'onnxruntime:threads=1', a list of NAME=DEVICE, or a mapping by name"
        )
    given = list(on.items()) if isinstance(on, Mapping) else [_split(spec) for spec in specs]
    if not given:
        raise InvalidOption("a search needs a device to measure on, such as on='onnxruntime:threads=1'")
    if len(given) == 1 and given[0][0] == UNNAMED:
        return {UNNAMED: given[0][1]}
    found: dict[str, str] = {}
    for name, spec in given:
        called = name or spec.partition(":")[0].strip()
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", called):
            raise InvalidOption(
                f"the device's name {called!r} must be letters, digits, '-', '_' or '.'; write NAME=SPEC"
            )
        if called in found:
            raise InvalidOption(f"two devices are called {called}; name them, such as one={spec}")
        found[called] = spec
    return found


def device_metrics(on: Mapping[str, str]) -> list[str]:
    """The metrics of all devices, such as ``latency_ms@pi``."""
    return [on_device(stem, name) for stem in MEASURED_METRICS for name in on]


def recorded(on: Mapping[str, str]) -> str | dict[str, str]:
    """The devices' canonical specs, as a run records them: text for one without a name, else name -> spec."""
    specs = {name: open_device(spec).spec for name, spec in on.items()}
    return specs.get(UNNAMED, specs)


def _split(text: str) -> tuple[str, str]:
    """Name and spec of ``NAME=SPEC`` or ``SPEC``; a spec has no ``=`` before its first colon."""
    name, equals, spec = text.partition("=")
    if not equals or ":" in name:
        return UNNAMED, text
    if not name.strip() or not spec.strip():
        raise InvalidOption(f"cannot read the device {text!r}; write SPEC or NAME=SPEC, such as pi=remote:HOST:PORT")
    return name.strip(), spec.strip()
