"""A supernet of a model without any declaration: traced, discovered, proved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from archsmith.discovery.account import account_of
from archsmith.discovery.discovered import discover
from archsmith.discovery.elasticity import Elasticity, Via
from archsmith.discovery.literals import NUMBER_PREFIX, Literals
from archsmith.discovery.proof import Fault, Prover
from archsmith.discovery.stock import Stock, couple_hidden_size
from archsmith.discovery.tracing import trace
from archsmith.errors import InvalidModel
from archsmith.graph.readers.kit.recorder import Inputs
from archsmith.progress import SILENT, Reporter
from archsmith.space import Constraint, Interchangeable
from archsmith.structure.blocks import Blocks
from archsmith.structure.resolution import Resolution, resolution_of
from archsmith.structure.structure import Structure, assemble, check_given


class _NothingElastic(InvalidModel):
    """The model runs, but nothing in it varies."""


@dataclass(frozen=True)
class Found:
    """A model with what is elastic in it.

    Args:
        model: the given one, or a graph module in its place.
        structure: what is elastic, proved.
        lifted: modules that were replaced by graph modules.
    """

    model: nn.Module
    structure: Structure
    lifted: tuple[str, ...] = ()


def found(
    model: nn.Module,
    inputs: Inputs,
    wanted: Elasticity,
    constraints: Sequence[Constraint | str] = (),
    symmetries: Sequence[Interchangeable] = (),
    *,
    reporter: Reporter = SILENT,
) -> Found:
    """Find what is elastic in ``model``; modules with plain numbers as sizes in their code may become graph modules.

    Args:
        model: a copy; modules in it are replaced where ``wanted.via`` says so.
        inputs: of one call.
        wanted: by the user.
        constraints: rules of the search space.
        symmetries: groups of choices that may be swapped.
        reporter: gets progress.

    Raises:
        InvalidModel: where the model does not run, or nothing in it can be elastic.
    """

    def structure_of(some: nn.Module) -> Structure:
        return found_structure(some, inputs, wanted, constraints, symmetries, reporter=reporter)

    structure, error = None, None
    try:
        structure = structure_of(model)
    except _NothingElastic as failed:
        error = failed
    in_the_way = structure is None or any(_numbers_in_the_way(*reason) for reason in structure.reasons.items())
    if wanted.homogeneous or wanted.via == "modules" or (wanted.via == "auto" and not in_the_way):
        return _or_raise(model, structure, error)
    reporter.progress("reading sizes out of the code")
    containers = structure.containers if structure is not None else {}
    literals = Literals(
        model, inputs, {path.rpartition(".")[0] for path, c in containers.items() if isinstance(c, Blocks)}
    )
    if literals.replaced:
        try:
            other = structure_of(literals.model)
        except InvalidModel:
            other = None
        if other is not None and _better(literals.model, other, model, structure, wanted.via):
            for path in [p for p in literals.replaced if not _reads_sizes(other, p)]:
                literals.restore(path)
            return Found(literals.model, other, tuple(literals.replaced))
        literals.undo()
    return _or_raise(model, structure, error)


def _or_raise(model: nn.Module, structure: Structure | None, error: InvalidModel | None) -> Found:
    if structure is None:
        assert error is not None
        raise error
    return Found(model, structure)


def _numbers_in_the_way(name: str, reason: str) -> bool:
    """Whether a number in the code is the likely reason why a width does not vary."""
    other = name.endswith((".depth", ".branch", ".kernel")) or name.startswith(Resolution.name)
    return (reason.startswith("it does not run") and not other) or "divided by this number" in reason


def _better(model: nn.Module, structure: Structure, before: nn.Module, other: Structure | None, via: Via) -> bool:
    """Whether ``structure`` makes more of the model elastic than ``other``: weights first, then choices."""
    if other is None:
        return True
    ours, theirs = (
        (account_of(m, s).elastic_parameters, len(s.space.choices)) for m, s in ((model, structure), (before, other))
    )
    return ours > theirs or (via == "graph" and ours == theirs)


def _reads_sizes(structure: Structure, path: str) -> bool:
    """Whether a former plain number of a graph module follows a choice."""
    declared = structure.declared.get(path)
    return declared is not None and any(name.startswith(NUMBER_PREFIX) for name in declared.attributes)


def found_structure(
    model: nn.Module,
    inputs: Inputs,
    wanted: Elasticity,
    constraints: Sequence[Constraint | str] = (),
    symmetries: Sequence[Interchangeable] = (),
    *,
    reporter: Reporter = SILENT,
) -> Structure:
    """What is elastic in ``model``, proved.

    Args:
        model: stays as it is.
        inputs: of one call.
        wanted: by the user.
        constraints: rules of the search space.
        symmetries: groups of choices that may be swapped.
        reporter: gets progress.

    Raises:
        InvalidModel: where the model does not run, or nothing in it can be elastic.
    """
    for name, module in model.named_modules():
        check_given(name, module, parametrised=False)
    reporter.progress("tracing")
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
            raise _NothingElastic(_nothing(model, discovered.rigid))
        structure = assemble(
            model, discovered.declared, discovered.blocks, constraints, symmetries, discovered.resolution
        )
        reporter.progress(f"proving {len(structure.space.choices)} choices")
        prover = prover or Prover(model, inputs, traced)
        faults = prover.fault(discovered, structure)
        if not faults and wanted.homogeneous:
            reporter.progress("building subnets from configurations")
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
