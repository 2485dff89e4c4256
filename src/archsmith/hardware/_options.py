"""Checks of options, and what else all devices share."""

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
    """``threads``, when there are as many processors: more would spin and stall the whole machine."""
    cores = os.cpu_count() or 1
    if at_least_one("threads", threads) > cores:
        raise InvalidOption(f"threads={threads} is more than the {cores} processors here; give threads={cores} or less")
    return threads


def one_of(name: str, value: str, allowed: Sequence[str]) -> str:
    """``value``, when it is allowed."""
    if value not in allowed:
        raise InvalidOption(f"{name}={value!r} must be one of {', '.join(allowed)}")
    return value


def written(name: str, *, precision: str, **options: int) -> str:
    """The canonical spec of a device: ``NAME:threads=1,batch=64``; a precision other than fp32 comes last."""
    parts = [f"{option}={value}" for option, value in options.items()]
    return f"{name}:{','.join(parts + ([] if precision == 'fp32' else [f'precision={precision}']))}"


def device_fingerprint(spec: str, precision: str, package: str, accelerator: str = "") -> str:
    """Sixteen hexadecimal digits of processor, cores, options, precision, runtime version and accelerator."""
    stable = {key: value for key, value in processor().items() if key != "memory_gib"}
    parts = [stable, spec, precision, package, package_version(package), *([accelerator] if accelerator else [])]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def first_line(error: Exception) -> str:
    """The first line of a runtime's message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
