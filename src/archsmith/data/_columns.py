"""Which columns of a table hold the texts and the labels."""

from __future__ import annotations

from collections.abc import Sequence

from archsmith.errors import InvalidData, InvalidOption, unknown

TEXTS = ("text", "sentence")
"""Names by which a column of texts is recognised."""
LABEL = "label"


def text_columns(wanted: str | Sequence[str] | None, columns: Sequence[str], label: str | None, name: str) -> list[str]:
    """The column of texts, or the two of pairs.

    Args:
        wanted: by the user; found by its name, or as the only one beside the labels, where it is ``None``.
        columns: of the table that may hold texts.
        label: column of the labels, where the user names it.
        name: of the table, for messages.

    Raises:
        UnknownName: for a column that is not there.
        InvalidOption: for more than two.
        InvalidData: where it is not clear which column is meant.
    """
    if wanted is not None:
        chosen = [wanted] if isinstance(wanted, str) else list(wanted)
        if not 1 <= len(chosen) <= 2:
            raise InvalidOption(f"text={wanted!r} names {len(chosen)} columns; a text is one, a pair of texts are two")
        for column in chosen:
            if column not in columns:
                raise unknown(f"column of {name}", column, columns)
        return chosen
    others = [c for c in columns if c != (label or LABEL)]
    found = [c for c in TEXTS if c in others] or others
    if len(found) != 1:
        raise InvalidData(
            f"cannot tell which column of {name} holds the texts: it has {', '.join(columns) or 'none'}; give "
            "text=COLUMN (--data-option text=COLUMN)"
        )
    return found


def label_column(wanted: str | None, columns: Sequence[str], name: str) -> str:
    """The column of labels.

    Raises:
        UnknownName: for a column that is not there.
    """
    if (wanted or LABEL) not in columns:
        error = unknown(f"column of {name}", wanted or LABEL, columns)
        raise type(error)(f"{error}; name the column of the labels with label= (--data-option label=COLUMN)")
    return wanted or LABEL
