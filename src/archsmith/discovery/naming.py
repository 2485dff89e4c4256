"""Names for atoms: from their place and role in the network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from archsmith.discovery.dimensions import Atom
from archsmith.discovery.operators.base import Dims
from archsmith.discovery.tracing import Trace

Role = Literal["width", "hidden", "heads", "head_size", "kv_heads", "queries_per_kv", "groups", "group_width", "factor"]
COUNTED_ROLES = frozenset({"heads", "kv_heads", "queries_per_kv", "groups"})
"""Roles with few units: their sizes are not rounded."""
MIN_HIDDEN_READERS = 4
"""An atom that at least so many linear weights read is the hidden size of a residual stream."""


@dataclass(frozen=True)
class AtomMember:
    """One free atom.

    Args:
        atom: neither merged nor refined.
        name: unique in the model, such as ``"blocks.0.attn.heads"``.
        role: what its units are.
        tensors: parameters and buffers that it is in, in the order of the model.
    """

    atom: Atom
    name: str
    role: Role
    tensors: tuple[str, ...]


@dataclass(frozen=True)
class _Place:
    """One dimension of one tensor; ``product`` are the free atoms that it is a product of."""

    tensor: str
    dim: int
    rank: int
    product: tuple[Atom, ...]

    @property
    def module(self) -> str:
        return self.tensor.rpartition(".")[0]


def members(trace: Trace, tensors: Mapping[str, Dims]) -> list[AtomMember]:
    """The free atoms of ``tensors`` with their names, in the order of the model."""
    places: dict[int, list[_Place]] = {}
    atoms: dict[int, Atom] = {}
    for tensor, dims in tensors.items():
        for i, dim in enumerate(dims):
            for segment in trace.algebra.resolved(dim):
                free = tuple(a for a in segment if not a.frozen and a.size > 1)
                for atom in free:
                    atoms.setdefault(id(atom), atom)
                    places.setdefault(id(atom), []).append(_Place(tensor, i, len(dims), free))
    roles = {key: _role(atom, places[key]) for key, atom in atoms.items()}
    wanted = {key: _joined(_prefix(roles[key], places[key]), roles[key]) for key in atoms}
    again = Counter(wanted.values())
    names: dict[str, int] = {}
    found = []
    for key, atom in atoms.items():
        name = wanted[key] if again[wanted[key]] == 1 else _joined(_producers(places[key])[0], roles[key])
        names[name] = names.get(name, 0) + 1
        if names[name] > 1:
            name = f"{name}{names[name]}"
        found.append(AtomMember(atom, name, roles[key], tuple(dict.fromkeys(p.tensor for p in places[key]))))
    return found


def _role(atom: Atom, places: Sequence[_Place]) -> Role:
    longest = max(places, key=lambda p: len(p.product))
    if len(longest.product) > 1:
        i = next(i for i, a in enumerate(longest.product) if a is atom)
        matrices = any(p.rank == 2 and len(p.product) > 1 for p in places)
        if not matrices and len(longest.product) == 2:
            return ("groups", "group_width")[i]
        if len(longest.product) == 2:
            return ("heads", "head_size")[i]
        if len(longest.product) == 3:
            return ("kv_heads", "queries_per_kv", "head_size")[i]
        return "factor"
    readers = {p.tensor for p in places if p.rank == 2 and p.dim == 1}
    return "hidden" if len(readers) >= MIN_HIDDEN_READERS else "width"


def _producers(places: Sequence[_Place]) -> list[str]:
    """Modules whose outputs it is, according to their weights; otherwise all modules that have it."""
    found = [p.module for p in places if p.rank > 1 and p.dim == 0] or [p.module for p in places]
    return list(dict.fromkeys(found))


def _prefix(role: Role, places: Sequence[_Place]) -> str:
    if role in ("width", "groups", "group_width"):
        return _common(_producers(places))
    return _common(list(dict.fromkeys(p.module for p in places if p.rank > 1)) or _producers(places))


def _common(modules: Sequence[str]) -> str:
    parts = [m.split(".") for m in modules]
    found = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        found.append(level[0])
    return ".".join(found)


def _joined(prefix: str, role: str) -> str:
    return f"{prefix}.{role}" if prefix else role
