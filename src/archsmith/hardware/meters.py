"""Meters of several devices; each takes its device's lock when it first has to measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from archsmith.hardware import Call, Device, Measurement, Meter, open_device
from archsmith.progress import SILENT, Reporter


class MeterOnUse:
    """A meter that takes its device's lock when it first has to measure, and keeps it."""

    def __init__(self, meter: Meter, stack: ExitStack) -> None:
        self._meter, self._stack, self.entered = meter, stack, False

    @property
    def device(self) -> Device:
        """The device that networks are prepared for."""
        return self._meter.device

    @property
    def fingerprint(self) -> str:
        """Of device and anchor."""
        return self._meter.fingerprint

    def measure(self, call: Call, effort: str = "search") -> Measurement:
        """The latency of a prepared call."""
        if not self.entered:
            self._stack.enter_context(self._meter)
            self.entered = True
        return self._meter.measure(call, effort=effort)


def open_meters(
    on: Mapping[str, str | Device],
    anchors: Mapping[str, float],
    stack: ExitStack,
    *,
    keep: Callable[[str, float], Any],
    reporter: Reporter = SILENT,
) -> dict[str, MeterOnUse]:
    """A meter for each device; an anchor that is not known yet is measured now.

    A device whose anchor is known is taken only when something has to be measured: a resumed search that finds all
    results in the store needs no hardware.

    Args:
        on: name -> spec, or an open device.
        anchors: name -> milliseconds, of a run that goes on.
        stack: closes the meters.
        keep: called with the name and the anchor of each device that had none.
        reporter: gets progress; asked whether to stop while another process measures on the same hardware.
    """
    meters = {}
    for name, spec in on.items():
        meter = Meter(
            open_device(spec),
            anchor_ms=anchors.get(name),
            reporter=reporter.at("device"),
        )
        meters[name] = MeterOnUse(meter, stack)
        if name not in anchors:
            reporter.at("device").progress(f"taking {meter.device.spec}")
            stack.enter_context(meter)
            meters[name].entered = True
            keep(name, meter.anchor_ms)
            reporter.at("device").progress(f"reference network: {meter.anchor_ms:.3g} ms", 1, 1)
    return meters
