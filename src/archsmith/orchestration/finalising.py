"""The last check of a search: the front is measured again, and networks that then break a limit are dropped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from archsmith.architecture import Proposal
from archsmith.errors import Infeasible, Interrupted
from archsmith.evaluation import Evaluation
from archsmith.feasibility import infeasible, on_front
from archsmith.files import write_json
from archsmith.runs.results import FINAL_FIDELITY

if TYPE_CHECKING:
    from archsmith.orchestration.session import Session
    from archsmith.orchestration.specification import SearchSpec


def finalise(session: Session, spec: SearchSpec) -> None:
    """Measure the front again, at full effort and on the test split.

    A member that then breaks a limit is dropped. Networks that it dominated may enter the front, and are measured again
    in turn, until every member has been.

    Raises:
        Infeasible: when no network is left; all evaluations stay in the store.
    """
    evaluate = session.composite(final=True)
    believed = _believed(session)
    final: dict[str, Evaluation] = {}
    dropped: dict[str, str] = {}
    while missing := [k for k in _front(believed, final, dropped, spec) if k not in final]:
        for number, key in enumerate(missing, 1):
            if session.reporter.stop():
                raise Interrupted("stopped while the front was measured again; the same command goes on from there")
            session.reporter.at("check").progress(f"measuring {key[:8]} again", len(final), len(final) + len(missing))
            found = session.evaluated(evaluate, Proposal(believed[key].architecture, fidelity=FINAL_FIDELITY))
            final[key] = found
            if reason := _reason(found, spec):
                dropped[key] = reason
            session.reporter.at("check").progress(key[:8], len(final), len(final) + len(missing) - number)
    front = [k for k in _front(believed, final, dropped, spec) if k in final]
    dominated = [k for k in final if k not in front and k not in dropped]
    dropped |= dict.fromkeys(dominated, "another network dominates it, now that both are measured again")
    _keep(session, spec, front, dropped, evaluate.fingerprint)
    if not front:
        raise Infeasible(_nothing_left(believed, dropped, spec))


def _believed(session: Session) -> dict[str, Evaluation]:
    journal = session.store.journal(session.run.journal_name("search"))
    return {e.architecture.key: e for e in reversed(journal.evaluations)}


def _front(
    believed: dict[str, Evaluation], final: dict[str, Evaluation], dropped: dict[str, str], spec: SearchSpec
) -> list[str]:
    """Keys of the non-dominated networks that are not dropped, with final values where there are any."""
    known = {k: final.get(k, e) for k, e in believed.items() if k not in dropped}
    mark = on_front([*known.values()], spec.objectives, spec.limits)
    last = spec.objectives[-1].metric
    return sorted((k for k, on in zip(known, mark, strict=True) if on), key=lambda k: known[k][last])


def _reason(found: Evaluation, spec: SearchSpec) -> str:
    """Why a network is dropped; empty where it is not."""
    if not found.ok:
        return f"it could not be measured again: {found.reason}"
    broken = [x for x in spec.limits if x.violation(found) > 0]
    values = (f"{x} ({_interval(found, x.metric)})" for x in broken)
    return f"measured again it breaks {', '.join(values)}" if broken else ""


def _interval(found: Evaluation, metric: str) -> str:
    value = found.values[metric]
    return f"{value.value:.4g} [{value.low:.4g}, {value.high:.4g}]"


def _keep(session: Session, spec: SearchSpec, front: Sequence[str], dropped: dict[str, str], evaluator: str) -> None:
    """Write ``front.json``, which later commands read."""
    write_json(
        session.run.path / "front.json",
        {"front": list(front), "dropped": dropped, "evaluator": evaluator, "seed": spec.seed},
    )


def _nothing_left(believed: dict[str, Evaluation], dropped: dict[str, str], spec: SearchSpec) -> str:
    found = [*believed.values()]
    if not dropped:
        return f"{infeasible(spec.limits, found)}. Loosen a limit"
    values = []
    for metric in dict.fromkeys(x.metric for x in spec.limits):
        known = [e[metric] for e in found if e.ok]
        values.append(f"{metric} from {min(known):.4g} to {max(known):.4g}")
    return (
        f"no network meets {', '.join(map(str, spec.limits))}: {len(found)} evaluations have {'; '.join(values)}. "
        f"{len(dropped)} met them at first and broke them when measured again. Loosen a limit"
    )
