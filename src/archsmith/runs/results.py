"""The final front, as stored in a run's folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from archsmith.architecture import Proposal
from archsmith.errors import DamagedFile, InvalidArchitecture, UserError
from archsmith.evaluation import Evaluation
from archsmith.files import misfit, read_json
from archsmith.metric import Limit, Objective
from archsmith.runs.folder import RunFolder
from archsmith.runs.record import Finite
from archsmith.store import Store

if TYPE_CHECKING:
    pass

FINAL_FIDELITY = {"stage": "final"}
"""Fidelity of the last check: latency at full effort, and the test split."""


class Kept(TypedDict):
    """The content of ``front.json``: keys of the networks in the front, and of those dropped with the reason."""

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
    """The header of a journal."""

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
        belief: its evaluation in the search.
        final: its evaluation in the last check; ``None`` where the store lacks it.
        dropped: why it is not in the final front; empty where it is.
    """

    belief: Evaluation
    final: Evaluation | None
    dropped: str

    @property
    def name(self) -> str:
        """Its name in tables, files and commands: the first eight digits of its key."""
        return self.belief.architecture.key[:8]


def final_networks(run: RunFolder, store: Store, evaluations: Sequence[Evaluation]) -> list[Checked]:
    """The networks of the last check, those of the front first; empty before the last check."""
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
        fidelity = Proposal(belief.architecture, fidelity=FINAL_FIDELITY).fidelity_key
        final = store.get((belief.architecture.space, key, front["evaluator"], fidelity, front["seed"]))
        found.append(Checked(belief, final, front["dropped"].get(key, "")))
    return found


def recorded_search(run: RunFolder, store: Store) -> tuple[tuple[Objective, ...], tuple[Limit, ...], list[Evaluation]]:
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
