"""Quantisation inside the search: a precision for every layer, as choices beside those of the architecture.

The owner of these choices is the device; a supernet's plans do not depend on them (SimQ-NAS, Sridhar et al. 2023,
arXiv:2312.13301).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Literal, get_args

from archsmith.architecture import Architecture, Option
from archsmith.errors import InvalidModel, InvalidOption, MissingExtra, UserError, unknown
from archsmith.export.onnx_tools.by_position import positional
from archsmith.export.onnx_tools.fast_exporter import candidate_onnx
from archsmith.export.onnx_tools.inputs import resized
from archsmith.export.onnx_tools.quantising import (
    ESTIMATORS,
    FULL_PRECISION,
    PRECISIONS,
    Estimator,
    Policy,
    Quantisable,
)
from archsmith.hardware import Device, open_device
from archsmith.progress import SILENT, Reporter
from archsmith.space import Choice, ChoiceSpace
from archsmith.supernet.supernet import Supernet

OWNER = "device"
"""Owner of the choices of precisions."""
NAME_SUFFIX = ".precision"
"""Suffix of their names, after the name of the layer or block."""

Per = Literal["layer", "block"]


@dataclass(frozen=True, kw_only=True)
class Precisions:
    """In which precisions layers may compute.

    Args:
        options: of ``"fp32"``, ``"int8"`` (weights and activations) and ``"int4"`` (weights only, of matrix products);
            with a single one, every layer that can have it gets it, and there is no choice.
        per: ``"layer"``: each layer has a choice of its own; ``"block"``: the layers of a block share one.
        keep: names of layers that stay in fp32; ``*`` stands for anything.
        ranges: how activations' ranges are read off the calibration data: ``"minmax"``, or ``"percentile"`` without
            the outermost in 10,000.
        items: inputs of the calibration data that ranges are read off.

    Raises:
        InvalidOption: for anything else.
    """

    options: tuple[str, ...] = (FULL_PRECISION, "int8")
    per: Per = "layer"
    keep: tuple[str, ...] = ()
    ranges: Estimator = "minmax"
    items: int = 64

    def __post_init__(self) -> None:
        for name in ("options", "keep"):
            if isinstance(given := getattr(self, name), str):
                raise InvalidOption(f"{name} of precisions is a tuple of texts, got {given!r}")
        for name in self.options:
            if name == "bf16":
                raise InvalidOption("bf16 is a precision of whole networks: on='openvino:precision=bf16'")
            if name not in PRECISIONS:
                raise unknown("precision of layers", name, PRECISIONS)
        if not self.options:
            raise InvalidOption(f"precisions needs one at least of {', '.join(PRECISIONS)}")
        object.__setattr__(self, "options", tuple(p for p in PRECISIONS if p in self.options))
        for name, value, allowed in (("per", self.per, get_args(Per)), ("ranges", self.ranges, ESTIMATORS)):
            if value not in allowed:
                raise InvalidOption(f"{name}={value!r} of precisions must be one of {', '.join(allowed)}")
        if isinstance(self.items, bool) or not isinstance(self.items, int) or self.items < 1:
            raise InvalidOption(f"items={self.items!r} of precisions must be a whole number from 1 on")

    @classmethod
    def of(cls, given: str | Sequence[str] | Precisions | None, **more: Any) -> Precisions | None:
        """Read the value of ``search(precisions=...)``; ``None`` where nothing is quantised.

        >>> Precisions.of("int8,fp32", per="block")
        Precisions(options=('fp32', 'int8'), per='block', keep=(), ranges='minmax', items=64)
        """
        if not given:
            return None
        if not isinstance(given, Precisions):
            names: Any = given.split(",") if isinstance(given, str) else given
            if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
                raise InvalidOption(f"precisions={given!r} must be one or several of {', '.join(PRECISIONS)} as text")
            given = cls(options=tuple(name.strip() for name in names), **more)
        return None if given.options == (FULL_PRECISION,) else given

    def check(self, devices: Mapping[str, Device]) -> None:
        """Refuse precisions that the devices cannot run.

        Raises:
            InvalidOption: naming the precisions of each.
        """
        for device in devices.values():
            if wrong := [p for p in self.options if p != FULL_PRECISION and p not in device.layer_precisions]:
                can = ", ".join(device.layer_precisions)
                raise InvalidOption(
                    f"{device.spec} cannot run single layers in {', '.join(wrong)}; "
                    + (f"it can in {can}" if can else "onnxruntime and openvino can")
                )

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}


@dataclass(frozen=True)
class JointSpace:
    """A supernet's architectures times precisions of their layers.

    Args:
        own: the supernet's space.
        wanted: what may be chosen.
        fixed: layer or block -> its only precision.
        choices: of precision; conditions refer to choices of ``own``.
    """

    own: ChoiceSpace
    wanted: Precisions
    fixed: Mapping[str, str]
    choices: tuple[Choice, ...] = field(default=())

    @classmethod
    def of(cls, supernet: Supernet, wanted: Precisions) -> JointSpace:
        """Find the choices in the file of the largest network.

        Raises:
            InvalidModel: for a network that cannot be quantised.
            InvalidOption: for unknown layers in ``keep``.
        """
        layers = layers_of(supernet)
        kept = {name for name in layers if any(fnmatchcase(name, pattern) for pattern in wanted.keep)}
        for pattern in wanted.keep:
            if not any(fnmatchcase(name, pattern) for name in layers):
                raise unknown("layer", pattern, layers)
        groups: dict[str, list[str]] = {}
        for layer in layers:
            if layer not in kept:
                groups.setdefault(block_of(layer) if wanted.per == "block" else layer, []).append(layer)
        choices, fixed, gates = [], dict.fromkeys(sorted(kept), FULL_PRECISION), _gates(supernet)
        for name, members in groups.items():
            can = [p for p in wanted.options if all(p in layers[layer] for layer in members)]
            if len(can) < 2:
                fixed |= dict.fromkeys([name], can[0] if can else FULL_PRECISION)
                continue
            when = next((w for w, gone in gates if all(_within(layer, gone) for layer in members)), None)
            choices.append(Choice(f"{name}{NAME_SUFFIX}", tuple(can), "categorical", when, OWNER))
        if not choices and {*fixed.values()} == {FULL_PRECISION}:
            raise InvalidModel(f"no layer of this network can be in {', '.join(wanted.options)}; leave out precisions")
        if both := [c.name for c in choices if c.name in supernet.space.names]:
            raise InvalidModel(f"the network has a choice called {both[0]}; rename its module")
        return cls(supernet.space, wanted, fixed, tuple(choices))

    @classmethod
    def from_json(cls, own: ChoiceSpace, data: Mapping[str, Any]) -> JointSpace:
        """The inverse of :meth:`to_json`, for the same supernet."""
        wanted: Any = {name: tuple(v) if isinstance(v, list) else v for name, v in data["wanted"].items()}
        choices = tuple(Choice.from_json(c) for c in data["choices"])
        return cls(own, Precisions(**wanted), dict(data["fixed"]), choices)

    def to_json(self) -> dict[str, Any]:
        """Plain data: a run stores it, so that it resumes with the same space."""
        return {
            "wanted": self.wanted.to_json(),
            "fixed": dict(self.fixed),
            "choices": [c.to_json() for c in self.choices],
        }

    @cached_property
    def space(self) -> ChoiceSpace:
        """The product of both, which a strategy searches.

        Symmetries of the supernet's choices do not hold here: their precisions would have to be swapped too.
        """
        if not self.choices:
            return self.own
        return ChoiceSpace((*self.own.choices, *self.choices), self.own.constraints, name=self.own.name)

    def split(self, arch: Architecture) -> tuple[Architecture, Policy]:
        """The supernet's architecture, and the precision of every layer."""
        values = arch.to_dict()
        chosen = {c.name.removesuffix(NAME_SUFFIX): str(values[c.name]) for c in self.choices if c.name in values}
        policy = Policy({**self.fixed, **chosen})
        if not self.choices:
            return arch, policy
        own = {name: value for name, value in values.items() if name in self.own.forest.columns}
        return self.own.architecture(own), policy

    def join(self, arch: Architecture, precision: str = FULL_PRECISION) -> Architecture:
        """A supernet's architecture, every layer in ``precision``, or in the widest one that is allowed."""
        values: dict[str, Option] = arch.to_dict()
        for choice in self.choices:
            values[choice.name] = precision if precision in choice.options else choice.options[0]
        return self.space.architecture(values)


def layers_of(supernet: Supernet) -> dict[str, tuple[str, ...]]:
    """Layer of the largest network -> the precisions that it can have, in the order in which layers run.

    Raises:
        InvalidModel: when it cannot be exported, or has no layers with weights.
    """
    network = positional(supernet.extract(supernet.largest, calibrated=False), supernet.input_names)
    try:
        content = candidate_onnx(network, resized(supernet.inputs_of(supernet.largest), 1))
    except MissingExtra:
        raise
    except Exception as error:  # exporters raise many kinds
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise InvalidModel(f"the network cannot be quantised, since it cannot be exported: {lines[0][:300]}") from error
    names = [name for name, _ in supernet.model.named_modules()]
    found = {layer: can for layer, can in Quantisable(content, names).layers.items() if layer}
    if not found:
        raise InvalidModel("no layer with weights is found in the network's file; leave out precisions")
    return found


def block_of(layer: str) -> str:
    """The block that a layer is in: up to the last number in its name that has a name after it.

    >>> block_of("encoder.layer.3.attention.self.query"), block_of("layer1.0.downsample.0"), block_of("conv1")
    ('encoder.layer.3', 'layer1.0', 'conv1')
    """
    parts = layer.split(".")
    last = max((i for i, part in enumerate(parts[:-1]) if part.isdigit()), default=None)
    return layer if last is None else ".".join(parts[: last + 1])


def _gates(supernet: Supernet) -> list[tuple[tuple[str, tuple[Option, ...]], frozenset[str]]]:
    """Choices of the supernet that leave modules out: the options with which these run, and the modules."""
    found: dict[tuple[str, tuple[Option, ...]], set[str]] = {}
    largest = supernet.largest.to_dict()
    for choice in supernet.space.choices:
        gone: dict[Option, frozenset[str]] = {}
        for option in choice.options:
            try:
                arch = supernet.space.architecture({**largest, choice.name: option})
            except UserError:  # a constraint forbids this option alone, or the choice is inactive
                continue
            pieces = supernet.pieces(arch, calibrated=False)
            gone[option] = frozenset((*pieces.dropped, *pieces.silenced))
        for module in frozenset().union(*gone.values()):
            runs = tuple(o for o in choice.options if module not in gone.get(o, frozenset()))
            if runs:
                found.setdefault((choice.name, runs), set()).add(module)
    return [(when, frozenset(modules)) for when, modules in found.items()]


def _within(layer: str, modules: Iterable[str]) -> bool:
    return any(layer == module or layer.startswith(f"{module}.") for module in modules)


def precisions_on(on: Mapping[str, str], wanted: str | Sequence[str] | Precisions | None = None) -> Precisions | None:
    """The precisions that layers may have on these devices; ``None`` where nothing is quantised.

    Args:
        on: devices by name; one of precision int8 has all layers in int8.
        wanted: what may be chosen.

    Raises:
        InvalidOption: for precisions that a device cannot run, or devices that contradict each other.
    """
    devices = {name: open_device(spec) for name, spec in on.items()}
    asked = Precisions.of(wanted)
    whole = [d.spec for d in devices.values() if d.precision == "int8"]
    if whole and asked is not None:
        raise InvalidOption(f"{whole[0]} has every layer in int8; leave out its precision, or precisions")
    if whole and len(whole) < len(devices):
        raise InvalidOption(f"{whole[0]} computes in int8 and another device does not; give precisions='int8' instead")
    if whole:
        asked = Precisions(options=("int8",))
    if asked is not None:
        asked.check(devices)
    return asked


def joint_space(
    supernet: Supernet,
    wanted: Precisions | None,
    *,
    kept: Mapping[str, Any] | None = None,
    reporter: Reporter = SILENT,
) -> JointSpace | None:
    """The precisions of a supernet's layers; ``None`` where nothing is quantised.

    Args:
        supernet: the network with these layers.
        wanted: what may be chosen.
        kept: the stored space of a run that is resumed; used instead.
        reporter: gets progress: the largest network is exported, which takes seconds.

    Raises:
        InvalidOption: for unknown layers in ``keep``.
        InvalidModel: for a network that cannot be quantised.
    """
    if kept is not None:
        return JointSpace.from_json(supernet.space, kept)
    if wanted is None:
        return None
    reporter.at("quantise").progress("exporting the largest network to find its layers")
    found = JointSpace.of(supernet, wanted)
    reporter.at("quantise").progress(f"{len(found.choices)} choices of {', '.join(wanted.options)}", 1, 1)
    return found
