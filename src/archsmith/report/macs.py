"""MACs against measured latency: how well MACs would have told fast networks from slow ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archsmith.evaluation import Evaluation
from archsmith.quantities import counted, interval, number, with_unit
from archsmith.report.data import ReportData
from archsmith.value import Value

MACS, TIME = "macs", "latency_ms"
FEWER_MACS_SHARE = 0.2
"""Share by which a network's MACs must be below another's to count as notably fewer."""
MISLEADING_SHARE = 0.05
"""Share of pairs without a gain in time from which on the report says that MACs mislead."""
MAX_EXAMPLES = 3
"""Pairs that are named at most."""


@dataclass(frozen=True)
class Pair:
    """Two networks of which the first has notably fewer MACs and is not measurably faster.

    Args:
        fewer: the network with fewer MACs.
        more: the other.
        saved: share of the other's MACs that the first saves, 0..1.
        slower: whether it even takes measurably longer.
    """

    fewer: Evaluation
    more: Evaluation
    saved: float
    slower: bool


@dataclass(frozen=True)
class MacsAgainstTime:
    """How MACs and one measured latency agree.

    Args:
        metric: the latency, such as ``latency_ms@board``.
        networks: every network with both values, each once, with its final latency where there is one.
        rank_correlation: Spearman's, of MACs and latency.
        pairs: number of pairs in which one network has notably fewer MACs.
        not_faster: in how many of them that network is not measurably faster.
        slower: in how many of them it is measurably slower.
        examples: pairs without a gain in time, those that save most MACs first; no network is in two of them.
    """

    metric: str
    networks: tuple[Evaluation, ...]
    rank_correlation: float
    pairs: int
    not_faster: int
    slower: int
    examples: tuple[Pair, ...]

    @property
    def share(self) -> float:
        """Share of the pairs in which fewer MACs save no time; 0 without pairs."""
        return self.not_faster / self.pairs if self.pairs else 0.0

    @property
    def misleads(self) -> bool:
        """Whether that share is too large to be an exception."""
        return self.share >= MISLEADING_SHARE


def macs_against_time(data: ReportData) -> list[MacsAgainstTime]:
    """One comparison for every latency that was measured for three networks or more with different MACs."""
    found = []
    for metric in _latencies(data):
        networks = _networks(data, metric)
        if len(networks) >= 3 and len({e[MACS] for e in networks}) > 1 and len({e[metric] for e in networks}) > 1:
            found.append(_compared(metric, networks))
    return found


def in_words(found: MacsAgainstTime) -> str:
    """The rank correlation and the share of pairs, in words."""
    named = f"{found.metric} of {counted(len(found.networks), 'network')}"
    text = f"MACs and {named} have a rank correlation (Spearman) of {found.rank_correlation:.2f}."
    if not found.pairs:
        return f"{text} No two networks differ in MACs by {100 * FEWER_MACS_SHARE:.0f} % or more."
    of = f"{counted(found.pairs, 'pair')} of networks one has at least {100 * FEWER_MACS_SHARE:.0f} % fewer MACs"
    if not found.not_faster:
        return f"{text} In {of}, and is measurably faster in all of them."
    slower = f" and takes longer in {_percent(found.slower / found.pairs)}" if found.slower else ""
    return f"{text} In {of}; it is not measurably faster in {_percent(found.share)} of them{slower}."


def named_example(data: ReportData, metric: str, pair: Pair) -> str:
    """One pair in a sentence: the saved MACs, and both latencies."""
    names = _names(data)
    a, b = (names.get(e.architecture.key, e.architecture.key[:8]) for e in (pair.fewer, pair.more))
    outcome = "takes longer" if pair.slower else "is not measurably faster"
    times = " against ".join(_time(data, metric, e.values[metric]) for e in (pair.fewer, pair.more))
    macs = " against ".join(number(e[MACS], "1") for e in (pair.fewer, pair.more))
    return f"{a} has {100 * pair.saved:.0f} % fewer MACs than {b} ({macs}) and {outcome}: {times}"


def warning(data: ReportData, found: MacsAgainstTime) -> str:
    """The warning in one line, with the pair that saves most MACs; empty where MACs do not mislead."""
    if not found.misleads or not found.examples:
        return ""
    example = named_example(data, found.metric, found.examples[0])
    return (
        f"MACs mislead about {found.metric}: in {_percent(found.share)} of the pairs in which a network has at least "
        f"{100 * FEWER_MACS_SHARE:.0f} % fewer of them it is not measurably faster; {example}"
    )


def _latencies(data: ReportData) -> list[str]:
    names = (name for e in _everything(data) for name in e.values)
    return list(dict.fromkeys(n for n in names if n.partition("@")[0] == TIME))


def _everything(data: ReportData) -> Iterator[Evaluation]:
    """All full evaluations; final ones come last, so that they replace those of the search."""
    found = [*data.evaluations, *(e for b in data.baselines.values() for e in b)]
    found += [data.largest] if data.largest is not None else []
    yield from (e for e in found if e.ok and not e.proposal.fidelity)
    yield from (n.best_known for n in data.networks if n.best_known.ok)


def _networks(data: ReportData, metric: str) -> tuple[Evaluation, ...]:
    by_key: dict[str, Evaluation] = {}
    for e in _everything(data):
        # a latency predicted from the structure would correlate with MACs by construction
        if MACS in e.values and _is_measured(e.values, metric):
            by_key[e.architecture.key] = e
    return tuple(by_key.values())


def _is_measured(values: Mapping[str, Value], metric: str) -> bool:
    return metric in values and values[metric].source == "measured"


def _compared(metric: str, networks: tuple[Evaluation, ...]) -> MacsAgainstTime:
    from scipy.stats import spearmanr  # imported here, as it takes half a second

    macs = np.array([e[MACS] for e in networks])
    values = [e.values[metric] for e in networks]
    time = np.array([[v.value, v.value - v.low, v.high - v.value] for v in values])
    pairs = not_faster = slower = 0
    misleading: list[tuple[float, int, int, bool]] = []
    for i in range(len(networks)):  # one row at a time: a long search has millions of pairs
        saved, faster, longer = _beside(i, macs, time)
        notable = saved >= FEWER_MACS_SHARE
        pairs += int(notable.sum())
        not_faster += int((notable & ~faster).sum())
        slower += int((notable & longer).sum())
        j = int(np.argmax(np.where(notable & ~faster, saved, -1.0)))
        if notable[j] and not faster[j]:
            misleading.append((float(saved[j]), i, j, bool(longer[j])))
    rho = float(spearmanr(macs, time[:, 0]).statistic)
    return MacsAgainstTime(metric, networks, rho, pairs, not_faster, slower, _examples(networks, misleading))


def _beside(
    i: int, macs: NDArray[np.float64], time: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Network ``i`` against each: share of MACs that it saves, whether it is faster, whether it is slower, ``(n,)``.

    A difference of times counts if it exceeds its 95 % half width: the root of the sum of the squared half widths of
    both times, on the sides that face each other.

    Args:
        i: index of the network.
        macs: of all networks, ``(n,)``.
        time: value, half width below, half width above, ``(n, 3)``.
    """
    gained = time[:, 0] - time[i, 0]
    faster = gained > np.hypot(time[i, 2], time[:, 1])
    longer = -gained > np.hypot(time[i, 1], time[:, 2])
    return 1 - macs[i] / macs, faster, longer


def _examples(networks: tuple[Evaluation, ...], pairs: list[tuple[float, int, int, bool]]) -> tuple[Pair, ...]:
    found, used = list[Pair](), set[int]()
    for saved, i, j, longer in sorted(pairs, key=lambda t: (-t[0], t[1], t[2])):
        if not used & {i, j} and len(found) < MAX_EXAMPLES:
            found.append(Pair(networks[i], networks[j], saved, longer))
            used |= {i, j}
    return tuple(found)


def _names(data: ReportData) -> dict[str, str]:
    return {n.evaluation.architecture.key: n.name for n in data.networks}


def _time(data: ReportData, metric: str, value: Value) -> str:
    unit = data.metric(metric).unit
    return with_unit(value.value, unit) + (f" [{interval(value, unit)}]" if value.has_interval else "")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "less than 1 %"
