"""Supernets: one network whose subnets share its weights."""

from archsmith.running.relaxed import Relaxed
from archsmith.structure.axes import Axis, Elastic, Kernel, Width
from archsmith.structure.calls import call, logits_of
from archsmith.structure.choices import Depth, Optional, Switch
from archsmith.supernet.supernet import Supernet

__all__ = [
    "Axis",
    "Depth",
    "Elastic",
    "Kernel",
    "Optional",
    "Relaxed",
    "Supernet",
    "Switch",
    "Width",
    "call",
    "logits_of",
    "required",
    "supernet",
]
