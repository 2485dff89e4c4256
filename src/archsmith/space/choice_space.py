"""Search spaces made of choices, with architectures as rows of option indices wherever there are many."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from archsmith.architecture import Architecture, Option
from archsmith.errors import InvalidArchitecture, InvalidOption, InvalidSpace, UserError, unknown
from archsmith.forms import reading
from archsmith.graph import GraphBatch
from archsmith.space import members, variation
from archsmith.space._written import SpaceForm, check_size
from archsmith.space.base import Space
from archsmith.space.choice import Choice
from archsmith.space.constraint import Constraint
from archsmith.space.forest import AnyRows, Columns, Forest, Rows
from archsmith.space.isomorphism import Isomorphic
from archsmith.space.rules import Rules, Symmetry
from archsmith.space.sizes import Size
from archsmith.space.symmetry import Interchangeable
from archsmith.space.wiring import Wiring

Uniform = Literal["choice", "architecture"]


class ChoiceSpace(Space):
    """An ordered list of choices with conditions, constraints and symmetries.

    Rows are ``int16`` arrays ``(n, d)`` of option indices, one column a choice. *Canonical* rows hold 0 for
    inactive choices and have the symmetries applied; two rows mean the same architecture if and only if their
    canonical rows are equal. Rows that an operation returns are canonical and valid.

    Args:
        choices: conditions refer to choices declared earlier.
        constraints: rules that every architecture meets, as :class:`Constraint` or its text.
        symmetries: groups of choices that may be swapped (:class:`Interchangeable`), or a wiring whose isomorphic
            graphs are one architecture (:class:`Isomorphic`); no choice stands in two of them at once.
        name: a label for reports; no part of the fingerprint.
        wiring: the graph view, for encodings and predictors that read operator graphs (:meth:`graphs`); no part of the
            fingerprint.

    Raises:
        InvalidSpace: for no choices, duplicate names, bad conditions, constraints or symmetries.
        UnknownName: for an unknown choice or option in a condition, constraint or symmetry.
    """

    def __init__(
        self,
        choices: Sequence[Choice],
        constraints: Sequence[Constraint | str] = (),
        symmetries: Sequence[Symmetry] = (),
        name: str = "",
        wiring: Wiring | None = None,
    ) -> None:
        self.choices = tuple(choices)
        self.constraints = tuple(Constraint(c) if isinstance(c, str) else c for c in constraints)
        self.symmetries = tuple(symmetries)
        self.name = name
        self.wiring = wiring
        if not self.choices:
            raise InvalidSpace("a space needs at least one choice")
        self.forest = Forest(self.choices)  # for this folder; others ask the space
        self.rules = Rules(self.choices, self.forest, self.constraints, self.symmetries)  # likewise
        self.names = tuple(c.name for c in self.choices)
        self.cardinalities = self.forest.cardinalities
        for constraint in self.constraints:
            constraint.check({c.name: c for c in self.choices})
        for symmetry in self.symmetries:
            symmetry.check(self.choices)
        if wiring is not None:
            wiring.check(self.choices)
        self._check_symmetries()

    def _check_symmetries(self) -> None:
        for first, second in itertools.combinations(self.symmetries, 2):
            if first.overlaps(second):
                twice = sorted(set(first.names) & set(second.names))
                raise InvalidSpace(f"{', '.join(twice)} would be in two symmetries; a choice can be in one only")
        swapped = {name for symmetry in self.symmetries for name in symmetry.names}
        for symmetry in self.symmetries:
            if isinstance(symmetry, Interchangeable) and symmetry.when is not None and symmetry.when[0] in swapped:
                raise InvalidSpace(f"a symmetry depends on {symmetry.when[0]!r}, which another one swaps; drop one")

    # Identity ----------------------------------------------------------------------------------------------------

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits of everything but name and wiring; equal on every machine."""
        data = {key: value for key, value in self.to_json().items() if key not in ("name", "wiring")}
        return hashlib.sha256(json.dumps(data, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ChoiceSpace) and other.fingerprint == self.fingerprint

    def __hash__(self) -> int:
        return int(self.fingerprint, 16)

    def __repr__(self) -> str:
        return f"<ChoiceSpace {self.name or self.fingerprint}: {len(self.choices)} choices>"

    def __mul__(self, other: ChoiceSpace) -> ChoiceSpace:
        """Both spaces side by side; choices keep their owners, and the graph view is that of the one which has one.

        Raises:
            InvalidSpace: when both have a choice of one name.
        """
        if not isinstance(other, ChoiceSpace):
            return NotImplemented
        if both := [n for n in self.names if n in other.names]:
            raise InvalidSpace(f"both spaces have a choice {both[0]!r}; rename one, such as 'recipe.{both[0]}'")
        return ChoiceSpace(
            self.choices + other.choices,
            self.constraints + other.constraints,
            self.symmetries + other.symmetries,
            " x ".join(filter(None, (self.name, other.name))),
            None if self.wiring and other.wiring else self.wiring or other.wiring,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data; :func:`archsmith.space.from_json` reads it back."""
        data = {
            "kind": "choice_space",
            "name": self.name,
            "choices": [c.to_json() for c in self.choices],
            "constraints": [c.to_json() for c in self.constraints],
            "symmetries": [s.to_json() for s in self.symmetries],
        }
        return data | ({"wiring": self.wiring.to_json()} if self.wiring else {})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ChoiceSpace:
        """The inverse of :meth:`to_json`.

        Raises:
            DamagedFile: when ``data`` has another form.
        """
        with reading("a search space", data, SpaceForm):
            check_size(data)
            return cls(
                [Choice.from_json(c) for c in data["choices"]],
                [Constraint.from_json(c) for c in data["constraints"]],
                [(Isomorphic if "isomorphic" in s else Interchangeable).from_json(s) for s in data["symmetries"]],
                data["name"],
                Wiring.from_json(data["wiring"]) if "wiring" in data else None,
            )

    # Rows --------------------------------------------------------------------------------------------------------

    def active(self, rows: AnyRows) -> NDArray[np.bool_]:
        """Which choices count in each row, ``(n, d)``: tells an inactive 0 from the first option."""
        return self.forest.active(self._checked(rows))

    def canonical_rows(self, rows: AnyRows) -> Rows:
        """The representatives of ``rows (n, d)``; constraints are not looked at.

        Raises:
            InvalidArchitecture: for another shape or an index that is no option.
        """
        return self.rules.canonical(self._checked(rows))

    def _checked(self, rows: AnyRows) -> AnyRows:
        rows = np.asarray(rows)
        if rows.ndim != 2 or rows.shape[1] != len(self.choices) or rows.dtype.kind not in "iu":
            raise InvalidArchitecture(
                f"rows are whole numbers of shape (n, {len(self.choices)}), got {rows.dtype} {rows.shape}"
            )
        wrong = (rows < 0) | (rows >= self.cardinalities)
        if wrong.any():
            i, j = (int(k) for k in np.argwhere(wrong)[0])
            choice = self.choices[j]
            raise InvalidArchitecture(
                f"row {i} has option {rows[i, j]} of {choice.name!r}, which has 0 to {len(choice.options) - 1}"
            )
        return rows

    def valid(self, rows: AnyRows) -> NDArray[np.bool_]:
        """Which rows meet all constraints in their canonical form, ``(n,)``."""
        return np.asarray(self.violated(rows) == 0)

    def violated(self, rows: AnyRows) -> NDArray[np.intp]:
        """How many constraints each row breaks in its canonical form, ``(n,)``."""
        return self.rules.violated(self.canonical_rows(rows)) if self.constraints else np.zeros(len(rows), np.intp)

    def sample_rows(self, n: int, rng: np.random.Generator, uniform: Uniform = "choice") -> Rows:
        """``n`` independent random rows, ``(n, d)``.

        Args:
            n: how many.
            rng: where randomness comes from.
            uniform: ``"choice"`` draws every option of every choice equally often; ``"architecture"`` every
                architecture of the space. Both reject what the constraints forbid.

        Raises:
            InvalidSpace: when hardly any architecture meets the constraints.
        """
        if uniform not in ("choice", "architecture"):
            raise InvalidOption(f"uniform is 'choice' or 'architecture', got {uniform!r}")
        return members.sample(self.rules, n, rng, per_architecture=uniform == "architecture")

    def mutate_rows(self, rows: AnyRows, rng: np.random.Generator, probability: float | None = None) -> Rows:
        """One mutant of each row, ``(n, d)``.

        At least one active choice moves to another option, further ones with ``probability`` each (default: one
        over the number of choices that can move); choices that become active get random options. A row that has
        no other valid architecture near comes back canonical and otherwise unchanged.
        """
        if probability is not None and not 0 <= probability <= 1:
            raise InvalidOption(f"a mutation probability lies between 0 and 1, got {probability}")
        return variation.mutate(self.rules, self.canonical_rows(rows), rng, probability)

    def crossover_rows(self, a: AnyRows, b: AnyRows, rng: np.random.Generator) -> Rows:
        """One child of each pair of rows, ``(n, d)``: each choice from either parent, where it is active there.

        Where no mixture is found that meets the constraints, the child is one of the parents.
        """
        return variation.crossover(self.rules, self.canonical_rows(a), self.canonical_rows(b), rng)

    def neighbour_rows(self, rows: AnyRows) -> Rows:
        """All valid rows one edit away from a row ``(d,)``, or from any of ``rows (n, d)``: ``(k, d)``.

        Each once, and none of the rows themselves. An edit moves one active choice to another option; what becomes
        active starts at its first option. Where isomorphic graphs are one, it is an edit of any way to write them.
        """
        return variation.neighbours(self.rules, self.canonical_rows(np.atleast_2d(rows)))

    def enumerate_rows(self) -> Rows:
        """All rows of the space, ``(N, d)``, in lexicographic order.

        Raises:
            InvalidSpace: beyond 10**7 candidates.
        """
        return members.enumerate_rows(self.rules)

    def graphs(self, rows: AnyRows) -> GraphBatch:
        """The operator graphs of canonical ``rows (n, d)``.

        Raises:
            InvalidSpace: for a space without a wiring.
        """
        if self.wiring is None:
            raise InvalidSpace(f"{self!r} has no graph view; give it wiring=Wiring(...)")
        return self.wiring.graphs(self.choices, rows, self.forest.active(rows))

    def size(self) -> Size:
        """How many architectures there are: exact, or an estimate beyond 10**7 candidates with extra rules."""
        return members.size(self.rules)

    # Architectures -----------------------------------------------------------------------------------------------

    @cached_property
    def _pairs(self) -> list[list[tuple[str, Option]]]:
        return [[(c.name, option) for option in c.options] for c in self.choices]

    def architectures(self, rows: AnyRows) -> list[Architecture]:
        """The architectures that ``rows (n, d)`` stand for; the inverse of :meth:`rows`."""
        canonical = self.canonical_rows(rows)
        active = self.forest.active(canonical)
        return [
            Architecture(self.fingerprint, tuple(p[i] for p, i, on in zip(self._pairs, row, mask, strict=True) if on))
            for row, mask in zip(canonical.tolist(), active.tolist(), strict=True)
        ]

    def rows(self, architectures: Sequence[Architecture]) -> Rows:
        """Canonical rows ``(n, d)`` of architectures of this space.

        Raises:
            InvalidArchitecture: for one of another space, or with an unknown, missing or forbidden value.
            UnknownName: for a choice or an option that the space does not have, with the nearest.
        """
        for architecture in architectures:
            if architecture.space != self.fingerprint:
                raise InvalidArchitecture(
                    f"{architecture} belongs to the space {architecture.space}, not to {self.fingerprint}; "
                    "space.architecture(values) makes one of this space"
                )
        return self._rows([a.choices for a in architectures])

    def _rows(self, given: Sequence[Iterable[tuple[str, object]]]) -> Rows:
        """Canonical rows of named values; those of inactive choices are ignored."""
        raw = np.full((len(given), len(self.choices)), -1, dtype=np.int16)
        for i, values in enumerate(given):
            for name, value in values:
                column = self._column(name)
                raw[i, column] = self._option(column, value)
        missing = raw < 0
        raw[missing] = 0
        lacking = missing & self.forest.active(raw)
        if lacking.any():
            choice = self.choices[int(np.argwhere(lacking)[0, 1])]
            raise InvalidArchitecture(f"{choice.name!r} is active but has no value; give one of {list(choice.options)}")
        canonical = self.rules.canonical(raw)
        violated = np.flatnonzero(self.rules.violated(canonical))
        if len(violated):
            i = int(violated[0])
            broken = [
                c.expression
                for c in self.constraints
                if not c.holds(Columns(self.forest, self.choices, canonical[i : i + 1]))
            ]
            raise InvalidArchitecture(
                f"{dict(given[i])} breaks the constraint {broken[0]}; space.nearest(values) gives a valid neighbour"
            )
        return canonical

    def _column(self, name: str) -> int:
        if name not in self.forest.columns:
            raise unknown("choice", str(name), self.names)
        return self.forest.columns[name]

    def _option(self, column: int, value: object) -> int:
        choice = self.choices[column]
        index = choice.index(value)
        if index is None:
            raise unknown(f"option of {choice.name!r}", str(value), map(str, choice.options))
        return index

    def architecture(self, values: Mapping[str, object]) -> Architecture:
        """The architecture with these values by choice name; what is inactive may be left out.

        Raises:
            UnknownName: for a choice or an option that the space does not have, with the nearest.
            InvalidArchitecture: for an active choice without a value, or a broken constraint.
        """
        return self.architectures(self._rows([values.items()]))[0]

    def nearest(self, values: Mapping[str, object]) -> Architecture:
        """The architecture nearest to these values, which need not be options.

        Numbers move to the nearest option (the smaller of two equally near), subsets to the one that shares most
        items, missing choices take the first option. Then the fewest edits found that meet the constraints are made.

        Raises:
            UnknownName: for an unknown choice, or text that is no option.
            InvalidSpace: when no valid architecture is found.
        """
        row = np.zeros(len(self.choices), dtype=np.int16)
        for name, value in values.items():
            column = self._column(name)
            near = self.choices[column].nearest(value)
            row[column] = self._option(column, value) if near is None else near
        return self._repaired(row)

    def largest(self) -> Architecture:
        """Ordinal choices at their last option, all others at their first; the nearest where that is forbidden."""
        ordinal = np.array([c.kind == "ordinal" for c in self.choices])
        return self._repaired(np.where(ordinal, self.cardinalities - 1, 0).astype(np.int16))

    def smallest(self) -> Architecture:
        """Every choice at its first option; the nearest where that is forbidden."""
        return self._repaired(np.zeros(len(self.choices), dtype=np.int16))

    def _repaired(self, row: Rows) -> Architecture:
        return self.architectures(variation.repair(self.rules, self.rules.canonical(row[None])[0])[None])[0]

    # The contract of every space ---------------------------------------------------------------------------------

    def sample(self, n: int, rng: np.random.Generator) -> list[Architecture]:
        """``n`` random architectures, drawn independently and uniformly per choice."""
        return self.architectures(self.sample_rows(n, rng))

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """A near architecture that differs from the given one, where the space has another."""
        return self.architectures(self.mutate_rows(self.rows([architecture]), rng))[0]

    def crossover(self, a: Architecture, b: Architecture, rng: np.random.Generator) -> Architecture:
        """A mixture of two architectures."""
        return self.architectures(self.crossover_rows(self.rows([a]), self.rows([b]), rng))[0]

    def neighbours(self, architecture: Architecture) -> Iterator[Architecture]:
        """Everything one edit away, each once, in a fixed order."""
        yield from self.architectures(self.neighbour_rows(self.rows([architecture])[0]))

    def contains(self, architecture: Architecture) -> bool:
        """Whether it is a canonical point of this space."""
        try:
            return self.canonical(architecture).key == architecture.key
        except UserError:
            return False

    def canonical(self, architecture: Architecture) -> Architecture:
        """The one representative of everything that the space declares equal to ``architecture``."""
        return self.architectures(self.rows([architecture]))[0]
