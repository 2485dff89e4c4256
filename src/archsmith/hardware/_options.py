"""What all devices check and compute alike."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence

from archsmith.errors import InvalidOption
from archsmith.hardware.machine import package_version, processor


def at_least_one(name: str, value: int) -> int:
    """``value``, when it is a whole number from 1 on."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidOption(f"{name}={value!r} must be a whole number from 1 on, such as {name}=1")
    return value


def thread_count(threads: int) -> int:
    """``threads``, when there are so many processors to run them: more spin, and stall the whole machine."""
    there = os.cpu_count() or 1
    if at_least_one("threads", threads) > there:
        raise InvalidOption(f"threads={threads} is more than the {there} processors here; give threads={there} or less")
    return threads


def one_of(name: str, value: str, allowed: Sequence[str]) -> str:
    """``value``, when it is allowed."""
    if value not in allowed:
        raise InvalidOption(f"{name}={value!r} must be one of {', '.join(allowed)}")
    return value


def device_fingerprint(spec: str, precision: str, package: str) -> str:
    """Sixteen hexadecimal digits of processor, cores, options, precision and runtime version."""
    stable = {key: value for key, value in processor().items() if key != "memory_gib"}
    text = json.dumps([stable, spec, precision, package, package_version(package)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
