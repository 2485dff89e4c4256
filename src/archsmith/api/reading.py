"""The final front as a run's folder holds it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from archsmith.api.front import Front, Member
from archsmith.api.progress import Listener, nobody
from archsmith.api.run import Run
from archsmith.api.run_record import Finite
from archsmith.architecture import Proposal
from archsmith.errors import DamagedFile, Infeasible, InvalidArchitecture, UserError
from archsmith.evaluation import Evaluation
from archsmith.files import misfit, read_json
from archsmith.metric import Limit, Objective
from archsmith.report.text import answer
from archsmith.store import Store

if TYPE_CHECKING:
    from archsmith.api.materials import Materials

FINAL = {"stage": "final"}
"""Fidelity of the last check: latency at full effort, and the test split."""


class Kept(TypedDict):
    """The content of ``front.json``: keys of the networks, and why some are not handed out."""

    front: list[str]
    dropped: dict[str, str]
    evaluator: str
    seed: int


class LimitRecord(TypedDict):
    """A limit as a journal holds it."""

    metric: str
    sense: Literal["<=", ">="]
    bound: Finite
    relative: bool


class Header(TypedDict):
    """How a journal was begun."""

    strategy: str
    options: dict[str, Any]
    seed: int
    objectives: list[str]
    limits: list[LimitRecord]
    limits_as_written: list[str]
    evaluator: str
    space: str


@dataclass(frozen=True)
class Checked:
    """One network of the last check.

    Args:
        belief: what the search found.
        final: what the last check found; ``None`` where the store has lost it.
        dropped: why it is not handed out; empty for what is.
    """

    belief: Evaluation
    final: Evaluation | None
    dropped: str

    @property
    def name(self) -> str:
        """How tables, files and commands call it: the first eight digits of its key."""
        return self.belief.architecture.key[:8]


def checked(run: Run, store: Store, evaluations: Sequence[Evaluation]) -> list[Checked]:
    """The networks of the last check, those handed out first; none before it was made."""
    path = run.path / "front.json"
    if not path.exists():
        return []
    what, way_out = "the final front", "delete it and give the run's `archsmith search` command again"
    front: Kept = read_json(path, what=what, way_out=way_out, form=Kept)
    believed = {e.architecture.key: e for e in reversed(evaluations)}
    if not {*front["front"], *front["dropped"]} <= {*believed}:
        raise DamagedFile(f"{path} should hold {what} of this search and does not; {way_out}")
    found = []
    for key in [*front["front"], *front["dropped"]]:
        belief = believed[key]
        fidelity = Proposal(belief.architecture, fidelity=FINAL).fidelity_key
        final = store.get((belief.architecture.space, key, front["evaluator"], fidelity, front["seed"]))
        found.append(Checked(belief, final, front["dropped"].get(key, "")))
    return found


def question_of(run: Run, store: Store) -> tuple[tuple[Objective, ...], tuple[Limit, ...], list[Evaluation]]:
    """Objectives, absolute limits and evaluations of a run's search.

    Raises:
        UserError: when the search has not begun.
    """
    journal = store.journal(run.journal_name("search"))
    header = journal.header
    if header is None:
        raise UserError(f"the search in {run.path} has not begun yet; give its `archsmith search` command again")
    if wrong := misfit(header, Header):
        raise DamagedFile(f"the journal in {store.label} has a header of another form ({wrong}); restore a copy")
    objectives = tuple(Objective.parse(o) for o in header["objectives"])
    evaluations = journal.evaluations
    try:
        run.space.rows([e.architecture for e in evaluations])
    except InvalidArchitecture as error:
        raise DamagedFile(
            f"{store.label} holds evaluations of another search space than {run.path / 'run.json'} ({error}); restore "
            "both from one copy"
        ) from error
    return objectives, tuple(Limit(**x) for x in header["limits"]), evaluations


def read_front(run: Run, *, materials: Callable[[], Materials] | None = None, on_progress: Listener = nobody) -> Front:
    """The front that the last check left.

    Args:
        run: whose search has ended.
        materials: gives supernet and data; they are built again from the run's folder unless given.
        on_progress: hears what is being done when they are built again.

    Raises:
        Infeasible: when no network meets the limits.
        UserError: when the search has not ended.
    """
    with run.store() as store:
        objectives, limits, evaluations = question_of(run, store)
        found = checked(run, store, evaluations)
    if not found and evaluations and not any(e.feasible(limits) for e in evaluations):
        raise Infeasible(nothing_left(run))
    if not found:
        raise UserError(f"the search in {run.path} has not ended yet; give its `archsmith search` command again")
    again = materials or _rebuilt(run, on_progress)  # one for all: the supernet is built once
    members = tuple(Member(c.name, c.belief, c.final, again) for c in found if c.final and not c.dropped)
    return Front(members, objectives, limits, {c.name: c.dropped for c in found if c.dropped}, run)


def nothing_left(run: Run) -> str:
    """Why a search has no networks to hand out, as tables and the report say it, and what to do."""
    from archsmith.api.reporting import report_data  # it reads what this module does

    goes_on = (
        "" if (run.path / "front.json").exists() else ", or go on with its command if it was stopped before its end"
    )
    return (
        f"{answer(report_data(run))}. {run.path} has nothing to hand out: loosen a limit in another --run, which need "
        f"not train again with --trained {shlex.quote(str(run.path))}{goes_on}"
    )


def _rebuilt(run: Run, on_progress: Listener) -> Callable[[], Materials]:
    @cache
    def materials() -> Materials:
        from archsmith.api.materials import materials_of

        return materials_of(run, on_progress=on_progress)

    return materials
