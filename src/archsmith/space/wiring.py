"""How the choices of a space define an operator graph: declared once, computed for whole populations."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from archsmith.architecture import Option
from archsmith.errors import InvalidSpace, unknown
from archsmith.forms import reading
from archsmith.graph import ABSENT, GraphBatch
from archsmith.space.choice import Choice

INPUT, OUTPUT = "input", "output"
SKIPPED = "skipped"
"""The operation of a node whose choices are inactive: it returns its input."""
MOST_NODES = 1000
"""Most nodes of a graph: edges are a dense matrix, so memory grows with the square."""
_MOST_OPERATIONS = 2**15
"""Most combinations of the options of one node: each gets a 16-bit number."""
_Plain = int | float | str | bool | list[int | str]


class _WrittenNode(TypedDict):
    """A node as JSON."""

    name: str
    operation: list[str]
    inputs: list[str]
    link: str | None
    none: list[_Plain]
    identity: list[_Plain]


class _Written(TypedDict):
    """A wiring as JSON."""

    nodes: list[_WrittenNode]
    output: list[str]


@dataclass(frozen=True)
class Node:
    """One operator of the graph.

    Args:
        name: unique in the wiring.
        operation: the choices whose options together are its operation. An option called ``input``, ``output`` or
            ``skipped`` is an operation as any other, written in quotes.
        inputs: the nodes that it reads, ``"input"`` or ones declared earlier; with ``link``, those it may read.
        link: a choice with one option for each of ``inputs``: which of them it reads. Without one it reads all.
        none: options of its first choice that remove the node: nothing passes through it.
        identity: options of its first choice with which it returns its input.
    """

    name: str
    operation: tuple[str, ...]
    inputs: tuple[str, ...] = (INPUT,)
    link: str | None = None
    none: tuple[Option, ...] = ()
    identity: tuple[Option, ...] = ()

    def __post_init__(self) -> None:
        for name in ("operation", "inputs", "none", "identity"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "name": self.name,
            "operation": list(self.operation),
            "inputs": list(self.inputs),
            "link": self.link,
            "none": list(self.none),
            "identity": list(self.identity),
        }


@dataclass(frozen=True)
class Wiring:
    """The graph view of a space: which node reads which, and which options are the operations.

    A node whose choices are inactive is an identity called ``"skipped"``: chains of elastic depth need no rule of
    their own.

    Args:
        nodes: in an order in which each reads earlier ones only.
        output: the nodes that the output reads; empty for all those that no other node reads.

    Raises:
        InvalidSpace: for no nodes, two of one name, or one that reads a later one.
    """

    nodes: tuple[Node, ...]
    output: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", tuple(self.nodes))
        object.__setattr__(self, "output", tuple(self.output))
        known = {INPUT: None}  # in order
        if len(self.nodes) > MOST_NODES:
            raise InvalidSpace(f"the wiring has {len(self.nodes)} nodes; at most {MOST_NODES} can be compared")
        if not self.nodes:
            raise InvalidSpace("a wiring needs at least one node")
        for node in self.nodes:
            if node.name in known or node.name == OUTPUT or not node.operation:
                raise InvalidSpace(
                    f"node {node.name!r} of the wiring needs a name of its own and a choice as operation"
                )
            for source in node.inputs:
                if source not in known:
                    raise unknown(f"input of node {node.name!r} of the wiring, declared earlier", source, known)
            known[node.name] = None
        for source in self.output:
            if source not in known:
                raise unknown("input of the output of the wiring", source, known)

    def check(self, choices: Sequence[Choice]) -> None:
        """Refuse a wiring that does not fit the choices of a space.

        Raises:
            UnknownName: for a name that is no choice.
            InvalidSpace: for a link that has not exactly one option for each input.
        """
        by_name = {c.name: c for c in choices}
        for node in self.nodes:
            for name in (*node.operation, *filter(None, [node.link])):
                if name not in by_name:
                    raise unknown(f"choice of node {node.name!r} of the wiring", name, by_name)
            combinations = math.prod(len(by_name[name].options) for name in node.operation)
            if combinations > _MOST_OPERATIONS:
                raise InvalidSpace(
                    f"node {node.name!r} of the wiring has {combinations:,} operations; at most {_MOST_OPERATIONS:,}"
                )
            if node.link and len(by_name[node.link].options) != len(node.inputs):
                raise InvalidSpace(
                    f"node {node.name!r} of the wiring has {len(node.inputs)} inputs, its link {node.link!r} has "
                    f"{len(by_name[node.link].options)} options; give one an input"
                )

    def graphs(
        self, choices: Sequence[Choice], rows: NDArray[np.integer[Any]], active: NDArray[np.bool_]
    ) -> GraphBatch:
        """The operator graphs of canonical ``rows (n, d)`` with their ``active (n, d)`` choices."""
        column = {c.name: j for j, c in enumerate(choices)}
        place = {name: i for i, name in enumerate([INPUT, *(node.name for node in self.nodes)])}
        operations = {INPUT: 0, OUTPUT: 1, SKIPPED: 2}
        identities = [False, False, True]
        n, v = len(rows), len(self.nodes) + 2
        labels = np.full((n, v), ABSENT, dtype=np.int16)
        edges = np.zeros((n, v, v), dtype=bool)
        labels[:, 0], labels[:, -1] = 0, 1
        for node in self.nodes:
            at, columns = place[node.name], [column[name] for name in node.operation]
            table = _labels(node, [choices[j] for j in columns], operations, identities)
            found = table[tuple(rows[:, columns].T)]
            labels[:, at] = np.where(active[:, columns].all(axis=1), found, operations[SKIPPED])
            present = labels[:, at] != ABSENT
            sources = np.array([place[name] for name in node.inputs], dtype=np.intp)
            if node.link:
                edges[np.arange(n), sources[rows[:, column[node.link]]], at] = True
            else:
                edges[:, sources, at] = True
            edges[:, :, at] &= present[:, None] & (labels != ABSENT)
        self._connect_output(edges, labels, place)
        return GraphBatch(tuple(operations), np.array(identities), labels, edges)

    def _connect_output(self, edges: NDArray[np.bool_], labels: NDArray[np.int16], place: Mapping[str, int]) -> None:
        present = labels != ABSENT
        if self.output:
            edges[:, [place[name] for name in self.output], -1] = True
        else:
            edges[:, :-1, -1] = ~edges[:, :-1].any(axis=2)
        edges[:, :, -1] &= present

    def to_json(self) -> dict[str, Any]:
        """Plain data; :meth:`from_json` reads it back."""
        return {"nodes": [node.to_json() for node in self.nodes], "output": list(self.output)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Wiring:
        """The inverse of :meth:`to_json`.

        Raises:
            DamagedFile: when ``data`` has another form.
        """
        with reading("a wiring", data, _Written):
            names = tuple(_WrittenNode.__annotations__)
            return cls(tuple(Node(**{name: n[name] for name in names}) for n in data["nodes"]), tuple(data["output"]))


def _labels(
    node: Node, choices: Sequence[Choice], operations: dict[str, int], identities: list[bool]
) -> NDArray[np.int16]:
    """The label of each combination of options, one axis a choice; new operations are appended."""
    table = np.empty([len(c.options) for c in choices], dtype=np.int16)
    for index in itertools.product(*(range(len(c.options)) for c in choices)):
        options = [c.options[i] for c, i in zip(choices, index, strict=True)]
        if options[0] in node.none:
            table[index] = ABSENT
            continue
        text = "/".join(str(option) for option in options)
        if text in (INPUT, OUTPUT, SKIPPED):
            text = repr(text)  # an operation of the user's own, not the graph's input or output
        if text not in operations:
            operations[text] = len(operations)
            identities.append(options[0] in node.identity)
        table[index] = operations[text]
    return table
