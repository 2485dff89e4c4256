"""What replaces a module that is left out: a stand-in built from the module's inputs.

A stand-in is plain data, nested as the module's output is:

    ("stream",)            the tensor that passes through: the input whose every dimension the output keeps
    ("input", PLACE)       another input as it was given, such as a position bias that all blocks share
    ("constant", VALUE)    a plain value; also ``None`` for a tensor that nobody reads
    ("made", NUMBER)       a tensor that is no input, as long as its replacement is not known
    ("tuple", A, B, ...)   a tuple of stand-ins, and ``("list", ...)`` a list

A place is where an input stands in the call: ``("args", 0)``, ``("kwargs", "hidden_states")``, or deeper in tuples,
lists and dicts.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

Place = tuple[str | int, ...]
StandIn = tuple[Any, ...]

STREAM: StandIn = ("stream",)
ONE_TENSOR: tuple[Place, StandIn] = (("args", 0), STREAM)
"""Place and stand-in for a module with one tensor as input and one as output."""
PLAIN_TYPES = bool | int | float | str | None
"""Values that a stand-in can hold."""


def places(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[tuple[Place, Any]]:
    """Every input of a call, with its place; tuples, lists and dicts are opened.

    >>> places((1, [2]), {"a": 3})
    [(('args', 0), 1), (('args', 1, 0), 2), (('kwargs', 'a'), 3)]
    """
    return list(_opened(("args",), args)) + list(_opened(("kwargs",), kwargs))


def _opened(place: Place, thing: Any) -> Iterator[tuple[Place, Any]]:
    if isinstance(thing, tuple | list):
        for i, part in enumerate(thing):
            yield from _opened((*place, i), part)
    elif isinstance(thing, Mapping) and type(thing).__module__ in ("builtins", "collections"):
        for key, part in thing.items():
            yield from _opened((*place, key), part)
    else:
        yield place, thing


def stand_in_of(output: Any, given: list[tuple[Place, Any]]) -> tuple[StandIn, Tensor, list[Tensor]] | None:
    """How an output could be built from inputs.

    Args:
        output: of a module.
        given: inputs of that module, with their places.

    Returns:
        The stand-in, the tensor in the output that is the stream (the first), and further tensors that are no inputs,
        in the order of their numbers; ``None`` where the output has no tensor, or holds something that cannot be built.
    """
    stream: list[Tensor] = []
    made: list[Tensor] = []

    def of(thing: Any) -> StandIn | None:
        if type(thing) in (tuple, list):
            parts = [of(part) for part in thing]
            return None if any(p is None for p in parts) else (type(thing).__name__, *parts)
        if isinstance(thing, Tensor) and not stream:
            stream.append(thing)
            return STREAM
        place = next((p for p, x in given if x is thing), None)
        if place is not None and not isinstance(thing, bool | None):
            return "input", place
        if isinstance(thing, PLAIN_TYPES):
            return "constant", int(thing) if isinstance(thing, int) and not isinstance(thing, bool) else thing
        if isinstance(thing, Tensor):
            made.append(thing)
            return "made", len(made) - 1
        return None

    found = of(output)
    return None if found is None or not stream else (found, stream[0], made)


def settled(stand_in: StandIn, instead: Sequence[StandIn]) -> StandIn:
    """``stand_in`` with each ``("made", NUMBER)`` in it replaced by ``instead[NUMBER]``."""
    if stand_in[0] == "made":
        return instead[stand_in[1]]
    if stand_in[0] in ("tuple", "list"):
        return (stand_in[0], *(settled(part, instead) for part in stand_in[1:]))
    return stand_in


def given_at(place: Place, args: Any, kwargs: Any) -> Any:
    """The input of a call at a place."""
    found: Any = args if place[0] == "args" else kwargs
    for key in place[1:]:
        found = found[key]
    return found


def standing_in(stream: Place, stand_in: StandIn, value: Callable[[Tensor], Any]) -> Callable[..., Any]:
    """A ``forward`` that returns ``stand_in``, and computes nothing but ``value`` of the stream in it."""

    def forward(*args: Any, **kwargs: Any) -> Any:
        return _built(stand_in, lambda p: given_at(p, args, kwargs), lambda: value(given_at(stream, args, kwargs)))

    return forward


def with_stream(output: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A module's output in which ``change`` of the first tensor replaces it."""
    done = False

    def of(thing: Any) -> Any:
        nonlocal done
        if isinstance(thing, Tensor) and not done:
            done = True
            return change(thing)
        return type(thing)(of(part) for part in thing) if type(thing) in (tuple, list) else thing

    return of(output)


def zeros_in_place_of(stream: Place, stand_in: StandIn) -> nn.Module:
    """A module of torch's own that returns ``stand_in`` with zeros in the stream's place, whatever its inputs."""
    if (stream, stand_in) == ONE_TENSOR:
        return nn.Hardshrink(math.inf)
    graph = fx.Graph()
    given = {"args": graph.placeholder("*args"), "kwargs": graph.placeholder("**kwargs")}

    def at(place: Place) -> fx.Node:
        node = given[str(place[0])]
        for key in place[1:]:
            node = graph.call_function(operator.getitem, (node, key))
        return node

    graph.output(_built(stand_in, at, lambda: graph.call_function(torch.zeros_like, (at(stream),))))
    return fx.GraphModule(nn.Module(), graph)


def _built(stand_in: StandIn, at: Callable[[Place], Any], stream: Callable[[], Any]) -> Any:
    kind, *parts = stand_in
    if kind == "stream":
        return stream()
    if kind == "input":
        return at(parts[0])
    if kind == "constant":
        return parts[0]
    found = [_built(part, at, stream) for part in parts]
    return tuple(found) if kind == "tuple" else found
