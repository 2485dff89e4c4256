"""Builds HTML: everything is escaped unless it is markup already."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from archsmith.texts import escaped


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def markup_of(text: object) -> str:
    """Text for HTML elements and attributes: markup and control characters are escaped."""
    return escape(escaped(str(text)))


Child = str | int | float | None


def element(tag: str, *children: Child | Iterable[Child], **attributes: str | int | None) -> Markup:
    """One element; ``cls`` is its class, ``data_x`` is ``data-x``, children are escaped, ``None`` is left out.

    >>> element("p", "a < b", element("b", "!"), cls="note")
    '<p class="note">a &lt; b<b>!</b></p>'
    """
    given = {"class" if k == "cls" else k.replace("_", "-"): v for k, v in attributes.items() if v is not None}
    inside = "".join(f' {name}="{markup_of(value)}"' for name, value in given.items())
    return Markup(f"<{tag}{inside}>{join(children)}</{tag}>")


def join(children: Iterable[Child | Iterable[Child]]) -> Markup:
    """Children one after another."""
    parts = []
    for child in children:
        if isinstance(child, Markup):
            parts.append(str(child))
        elif isinstance(child, str | int | float):
            parts.append(markup_of(child))
        elif child is not None:
            parts.append(str(join(child)))
    return Markup("".join(parts))


def table(head: Sequence[Child], rows: Sequence[Sequence[Child]], *, label: str, numeric: Iterable[int] = ()) -> Markup:
    """A table that scrolls in its own container; ``label`` names it for screen readers."""
    right = set(numeric)

    def cell(tag: str, i: int, child: Child, scope: str | None = None) -> Markup:
        return element(tag, child, cls="n" if i in right else None, scope=scope)

    header = element("thead", element("tr", *(cell("th", i, c, "col") for i, c in enumerate(head)))) if head else None
    body = [
        element("tr", *(cell("td" if i else "th", i, c, None if i else "row") for i, c in enumerate(row)))
        for row in rows
    ]
    inner = element("table", header, element("tbody", *body))
    return element("div", inner, cls="scroll", tabindex=0, role="region", aria_label=label)


def details(summary: str, *children: Child) -> Markup:
    """A part that opens on a click."""
    return element("details", element("summary", summary), *children)


def command(text: str) -> Markup:
    """A command with a button that copies it."""
    button = element("button", "Copy", type="button", cls="copy", data_copy=text, aria_label=f"Copy the command {text}")
    return element("div", element("code", text), button, cls="command")
