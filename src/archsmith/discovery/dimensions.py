"""The algebra of tensor dimensions: which sizes in a network are the same number.

A dimension is a list of *segments* (concatenation), each an ordered product of *atoms* (reshape). Operators say which
dimensions are equal; equal atoms are merged in a union-find, and an atom is refined on demand: into a product where a
reshape cuts it, into a concatenation where a slice does. What cannot be expressed this way is frozen, with the reason.

>>> algebra = Algebra()
>>> [qkv], [size] = algebra.new(3 * 6 * 64), algebra.new(64)
>>> three, heads, head_size = algebra.split([qkv], (3, 6, 64))
>>> algebra.unify(head_size, [size])
>>> [[atom.size for atom in segment] for segment in algebra.resolved([qkv])]
[[3, 6, 64]]
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from math import prod

Segment = tuple["Atom", ...]
Dim = Sequence[Segment]
"""Segments one after the other, each a product in row-major order; the empty product has size 1."""

MAX_SEGMENTS = 1024
"""A repeated concatenation of more segments is frozen instead."""


class Atom:
    """A number of units that the algebra cannot, or need not, take apart.

    Attributes:
        size: units in the model.
        frozen: why it cannot vary, or ``""``.
        spanned: whether an operator normalises, averages or takes a softmax over it, so that fewer units are not the
            same as zeros.
        used: whether an operator other than a slice has read it.
    """

    __slots__ = ("frozen", "merged", "parts", "size", "spanned", "used")

    def __init__(self, size: int, frozen: str = "") -> None:
        self.size, self.frozen, self.spanned, self.used = size, frozen, False, False
        self.merged: Atom | None = None
        self.parts: tuple[Segment, ...] | None = None

    def __repr__(self) -> str:
        return f"Atom({self.size}{', ' + self.frozen if self.frozen else ''})"


class Algebra:
    """Makes, merges and refines atoms."""

    def new(self, *sizes: int, frozen: str = "") -> list[Segment]:
        """A dimension of one atom for each of ``sizes``, as segments; sizes of 1 have no atom."""
        return [(Atom(size, frozen),) if size != 1 else () for size in sizes]

    def dims(self, sizes: Iterable[int], frozen: str = "") -> list[Dim]:
        """A dimension of its own for each of ``sizes``."""
        return [tuple(self.new(size, frozen=frozen)) for size in sizes]

    # Reading -----------------------------------------------------------------------------------------------------

    def root(self, atom: Atom) -> Atom:
        """The atom that ``atom`` was merged into."""
        while atom.merged is not None:
            if atom.merged.merged is not None:
                atom.merged = atom.merged.merged
            atom = atom.merged
        return atom

    def resolved(self, dim: Dim) -> list[Segment]:
        """``dim`` in atoms that are neither merged nor refined."""
        return [segment for given in dim for segment in self._segments(given)]

    def size(self, dim: Dim) -> int:
        """Units in the model."""
        return sum(prod(atom.size for atom in segment) for segment in dim)

    def atoms(self, dims: Iterable[Dim]) -> Iterator[Atom]:
        """Every atom of ``dims``, each once, in order."""
        seen: dict[int, Atom] = {}
        for dim in dims:
            for segment in self.resolved(dim):
                for atom in segment:
                    seen.setdefault(id(atom), atom)
        return iter(seen.values())

    def same(self, left: Dim, right: Dim) -> bool:
        """Whether two dimensions are made of the same atoms in the same order; of frozen ones the sizes count."""
        return self._signature(left) == self._signature(right)

    def _signature(self, dim: Dim) -> list[tuple[int, ...]]:
        """Per segment the identity of every free atom and the size of every run of frozen ones, as a negative."""
        found: list[tuple[int, ...]] = []
        for segment in self.resolved(dim):
            factors: list[int] = []
            for atom in segment:
                if not atom.frozen:
                    factors.append(id(atom))
                elif factors and factors[-1] < 0:
                    factors[-1] *= atom.size
                else:
                    factors.append(-atom.size)
            fixed = len(factors) <= 1 and all(f < 0 for f in factors)
            if fixed and found and len(found[-1]) == 1 and found[-1][0] < 0:
                found[-1] = (found[-1][0] + (factors[0] if factors else -1),)
            else:
                found.append(tuple(factors) if factors else (-1,))
        return found

    def polynomial(self, *dims: Dim) -> Counter[tuple[int, ...]]:
        """The size of a product of dimensions as a sum of products of free atoms: monomial -> coefficient."""
        found: Counter[tuple[int, ...]] = Counter({(): 1})
        for dim in dims:
            terms: Counter[tuple[int, ...]] = Counter()
            for segment in self.resolved(dim):
                free = tuple(sorted(id(a) for a in segment if not a.frozen))
                terms[free] += prod(a.size for a in segment if a.frozen)
            product: Counter[tuple[int, ...]] = Counter()
            for (left, m), (right, n) in itertools.product(found.items(), terms.items()):
                product[tuple(sorted((*left, *right)))] += m * n
            found = product
        return found

    def _segments(self, segment: Segment) -> list[Segment]:
        """The segments of a product; concatenations inside it are spread out, behind constants only."""
        found: list[Segment] = [()]
        alone = sum(a.size > 1 for a in segment) == 1
        for factor in segment:
            atom = self.root(factor)
            inner: list[Segment] = (
                [(atom,)] if atom.parts is None else [s for part in atom.parts for s in self._segments(part)]
            )
            if not alone:
                inner = self._repeated(inner)
            if len(inner) == 1:
                found = [(*left, *inner[0]) for left in found]
                continue
            for left in found:
                self.freeze([left], "it repeats a concatenation")
            repeats = [prod(a.size for a in left) for left in found]
            if sum(repeats) * len(inner) > MAX_SEGMENTS:
                self.freeze([(atom,)], "it is a concatenation inside a product")
                found = [(*left, Atom(atom.size, "it is a concatenation inside a product")) for left in found]
            else:
                found = [right for n in repeats for _ in range(n) for right in inner]
        return found

    def _repeated(self, segments: list[Segment]) -> list[Segment]:
        """Equal segments one behind the other are a product that begins with their number."""
        first = segments[0]
        if len(segments) == 1 or any([id(a) for a in s] != [id(a) for a in first] for s in segments[1:]):
            return segments
        return [(Atom(len(segments), "it counts equal parts"), *first)]

    # Writing -----------------------------------------------------------------------------------------------------

    def freeze(self, dim: Dim, reason: str) -> None:
        """Forbid ``dim`` to vary; the first reason is kept."""
        for segment in dim:
            for atom in segment:
                self._freeze(self.root(atom), reason)

    def _freeze(self, atom: Atom, reason: str) -> None:
        if atom.parts is not None:
            for part in atom.parts:
                for inner in part:
                    self._freeze(self.root(inner), reason)
        elif not atom.frozen:
            atom.frozen = reason

    def span(self, dim: Dim) -> None:
        """Note that an operator mixes the units of ``dim`` such that zeros change the result."""
        for segment in self.resolved(dim):
            for atom in segment:
                atom.spanned = True

    def use(self, dim: Dim) -> None:
        """Note that an operator reads all of ``dim``."""
        for segment in self.resolved(dim):
            for atom in segment:
                atom.used = True

    def unify(
        self, left: Dim, right: Dim, reason: str = "two dimensions meet that cannot be split in the same way"
    ) -> None:
        """Make ``left`` and ``right`` one dimension; where that cannot be expressed both are frozen with ``reason``."""
        ours, theirs = list(left), list(right)
        while True:
            ours, theirs = self.resolved(ours), self.resolved(theirs)
            if not ours or not theirs:
                break
            sizes = prod(a.size for a in ours[0]), prod(a.size for a in theirs[0])
            if sizes[0] == sizes[1]:
                if not self._unify_products(ours[0], theirs[0]):
                    break
                ours, theirs = ours[1:], theirs[1:]
            else:
                longer = ours if sizes[0] > sizes[1] else theirs
                if not self._cut(longer[0], min(sizes)):
                    break
        if ours or theirs:
            self.freeze(left, reason)
            self.freeze(right, reason)

    def split(self, dim: Dim, sizes: Sequence[int]) -> list[Dim] | None:
        """``dim`` as a product of dimensions of ``sizes``; ``None`` where it is no such product."""
        segments = self.resolved(dim)
        if len(segments) == 1:
            return self._split_product(segments[0], sizes)
        if len(sizes) == 1:
            return [segments]
        if len(sizes) == 0:
            return []
        parts = self._equal_parts(segments, sizes[0])
        if parts is not None:
            for other in parts[1:]:
                self.unify(parts[0], other)
            rest = self.split(parts[0], sizes[1:])
            return None if rest is None else [*self.dims(sizes[:1], "it counts parts that are used separately"), *rest]
        return self._split_common(segments, sizes)

    def product(self, dims: Sequence[Dim]) -> Dim | None:
        """Dimensions flattened into one; ``None`` where a concatenation follows something that may vary."""
        found: list[Segment] = [()]
        for dim in dims:
            segments = self._repeated(self.resolved(dim))
            if len(segments) == 1:
                found = [(*left, *segments[0]) for left in found]
                continue
            repeats = [prod(a.size for a in left) for left in found]
            if sum(repeats) * len(segments) > MAX_SEGMENTS:
                return None
            for left in found:
                self.freeze([left], "it repeats a concatenation")
            found = [s for n in repeats for _ in range(n) for s in segments]
        return found

    def part(self, dim: Dim, start: int, stop: int) -> Dim | None:
        """The positions ``start`` to ``stop`` as a dimension; atoms are cut where they begin and end."""
        if not (self.cut(dim, start) and self.cut(dim, stop)):
            return None
        found, position = [], 0
        for segment in self.resolved(dim):
            if start <= position < stop:
                found.append(segment)
            position += prod(a.size for a in segment)
        return found

    def cut(self, dim: Dim, where: int) -> bool:
        """Refine ``dim`` until one segment ends at ``where``; ``False`` where that cannot be."""
        position = 0
        while position < where:
            for segment in self.resolved(dim):
                size = prod(a.size for a in segment)
                if position + size > where:
                    if not self._cut(segment, where - position):
                        return False
                    position = 0
                    break
                position += size
                if position == where:
                    return True
        return True

    # Inside ------------------------------------------------------------------------------------------------------

    def _merge(self, kept: Atom, gone: Atom) -> None:
        kept.frozen = kept.frozen or gone.frozen
        kept.spanned = kept.spanned or gone.spanned
        kept.used = kept.used or gone.used
        gone.merged = kept

    def _refine(self, atom: Atom, first: int) -> None:
        """``atom`` becomes the product of ``first`` and the rest."""
        parts = Atom(first, atom.frozen), Atom(atom.size // first, atom.frozen)
        for part in parts:
            part.spanned, part.used = atom.spanned, atom.used
        atom.parts = (parts,)

    def _cut(self, segment: Segment, size: int) -> bool:
        """Make the first ``size`` positions of ``segment`` a segment of their own."""
        leading = [i for i, atom in enumerate(segment) if atom.size > 1][:1]
        for i in leading:
            atom, rest = segment[i], prod(a.size for a in segment[i + 1 :])
            if size % rest == 0 and 0 < size // rest < atom.size:
                parts = Atom(size // rest, atom.frozen), Atom(atom.size - size // rest, atom.frozen)
                for part in parts:
                    part.spanned, part.used = atom.spanned, atom.used
                atom.parts = tuple((part,) for part in parts)
                return True
        return False

    def _unify_products(self, left: Segment, right: Segment) -> bool:
        ours, theirs = left, right
        while True:
            resolved = self.resolved([ours]), self.resolved([theirs])
            if len(resolved[0]) > 1 or len(resolved[1]) > 1:
                self.unify(*resolved)
                return True
            ours, theirs = (tuple(a for a in s[0] if a.size > 1) for s in resolved)
            if not ours or not theirs:
                return not ours and not theirs
            first, other = ours[0], theirs[0]
            if first is other:
                ours, theirs = ours[1:], theirs[1:]
            elif first.size == other.size:
                self._merge(first, other)
            elif first.size > other.size and first.size % other.size == 0:
                self._refine(first, other.size)
            elif other.size > first.size and other.size % first.size == 0:
                self._refine(other, first.size)
            else:
                return False

    def _split_product(self, segment: Segment, sizes: Sequence[int]) -> list[Dim] | None:
        found: list[Dim] = []
        rest = segment
        for size in sizes:
            taken: list[Atom] = []
            while (missing := size // prod(a.size for a in taken)) > 1:
                resolved = self.resolved([rest])
                if len(resolved) > 1:
                    return None
                rest = tuple(a for a in resolved[0] if a.size > 1)
                if not rest:
                    return None
                if missing % rest[0].size == 0:
                    taken.append(rest[0])
                    rest = rest[1:]
                elif rest[0].size % missing == 0:
                    self._refine(rest[0], missing)
                else:
                    return None
            found.append([tuple(taken)])
        return found

    def _equal_parts(self, segments: Sequence[Segment], number: int) -> list[Dim] | None:
        """``segments`` split into runs of equal size; ``None`` where a segment crosses a border."""
        each = sum(prod(a.size for a in s) for s in segments) // max(number, 1)
        parts: list[list[Segment]] = [[]]
        for segment in segments:
            if sum(prod(a.size for a in s) for s in parts[-1]) == each:
                parts.append([])
            parts[-1].append(segment)
        alike = all(sum(prod(a.size for a in s) for s in part) == each for part in parts)
        return list(parts) if alike and len(parts) == number else None

    def _split_common(self, segments: Sequence[Segment], sizes: Sequence[int]) -> list[Dim] | None:
        """Every segment is (its own head) x (a tail that all share)."""
        tail = prod(sizes[1:])
        heads: list[Segment] = []
        shared: list[Dim] | None = None
        for segment in segments:
            size = prod(a.size for a in segment)
            if size % tail:
                return None
            parts = self._split_product(segment, (size // tail, *sizes[1:]))
            if parts is None:
                return None
            heads.extend(parts[0])
            if shared is None:
                shared = parts[1:]
            else:
                for ours, theirs in zip(shared, parts[1:], strict=True):
                    self.unify(ours, theirs)
        return [heads, *(shared or [])]
