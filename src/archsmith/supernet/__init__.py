"""Supernets: one network whose subnets share its weights."""

from archsmith.supernet.axes import Axis, Elastic, Kernel, Width
from archsmith.supernet.choices import Depth, Optional, Switch
from archsmith.supernet.relaxed import Relaxed
from archsmith.supernet.supernet import Supernet

__all__ = ["Axis", "Depth", "Elastic", "Kernel", "Optional", "Relaxed", "Supernet", "Switch", "Width"]
