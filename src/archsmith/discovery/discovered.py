"""From a trace to what is elastic: choices with their options, and the axes of every tensor and attribute."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from math import prod
from typing import Any

from torch import nn

from archsmith.discovery.blocks import found_blocks, found_branches
from archsmith.discovery.dimensions import Dim
from archsmith.discovery.elasticity import Elasticity
from archsmith.discovery.naming import AtomMember, members
from archsmith.discovery.operators.base import Dims
from archsmith.discovery.tracing import Trace
from archsmith.errors import InvalidModel, InvalidOption
from archsmith.structure.axes import Axis, Factor, Kernel, Segment, Width, as_axis
from archsmith.structure.blocks import Blocks, Branch
from archsmith.structure.resolution import Resolution
from archsmith.structure.rules.base import Declared
from archsmith.structure.rules.conv import kernel_attributes


@dataclass(frozen=True)
class Discovered:
    """What a trace shows of a model, restricted to what the user wants.

    Args:
        declared: module -> axes of its tensors and attributes.
        blocks: container -> its depth, or a residual branch -> whether it runs.
        widths: choice of its own (before ties) -> the atom's member and its options.
        rigid: choice, tensor or block -> why it does not vary.
        axis: gives the axis of a dimension of the trace; ``None`` where nothing in it varies.
        resolution: the size of images, where that is a choice.
    """

    declared: Mapping[str, Declared]
    blocks: Mapping[str, Blocks | Branch]
    widths: Mapping[str, tuple[AtomMember, Width]]
    rigid: Mapping[str, str]
    axis: Callable[[Dim], Axis | None]
    resolution: Resolution | None = None


def discover(
    model: nn.Module,
    trace: Trace,
    wanted: Elasticity,
    dropped: Mapping[str, str],
    resolution: Resolution | None = None,
) -> Discovered:
    """What is elastic in a traced model.

    Args:
        model: the model of the trace.
        trace: one run of it.
        wanted: by the user.
        dropped: names of choices that were proved wrong, also of single sizes of images -> the reason.
        resolution: the size of images, where that is wanted as a choice.

    Raises:
        UnknownName: for a pattern that matches nothing.
        InvalidOption: for sizes that an atom does not have.
    """
    modules = dict(model.named_modules())
    tensors = {n: dims for n, dims in trace.tensors.items() if n.rpartition(".")[0] in modules}
    for dims in trace.attributes.values():
        for other in dims[1:]:
            trace.algebra.unify(dims[0], other, "one attribute is the size of both")
    rigid: dict[str, str] = {}
    atoms = members(trace, tensors)
    blocks: dict[str, Blocks | Branch] = {**found_blocks(model, trace, wanted.depth, rigid)}
    blocks |= found_branches(model, trace, rigid) if wanted.branches else {}
    kernels = _kernels(modules, wanted, rigid)
    choices = [*(m.name for m in atoms), *(b.name for b in blocks.values()), *(k.choice for k in kernels.values())]
    choices += [] if resolution is None else [resolution.name]
    wanted.check([*choices, *tensors, *modules], choices)

    def refused(name: str, places: Iterable[str]) -> bool:
        reason = dropped.get(name) or wanted.refusal(name, places)
        if reason:
            rigid[name] = reason
        return bool(reason)

    blocks = {p: wanted.deep(b) for p, b in blocks.items() if not refused(b.name, [p])}
    kernels = {m: k for m, k in kernels.items() if not refused(k.choice, [m])}
    if resolution is not None:
        wrong = {o: n for o in resolution.options if (n := resolution.option(o)) in dropped}
        rigid |= {n: dropped[n] for n in wrong.values()}
        left = tuple(o for o in resolution.options if o not in wrong)
        resolution = None if refused(resolution.name, []) or len(left) < 2 else replace(resolution, options=left)
    weights = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    widths = _widths(atoms, weights, wanted, refused, rigid)
    _check_ties(widths.values())
    axes = _Axes(trace, {id(m.atom): w for m, w in widths.values()})
    for name, dims in tensors.items():
        frozen = [a for d in dims for s in trace.algebra.resolved(d) for a in s if a.size > 1]
        if frozen and all(a.frozen for a in frozen):
            rigid[name] = "; ".join(dict.fromkeys(a.frozen for a in frozen))
    declared = _declared(modules, trace, tensors, axes, kernels)
    return Discovered(declared, blocks, widths, rigid, axes.of, resolution)


def _widths(
    atoms: Iterable[AtomMember],
    weights: set[str],
    wanted: Elasticity,
    refused: Callable[[str, Iterable[str]], bool],
    rigid: dict[str, str],
) -> dict[str, tuple[AtomMember, Width]]:
    """The choices that atoms become; ``rigid`` receives a reason for every other atom."""
    widths = {}
    for member in atoms:
        owners = (t.rpartition(".")[0] for t in member.tensors)
        if weights.isdisjoint(member.tensors):
            rigid[member.name] = "no weight has it, only buffers, such as the positions beyond those of the example"
        elif not refused(member.name, [*member.tensors, *owners]):
            sizes = wanted.sizes(member)
            if len(sizes) > 1:
                widths[member.name] = member, Width(wanted.shared(member.name), sizes, member.name)
            else:
                rigid[member.name] = (
                    f"its size, {member.atom.size}, leaves nothing to choose (multiple={wanted.multiple})"
                )
    return widths


class _Axes:
    """Reads dimensions as axes."""

    def __init__(self, trace: Trace, widths: Mapping[int, Width]) -> None:
        self._algebra, self._widths = trace.algebra, widths

    def of(self, dim: Dim) -> Axis | None:
        """The axis of a dimension, or ``None`` where nothing in it varies."""
        segments: list[Segment] = []
        for segment in self._algebra.resolved(dim):
            factors: list[Factor] = []
            for varies, run in groupby(segment, key=lambda a: id(a) in self._widths):
                atoms = list(run)
                if varies:
                    factors.extend(self._widths[id(a)] for a in atoms)
                else:
                    factors.append(prod(a.size for a in atoms))
            kept = tuple(f for f in factors if f != 1) or (1,)
            before, here = segments[-1] if segments else (), kept
            if len(before) == len(here) == 1 and isinstance(before[0], int) and isinstance(here[0], int):
                segments[-1] = (before[0] + here[0],)
            else:
                segments.append(kept)
        axis = Axis(tuple(segments))
        return axis if axis.widths else None


def _declared(
    modules: Mapping[str, nn.Module],
    trace: Trace,
    tensors: Mapping[str, Dims],
    axes: _Axes,
    kernels: Mapping[str, Kernel],
) -> dict[str, Declared]:
    """What varies of every module, in the order of the model."""
    held: dict[str, dict[str, tuple[Axis | None, ...]]] = {}
    for name, dims in tensors.items():
        found = tuple(axes.of(d) for d in dims)
        if any(found):
            owner, _, short = name.rpartition(".")
            held.setdefault(owner, {})[short] = found
    sizes: dict[str, dict[str, Any]] = {}
    for (owner, attribute, item), dims in trace.attributes.items():
        axis = axes.of(dims[0])
        if axis is not None:
            sizes.setdefault(owner, {}).setdefault(attribute, {})[item] = axis
    return {
        name: _declaration(name, module, held.get(name, {}), sizes.get(name, {}), kernels.get(name))
        for name, module in modules.items()
        if name in held or name in sizes or name in kernels
    }


def _declaration(
    name: str, module: nn.Module, held: Mapping[str, Any], sizes: Mapping[str, Any], kernel: Kernel | None
) -> Declared:
    """What varies of one module: axes of its tensors, sizes of its attributes (by item), its kernel."""
    tensors = dict(held)
    following: Mapping[int, Mapping[str, Any]] = {}
    if kernel is not None and isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        tensors.setdefault("weight", (None,) * module.weight.ndim)
        following = kernel_attributes(name, module, kernel)
    attributes = _shown(module, tensors)
    for attribute, items in sizes.items():
        attributes[attribute] = _whole(getattr(module, attribute), items)
    attributes |= _inputs_of_groups(module, tensors, attributes)
    return Declared(tensors, attributes, _consumed(module, tensors), kernel, following)


def _whole(value: Any, items: Mapping[int | None, Axis]) -> Axis | tuple[Axis, ...]:
    if None in items:
        return items[None]
    return tuple(items.get(i, Axis(((size,),))) for i, size in enumerate(value))


def _consumed(module: nn.Module, held: Mapping[str, tuple[Axis | None, ...]]) -> tuple[str, int] | None:
    """Where a module reads its inputs, for relaxed decisions."""
    reads = isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d) and "weight" in held
    return ("weight", 1) if reads and held["weight"][1] is not None else None


_SIZES: tuple[tuple[type[nn.Module], dict[str, tuple[str, int]]], ...] = (
    (nn.Linear, {"out_features": ("weight", 0), "in_features": ("weight", 1)}),
    (nn.modules.conv._ConvTransposeNd, {"in_channels": ("weight", 0), "out_channels": ("weight", 1)}),
    (nn.modules.conv._ConvNd, {"out_channels": ("weight", 0), "in_channels": ("weight", 1)}),
    (nn.modules.batchnorm._NormBase, {"num_features": ("running_mean", 0)}),
    (nn.modules.batchnorm._NormBase, {"num_features": ("weight", 0)}),
    (nn.GroupNorm, {"num_channels": ("weight", 0)}),
    (nn.Embedding, {"embedding_dim": ("weight", 1)}),
    (nn.RNNBase, {"hidden_size": ("weight_hh_l0", 1), "input_size": ("weight_ih_l0", 1)}),
)
"""Size attributes of torch's own modules; few of them are read in a forward pass."""


def _shown(module: nn.Module, held: Mapping[str, tuple[Axis | None, ...]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind, sizes in _SIZES:
        if isinstance(module, kind):
            for attribute, (tensor, dim) in sizes.items():
                axis = held[tensor][dim] if tensor in held else None
                if axis is not None and getattr(module, attribute, None) == axis.full:
                    found.setdefault(attribute, axis)
    return found


def _inputs_of_groups(
    module: nn.Module, held: Mapping[str, tuple[Axis | None, ...]], attributes: Mapping[str, Any]
) -> dict[str, Axis]:
    """The inputs of a grouped convolution: its groups times the channels that each of them reads."""
    if not isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d) or module.groups == 1:
        return {}
    each = held["weight"][1] if "weight" in held else None
    groups = attributes.get("groups")
    if each is None and groups is None:
        return {}
    one = module.in_channels // module.groups
    return {"in_channels": as_axis(groups or module.groups) * (each or one)}


def _kernels(modules: Mapping[str, nn.Module], wanted: Elasticity, rigid: dict[str, str]) -> dict[str, Kernel]:
    """Elastic kernels: of square odd convolutions of 5 and more."""
    found: dict[str, Kernel] = {}
    if wanted.kernel is None:
        return found
    for name, module in modules.items():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            largest = module.kernel_size[0]
            if len(set(module.kernel_size)) == 1 and largest >= 5 and largest % 2 and wanted.kernel < largest:
                smallest = wanted.kernel + 1 - wanted.kernel % 2
                kernel = Kernel(f"{name}.kernel" if name else "kernel", tuple(range(smallest, largest + 1, 2)))
                try:
                    kernel_attributes(name, module, kernel)
                except InvalidModel as error:
                    rigid[kernel.choice] = str(error)
                else:
                    found[name] = kernel
    return found


def _check_ties(widths: Iterable[tuple[AtomMember, Width]]) -> None:
    first: dict[str, tuple[AtomMember, Width]] = {}
    for member, width in widths:
        other, known = first.setdefault(width.choice, (member, width))
        if len(known.options) != len(width.options):
            raise InvalidOption(
                f"tie={width.choice!r}: {other.name} has the options {known.options} and {member.name} "
                f"{width.options}; what is tied shares the number of its options: give options={{pattern: shares}} "
                "that all of them have"
            )
