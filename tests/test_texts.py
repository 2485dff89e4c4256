"""Texts as they may be shown."""

import pytest

from archsmith.texts import escaped


@pytest.mark.parametrize("text", ["plain é 😀\n\tx", "", "مرحبا"])
def test_what_is_shown_anyway_stays(text):
    assert escaped(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x9b2J", "\\x9b2J"),
        ("\u202e", "\\u202e"),
        ("\U000e0041", "\\U000e0041"),
        ("\ud800", "\\ud800"),
        ("a\rb", "a\\x0db"),
    ],
)
def test_what_would_be_obeyed_is_escaped(text, shown):
    assert escaped(text) == shown
    shown.encode("ascii")
