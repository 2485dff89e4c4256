"""Continuous relaxation: a probability for every option, and a rule that mixes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archsmith.architecture import Architecture
from archsmith.errors import InvalidArchitecture, InvalidModel, InvalidOption, unknown
from archsmith.running.shadow import NO_COPY, Assignment, PlanProgram, Program
from archsmith.space import ChoiceSpace
from archsmith.structure.axes import Axis, Kernel, Numbers, Width
from archsmith.structure.blocks import Blocks, Branch, Passing
from archsmith.structure.choices import ChoiceModule
from archsmith.structure.passing import given_at, standing_in, with_stream
from archsmith.structure.policies import policy_named
from archsmith.structure.resolution import Resizing
from archsmith.structure.structure import Structure, policy_prefix, qualified

Mixing = Literal["sum", "sampled_path"]
DRAWS = 1000
"""How often a path is drawn anew because a constraint of the space forbids it."""


@dataclass(frozen=True, eq=False)
class Relaxed:
    """A probability for every option of every choice; the supernet's output is differentiable in them.

    ``"sum"`` runs everything: outputs of choice modules are weighted by probability (Liu et al. 2019), a block that can
    be left out is weighted against what it was given, and a branch by the probability that it runs; smaller kernels are
    added into the largest, and widths are expected masks on what reads them (Wan et al. 2020). A one-hot relaxation
    equals that architecture in evaluation mode, except where a layer norm spans an elastic width (the mask
    comes after it), and where statistics were calibrated (a relaxation has none of its own).

    ``"sampled_path"`` draws one option per choice and runs that architecture alone. In the backward pass the option's
    probability stands for the gate that it went through (Dong and Yang 2019), so that the options drawn get
    gradients and the others none; nor does a branch that is left out. Sizes of images can only be drawn.

    Args:
        probabilities: choice name -> tensor ``(options,)``, not negative, of sum 1. They may carry gradients.
        mixing: the rule.
        rng: draws the paths.

    Raises:
        InvalidOption: for another rule, or ``"sampled_path"`` without ``rng``.
    """

    probabilities: Mapping[str, Tensor]
    mixing: Mixing = "sum"
    rng: np.random.Generator | None = None

    def __post_init__(self) -> None:
        if self.mixing not in get_args(Mixing):
            raise InvalidOption(f"mixing is one of {', '.join(get_args(Mixing))}, got {self.mixing!r}")
        if self.mixing == "sampled_path" and self.rng is None:
            raise InvalidOption("mixing='sampled_path' needs rng=np.random.default_rng(seed)")

    @classmethod
    def uniform(cls, space: ChoiceSpace, mixing: Mixing = "sum", rng: np.random.Generator | None = None) -> Relaxed:
        """Every option as likely as every other of its choice."""
        return cls({c.name: torch.full((len(c.options),), 1 / len(c.options)) for c in space.choices}, mixing, rng)

    @classmethod
    def one_hot(cls, space: ChoiceSpace, architecture: Architecture) -> Relaxed:
        """All probability on one architecture; of inactive choices on the first option."""
        [row] = space.rows([architecture])
        sizes = zip(space.choices, row.tolist(), strict=True)
        return cls({c.name: F.one_hot(torch.tensor(k), len(c.options)).float() for c, k in sizes})

    def check(self, space: ChoiceSpace) -> None:
        """Refuse probabilities that are not those of ``space``.

        Raises:
            UnknownName: for a choice that the space does not have.
            InvalidArchitecture: for a missing choice, a wrong shape, or values that are no probabilities.
        """
        for name in self.probabilities:
            if name not in space.names:
                raise unknown("choice", name, space.names)
        for choice in space.choices:
            if choice.name not in self.probabilities:
                raise InvalidArchitecture(f"no probabilities for {choice.name!r}; Relaxed.uniform(space) gives all")
            p = self.probabilities[choice.name].detach()
            if p.shape != (len(choice.options),):
                raise InvalidArchitecture(
                    f"{choice.name!r} needs one probability for each of {len(choice.options)} options; got {p.tolist()}"
                )
            if not (bool((p >= 0).all()) and abs(float(p.sum()) - 1) < 1e-3):
                raise InvalidArchitecture(f"{choice.name!r}: {p.tolist()} are no probabilities; use a softmax")

    def draw(self, space: ChoiceSpace) -> Architecture:
        """An architecture drawn from the probabilities, choice by choice.

        Raises:
            InvalidArchitecture: where constraints forbid all of a thousand draws.
        """
        rng = self.rng if self.rng is not None else np.random.default_rng(0)
        given = [self.probabilities[c.name].detach().double().cpu().numpy() for c in space.choices]
        for _ in range(DRAWS):
            rows = np.array([[rng.choice(len(p), p=p / p.sum()) for p in given]])
            if space.valid(rows)[0]:
                return space.architectures(rows)[0]
        raise InvalidArchitecture(f"{DRAWS} draws in a row broke a constraint of the space; change the probabilities")

    def program(
        self,
        model: nn.Module,
        structure: Structure,
        policy_tensors: Mapping[str, Tensor],
        bind: Callable[[Architecture], PlanProgram],
    ) -> Program:
        """What one call shadows; ``bind`` gives the program of an architecture.

        Raises:
            InvalidModel: where the size of images is a choice, which cannot be weighted.
        """
        self.check(structure.space)
        if self.mixing == "sum":
            if structure.resolution is not None:
                raise InvalidModel(
                    f"{structure.resolution.name}: images of several sizes cannot be weighted by probabilities; use "
                    "mixing='sampled_path', or elastic(...) without resolution="
                )
            return _Sum(model, structure, policy_tensors, self.probabilities)
        architecture = self.draw(structure.space)
        return _SampledPath(model, structure, self.probabilities, structure.numbers(architecture), bind(architecture))


class _Sum:
    """Everything runs; outputs, kernels and widths are mixed."""

    def __init__(
        self,
        model: nn.Module,
        structure: Structure,
        policy_tensors: Mapping[str, Tensor],
        probabilities: Mapping[str, Tensor],
    ) -> None:
        self._model, self._structure = model, structure
        self._policies, self._probabilities = policy_tensors, probabilities

    def assignments(self) -> list[Assignment]:
        found: list[Assignment] = []
        masks = {width: _mask(width, self._probabilities[width.choice]) for width in self._structure.widths}
        for name, declared in self._structure.declared.items():
            module = self._model.get_submodule(name)
            values: dict[str, Tensor] = {}
            if declared.kernel is not None:
                values["weight"] = self._superposed(name, declared.kernel, module.get_parameter("weight"))
            if declared.consumes is not None:
                tensor, dim = declared.consumes
                axis = declared.tensors[tensor][dim]
                if axis is not None and axis.widths:
                    weight = values.get(tensor, module.get_parameter(tensor))
                    mask = _axis_mask(axis, masks).to(weight)
                    values[tensor] = weight * mask.view(-1, *(1,) * (weight.ndim - dim - 1))
            found.append((module.__dict__, {**NO_COPY, **values}))
        for path, container in self._structure.containers.items():
            probabilities = self._probabilities[container.name]
            if isinstance(container, ChoiceModule):
                found.append((container.__dict__, {"_mixture": probabilities}))
            else:
                found += self._weighted(path, container, probabilities)
        return found

    def _weighted(self, path: str, container: Blocks | Branch, probabilities: Tensor) -> Iterator[Assignment]:
        """Modules that can be left out, each against what stands for it then."""
        inside = container.passing if isinstance(container, Blocks) else {"": container.passing}
        for child, passing in inside.items():
            module = self._model.get_submodule(qualified(path, child) if child else path)
            runs = probabilities[list(container.runs(child))].sum()
            passed = passing if isinstance(container, Blocks) else None
            yield module.__dict__, {"forward": _Weighted(module.forward, runs, passed)}

    def _superposed(self, name: str, kernel: Kernel, weight: Tensor) -> Tensor:
        """The expected kernel: every smaller one, in the middle of the largest."""
        probabilities = self._probabilities[kernel.choice].to(weight)
        policy = policy_named(kernel.policy)
        mixed = probabilities[-1] * weight
        for p, size in zip(probabilities, kernel.options[:-1], strict=False):
            smaller = policy.apply(weight, policy.options(kernel, size, policy_prefix(name)), self._policies)
            border = (weight.shape[-1] - size) // 2
            mixed = mixed + p * F.pad(smaller, (border, border) * (weight.ndim - 2))
        return mixed

    def finish(self, assignments: Sequence[Assignment]) -> None:
        """Everything is a view or computed; nothing was copied."""

    def resume(self, assignments: Sequence[Assignment]) -> None:
        """Everything is a view or computed; nothing was copied."""


class _SampledPath:
    """One architecture runs; its options pass gates of value 1 whose gradient is the probability's."""

    def __init__(
        self,
        model: nn.Module,
        structure: Structure,
        probabilities: Mapping[str, Tensor],
        numbers: Numbers,
        path: PlanProgram,
    ) -> None:
        self._model, self._structure, self._path = model, structure, path
        self._probabilities, self._numbers = probabilities, numbers

    def _gate(self, choice: str) -> Tensor:
        p = self._probabilities[choice][self._numbers[choice]]
        return 1 + p - p.detach()

    def assignments(self) -> list[Assignment]:
        found = list(self._path.assignments())
        sliced = {id(place): values for place, values in found}
        for name, declared in self._structure.declared.items():
            if declared.consumes is None or not self._structure.live(name, self._numbers):
                continue
            tensor, dim = declared.consumes
            axis = declared.tensors[tensor][dim]
            choices = [width.choice for width in axis.widths] if axis is not None else []
            choices += [declared.kernel.choice] if declared.kernel is not None else []
            if choices:
                module = self._model.get_submodule(name)
                weight = sliced.get(id(module.__dict__), {}).get(tensor, module.get_parameter(tensor))
                for choice in dict.fromkeys(choices):
                    weight = weight * self._gate(choice).to(weight)
                found.append((module.__dict__, {tensor: weight}))
        for path, container in self._structure.containers.items():
            if isinstance(container, ChoiceModule):
                if self._structure.live(path, self._numbers):
                    found.append((container.__dict__, {"_gate": self._gate(container.name)}))
            elif (last := self._last(path, container)) is not None:
                found.append((last.__dict__, {"forward": _Weighted(last.forward, self._gate(container.name))}))
        return found + self._images()

    def _last(self, path: str, container: Blocks | Branch) -> nn.Module | None:
        """The module whose output an option of a container's gives, where it runs."""
        number = self._numbers[container.name]
        if isinstance(container, Branch):
            return self._model.get_submodule(path) if number and self._structure.live(path, self._numbers) else None
        child = [c for c in container.children if c not in container.dropped(number)][-1]
        chains = self._structure.chains[path]
        runs = any(all(self._numbers[c] in some for c, some in chain if c != container.name) for chain in chains)
        return self._model.get_submodule(qualified(path, child)) if runs else None

    def _images(self) -> list[Assignment]:
        """The images pass the gate of their size."""
        if (resolution := self._structure.resolution) is None:
            return []
        gates = {resolution.place: self._gate(resolution.name)}
        return [(self._model.__dict__, {"forward": Resizing(self._model, self._path.plan.inputs, gates)})]

    def finish(self, assignments: Sequence[Assignment]) -> None:
        self._path.finish(assignments)

    def resume(self, assignments: Sequence[Assignment]) -> None:
        self._path.resume(assignments)


class _Weighted:
    """A module's ``forward`` whose output is weighted, against its input where that passes through in its place.

    Args:
        forward: of the module.
        weight: a scalar.
        passed: where the input stands that has the rest of the weight, and what else is answered then; ``None`` where
            zeros have it.
    """

    def __init__(self, forward: Callable[..., Any], weight: Tensor, passed: Passing | None = None) -> None:
        self._forward, self._weight, self._passed = forward, weight, passed

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._passed is None:
            return with_stream(self._forward(*args, **kwargs), lambda y: y * self._weight.to(y))
        place, stand_in = self._passed
        stream = given_at(place, args, kwargs).clone()  # some blocks write into what they are given
        handed = standing_in(place, stand_in, lambda _: stream)(*args, **kwargs)
        return self._mixed(self._forward(*args, **kwargs), handed)

    def _mixed(self, output: Any, handed: Any) -> Any:
        """Every stream of an output against what was handed on; what is both is no stream."""
        if type(output) in (tuple, list):
            return type(output)(self._mixed(y, x) for y, x in zip(output, handed, strict=True))
        if not isinstance(output, Tensor) or not isinstance(handed, Tensor) or output is handed:
            return output
        return output * self._weight.to(output) + handed * (1 - self._weight).to(output)


def _mask(width: Width, probabilities: Tensor) -> Tensor:
    """The probability that each unit is kept, ``(width.full,)``."""
    kept = torch.arange(width.full)[None] < torch.tensor(width.options)[:, None]  # [option, unit]
    return (kept.to(probabilities) * probabilities[:, None]).sum(0)


def _axis_mask(axis: Axis, masks: Mapping[Width, Tensor]) -> Tensor:
    """The probability that each position of an axis is kept, ``(axis.full,)``; atoms are independent."""
    some = next(iter(masks.values()))
    parts = []
    for segment in axis.segments:
        mask = some.new_ones(1)
        for factor in segment:
            units = some.new_ones(factor) if isinstance(factor, int) else masks[factor]
            mask = (mask[:, None] * units).flatten()
        parts.append(mask)
    return torch.cat(parts)
