"""The entries of a comparison: strategies with their options and the information that they get."""

from __future__ import annotations

import fnmatch
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from archsmith.benchmark import Benchmark
from archsmith.comparison.problem import Problem
from archsmith.encoding.known_values import KnownValues
from archsmith.errors import InvalidOption, UnknownName, unknown
from archsmith.method import check_options, load, names, option_names
from archsmith.space import ChoiceSpace
from archsmith.strategy.base import Strategy

SWITCHES = ("no-graph", "free", "free=COLUMN+COLUMN", "batch=NUMBER")
COUNTED_COLUMNS = ("params", "params_m", "flops", "flops_m", "macs")
"""Columns of ``free`` without a value: those that can be counted without training or measuring."""
RANDOM = "random"
"""The strategy that is in every comparison."""
DEFAULT_STRATEGIES = ("auto", "linas", "nsga2", RANDOM)
QUICK_STRATEGIES = ("auto", "linas", "regularized_evolution", "nsga2", RANDOM)


@dataclass(frozen=True)
class Entry:
    """One entry of a comparison.

    Args:
        label: its name in tables and files.
        name: of the strategy, or ``module:Class``.
        options: of the strategy.
        graph: whether it gets the graph view of the space, where there is one.
        free: patterns of the table's columns that it gets for every candidate at no cost.
        batch: how many proposals it is asked for at once.
    """

    label: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)  # a plain dict, as it is sent to other processes
    graph: bool = True
    free: tuple[str, ...] = ()
    batch: int = 1

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "label": self.label,
            "name": self.name,
            "options": dict(self.options),
            "graph": self.graph,
            "free": list(self.free),
            "batch": self.batch,
        }

    def excluded(self, problem: Problem, benchmark: Benchmark) -> str:
        """Why it cannot run on ``problem``; empty where it can."""
        most = load("strategy", self.name).handles.objectives
        if most is not None and len(problem.objectives) > most:
            return f"{self.label} handles {most} objective{'s' if most > 1 else ''}, {problem.name} has more"
        if self.free and not self.columns(problem, benchmark):
            return f"{problem.name} has none of the free columns {', '.join(self.free)} of {self.label}"
        return ""

    def columns(self, problem: Problem, benchmark: Benchmark) -> list[str]:
        """The benchmark's columns that it gets for every candidate; metrics that are maximised are never among them."""
        hidden = {o.metric for o in problem.objectives if o.goal == "max"}
        shown = [c for c in benchmark.columns if c not in hidden]
        return [c for c in shown if any(fnmatch.fnmatch(c, pattern) for pattern in self.free)]

    def build(self, problem: Problem, benchmark: Benchmark, rng: np.random.Generator) -> Strategy:
        """A new strategy of this entry.

        Raises:
            InvalidOption: for an option that it does not have or a value outside its range.
            MissingExtra: when it needs a package that is not installed.
        """
        space, options = benchmark.space, dict(self.options)
        if not self.graph:
            space = ChoiceSpace(space.choices, space.constraints, space.symmetries, space.name)
        if self.free:
            columns = self.columns(problem, benchmark)
            options["free"] = KnownValues(space, names=columns, function=partial(benchmark.values, metrics=columns))
        method = load("strategy", self.name)
        check_options(method, options)
        return method(space, problem.objectives, (), rng=rng, **options)  # type: ignore[no-any-return]


def parse_entry(text: str) -> Entry:
    """Read ``NAME[:OPTION=VALUE,...][/SWITCH...][@LABEL]``.

    Switches: ``no-graph`` hides the graph view of the space; ``free`` gives the strategy parameters, MACs and the like
    of every candidate, ``free=COLUMN+COLUMN`` (with ``*``) the named columns; ``batch=K`` asks for ``K`` at once.

    Names and values may contain colons: ``linas:predictor=mypackage.mine:Mine``.

    >>> c = parse_entry("nsga2:population=50/no-graph@NSGA-II")
    >>> c.name, dict(c.options), c.graph, c.label
    ('nsga2', {'population': 50}, False, 'NSGA-II')

    Raises:
        UnknownName: for an unknown strategy or switch.
        InvalidOption: for an option that the strategy does not have, or text of another form.
    """
    body, _, label = text.strip().partition("@")
    head, *switches = body.split("/")
    name, given = _split(head)
    try:
        method = load("strategy", name)
    except UnknownName:
        known, colon, rest = name.partition(":")
        if colon and known in names("strategy"):  # not a module:Class, but an incomplete option
            _options(rest, text)
        raise
    options = _options(given, text)
    check_options(method, options)
    found: dict[str, Any] = {}
    for switch in switches:
        key, _, value = switch.partition("=")
        if key == "no-graph" and not value:
            found["graph"] = False
        elif key == "free":
            found["free"] = tuple(filter(None, value.split("+"))) or COUNTED_COLUMNS
        elif key == "batch" and value.isdecimal() and int(value) > 0:
            found["batch"] = int(value)
        else:
            raise unknown("switch", switch, SWITCHES)
    if "free" in found and "free" not in option_names(method):
        raise InvalidOption(f"{name} cannot use free metrics: it has no option 'free'; leave out /free")
    return Entry(label.strip() or body, name, options, **found)


def _split(head: str) -> tuple[str, str]:
    """The name and the options of ``NAME:OPTION=VALUE,...``; both may contain colons (``module:Class``)."""
    found = re.match(r"(.*?):(\w+=.*)", head)
    return (found[1], found[2]) if found else (head, "")


def _options(given: str, text: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for item in filter(None, given.split(",")):
        key, sign, value = item.partition("=")
        if not (key and sign and value):
            raise InvalidOption(
                f"cannot read {item!r} in the strategy {text!r}; write NAME:OPTION=VALUE, such as nsga2:population=50"
            )
        try:
            options[key] = json.loads(value)
        except ValueError:
            options[key] = value
    return options


def parse_entries(given: Iterable[str], usual: Iterable[str] = DEFAULT_STRATEGIES) -> list[Entry]:
    """Several entries with spaces between them; random search is always added.

    Args:
        given: texts for :func:`parse_entry`; ``all`` means every strategy.
        usual: names of strategies to use where ``given`` is empty; unknown ones are ignored.

    Raises:
        InvalidOption: for two entries with one label.
    """
    known = names("strategy")
    texts = [part for text in given for part in text.split()] or [name for name in usual if name in known]
    texts = [name for text in texts for name in (known if text == "all" else [text])]
    found = [parse_entry(text) for text in dict.fromkeys(texts)]
    if not any(c.name == RANDOM and not c.options for c in found):
        found.append(parse_entry(RANDOM))
    if twice := [label for label, n in Counter(c.label for c in found).items() if n > 1]:
        raise InvalidOption(f"two strategies are called {twice[0]!r}; give one another name: NAME[:OPTIONS]@LABEL")
    return found
