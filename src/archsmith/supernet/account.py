"""What became elastic in a model, what stayed rigid, and how many architectures that makes."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from archsmith.supernet._structure import Structure


@dataclass(frozen=True)
class Account:
    """A printable account of a supernet.

    Args:
        choices: ``(name, options, condition)`` as text, in the order of the space.
        elastic: ``(module, what varies)``.
        rigid: ``(module, parameters)`` of what has parameters and was not declared.
        parameters: of the largest network.
        elastic_parameters: of those, how many belong to declared modules or to blocks that can be left out.
        size: how many architectures there are, as text.
    """

    choices: tuple[tuple[str, str, str], ...]
    elastic: tuple[tuple[str, str], ...]
    rigid: tuple[tuple[str, int], ...]
    parameters: int
    elastic_parameters: int
    size: str

    def __str__(self) -> str:
        width = max(len(name) for name, _, _ in self.choices)
        share = 100 * self.elastic_parameters / max(self.parameters, 1)
        lines = [
            f"{self.size}; {self.elastic_parameters:,} of {self.parameters:,} parameters ({share:.0f} %) "
            "are in elastic modules",
            f"choices ({len(self.choices)}):",
            *(f"  {name:<{width}}  {options}{condition}" for name, options, condition in self.choices),
            f"elastic modules ({len(self.elastic)}):",
            *(f"  {name}: {what}" for name, what in self.elastic),
        ]
        if self.rigid:
            lines.append(f"rigid, because nothing was declared of them ({len(self.rigid)}):")
            lines += [f"  {name}: {count:,} parameters" for name, count in self.rigid]
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
    rigid, counted = [], 0
    for name, module in model.named_modules():
        own = sum(p.numel() for p in module.parameters(recurse=False))
        inside = any(name.startswith(f"{container}." if container else "") for container in structure.containers)
        if name in structure.declared or inside:
            counted += own
        if own and name not in structure.declared and name not in structure.containers:
            rigid.append((name, own))
    total = sum(p.numel() for p in model.parameters())
    return Account(tuple(choices), tuple(elastic), tuple(rigid), total, counted, str(structure.space.size()))


def _what(structure: Structure, name: str) -> str:
    declared = structure.declared[name]
    parts = [
        f"{attribute} = {axes if not isinstance(axes, tuple) else axes[0]}"
        for attribute, axes in declared.attributes.items()
    ]
    if declared.kernel is not None:
        parts.append(f"kernel_size = {declared.kernel.choice} ({declared.kernel.policy})")
    return ", ".join(parts)
