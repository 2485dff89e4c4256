"""The last check of a search: the front is measured again, and what breaks a limit then is not handed out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from archsmith.api.front import Front
from archsmith.api.progress import Progress
from archsmith.api.reading import FINAL, read_front
from archsmith.architecture import Proposal
from archsmith.errors import Infeasible, Interrupted
from archsmith.evaluation import Evaluation, costs
from archsmith.files import write_json
from archsmith.metric import KNOWN
from archsmith.pareto import is_non_dominated
from archsmith.report.text import conflict

if TYPE_CHECKING:
    from archsmith.api.question import Question
    from archsmith.api.searching import Session


def finalise(session: Session, question: Question) -> Front:
    """Measure the front again until every member of what remains has been measured again.

    A member that breaks a limit is dropped; networks that it dominated may then enter the front, and are
    measured again in turn.

    Raises:
        Infeasible: when nothing is left; everything stays stored.
    """
    evaluate = session.composite(final=True)
    believed = _believed(session)
    final: dict[str, Evaluation] = {}
    dropped: dict[str, str] = {}
    while missing := [k for k in _front(believed, final, dropped, question) if k not in final]:
        for number, key in enumerate(missing, 1):
            if session.stop():
                raise Interrupted("stopped while the front was measured again; the same command goes on from there")
            session.on_progress(Progress("check", f"measuring {key[:8]} again", len(final), len(final) + len(missing)))
            found = session.evaluated(evaluate, Proposal(believed[key].architecture, fidelity=FINAL))
            final[key] = found
            if reason := _reason(found, question):
                dropped[key] = reason
            session.on_progress(Progress("check", key[:8], len(final), len(final) + len(missing) - number))
    front = [k for k in _front(believed, final, dropped, question) if k in final]
    beaten = [k for k in final if k not in front and k not in dropped]
    dropped |= dict.fromkeys(beaten, "another network is as good in everything once both are measured again")
    _keep(session, question, front, dropped, evaluate.fingerprint)
    if not front:
        raise Infeasible(_nothing_left(believed, dropped, question))
    return read_front(session.run, materials=lambda: session.materials)


def _believed(session: Session) -> dict[str, Evaluation]:
    journal = session.store.journal(session.run.journal_name("search"))
    return {e.architecture.key: e for e in reversed(journal.evaluations)}


def _front(
    believed: dict[str, Evaluation], final: dict[str, Evaluation], dropped: dict[str, str], question: Question
) -> list[str]:
    """Keys of the non-dominated networks among those that may still be handed out, best known values counting."""
    known = {k: final.get(k, e) for k, e in believed.items() if k not in dropped}
    allowed = [k for k, e in known.items() if e.feasible(question.limits)]
    if not allowed:
        return []
    mark = is_non_dominated(costs([known[k] for k in allowed], question.objectives))
    last = question.objectives[-1].metric
    return sorted((k for k, on in zip(allowed, mark, strict=True) if on), key=lambda k: known[k][last])


def _reason(found: Evaluation, question: Question) -> str:
    """Why a network is not handed out; empty if it is."""
    if not found.ok:
        return f"it could not be measured again: {found.reason}"
    broken = [x for x in question.limits if x.violation(found) > 0]
    values = (f"{x} ({_interval(found, x.metric)})" for x in broken)
    return f"measured again it breaks {', '.join(values)}" if broken else ""


def _interval(found: Evaluation, metric: str) -> str:
    value = found.values[metric]
    return f"{value.value:.4g} [{value.low:.4g}, {value.high:.4g}]"


def _keep(session: Session, question: Question, front: Sequence[str], dropped: dict[str, str], evaluator: str) -> None:
    """Write down which networks are handed out, for every command that looks at the run later."""
    write_json(
        session.run.path / "front.json",
        {"front": list(front), "dropped": dropped, "evaluator": evaluator, "seed": question.seed},
    )


def _unit(metric: str) -> str:
    known = KNOWN.get(metric.partition("@")[0])
    return known.unit if known is not None else ""


def _nothing_left(believed: dict[str, Evaluation], dropped: dict[str, str], question: Question) -> str:
    ok = [e for e in believed.values() if e.ok]
    if not ok:
        return f"all {len(believed)} evaluations failed; the first: {next(iter(believed.values())).reason}"
    bounds = ", ".join(map(str, question.limits))
    found = []
    for metric in dict.fromkeys(x.metric for x in question.limits):
        values = [e[metric] for e in ok]
        found.append(f"{metric} from {min(values):.4g} to {max(values):.4g}")
    if len(question.limits) > 1 and not dropped:
        told = conflict(question.limits, ok, _unit)
        return f"no network of {len(ok)} meets {bounds} at once: {told}. Loosen one of them."
    again = f" {len(dropped)} met them at first and broke them when measured again." if dropped else ""
    return f"no network meets {bounds}: {len(ok)} evaluations have {'; '.join(found)}.{again} Loosen a limit."
