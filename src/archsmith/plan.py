"""What an architecture means for every tensor of a supernet: pure data, NumPy and JSON only.

A plan is the only source for running, extracting, exporting, counting and inheriting weights.
Names are fully qualified: ``"stage1.0.conv1.weight"`` for tensors, ``"stage1.0.conv1"`` for modules.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from archsmith.forms import reading

Index = None | int | tuple[int, ...]
"""Along one dimension: ``None`` keeps all, an integer ``n`` the first ``n``, a tuple these positions in order."""


class _Policy(TypedDict):
    name: str
    options: dict[str, Any]


class _Kept(TypedDict):
    """What is kept of a tensor, as JSON."""

    index: list[int | list[int] | None]
    policy: _Policy | None


class _Written(TypedDict):
    """A plan as JSON."""

    tensors: dict[str, _Kept]
    attributes: dict[str, dict[str, Any]]
    switches: dict[str, int]
    depths: dict[str, int]
    skipped: list[str]
    stand_ins: NotRequired[dict[str, list[Any]]]
    inputs: NotRequired[dict[str, tuple[int, int]]]


@dataclass(frozen=True)
class WeightPolicy:
    """How a parameter's values are computed after it has been sliced.

    Args:
        name: of the policy, such as ``"centre_crop"`` or ``"kernel_transform"``.
        options: plain JSON data; a policy that learns names its tensors of the supernet here.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TensorPlan:
    """What is kept of one parameter or buffer: an index per dimension, then optionally a weight policy."""

    index: tuple[Index, ...]
    policy: WeightPolicy | None = None


@dataclass(frozen=True)
class Plan:
    """Everything that one architecture changes in the largest network; what is not named stays whole.

    Args:
        tensors: parameter or buffer name -> what is kept of it.
        attributes: module name -> attribute -> value that it has in the subnet (``groups``, ``kernel_size`` ...).
        switches: name of a ``Switch`` module -> number of the option that runs.
        depths: name of a ``Depth`` module -> how many of its blocks run.
        skipped: names of the ``Optional`` modules that do not run, of blocks removed from their container, and of
            branches that return zeros.
        overrides: buffer name -> array that replaces the sliced one (calibrated batch-norm statistics).
        stand_ins: branch in ``skipped`` -> which of its inputs passes through, and what it returns instead, as
            :mod:`archsmith.structure.passing` describes; branches with one tensor in and out need none.
        inputs: input of a call (its position in digits, or its name) -> height and width of its images.
    """

    tensors: Mapping[str, TensorPlan] = field(default_factory=dict)
    attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    switches: Mapping[str, int] = field(default_factory=dict)
    depths: Mapping[str, int] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    overrides: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    stand_ins: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    inputs: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def with_overrides(self, overrides: Mapping[str, NDArray[Any]]) -> Plan:
        """The same plan with other calibrated buffers."""
        return replace(self, overrides=dict(overrides))

    def to_json(self) -> dict[str, Any]:
        """Plain data without the overrides, which travel with the weights; :meth:`from_json` reads it back."""
        return {
            "tensors": {name: _tensor_to_json(t) for name, t in self.tensors.items()},
            "attributes": {module: dict(values) for module, values in self.attributes.items()},
            "switches": dict(self.switches),
            "depths": dict(self.depths),
            "skipped": list(self.skipped),
            **({"stand_ins": dict(self.stand_ins)} if self.stand_ins else {}),
            **({"inputs": dict(self.inputs)} if self.inputs else {}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        """The inverse of :meth:`to_json`; lists in attributes come back as tuples.

        Raises:
            DamagedFile: when ``data`` has another form.
        """
        with reading("a plan", data, _Written):
            attributes = {m: {a: _untuple(v) for a, v in values.items()} for m, values in data["attributes"].items()}
            return cls(
                {name: _tensor_from_json(t) for name, t in data["tensors"].items()},
                attributes,
                dict(data["switches"]),
                dict(data["depths"]),
                tuple(data["skipped"]),
                stand_ins={name: _untuple(v) for name, v in data.get("stand_ins", {}).items()},
                inputs={name: _untuple(v) for name, v in data.get("inputs", {}).items()},
            )

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits; equal plans have equal fingerprints (overrides aside)."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:16]


def positions(index: Index, size: int) -> NDArray[np.int64]:
    """The positions that ``index`` keeps of a dimension of ``size``.

    >>> positions(2, 4).tolist(), positions((0, 3), 4).tolist(), positions(None, 3).tolist()
    ([0, 1], [0, 3], [0, 1, 2])
    """
    if index is None:
        return np.arange(size)
    return np.arange(index) if isinstance(index, int) else np.asarray(index, dtype=np.int64)


def _tensor_to_json(tensor: TensorPlan) -> dict[str, Any]:
    index = [list(i) if isinstance(i, tuple) else i for i in tensor.index]
    policy = tensor.policy and {"name": tensor.policy.name, "options": dict(tensor.policy.options)}
    return {"index": index, "policy": policy}


def _tensor_from_json(data: Mapping[str, Any]) -> TensorPlan:
    index = tuple(tuple(i) if isinstance(i, list) else i for i in data["index"])
    policy = data["policy"] and WeightPolicy(data["policy"]["name"], data["policy"]["options"])
    return TensorPlan(index, policy)


def _untuple(value: Any) -> Any:
    """Lists as tuples, at every depth."""
    return tuple(_untuple(v) for v in value) if isinstance(value, list | tuple) else value
