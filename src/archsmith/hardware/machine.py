"""The machine and the versions of packages, as plain data."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("archsmith", "torch", "onnx", "onnxruntime", "onnxruntime-gpu", "onnxscript", "openvino", "numpy")
"""Packages whose versions may change a measured value."""


def processor() -> dict[str, Any]:
    """The fixed properties of this machine: architecture, processor, cores, memory."""
    return {
        "machine": platform.machine(),
        "cpu": _cpu_model(),
        "cores": _cores(),
        "memory_gib": _memory_gib(),
    }


def environment() -> dict[str, Any]:
    """Hardware, operating system, Python and the versions that matter; no names of people or hosts."""
    return {
        **processor(),
        "os": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := package_version(name))},
    }


def int8_weight_bits() -> int:
    """Bits of int8 weights with which no sum saturates: 8, or 7 on an x86 processor without VNNI.

    Such processors add two products of 8-bit numbers in 16 bits, which can overflow.
    """
    if platform.machine().lower() in ("arm64", "aarch64"):
        return 8
    try:
        known = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 7
    return 8 if "avx512_vnni" in known or "avx_vnni" in known else 7


def package_version(name: str) -> str:
    """The installed version, without importing the package; empty where it is absent."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


@cache
def nvidia_gpu() -> str:
    """Name, driver and memory of the first NVIDIA graphics processor; empty where the driver finds none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    command = [program, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return next(iter(done.stdout.splitlines()), "").strip()


def load_average() -> float | None:
    """Mean number of processes that wanted to run in the last minute; ``None`` where the system does not tell."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def governor() -> str | None:
    """How the system sets the first core's clock rate (``performance``, ``powersave`` ...); ``None`` where unknown."""
    try:
        return Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text(encoding="ascii").strip()
    except OSError:
        return None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.lower().startswith(("model name", "hardware")))
    return next(models, "") or platform.processor() or platform.machine()


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None
