"""Subnets of transformers models as the model's own class builds them from a smaller configuration.

All layers are alike in them, since a configuration cannot express more. Which entry of the configuration is which size
is not looked up but solved: an entry whose value is the full size of an axis becomes the axis's size in the subnet.
Where several axes have that size, the combination is taken with which the class builds exactly the subnet's tensors.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from archsmith.architecture import Architecture
from archsmith.discovery.tracing import Trace, fixed_outputs
from archsmith.errors import InvalidModel
from archsmith.graph.readers.kit.recorder import Inputs, meta_copy
from archsmith.running.extraction import extracted
from archsmith.structure.axes import Axis, Numbers
from archsmith.structure.blocks import Blocks
from archsmith.structure.structure import Structure

MAX_CONFIGURATIONS = 256
"""How many configurations are tried for one architecture."""
TOLERANCE = 1e-12
"""Of what the class computes against the subnet, relative to the largest output: the same operators on the same sizes
give the same bits, and a scale that follows a size shows."""
_INNER = ("n_inner", "ffn_dim", "intermediate_size")
"""Entries that may be absent; transformers then computes them from others."""
RANDOM_ARCHITECTURES = 5
"""How many random architectures are built before a space is offered."""

Shapes = dict[str, tuple[int, ...]]


def couple_hidden_size(model: nn.Module, trace: Trace) -> None:
    """Where a configuration has no head size of its own, heads x head size is the hidden size.

    Args:
        model: with its ``config``.
        trace: of it; dimensions in it are equated.

    Raises:
        InvalidModel: for a model without a configuration.
    """
    sizes = set(_entries(_config(model)).values())
    for dims in trace.tensors.values():
        if len(dims) != 2:
            continue
        for inner, outer in (dims, dims[::-1]):
            segments = trace.algebra.resolved(inner)
            free = [a for a in segments[0] if not a.frozen] if len(segments) == 1 else []
            both = int(np.prod([a.size for a in free]))
            if len(free) == 2 and free[1].size not in sizes and trace.algebra.size(outer) == both:
                trace.algebra.unify([tuple(free)], outer, "the configuration has one size for both")


class Stock:
    """Builds subnets as the model's own class does.

    Args:
        model: with a ``config`` from which its class builds it.
        structure: what is elastic in it.

    Raises:
        InvalidModel: for a model without a configuration.
    """

    def __init__(self, model: nn.Module, structure: Structure) -> None:
        self._class: Any = type(model)
        self._model = model
        self._given, self._structure = _config(model), structure
        self._meta = meta_copy(model)

    def config(self, architecture: Architecture) -> Any:
        """The configuration from which the class builds ``architecture``.

        Raises:
            InvalidModel: where there is none.
        """
        numbers = self._structure.numbers(architecture)
        wanted = _shapes(extracted(self._meta, self._structure.plan(numbers), numbers, {}))
        for changes in self._readings(numbers):
            config = copy.deepcopy(self._given)
            for entry, value in changes.items():
                setattr(config, entry, value)
            if self._built(config) == wanted:
                return config
        raise InvalidModel(f"no configuration of {self._class.__name__} builds {architecture}")

    def build(self, architecture: Architecture, network: nn.Module) -> nn.Module:
        """``architecture`` built from its configuration, with the weights of its extracted ``network``.

        Raises:
            InvalidModel: where no configuration expresses it.
        """
        built: nn.Module = self._class(self.config(architecture))
        built.load_state_dict(network.state_dict())
        return built.to(next(network.parameters())).eval()

    def faults(self, inputs: Inputs) -> dict[str, str]:
        """Choices that no configuration expresses, or that change what the class computes -> why; one at a time."""
        space = self._structure.space
        largest, rng = space.largest().to_dict(), np.random.default_rng(0)
        for choice in space.choices:
            one = space.architecture({**largest, choice.name: choice.options[0]})
            if not self._can(one):
                return {choice.name: f"no configuration of {self._class.__name__} expresses it"}
            if (gap := self._gap(one, inputs)) > TOLERANCE:
                return {choice.name: f"{self._class.__name__} computes otherwise at other sizes: off by {gap:.2g}"}
        for architecture in (space.smallest(), *space.sample(RANDOM_ARCHITECTURES, rng)):
            if not self._can(architecture):
                name = next(n for n, v in architecture.to_dict().items() if v != largest[n])
                return {name: f"no configuration of {self._class.__name__} expresses it together with others"}
        return {}

    def _can(self, architecture: Architecture) -> bool:
        try:
            self.config(architecture)
        except InvalidModel:
            return False
        return True

    def _gap(self, architecture: Architecture, inputs: Inputs) -> float:
        """How far the class's network is from the subnet, relative to the largest output."""
        if any(t.device.type == "meta" for t in self._model.parameters()):
            return 0.0
        numbers = self._structure.numbers(architecture)
        network = extracted(self._model, self._structure.plan(numbers), numbers, {})
        with torch.no_grad():
            ours, theirs = (
                fixed_outputs(m(*inputs[0], **inputs[1])) for m in (network, self.build(architecture, network))
            )
        return max(
            float((a - b).abs().max() / a.abs().max().clamp_min(1e-30))
            for a, b in zip(ours, theirs, strict=True)
            if a.is_floating_point()
        )

    def _built(self, config: Any) -> Shapes:
        try:
            with torch.device("meta"):
                return _shapes(self._class(config))
        except Exception:  # noqa: BLE001 - a configuration that contradicts itself builds nothing
            return {}

    def _readings(self, numbers: Numbers) -> Iterator[dict[str, int | None]]:
        """New values for the entries of the configuration; the likeliest first."""
        found = self._changed(numbers)
        entries: dict[str, list[int | None]] = {
            name: [*found[value], value] for name, value in _entries(self._given).items() if value in found
        }
        for name in _INNER:
            if getattr(self._given, name, 0) is None:
                single = (axis for axis in _axes(self._structure) if len(axis.widths) == 1)
                entries[name] = [None, *sorted({axis.size(numbers) for axis in single})]
        for values in itertools.islice(itertools.product(*entries.values()), MAX_CONFIGURATIONS):
            yield dict(zip(entries, values, strict=True))

    def _changed(self, numbers: Numbers) -> dict[int, dict[int, None]]:
        """Full size -> the other sizes that something of that size has in a subnet, in order."""
        found: dict[int, dict[int, None]] = {}
        for part in dict.fromkeys(part for axis in _axes(self._structure) for part in _parts(axis)):
            if part.size(numbers) != part.full:
                found.setdefault(part.full, {})[part.size(numbers)] = None
        for container in self._structure.containers.values():
            if isinstance(container, Blocks):
                kept = container.options[numbers[container.name]]
                if kept != len(container.children):
                    found.setdefault(len(container.children), {})[kept] = None
        return found


def _parts(axis: Axis) -> Iterator[Axis]:
    """An axis, and the products of neighbouring factors in it: heads are a factor of a projection's outputs."""
    yield axis
    for segment in dict.fromkeys(axis.segments):
        for start, stop in itertools.combinations(range(len(segment) + 1), 2):
            yield Axis((segment[start:stop],))


def _axes(structure: Structure) -> Iterator[Axis]:
    for declared in structure.declared.values():
        yield from declared.axes
        for follows in declared.attributes.values():
            yield from follows if isinstance(follows, tuple) else (follows,)


def _config(model: nn.Module) -> Any:
    config = getattr(model, "config", None)
    if config is None or not hasattr(config, "to_dict"):
        raise InvalidModel(
            f"homogeneous subnets are built from a transformers configuration, and {type(model).__name__} has none; "
            "leave out homogeneous=True"
        )
    return config


def _entries(config: Any) -> Mapping[str, int]:
    """The whole numbers in a configuration."""
    return {n: v for n, v in config.to_dict().items() if type(v) is int and v > 1 and not n.endswith("token_id")}


def _shapes(model: nn.Module) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
