"""A supernet of a model that nobody declared anything about: traced, discovered, proved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from archsmith.errors import InvalidModel
from archsmith.space import Constraint, Interchangeable
from archsmith.supernet._structure import Structure, assemble, check_given
from archsmith.supernet.discovery import discover
from archsmith.supernet.elasticity import Elasticity
from archsmith.supernet.proof import Fault, Prover
from archsmith.supernet.resolution import resolution_of
from archsmith.supernet.stock import Stock, couple_hidden_size
from archsmith.supernet.tracing import Inputs, trace

Told = Callable[[str], None]
"""Receives what is being done, in a few words."""


def found_structure(
    model: nn.Module,
    inputs: Inputs,
    wanted: Elasticity,
    constraints: Sequence[Constraint | str] = (),
    symmetries: Sequence[Interchangeable] = (),
    *,
    told: Told = lambda _: None,
) -> Structure:
    """What is elastic in ``model``, proved.

    Args:
        model: stays as it is.
        inputs: of one call.
        wanted: by the user.
        constraints: rules of the search space.
        symmetries: groups of choices that may be swapped.
        told: receives progress.

    Raises:
        InvalidModel: where the model does not run, or nothing in it can be elastic.
    """
    for name, module in model.named_modules():
        check_given(name, module, parametrised=False)
    told("tracing")
    traced = trace(model, inputs)
    if wanted.homogeneous:
        couple_hidden_size(model, traced)
    resolution = resolution_of(inputs, wanted.resolution) if len(wanted.resolution) else None
    dropped: dict[str, str] = {}
    prover: Prover | None = None
    while True:
        discovered = discover(model, traced, wanted, dropped, resolution)
        kernels = any(d.kernel for d in discovered.declared.values())
        if not (discovered.widths or discovered.blocks or kernels or discovered.resolution):
            raise InvalidModel(_nothing(model, discovered.rigid))
        structure = assemble(
            model, discovered.declared, discovered.blocks, constraints, symmetries, discovered.resolution
        )
        told(f"proving {len(structure.space.choices)} choices")
        prover = prover or Prover(model, inputs, traced)
        faults = prover.fault(discovered, structure)
        if not faults and wanted.homogeneous:
            told("building subnets from configurations")
            faults = [Fault(name, why) for name, why in Stock(model, structure).faults(inputs).items()]
        if not faults:
            spanned = frozenset(name for name, (member, _) in discovered.widths.items() if member.atom.spanned)
            return replace(structure, reasons=dict(discovered.rigid), spanned=spanned)
        for fault in faults:
            tied = [name for name, (_, width) in discovered.widths.items() if fault.choice in (width.choice, name)]
            dropped |= dict.fromkeys(tied or [fault.choice], fault.reason)


def _nothing(model: nn.Module, rigid: Mapping[str, Any]) -> str:
    if packed := [n for n, m in model.named_modules() if "quantized" in type(m).__module__]:
        return (
            f"the model is quantised: {packed[0]} and {len(packed) - 1} more modules hold packed weights; make the "
            "original model elastic, and quantise what comes out"
        )
    lines = [f"  {name}: {reason}" for name, reason in list(rigid.items())[:10]]
    return "\n".join(
        [
            "nothing in this model can be elastic; declare axes by hand (axes={...}), or put choice modules into it",
            *lines,
            *([f"  and {len(rigid) - 10} more"] if len(rigid) > 10 else []),
        ]
    )
