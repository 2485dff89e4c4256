"""The forms of what stands in a store: whoever wrote it, a row that reads well is one that archsmith understands."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec
from msgspec import Meta

from archsmith.architecture import Proposal
from archsmith.errors import DamagedFile
from archsmith.evaluation import Evaluation
from archsmith.files import misfit, parsed_json

MOST_ASKED = 10**6
"""Proposals that may be asked for at once; more would be asked again in vain when the run goes on."""

Row = Annotated[int, Meta(ge=1, le=2**31 - 1)]


class HeaderForm(TypedDict):
    """Of a run."""

    header: dict[str, Any]
    noted: dict[str, Any]


class GiveForm(TypedDict):
    """Proposals of the caller."""

    proposals: list[dict[str, Any]]


class AskForm(TypedDict):
    """How many proposals were asked for, which came, and where the generator of the strategy stood then."""

    n: Annotated[int, Meta(ge=0, le=MOST_ASKED)]
    proposals: list[dict[str, Any]]
    generator: NotRequired[dict[str, Any]]


class TellForm(TypedDict):
    """Rows of evaluations, and how many of them the line brought."""

    evaluations: list[Row]
    new: Annotated[int, Meta(ge=0)]


class RestartForm(TypedDict):
    """Why a fresh strategy asks from here on."""

    reason: str


class NotedForm(TypedDict):
    """Other circumstances."""

    noted: dict[str, Any]


BODIES: dict[str, Any] = {
    "give": GiveForm,
    "ask": AskForm,
    "tell": TellForm,
    "restart": RestartForm,
    "noted": NotedForm,
}
"""Kind of a line -> the form of its body."""


def read(text: Any, form: Any, *, what: str) -> Any:
    """Plain data of a form from a column's text.

    Args:
        text: as the database gives it, which may be of any type.
        form: that the data must have.
        what: it is and where it stands, for the message.

    Raises:
        DamagedFile: when it is no JSON, or of another form.
    """
    if not isinstance(text, str):
        raise damaged(what, f"{type(text).__name__} instead of text")
    try:
        return _decoder(form).decode(text)
    except (ValueError, RecursionError):
        return _read_again(text, form, what=what)


def _read_again(text: str, form: Any, *, what: str) -> Any:
    try:  # now in Python's own dialect, which has NaN and half characters; and for the words
        data = parsed_json(text)
        wrong = misfit(data, form)
        for proposed in [] if wrong else [*data.get("proposals", ()), data.get("proposal")]:
            if proposed is not None:  # no key can be made of half characters
                assert Proposal.from_json(proposed).architecture.key
    except _WRONG as error:
        raise damaged(what, str(error)) from error
    if wrong:
        raise damaged(what, wrong)
    return data


@cache
def _decoder(form: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(form)


def proposal(data: Any, *, what: str) -> Proposal:
    """A proposal from data of its form.

    Raises:
        DamagedFile: when it contradicts itself.
    """
    try:
        found = Proposal.from_json(data)
    except _WRONG as error:
        raise damaged(what, str(error)) from error
    return found


def evaluation(text: Any, *, what: str, identity: tuple[Any, ...] | None = None) -> Evaluation:
    """An evaluation from its text.

    Args:
        text: of the record.
        what: it is and where it stands, for the message.
        identity: what it must be, where it was looked up by it; a search that was answered otherwise would ask for
            ever. Its key costs as much as reading the record.

    Raises:
        DamagedFile: when it is none, contradicts itself, or is another one than was looked up.
    """
    data = read(text, dict[str, Any], what=what)
    try:
        found = Evaluation.from_json(data)
        if identity is not None and found.identity != identity:
            raise damaged(what, f"it is {found.identity}, not {identity}")
    except _WRONG as error:
        raise damaged(what, str(error)) from error
    return found


_WRONG = (KeyError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError)
"""Whatever a well-formed record may still be wrong in."""


def damaged(what: str, detail: str) -> DamagedFile:
    """The error for a row that cannot be understood."""
    return DamagedFile(f"{what} is damaged ({detail:.300}); restore the store from a copy")
