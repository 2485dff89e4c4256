"""Choice modules: places in a network where its structure is decided.

Outside a supernet they run as the largest network: a ``Switch`` its first option, an ``Optional`` its module, a
``Depth`` all its blocks.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from archsmith.architecture import Option
from archsmith.errors import InvalidModel
from archsmith.plan import Plan
from archsmith.space import Choice
from archsmith.space.choice import Condition, Kind

Copy = Callable[[nn.Module], nn.Module]


class ChoiceModule(nn.Module):
    """What a supernet needs from every choice module. ``number`` is the number of an option, counted from 0."""

    name: str
    kind: Kind
    options: tuple[Option, ...]
    # A supernet shadows these three for the length of a call.
    _number: int | None
    _mixture: Tensor | None
    _gate: Tensor | None

    def _set_up(self, name: str, options: Sequence[Option], kind: Kind) -> None:
        self.name, self.options, self.kind = name, tuple(options), kind
        self._number = self._mixture = self._gate = None

    def choice(self, when: Condition | None) -> Choice:
        """Its choice, for the space."""
        return Choice(self.name, self.options, self.kind, when)

    @abstractmethod
    def runs(self, child: str) -> tuple[int, ...]:
        """Numbers of the options under which the child module ``child`` runs."""

    @abstractmethod
    def record(self, path: str, number: int, plan: dict[str, Any]) -> None:
        """Write the option into the fields of a plan under construction."""

    @abstractmethod
    def read(self, path: str, plan: Plan) -> int:
        """The option that a plan records."""

    @abstractmethod
    def plain(self, number: int, copy: Copy) -> nn.Module:
        """The plain module that replaces it on extraction."""

    def _gated(self, output: Tensor) -> Tensor:
        return output if self._gate is None else output * self._gate


class Switch(ChoiceModule):
    """One of several modules.

    Args:
        name: of the choice.
        options: option name -> module; the first one is what the largest network runs.

    Raises:
        InvalidModel: for fewer than two options, or names that cannot be keys of a ``state_dict``.
    """

    def __init__(self, name: str, options: Mapping[str, nn.Module]) -> None:
        super().__init__()
        if len(options) < 2:
            raise InvalidModel(f"Switch {name!r} needs two or more options, got {list(options)}; use the module itself")
        self._set_up(name, tuple(options), "categorical")
        if wrong := [o for o in options if not isinstance(o, str) or not o or "." in o or hasattr(self, o)]:
            raise InvalidModel(
                f"Switch {name!r}: option {wrong[0]!r} cannot name a module; use other words without dots"
            )
        for option, module in options.items():
            self.add_module(option, module)

    def forward(self, *inputs: Any) -> Any:
        modules = [module for module in self._modules.values() if module is not None]
        if self._mixture is None:
            return self._gated(modules[self._number or 0](*inputs))
        return sum(p * m(*inputs) for p, m in zip(self._mixture.unbind(), modules, strict=True))

    def runs(self, child: str) -> tuple[int, ...]:
        return (self.options.index(child),)

    def record(self, path: str, number: int, plan: dict[str, Any]) -> None:
        plan["switches"][path] = number

    def read(self, path: str, plan: Plan) -> int:
        return plan.switches[path]

    def plain(self, number: int, copy: Copy) -> nn.Module:
        return copy(getattr(self, str(self.options[number])))


class Optional(ChoiceModule):
    """A module that keeps the shape of its input and may be left out.

    Args:
        name: of the choice, whose options are ``False`` (skipped) and ``True``.
        module: runs or is skipped; extraction replaces the ``Optional`` by it, or by ``nn.Identity``.
    """

    def __init__(self, name: str, module: nn.Module) -> None:
        super().__init__()
        self._set_up(name, (False, True), "ordinal")
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        if self._mixture is not None:
            skip, keep = self._mixture.unbind()
            mixed: Tensor = skip * x + keep * self.module(x)
            return mixed
        output: Tensor = x if self._number == 0 else self.module(x)
        return self._gated(output)

    def runs(self, child: str) -> tuple[int, ...]:  # noqa: ARG002 - it has one child
        return (1,)

    def record(self, path: str, number: int, plan: dict[str, Any]) -> None:
        if number == 0:
            plan["skipped"].append(path)

    def read(self, path: str, plan: Plan) -> int:
        return int(path not in plan.skipped)

    def plain(self, number: int, copy: Copy) -> nn.Module:
        return copy(self.module) if number else nn.Identity()


class Depth(ChoiceModule):
    """A sequence of blocks of which the first ``depth`` run.

    Its ``state_dict`` keys are those of an ``nn.Sequential`` of the blocks, which replaces it on extraction.

    Args:
        name: of the choice.
        blocks: in order; from the smallest depth on each keeps the shape of its input.
        options: depths in ascending order; the largest is the number of blocks. ``None`` means ``1 .. len(blocks)``.

    Raises:
        InvalidModel: for depths that are not ascending or do not end at the number of blocks.
    """

    def __init__(self, name: str, blocks: Sequence[nn.Module], options: Sequence[int] | None = None) -> None:
        super().__init__()
        depths = tuple(range(1, len(blocks) + 1) if options is None else options)
        ascending = list(depths) == sorted(set(depths)) and all(isinstance(d, int) and d >= 0 for d in depths)
        if not depths or not ascending or depths[-1] != len(blocks):
            raise InvalidModel(
                f"Depth {name!r}: options ascend and end at the number of blocks, {len(blocks)}; got {depths}"
            )
        self._set_up(name, depths, "ordinal")
        self.depths = depths
        for i, block in enumerate(blocks):
            self.add_module(str(i), block)

    def forward(self, x: Tensor) -> Tensor:
        blocks = [b for b in self._modules.values() if b is not None]
        if self._mixture is not None:
            return self._mixed(x, blocks, self._mixture)
        for block in blocks if self._number is None else blocks[: self.depths[self._number]]:
            x = block(x)
        return self._gated(x)

    def _mixed(self, x: Tensor, blocks: list[nn.Module], mixture: Tensor) -> Tensor:
        weight = dict(zip(self.depths, mixture.unbind(), strict=True))
        parts = [weight[0] * x] if 0 in weight else []
        for depth, block in enumerate(blocks, start=1):
            x = block(x)
            if depth in weight:
                parts.append(weight[depth] * x)
        mixed = parts[0]
        for part in parts[1:]:
            mixed = mixed + part
        return mixed

    def runs(self, child: str) -> tuple[int, ...]:
        return tuple(i for i, depth in enumerate(self.depths) if depth > int(child))

    def record(self, path: str, number: int, plan: dict[str, Any]) -> None:
        plan["depths"][path] = self.depths[number]

    def read(self, path: str, plan: Plan) -> int:
        return self.depths.index(plan.depths[path])

    def plain(self, number: int, copy: Copy) -> nn.Module:
        return nn.Sequential(*(copy(self._child(i)) for i in range(self.depths[number])))

    def _child(self, i: int) -> nn.Module:
        return self.get_submodule(str(i))
