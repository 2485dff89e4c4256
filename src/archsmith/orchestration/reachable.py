"""Checks limits on costs with a few probe subnets, before anything is trained.

Costs depend on the architecture alone, so a limit that no network meets can be refused in seconds, without training.
The smallest network is tried first. It is not always the fastest, so others are tried as well.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace

import numpy as np

from archsmith.architecture import Architecture, Proposal
from archsmith.errors import Infeasible
from archsmith.evaluation import Evaluation
from archsmith.feasibility import nearest, nothing_meets
from archsmith.hardware.named import MEASURED_METRICS
from archsmith.metric import Limit
from archsmith.orchestration.metrics import COMPUTED_METRICS
from archsmith.orchestration.session import Session
from archsmith.orchestration.specification import SearchSpec
from archsmith.progress import Reporter
from archsmith.runs.context import SearchContext
from archsmith.runs.folder import RunFolder
from archsmith.space import ChoiceSpace

COST_METRICS = frozenset(
    {"params", "macs", *MEASURED_METRICS, *(name for names in COMPUTED_METRICS.values() for name in names)}
)
"""Metrics that do not depend on weights, without the names of devices."""
MIN_PROBES = 6
"""Networks to try before a limit is refused that all of them violate by far."""
HOPELESS_VIOLATION = 0.5
"""How far that is, as a share of the bound."""
MAX_PROBES = 20
"""Networks to try before any other limit is refused."""


def check_reachable(
    spec: SearchSpec, run: RunFolder, context: SearchContext, *, reporter: Reporter, way_out: str
) -> None:
    """Refuse a limit on costs that none of a few probe subnets meets.

    Args:
        spec: its limits are checked, except those on accuracy and on users' metrics.
        run: keeps the devices' anchors and the time that this takes.
        context: the supernet, trained or not.
        reporter: gets progress; on a stop request nothing is refused.
        way_out: the end of the message.

    Raises:
        Infeasible: naming the limit, the nearest value that was found, and the network that has it.
    """
    bounds = tuple(x for x in spec.limits if x.metric.partition("@")[0] in COST_METRICS)
    if not bounds or run.weights:  # a resumed search has checked them before
        return
    asked = replace(spec, objectives=(), limits=bounds, baseline=None, latency="measured")
    started = time.monotonic()
    try:
        with ExitStack() as stack:
            store = stack.enter_context(run.store(writable=True, on_progress=reporter.on_progress))
            session = Session(run, store, context, asked, (), reporter)
            session.instruments.open(stack)
            session.instruments.export_each("only a few networks are measured")
            probe = _Probes(session, reporter)
            largest = probe(context.largest) if any(x.relative for x in bounds) else None
            for limit in bounds:
                if limit.relative and not (largest is not None and largest.ok):
                    continue  # the search says why the largest network cannot be evaluated
                values = {k: v.value for k, v in largest.values.items()} if largest is not None else {}
                _try(limit, limit.resolve(values), context.space, probe, reporter, way_out)
            tried = len(probe.found)
            reporter.at("limits").progress("each is within reach", tried, tried)
    finally:
        run.spent("trying the limits", time.monotonic() - started)


class _Probes:
    """Costs of networks, kept in the store, so that limits tried later need no new measurements."""

    def __init__(self, session: Session, reporter: Reporter) -> None:
        self._session, self._evaluate, self._reporter = session, session.composite(), reporter.at("limits")
        self.found: dict[str, Evaluation] = {}

    def __call__(self, architecture: Architecture) -> Evaluation:
        if architecture.key not in self.found:
            self._reporter.progress("trying networks", len(self.found), MAX_PROBES)
            self.found[architecture.key] = self._session.evaluated(self._evaluate, Proposal(architecture))
        return self.found[architecture.key]


def _try(written: Limit, limit: Limit, space: ChoiceSpace, probe: _Probes, reporter: Reporter, way_out: str) -> None:
    measured: list[Evaluation] = []
    for tried, architecture in enumerate(_candidates(space, limit, measured), 1):
        if reporter.stop():
            return
        found = probe(architecture)
        if found.ok:
            if limit.violation(found) == 0:
                return
            measured.append(found)
        far = all(limit.violation(e) > HOPELESS_VIOLATION for e in measured)
        if tried >= (MIN_PROBES if far else MAX_PROBES):
            break
    if measured:  # if all of them failed, the search says why
        raise Infeasible(f"{_message(written, limit, measured, space, len(probe.found))}; {way_out}")


def _candidates(space: ChoiceSpace, limit: Limit, measured: Sequence[Evaluation]) -> Iterator[Architecture]:
    """The smallest network, the same with other categorical options, then neighbours of the best network so far.

    Args:
        space: of the networks.
        limit: that they should meet.
        measured: evaluations of the networks yielded so far; the caller adds to it.
    """
    start, rng, seen = space.smallest(), np.random.default_rng(0), set[str]()
    also = [space.largest()] if limit.sense == ">=" else []  # the metric may grow or fall with the network's size
    queue, parent = deque([start, *also, *_with_other_options(space, start)]), ""
    while queue:
        architecture = queue.popleft()
        if architecture.key not in seen:
            seen.add(architecture.key)
            yield architecture
        best = min(measured, key=limit.violation).architecture if measured else None
        if best is not None and best.key != parent and (parent or not queue):
            parent, near = best.key, list(space.neighbours(best))
            queue = deque(near[i] for i in rng.permutation(len(near)))


def _with_other_options(space: ChoiceSpace, start: Architecture) -> Iterator[Architecture]:
    """``start`` with all categorical choices of the same options set to one option, for each option."""
    groups: dict[str, list[str]] = {}
    for choice in space.choices:
        if choice.kind == "categorical":
            groups.setdefault(repr(choice.options), []).append(choice.name)
    for names in groups.values():
        [options] = {c.options for c in space.choices if c.name == names[0]}
        for option in options[1:]:
            yield space.nearest({**start.to_dict(), **dict.fromkeys(names, option)})


def _message(written: Limit, limit: Limit, measured: Sequence[Evaluation], space: ChoiceSpace, tried: int) -> str:
    """The message for a limit that cannot be met, with the bound that the nearest network meets."""
    best, least = nearest(limit, measured), limit.sense == "<="
    assert best is not None
    value = best.values[limit.metric]
    bound = f"{limit.metric}{limit.sense}{_rounded(value.high if least else value.low, up=least)}"
    share = f"{written} ({limit.bound:.4g})" if written.relative else ""
    finding = nothing_meets(
        limit,
        measured,
        among=f"{tried} networks that were tried",
        written=share,
        called=_called(best.architecture, space),
    )
    other = "let networks be smaller" if least else "offer other networks"
    return f"{finding}. Loosen the limit (this network meets {bound}), or {other}"


def _rounded(value: float, *, up: bool) -> str:
    """``value`` with two digits, rounded so that the value itself meets the bound."""
    if not value:
        return "0"
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    return f"{(math.ceil if up else math.floor)(value / step) * step:.6g}"


def _called(architecture: Architecture, space: ChoiceSpace) -> str:
    """A network by its differences from the smallest or the largest, where they are few; else by its choices."""
    descriptions = []
    for name, extreme in (("smallest", space.smallest()), ("largest", space.largest())):
        values = extreme.to_dict()
        other = [f"{n}={v}" for n, v in architecture.choices if values.get(n) != v]
        descriptions.append((len(other), f"the {name} network{' with ' * bool(other)}{', '.join(other)}"))
    changes, text = min(descriptions)
    return text if changes <= 5 else f"the architecture {architecture}"
