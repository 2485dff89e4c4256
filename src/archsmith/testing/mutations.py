"""Valid JSON of a wrong form: what a reader of files must refuse with an error of archsmith's own."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from archsmith.errors import ArchsmithError

_Path = tuple[str | int, ...]

VALUES: tuple[Any, ...] = (
    *(None, True, False, [], {}, "", "\u00b2", "module:Class", "../../x", "\x1b[31m", "\ud800"),
    *(0, -1, 1, 10**40, 0.5, 1e308, math.nan, math.inf),
    *([None], [[]], [1, "a"], [[1, 2], [3]], {"kind": None}, {"": []}),
)
"""What a node is replaced by."""
_DEEP = 2000


def mutants(document: Any, rng: np.random.Generator, n: int) -> Iterator[Any]:
    """Copies of plain data, each with one node wrong: replaced, deleted, doubled, renamed, or nested deeply.

    The document itself is a node, too. What comes out shares nothing with ``document``.

    Args:
        document: valid plain data.
        rng: which node becomes what.
        n: how many copies.

    >>> len(list(mutants({"a": [1, 2]}, np.random.default_rng(0), 5)))
    5
    """
    paths = list(_paths(document))
    for _ in range(n):
        yield _mutated(copy.deepcopy(document), paths[rng.integers(len(paths))], rng)


def survives(read: Callable[[Any], Any], documents: Iterable[Any]) -> tuple[int, int]:
    """Give each document to a reader, which may only answer or raise an error of archsmith's.

    Args:
        read: such as ``Architecture.from_json``.
        documents: such as :func:`mutants`.

    Returns:
        How many it read, and how many it refused.

    Raises:
        AssertionError: naming the document, from what else the reader raises.
    """
    read_, refused = 0, 0
    for document in documents:
        try:
            read(document)
            read_ += 1
        except ArchsmithError:
            refused += 1
        except Exception as error:
            raise AssertionError(f"{type(error).__name__}: {error}, from {_shown(document)}") from error
    return read_, refused


def _paths(data: Any, here: _Path = ()) -> Iterator[_Path]:
    """Where the nodes are, the whole first."""
    yield here
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _paths(value, (*here, key))
    elif isinstance(data, list | tuple):
        for i, value in enumerate(data):
            yield from _paths(value, (*here, i))


def _mutated(data: Any, path: _Path, rng: np.random.Generator) -> Any:
    """The same data, changed in place at ``path``."""
    if not path:
        return _wrong(data, rng)
    parent = data
    for step in path[:-1]:
        parent = parent[step]
    last: Any = path[-1]
    ways: list[Callable[[], None]] = [
        *([lambda: parent.__setitem__(last, _wrong(parent[last], rng))] * 4),
        lambda: parent.__delitem__(last),
        lambda: (
            parent.insert(last, parent[last])
            if isinstance(parent, list)
            else parent.__setitem__(f"{last}\u00b2", parent.pop(last))
        ),
    ]
    ways[rng.integers(len(ways))]()
    return data


def _wrong(value: Any, rng: np.random.Generator) -> Any:
    """Something else in the place of ``value``."""
    number = int(rng.integers(len(VALUES) + 3))
    if number < len(VALUES):
        return copy.deepcopy(VALUES[number])
    if number == len(VALUES):
        return [value]
    if number == len(VALUES) + 1:
        return {"value": value}
    deep: Any = value
    for _ in range(_DEEP):
        deep = [deep]
    return deep


def _shown(document: Any) -> str:
    try:
        return f"{document!r:.500}"
    except RecursionError:
        return "data nested too deeply to be shown"
