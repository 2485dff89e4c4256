"""Convolutions of one to three spatial dimensions: plain, grouped, depthwise, with elastic kernels."""

from __future__ import annotations

from typing import Any, final

from torch import nn

from archsmith.errors import InvalidModel
from archsmith.method import OURS
from archsmith.structure.axes import Axis, Elastic, Kernel, as_axis, split_leading
from archsmith.structure.policies import policy_named
from archsmith.structure.rules._checks import axis_of, refuse_fields
from archsmith.structure.rules.base import Declared, Rule


@final
class Conv(Rule):
    """Convolutions: filters follow ``out``, their inputs ``into``, and ``groups`` what both sides have in common.

    With ``G`` groups both sides must be a product that starts with the groups: ``4 * w`` keeps four groups and
    narrows each, ``g * 8`` keeps the eight channels of a group and drops groups. ``over=w`` is a depthwise
    convolution, with a channel multiplier where the module has one.
    """

    paper = OURS

    def handles(self, module: nn.Module) -> bool:
        return isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d)

    def declare(self, where: str, module: nn.Module, elastic: Elastic) -> Declared:
        if not isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            raise TypeError(f"not a convolution: {module}")
        refuse_fields(where, "convolution", elastic, "out", "into", "over", "kernel")
        out, into = _sides(where, module, elastic)
        groups, per_group = _groups(where, module.groups, out, into, (module.out_channels, module.in_channels))
        spatial = (None,) * len(module.kernel_size)
        tensors: dict[str, tuple[Axis | None, ...]] = {"weight": (out, per_group, *spatial)}
        if module.bias is not None:
            tensors["bias"] = (out,)
        follow = {"out_channels": out, "in_channels": into, "groups": groups}
        attributes: dict[str, Axis | tuple[Axis, ...]] = {k: a for k, a in follow.items() if a is not None}
        if elastic.kernel is None:
            return Declared(tensors, attributes, ("weight", 1))
        sizes = kernel_attributes(where, module, elastic.kernel)
        return Declared(tensors, attributes, ("weight", 1), elastic.kernel, sizes)


def _sides(where: str, module: nn.modules.conv._ConvNd, elastic: Elastic) -> tuple[Axis | None, Axis | None]:
    if elastic.over is None:
        out = axis_of(where, "out", elastic.out, module.out_channels)
        return out, axis_of(where, "into", elastic.into, module.in_channels)
    if elastic.out is not None or elastic.into is not None:
        raise InvalidModel(f"{where}: over= says both sides at once; leave out= and into= away")
    if module.groups != module.in_channels:
        raise InvalidModel(
            f"{where}: over= is for depthwise convolutions (groups == in_channels), but it has {module.groups} groups "
            f"of {module.in_channels} channels; give out= and into="
        )
    into = axis_of(where, "over", elastic.over, module.in_channels)
    return as_axis(elastic.over) * (module.out_channels // module.in_channels), into


def _groups(
    where: str, groups: int, out: Axis | None, into: Axis | None, channels: tuple[int, int]
) -> tuple[Axis | None, Axis | None]:
    """The axes of the number of groups and of the inputs of one group."""
    if groups == 1:
        return None, into
    sides = [split_leading(axis or as_axis(n), groups) for axis, n in zip((out, into), channels, strict=True)]
    if sides[0] is None or sides[1] is None:
        raise InvalidModel(
            f"{where}: with {groups} groups both sides start with the groups, such as {groups} * w or g * 8; got "
            f"out={out or channels[0]} and into={into or channels[1]}"
        )
    if sides[0][0] != sides[1][0]:
        raise InvalidModel(
            f"{where}: its groups are {sides[0][0]} in out={out or channels[0]} but {sides[1][0]} in "
            f"into={into or channels[1]}; both sides must start with the same groups"
        )
    leading, per_group = sides[1]
    return (leading if leading.widths else None), (per_group if per_group.widths else None)


def kernel_attributes(where: str, module: nn.modules.conv._ConvNd, kernel: Kernel) -> dict[int, dict[str, Any]]:
    """Kernel size -> kernel size and padding per dimension; the output keeps its size."""
    policy_named(kernel.policy)
    largest = kernel.options[-1]
    if set(module.kernel_size) != {largest}:
        raise InvalidModel(
            f"{where}: kernel {kernel.choice!r} is {largest} at its largest, but the module has {module.kernel_size}; "
            "elastic kernels are square, and their largest option is the size in the model"
        )
    found: dict[int, dict[str, Any]] = {}
    for size in kernel.options:
        attributes: dict[str, Any] = {"kernel_size": (size,) * len(module.kernel_size)}
        if isinstance(module.padding, str):
            if module.padding == "valid" and len(kernel.options) > 1:
                raise InvalidModel(f"{where}: padding='valid' changes the output size with the kernel; take 'same'")
            pads = [d * (size - 1) for d in module.dilation]
            both = [p for total in reversed(pads) for p in (total // 2, total - total // 2)]
        else:
            less = [d * (largest - size) // 2 for d in module.dilation]
            padding = tuple(p - x for p, x in zip(module.padding, less, strict=True))
            if min(padding) < 0:
                raise InvalidModel(
                    f"{where}: padding {module.padding} is too small for kernel {size} instead of {largest}: the "
                    f"output size would change; give padding of at least {tuple(less)} or leave {size} out"
                )
            attributes["padding"] = padding
            both = [p for p in reversed(padding) for _ in range(2)]
        attributes["_reversed_padding_repeated_twice"] = both if isinstance(module.padding, str) else tuple(both)
        found[size] = attributes
    return found
