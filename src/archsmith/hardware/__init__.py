"""Devices, and how latency is measured on them; see ``docs/measuring.md``."""

from archsmith.hardware.base import Call, Device
from archsmith.hardware.catalogue import DeviceInfo, available_devices, open_device
from archsmith.hardware.clock import Clock, SystemClock
from archsmith.hardware.machine import environment
from archsmith.hardware.protocol import EFFORTS, Measurement, Meter
from archsmith.hardware.sampling import Effort

__all__ = [
    "EFFORTS",
    "Call",
    "Clock",
    "Device",
    "DeviceInfo",
    "Effort",
    "Measurement",
    "Meter",
    "SystemClock",
    "agents",
    "available_devices",
    "block_table",
    "energy",
    "environment",
    "measuring",
    "memory",
    "meters",
    "named",
    "open_device",
    "parts",
]
