"""What became elastic in a model, what stayed rigid and why, and how many architectures that makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from archsmith.errors import unknown
from archsmith.structure.rules.base import Declared
from archsmith.structure.structure import Structure, qualified

LINES_SHOWN = 30
"""How many lines of one kind an account prints; its fields hold all of them."""


@dataclass(frozen=True)
class Account:
    """A printable account of a supernet.

    Args:
        choices: ``(name, options, condition)`` as text, in the order of the space.
        elastic: ``(module, what varies)``.
        rigid: ``(module, parameters, reason)`` of what has parameters of which no dimension varies.
        reasons: choice or block that could not be offered -> why.
        parameters: of the largest network.
        elastic_parameters: of those, how many are in tensors with an elastic dimension or in blocks that can be left
            out.
        size: how many architectures there are, as text.
    """

    choices: tuple[tuple[str, str, str], ...]
    elastic: tuple[tuple[str, str], ...]
    rigid: tuple[tuple[str, int, str], ...]
    reasons: Mapping[str, str]
    parameters: int
    elastic_parameters: int
    size: str

    def __str__(self) -> str:
        width = max(len(name) for name, _, _ in self.choices)
        share = 100 * self.elastic_parameters / max(self.parameters, 1)
        lines = [
            f"{self.size}; {self.elastic_parameters:,} of {self.parameters:,} parameters ({share:.0f} %) are elastic",
            f"choices ({len(self.choices)}):",
            *_cut([f"  {name:<{width}}  {options}{condition}" for name, options, condition in self.choices]),
            f"elastic modules ({len(self.elastic)}):",
            *_cut([f"  {name}: {what}" for name, what in self.elastic]),
        ]
        if self.rigid:
            lines.append(f"rigid ({len(self.rigid)}):")
            lines += _cut([f"  {name}: {count:,} parameters; {reason}" for name, count, reason in self.rigid])
        if self.reasons:
            lines.append(f"not offered ({len(self.reasons)}):")
            lines += _cut([f"  {name}: {reason}" for name, reason in self.reasons.items()])
        return "\n".join(lines)


def account_of(model: nn.Module, structure: Structure) -> Account:
    """The account of a model with this structure."""
    choices = []
    for choice in structure.space.choices:
        options = " ".join(map(str, choice.options))
        when = choice.when and f"   when {choice.when[0]} in {' '.join(map(str, choice.when[1]))}"
        choices.append((choice.name, options, when or ""))
    elastic = [(name, _what(structure, name)) for name in structure.declared]
    elastic += [(name, f"{type(c).__name__} {c.name}") for name, c in structure.containers.items()]
    rigid, counted, seen = [], 0, set()
    for name, module in model.named_modules():
        inside = _can_be_left_out(structure, name)
        held = structure.declared[name].tensors if name in structure.declared else {}
        kept = 0
        for short, parameter in module.named_parameters(recurse=False):
            if id(parameter) in seen:
                continue
            seen.add(id(parameter))
            if inside or (short in held and any(held[short])):
                counted += parameter.numel()
            else:
                kept += parameter.numel()
        if kept:
            rigid.append((name or "(the model itself)", kept, _why(structure, name, module)))
    total = sum(p.numel() for p in model.parameters())
    names = {name for name, _ in model.named_modules()}
    tensors = {n for n, _ in model.named_parameters()} | {n for n, _ in model.named_buffers()}
    reasons = {n: why for n, why in structure.reasons.items() if n not in tensors and n not in names}
    return Account(tuple(choices), tuple(elastic), tuple(rigid), reasons, total, counted, str(structure.space.size()))


def explained(model: nn.Module, structure: Structure, name: str) -> str:
    """Everything known of a choice, module or tensor, in a few lines.

    Raises:
        UnknownName: for anything else.
    """
    modules = dict(model.named_modules())
    tensors = [n for n, _ in model.named_parameters(remove_duplicate=False)]
    tensors += [n for n, _ in model.named_buffers(remove_duplicate=False)]
    if name in structure.space.names:
        return _explained_choice(structure, name)
    if name in structure.reasons and name not in modules:
        return f"{name} does not vary: {structure.reasons[name]}"
    if name in tensors or name in modules:
        return _explained_place(structure, name, [t for t in tensors if t == name or t.startswith(f"{name}.")])
    raise unknown("choice, module or tensor", name, [*structure.space.names, *structure.reasons, *modules, *tensors])


def _explained_choice(structure: Structure, name: str) -> str:
    choice = next(c for c in structure.space.choices if c.name == name)
    lines = [f"{name}: {' '.join(map(str, choice.options))}"]
    if choice.when is not None:
        lines.append(f"  matters when {choice.when[0]} is one of {' '.join(map(str, choice.when[1]))}")
    for path, container in structure.containers.items():
        if container.name == name:
            lines.append(f"  decides {path or 'the model'} ({type(container).__name__})")
    for module, declared in structure.declared.items():
        lines += _coupled(module, declared, name)
    return "\n".join(lines)


def _coupled(module: str, declared: Declared, choice: str) -> Iterator[str]:
    """What of one module follows a choice."""
    for tensor, axes in declared.tensors.items():
        for dim, axis in enumerate(axes):
            if axis is not None and any(w.choice == choice for w in axis.widths):
                yield f"  {qualified(module, tensor)}, dimension {dim}: {axis}"
    for attribute, follows in declared.attributes.items():
        parts = follows if isinstance(follows, tuple) else (follows,)
        if any(w.choice == choice for part in parts for w in part.widths):
            yield f"  {qualified(module, attribute)} = {', '.join(map(str, parts))}"
    if declared.kernel is not None and declared.kernel.choice == choice:
        yield f"  {module}: kernel size ({declared.kernel.policy})"


def _explained_place(structure: Structure, name: str, tensors: list[str]) -> str:
    lines = [name]
    if _can_be_left_out(structure, name):
        lines.append("  is in a block that can be left out")
    for tensor in tensors:
        owner, _, short = tensor.rpartition(".")
        axes = structure.declared[owner].tensors.get(short) if owner in structure.declared else None
        if axes is not None and any(axes):
            lines.append(f"  {tensor}: ({', '.join(str(a) if a is not None else 'fixed' for a in axes)})")
        else:
            lines.append(f"  {tensor}: fixed, {structure.reasons.get(tensor, 'nothing was declared for it')}")
    if name in structure.reasons:
        lines.append(f"  always runs: {structure.reasons[name]}")
    return "\n".join(lines)


def _can_be_left_out(structure: Structure, name: str) -> bool:
    parts = name.split(".") if name else []
    for i in range(len(parts)):
        container = structure.containers.get(".".join(parts[:i]))
        if container is not None and len(container.runs(parts[i])) < len(container.options):
            return True
    return False


def _why(structure: Structure, name: str, module: nn.Module) -> str:
    tensors = [qualified(name, short) for short, _ in module.named_parameters(recurse=False)]
    found = dict.fromkeys(structure.reasons[t] for t in tensors if t in structure.reasons)
    return "; ".join(found) or "nothing was declared for it"


def _cut(lines: list[str]) -> list[str]:
    return lines if len(lines) <= LINES_SHOWN + 1 else [*lines[:LINES_SHOWN], f"  and {len(lines) - LINES_SHOWN} more"]


def _what(structure: Structure, name: str) -> str:
    declared = structure.declared[name]
    parts = [
        f"{attribute} = {axes if not isinstance(axes, tuple) else axes[0]}"
        for attribute, axes in declared.attributes.items()
    ]
    if declared.kernel is not None:
        parts.append(f"kernel_size = {declared.kernel.choice} ({declared.kernel.policy})")
    if not parts:
        parts = [f"{t} = ({', '.join(str(a or 'fixed') for a in axes)})" for t, axes in declared.tensors.items()]
    return ", ".join(parts)
