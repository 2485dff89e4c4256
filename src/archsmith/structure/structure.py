"""What is elastic in a model, as data; and the plan of an architecture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter
from torch.nn.utils import parametrize

from archsmith.architecture import Architecture, Option
from archsmith.errors import InvalidArchitecture, InvalidModel, UserError, unknown
from archsmith.method import load, names
from archsmith.plan import Plan, TensorPlan, WeightPolicy
from archsmith.space import Choice, ChoiceSpace, Constraint, Interchangeable
from archsmith.space.choice import Condition, Kind
from archsmith.structure.axes import Elastic, Numbers, Width
from archsmith.structure.blocks import Blocks, Branch
from archsmith.structure.choices import ChoiceModule
from archsmith.structure.policies import policy_named
from archsmith.structure.resolution import Resolution
from archsmith.structure.rules.base import Declared, Rule

Container = ChoiceModule | Blocks | Branch
Chain = tuple[tuple[str, tuple[int, ...]], ...]
"""Choices of the containers around a module, outermost first, with the option numbers under which it runs."""


@dataclass(frozen=True)
class _Use:
    """One place where a choice decides something."""

    options: tuple[Option, ...]
    kind: Kind
    chains: tuple[Chain, ...]


@dataclass(frozen=True)
class Structure:
    """Everything elastic in one model.

    Args:
        space: the choices.
        declared: module name -> what its rule, or a trace, says of it.
        containers: module name -> choice module, or the blocks of a container of the model's own.
        chains: name of a declared module or container -> the containers around it, for each of its places.
        reasons: choice, tensor or block that does not vary -> why, as far as a trace tells.
        spanned: atoms over which some operator normalises, averages or takes a softmax, as far as a trace tells. To
            drop units of these is not the same as to zero them.
        resolution: the size of images, where that is a choice.
    """

    space: ChoiceSpace
    declared: Mapping[str, Declared]
    containers: Mapping[str, Container]
    chains: Mapping[str, tuple[Chain, ...]]
    reasons: Mapping[str, str] = field(default_factory=dict)
    spanned: frozenset[str] = frozenset()
    resolution: Resolution | None = None

    def own(self, architecture: Architecture) -> Architecture:
        """The part of an architecture that is of this space: all of it, or these choices out of a product space's.

        Raises:
            InvalidArchitecture: for an architecture of another space.
        """
        mine = {n: v for n, v in architecture.choices if n in self._names}
        if architecture.space != self.space.fingerprint and 0 < len(mine) < len(architecture.choices):
            try:
                return self.space.architecture(mine)
            except UserError as error:
                raise InvalidArchitecture(
                    f"{architecture} belongs to the space {architecture.space}, which is neither this supernet's, "
                    f"{self.space.fingerprint}, nor a product with it: {error}"
                ) from error
        return architecture

    def numbers(self, architecture: Architecture) -> dict[str, int]:
        """Option number by choice; inactive choices have 0.

        Of an architecture of a product space, only the choices of this space are read.
        """
        row = self.space.rows([self.own(architecture)])[0]
        return dict(zip(self.space.names, row.tolist(), strict=True))

    def live(self, name: str, numbers: Numbers) -> bool:
        """Whether the module ``name`` runs."""
        return any(all(numbers[c] in runs for c, runs in chain) for chain in self.chains[name])

    def plan(self, numbers: Numbers) -> Plan:
        """The plan of an architecture; modules that do not run are not in it."""
        fields: dict[str, Any] = {"switches": {}, "depths": {}, "skipped": [], "stand_ins": {}, "inputs": {}}
        if self.resolution is not None:
            self.resolution.record(numbers[self.resolution.name], fields)
        for path, container in self.containers.items():
            if self._decides(path, container, numbers):
                container.record(path, numbers[container.name], fields)
        tensors: dict[str, TensorPlan] = {}
        attributes: dict[str, dict[str, Any]] = {}
        for name, declared in self.declared.items():
            if self.live(name, numbers):
                tensors |= _tensors(name, declared, numbers)
                if follow := _attributes(declared, numbers):
                    attributes[name] = follow
        return Plan(tensors, attributes, **{**fields, "skipped": tuple(fields["skipped"])})

    def _decides(self, path: str, container: Container, numbers: Numbers) -> bool:
        """Whether the containers around this one let it run."""
        return any(all(numbers[c] in runs for c, runs in chain if c != container.name) for chain in self.chains[path])

    def policy_tensors(self, model: nn.Module) -> dict[str, nn.Parameter]:
        """The parameters that weight policies learn, by the name that plans give them."""
        found = {}
        for name, declared in self.declared.items():
            if declared.kernel is not None:
                weight = model.get_submodule(name).get_parameter("weight")
                for short, tensor in (
                    policy_named(declared.kernel.policy).initial(declared.kernel, weight.ndim - 2).items()
                ):
                    found[policy_prefix(name) + short] = nn.Parameter(tensor.to(weight))
        return found

    @cached_property
    def widths(self) -> tuple[Width, ...]:
        """Every atom, each once."""
        axes = (axis for declared in self.declared.values() for axis in declared.axes)
        return tuple(dict.fromkeys(width for axis in axes for width in axis.widths))

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(self.space.names)


def structure_of(
    model: nn.Module,
    elastic: Mapping[str, Elastic],
    constraints: Sequence[Constraint | str] = (),
    symmetries: Sequence[Interchangeable] = (),
) -> Structure:
    """Read the choice modules of a model and what is declared of its other modules.

    Raises:
        UnknownName: for a module that the model does not have.
        InvalidModel: for sizes that do not fit, families without a rule, and models with nothing elastic.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    return assemble(model, declare(modules, elastic), {}, constraints, symmetries)


def assemble(
    model: nn.Module,
    declared: Mapping[str, Declared],
    blocks: Mapping[str, Blocks | Branch],
    constraints: Sequence[Constraint | str] = (),
    symmetries: Sequence[Interchangeable] = (),
    resolution: Resolution | None = None,
) -> Structure:
    """One structure from declared axes, blocks that can be left out, and a model's choice modules.

    Raises:
        InvalidModel: where nothing is elastic, or one choice has different options in two places.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    containers: dict[str, Container] = {path: m for path, m in modules.items() if isinstance(m, ChoiceModule)}
    containers |= blocks
    chains = {path: _chain(path, containers) for path in modules}
    by_module: dict[int, list[Chain]] = {}
    for path, module in modules.items():
        by_module.setdefault(id(module), []).append(chains[path])
    places = {path: tuple(by_module[id(modules[path])]) for path in (*declared, *containers)}
    choices = _choices(_uses(modules, declared, containers, places))
    if resolution is not None:
        choices.insert(0, Choice(resolution.name, resolution.options, "ordinal"))
    if not choices:
        raise InvalidModel(
            "nothing in this model is elastic: give Elastic(...) for some modules, or use choice modules"
        )
    return Structure(ChoiceSpace(choices, constraints, symmetries), declared, containers, places, resolution=resolution)


def declare(modules: Mapping[str, nn.Module], elastic: Mapping[str, Elastic]) -> dict[str, Declared]:
    """What the rules say of the modules named in ``elastic``, in the order of the model."""
    for name in elastic:
        if name not in modules:
            raise unknown("module of the model", name, [m for m in modules if m])
    rules: list[Rule] = [load("structure.rules", name)() for name in names("structure.rules")]
    found = {}
    for name, module in modules.items():
        if name in elastic:
            rule = next((r for r in rules if r.handles(module)), None)
            if rule is None:
                raise InvalidModel(
                    f"{name}: no rule knows {type(module).__name__}; there are rules for "
                    f"{', '.join(names('structure.rules'))}; leave it rigid, or add a rule"
                )
            check_given(name, module)
            found[name] = rule.declare(name, module, elastic[name])
            _check_held(name, module, found[name])
    return found


_HOW_TO_REMOVE = "remove it first (torch.nn.utils.parametrize.remove_parametrizations, remove_weight_norm ...)"


def check_given(name: str, module: nn.Module, *, parametrised: bool = True) -> None:
    """Refuse tensors without a size, and those that a parametrisation computes, which would ignore a shadow."""
    if parametrised and parametrize.is_parametrized(module):
        raise InvalidModel(f"{name} ({type(module).__name__}) has parametrised weights; {_HOW_TO_REMOVE}")
    if any(isinstance(t, UninitializedParameter | UninitializedBuffer) for t in _own(module).values()):
        raise InvalidModel(f"{name} ({type(module).__name__}) has no size yet; run the model once before")


def _check_held(name: str, module: nn.Module, declared: Declared) -> None:
    """Refuse tensors that a hook computes before every call: it would overwrite the shadow."""
    held = _own(module)
    for tensor in declared.tensors:
        if held.get(tensor) is None:
            raise InvalidModel(f"{name}: {tensor} is computed by a hook (weight_norm, spectral_norm); {_HOW_TO_REMOVE}")


def _own(module: nn.Module) -> dict[str, Tensor | None]:
    return {**module._parameters, **module._buffers}


def policy_prefix(module: str) -> str:
    """How names of policy tensors of a module begin; dots cannot stand in parameter names."""
    return module.replace(".", "/") + "/"


def qualified(module: str, name: str) -> str:
    """``module.name``, also for the root module."""
    return f"{module}.{name}" if module else name


def _tensors(name: str, declared: Declared, numbers: Numbers) -> dict[str, TensorPlan]:
    found = {}
    for tensor, axes in declared.tensors.items():
        index = tuple(None if axis is None else axis.index(numbers) for axis in axes)
        policy = None
        if tensor == "weight" and declared.kernel is not None:
            kernel = declared.kernel
            size = kernel.options[numbers[kernel.choice]]
            if size != kernel.options[-1]:
                options = policy_named(kernel.policy).options(kernel, size, policy_prefix(name))
                policy = WeightPolicy(kernel.policy, options)
        if policy is not None or any(i is not None for i in index):
            found[qualified(name, tensor)] = TensorPlan(index, policy)
    return found


def _attributes(declared: Declared, numbers: Numbers) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for attribute, follows in declared.attributes.items():
        axes = follows if isinstance(follows, tuple) else (follows,)
        sizes = tuple(axis.size(numbers) for axis in axes)
        if sizes != tuple(axis.full for axis in axes):
            found[attribute] = sizes if isinstance(follows, tuple) else sizes[0]
    if declared.kernel is not None and numbers[declared.kernel.choice] < len(declared.kernel.options) - 1:
        found |= declared.kernel_attributes[declared.kernel.options[numbers[declared.kernel.choice]]]
    return found


def _chain(path: str, containers: Mapping[str, Container]) -> Chain:
    parts = path.split(".") if path else []
    found = []
    for i in range(len(parts) + 1):
        container = containers.get(".".join(parts[:i]))
        if isinstance(container, Branch):  # what the module itself holds belongs to the branch
            found.append((container.name, container.runs("")))
        elif container is not None and i < len(parts):
            found.append((container.name, container.runs(parts[i])))
    return tuple(found)


def _uses(
    modules: Iterable[str],
    declared: Mapping[str, Declared],
    containers: Mapping[str, Container],
    chains: Mapping[str, tuple[Chain, ...]],
) -> dict[str, list[_Use]]:
    """Where each choice is used, in the order of the model."""
    found: dict[str, list[_Use]] = {}
    for path in modules:
        if path in containers:
            c = containers[path]
            found.setdefault(c.name, []).append(_Use(c.options, c.kind, chains[path]))
        if path in declared:
            kernel = declared[path].kernel
            for axis in declared[path].axes:
                for width in axis.widths:
                    found.setdefault(width.choice, []).append(_Use(width.options, "ordinal", chains[path]))
            if kernel is not None:
                found.setdefault(kernel.choice, []).append(_Use(kernel.options, "ordinal", chains[path]))
    return found


def _choices(uses: Mapping[str, Sequence[_Use]]) -> list[Choice]:
    """The choices with their conditions, parents before children."""
    found: dict[str, Choice] = {}

    def add(name: str) -> None:
        if name in found:
            return
        first = uses[name][0]
        for use in uses[name]:
            if len(use.options) != len(first.options) or use.kind != first.kind:
                raise InvalidModel(
                    f"choice {name!r} has options {first.options} in one place and {use.options} in another; what "
                    "shares a name shares the number of its options; use two names"
                )
        when = _condition(name, uses)
        if when is not None:
            add(when[0])
        found[name] = Choice(name, first.options, first.kind, when)

    for name in uses:
        add(name)
    return list(found.values())


def _condition(name: str, uses: Mapping[str, Sequence[_Use]]) -> Condition | None:
    """The innermost choice whose containers hold every use of ``name``, where it can leave all of them out."""
    chains = [chain for use in uses[name] for chain in use.chains]
    found: Condition | None = None
    for level in zip(*chains, strict=False):
        parent = level[0][0]
        if any(other != parent for other, _ in level):
            break
        options = uses[parent][0].options
        runs = sorted({number for _, numbers in level for number in numbers})
        if parent != name and len(runs) < len(options):
            found = (parent, tuple(options[number] for number in runs))
    return found
