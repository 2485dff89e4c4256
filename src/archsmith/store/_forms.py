"""The forms of a store's rows: rows are checked when they are read, whoever wrote them."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec
from msgspec import Meta

from archsmith.architecture import Proposal
from archsmith.errors import DamagedFile
from archsmith.evaluation import Evaluation
from archsmith.files import misfit, parsed_json

MAX_PROPOSALS_PER_ASK = 10**6
"""Proposals that a line may have asked for at once; a resumed run would ask for as many again."""

Row = Annotated[int, Meta(ge=1, le=2**31 - 1)]


class HeaderForm(TypedDict):
    """The header of a run."""

    header: dict[str, Any]
    noted: dict[str, Any]


class GiveForm(TypedDict):
    """Proposals of the caller."""

    proposals: list[dict[str, Any]]


class AskForm(TypedDict):
    """The number of proposals asked for, the proposals, and the state of the strategy's generator after them."""

    n: Annotated[int, Meta(ge=0, le=MAX_PROPOSALS_PER_ASK)]
    proposals: list[dict[str, Any]]
    generator: NotRequired[dict[str, Any]]


class TellForm(TypedDict):
    """Rows of evaluations, and how many of them are new with this line."""

    evaluations: list[Row]
    new: Annotated[int, Meta(ge=0)]


class RestartForm(TypedDict):
    """Why a fresh strategy asks from here on."""

    reason: str


class NotedForm(TypedDict):
    """Changed circumstances."""

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
        text: the column's value, which may be of any type.
        form: the type that the data must have.
        what: name and place of the row, for the message.

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
    try:  # Python's JSON also has NaN and lone surrogates; and ``misfit`` says what is wrong
        data = parsed_json(text)
        wrong = misfit(data, form)
        for proposed in [] if wrong else [*data.get("proposals", ()), data.get("proposal")]:
            if proposed is not None:  # a lone surrogate has no key
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
        what: name and place of the row, for the message.
        identity: the identity that it must have, where it was looked up by it: with another one a search would ask
            for it forever. Checking takes as long as reading the record.

    Raises:
        DamagedFile: when it is no evaluation, contradicts itself, or has another identity.
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
"""Errors that a record of the right form may still raise."""


def damaged(what: str, detail: str) -> DamagedFile:
    """The error for a row that cannot be understood."""
    return DamagedFile(f"{what} is damaged ({detail:.300}); restore the store from a copy")
