"""The time of each operator of a network, as its runtime reports it."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from archsmith.errors import require
from archsmith.export.onnx_tools.scopes import NAME_SCOPES


@dataclass(frozen=True)
class OperatorTime:
    """One operator as the runtime runs it; it may be several of the file's operators, fused.

    Args:
        name: the runtime's.
        kind: such as ``"Conv"``.
        ms: milliseconds in one call of the network, a mean over calls.
        module: path of the module that it comes from; empty where the file does not record it.
    """

    name: str
    kind: str
    ms: float
    module: str = ""


@dataclass(frozen=True)
class Profile:
    """The operators of one network, the slowest first.

    Args:
        device: that it was profiled on.
        calls: that the times are means of.
        operators: with their times.
    """

    device: str
    calls: int
    operators: tuple[OperatorTime, ...]

    @property
    def total_ms(self) -> float:
        """Sum over the operators, the profiler's overhead included; the runtime's work between them is not."""
        return sum(o.ms for o in self.operators)

    def by_kind(self) -> dict[str, tuple[int, float]]:
        """Kind -> number of operators and their milliseconds, the slowest kind first."""
        return _summed((o.kind, o.ms) for o in self.operators)

    def by_module(self, depth: int = 2) -> dict[str, tuple[int, float]]:
        """Module -> number of operators and their milliseconds; of longer paths the first ``depth`` names."""
        return _summed((".".join(o.module.split(".")[:depth]) or "(the runtime)", o.ms) for o in self.operators)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"device": self.device, "calls": self.calls, "operators": [asdict(o) for o in self.operators]}


def profile_of(device: str, calls: int, times: Mapping[tuple[str, str], float], path: str) -> Profile:
    """A profile from the times that a runtime reported.

    Args:
        device: its spec.
        calls: of the network.
        times: name and kind of an operator -> milliseconds in all calls together.
        path: of the file, which may record the modules.
    """
    modules = modules_of(path)
    found = [
        OperatorTime(name, kind, ms / calls, modules.get(name) or _of_fused(name, modules))
        for (name, kind), ms in times.items()
    ]
    return Profile(device, calls, tuple(sorted(found, key=lambda o: (-o.ms, o.name))))


def modules_of(path: str) -> dict[str, str]:
    """Name of an operator, or of its output -> path of its module, as torch's exporter writes it into ONNX files."""
    onnx = require("onnx", extra="onnx", purpose="Reading ONNX files")
    if not Path(path).is_file():
        return {}
    found: dict[str, str] = {}
    for node in onnx.load(path, load_external_data=False).graph.node:
        for entry in node.metadata_props:
            if entry.key == NAME_SCOPES:
                scopes = ast.literal_eval(entry.value)  # modules from the outermost in, and last the operator itself
                module = next((s for s in reversed(scopes[:-1]) if s), "").removeprefix("network.")
                # runtimes name operators that they have changed after their outputs
                found |= dict.fromkeys([node.name, *node.output], module)
    return found


def _of_fused(name: str, modules: Mapping[str, str]) -> str:
    """The module of the longest known name that a fused operator's name contains."""
    inside = [known for known in modules if known and known in name]
    return modules[max(inside, key=len)] if inside else ""


def _summed(pairs: Iterable[tuple[str, float]]) -> dict[str, tuple[int, float]]:
    counts: dict[str, int] = defaultdict(int)
    sums: dict[str, float] = defaultdict(float)
    for name, ms in pairs:
        counts[name] += 1
        sums[name] += ms
    return {name: (counts[name], sums[name]) for name in sorted(sums, key=lambda n: -sums[n])}
