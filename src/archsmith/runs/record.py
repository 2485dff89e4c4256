"""The content of a run's files ``run.json`` and ``state.json``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Required, TypedDict

from msgspec import Meta

from archsmith.errors import DamagedFile, RunMismatch
from archsmith.files import misfit
from archsmith.origin import DataOrigin, misfit_of_model

FORMAT = 1
"""Of ``run.json``; a newer one is refused."""
Finite = Annotated[float, Meta(ge=-1e300, le=1e300)]


class Fixed(TypedDict, total=False):
    """The settings that must be equal on resume."""

    model: Required[dict[str, Any] | None]
    space: Required[dict[str, Any]]
    device: Required[str | dict[str, str]]
    data: Required[DataOrigin]
    inputs: Any
    precisions: dict[str, Any]
    training: dict[str, Any] | None


class RunRecord(TypedDict):
    """The content of ``run.json``."""

    format: int
    id: str
    store: str | None
    fixed: Fixed


class _Version(TypedDict):
    format: int


class State(TypedDict, total=False):
    """The content of ``state.json``: results of a run's stages."""

    training: list[dict[str, Finite]]
    weights: str
    anchor_ms: Finite
    anchors: dict[str, Finite]
    machines: dict[str, dict[str, Any]]
    notes: list[str]
    timing: dict[str, Finite]
    done: str


def check_record(record: Any, path: Path) -> None:
    """Check the content of ``run.json``.

    Raises:
        RunMismatch: when a newer archsmith wrote it.
        DamagedFile: saying what is wrong.
    """
    damaged = f"{path / 'run.json'} does not describe a run"
    if wrong := misfit(record, _Version):
        raise DamagedFile(f"{damaged} ({wrong}); restore it from a copy")
    if record["format"] > FORMAT:
        raise RunMismatch(
            f"{path} was written by a newer archsmith (run format {record['format']}; this one reads up to {FORMAT}): "
            "pip install -U archsmith"
        )
    wrong = misfit(record, RunRecord)
    if not wrong and record["fixed"]["model"] is not None:
        wrong = misfit_of_model(record["fixed"]["model"])
    if not wrong and not _is_store(record["store"]):
        wrong = f"the store must be null or a postgresql:// URL, not {record['store']!r}"
    if wrong:
        raise DamagedFile(f"{damaged} ({wrong}); restore it from a copy")


def _is_store(store: str | None) -> bool:
    return store is None or re.fullmatch(r"postgresql(\+\w+)?://.*", store) is not None
